/* SPDX-License-Identifier: GPL-2.0 */
/* From the environment of a test to the harness. */
#ifndef DMABUF_IO_FIXTURE_H
#define DMABUF_IO_FIXTURE_H

#include <unistd.h>
#include "kselftest_harness.h"
#include "burst.h"
#include "env.h"
#include "mock.h"
#include "sysfs.h"
#include "watch.h"

#define MIB(n)		((size_t)(n) << 20)

/* SKIP() for what the kernel or the machine lacks, see DMABUF_IO_REQUIRE */
#define LACKS(statement, ...) do {					\
	ASSERT_FALSE(env_required())					\
		TH_LOG(__VA_ARGS__);					\
	SKIP(statement, __VA_ARGS__);					\
} while (0)

/* For what returns like env_open(). The test has to return if this is false. */
static inline bool fixture_ready(struct __test_metadata *_metadata, int ret, const char *why)
{
	if (ret == ENV_SKIP)
		SKIP(return false, "%s", why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", why);
	return true;
}

/* In FIXTURE_SETUP, which has to return if this is false */
static inline bool fixture_open(struct __test_metadata *_metadata, struct env *e,
				enum mem_kind kind, size_t size, unsigned int ring_flags)
{
	if (!fixture_ready(_metadata, env_open(e, kind, size, ring_flags), e->why))
		return false;
	if ((ring_flags & IORING_SETUP_IOPOLL) &&
	    sysfs_get_num("/sys/block/%s/queue/io_poll", e->disk.name) != 1) {
		env_close(e);
		LACKS(return false, "the disk has no poll queues");
	}
	return true;
}

/* In FIXTURE_TEARDOWN */
static inline void fixture_close(struct __test_metadata *_metadata, struct env *e)
{
	EXPECT_EQ(0, env_close(e))
		TH_LOG("%s", e->why);
}

/*
 * Before that, where the buffer is one of the exporter for tests: he has got it back
 * from @slot, and has never had to wait for that longer than @wait_us.
 */
static inline void fixture_mock_close(struct __test_metadata *_metadata, struct env *e,
				      unsigned int slot, unsigned long long wait_us)
{
	struct dma_buf_mock_stats stats;
	int tries = 100;

	EXPECT_EQ(0, ring_clear(&e->ring, slot));
	EXPECT_EQ(0, mock_auto(e->mem.fd, 0, 0));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, RING_TIMEOUT_MS));
	/* The exporter learns of it a little later */
	do {
		EXPECT_EQ(0, mock_stats(e->mem.fd, &stats));
	} while (stats.attached && tries-- && !usleep(10000));
	EXPECT_EQ(0ULL, stats.violations);
	EXPECT_EQ(0ULL, stats.attached);
	EXPECT_EQ(0ULL, stats.mapped);
	EXPECT_EQ(0ULL, stats.pinned);
	EXPECT_GE(wait_us, stats.longest_wait_us);
	ksft_print_msg("%llu moves, %llu invalidations, %llu mappings, longest wait %llu us\n",
		       stats.moves, stats.invalidations, stats.maps, stats.longest_wait_us);
}

/* --- many requests at once, of all of the buffer */

static inline void fixture_burst_submit(struct __test_metadata *_metadata, struct burst *b,
					struct env *e, unsigned int slot, bool write,
					unsigned int nr)
{
	ASSERT_EQ(0, burst_prepare(b, e, &e->mem, write, nr))
		TH_LOG("%s", b->why);
	ASSERT_EQ(0, burst_submit(b, e->disk.fd, slot, nr, 0))
		TH_LOG("%s", b->why);
}

/* and see that they are under way */
static inline void fixture_burst_start(struct __test_metadata *_metadata, struct burst *b,
				       struct env *e, unsigned int slot, bool write,
				       unsigned int nr)
{
	ASSERT_EQ(0, burst_prepare(b, e, &e->mem, write, nr))
		TH_LOG("%s", b->why);
	ASSERT_EQ(0, burst_start(b, e->disk.fd, slot, 0))
		TH_LOG("%s", b->why);
}

/* All of them are done, and nobody has noticed anything */
static inline void fixture_burst_finish(struct __test_metadata *_metadata, struct burst *b)
{
	ASSERT_EQ(0, burst_reap(b, NULL))
		TH_LOG("%s", b->why);
	EXPECT_FALSE(b->saw_eagain);
	ASSERT_EQ(0, b->first_error);
	ASSERT_EQ(0, burst_check(b))
		TH_LOG("%s", b->why);
}

#endif /* DMABUF_IO_FIXTURE_H */
