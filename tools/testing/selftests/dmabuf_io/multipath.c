// SPDX-License-Identifier: GPL-2.0
/*
 * A namespace with several controllers: each of them has a mapping of its own, and
 * finds it again when the exporter has moved the buffer.  What one of them can't
 * get at is done by another.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ctrl.h"
#include "multipath.h"

FIXTURE_SETUP(multipath)
{
	multipath_open(_metadata, &self->t, variant->kind, MIB(1), variant->ring_flags);
}

FIXTURE_TEARDOWN(multipath)
{
	multipath_close(_metadata, &self->t);
}

TEST_F_TIMEOUT(multipath, both_ways, 300)
{
	struct multipath *t = &self->t;
	size_t lbs = t->e.disk.lbs, i;
	const size_t len[] = {
		lbs, 4096, 65536 - lbs, t->e.mem.size / 2, t->e.mem.size - 2 * lbs,
	};

	xfer_poison(&t->x);
	for (i = 0; i < 2 * ARRAY_SIZE(len); i++) {
		ASSERT_EQ(0, xfer_read(&t->x, lbs, len[i / 2], XFER_POS + lbs))
			TH_LOG("read: %s", t->x.why);
		ASSERT_EQ(0, xfer_write(&t->x, lbs, len[i / 2], XFER_POS + lbs))
			TH_LOG("write: %s", t->x.why);
	}
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);

	/* All of that through all of them */
	EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, false));
	EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, true));
	EXPECT_EQ(t->paths.nr, watch_attached(t->e.mem.ino));
}

/* The disk can do what all paths can; its character device can't */
TEST_F(multipath, limits)
{
	struct multipath *t = &self->t;
	const char *queue = "/sys/block/%s/queue/max_dmabuf_sectors_kb";
	long long least = 1 << 30, kb;
	char path[64];
	int i, fd;

	for (i = 0; i < t->paths.nr; i++) {
		kb = sysfs_get_num(queue, t->paths.path[i].disk);
		if (kb < least)
			least = kb;
	}
	EXPECT_LT(0, least);
	EXPECT_EQ(least, sysfs_get_num(queue, t->e.disk.name));

	snprintf(path, sizeof(path), "/dev/ng%s", t->e.disk.name + strlen("nvme"));
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(&t->e.ring, SLOT + 1, t->e.mem.fd, fd));
	close(fd);
}

TEST_F_TIMEOUT(multipath, policies, 300)
{
	static const char * const policy[] = { "numa", "round-robin", "queue-depth" };
	struct multipath *t = &self->t;
	unsigned int p;
	int i, w, moved;

	ASSERT_EQ(0, mock_auto(t->e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	for (p = 0; p < ARRAY_SIZE(policy); p++) {
		ASSERT_EQ(0, paths_set_policy(&t->paths, policy[p]));
		for (w = 0; w < 2; w++) {
			moved = one_burst(_metadata, t, w);
			if (!p)
				EXPECT_EQ(1, moved);
			if (p == 1)
				EXPECT_EQ(t->paths.nr, moved);
		}
	}
	/* Those that had to wait for a mapping are not counted any more */
	for (i = 0; i < t->paths.nr; i++)
		EXPECT_EQ(0, sysfs_get_num("/sys/block/%s/queue_depth", t->paths.path[i].disk));
}

TEST_F_TIMEOUT(multipath, moving, 300)
{
	struct dma_buf_mock_stats before, after;
	struct multipath *t = &self->t;
	int rounds = 0;

	ASSERT_EQ(0, mock_stats(t->e.mem.fd, &before));
	ASSERT_EQ(0, mock_auto(t->e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	do {
		one_burst(_metadata, t, rounds & 1);
		ASSERT_EQ(0, mock_stats(t->e.mem.fd, &after));
	} while (++rounds < 8 || (after.maps < before.maps + 20 && rounds < 100));
	EXPECT_LE(before.moves + 10, after.moves);
	EXPECT_LE(before.maps + 20, after.maps);
}

/* An exporter that does nothing else; who has waited for a mapping gets to use it */
TEST_F_TIMEOUT(multipath, always_moving, 300)
{
	struct dma_buf_mock_stats before, after;
	struct multipath *t = &self->t;
	int i, op, status;
	pid_t pid;

	ASSERT_EQ(0, mock_stats(t->e.mem.fd, &before));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (!mock_move(t->e.mem.fd, DMA_BUF_MOCK_MOVE_LOCKED))
			;
		_exit(1);
	}
	/* One at a time: there is nobody to take along */
	i = 0;
	do {
		op = i & 1 ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
		ASSERT_EQ(4096, ring_rw(&t->e.ring, op, t->e.disk.fd, SLOT, 0, 4096, XFER_POS));
		ASSERT_EQ(0, mock_stats(t->e.mem.fd, &after));
	} while (++i < 32 || (after.moves < before.moves + 32 && i < 5000));
	EXPECT_LE(before.moves + 32, after.moves);
	one_burst(_metadata, t, false);
	one_burst(_metadata, t, true);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

/* No path can help with a buffer that is gone, and nobody keeps on trying */
TEST_F_TIMEOUT(multipath, revoked, 300)
{
	struct multipath *t = &self->t;
	struct env *e = &t->e;
	int w;

	for (w = 0; w < 2; w++) {
		start(_metadata, t, w);
		ASSERT_EQ(0, mock_revoke(e->mem.fd));
		ASSERT_EQ(0, burst_reap(&t->b, NULL))
			TH_LOG("%s", t->b.why);
		EXPECT_TRUE(!t->b.other || t->b.first_error == -ENODEV)
			TH_LOG("error %d", t->b.first_error);
		EXPECT_EQ(-ENODEV, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					   4096, XFER_POS));
		ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		EXPECT_EQ(-ENODEV, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		ASSERT_EQ(0, mock_restore(e->mem.fd));
		EXPECT_EQ(0, burst_check(&t->b))
			TH_LOG("%s", t->b.why);
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, w));
	}
}

/* The first path can't have the buffer, so the others do the work */
static void check_one_refused(struct __test_metadata *_metadata, struct multipath *t,
			      enum dma_buf_mock_fail what)
{
	struct env *e = &t->e;
	int fd = e->mem.fd, w;

	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, PATHS_WAIT_MS));
	ASSERT_EQ(0, mock_fail(fd, what, 1, ENXIO));
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, fd, e->disk.fd));
	/* The others have it already */
	ASSERT_EQ(0, mock_fail(fd, what, DMA_BUF_MOCK_FAIL_ALWAYS, ENXIO));
	for (w = 0; w < 2; w++)
		EXPECT_EQ(t->paths.nr - 1, one_burst(_metadata, t, w));
	if (what == DMA_BUF_MOCK_FAIL_ATTACH)
		EXPECT_EQ(t->paths.nr - 1, watch_attached(e->mem.ino));

	ASSERT_EQ(0, mock_fail(fd, what, 0, ENXIO));
	for (w = 0; w < 2; w++)
		EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, w));
	EXPECT_EQ(t->paths.nr, watch_attached(e->mem.ino));
}

TEST_F_TIMEOUT(multipath, one_not_mapped, 300)
{
	check_one_refused(_metadata, &self->t, DMA_BUF_MOCK_FAIL_MAP);
}

TEST_F_TIMEOUT(multipath, one_not_attached, 300)
{
	check_one_refused(_metadata, &self->t, DMA_BUF_MOCK_FAIL_ATTACH);
}

TEST_F_TIMEOUT(multipath, none_mapped, 120)
{
	struct multipath *t = &self->t;
	struct env *e = &t->e;
	int fd = e->mem.fd, i;

	ASSERT_EQ(0, mock_move(fd, DMA_BUF_MOCK_MOVE_LOCKED));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, DMA_BUF_MOCK_FAIL_ALWAYS, ENXIO));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(-ENODEV, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					   4096, XFER_POS));
	EXPECT_EQ(-ENXIO, ring_set_dmabuf(&e->ring, SLOT + 1, fd, e->disk.fd));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, 0, ENXIO));
	EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, false));
}

/* Format through one path and let the others know; does the disk support dma-bufs? */
static bool reformat(struct __test_metadata *_metadata, struct multipath *t, unsigned int lbaf,
		     bool want)
{
	const char *queue = "/sys/block/%s/queue/max_dmabuf_sectors_kb";
	int i, tries;

	EXPECT_EQ(0, ctrl_format(t->paths.path[lbaf % t->paths.nr].ctrl, lbaf));
	for (i = 0; i < t->paths.nr; i++)
		EXPECT_EQ(0, sysfs_set("1", "/sys/class/nvme/%s/rescan_controller",
				       t->paths.path[i].ctrl));
	for (i = 0; i < t->paths.nr; i++)
		for (tries = 0; tries < 500 &&
		     want != (sysfs_get_num(queue, t->paths.path[i].disk) > 0); tries++)
			usleep(20000);
	usleep(100000);
	return sysfs_get_num(queue, t->e.disk.name) > 0;
}

/* With metadata per block no path can do it, and again without */
TEST_F_TIMEOUT(multipath, format_with_metadata, 300)
{
	struct multipath *t = &self->t;
	struct env *e = &t->e;
	int i;

	for (i = 0; i < 2; i++) {
		/* QEMU's second format: 512 + 8 */
		if (reformat(_metadata, t, 1, false)) {
			reformat(_metadata, t, 0, true);
			SKIP(return, "the second format has no metadata");
		}
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					       4096, XFER_POS));
		EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(&e->ring, SLOT + 1, e->mem.fd, e->disk.fd));
		ASSERT_TRUE(reformat(_metadata, t, 0, true));
		EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, i & 1));
	}
}

TEST_HARNESS_MAIN
