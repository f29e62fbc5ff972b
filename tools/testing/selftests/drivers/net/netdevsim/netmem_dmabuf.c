// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs as memory of receive queues: who owns which part, and what happens
 * when the exporter, the netdev, the ring or the netlink socket goes away.
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
#include <sys/socket.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "netmem_lib.h"
#include "netmem_stream.h"

#define PAGE		4096UL
#define AREA_SIZE	(256 * PAGE)
#define WAIT_MS		30000
#define LIMIT		300	/* seconds, for a slow machine */

static int rounds(int dflt)
{
	const char *env = getenv("NETMEM_ROUNDS");

	return env ? atoi(env) : dflt;
}

FIXTURE(netmem) {
	struct nsim_pair pair;
	int dmabuf;
};

FIXTURE_SETUP(netmem)
{
	if (!nsim_available())
		SKIP(return, "no netdevsim, no /dev/dma_buf_mock, or not root");
	nsim_pair_create(&self->pair, 2);
	self->dmabuf = mock_create(AREA_SIZE, 2, DMA_BUF_MOCK_P2P |
				   DMA_BUF_MOCK_CHECK_IDLE);
}

FIXTURE_TEARDOWN(netmem)
{
	if (!self->pair.home)
		return;
	EXPECT_TRUE(mock_released(self->dmabuf));
	close(self->dmabuf);
	nsim_pair_destroy(&self->pair);
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

TEST_F_TIMEOUT(netmem, every_pair_of_owners, LIMIT)
{
	struct nsim *rx = &self->pair.rx, *tx = &self->pair.tx;
	struct owner first, second;
	int i;

	for (i = 0; i < NR_KINDS * NR_KINDS * 2; i++) {
		enum kind a = i & 1, b = (i >> 1) & 1;
		struct nsim *where = i >> 2 ? tx : rx;

		TH_LOG("%s, then %s%s", a ? "devmem" : "zcrx",
		       b ? "devmem" : "zcrx", i >> 2 ? " elsewhere" : "");
		ASSERT_EQ(0, own_soon(&first, a, rx, 0, self->dmabuf));
		ASSERT_EQ(-EBUSY, own(&second, b, where, 1, self->dmabuf));
		if (b == DEVMEM)
			EXPECT_NE(NULL, strstr(second.dm.msg,
					       a ? "devmem" : "io_uring"));
		owner_put(&first);
		ASSERT_EQ(0, own_soon(&second, b, where, 1, self->dmabuf));
		owner_put(&second);
	}
}

TEST_F_TIMEOUT(netmem, parts, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct zc_ring a, b;
	struct owner dm;
	__u64 token;

	nsim_enter(rx);
	zc_ring_open(&a);
	zc_ring_open(&b);

	/* Not a page-aligned part of it */
	EXPECT_EQ(-EINVAL, zc_register(&a, rx->ifindex, 0, self->dmabuf, 0,
				       AREA_SIZE + PAGE));
	EXPECT_EQ(-EINVAL, zc_register(&a, rx->ifindex, 0, self->dmabuf, PAGE,
				       AREA_SIZE));
	EXPECT_EQ(-EINVAL, zc_register(&a, rx->ifindex, 0, self->dmabuf,
				       AREA_SIZE, PAGE));
	EXPECT_EQ(-EINVAL, zc_register(&a, rx->ifindex, 0, self->dmabuf, 512,
				       PAGE));
	EXPECT_EQ(-EINVAL, zc_register(&a, rx->ifindex, 0, self->dmabuf, 0,
				       512));
	EXPECT_EQ(-EOVERFLOW, zc_register(&a, rx->ifindex, 0, self->dmabuf,
					  -PAGE, 2 * PAGE));

	/* Two rings, two halves */
	ASSERT_EQ(0, zc_register(&a, rx->ifindex, 0, self->dmabuf, 0,
				 AREA_SIZE / 2));
	EXPECT_EQ(-EBUSY, zc_register(&b, rx->ifindex, 1, self->dmabuf,
				      AREA_SIZE / 2 - PAGE, AREA_SIZE / 2));
	ASSERT_EQ(0, zc_register(&b, rx->ifindex, 1, self->dmabuf,
				 AREA_SIZE / 2, AREA_SIZE / 4));
	EXPECT_EQ(-EBUSY, own(&dm, DEVMEM, &self->pair.tx, 0, self->dmabuf));

	/* What is left, to the ring that wants it */
	EXPECT_EQ(-EBUSY, zc_add_area(&a, self->dmabuf, AREA_SIZE / 4 * 3 - PAGE,
				      AREA_SIZE / 4, &token));
	EXPECT_EQ(0, zc_add_area(&a, self->dmabuf, AREA_SIZE / 4 * 3,
				 AREA_SIZE / 8, &token));
	EXPECT_EQ(1ULL << IORING_ZCRX_AREA_SHIFT, token);
	EXPECT_EQ(-EBUSY, zc_add_area(&b, self->dmabuf, AREA_SIZE / 4 * 3,
				      PAGE, &token));
	EXPECT_EQ(0, zc_add_area(&b, self->dmabuf, AREA_SIZE / 8 * 7,
				 AREA_SIZE / 8, &token));
	EXPECT_EQ(4, mock_stats(self->dmabuf).mapped);
	zc_ring_close(&a);
	zc_ring_close(&b);
}

struct racer {
	const struct nsim *nsim;
	int queue, dmabuf, ret;
	pthread_barrier_t *barrier;
	struct owner owner;
};

static void *race(void *data)
{
	struct racer *r = data;

	nsim_enter(r->nsim);
	pthread_barrier_wait(r->barrier);
	r->ret = own(&r->owner, r->owner.kind, r->nsim, r->queue, r->dmabuf);
	return NULL;
}

TEST_F_TIMEOUT(netmem, race_of_claims, LIMIT)
{
	pthread_barrier_t barrier;
	struct racer r[2];
	pthread_t t[2];
	int i, round;

	pthread_barrier_init(&barrier, NULL, 2);
	for (round = 0; round < rounds(6); round++) {
		for (i = 0; i < 2; i++) {
			r[i] = (struct racer) {
				.nsim = i ? &self->pair.tx : &self->pair.rx,
				.queue = i,
				.dmabuf = self->dmabuf,
				.barrier = &barrier,
				.owner.kind = (round >> i) & 1,
			};
			ASSERT_EQ(0, pthread_create(&t[i], NULL, race, &r[i]));
		}
		for (i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
		/* Exactly one winner */
		ASSERT_EQ(-EBUSY, r[0].ret + r[1].ret);
		ASSERT_TRUE(!r[0].ret || !r[1].ret);
		owner_put(&r[r[0].ret ? 1 : 0].owner);
		ASSERT_TRUE(mock_released(self->dmabuf));
	}
}

/* --- revocation */

static struct io_uring_cqe *wait_event(struct zc_ring *ring)
{
	struct io_uring_cqe *cqe;

	while ((cqe = zc_wait(ring, WAIT_MS))) {
		if (cqe->user_data == ZC_EVENT_DATA)
			return cqe;
		zc_seen(ring);
	}
	return NULL;
}

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
			cqe = wait_event(&owner.ring);
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

	for (round = 0; round < rounds(12); round++) {
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
	int dmabuf;
	char *mem;
	struct owner owner;
	struct sender sender;
	int sock;
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
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int listenfd;

	if (!nsim_available())
		SKIP(return, "no netdevsim, no /dev/dma_buf_mock, or not root");
	nsim_pair_create(&self->pair, 1);
	self->dmabuf = mock_create(AREA_SIZE, 2, DMA_BUF_MOCK_P2P |
				   DMA_BUF_MOCK_CHECK_IDLE);
	self->mem = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->dmabuf, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	ASSERT_EQ(0, own(&self->owner, variant->kind, &self->pair.rx, 0,
			 self->dmabuf));
	listenfd = tcp_listen();
	sender_start(&self->sender, &self->pair.tx);
	self->sock = accept(listenfd, NULL, NULL);
	ASSERT_GE(self->sock, 0);
	close(listenfd);
	/*
	 * A socket that has no peer any more would keep what came out of order,
	 * and with it net_iovs, for minutes after it has been closed.
	 */
	ASSERT_EQ(0, setsockopt(self->sock, SOL_SOCKET, SO_LINGER, &reset,
				sizeof(reset)));
}

FIXTURE_TEARDOWN(traffic)
{
	if (!self->pair.home)
		return;
	sender_stop(&self->sender);
	owner_put(&self->owner);
	close(self->sock);
	if (self->dmabuf >= 0) {
		EXPECT_TRUE(mock_released(self->dmabuf));
		close(self->dmabuf);
	}
	munmap(self->mem, AREA_SIZE);
	nsim_pair_destroy(&self->pair);
}

/* Receives until there is an error, or @want bytes. */
static int receive(struct owner *owner, int sock, const char *mem,
		   uint64_t *pos, uint64_t want)
{
	if (owner->kind == DEVMEM)
		return stream_recv_devmem(sock, mem, AREA_SIZE, pos, want);
	return stream_recv_zcrx(&owner->ring, sock, mem, AREA_SIZE, pos, want);
}

TEST_F_TIMEOUT(traffic, revoke, LIMIT)
{
	uint64_t pos = 0;

	ASSERT_EQ(0, receive(&self->owner, self->sock, self->mem, &pos, 4 * AREA_SIZE));
	EXPECT_GE(pos, 4 * AREA_SIZE);
	ASSERT_EQ(0, mock_revoke(self->dmabuf, variant->how));
	EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);

	/* What had been delivered is right, then comes an error. */
	EXPECT_EQ(-ENODEV, receive(&self->owner, self->sock, self->mem, &pos,
				   UINT64_MAX));
	EXPECT_EQ(0, mock_stats(self->dmabuf).violations);
	/* and again */
	EXPECT_EQ(-ENODEV, receive(&self->owner, self->sock, self->mem, &pos,
				   UINT64_MAX));
}

TEST_F_TIMEOUT(traffic, netdev_goes, LIMIT)
{
	uint64_t pos = 0;

	ASSERT_EQ(0, receive(&self->owner, self->sock, self->mem, &pos, AREA_SIZE));
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

	ASSERT_EQ(0, receive(&self->owner, self->sock, self->mem, &pos, AREA_SIZE));
	srand(getpid());
	while (left) {
		pick = rand() % left;
		i = order[pick];
		order[pick] = order[--left];
		switch (i) {
		case 0:
			TH_LOG("owner");
			owner_put(&self->owner);
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
			close(self->sock);
			self->sock = -1;
			break;
		}
	}
}

TEST_HARNESS_MAIN
