// SPDX-License-Identifier: GPL-2.0
/*
 * A controller of an NVMe multipath disk is reset, taken away or dies, while it
 * works: what was in flight is done by another one, which may see the buffer for
 * the first time then.  Only when there is none left do requests fail.
 */
#include <errno.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "multipath.h"

#define IO_TIMEOUT_MS	"3000"

/* More than that of a command usually is, and how long a move has to take then */
#define SLOW_TIMEOUT_MS	"33000"
#define SLOW_S		31
#define SLOW_WAIT_US	50000000ULL

FIXTURE_SETUP(multipath)
{
	multipath_open(_metadata, &self->t, variant->kind, MIB(4), variant->ring_flags);
}

FIXTURE_TEARDOWN(multipath)
{
	/* A test may have failed in the middle */
	sysfs_set("0", "/sys/block/%s/delayed_removal_secs", self->t.e.disk.name);
	multipath_close(_metadata, &self->t);
}

/*
 * What is in flight is done while @event happens, in a child: requests that are
 * started again may have to be polled for.  Unless @once, there are others in
 * flight until it is over.
 */
static void meanwhile(struct __test_metadata *_metadata, struct multipath *t, bool once,
		      int (*event)(const struct path *p), const struct path *p)
{
	pid_t pid, over;
	int status;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(event(p) != 0);
	finish(_metadata, t);
	while (!(over = waitpid(pid, &status, once ? 0 : WNOHANG)))
		one_burst(_metadata, t, t->b.write);
	ASSERT_EQ(pid, over);
	ASSERT_EQ(0, status);
}

/*
 * @p answers no more, so that what it is given stays in flight until it is reset: a
 * controller that works has done everything by then, or is given it once more.
 * Returns how many requests failed over.
 */
static long long fail_over(struct __test_metadata *_metadata, struct multipath *t, bool dir,
			   bool once, const struct path *p)
{
	long long before = path_failovers(p);

	ASSERT_LE(0, before);
	ASSERT_EQ(0, burst_prepare(&t->b, &t->e, &t->e.mem, dir, IN_FLIGHT))
		TH_LOG("%s", t->b.why);
	ASSERT_EQ(0, path_kill(p));
	ASSERT_EQ(0, burst_submit(&t->b, t->e.disk.fd, SLOT, IN_FLIGHT, 0))
		TH_LOG("%s", t->b.why);
	meanwhile(_metadata, t, once, path_reset, p);
	ASSERT_TRUE(paths_wait(&t->paths, t->paths.nr_pci));
	return path_failovers(p) - before;
}

static void check_reset(struct __test_metadata *_metadata, struct multipath *t)
{
	int nr = t->paths.nr, i;
	long long nr_over = 0;

	/* While the buffer moves, all may be waiting for it, and none on the path. */
	for (i = 0; i < 2 * nr || (i < 20 && !nr_over); i++) {
		nr_over += fail_over(_metadata, t, i & 1, false, &t->paths.path[i / 2 % nr]);
		EXPECT_EQ(nr, one_burst(_metadata, t, i & 1));
	}
	/* or this has shown nothing */
	EXPECT_LT(0, nr_over);
}

TEST_F_TIMEOUT(multipath, reset_in_flight, 600)
{
	check_reset(_metadata, &self->t);
}

TEST_F_TIMEOUT(multipath, reset_while_moving, 600)
{
	ASSERT_EQ(0, mock_auto(self->t.e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	check_reset(_metadata, &self->t);
}

/* A controller that works is reset: all is done, by whomever */
TEST_F_TIMEOUT(multipath, reset_alive, 600)
{
	struct multipath *t = &self->t;
	int nr = t->paths.nr, i;

	for (i = 0; i < 2 * nr; i++) {
		start(_metadata, t, i & 1);
		meanwhile(_metadata, t, false, path_reset, &t->paths.path[i / 2]);
		ASSERT_TRUE(paths_wait(&t->paths, nr));
	}
	EXPECT_EQ(nr, one_burst(_metadata, t, true));
}

TEST_F_TIMEOUT(multipath, remove_in_flight, 600)
{
	struct multipath *t = &self->t;
	int nr = t->paths.nr, i;

	ASSERT_EQ(0, mock_auto(t->e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	for (i = 0; i < 4; i++) {
		start(_metadata, t, i & 1);
		meanwhile(_metadata, t, false, path_remove, &t->paths.path[i % nr]);
		ASSERT_TRUE(paths_wait(&t->paths, nr - 1));
		EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, nr - 1, PATHS_WAIT_MS));
		EXPECT_EQ(nr - 1, one_burst(_metadata, t, !(i & 1)));

		/*
		 * With the first request that it gets, a new path is attached.  What comes
		 * before that is over may go to the other one.
		 */
		ASSERT_TRUE(paths_come_back(&t->paths));
		one_burst(_metadata, t, i & 1);
		EXPECT_EQ(nr, watch_attached(t->e.mem.ino));
		EXPECT_EQ(nr, one_burst(_metadata, t, i & 1));
	}
}

/* What fails over comes to a path that has never seen the buffer */
TEST_F_TIMEOUT(multipath, failover_to_new_path, 600)
{
	struct multipath *t = &self->t;
	int nr = t->paths.nr, i, w;

	ASSERT_EQ(0, paths_set_policy(&t->paths, "numa"));
	for (w = 0; w < 2; w++) {
		for (i = 1; i < nr; i++)
			ASSERT_EQ(0, path_remove(&t->paths.path[i]));
		ASSERT_TRUE(paths_wait(&t->paths, 1));
		EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 1, PATHS_WAIT_MS));
		one_burst(_metadata, t, w);
		ASSERT_TRUE(paths_come_back(&t->paths));
		EXPECT_EQ(1, watch_attached(t->e.mem.ino));

		EXPECT_LT(0, fail_over(_metadata, t, w, true, &t->paths.path[0]));
		EXPECT_EQ(nr, watch_attached(t->e.mem.ino));
	}
}

/* The others can't have the buffer, so everything waits until the reset is over */
TEST_F_TIMEOUT(multipath, only_path_is_reset, 600)
{
	struct multipath *t = &self->t;
	int fd = t->e.mem.fd, nr = t->paths.nr, able = -1, i;
	long long before[PATHS_MAX];

	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, PATHS_WAIT_MS));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, nr, ENXIO));
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, fd, t->e.disk.fd));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, DMA_BUF_MOCK_FAIL_ALWAYS, ENXIO));
	for (i = 0; i < nr; i++)
		before[i] = path_sectors(&t->paths.path[i], false);
	ASSERT_EQ(nr - 1, one_burst(_metadata, t, false));
	for (i = 0; i < nr; i++)
		if (path_sectors(&t->paths.path[i], false) > before[i])
			able = i;
	ASSERT_LE(0, able);

	for (i = 0; i < 4; i++)
		EXPECT_LT(0, fail_over(_metadata, t, i & 1, false, &t->paths.path[able]));
	EXPECT_EQ(nr - 1, one_burst(_metadata, t, true));
	ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, 0, ENXIO));
	EXPECT_EQ(nr, one_burst(_metadata, t, true));
}

/* A dead path may have recovered by a reset, so take it away and start afresh */
static void replace(struct __test_metadata *_metadata, struct multipath *t,
		    const struct path *dead)
{
	int nr = t->paths.nr_pci;

	ASSERT_EQ(0, path_remove(dead));
	ASSERT_TRUE(paths_wait(&t->paths, nr - 1));
	ASSERT_TRUE(paths_come_back(&t->paths));
	EXPECT_EQ(nr, one_burst(_metadata, t, false));
	EXPECT_EQ(nr, one_burst(_metadata, t, true));
}

TEST_F_TIMEOUT(multipath, path_dies, 600)
{
	struct multipath *t = &self->t;
	struct path dead;
	int w;

	for (w = 0; w < 2; w++) {
		dead = t->paths.path[w];
		ASSERT_EQ(0, sysfs_set(IO_TIMEOUT_MS, "/sys/block/%s/queue/io_timeout",
				       dead.disk));
		start(_metadata, t, w);
		ASSERT_EQ(0, path_kill(&dead));
		finish(_metadata, t);
		one_burst(_metadata, t, !w);
		replace(_metadata, t, &dead);
	}
}

/*
 * What a dead path has in flight holds up the exporter, and he those who need a new
 * mapping for another path, but that is all.  Which path he has to wait for first
 * depends on the order of the attachments; it is the other one the second time.
 */
TEST_F_TIMEOUT(multipath, path_dies_while_moving, 600)
{
	struct multipath *t = &self->t;
	struct timespec begin, end;
	struct path dead;
	int w, status;
	pid_t pid;

	t->wait_us = SLOW_WAIT_US;
	for (w = 0; w < 2; w++) {
		EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, w));
		dead = t->paths.path[w];
		ASSERT_EQ(0, sysfs_set(SLOW_TIMEOUT_MS, "/sys/block/%s/queue/io_timeout",
				       dead.disk));
		ASSERT_EQ(0, burst_prepare(&t->b, &t->e, &t->e.mem, w, IN_FLIGHT))
			TH_LOG("%s", t->b.why);
		ASSERT_EQ(0, path_kill(&dead));
		ASSERT_EQ(0, burst_submit(&t->b, t->e.disk.fd, SLOT, IN_FLIGHT / 2, 0))
			TH_LOG("%s", t->b.why);
		usleep(100000);

		clock_gettime(CLOCK_MONOTONIC, &begin);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(mock_move(t->e.mem.fd, DMA_BUF_MOCK_MOVE_LOCKED) != 0);
		usleep(300000);
		ASSERT_EQ(0, burst_submit(&t->b, t->e.disk.fd, SLOT, IN_FLIGHT / 2, 0))
			TH_LOG("%s", t->b.why);
		finish(_metadata, t);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		clock_gettime(CLOCK_MONOTONIC, &end);
		/* or this has shown nothing */
		EXPECT_LE(SLOW_S, end.tv_sec - begin.tv_sec);
		replace(_metadata, t, &dead);
	}
}

static void remove_all(struct __test_metadata *_metadata, struct multipath *t)
{
	int i;

	for (i = 0; i < t->paths.nr; i++)
		ASSERT_EQ(0, path_remove(&t->paths.path[i]));
}

TEST_F_TIMEOUT(multipath, all_removed, 600)
{
	struct multipath *t = &self->t;
	struct env *e = &t->e;
	int w, ret;

	for (w = 0; w < 2; w++) {
		ASSERT_EQ(0, mock_auto(e->mem.fd, MOVE_US, MOCK_ALL_MOVES));
		start(_metadata, t, w);
		remove_all(_metadata, t);
		ASSERT_EQ(0, burst_reap(&t->b, NULL))
			TH_LOG("%s", t->b.why);
		EXPECT_TRUE(disk_allowed_after_removal(t->b.first_error))
			TH_LOG("error %d", t->b.first_error);
		ret = ring_rw(&e->ring, IORING_OP_WRITE_FIXED, e->disk.fd, SLOT, 0, 4096, XFER_POS);
		EXPECT_TRUE(ret && disk_allowed_after_removal(ret))
			TH_LOG("%d", ret);
		EXPECT_EQ(-ENODEV, ring_set_dmabuf(&e->ring, SLOT + 1, e->mem.fd, e->disk.fd));
		EXPECT_EQ(0, ring_clear(&e->ring, SLOT));
		ASSERT_EQ(0, mock_auto(e->mem.fd, 0, 0));
		EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, PATHS_WAIT_MS));
		disk_close(&e->disk);

		ASSERT_TRUE(paths_come_back(&t->paths));
		ASSERT_EQ(0, env_reopen_disk(e))
			TH_LOG("%s", e->why);
		ASSERT_EQ(0, paths_set_policy(&t->paths, "round-robin"));
		/* What was reported as done was done */
		EXPECT_EQ(0, burst_check(&t->b))
			TH_LOG("%s", t->b.why);
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		EXPECT_EQ(t->paths.nr, one_burst(_metadata, t, w));
	}
}

/* Whoever has asked for that waits until there is a path again */
TEST_F_TIMEOUT(multipath, no_path_for_a_while, 300)
{
	struct multipath *t = &self->t;
	struct io_uring_cqe cqe;
	int w;

	ASSERT_EQ(0, sysfs_set("120", "/sys/block/%s/delayed_removal_secs", t->e.disk.name));
	for (w = 0; w < 2; w++) {
		ASSERT_EQ(0, burst_prepare(&t->b, &t->e, &t->e.mem, w, IN_FLIGHT))
			TH_LOG("%s", t->b.why);
		remove_all(_metadata, t);
		EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, PATHS_WAIT_MS));
		ASSERT_EQ(0, burst_submit(&t->b, t->e.disk.fd, SLOT, IN_FLIGHT, 0))
			TH_LOG("%s", t->b.why);
		usleep(300000);
		EXPECT_EQ(-EAGAIN, ring_peek(&t->e.ring, &cqe));
		ASSERT_TRUE(paths_come_back(&t->paths));
		finish(_metadata, t);
	}
	EXPECT_EQ(0, sysfs_set("0", "/sys/block/%s/delayed_removal_secs", t->e.disk.name));
}

TEST_HARNESS_MAIN
