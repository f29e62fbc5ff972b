// SPDX-License-Identifier: GPL-2.0
/*
 * Polled completions: without interrupts nothing completes unless somebody polls,
 * and an exporter that takes its memory back can't count on user space for that.
 * Needs a disk with poll queues, for instance nvme.poll_queues=1.
 */
#include <stdlib.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "burst.h"
#include "fixture.h"
#include "mock.h"
#include "sysfs.h"
#include "xfer.h"

#define SLOT		2
/* A request that is split is not polled */
#define SIZE		(128UL << 10)
#define IN_FLIGHT	32U
#define MOVE_US		2000U

struct iopoll {
	struct env e;
	struct xfer x;
	struct burst b;
};

FIXTURE(iopoll) {
	struct iopoll t;
};

FIXTURE_VARIANT(iopoll) {
	enum mem_kind kind;
	unsigned int ring_flags;
};

FIXTURE_VARIANT_ADD(iopoll, mock) {
	.kind = MEM_MOCK,
};

FIXTURE_VARIANT_ADD(iopoll, peer) {
	.kind = MEM_MOCK_P2P,
	.ring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
};

FIXTURE_SETUP(iopoll)
{
	struct env *e = &self->t.e;

	if (!fixture_open(_metadata, e, variant->kind, SIZE,
			  variant->ring_flags | IORING_SETUP_IOPOLL))
		return;
	ASSERT_LE(SIZE, e->disk.max_io);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	xfer_init(&self->t.x, e, &e->mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(iopoll)
{
	fixture_mock_close(_metadata, &self->t.e, SLOT, MOCK_WAIT_US);
	fixture_close(_metadata, &self->t.e);
}

static unsigned int posted(const struct ring *r)
{
	return __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) - *r->cq_head;
}

/* Get the first mapping out of the way: it is made by a worker */
static void warm_up(struct __test_metadata *_metadata, struct iopoll *t)
{
	xfer_poison(&t->x);
	ASSERT_EQ(0, xfer_read(&t->x, 0, SIZE, XFER_POS))
		TH_LOG("%s", t->x.why);
}

/* Submitted, and done for all that the disk cares, but not polled for */
static void submit_unpolled(struct __test_metadata *_metadata, struct iopoll *t, bool write)
{
	fixture_burst_submit(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
}

TEST_F_TIMEOUT(iopoll, both_ways, 300)
{
	size_t lbs = self->t.e.disk.lbs, i;
	const size_t len[] = { lbs, 4096, 65536 - lbs, SIZE - 2 * lbs };

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		ASSERT_EQ(0, xfer_read(&self->t.x, lbs, len[i], XFER_POS + lbs))
			TH_LOG("read: %s", self->t.x.why);
		ASSERT_EQ(0, xfer_write(&self->t.x, lbs, len[i], XFER_POS + lbs))
			TH_LOG("write: %s", self->t.x.why);
	}
	EXPECT_EQ(0, xfer_poisoned(&self->t.x))
		TH_LOG("%s", self->t.x.why);
}

/* Nothing comes by itself, so the tests below test what they say */
TEST_F_TIMEOUT(iopoll, really_polled, 120)
{
	int w;

	for (w = 0; w < 2; w++) {
		warm_up(_metadata, &self->t);
		submit_unpolled(_metadata, &self->t, w);
		usleep(300000);
		EXPECT_EQ(0U, posted(&self->t.e.ring));
		EXPECT_LT(0, disk_inflight(&self->t.e.disk));
		fixture_burst_finish(_metadata, &self->t.b);
	}
}

/* The buffer moves while requests are in flight that nobody polls for */
TEST_F_TIMEOUT(iopoll, nobody_polls, 300)
{
	struct dma_buf_mock_stats before, after;
	struct iopoll *t = &self->t;
	int how, w, ret;

	for (how = 0; how < DMA_BUF_MOCK_NR_MOVES; how++) {
		for (w = 0; w < 2; w++) {
			warm_up(_metadata, t);
			submit_unpolled(_metadata, t, w);
			ASSERT_EQ(0, mock_stats(t->e.mem.fd, &before));
			do {
				ret = mock_move(t->e.mem.fd, how);
			} while (ret == -EAGAIN);
			ASSERT_EQ(0, ret);
			ASSERT_EQ(0, mock_stats(t->e.mem.fd, &after));
			EXPECT_EQ(before.invalidations + 1, after.invalidations);
			EXPECT_EQ(0, disk_inflight(&t->e.disk));
			fixture_burst_finish(_metadata, &t->b);
		}
	}
}

/* Revoked for good: what was in flight is done, the rest fails */
TEST_F_TIMEOUT(iopoll, revoked, 120)
{
	struct iopoll *t = &self->t;

	warm_up(_metadata, t);
	submit_unpolled(_metadata, t, false);
	ASSERT_EQ(0, mock_revoke(t->e.mem.fd));
	ASSERT_EQ(0, burst_reap(&t->b, NULL))
		TH_LOG("%s", t->b.why);
	EXPECT_FALSE(t->b.saw_eagain);
	EXPECT_EQ(-ENODEV, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, SLOT, 0, 4096,
				   XFER_POS));
	ASSERT_EQ(0, mock_restore(t->e.mem.fd));
	warm_up(_metadata, t);
}

TEST_F_TIMEOUT(iopoll, under_load, 600)
{
	struct dma_buf_mock_stats before, after;
	struct iopoll *t = &self->t;
	unsigned int rounds = 0;

	ASSERT_EQ(0, mock_stats(t->e.mem.fd, &before));
	ASSERT_EQ(0, mock_auto(t->e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	do {
		submit_unpolled(_metadata, t, rounds & 1);
		fixture_burst_finish(_metadata, &t->b);
		ASSERT_EQ(0, mock_stats(t->e.mem.fd, &after));
	} while (++rounds < 8 || (after.moves < before.moves + 30 && rounds < 100));
	EXPECT_LE(before.moves + 20, after.moves);
}

/* A device that is attached on first use, by a worker of a polled ring */
TEST_F_TIMEOUT(iopoll, any_file, 120)
{
	struct iopoll *t = &self->t;
	int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, -1));
		submit_unpolled(_metadata, t, i & 1);
		fixture_burst_finish(_metadata, &t->b);
	}
}

/* Several pieces are several bios, which are not polled */
TEST_F_TIMEOUT(iopoll, vectored, 120)
{
	struct iopoll *t = &self->t;
	struct iovec iov[2] = {
		{ .iov_base = (void *)65536, .iov_len = 4096 },
		{ .iov_base = (void *)0, .iov_len = 8192 },
	};
	uint64_t seed = rnd_next(&t->e.rnd);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	void *tmp;

	ASSERT_EQ(0, posix_memalign(&tmp, 4096, 12288));
	pattern_fill(tmp, 12288, seed, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, tmp, 12288, XFER_POS));
	free(tmp);
	sqe = ring_sqe(&t->e.ring);
	ring_prep_rw(sqe, DIO_OP_READV_FIXED, t->e.disk.fd, SLOT, (uintptr_t)iov, 2, XFER_POS);
	ASSERT_EQ(1, ring_submit(&t->e.ring, 0));
	ASSERT_EQ(0, ring_wait(&t->e.ring, &cqe, RING_TIMEOUT_MS));
	EXPECT_EQ(12288, cqe.res);
	mem_begin(&t->e.mem);
	EXPECT_EQ(-1, pattern_differs(t->e.mem.va + 65536, 4096, seed, 0));
	EXPECT_EQ(-1, pattern_differs(t->e.mem.va, 8192, seed, 4096));
	mem_end(&t->e.mem);
}

/*
 * The controller is reset under requests that nobody polls for; what it restarts
 * has to be polled again. The buffer moves meanwhile.
 */
TEST_F_TIMEOUT(iopoll, reset, 300)
{
	struct iopoll *t = &self->t;
	int i, status, ret;
	pid_t pid;

	for (i = 0; i < 4; i++) {
		warm_up(_metadata, t);
		submit_unpolled(_metadata, t, i & 1);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(!!sysfs_set("1", "/sys/block/%s/device/reset_controller",
					  t->e.disk.name));
		usleep(20000);
		if (i >= 2) {
			do {
				ret = mock_move(t->e.mem.fd, DMA_BUF_MOCK_MOVE_LOCKED);
			} while (ret == -EAGAIN);
			ASSERT_EQ(0, ret);
		}
		fixture_burst_finish(_metadata, &t->b);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	warm_up(_metadata, t);
}

TEST_HARNESS_MAIN
