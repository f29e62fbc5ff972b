// SPDX-License-Identifier: GPL-2.0
/*
 * Who owns which part of a dma-buf: for every way to become an owner, every way
 * for somebody else to want the same, on the same netdev and on others, and two
 * who want it at the same time.
 *
 * Who is told that a dma-buf is gone can have it at once, so nothing here is tried
 * again until it works.
 *
 * Environment: NETMEM_ROUNDS, how often two want it at the same time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netdev.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "netmem_fixture.h"

/* What a ring has before it wants more */
#define OTHER_SIZE	(8 * PAGE)
#define LIMIT		900	/* seconds, for a slow machine */
#define RACE_LIMIT	(24 * 3600)

FIXTURE(claims) {
	struct nsim_pair pair;
	struct nsim port;		/* another one, where the first one is */
	struct devmem ntf[2];		/* listen in either network namespace */
	int dmabuf, other;
};

FIXTURE_SETUP(claims)
{
	if (!fixture_open(_metadata, &self->pair, 2, &self->dmabuf))
		return;
	nsim_add_port(&self->pair.rx, &self->port);
	dmabuf_subscribe(&self->ntf[0]);
	nsim_enter(&self->pair.tx);
	dmabuf_subscribe(&self->ntf[1]);
	self->other = mock_create(OTHER_SIZE, 0, 0);
}

FIXTURE_TEARDOWN(claims)
{
	int i;

	if (!self->pair.home)
		return;
	for (i = 0; i < 2; i++)
		devmem_unbind(&self->ntf[i]);
	EXPECT_TRUE(mock_released(self->other));
	close(self->other);
	fixture_close(_metadata, &self->pair, self->dmabuf);
}

/* --- one who wants it */

/* With a file descriptor or what is registered; as the first area or another */
enum way { ZCRX_FD, ZCRX_ID, AREA_FD, AREA_ID, DEVMEM_FD, DEVMEM_ID, NR_WAYS };

static const char * const way_names[] = {
	"zcrx", "zcrx by id", "area", "area by id", "devmem", "devmem by id",
};

static bool is_area(enum way way)
{
	return way == AREA_FD || way == AREA_ID;
}

static bool is_id(enum way way)
{
	return way == ZCRX_ID || way == AREA_ID || way == DEVMEM_ID;
}

static enum kind kind_of(enum way way)
{
	return way == DEVMEM_FD || way == DEVMEM_ID ? DEVMEM : ZCRX;
}

/* What an extack calls the owner */
static const char *name_of(enum kind kind)
{
	return kind == DEVMEM ? "devmem TCP" : "io_uring";
}

struct claimer {
	enum way way;
	const struct nsim *nsim;
	int queue;
	struct part part;
	struct owner owner;
	struct devmem nl;	/* has it registered */
};

/* The ring has something else already if it is to get an area more. */
static int prepare(struct _test_data_claims *self, struct claimer *c)
{
	struct part other = {
		.dmabuf = self->other,
		.offset = c->queue * PAGE,
		.size = PAGE,
	};
	int ret = 0;

	owner_open(&c->owner, kind_of(c->way), c->nsim);
	netdev_nl_open(&c->nl);
	c->part.dmabuf = self->dmabuf;
	if (is_id(c->way)) {
		ret = dmabuf_register(&c->nl, c->nsim->ifindex, self->dmabuf);
		c->part.id = c->nl.id;
	}
	if (!ret && is_area(c->way))
		ret = owner_take(&c->owner, c->nsim, c->queue, &other);
	return ret;
}

static int add_area(struct owner *owner, const struct part *part)
{
	__u64 token;

	if (part->id)
		return zc_add_area_id(&owner->ring, part->id, part->offset,
				      part->size, &token);
	return zc_add_area(&owner->ring, part->dmabuf, part->offset, part->size,
			   &token);
}

static int claim(struct claimer *c)
{
	if (is_area(c->way))
		return add_area(&c->owner, &c->part);
	return owner_take(&c->owner, c->nsim, c->queue, &c->part);
}

static bool wait_gone(struct devmem *ntf, size_t size)
{
	struct dmabuf_info info;
	int cmd;

	do {
		cmd = dmabuf_wait(ntf, WAIT_MS, &info);
	} while (cmd == NETDEV_CMD_DMABUF_CHANGE_NTF ||
		 (cmd == NETDEV_CMD_DMABUF_DEL_NTF && info.size != size));
	return cmd == NETDEV_CMD_DMABUF_DEL_NTF;
}

/* Lets go of what it has claimed, and waits until it is free. */
static bool put(struct _test_data_claims *self, struct claimer *c)
{
	struct devmem *ntf = &self->ntf[c->nsim == &self->pair.tx];

	owner_put(&c->owner);
	devmem_unbind(&c->nl);
	return wait_gone(ntf, AREA_SIZE);
}

/* Another has claimed it: it is refused, and told why; what was idle still is. */
static void expect_busy(struct __test_metadata *_metadata, struct claimer *c,
			enum kind who)
{
	struct dmabuf_info info = {};

	ASSERT_EQ(-EBUSY, claim(c));
	if (kind_of(c->way) == DEVMEM)
		EXPECT_NE(NULL, strstr(c->owner.dm.msg, name_of(who)))
			TH_LOG("'%s'", c->owner.dm.msg);
	if (is_id(c->way)) {
		EXPECT_EQ(0, dmabuf_get(&c->nl, c->part.id, &info));
		EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, info.owner);
		EXPECT_EQ(0, info.len);
	}
}

/* --- one after the other */

/* They have one page in common, but devmem TCP has it all. */
static const struct part lower = { .size = AREA_SIZE / 2 + PAGE };
static const struct part upper = { .offset = AREA_SIZE / 2, .size = AREA_SIZE / 2 };

static void every_pair(struct __test_metadata *_metadata,
		       struct _test_data_claims *self, const struct nsim *where)
{
	struct claimer a, b;
	int i;

	for (i = 0; i < NR_WAYS * NR_WAYS; i++) {
		a = (struct claimer) {
			.way = i / NR_WAYS,
			.nsim = &self->pair.rx,
			.part = lower,
		};
		b = (struct claimer) {
			.way = i % NR_WAYS,
			.nsim = where,
			.queue = 1,
			.part = upper,
		};
		TH_LOG("%s, then %s", way_names[a.way], way_names[b.way]);
		ASSERT_EQ(0, prepare(self, &a));
		ASSERT_EQ(0, prepare(self, &b));
		ASSERT_EQ(0, claim(&a));
		expect_busy(_metadata, &b, kind_of(a.way));
		ASSERT_TRUE(put(self, &a));
		ASSERT_EQ(0, claim(&b));
		ASSERT_TRUE(put(self, &b));
	}
}

TEST_F_TIMEOUT(claims, same_netdev, LIMIT)
{
	every_pair(_metadata, self, &self->pair.rx);
}

TEST_F_TIMEOUT(claims, other_netdev, LIMIT)
{
	every_pair(_metadata, self, &self->port);
}

TEST_F_TIMEOUT(claims, other_netns, LIMIT)
{
	every_pair(_metadata, self, &self->pair.tx);
}

/* Areas of one ring are in each other's way like those of two. */
TEST_F_TIMEOUT(claims, same_ring, LIMIT)
{
	struct part again;
	struct claimer a;
	struct devmem nl;
	bool by_id;
	int i;

	/* All ways of rings */
	for (i = 0; i < 2 * DEVMEM_FD; i++) {
		a = (struct claimer) {
			.way = i / 2,
			.nsim = &self->pair.rx,
			.part = lower,
		};
		by_id = i % 2;
		TH_LOG("%s, then%s", way_names[a.way], by_id ? " by id" : "");
		ASSERT_EQ(0, prepare(self, &a));
		ASSERT_EQ(0, claim(&a));
		netdev_nl_open(&nl);
		if (by_id)
			ASSERT_EQ(0, dmabuf_register(&nl, a.nsim->ifindex,
						     self->dmabuf));
		again = upper;
		again.dmabuf = self->dmabuf;
		again.id = nl.id;
		EXPECT_EQ(-EBUSY, add_area(&a.owner, &again));
		/* All but the page that they have in common */
		again.offset += PAGE;
		again.size -= PAGE;
		EXPECT_EQ(0, add_area(&a.owner, &again));
		devmem_unbind(&nl);
		ASSERT_TRUE(put(self, &a));
		/* Both areas */
		ASSERT_TRUE(wait_gone(&self->ntf[0], AREA_SIZE));
	}
}

/* What is registered is nobody's: it is in nobody's way. */
TEST_F_TIMEOUT(claims, registered, LIMIT)
{
	const struct nsim *where[] = { &self->pair.rx, &self->port, &self->pair.tx };
	struct claimer idle, c;
	int i;

	for (i = 0; i < NR_WAYS * ARRAY_SIZE(where); i++) {
		idle = (struct claimer) {
			.way = DEVMEM_ID,
			.nsim = &self->pair.rx,
			.part = lower,
		};
		c = (struct claimer) {
			.way = i % NR_WAYS,
			.nsim = where[i / NR_WAYS],
			.queue = 1,
			.part = upper,
		};
		ASSERT_EQ(0, prepare(self, &idle));
		ASSERT_EQ(0, prepare(self, &c));
		ASSERT_EQ(0, claim(&c));
		expect_busy(_metadata, &idle, kind_of(c.way));
		ASSERT_TRUE(put(self, &c));
		/* That it was not taken it has survived, but not this. */
		ASSERT_TRUE(put(self, &idle));
	}
}

TEST_F_TIMEOUT(claims, parts, LIMIT)
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
	EXPECT_EQ(-EBUSY, owner_get(&dm, DEVMEM, &self->pair.tx, 0, self->dmabuf,
				    AREA_SIZE));

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

/* --- at the same time */

struct racer {
	struct claimer c;
	struct _test_data_claims *self;
	pthread_barrier_t *barrier;
	long late_ns;
	int prepared, ret, again;
};

static long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* A ring is for the thread that has opened it. */
static void *race(void *data)
{
	struct racer *r = data;
	long long start;

	r->prepared = prepare(r->self, &r->c);
	pthread_barrier_wait(r->barrier);
	start = now_ns();
	while (now_ns() - start < r->late_ns)
		;
	r->ret = r->prepared ?: claim(&r->c);
	pthread_barrier_wait(r->barrier);
	/* The winner lets go */
	pthread_barrier_wait(r->barrier);
	r->again = r->ret ? claim(&r->c) : 0;
	return NULL;
}

/* The ways of two racers */
static const enum way races[][2] = {
	{ ZCRX_FD, DEVMEM_FD },
	{ DEVMEM_FD, ZCRX_FD },
	{ DEVMEM_FD, DEVMEM_FD },
	{ ZCRX_FD, ZCRX_FD },
	{ ZCRX_ID, DEVMEM_ID },
	{ DEVMEM_ID, ZCRX_FD },
	{ AREA_FD, DEVMEM_FD },
	{ AREA_ID, ZCRX_ID },
};

#define NR_RACES	ARRAY_SIZE(races)
/* By so much later starts who has won, next time, so that it is close. */
#define LATE_NS		20000

static void race_once(struct __test_metadata *_metadata,
		      struct _test_data_claims *self, int which,
		      pthread_barrier_t *barrier, long *late_ns, int *wins)
{
	struct racer r[2], *winner, *loser;
	pthread_t t[2];
	int i;

	for (i = 0; i < 2; i++) {
		r[i] = (struct racer) {
			.c.way = races[which][i],
			.c.nsim = i ? &self->pair.tx : &self->pair.rx,
			.c.queue = i,
			.c.part = i ? upper : lower,
			.self = self,
			.barrier = barrier,
			.late_ns = i ? -*late_ns : *late_ns,
		};
		ASSERT_EQ(0, pthread_create(&t[i], NULL, race, &r[i]));
	}
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	ASSERT_EQ(0, r[0].prepared);
	ASSERT_EQ(0, r[1].prepared);

	/* Exactly one winner, and the loser knows who that is */
	ASSERT_TRUE(!r[0].ret != !r[1].ret)
		TH_LOG("%d and %d", r[0].ret, r[1].ret);
	winner = r[0].ret ? &r[1] : &r[0];
	loser = r[0].ret ? &r[0] : &r[1];
	ASSERT_EQ(-EBUSY, loser->ret);
	if (kind_of(loser->c.way) == DEVMEM)
		EXPECT_NE(NULL, strstr(loser->c.owner.dm.msg,
				       name_of(kind_of(winner->c.way))));
	wins[winner - r]++;
	*late_ns += winner == r ? LATE_NS : -LATE_NS;

	ASSERT_TRUE(put(self, &winner->c));
	pthread_barrier_wait(barrier);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	ASSERT_EQ(0, loser->again);
	ASSERT_TRUE(put(self, &loser->c));
}

TEST_F_TIMEOUT(claims, race, RACE_LIMIT)
{
	int round, rounds = netmem_rounds(4 * NR_RACES), wins[2] = {};
	long long start = now_ns();
	long late_ns[NR_RACES] = {};
	pthread_barrier_t barrier;

	/* This thread as well */
	pthread_barrier_init(&barrier, NULL, 3);
	for (round = 0; round < rounds; round++) {
		race_once(_metadata, self, round % NR_RACES, &barrier,
			  &late_ns[round % NR_RACES], wins);
		ASSERT_TRUE(__test_passed(_metadata))
			TH_LOG("in round %d", round);
	}
	TH_LOG("%d rounds, %lld us each, won by %d and %d", rounds,
	       rounds ? (now_ns() - start) / 1000 / rounds : 0, wins[0], wins[1]);
	if (rounds >= 100) {
		EXPECT_GT(wins[0], 0);
		EXPECT_GT(wins[1], 0);
	}
}

TEST_HARNESS_MAIN
