// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs that are registered over netlink first, and then taken by devmem TCP
 * or io_uring: whose they are, how long they live, and what user space is told.
 *
 * Environment: NETMEM_ROUNDS, how often to repeat what depends on timing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netdev.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netmem_reg.h"
#include "netmem_stream.h"

TEST_F_TIMEOUT(reg, idle, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	__u32 id = self->nl.id;
	struct devmem other;

	expect_owner(_metadata, self, id, NETDEV_DMABUF_OWNER_IDLE, 0, 0);
	EXPECT_EQ(1, dmabuf_count(&self->nl, 0));
	EXPECT_EQ(1, dmabuf_count(&self->nl, rx->ifindex));
	EXPECT_EQ(0, dmabuf_count(&self->nl, rx->ifindex + 1));
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);

	/* In another network namespace there is no such thing. */
	nsim_enter(&self->pair.tx);
	netdev_nl_open(&other);
	EXPECT_EQ(0, dmabuf_count(&other, 0));
	EXPECT_EQ(-ENOENT, dmabuf_get(&other, id, &self->info));
	EXPECT_EQ(-ENOENT, devmem_bind_id(&other, self->pair.tx.ifindex, 0, id));
	devmem_unbind(&other);
	nsim_enter(rx);

	/* It goes away with its socket, and not with another. */
	netdev_nl_open(&other);
	EXPECT_EQ(0, dmabuf_get(&other, id, &self->info));
	devmem_unbind(&other);
	expect_no_ntf(_metadata, self);
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);
	devmem_unbind(&self->nl);
	EXPECT_EQ(0, mock_stats(self->dmabuf).attached);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, self->info.owner);
	EXPECT_EQ(rx->ifindex, self->info.ifindex);
	expect_gone(_metadata, id);
}

/* More than fits into one message; no id is given out twice. */
TEST_F_TIMEOUT(reg, dump, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct dmabuf_info info[256];
	struct devmem many;
	int i, bufs[64];

	/* CONFIG_DMA_API_DEBUG does not like more than 7 mappings of a page. */
	for (i = 0; i < 64; i++)
		bufs[i] = mock_create(AREA_SIZE, 2, 0);
	netdev_nl_open(&many);
	for (i = 1; i < 256; i++) {
		__u32 id = many.id ?: self->nl.id;

		ASSERT_EQ(0, dmabuf_register(&many, rx->ifindex, bufs[i % 64]));
		ASSERT_GT(many.id, id);
	}
	ASSERT_EQ(256, dmabuf_list(&self->nl, 0, info, 256));
	for (i = 0; i < 256; i++) {
		ASSERT_EQ(self->nl.id + i, info[i].id);
		ASSERT_EQ(rx->ifindex, info[i].ifindex);
		ASSERT_EQ(AREA_SIZE, info[i].size);
	}
	EXPECT_EQ(256, dmabuf_count(&self->nl, rx->ifindex));
	for (i = 0; i < 64; i++)
		EXPECT_EQ(i ? 4 : 3, mock_stats(bufs[i]).mapped);

	/* All of one socket go, and the id is not that of the next one. */
	devmem_unbind(&many);
	EXPECT_EQ(1, dmabuf_count(&self->nl, 0));
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);
	for (i = 0; i < 64; i++) {
		EXPECT_EQ(0, mock_stats(bufs[i]).attached);
		close(bufs[i]);
	}
	netdev_nl_open(&many);
	EXPECT_EQ(0, dmabuf_register(&many, rx->ifindex, self->dmabuf));
	EXPECT_GT(many.id, info[255].id);
	devmem_unbind(&many);
}

TEST_F_TIMEOUT(reg, revoke_idle, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct zc_ring ring;
	struct devmem other;
	int how;

	netdev_nl_open(&other);
	for (how = 0; how < DMA_BUF_MOCK_NR_REVOKES; how++) {
		__u32 id = self->nl.id;

		ASSERT_EQ(0, mock_revoke(self->dmabuf, how));
		EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
		expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_CHANGE_NTF, id);
		EXPECT_TRUE(self->info.revoked);
		EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, self->info.owner);
		EXPECT_EQ(0, dmabuf_get(&other, id, &self->info));
		EXPECT_TRUE(self->info.revoked);

		EXPECT_EQ(-ENODEV, devmem_bind_id(&other, rx->ifindex, 0, id));
		EXPECT_NE(NULL, strstr(other.msg, "revoked"));
		EXPECT_EQ(NETDEV_A_DMABUF_ID, other.bad);
		zc_ring_open(&ring);
		EXPECT_EQ(-ENODEV, zc_register_id(&ring, rx->ifindex, 0, id, 0,
						  AREA_SIZE));
		zc_ring_close(&ring);
		EXPECT_NE(0, dmabuf_register(&other, rx->ifindex, self->dmabuf));

		/* The id stays until the socket goes. */
		EXPECT_EQ(1, dmabuf_count(&other, 0));
		devmem_unbind(&self->nl);
		expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);
		EXPECT_TRUE(self->info.revoked);
		expect_gone(_metadata, id);

		ASSERT_EQ(0, mock_restore(self->dmabuf));
		netdev_nl_open(&self->nl);
		ASSERT_EQ(0, dmabuf_register(&self->nl, rx->ifindex,
					     self->dmabuf));
	}
	devmem_unbind(&other);
}

TEST_F_TIMEOUT(reg, devmem_takes_it, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct devmem binder, other;
	__u32 id = self->nl.id;
	struct zc_ring ring;

	netdev_nl_open(&binder);
	netdev_nl_open(&other);
	ASSERT_EQ(0, devmem_bind_id(&binder, rx->ifindex, 1, id));
	EXPECT_EQ(id, binder.id);
	expect_owner(_metadata, self, id, NETDEV_DMABUF_OWNER_DEVMEM, 0,
		     AREA_SIZE);

	/* Not to be had again, by nobody */
	EXPECT_EQ(-EBUSY, devmem_bind_id(&self->nl, rx->ifindex, 0, id));
	EXPECT_NE(NULL, strstr(self->nl.msg, "devmem TCP"));
	EXPECT_EQ(NETDEV_A_DMABUF_ID, self->nl.bad);
	zc_ring_open(&ring);
	EXPECT_EQ(-EBUSY, zc_register_id(&ring, rx->ifindex, 0, id, 0, PAGE));

	/* Another id for the same memory is idle for ever. */
	EXPECT_EQ(0, dmabuf_register(&other, rx->ifindex, self->dmabuf));
	EXPECT_EQ(-EBUSY, devmem_bind_id(&other, rx->ifindex, 0, other.id));
	EXPECT_NE(NULL, strstr(other.msg, "devmem TCP"));
	EXPECT_EQ(-EBUSY, zc_register_id(&ring, rx->ifindex, 0, other.id, 0,
					 PAGE));
	zc_ring_close(&ring);
	expect_owner(_metadata, self, other.id, NETDEV_DMABUF_OWNER_IDLE, 0, 0);
	id = other.id;
	devmem_unbind(&other);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);

	/* The socket that it came from does not matter any more. */
	id = binder.id;
	devmem_unbind(&self->nl);
	expect_no_ntf(_metadata, self);
	expect_owner(_metadata, self, id, NETDEV_DMABUF_OWNER_DEVMEM, 0,
		     AREA_SIZE);
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);

	devmem_unbind(&binder);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);
	EXPECT_EQ(AREA_SIZE, self->info.len);
	EXPECT_EQ(0, mock_stats(self->dmabuf).attached);
	expect_gone(_metadata, id);
}

/* The next notifications are that these have been revoked, in any order. */
static void expect_revoked(struct __test_metadata *_metadata,
			   struct _test_data_reg *self, __u32 a, __u32 b)
{
	struct dmabuf_info info;
	int left = b ? 2 : 1;

	while (left--) {
		EXPECT_EQ(NETDEV_CMD_DMABUF_CHANGE_NTF,
			  dmabuf_wait(&self->ntf, WAIT_MS, &info));
		EXPECT_TRUE(info.revoked);
		EXPECT_TRUE(info.id == a || info.id == b);
		if (info.id == a)
			a = 0;
		else
			b = 0;
	}
}

/* What is transmitted from has an id as well, and nobody's memory is in the way. */
TEST_F_TIMEOUT(reg, transmit, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	__u32 id = self->nl.id;
	struct devmem tx;
	int how;

	for (how = 0; how < DMA_BUF_MOCK_NR_REVOKES; how++) {
		netdev_nl_open(&tx);
		ASSERT_EQ(0, devmem_bind_tx(&tx, rx->ifindex, self->dmabuf));
		EXPECT_NE(id, tx.id);
		expect_owner(_metadata, self, tx.id, NETDEV_DMABUF_OWNER_DEVMEM,
			     0, 0);
		EXPECT_EQ(how ? 1 : 2, mock_stats(self->dmabuf).mapped);
		/* It is not for receiving. */
		EXPECT_EQ(-EBUSY, devmem_bind_id(&self->nl, rx->ifindex, 0, tx.id));

		ASSERT_EQ(0, mock_revoke(self->dmabuf, how));
		EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
		/* The registered one is revoked too, in either order. */
		expect_revoked(_metadata, self, tx.id, how ? 0 : id);
		devmem_unbind(&tx);
		expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, tx.id);
		ASSERT_EQ(0, mock_restore(self->dmabuf));
	}
}

TEST_F_TIMEOUT(reg, ring_takes_it, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	__u32 id = self->nl.id, id2;
	struct zc_ring ring, ring2;
	struct devmem other;
	__u64 token;

	zc_ring_open(&ring);
	zc_ring_open(&ring2);
	netdev_nl_open(&other);
	ASSERT_EQ(0, zc_register_id(&ring, rx->ifindex, 0, id, PAGE, 8 * PAGE));
	expect_owner(_metadata, self, id, NETDEV_DMABUF_OWNER_IO_URING, PAGE,
		     8 * PAGE);

	/* Out of the hands of netlink, and of other rings */
	EXPECT_EQ(-EBUSY, devmem_bind_id(&self->nl, rx->ifindex, 1, id));
	EXPECT_NE(NULL, strstr(self->nl.msg, "io_uring"));
	EXPECT_EQ(-EBUSY, zc_register_id(&ring2, rx->ifindex, 1, id, 16 * PAGE,
					 PAGE));
	EXPECT_EQ(-EBUSY, zc_add_area_id(&ring, id, 16 * PAGE, PAGE, &token));
	devmem_unbind(&self->nl);
	expect_no_ntf(_metadata, self);
	expect_owner(_metadata, self, id, NETDEV_DMABUF_OWNER_IO_URING, PAGE,
		     8 * PAGE);
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);

	/* Another registration of it, another area */
	ASSERT_EQ(0, dmabuf_register(&other, rx->ifindex, self->dmabuf));
	id2 = other.id;
	EXPECT_EQ(-EBUSY, zc_add_area_id(&ring, id2, 0, 2 * PAGE, &token));
	EXPECT_EQ(-EINVAL, zc_add_area_id(&ring, id2, 0, AREA_SIZE + PAGE,
					  &token));
	expect_owner(_metadata, self, id2, NETDEV_DMABUF_OWNER_IDLE, 0, 0);
	EXPECT_EQ(0, zc_add_area_id(&ring, id2, 16 * PAGE, PAGE, &token));
	EXPECT_EQ(1ULL << IORING_ZCRX_AREA_SHIFT, token);
	devmem_unbind(&other);
	expect_owner(_metadata, self, id2, NETDEV_DMABUF_OWNER_IO_URING,
		     16 * PAGE, PAGE);
	EXPECT_EQ(2, mock_stats(self->dmabuf).mapped);

	/* The ring has them until it is closed, even if they are revoked. */
	ASSERT_EQ(0, mock_revoke(self->dmabuf, DMA_BUF_MOCK_REVOKE_LOCKED));
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_CHANGE_NTF, id);
	EXPECT_TRUE(self->info.revoked);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_CHANGE_NTF, id2);
	EXPECT_TRUE(self->info.revoked);
	expect_no_ntf(_metadata, self);
	zc_ring_close(&ring2);
	zc_ring_close(&ring);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IO_URING, self->info.owner);
	EXPECT_EQ(PAGE, self->info.offset);
	EXPECT_EQ(8 * PAGE, self->info.len);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id2);
	expect_gone(_metadata, id);
}

/* What has been bound without having been registered can be seen as well. */
TEST_F_TIMEOUT(reg, not_registered, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct devmem binder;
	struct zc_ring ring;
	__u32 id;

	ASSERT_EQ(0, devmem_bind(&binder, rx->ifindex, 0, self->dmabuf));
	expect_owner(_metadata, self, binder.id, NETDEV_DMABUF_OWNER_DEVMEM, 0,
		     AREA_SIZE);
	id = binder.id;
	ASSERT_EQ(0, mock_revoke(self->dmabuf, DMA_BUF_MOCK_REVOKE_UNMAP));
	EXPECT_EQ(NETDEV_CMD_DMABUF_CHANGE_NTF,
		  dmabuf_wait(&self->ntf, WAIT_MS, &self->info));
	EXPECT_EQ(NETDEV_CMD_DMABUF_CHANGE_NTF,
		  dmabuf_wait(&self->ntf, WAIT_MS, &self->info));
	devmem_unbind(&binder);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);
	ASSERT_EQ(0, mock_restore(self->dmabuf));

	zc_ring_open(&ring);
	ASSERT_EQ(0, zc_register(&ring, rx->ifindex, 0, self->dmabuf, PAGE,
				 PAGE));
	EXPECT_EQ(2, dmabuf_count(&self->nl, rx->ifindex));
	zc_ring_close(&ring);
	EXPECT_EQ(NETDEV_CMD_DMABUF_DEL_NTF,
		  dmabuf_wait(&self->ntf, WAIT_MS, &self->info));
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IO_URING, self->info.owner);
	EXPECT_EQ(PAGE, self->info.offset);
}

/* --- several want it */

struct racer {
	struct _test_data_reg *self;
	pthread_barrier_t *barrier;
	struct owner owner;
	int i, ret;
};

/* A ring, a binding, and the netlink socket that is closed */
enum { CLOSE = NR_KINDS, NR_RACERS };

static void *race(void *data)
{
	struct racer *r = data;
	struct nsim *rx = &r->self->pair.rx;
	struct part part = { .id = r->self->nl.id, .size = AREA_SIZE };

	if (r->i != CLOSE)
		owner_open(&r->owner, r->i, rx);
	pthread_barrier_wait(r->barrier);
	if (r->i != CLOSE)
		r->ret = owner_take(&r->owner, rx, r->i, &part);
	else
		devmem_unbind(&r->self->nl);
	return NULL;
}

TEST_F_TIMEOUT(reg, race, LIMIT)
{
	int round, rounds = netmem_rounds(20), i, won;
	pthread_barrier_t barrier;
	struct racer r[NR_RACERS];
	pthread_t t[NR_RACERS];
	struct devmem other;

	netdev_nl_open(&other);
	pthread_barrier_init(&barrier, NULL, NR_RACERS);
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < NR_RACERS; i++) {
			r[i] = (struct racer) {
				.self = self,
				.barrier = &barrier,
				.i = i,
			};
			ASSERT_EQ(0, pthread_create(&t[i], NULL, race, &r[i]));
		}
		for (i = 0; i < NR_RACERS; i++)
			pthread_join(t[i], NULL);
		/* One of them, or the socket was closed before. */
		won = 0;
		for (i = 0; i < NR_KINDS; i++) {
			if (!r[i].ret)
				won++;
			else
				ASSERT_TRUE(r[i].ret == -EBUSY || r[i].ret == -ENOENT);
		}
		ASSERT_LE(won, 1);
		EXPECT_EQ(won, dmabuf_count(&other, 0));
		for (i = 0; i < NR_KINDS; i++)
			owner_put(&r[i].owner);
		ASSERT_TRUE(mock_released(self->dmabuf));
		netdev_nl_open(&self->nl);
		ASSERT_EQ(0, dmabuf_register(&self->nl, self->pair.rx.ifindex,
					     self->dmabuf));
	}
	devmem_unbind(&other);
}

/* --- and it is received into, by all that arrives */

FIXTURE(data) {
	struct nsim_pair pair;
	struct devmem nl;
	struct owner owner;
	struct sender sender;
	int dmabuf, sock;
	char *mem;
};

FIXTURE_VARIANT(data) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(data, devmem) { .kind = DEVMEM };
FIXTURE_VARIANT_ADD(data, ring) { .kind = ZCRX };

FIXTURE_SETUP(data)
{
	if (!fixture_open(_metadata, &self->pair, 1, &self->dmabuf))
		return;
	self->mem = mock_mmap(self->dmabuf, AREA_SIZE);
	netdev_nl_open(&self->nl);
	ASSERT_EQ(0, dmabuf_register(&self->nl, self->pair.rx.ifindex,
				     self->dmabuf));
}

FIXTURE_TEARDOWN(data)
{
	if (!self->pair.home)
		return;
	devmem_unbind(&self->nl);
	munmap(self->mem, AREA_SIZE);
	fixture_close(_metadata, &self->pair, self->dmabuf);
}

TEST_F_TIMEOUT(data, received, LIMIT)
{
	struct part part = { .id = self->nl.id, .size = AREA_SIZE };
	struct nsim *rx = &self->pair.rx;
	uint64_t pos = 0;

	owner_open(&self->owner, variant->kind, rx);
	ASSERT_EQ(0, owner_take(&self->owner, rx, 0, &part));
	self->sock = stream_open(&self->sender, &self->pair);
	EXPECT_EQ(0, stream_recv(&self->owner, self->sock, self->mem, AREA_SIZE,
				 &pos, 4 * AREA_SIZE));
	EXPECT_GE(pos, 4 * AREA_SIZE);

	sender_stop(&self->sender);
	owner_put(&self->owner);
	close(self->sock);
}

TEST_HARNESS_MAIN
