// SPDX-License-Identifier: GPL-2.0
/*
 * Let every call fail once that can be made to fail, in all that user space can do
 * with dma-bufs as memory of queues: the error is one that is documented, all is as
 * it was before, and the same works after that. Needs CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC, finds more with CONFIG_FAULT_INJECTION_USERCOPY.
 *
 * Environment: NETMEM_STRIDE, to fail about every so many of them (1: each);
 * NETMEM_SEED, with which to begin, another one each time if it is not set.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netdev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../../dmabuf_io/nth.h"
#include "kselftest_harness.h"
#include "netmem_lib.h"
#include "netmem_stream.h"

#define PAGE		4096UL
#define AREA_SIZE	(256 * PAGE)
#define OTHER_SIZE	(16 * PAGE)
#define WAIT_MS		30000
#define LIMIT		1800	/* seconds, for a slow machine */

struct fail {
	struct nsim_pair pair;
	struct nth_sweep s;
	struct devmem nl;	/* only looks, nothing that it does fails */
	int dmabuf, other, mock_dev;
	char *mem;

	/* Of one round, or for more */
	struct devmem dm, reg;
	struct owner owner;
	size_t offset, size;
	__u32 id;		/* of @reg; 0: there is none */
	struct dmabuf_info info[4];
	unsigned int gone;	/* how often an id has been lost */
	int ret;
};

struct entry {
	const char *name;
	/* Netlink may not be able to tell how it ended */
	bool netlink;
	/* What has been registered may be gone if it fails */
	bool takes;
	/* It does not fail, whatever fails that it needs. */
	bool free;
	/* Workers do it, and it is their calls that fail */
	bool workers;
	void (*before)(struct __test_metadata *_metadata, struct fail *t);
	int (*call)(struct fail *t);
	/* Look whether it is done, or not at all if there is an error, and undo it */
	void (*after)(struct __test_metadata *_metadata, struct fail *t);
};

FIXTURE(fail_nth) {
	struct fail t;
};

FIXTURE_SETUP(fail_nth)
{
	if (!nsim_available())
		SKIP(return, "no netdevsim, no /dev/dma_buf_mock, or not root");
	if (nth_allow())
		SKIP(return, "the kernel has no fault injection");
	nsim_pair_create(&self->t.pair, 1);
	self->t.dmabuf = mock_create(AREA_SIZE, 0, DMA_BUF_MOCK_P2P);
	self->t.other = mock_create(OTHER_SIZE, 0, 0);
	self->t.mem = mock_mmap(self->t.dmabuf, AREA_SIZE);
	self->t.mock_dev = open("/dev/dma_buf_mock", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->t.mock_dev);
	netdev_nl_open(&self->t.nl);
	self->t.dm.sock = -1;
	self->t.reg.sock = -1;
	self->t.owner.ring.fd = -1;
}

FIXTURE_TEARDOWN(fail_nth)
{
	if (!self->t.pair.home)
		return;
	nth_disarm(&self->t.s.nth);
	nth_close(&self->t.s.nth);
	nth_restore();
	/* If it has failed */
	owner_put(&self->t.owner);
	devmem_unbind(&self->t.dm);
	devmem_unbind(&self->t.reg);
	devmem_unbind(&self->t.nl);
	close(self->t.mock_dev);
	EXPECT_TRUE(mock_released(self->t.dmabuf));
	EXPECT_TRUE(mock_released(self->t.other));
	munmap(self->t.mem, AREA_SIZE);
	close(self->t.dmabuf);
	close(self->t.other);
	nsim_pair_destroy(&self->t.pair);
}

/* --- the state of all that must not change */

struct state {
	__u64 attached[2], pinned[2], mapped[2];
	__u64 registered;
};

static void get_state(struct fail *t, struct state *state)
{
	struct dma_buf_mock_stats stats;
	int i;

	for (i = 0; i < 2; i++) {
		stats = mock_stats(i ? t->other : t->dmabuf);
		state->attached[i] = stats.attached;
		state->pinned[i] = stats.pinned;
		state->mapped[i] = stats.mapped;
	}
	state->registered = dmabuf_count(&t->nl, 0);
}

static void log_state(struct __test_metadata *_metadata, const char *when,
		      const struct state *s)
{
	TH_LOG("%s: attached %llu, %llu, pinned %llu, %llu, mapped %llu, %llu, registered %llu",
	       when, s->attached[0], s->attached[1], s->pinned[0], s->pinned[1],
	       s->mapped[0], s->mapped[1], s->registered);
}

/* Some of it happens in the background */
static void expect_state(struct __test_metadata *_metadata, struct fail *t,
			 const struct state *want)
{
	unsigned int ms = 1, waited = 0;
	struct state now;

	for (;;) {
		get_state(t, &now);
		if (!memcmp(&now, want, sizeof(now)) || waited > WAIT_MS)
			break;
		usleep(ms * 1000);
		waited += ms;
		ms = ms < 20 ? 2 * ms : ms;
	}
	if (memcmp(&now, want, sizeof(now))) {
		log_state(_metadata, "before", want);
		log_state(_metadata, "after", &now);
	}
	ASSERT_EQ(0, memcmp(&now, want, sizeof(now)))
		TH_LOG("call %u", t->s.n);
}

/* --- the sweep */

static unsigned int env_num(const char *name)
{
	const char *env = getenv(name);

	return env ? strtoul(env, NULL, 0) : 0;
}

/* There was no memory for the answer, or it could not be copied. */
static bool not_told(const struct entry *en, int err)
{
	return en->netlink && (err == -ENOBUFS || err == -EFAULT);
}

static bool may_fail_with(const struct entry *en, int err)
{
	if (err == -EFAULT)
		return nth_usercopy();
	return !en->free && (err == -ENOMEM || not_told(en, err));
}

/* The workers of unbound queues, and there may be a new one any time */
static void who_fails(struct __test_metadata *_metadata, struct fail *t,
		      const struct entry *en)
{
	nth_close(&t->s.nth);
	if (en->workers)
		nth_add_named(&t->s.nth, "/proc", "kworker/u");
	else
		nth_add_self(&t->s.nth);
	ASSERT_LT(0, t->s.nth.nr);
}

/* One call, made to fail or not. Returns whether it did. */
static bool one_round(struct __test_metadata *_metadata, struct fail *t, const struct entry *en,
		      const struct state *base)
{
	struct nth *nth = &t->s.nth;
	struct state was;
	bool failed;
	int i;

	/* The claim of the previous owner may be gone a moment later than all else. */
	for (i = 0; i < 20; i++) {
		en->before(_metadata, t);
		get_state(t, &was);
		who_fails(_metadata, t, en);
		ASSERT_TRUE(nth_arm(nth, t->s.n));
		t->ret = en->call(t);
		nth_disarm(nth);
		if (t->ret != -EBUSY)
			break;
		en->after(_metadata, t);
		usleep(50000);
	}

	failed = t->ret < 0;
	if (failed) {
		ASSERT_TRUE(nth->fired)
			TH_LOG("%s: %d, and nothing was made to fail", en->name, t->ret);
		ASSERT_TRUE(may_fail_with(en, t->ret))
			TH_LOG("%s: call %u: %d", en->name, t->s.n, t->ret);
		if (!en->takes && !not_told(en, t->ret))
			expect_state(_metadata, t, &was);
	}
	en->after(_metadata, t);
	expect_state(_metadata, t, base);
	ASSERT_TRUE(__test_passed(_metadata))
		TH_LOG("%s: call %u", en->name, t->s.n);
	return failed;
}

static void sweep(struct __test_metadata *_metadata, struct fail *t, const struct entry *en)
{
	struct nth_sweep *s = &t->s;
	unsigned int again = 0;
	struct state base;
	bool failed;

	nth_sweep_begin(s, env_num("NETMEM_STRIDE"), env_num("NETMEM_SEED"));
	get_state(t, &base);
	do {
		/* A worker that is new has not been counted. */
		do {
			failed = one_round(_metadata, t, en, &base);
		} while (nth_sweep_counts(s) && en->workers && !s->nth.calls &&
			 again++ < 5);
	} while (nth_sweep_next(s, failed, en->workers ? 3 : 1));

	nth_sweep_report(s, en->name);
	if (!en->free)
		EXPECT_LT(0, s->points);
	EXPECT_GT(NTH_MAX, s->n);
}

/* The previous owner goes away in the background. */
static void own_soon(struct __test_metadata *_metadata, struct fail *t, enum kind kind)
{
	int ret, i;

	for (i = 0; i < WAIT_MS / 50; i++) {
		ret = owner_get(&t->owner, kind, &t->pair.rx, 0, t->dmabuf, AREA_SIZE);
		if (ret != -EBUSY && ret != -EEXIST)
			break;
		usleep(50000);
	}
	ASSERT_EQ(0, ret);
}

/* All that arrives is right. */
static void expect_data(struct __test_metadata *_metadata, struct fail *t, enum kind kind)
{
	struct sender sender;
	uint64_t pos = 0;
	int sock;

	own_soon(_metadata, t, kind);
	sock = stream_open(&sender, &t->pair);
	EXPECT_EQ(0, stream_recv(&t->owner, sock, t->mem, AREA_SIZE, &pos, 2 * AREA_SIZE));
	sender_stop(&sender);
	owner_put(&t->owner);
	close(sock);
	EXPECT_TRUE(mock_released(t->dmabuf));
}

/* --- netlink */

static void before_netlink(struct __test_metadata *_metadata, struct fail *t)
{
	netdev_nl_open(&t->dm);
	ASSERT_LE(0, t->dm.sock);
}

static int call_register(struct fail *t)
{
	return dmabuf_register(&t->dm, t->pair.rx.ifindex, t->dmabuf);
}

static void after_register(struct __test_metadata *_metadata, struct fail *t)
{
	if (!t->ret) {
		ASSERT_EQ(0, dmabuf_get(&t->nl, t->dm.id, t->info));
		EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, t->info[0].owner);
		EXPECT_EQ(1, mock_stats(t->dmabuf).mapped);
	}
	devmem_unbind(&t->dm);
}

TEST_F_TIMEOUT(fail_nth, dmabuf_register, LIMIT)
{
	static const struct entry en = {
		.name = "dmabuf-register",
		.netlink = true,
		.before = before_netlink,
		.call = call_register,
		.after = after_register,
	};

	sweep(_metadata, &self->t, &en);
}

static int call_bind_fd(struct fail *t)
{
	return devmem_bind_fd(&t->dm, t->pair.rx.ifindex, 0, t->dmabuf);
}

static int call_bind_tx(struct fail *t)
{
	return devmem_bind_tx(&t->dm, t->pair.rx.ifindex, t->dmabuf);
}

static void after_bind(struct __test_metadata *_metadata, struct fail *t)
{
	if (!t->ret) {
		ASSERT_EQ(0, dmabuf_get(&t->nl, t->dm.id, t->info));
		EXPECT_EQ(NETDEV_DMABUF_OWNER_DEVMEM, t->info[0].owner);
		EXPECT_EQ(1, mock_stats(t->dmabuf).mapped);
	}
	devmem_unbind(&t->dm);
}

TEST_F_TIMEOUT(fail_nth, bind_rx, LIMIT)
{
	static const struct entry en = {
		.name = "bind-rx",
		.netlink = true,
		.before = before_netlink,
		.call = call_bind_fd,
		.after = after_bind,
	};

	sweep(_metadata, &self->t, &en);
	expect_data(_metadata, &self->t, DEVMEM);
}

TEST_F_TIMEOUT(fail_nth, bind_tx, LIMIT)
{
	static const struct entry en = {
		.name = "bind-tx",
		.netlink = true,
		.before = before_netlink,
		.call = call_bind_tx,
		.after = after_bind,
	};

	sweep(_metadata, &self->t, &en);
}

/* More than one socket, so that it does not matter where it has to stop */
static void register_some(struct __test_metadata *_metadata, struct fail *t)
{
	struct nsim *rx = &t->pair.rx;

	netdev_nl_open(&t->reg);
	ASSERT_EQ(0, dmabuf_register(&t->reg, rx->ifindex, t->other));
	ASSERT_EQ(0, dmabuf_register(&t->reg, rx->ifindex, t->other));
	ASSERT_EQ(0, dmabuf_register(&t->reg, rx->ifindex, t->dmabuf));
	t->id = t->reg.id;
}

static int call_dump(struct fail *t)
{
	return dmabuf_list(&t->dm, 0, t->info, 4);
}

static void after_dump(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret >= 0) {
		EXPECT_EQ(3, t->ret);
		EXPECT_EQ(OTHER_SIZE, t->info[0].size);
		EXPECT_EQ(OTHER_SIZE, t->info[1].size);
		EXPECT_EQ(t->id, t->info[2].id);
	}
	devmem_unbind(&t->dm);
}

static int call_get(struct fail *t)
{
	return dmabuf_get(&t->dm, t->id, t->info);
}

static void after_get(struct __test_metadata *_metadata, struct fail *t)
{
	if (!t->ret) {
		EXPECT_EQ(t->id, t->info[0].id);
		EXPECT_EQ(AREA_SIZE, t->info[0].size);
	}
	devmem_unbind(&t->dm);
}

TEST_F_TIMEOUT(fail_nth, dmabuf_get, LIMIT)
{
	static const struct entry dump = {
		.name = "dmabuf-get, all of them",
		.netlink = true,
		.before = before_netlink,
		.call = call_dump,
		.after = after_dump,
	};
	static const struct entry get = {
		.name = "dmabuf-get",
		.netlink = true,
		.before = before_netlink,
		.call = call_get,
		.after = after_get,
	};

	register_some(_metadata, &self->t);
	sweep(_metadata, &self->t, &dump);
	sweep(_metadata, &self->t, &get);
	devmem_unbind(&self->t.reg);
}

/* Nobody can be told that it has failed. */
static void before_close(struct __test_metadata *_metadata, struct fail *t)
{
	netdev_nl_open(&t->dm);
	ASSERT_EQ(0, call_register(t));
}

static int call_close(struct fail *t)
{
	int sock = t->dm.sock;

	t->dm.sock = -1;
	return close(sock) ? -errno : 0;
}

static void after_close(struct __test_metadata *_metadata, struct fail *t)
{
	struct dmabuf_info info;

	EXPECT_EQ(0, t->ret);
	EXPECT_EQ(-ENOENT, dmabuf_get(&t->nl, t->dm.id, &info));
	/* Who listens should not run out of memory for what it does not read. */
	while (dmabuf_wait(&t->reg, 0, &info) != -ETIMEDOUT)
		;
}

TEST_F_TIMEOUT(fail_nth, close_registered, LIMIT)
{
	static const struct entry en = {
		.name = "close the socket of what is registered",
		.free = true,
		.before = before_close,
		.call = call_close,
		.after = after_close,
	};

	/* Somebody listens, so memory is needed for what is told. */
	dmabuf_subscribe(&self->t.reg);
	sweep(_metadata, &self->t, &en);
	EXPECT_LT(0, self->t.s.points);
	devmem_unbind(&self->t.reg);
}

/* --- what has been registered is taken */

static void ensure_registered(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->id)
		return;
	netdev_nl_open(&t->reg);
	ASSERT_EQ(0, dmabuf_register(&t->reg, t->pair.rx.ifindex, t->dmabuf));
	t->id = t->reg.id;
}

/*
 * It is idle again, or gone if it is too late for that. In both cases there is no
 * owner.
 */
static void expect_idle_or_gone(struct __test_metadata *_metadata, struct fail *t)
{
	int ret, i;

	for (i = 0; i < WAIT_MS / 10; i++) {
		ret = dmabuf_get(&t->nl, t->id, t->info);
		if (ret || t->info[0].owner == NETDEV_DMABUF_OWNER_IDLE)
			break;
		usleep(10000);
	}
	if (!ret) {
		EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, t->info[0].owner);
		EXPECT_EQ(0, t->info[0].len);
		EXPECT_EQ(1, mock_stats(t->dmabuf).mapped);
		return;
	}
	EXPECT_EQ(-ENOENT, ret);
	EXPECT_TRUE(mock_released(t->dmabuf));
	devmem_unbind(&t->reg);
	t->id = 0;
	t->gone += t->ret < 0;
	ensure_registered(_metadata, t);
}

static int call_bind_id(struct fail *t)
{
	return devmem_bind_id(&t->dm, t->pair.rx.ifindex, 0, t->id);
}

static void after_bind_id(struct __test_metadata *_metadata, struct fail *t)
{
	if (!t->ret) {
		EXPECT_EQ(t->id, t->dm.id);
		ASSERT_EQ(0, dmabuf_get(&t->nl, t->id, t->info));
		EXPECT_EQ(NETDEV_DMABUF_OWNER_DEVMEM, t->info[0].owner);
	} else if (t->ret == -ENOMEM) {
		/* While the socket is still there */
		expect_idle_or_gone(_metadata, t);
	}
	devmem_unbind(&t->dm);
	expect_idle_or_gone(_metadata, t);
}

static void end_registered(struct __test_metadata *_metadata, struct fail *t)
{
	printf("# of these, %u were too late to give the id back\n", t->gone);
	fflush(stdout);
	devmem_unbind(&t->reg);
	EXPECT_TRUE(mock_released(t->dmabuf));
	t->id = 0;
}

TEST_F_TIMEOUT(fail_nth, bind_rx_id, LIMIT)
{
	static const struct entry en = {
		.name = "bind-rx by id",
		.netlink = true,
		.takes = true,
		.before = before_netlink,
		.call = call_bind_id,
		.after = after_bind_id,
	};

	ensure_registered(_metadata, &self->t);
	sweep(_metadata, &self->t, &en);
	end_registered(_metadata, &self->t);
	expect_data(_metadata, &self->t, DEVMEM);
}

/* --- rings */

/* A ring that has failed to register is used again. */
static void before_ring(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->owner.ring.fd < 0)
		zc_ring_open(&t->owner.ring);
	ASSERT_LE(0, t->owner.ring.fd);
}

static int call_ring(struct fail *t)
{
	return zc_register(&t->owner.ring, t->pair.rx.ifindex, 0, t->dmabuf,
			   t->offset, t->size);
}

/* There are so many, among them the dma-buf with the right part */
static void expect_ring_owns(struct __test_metadata *_metadata, struct fail *t, int nr)
{
	struct dmabuf_info *info = t->info;

	ASSERT_EQ(nr, dmabuf_list(&t->nl, 0, info, 4));
	if (info->size != AREA_SIZE)
		info++;
	EXPECT_EQ(AREA_SIZE, info->size);
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IO_URING, info->owner);
	EXPECT_EQ(t->offset, info->offset);
	EXPECT_EQ(t->size, info->len);
}

static void after_ring(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret < 0)
		return;
	expect_ring_owns(_metadata, t, 1);
	EXPECT_EQ(1, mock_stats(t->dmabuf).mapped);
	zc_ring_close(&t->owner.ring);
}

static void sweep_ring(struct __test_metadata *_metadata, struct fail *t, const char *name,
		       size_t offset, size_t size)
{
	const struct entry en = {
		.name = name,
		.before = before_ring,
		.call = call_ring,
		.after = after_ring,
	};

	t->offset = offset;
	t->size = size;
	sweep(_metadata, t, &en);
	zc_ring_close(&t->owner.ring);
	expect_data(_metadata, t, ZCRX);
}

TEST_F_TIMEOUT(fail_nth, zcrx, LIMIT)
{
	sweep_ring(_metadata, &self->t, "zcrx on a dma-buf", 0, AREA_SIZE);
}

TEST_F_TIMEOUT(fail_nth, zcrx_part, LIMIT)
{
	sweep_ring(_metadata, &self->t, "zcrx on a part", 16 * PAGE, 32 * PAGE);
}

static int call_ring_id(struct fail *t)
{
	return zc_register_id(&t->owner.ring, t->pair.rx.ifindex, 0, t->id,
			      t->offset, t->size);
}

static void after_ring_id(struct __test_metadata *_metadata, struct fail *t)
{
	if (!t->ret) {
		expect_ring_owns(_metadata, t, 1);
		zc_ring_close(&t->owner.ring);
	}
	expect_idle_or_gone(_metadata, t);
}

TEST_F_TIMEOUT(fail_nth, zcrx_id, LIMIT)
{
	static const struct entry en = {
		.name = "zcrx by id",
		.takes = true,
		.before = before_ring,
		.call = call_ring_id,
		.after = after_ring_id,
	};

	self->t.size = AREA_SIZE;
	ensure_registered(_metadata, &self->t);
	sweep(_metadata, &self->t, &en);
	zc_ring_close(&self->t.owner.ring);
	end_registered(_metadata, &self->t);
	expect_data(_metadata, &self->t, ZCRX);
}

/* One that receives into a part of the other dma-buf, and gets one more area */
static void ensure_ring(struct __test_metadata *_metadata, struct fail *t)
{
	int ret, i;

	if (t->owner.ring.fd >= 0)
		return;
	for (i = 0; i < 100; i++) {
		zc_ring_open(&t->owner.ring);
		ret = zc_register(&t->owner.ring, t->pair.rx.ifindex, 0, t->other, 0,
				  OTHER_SIZE);
		if (ret != -EBUSY && ret != -EEXIST)
			break;
		zc_ring_close(&t->owner.ring);
		usleep(50000);
	}
	ASSERT_EQ(0, ret);
}

static void before_area(struct __test_metadata *_metadata, struct fail *t)
{
	ASSERT_LE(0, t->owner.ring.fd);
}

static int call_area(struct fail *t)
{
	__u64 token;

	return zc_add_area(&t->owner.ring, t->dmabuf, t->offset, t->size, &token);
}

static int call_area_id(struct fail *t)
{
	__u64 token;

	return zc_add_area_id(&t->owner.ring, t->id, t->offset, t->size, &token);
}

/* Areas go with the ring. */
static void after_area(struct __test_metadata *_metadata, struct fail *t)
{
	if (!t->ret) {
		expect_ring_owns(_metadata, t, 2);
		zc_ring_close(&t->owner.ring);
		if (!t->id)
			EXPECT_TRUE(mock_released(t->dmabuf));
		EXPECT_TRUE(mock_released(t->other));
	}
	if (t->id)
		expect_idle_or_gone(_metadata, t);
	ensure_ring(_metadata, t);
}

TEST_F_TIMEOUT(fail_nth, add_area, LIMIT)
{
	static const struct entry en = {
		.name = "ADD_AREA",
		.before = before_area,
		.call = call_area,
		.after = after_area,
	};

	self->t.offset = PAGE;
	self->t.size = 64 * PAGE;
	ensure_ring(_metadata, &self->t);
	sweep(_metadata, &self->t, &en);
	zc_ring_close(&self->t.owner.ring);
	EXPECT_TRUE(mock_released(self->t.other));
	expect_data(_metadata, &self->t, ZCRX);
}

TEST_F_TIMEOUT(fail_nth, add_area_id, LIMIT)
{
	static const struct entry en = {
		.name = "ADD_AREA by id",
		.takes = true,
		.before = before_area,
		.call = call_area_id,
		.after = after_area,
	};

	self->t.offset = PAGE;
	self->t.size = 64 * PAGE;
	ensure_registered(_metadata, &self->t);
	ensure_ring(_metadata, &self->t);
	sweep(_metadata, &self->t, &en);
	zc_ring_close(&self->t.owner.ring);
	EXPECT_TRUE(mock_released(self->t.other));
	end_registered(_metadata, &self->t);
}

/* --- queues are stopped, for which they have to be restarted with other memory */

static void before_stop(struct __test_metadata *_metadata, struct fail *t)
{
	own_soon(_metadata, t, t->owner.kind);
}

/* It is not done before everything is free: a worker closes a ring. */
static int call_put(struct fail *t)
{
	owner_put(&t->owner);
	return mock_released(t->dmabuf) ? 0 : -ETIMEDOUT;
}

static void after_put(struct __test_metadata *_metadata, struct fail *t)
{
	EXPECT_EQ(0, t->ret);
}

static void sweep_put(struct __test_metadata *_metadata, struct fail *t, enum kind owner,
		      const char *name)
{
	const struct entry en = {
		.name = name,
		.free = true,
		.workers = owner == ZCRX,
		.before = before_stop,
		.call = call_put,
		.after = after_put,
	};

	t->owner.kind = owner;
	sweep(_metadata, t, &en);
	EXPECT_LT(0, t->s.points);
	expect_data(_metadata, t, owner);
}

TEST_F_TIMEOUT(fail_nth, close_zcrx, LIMIT)
{
	sweep_put(_metadata, &self->t, ZCRX, "close a ring");
}

TEST_F_TIMEOUT(fail_nth, close_devmem, LIMIT)
{
	sweep_put(_metadata, &self->t, DEVMEM, "close the socket of a binding");
}

static int call_revoke(struct fail *t)
{
	struct dma_buf_mock_cmd cmd = {
		.fd = t->dmabuf,
		.op = DMA_BUF_MOCK_REVOKE,
		.arg = { DMA_BUF_MOCK_REVOKE_LOCKED },
	};

	return ioctl(t->mock_dev, DMA_BUF_MOCK_IOC_CMD, &cmd) ? -errno : 0;
}

static void after_revoke(struct __test_metadata *_metadata, struct fail *t)
{
	EXPECT_EQ(t->ret ? 1 : 0, mock_stats(t->dmabuf).mapped);
	EXPECT_EQ(0, mock_stats(t->dmabuf).violations);
	owner_put(&t->owner);
	if (!t->ret)
		EXPECT_EQ(0, mock_restore(t->dmabuf));
}

static void sweep_revoke(struct __test_metadata *_metadata, struct fail *t, enum kind owner,
			 bool workers, const char *name)
{
	const struct entry en = {
		.name = name,
		.free = true,
		.workers = workers,
		.before = before_stop,
		.call = call_revoke,
		.after = after_revoke,
	};

	t->owner.kind = owner;
	sweep(_metadata, t, &en);
	if (workers)
		EXPECT_LT(0, t->s.points);
}

TEST_F_TIMEOUT(fail_nth, revoke_zcrx, LIMIT)
{
	sweep_revoke(_metadata, &self->t, ZCRX, false, "revoke what zcrx has");
	sweep_revoke(_metadata, &self->t, ZCRX, true, "stop zcrx");
	expect_data(_metadata, &self->t, ZCRX);
}

TEST_F_TIMEOUT(fail_nth, revoke_devmem, LIMIT)
{
	sweep_revoke(_metadata, &self->t, DEVMEM, false, "revoke what devmem TCP has");
	sweep_revoke(_metadata, &self->t, DEVMEM, true, "stop devmem TCP");
	expect_data(_metadata, &self->t, DEVMEM);
}

TEST_HARNESS_MAIN
