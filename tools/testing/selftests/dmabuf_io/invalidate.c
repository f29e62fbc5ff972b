// SPDX-License-Identifier: GPL-2.0
/*
 * The exporter moves the buffer, again and again and in the ways that exporters
 * have, or takes it away, while there is I/O: nobody notices but by the time
 * that it takes, and nothing is read or written where the buffer was before.
 */
#include <errno.h>
#include <linux/fs.h>
#include <unistd.h>
#include "burst.h"
#include "fixture.h"
#include "mock.h"
#include "sysfs.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		2
#define IN_FLIGHT	128U
/* Between two moves */
#define MOVE_US		2000U

FIXTURE(invalidate) {
	struct env e;
	struct xfer x;
	struct burst b;
};

FIXTURE_VARIANT(invalidate) {
	enum mem_kind kind;
	unsigned int moves;
	unsigned int ring_flags;
};

FIXTURE_VARIANT_ADD(invalidate, locked) {
	.kind = MEM_MOCK, .moves = 1U << DMA_BUF_MOCK_MOVE_LOCKED,
};

FIXTURE_VARIANT_ADD(invalidate, pipelined) {
	.kind = MEM_MOCK, .moves = 1U << DMA_BUF_MOCK_MOVE_PIPELINED,
};

FIXTURE_VARIANT_ADD(invalidate, reclaim) {
	.kind = MEM_MOCK, .moves = 1U << DMA_BUF_MOCK_MOVE_RECLAIM,
};

FIXTURE_VARIANT_ADD(invalidate, peer) {
	.kind = MEM_MOCK_P2P, .moves = MOCK_ALL_MOVES,
};

FIXTURE_VARIANT_ADD(invalidate, sqpoll) {
	.kind = MEM_MOCK, .moves = MOCK_ALL_MOVES, .ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_SETUP(invalidate)
{
	if (!fixture_open(_metadata, &self->e, variant->kind, MIB(1), variant->ring_flags))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->e.ring, SLOT, self->e.mem.fd, self->e.disk.fd));
	xfer_init(&self->x, &self->e, &self->e.mem, SLOT);
	xfer_poison(&self->x);
}

FIXTURE_TEARDOWN(invalidate)
{
	fixture_mock_close(_metadata, &self->e, SLOT, MOCK_WAIT_US);
	fixture_close(_metadata, &self->e);
}

static struct dma_buf_mock_stats stats_of(struct __test_metadata *_metadata, struct env *e)
{
	struct dma_buf_mock_stats stats;

	EXPECT_EQ(0, mock_stats(e->mem.fd, &stats));
	return stats;
}

/* What was read is still there after a move, and I/O goes to the new place */
TEST_F_TIMEOUT(invalidate, between, 300)
{
	struct dma_buf_mock_stats before = stats_of(_metadata, &self->e), after;
	unsigned int i, how;
	int ret;

	for (i = 0; i < 12; i++) {
		ASSERT_EQ(0, burst_prepare(&self->b, &self->e, &self->e.mem, i & 1, 1));
		for (how = 0; how < DMA_BUF_MOCK_NR_MOVES; how++) {
			if (!(variant->moves & 1U << how))
				continue;
			do {
				ret = mock_move(self->e.mem.fd, how);
			} while (ret == -EAGAIN);
			ASSERT_EQ(0, ret);
		}
		ASSERT_EQ(0, burst_submit(&self->b, self->e.disk.fd, SLOT, 1, 0));
		ASSERT_EQ(0, burst_reap(&self->b, NULL));
		ASSERT_EQ(1U, self->b.full);
		EXPECT_EQ(0, burst_check(&self->b))
			TH_LOG("%s", self->b.why);
	}
	after = stats_of(_metadata, &self->e);
	EXPECT_LE(before.moves + 12, after.moves);
	EXPECT_LE(before.maps + 11, after.maps);
}

/* Not even those who have asked not to wait notice that there is no mapping */
TEST_F_TIMEOUT(invalidate, nowait, 60)
{
	struct dma_buf_mock_stats before = stats_of(_metadata, &self->e), after;
	struct ring *r = &self->e.ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, burst_prepare(&self->b, &self->e, &self->e.mem, false, 1));
		ASSERT_EQ(0, mock_move(self->e.mem.fd, DMA_BUF_MOCK_MOVE_LOCKED));
		sqe = ring_sqe(r);
		ASSERT_NE(NULL, sqe);
		ring_prep_rw(sqe, IORING_OP_READ_FIXED, self->e.disk.fd, SLOT, 0, 65536, BURST_POS);
		sqe->rw_flags = RWF_NOWAIT;
		ASSERT_EQ(1, ring_submit(r, 0));
		ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(65536, cqe.res);
		mem_begin(&self->e.mem);
		EXPECT_EQ(-1, pattern_differs(self->e.mem.va, 65536, self->b.seed, 0));
		mem_end(&self->e.mem);
	}
	after = stats_of(_metadata, &self->e);
	EXPECT_LE(before.maps + 4, after.maps);
}

/* Deep queues in one direction at a time; every request succeeds */
TEST_F_TIMEOUT(invalidate, under_load, 600)
{
	struct dma_buf_mock_stats before = stats_of(_metadata, &self->e), after;
	unsigned int i, rounds = 0;

	ASSERT_EQ(0, mock_auto(self->e.mem.fd, MOVE_US, variant->moves));
	do {
		for (i = 0; i < 2; i++) {
			fixture_burst_submit(_metadata, &self->b, &self->e, SLOT, i, IN_FLIGHT);
			fixture_burst_finish(_metadata, &self->b);
		}
		after = stats_of(_metadata, &self->e);
	} while (++rounds < 5 || (after.moves < before.moves + 20 && rounds < 50));
	/* The moves and the I/O must have met, or this has shown nothing */
	EXPECT_LE(before.moves + 20, after.moves);
	EXPECT_LE(before.maps + 10, after.maps);
}

/* Small and large, at any offset, with the surroundings checked as well */
TEST_F_TIMEOUT(invalidate, random, 600)
{
	struct env *e = &self->e;
	unsigned int lbs = e->disk.lbs, i;
	size_t blocks = e->mem.size / lbs, off, len;

	ASSERT_EQ(0, mock_auto(e->mem.fd, MOVE_US, variant->moves));
	for (i = 0; i < env_rounds() / 2; i++) {
		off = rnd_below(&e->rnd, blocks);
		len = 1 + rnd_below(&e->rnd, blocks - off);
		ASSERT_EQ(0, xfer_one(&self->x, i & 1, off * lbs, len * lbs, XFER_POS))
			TH_LOG("round %u: %s", i, self->x.why);
	}
	ASSERT_EQ(0, xfer_poisoned(&self->x))
		TH_LOG("%s", self->x.why);
}

/* I/O on memory that is gone fails, and works again when it is back */
TEST_F_TIMEOUT(invalidate, revoke, 300)
{
	struct env *e = &self->e;
	unsigned int i, done = 0, failed = 0;
	int err;

	for (i = 0; i < 6 || (!failed && i < 40); i++) {
		ASSERT_EQ(0, burst_prepare(&self->b, e, &e->mem, i & 1, IN_FLIGHT))
			TH_LOG("%s", self->b.why);
		/* A few workers start them one after the other */
		err = burst_start(&self->b, e->disk.fd, SLOT, IOSQE_ASYNC);
		/* too slow to see one in flight */
		if (err == -ENODATA)
			continue;
		ASSERT_EQ(0, err)
			TH_LOG("%s", self->b.why);
		ASSERT_EQ(0, mock_revoke(e->mem.fd));
		ASSERT_EQ(-EALREADY, mock_revoke(e->mem.fd));
		ASSERT_EQ(0, burst_reap(&self->b, NULL));
		EXPECT_TRUE(!self->b.other || self->b.first_error == -ENODEV)
			TH_LOG("error %d", self->b.first_error);
		done += self->b.full;
		failed += self->b.other;
		EXPECT_EQ(0ULL, stats_of(_metadata, e).mapped);

		EXPECT_EQ(-ENODEV, ring_rw(&e->ring, IORING_OP_WRITE_FIXED, e->disk.fd, SLOT, 0,
					   65536, XFER_POS));
		ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		EXPECT_EQ(-ENODEV, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));

		ASSERT_EQ(0, mock_restore(e->mem.fd));
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		EXPECT_EQ(0, burst_check(&self->b))
			TH_LOG("%s", self->b.why);
		xfer_poison(&self->x);
		ASSERT_EQ(0, xfer_one(&self->x, i & 1, 0, e->mem.size, XFER_POS))
			TH_LOG("%s", self->x.why);
	}
	/* It came in the middle: some were done, others were not */
	EXPECT_LT(0U, done);
	EXPECT_TRUE(failed || self->e.ring.flags & IORING_SETUP_SQPOLL);
}

/* Errors of the exporter arrive, and leave nothing behind */
TEST_F_TIMEOUT(invalidate, exporter_fails, 120)
{
	struct env *e = &self->e;
	int fd = e->mem.fd;

	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, RING_TIMEOUT_MS));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_ATTACH, 1, ENXIO));
	EXPECT_EQ(-ENXIO, ring_set_dmabuf(&e->ring, SLOT, fd, e->disk.fd));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, RING_TIMEOUT_MS));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, 1, ENOSPC));
	EXPECT_EQ(-ENOSPC, ring_set_dmabuf(&e->ring, SLOT, fd, e->disk.fd));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, RING_TIMEOUT_MS));
	/* Nobody is told to try again */
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, 1, EAGAIN));
	EXPECT_EQ(-EIO, ring_set_dmabuf(&e->ring, SLOT, fd, e->disk.fd));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, RING_TIMEOUT_MS));

	/* The same later: one request fails, the next one does not */
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, fd, e->disk.fd));
	ASSERT_EQ(0, mock_move(fd, DMA_BUF_MOCK_MOVE_LOCKED));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, 1, ENOMEM));
	EXPECT_GT(0, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0, 65536, XFER_POS));
	EXPECT_EQ(65536, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0, 65536,
				 XFER_POS));
}

/* An exporter that maps less than it promised is not believed */
TEST_F(invalidate, short_mapping)
{
	struct env *e = &self->e;
	int fd = mock_create(MIB(1), 0, DMA_BUF_MOCK_SHORT);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, ring_set_dmabuf(&e->ring, SLOT + 1, fd, e->disk.fd));
	close(fd);
}

/* Reclaim takes the mapping away in the middle of I/O */
TEST_F_TIMEOUT(invalidate, shrinker, 300)
{
	struct env *e = &self->e;
	struct dma_buf_mock_stats stats;
	struct mem m;
	int i;

	ASSERT_EQ(0, env_mem(e, &m, MEM_MOCK_SHRINK, MIB(1)))
		TH_LOG("%s", e->why);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT + 1, m.fd, e->disk.fd));
	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, burst_prepare(&self->b, e, &m, i & 1, IN_FLIGHT));
		ASSERT_EQ(0, burst_submit(&self->b, e->disk.fd, SLOT + 1, IN_FLIGHT, 0));
		ASSERT_EQ(0, sysfs_set("2", "/proc/sys/vm/drop_caches"));
		ASSERT_EQ(0, burst_reap(&self->b, NULL));
		ASSERT_EQ(IN_FLIGHT, self->b.full);
		EXPECT_EQ(0, burst_check(&self->b))
			TH_LOG("%s", self->b.why);
	}
	ASSERT_EQ(0, mock_stats(m.fd, &stats));
	EXPECT_LT(0ULL, stats.invalidations);
	EXPECT_EQ(0ULL, stats.violations);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT + 1));
	EXPECT_EQ(0, env_mem_free(e, &m))
		TH_LOG("%s", e->why);
}

TEST_HARNESS_MAIN
