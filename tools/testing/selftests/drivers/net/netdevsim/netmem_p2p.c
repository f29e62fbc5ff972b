// SPDX-License-Identifier: GPL-2.0
/*
 * From the network into memory of another PCI device: data, seen from the other
 * side, and the owner of that device taking the memory away under traffic. What
 * the IOMMU does depends on how the machine was booted: run it with it off, in
 * passthrough and strict.
 *
 * Environment:
 *  NSIM_DMA_DEV	PCI function that is bound to netdevsim (required)
 *  DMABUF_IO_P2P	PCI device bound to vfio-pci whose BAR is memory; if it is
 *			not set, the first one that is bound to it
 *  DMABUF_IO_REQUIRE	1: what the kernel or the machine lacks is a failure, and
 *			not a reason to skip
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netdev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../../../dmabuf_io/vfio.h"
#include "netmem_lib.h"
#include "netmem_stream.h"

#define PAGE		4096UL
#define AREA_SIZE	(128 * PAGE)
/* Where there are two ranges, their sizes are multiples of nothing but a page. */
#define FIRST_SIZE	(53 * PAGE)
/* Of the BAR: room for two areas, with something before, between and behind */
#define SLOT_SIZE	(2 * AREA_SIZE)
#define BAR_SIZE	(2 * SLOT_SIZE)
#define POISON		0xa5
#define WAIT_MS		30000
#define STOP_S		30	/* for a queue to stop, on a slow machine */
#define LIMIT		300	/* seconds, likewise */

/* A dma-buf of the BAR, and how the CPU sees it */
struct area {
	int fd;
	char *view;
	struct part part;	/* what is received into */
};

FIXTURE(p2p) {
	struct nsim_pair pair;
	struct vfio_dev vfio;
	struct devmem nl, ntf;	/* asks; listens */
	struct area area, other;
	struct owner owner, next;
	struct sender sender;
	char *bar;
	int sock;
};

FIXTURE_VARIANT(p2p) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(p2p, zcrx) { .kind = ZCRX };
FIXTURE_VARIANT_ADD(p2p, devmem) { .kind = DEVMEM };

/* SKIP() for what the kernel or the machine lacks */
#define LACKS(statement, ...) do {					\
	const char *__env = getenv("DMABUF_IO_REQUIRE");		\
									\
	ASSERT_FALSE(__env && atoi(__env))				\
		TH_LOG(__VA_ARGS__);					\
	SKIP(statement, __VA_ARGS__);					\
} while (0)

static void bar_map(struct __test_metadata *_metadata, struct _test_data_p2p *self)
{
	self->bar = vfio_map(&self->vfio, NULL, 0, BAR_SIZE);
	ASSERT_NE(MAP_FAILED, self->bar);
}

FIXTURE_SETUP(p2p)
{
	struct vfio_region_dma_range page = { .length = PAGE };
	const char *why = "";
	int ret;

	if (!nsim_available())
		LACKS(return, "no netdevsim, no /dev/dma_buf_mock, or not root");
	if (!getenv("NSIM_DMA_DEV"))
		LACKS(return, "no PCI function for netdevsim, see NSIM_DMA_DEV");
	ret = vfio_open(&self->vfio, &why);
	if (ret == -ENODEV && !getenv("DMABUF_IO_P2P"))
		LACKS(return, "%s", why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", why);
	if (self->vfio.bar_size < BAR_SIZE)
		LACKS(return, "the memory of the peer device is too small");
	ret = vfio_export(&self->vfio, &page, 1);
	if (ret == -ENOTTY || ret == -EOPNOTSUPP)
		LACKS(return, "vfio-pci can't export memory as dma-buf");
	ASSERT_LE(0, ret);
	close(ret);

	bar_map(_metadata, self);
	nsim_pair_create(&self->pair, 1);
	netdev_nl_open(&self->nl);
	dmabuf_subscribe(&self->ntf);
}

FIXTURE_TEARDOWN(p2p)
{
	if (!self->pair.home)
		return;
	devmem_unbind(&self->nl);
	devmem_unbind(&self->ntf);
	nsim_pair_destroy(&self->pair);
	munmap(self->bar, BAR_SIZE);
	vfio_close(&self->vfio);
}

/* --- memory */

/* Two ranges are neither adjacent nor in the order of the BAR: mix-ups show. */
static void area_make(struct __test_metadata *_metadata, struct _test_data_p2p *self,
		      struct area *area, int slot, int nr_ranges)
{
	const size_t start = slot * SLOT_SIZE;
	struct vfio_region_dma_range r[2] = {
		{ .offset = start + AREA_SIZE / 2, .length = AREA_SIZE },
	};
	size_t at = 0;
	int i;

	if (nr_ranges == 2) {
		r[0].offset = start + AREA_SIZE + 10 * PAGE;
		r[0].length = FIRST_SIZE;
		r[1].offset = start + 17 * PAGE;
		r[1].length = AREA_SIZE - FIRST_SIZE;
	}
	area->fd = vfio_export(&self->vfio, r, nr_ranges);
	ASSERT_LE(0, area->fd);
	area->part = (struct part) { .dmabuf = area->fd, .size = AREA_SIZE };

	area->view = mmap(NULL, AREA_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, area->view);
	for (i = 0; i < nr_ranges; i++) {
		ASSERT_NE(MAP_FAILED, vfio_map(&self->vfio, area->view + at,
					       r[i].offset, r[i].length));
		at += r[i].length;
	}
}

static void area_unmap(struct area *area)
{
	if (area->view)
		munmap(area->view, AREA_SIZE);
	area->view = NULL;
}

static void area_free(struct area *area)
{
	area_unmap(area);
	close(area->fd);
}

static bool bar_poisoned(struct _test_data_p2p *self)
{
	const uint64_t *bar = (void *)self->bar;
	size_t i;
	uint64_t poison;

	memset(&poison, POISON, sizeof(poison));
	for (i = 0; i < BAR_SIZE / sizeof(*bar); i++) {
		if (bar[i] == poison)
			continue;
		ksft_print_msg("something has been written to the BAR at %#zx\n",
			       i * sizeof(*bar));
		return false;
	}
	return true;
}

/* The memory that was to be written to has been, and no other. */
static bool others_poisoned(struct _test_data_p2p *self, const struct area *area)
{
	memset(area->view + area->part.offset, POISON, area->part.size);
	return bar_poisoned(self);
}

/* --- owners and streams */

static void own(struct __test_metadata *_metadata, struct _test_data_p2p *self,
		struct owner *owner, enum kind kind, const struct area *area)
{
	owner_open(owner, kind, &self->pair.rx);
	ASSERT_EQ(0, owner_take(owner, &self->pair.rx, 0, &area->part));
}

/* Packets into @area, or the part of it, each byte of which is looked at */
static void receive(struct __test_metadata *_metadata, struct _test_data_p2p *self,
		    struct owner *owner, const struct area *area, uint64_t *pos,
		    uint64_t want)
{
	self->sock = stream_open(&self->sender, &self->pair);
	ASSERT_EQ(0, stream_recv(owner, self->sock, area->view + area->part.offset,
				 area->part.size, pos, want));
	ASSERT_LE(want, *pos);
}

static void hang_up(struct _test_data_p2p *self)
{
	sender_stop(&self->sender);
	close(self->sock);
}

/* Returns the id. */
static __u32 expect_shown(struct __test_metadata *_metadata,
			  struct _test_data_p2p *self, enum kind kind,
			  const struct area *area)
{
	const __u32 owner = kind == DEVMEM ? NETDEV_DMABUF_OWNER_DEVMEM :
					     NETDEV_DMABUF_OWNER_IO_URING;
	struct dmabuf_info info = {};

	EXPECT_EQ(1, dmabuf_list(&self->nl, self->pair.rx.ifindex, &info, 1));
	EXPECT_TRUE(info.peer2peer);
	EXPECT_FALSE(info.revoked);
	EXPECT_EQ(owner, info.owner);
	EXPECT_EQ(AREA_SIZE, info.size);
	EXPECT_EQ(area->part.offset, info.offset);
	EXPECT_EQ(area->part.size, info.len);
	return info.id;
}

/* What nobody uses any more goes away in the background. */
static bool all_gone(struct _test_data_p2p *self)
{
	int ms, wait;

	for (ms = 0; ms < WAIT_MS; ms += wait) {
		if (!dmabuf_count(&self->nl, 0))
			return true;
		wait = ms < 100 ? 1 : 100;
		usleep(wait * 1000);
	}
	return false;
}

TEST_F_TIMEOUT(p2p, received, LIMIT)
{
	struct area *area = &self->area;
	uint64_t pos;
	int nr;

	for (nr = 1; nr <= 2; nr++) {
		TH_LOG("ranges: %d", nr);
		memset(self->bar, POISON, BAR_SIZE);
		area_make(_metadata, self, area, 0, nr);
		/* With zcrx, a part that begins in one range and ends in the other */
		if (nr == 2 && variant->kind == ZCRX) {
			area->part.offset = FIRST_SIZE - 29 * PAGE;
			area->part.size = 100 * PAGE;
		}
		own(_metadata, self, &self->owner, variant->kind, area);
		expect_shown(_metadata, self, variant->kind, area);
		pos = 0;
		/* Twice, so that buffers that were given back are used again */
		receive(_metadata, self, &self->owner, area, &pos,
			2 * area->part.size);
		hang_up(self);
		owner_put(&self->owner);
		EXPECT_TRUE(all_gone(self));
		EXPECT_TRUE(others_poisoned(self, area));
		area_free(area);
	}
}

/* --- the memory is taken away */

enum how { MEMORY_OFF, RESET, CLOSE, NR_HOWS };

static const char * const how_names[] = { "memory off", "reset", "close" };

static int take_away(struct _test_data_p2p *self, enum how how)
{
	switch (how) {
	case MEMORY_OFF:
		return vfio_set_memory(&self->vfio, false);
	case RESET:
		return ioctl(self->vfio.device, VFIO_DEVICE_RESET) ? -errno : 0;
	default:
		/* The mappings hold the device open as well. */
		area_unmap(&self->area);
		munmap(self->bar, BAR_SIZE);
		vfio_close(&self->vfio);
		return 0;
	}
}

/* To the CPU. For the queue it is gone for good. */
static void give_back(struct __test_metadata *_metadata, struct _test_data_p2p *self,
		      enum how how)
{
	const char *why = "";

	if (how != CLOSE) {
		ASSERT_EQ(0, vfio_set_memory(&self->vfio, true));
		return;
	}
	ASSERT_EQ(0, vfio_open(&self->vfio, &why))
		TH_LOG("%s", why);
	bar_map(_metadata, self);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* By netlink, and on the ring */
static void expect_told(struct __test_metadata *_metadata,
			struct _test_data_p2p *self, __u32 id)
{
	struct zc_ring *ring = &self->owner.ring;
	struct dmabuf_info info = {};
	struct io_uring_cqe *cqe;
	int cmd;

	/* There is one for each that went before. */
	do {
		cmd = dmabuf_wait(&self->ntf, WAIT_MS, &info);
	} while (cmd == NETDEV_CMD_DMABUF_DEL_NTF && info.id != id);
	EXPECT_EQ(NETDEV_CMD_DMABUF_CHANGE_NTF, cmd);
	EXPECT_EQ(id, info.id);
	EXPECT_TRUE(info.revoked);
	EXPECT_TRUE(info.peer2peer);

	if (self->owner.kind != ZCRX || ring->events & 1U << ZCRX_EVENT_REVOKED)
		return;
	cqe = zc_wait_event(ring, WAIT_MS);
	ASSERT_NE(NULL, cqe);
	EXPECT_EQ(ZCRX_EVENT_REVOKED, cqe->res);
	zc_seen(ring);
}

/* Nothing of what comes now may be written to the memory that was taken away. */
static void expect_queue_goes_on(struct __test_metadata *_metadata,
				 struct _test_data_p2p *self, enum kind kind)
{
	uint64_t pos = 0;

	self->sock = stream_open(&self->sender, &self->pair);
	EXPECT_EQ(0, stream_recv_plain(self->sock, &pos, AREA_SIZE / 4));
	hang_up(self);
	EXPECT_TRUE(bar_poisoned(self));

	/* with other memory, although the previous owner is still there */
	area_make(_metadata, self, &self->other, 1, 1);
	own(_metadata, self, &self->next, kind, &self->other);
	pos = 0;
	receive(_metadata, self, &self->next, &self->other, &pos, AREA_SIZE / 2);
	hang_up(self);
	owner_put(&self->next);
}

TEST_F_TIMEOUT(p2p, taken_away, LIMIT)
{
	uint64_t pos;
	__u32 id;
	time_t t;
	int how;

	for (how = 0; how < NR_HOWS; how++) {
		TH_LOG("%s", how_names[how]);
		area_make(_metadata, self, &self->area, 0, 2);
		own(_metadata, self, &self->owner, variant->kind, &self->area);
		id = expect_shown(_metadata, self, variant->kind, &self->area);
		pos = 0;
		receive(_metadata, self, &self->owner, &self->area, &pos,
			AREA_SIZE / 2);

		/* More is on its way, and for devmem TCP there has to be. */
		ASSERT_TRUE(stream_waits(self->sock));
		t = now();
		ASSERT_EQ(0, take_away(self, how));
		EXPECT_GE(STOP_S, now() - t);
		/* It is not to be had, unless the reset has given it back. */
		if (how != RESET) {
			EXPECT_EQ(-ENODEV, owner_get(&self->next, variant->kind,
						     &self->pair.rx, 0,
						     self->area.fd, AREA_SIZE));
		}
		give_back(_metadata, self, how);
		memset(self->bar, POISON, BAR_SIZE);

		EXPECT_EQ(-ENODEV, stream_recv(&self->owner, self->sock, NULL,
					       AREA_SIZE, &pos, UINT64_MAX));
		expect_told(_metadata, self, id);
		hang_up(self);

		expect_queue_goes_on(_metadata, self, variant->kind);
		owner_put(&self->owner);
		EXPECT_TRUE(all_gone(self));
		EXPECT_TRUE(others_poisoned(self, &self->other));
		area_free(&self->area);
		area_free(&self->other);
	}
}

TEST_HARNESS_MAIN
