// SPDX-License-Identifier: GPL-2.0

/* KUnit tests for who owns which part of a dma-buf, see netmem_test.c
 *
 * Claims are about the size of a dma-buf and about which one it is, so that these
 * have nothing else.
 */

#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/dma-buf.h>
#include <linux/kthread.h>
#include <linux/netlink.h>
#include <linux/wait.h>
#include <net/netmem_dmabuf.h>

#define TEST_PAGES	31
#define RACE_ROUNDS	10000

static struct dma_buf *fake_dmabuf(struct kunit *test)
{
	struct dma_buf *dmabuf;

	dmabuf = kunit_kzalloc(test, sizeof(*dmabuf), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dmabuf);
	dmabuf->size = TEST_PAGES * PAGE_SIZE;
	return dmabuf;
}

static int claim(struct kunit *test, struct netmem_claim *claim, u64 start,
		 u64 size, enum netmem_owner owner, const char *says)
{
	struct netlink_ext_ack extack = {};
	int err;

	err = netmem_claim_get(claim, test->priv, start * PAGE_SIZE,
			       size * PAGE_SIZE, owner, &extack);
	if (says) {
		KUNIT_ASSERT_NOT_NULL(test, extack._msg);
		KUNIT_EXPECT_NOT_NULL(test, strstr(extack._msg, says));
	} else {
		KUNIT_EXPECT_NULL(test, extack._msg);
	}
	return err;
}

static void test_claims(struct kunit *test)
{
	struct netmem_claim a = {}, b = {}, c = {};

	KUNIT_ASSERT_EQ(test, 0, claim(test, &a, 4, 8, NETMEM_OWNER_DEVMEM, NULL));

	/* All kinds of overlap, of all kinds of owners */
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &b, 4, 8, NETMEM_OWNER_DEVMEM, "devmem"));
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &b, 0, 5, NETMEM_OWNER_IO_URING, "devmem"));
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &b, 11, 1, NETMEM_OWNER_IO_URING, "devmem"));
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &b, 6, 1, NETMEM_OWNER_DEVMEM, "devmem"));
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &b, 0, 31, NETMEM_OWNER_DEVMEM, "devmem"));

	/* Neighbours do not overlap. */
	KUNIT_EXPECT_EQ(test, 0, claim(test, &b, 0, 4, NETMEM_OWNER_IO_URING, NULL));
	KUNIT_EXPECT_EQ(test, 0, claim(test, &c, 12, 19, NETMEM_OWNER_DEVMEM, NULL));

	netmem_claim_put(&a);
	netmem_claim_put(&a);
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &a, 3, 9, NETMEM_OWNER_DEVMEM, "io_uring"));
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(test, &a, 3, 1, NETMEM_OWNER_IO_URING, "io_uring"));
	KUNIT_EXPECT_EQ(test, 0, claim(test, &a, 4, 8, NETMEM_OWNER_IO_URING, NULL));

	netmem_claim_put(&a);
	netmem_claim_put(&b);
	netmem_claim_put(&c);
	KUNIT_EXPECT_EQ(test, 0, claim(test, &a, 0, 31, NETMEM_OWNER_DEVMEM, NULL));
	netmem_claim_put(&a);
}

static void test_claim_range(struct kunit *test)
{
	struct netlink_ext_ack extack = {};
	struct netmem_claim c = {};

	KUNIT_EXPECT_EQ(test, -EINVAL, claim(test, &c, 0, 0, NETMEM_OWNER_DEVMEM, "page-aligned"));
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(test, &c, 0, 32, NETMEM_OWNER_DEVMEM, "beyond"));
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(test, &c, 31, 1, NETMEM_OWNER_DEVMEM, "beyond"));
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(test, &c, 30, 2, NETMEM_OWNER_DEVMEM, "beyond"));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			netmem_claim_get(&c, test->priv, -PAGE_SIZE,
					 2 * PAGE_SIZE, NETMEM_OWNER_DEVMEM,
					 &extack));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			netmem_claim_get(&c, test->priv, 1, PAGE_SIZE,
					 NETMEM_OWNER_DEVMEM, &extack));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			netmem_claim_get(&c, test->priv, 0, PAGE_SIZE + 1,
					 NETMEM_OWNER_DEVMEM, NULL));
	KUNIT_EXPECT_EQ(test, 0, claim(test, &c, 30, 1, NETMEM_OWNER_DEVMEM, NULL));
	netmem_claim_put(&c);
	KUNIT_EXPECT_NULL(test, c.dmabuf);
}

/* More dma-bufs than places to look for their claims */
static void test_claims_of_others(struct kunit *test)
{
	const unsigned int nr = 200;
	struct netmem_claim *claims;
	unsigned int i;

	claims = kunit_kcalloc(test, nr, sizeof(*claims), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, claims);
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_EQ(test, 0,
				netmem_claim_get(&claims[i], fake_dmabuf(test),
						 0, PAGE_SIZE,
						 NETMEM_OWNER_DEVMEM, NULL));
	for (i = 0; i < nr; i++)
		netmem_claim_put(&claims[i]);
}

/* Two threads claim parts of the dma-buf at the same time, round after round. */

struct race_parts {
	u32 start, size;	/* pages */
};

static const struct race_parts overlapping[][2] = {
	{ { 4, 8 }, { 4, 8 } },
	{ { 0, 16 }, { 8, 16 } },
	{ { 15, 1 }, { 0, 31 } },
	{ { 9, 22 }, { 0, 10 } },
	{ { 30, 1 }, { 30, 1 } },
};

static const struct race_parts neighbours[][2] = {
	{ { 0, 8 }, { 8, 8 } },
	{ { 16, 15 }, { 0, 16 } },
	{ { 15, 1 }, { 14, 1 } },
};

struct claim_race {
	struct dma_buf			*dmabuf;
	const struct race_parts		(*parts)[2];
	unsigned int			nr_parts;
	atomic_t			arrived;
	wait_queue_head_t		wait;
	struct netmem_claim		claims[2];
	int				errs[2];

	/* rounds with so many winners, and what must not be */
	unsigned int			winners[3];
	unsigned int			won[2];
	atomic_t			wrong_error, wrong_message, not_free;
};

struct racer {
	struct claim_race	*race;
	int			i;
	struct completion	done;
};

/* Both leave together, and see what the other has written before. */
static void meet(struct claim_race *race, unsigned int *target)
{
	unsigned int spins;

	*target += 2;
	if (atomic_inc_return(&race->arrived) == *target)
		wake_up_all(&race->wait);
	/* They would not leave together if one had to be woken up. */
	for (spins = 0; spins < 10000 && num_online_cpus() > 1; spins++) {
		if (atomic_read_acquire(&race->arrived) >= *target)
			return;
		cpu_relax();
	}
	wait_event(race->wait, atomic_read_acquire(&race->arrived) >= *target);
}

/* All pairs of kinds, one after the other */
static enum netmem_owner race_kind(unsigned int round, int i)
{
	return round >> i & 1 ? NETMEM_OWNER_IO_URING : NETMEM_OWNER_DEVMEM;
}

static void race_claim(struct claim_race *race, unsigned int round, int i)
{
	const struct race_parts *part = &race->parts[round % race->nr_parts][i];
	struct netlink_ext_ack extack = {};
	const char *other;
	int err;

	err = netmem_claim_get(&race->claims[i], race->dmabuf,
			       part->start * PAGE_SIZE, part->size * PAGE_SIZE,
			       race_kind(round, i), &extack);
	race->errs[i] = err;
	if (err && err != -EBUSY)
		atomic_inc(&race->wrong_error);

	other = race_kind(round, !i) == NETMEM_OWNER_DEVMEM ? "devmem TCP" :
							      "io_uring";
	if (err ? !extack._msg || !strstr(extack._msg, other) : !!extack._msg)
		atomic_inc(&race->wrong_message);
}

static int race_thread(void *data)
{
	struct racer *r = data;
	struct claim_race *race = r->race;
	struct netmem_claim all = {};
	unsigned int target = 0, round;

	for (round = 0; round < RACE_ROUNDS; round++) {
		meet(race, &target);
		race_claim(race, round, r->i);
		meet(race, &target);
		if (!r->i)
			race->winners[!race->errs[0] + !race->errs[1]]++;
		if (!race->errs[r->i]) {
			race->won[r->i]++;
			netmem_claim_put(&race->claims[r->i]);
		}
		meet(race, &target);
		/* Whoever won, nothing is left. */
		if (r->i != round % 2)
			continue;
		if (netmem_claim_get(&all, race->dmabuf, 0,
				     TEST_PAGES * PAGE_SIZE, NETMEM_OWNER_DEVMEM,
				     NULL))
			atomic_inc(&race->not_free);
		netmem_claim_put(&all);
	}
	complete(&r->done);
	return 0;
}

static struct claim_race *run_race(struct kunit *test,
				   const struct race_parts (*parts)[2],
				   unsigned int nr_parts)
{
	struct task_struct *tasks[2];
	struct claim_race *race;
	struct racer *racers;
	int i;

	race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	racers = kunit_kcalloc(test, 2, sizeof(*racers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, race);
	KUNIT_ASSERT_NOT_NULL(test, racers);
	race->dmabuf = test->priv;
	race->parts = parts;
	race->nr_parts = nr_parts;
	init_waitqueue_head(&race->wait);

	for (i = 0; i < 2; i++) {
		racers[i].race = race;
		racers[i].i = i;
		init_completion(&racers[i].done);
		tasks[i] = kthread_create(race_thread, &racers[i],
					  "netmem-claim-%d", i);
		if (IS_ERR(tasks[i]) && i)
			kthread_stop(tasks[0]);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, tasks[i]);
	}
	for (i = 0; i < 2; i++)
		wake_up_process(tasks[i]);
	for (i = 0; i < 2; i++)
		wait_for_completion(&racers[i].done);

	KUNIT_EXPECT_EQ(test, atomic_read(&race->wrong_error), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&race->wrong_message), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&race->not_free), 0);
	return race;
}

static void test_claim_race(struct kunit *test)
{
	struct claim_race *race;

	race = run_race(test, overlapping, ARRAY_SIZE(overlapping));
	KUNIT_EXPECT_EQ(test, race->winners[0], 0);
	KUNIT_EXPECT_EQ(test, race->winners[1], RACE_ROUNDS);
	KUNIT_EXPECT_EQ(test, race->winners[2], 0);
	KUNIT_EXPECT_GT(test, race->won[0], 0);
	KUNIT_EXPECT_GT(test, race->won[1], 0);
	kunit_info(test, "won by %u and %u", race->won[0], race->won[1]);
}

static void test_claim_race_neighbours(struct kunit *test)
{
	struct claim_race *race;

	race = run_race(test, neighbours, ARRAY_SIZE(neighbours));
	KUNIT_EXPECT_EQ(test, race->winners[2], RACE_ROUNDS);
}

static int netmem_claim_test_init(struct kunit *test)
{
	test->priv = fake_dmabuf(test);
	return 0;
}

static struct kunit_case netmem_claim_test_cases[] = {
	KUNIT_CASE(test_claims),
	KUNIT_CASE(test_claim_range),
	KUNIT_CASE(test_claims_of_others),
	KUNIT_CASE_SLOW(test_claim_race),
	KUNIT_CASE_SLOW(test_claim_race_neighbours),
	{}
};

static struct kunit_suite netmem_claim_test_suite = {
	.name		= "netmem-claim",
	.init		= netmem_claim_test_init,
	.test_cases	= netmem_claim_test_cases,
};

kunit_test_suite(netmem_claim_test_suite);

MODULE_DESCRIPTION("KUnit tests for the owners of dma-bufs");
MODULE_LICENSE("GPL");
