// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs as memory of receive queues: what happens when the exporter, the
 * netdev, the ring or the netlink socket goes away.
 *
 * Environment: NETMEM_ROUNDS, how often to repeat what depends on timing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netmem_fixture.h"
#include "netmem_stream.h"

#define LIMIT		300	/* seconds, for a slow machine */

FIXTURE(netmem) {
	struct nsim_pair pair;
	int dmabuf;
};

FIXTURE_SETUP(netmem)
{
	fixture_open(_metadata, &self->pair, 2, &self->dmabuf);
}

FIXTURE_TEARDOWN(netmem)
{
	fixture_close(_metadata, &self->pair, self->dmabuf);
}

/* --- owners */

static int own(struct owner *owner, enum kind kind, const struct nsim *nsim,
	       int queue, int dmabuf)
{
	return owner_get(owner, kind, nsim, queue, dmabuf, AREA_SIZE);
}

/* The previous owner goes away in the background. */
static int own_soon(struct owner *owner, enum kind kind, const struct nsim *nsim,
		    int queue, int dmabuf)
{
	int ret, i;

	for (i = 0; i < WAIT_MS / 50; i++) {
		ret = own(owner, kind, nsim, queue, dmabuf);
		if (ret != -EBUSY && ret != -EEXIST)
			break;
		usleep(50000);
	}
	return ret;
}

/* --- revocation */

TEST_F_TIMEOUT(netmem, revoke_idle, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct dma_buf_mock_stats stats;
	struct io_uring_cqe *cqe;
	struct owner owner, again;
	int i, other;

	other = mock_create(AREA_SIZE, 0, 0);
	for (i = 0; i < NR_KINDS * DMA_BUF_MOCK_NR_REVOKES; i++) {
		enum kind kind = i / DMA_BUF_MOCK_NR_REVOKES;
		int how = i % DMA_BUF_MOCK_NR_REVOKES;

		TH_LOG("%s, way %d", kind ? "devmem" : "zcrx", how);
		ASSERT_EQ(0, own_soon(&owner, kind, rx, 0, self->dmabuf));
		ASSERT_EQ(0, mock_revoke(self->dmabuf, how));
		stats = mock_stats(self->dmabuf);
		EXPECT_EQ(0, stats.mapped);
		EXPECT_EQ(0, stats.violations);
		if (kind == ZCRX) {
			cqe = zc_wait_event(&owner.ring, WAIT_MS);
			ASSERT_NE(NULL, cqe);
			EXPECT_EQ(ZCRX_EVENT_REVOKED, cqe->res);
			zc_seen(&owner.ring);
			/* and no area can be added */
			EXPECT_EQ(-EFAULT, zc_add_area(&owner.ring, other, 0,
						       PAGE, &(__u64){0}));
		}
		/* The queue is free, the revoked memory is not to be had. */
		EXPECT_EQ(-ENODEV, own(&again, kind, rx, 1, self->dmabuf));
		ASSERT_EQ(0, own(&again, !kind, rx, 0, other));
		owner_put(&again);
		owner_put(&owner);
		ASSERT_EQ(0, mock_restore(self->dmabuf));
		ASSERT_TRUE(mock_released(other));
	}
	close(other);
}

/* The exporter waits for both areas, and may hold the lock of both meanwhile. */
TEST_F_TIMEOUT(netmem, revoke_two_areas, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct dma_buf_mock_stats stats;
	struct zc_ring ring;
	__u64 token;
	int how;

	nsim_enter(rx);
	for (how = 0; how < DMA_BUF_MOCK_NR_REVOKES; how++) {
		zc_ring_open(&ring);
		ASSERT_EQ(0, zc_register(&ring, rx->ifindex, 0, self->dmabuf, 0,
					 AREA_SIZE / 2));
		ASSERT_EQ(0, zc_add_area(&ring, self->dmabuf, AREA_SIZE / 2,
					 AREA_SIZE / 2, &token));
		EXPECT_EQ(2, mock_stats(self->dmabuf).mapped);
		EXPECT_EQ(0, mock_revoke(self->dmabuf, how));
		stats = mock_stats(self->dmabuf);
		EXPECT_EQ(0, stats.mapped);
		EXPECT_EQ(0, stats.violations);
		zc_ring_close(&ring);
		EXPECT_EQ(0, mock_restore(self->dmabuf));
		ASSERT_TRUE(mock_released(self->dmabuf));
	}
}

struct revoker {
	int dmabuf, how, ret;
	useconds_t delay;
};

static void *revoke_later(void *data)
{
	struct revoker *r = data;

	usleep(r->delay);
	r->ret = mock_revoke(r->dmabuf, r->how);
	return NULL;
}

TEST_F_TIMEOUT(netmem, revoke_while_binding, LIMIT)
{
	struct revoker revoker;
	struct owner owner;
	int round, ret;
	pthread_t t;

	for (round = 0; round < netmem_rounds(12); round++) {
		revoker = (struct revoker) {
			.dmabuf = self->dmabuf,
			.how = round % DMA_BUF_MOCK_NR_REVOKES,
			.delay = rand() % 10000,
		};
		ASSERT_EQ(0, pthread_create(&t, NULL, revoke_later, &revoker));
		ret = own(&owner, round & 1, &self->pair.rx, 0, self->dmabuf);
		pthread_join(t, NULL);
		ASSERT_EQ(0, revoker.ret);
		EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
		ASSERT_EQ(0, mock_restore(self->dmabuf));
		ASSERT_TRUE(!ret || ret == -ENODEV);
		if (!ret)
			owner_put(&owner);
		ASSERT_TRUE(mock_released(self->dmabuf));
	}
}

/* --- under traffic */

FIXTURE(traffic) {
	struct nsim_pair pair;
	struct flow flow;
	int dmabuf;
};

FIXTURE_VARIANT(traffic) {
	enum kind kind;
	int how;
};

FIXTURE_VARIANT_ADD(traffic, zcrx) { .kind = ZCRX, .how = DMA_BUF_MOCK_REVOKE_LOCKED };
FIXTURE_VARIANT_ADD(traffic, zcrx_unmap) { .kind = ZCRX, .how = DMA_BUF_MOCK_REVOKE_UNMAP };
FIXTURE_VARIANT_ADD(traffic, zcrx_reclaim) { .kind = ZCRX, .how = DMA_BUF_MOCK_REVOKE_RECLAIM };
FIXTURE_VARIANT_ADD(traffic, devmem) { .kind = DEVMEM, .how = DMA_BUF_MOCK_REVOKE_LOCKED };
FIXTURE_VARIANT_ADD(traffic, devmem_unmap) { .kind = DEVMEM, .how = DMA_BUF_MOCK_REVOKE_UNMAP };
FIXTURE_VARIANT_ADD(traffic, devmem_reclaim) { .kind = DEVMEM, .how = DMA_BUF_MOCK_REVOKE_RECLAIM };

FIXTURE_SETUP(traffic)
{
	if (!fixture_open(_metadata, &self->pair, 1, &self->dmabuf))
		return;
	ASSERT_EQ(0, flow_open(&self->flow, &self->pair, variant->kind,
			       self->dmabuf, AREA_SIZE));
}

FIXTURE_TEARDOWN(traffic)
{
	if (self->pair.home)
		flow_close(&self->flow);
	fixture_close(_metadata, &self->pair, self->dmabuf);
}

TEST_F_TIMEOUT(traffic, revoke, LIMIT)
{
	uint64_t pos = 0;

	ASSERT_EQ(0, flow_recv(&self->flow, &pos, 4 * AREA_SIZE));
	EXPECT_GE(pos, 4 * AREA_SIZE);
	if (variant->kind == DEVMEM)
		ASSERT_TRUE(stream_waits(self->flow.sock));
	ASSERT_EQ(0, mock_revoke(self->dmabuf, variant->how));
	EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);

	/* What had been delivered is right, then comes an error. */
	EXPECT_EQ(-ENODEV, flow_recv(&self->flow, &pos, UINT64_MAX));
	EXPECT_EQ(0, mock_stats(self->dmabuf).violations);
	/* and again */
	EXPECT_EQ(-ENODEV, flow_recv(&self->flow, &pos, UINT64_MAX));
}

TEST_F_TIMEOUT(traffic, netdev_goes, LIMIT)
{
	uint64_t pos = 0;

	ASSERT_EQ(0, flow_recv(&self->flow, &pos, AREA_SIZE));
	nsim_remove(&self->pair.rx);
	/* The mapping does not outlive the device. */
	EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
	EXPECT_EQ(0, mock_revoke(self->dmabuf, variant->how));
}

/* Everything goes, in one of 24 orders. */
TEST_F_TIMEOUT(traffic, all_go, LIMIT)
{
	int order[] = { 0, 1, 2, 3 }, left = 4, i, pick;
	uint64_t pos = 0;

	ASSERT_EQ(0, flow_recv(&self->flow, &pos, AREA_SIZE));
	srand(getpid());
	while (left) {
		pick = rand() % left;
		i = order[pick];
		order[pick] = order[--left];
		switch (i) {
		case 0:
			TH_LOG("owner");
			owner_put(&self->flow.owner);
			break;
		case 1:
			TH_LOG("netdev");
			nsim_remove(&self->pair.rx);
			break;
		case 2:
			TH_LOG("memory");
			EXPECT_EQ(0, mock_revoke(self->dmabuf, variant->how));
			break;
		case 3:
			TH_LOG("socket");
			close(self->flow.sock);
			self->flow.sock = -1;
			break;
		}
	}
}

/* --- the driver can't restart the queue, and the memory goes all the same */

/* So often the kernel tries before it sets the interface down. */
#define TRIES	4

FIXTURE(restart) {
	struct nsim_pair pair;
	struct flow flow;
	int dmabuf;
};

FIXTURE_VARIANT(restart) {
	enum kind kind;
	unsigned int fails;
};

/* The last try is a success; the interface comes up again; it does not. */
FIXTURE_VARIANT_ADD(restart, zcrx_late) { .kind = ZCRX, .fails = TRIES - 1 };
FIXTURE_VARIANT_ADD(restart, zcrx_down_up) { .kind = ZCRX, .fails = TRIES };
FIXTURE_VARIANT_ADD(restart, zcrx_down) { .kind = ZCRX, .fails = 100 };
FIXTURE_VARIANT_ADD(restart, devmem_late) { .kind = DEVMEM, .fails = TRIES - 1 };
FIXTURE_VARIANT_ADD(restart, devmem_down_up) { .kind = DEVMEM, .fails = TRIES };
FIXTURE_VARIANT_ADD(restart, devmem_down) { .kind = DEVMEM, .fails = 100 };

FIXTURE_SETUP(restart)
{
	uint64_t pos = 0;

	if (!fixture_open(_metadata, &self->pair, 1, &self->dmabuf))
		return;
	ASSERT_EQ(0, flow_open(&self->flow, &self->pair, variant->kind,
			       self->dmabuf, AREA_SIZE));
	ASSERT_EQ(0, flow_recv(&self->flow, &pos, AREA_SIZE));
	/* From here on only the NIC can be who writes to the memory. */
	munmap(self->flow.mem, AREA_SIZE);
	nsim_fail_alloc(&self->pair.rx, variant->fails);
}

FIXTURE_TEARDOWN(restart)
{
	fixture_close(_metadata, &self->pair, self->dmabuf);
}

/* The memory is not mapped any more. What comes goes to ordinary memory. */
static void check_restart(struct __test_metadata *_metadata,
			  struct _test_data_restart *self, unsigned int fails)
{
	struct nsim *rx = &self->pair.rx;
	bool down = fails > TRIES;
	uint64_t pos = 0;

	EXPECT_EQ(!down, nsim_is_up(rx));
	EXPECT_EQ(down ? fails - TRIES - 1 : 0, nsim_fails_left(rx));
	sender_stop(&self->flow.sender);
	close(self->flow.sock);

	nsim_fail_alloc(rx, 0);
	nsim_set_up(rx, true);
	self->flow.sock = stream_open(&self->flow.sender, &self->pair);
	EXPECT_EQ(0, stream_recv_plain(self->flow.sock, &pos, 4 * AREA_SIZE));
	EXPECT_EQ(0, mock_stats(self->dmabuf).violations);
	sender_stop(&self->flow.sender);
	close(self->flow.sock);
}

/* and it can be used again. */
static void check_again(struct __test_metadata *_metadata,
			struct _test_data_restart *self, enum kind kind)
{
	ASSERT_EQ(0, own_soon(&self->flow.owner, kind, &self->pair.rx, 0, self->dmabuf));
	owner_put(&self->flow.owner);
}

TEST_F_TIMEOUT(restart, revoke, LIMIT)
{
	ASSERT_EQ(0, mock_revoke(self->dmabuf, DMA_BUF_MOCK_REVOKE_RECLAIM));
	EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
	check_restart(_metadata, self, variant->fails);
	owner_put(&self->flow.owner);
	ASSERT_EQ(0, mock_restore(self->dmabuf));
	check_again(_metadata, self, variant->kind);
}

TEST_F_TIMEOUT(restart, unbind, LIMIT)
{
	owner_put(&self->flow.owner);
	ASSERT_TRUE(mock_unmapped(self->dmabuf));
	check_restart(_metadata, self, variant->fails);
	check_again(_metadata, self, variant->kind);
}

TEST_HARNESS_MAIN
