// SPDX-License-Identifier: GPL-2.0
/*
 * Peer memory behind vfio-pci: data in both directions seen from the other
 * side, and its owner taking it away at any time. What the IOMMU does depends
 * on how the machine was booted: run it with it off, in passthrough and strict.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "burst.h"
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		4
#define IN_FLIGHT	64U
#define WAIT_MS		30000
/* The owner may not wait longer than the disk may take for a command */
#define REVOKE_S	35

struct p2p {
	struct env e;
	struct xfer x;
	struct burst b;
};

FIXTURE(p2p) {
	struct p2p t;
};

FIXTURE_VARIANT(p2p) {
	enum mem_kind kind;
	size_t size;
};

FIXTURE_VARIANT_ADD(p2p, vfio) {
	.kind = MEM_VFIO, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(p2p, vfio_two_ranges) {
	.kind = MEM_VFIO_2, .size = MIB(8),
};

FIXTURE_SETUP(p2p)
{
	if (!fixture_open(_metadata, &self->t.e, variant->kind, variant->size, 0))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(p2p)
{
	fixture_close(_metadata, &self->t.e);
}

static void check_both_ways(struct __test_metadata *_metadata, struct p2p *t)
{
	size_t lbs = t->e.disk.lbs, len = t->e.mem.size - 2 * lbs;

	xfer_poison(&t->x);
	ASSERT_EQ(0, xfer_read(&t->x, lbs, len, XFER_POS))
		TH_LOG("read: %s", t->x.why);
	ASSERT_EQ(0, xfer_write(&t->x, lbs, len, XFER_POS))
		TH_LOG("write: %s", t->x.why);
	ASSERT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
}

static void start(struct __test_metadata *_metadata, struct p2p *t, bool write)
{
	fixture_burst_start(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void expect_io_fails(struct __test_metadata *_metadata, struct p2p *t)
{
	int i;

	for (i = 0; i < 4; i++)
		EXPECT_EQ(-ENODEV, ring_rw(&t->e.ring, i & 1 ? IORING_OP_WRITE_FIXED :
					   IORING_OP_READ_FIXED, t->e.disk.fd, SLOT, 0, 65536,
					   XFER_POS));
}

/*
 * Look at the whole BAR by read() and write() on the vfio device, which is
 * another way than the mapping that the other tests use: what is in the
 * exported ranges arrives there, and nothing else of the BAR changes.
 */
TEST_F_TIMEOUT(p2p, bytes_in_the_bar, 600)
{
	struct vfio_dev *v = &self->t.e.vfio;
	size_t size = self->t.e.mem.size, span = 2 * size, len = 65536, at, done;
	const uint64_t seed = 0xba7, poison = 0xdead;
	/* As in mem.c: where the middle of the buffer lies in the BAR */
	size_t half = size / 2, off = half - len / 2;
	void *view = malloc(span), *data = NULL;
	ssize_t n;

	ASSERT_NE(NULL, view);
	data = disk_buffer(len);
	ASSERT_NE(NULL, data);
	pattern_fill(view, span, poison, 0);
	for (done = 0; done < span; done += n) {
		n = pwrite(v->device, view + done, span - done, v->bar_offset + done);
		ASSERT_LT(0, n);
	}
	pattern_fill(data, len, seed, 0);
	ASSERT_EQ(0, disk_put(&self->t.e.disk, data, len, XFER_POS));
	ASSERT_EQ((int)len, ring_rw(&self->t.e.ring, IORING_OP_READ_FIXED, self->t.e.disk.fd, SLOT,
				    off, len, XFER_POS));
	memset(view, 0, span);
	for (done = 0; done < span; done += n) {
		n = pread(v->device, view + done, span - done, v->bar_offset + done);
		ASSERT_LT(0, n);
	}

	if (variant->kind == MEM_VFIO) {
		at = size / 2 + off;
		EXPECT_EQ(-1, pattern_differs(view + at, len, seed, 0));
		pattern_fill(view + at, len, poison, at);
	} else {
		/* The end of the first range and the start of the second */
		at = size + half + off;
		EXPECT_EQ(-1, pattern_differs(view + at, len / 2, seed, 0));
		pattern_fill(view + at, len / 2, poison, at);
		EXPECT_EQ(-1, pattern_differs(view, len / 2, seed, len / 2));
		pattern_fill(view, len / 2, poison, 0);
	}
	EXPECT_EQ(-1, pattern_differs(view, span, poison, 0));
	free(view);
	free(data);
}

TEST_F_TIMEOUT(p2p, revoke_idle, 300)
{
	struct vfio_dev *v = &self->t.e.vfio;
	int i;

	for (i = 0; i < 5; i++) {
		check_both_ways(_metadata, &self->t);
		ASSERT_EQ(0, vfio_set_memory(v, false));
		expect_io_fails(_metadata, &self->t);
		ASSERT_EQ(0, vfio_set_memory(v, true));
	}
	/* Given back, it is used again */
	check_both_ways(_metadata, &self->t);
}

TEST_F_TIMEOUT(p2p, revoke_in_flight, 600)
{
	struct vfio_dev *v = &self->t.e.vfio;
	unsigned int done = 0, failed = 0;
	time_t begin;
	int i;

	for (i = 0; i < 10 || (!failed && i < 30); i++) {
		start(_metadata, &self->t, i & 1);
		begin = now();
		ASSERT_EQ(0, vfio_set_memory(v, false));
		EXPECT_GE(REVOKE_S, now() - begin);
		ASSERT_EQ(0, burst_reap(&self->t.b, NULL))
			TH_LOG("%s", self->t.b.why);
		EXPECT_TRUE(!self->t.b.other || self->t.b.first_error == -ENODEV)
			TH_LOG("error %d", self->t.b.first_error);
		done += self->t.b.full;
		failed += self->t.b.other;
		expect_io_fails(_metadata, &self->t);
		ASSERT_EQ(0, vfio_set_memory(v, true));
		/* A request that was reported as done has moved its data */
		EXPECT_EQ(0, burst_check(&self->t.b))
			TH_LOG("%s", self->t.b.why);
	}
	/* It came in the middle: some were done, others were not */
	EXPECT_LT(0U, done);
	EXPECT_LT(0U, failed);
	check_both_ways(_metadata, &self->t);
}

TEST_F_TIMEOUT(p2p, register_while_revoked, 120)
{
	struct vfio_dev *v = &self->t.e.vfio;
	struct env *e = &self->t.e;

	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	ASSERT_EQ(0, vfio_set_memory(v, false));
	EXPECT_EQ(-ENODEV, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, WAIT_MS));
	ASSERT_EQ(0, vfio_set_memory(v, true));
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	check_both_ways(_metadata, &self->t);
}

/* The mapping of the BAR holds the device open as well */
static void close_vfio(struct p2p *t)
{
	munmap(t->e.mem.va, t->e.mem.size);
	t->e.mem.va = NULL;
	vfio_close(&t->e.vfio);
	t->e.have_vfio = false;
}

TEST_F_TIMEOUT(p2p, close_device_idle, 120)
{
	check_both_ways(_metadata, &self->t);
	close_vfio(&self->t);
	expect_io_fails(_metadata, &self->t);
	EXPECT_EQ(0, ring_clear(&self->t.e.ring, SLOT));
	EXPECT_EQ(-ENODEV, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd,
					   self->t.e.disk.fd));
	EXPECT_EQ(0, watch_wait_attached(self->t.e.mem.ino, 0, WAIT_MS));
}

TEST_F_TIMEOUT(p2p, close_device_in_flight, 120)
{
	time_t begin;

	start(_metadata, &self->t, false);
	begin = now();
	close_vfio(&self->t);
	EXPECT_GE(REVOKE_S, now() - begin);
	ASSERT_EQ(0, burst_reap(&self->t.b, NULL))
		TH_LOG("%s", self->t.b.why);
	EXPECT_LT(0U, self->t.b.full);
	EXPECT_TRUE(!self->t.b.other || self->t.b.first_error == -ENODEV)
		TH_LOG("error %d", self->t.b.first_error);
	expect_io_fails(_metadata, &self->t);
}

/* A write must not put anything on the disk but what was in the peer's memory */
TEST_F_TIMEOUT(p2p, revoked_write_leaves_the_disk, 120)
{
	struct env *e = &self->t.e;
	size_t len = 65536;
	void *data = NULL;

	data = disk_buffer(len);
	ASSERT_NE(NULL, data);
	pattern_fill(data, len, 0x1234, 0);
	ASSERT_EQ(0, disk_put(&e->disk, data, len, XFER_POS));
	ASSERT_EQ(0, vfio_set_memory(&e->vfio, false));
	expect_io_fails(_metadata, &self->t);
	memset(data, 0, len);
	ASSERT_EQ(0, disk_get(&e->disk, data, len, XFER_POS));
	EXPECT_EQ(-1, pattern_differs(data, len, 0x1234, 0));
	ASSERT_EQ(0, vfio_set_memory(&e->vfio, true));
	free(data);
}

TEST_F_TIMEOUT(p2p, device_reset, 120)
{
	check_both_ways(_metadata, &self->t);
	if (ioctl(self->t.e.vfio.device, VFIO_DEVICE_RESET))
		LACKS(return, "the peer device can't be reset");
	ASSERT_EQ(0, vfio_set_memory(&self->t.e.vfio, true));
	check_both_ways(_metadata, &self->t);
}

/* Two dma-bufs of the same memory are independent of each other */
TEST_F_TIMEOUT(p2p, exported_twice, 120)
{
	struct env *e = &self->t.e;
	struct mem other;

	ASSERT_EQ(0, env_mem(e, &other, variant->kind, variant->size))
		TH_LOG("%s", e->why);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT + 1, other.fd, e->disk.fd));
	check_both_ways(_metadata, &self->t);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	xfer_init(&self->t.x, e, &other, SLOT + 1);
	check_both_ways(_metadata, &self->t);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT + 1));
	EXPECT_EQ(0, env_mem_free(e, &other))
		TH_LOG("%s", e->why);
}

TEST_HARNESS_MAIN
