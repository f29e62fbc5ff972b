// SPDX-License-Identifier: GPL-2.0
/*
 * Who may do what with dma-bufs as registered buffers, for what no other test
 * does: see the table in Documentation/userspace-api/dma-buf-io.rst. What each
 * may use are the file descriptors that he has, and what the kernel allocates
 * for it is charged to who registers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "memcg.h"
#include "xfer.h"

#define NOBODY		65534
#define SLOT		1
#define PREMAP_SIZE	MIB(1)
#define MOCK_DEV	"/dev/dma_buf_mock"
#define BUFINFO		"/sys/kernel/debug/dma_buf/bufinfo"

struct isolation {
	struct env e;
	int *line;		/* where the other process went wrong */
	int (*become)(void);	/* who it is */
	char *user;		/* PREMAP_SIZE bytes of ordinary memory */
	struct memcg cg;
	long long least;	/* that is charged to @cg */
};

static bool isolation_open(struct __test_metadata *_metadata, struct isolation *t,
			   enum mem_kind kind, size_t size)
{
	if (!fixture_open(_metadata, &t->e, kind, size, 0))
		return false;
	t->line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, t->line);
	return true;
}

static void isolation_close(struct __test_metadata *_metadata, struct isolation *t)
{
	munmap(t->line, 4096);
	fixture_close(_metadata, &t->e);
}

/* Let another process do it. Returns the line that went wrong, or -1 if it died. */
static int in_child(struct isolation *t, int (*fn)(struct isolation *t))
{
	int status;
	pid_t pid;

	*t->line = -1;
	pid = fork();
	if (!pid) {
		*t->line = fn(t);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return -1;
	return *t->line;
}

static int become_nobody(void)
{
	return setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	       setresuid(NOBODY, NOBODY, NOBODY) ? -errno : 0;
}

/* All capabilities, but in a user namespace that owns nothing of what is used */
static int become_userns_root(void)
{
	return become_nobody() || unshare(CLONE_NEWUSER) ? -errno : 0;
}

FIXTURE(isolation) {
	struct isolation t;
};

FIXTURE_VARIANT(isolation) {
	int (*become)(void);
};

FIXTURE_VARIANT_ADD(isolation, nobody) {
	.become = become_nobody,
};

FIXTURE_VARIANT_ADD(isolation, userns_root) {
	.become = become_userns_root,
};

FIXTURE_SETUP(isolation)
{
	struct isolation *t = &self->t;

	if (!isolation_open(_metadata, t, MEM_UDMABUF, MIB(1)))
		return;
	t->user = mmap(NULL, PREMAP_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, t->user);
	t->become = variant->become;
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->e.disk.fd));
}

FIXTURE_TEARDOWN(isolation)
{
	munmap(self->t.user, PREMAP_SIZE);
	isolation_close(_metadata, &self->t);
}

static int fixed_rw(struct isolation *t, struct ring *r, unsigned int slot)
{
	int ret;

	ret = ring_rw(r, IORING_OP_WRITE_FIXED, t->e.disk.fd, slot, 0, 4096, XFER_POS);
	if (ret != 4096)
		return ret;
	return ring_rw(r, IORING_OP_READ_FIXED, t->e.disk.fd, slot, 4096, 4096, XFER_POS);
}

/* The two file descriptors are the right to it, with or without a target */
static int use_passed_fds(struct isolation *t)
{
	struct ring r;

	if (t->become())
		return __LINE__;
	/* What he could not have opened, made, or looked at, himself */
	if (open(t->e.disk.path, O_RDWR) >= 0 || errno != EACCES)
		return __LINE__;
	if (open(MOCK_DEV, O_RDWR) >= 0 || (errno != EACCES && errno != ENOENT))
		return __LINE__;
	if (open(BUFINFO, O_RDONLY) >= 0 || (errno != EACCES && errno != ENOENT))
		return __LINE__;

	if (ring_init(&r, 8, 0) || ring_sparse(&r, 4))
		return __LINE__;
	if (ring_set_dmabuf(&r, 0, t->e.mem.fd, t->e.disk.fd) ||
	    ring_set_dmabuf(&r, 1, t->e.mem.fd, -1))
		return __LINE__;
	if (fixed_rw(t, &r, 0) != 4096 || fixed_rw(t, &r, 1) != 4096)
		return __LINE__;
	ring_exit(&r);
	return 0;
}

TEST_F_TIMEOUT(isolation, passed_fds, 60)
{
	EXPECT_EQ(0, in_child(&self->t, use_passed_fds));
}

/* Who has the ring has its buffers, and can take them away from it */
static int use_passed_ring(struct isolation *t)
{
	if (t->become())
		return __LINE__;
	if (fixed_rw(t, &t->e.ring, SLOT) != 4096)
		return __LINE__;
	if (ring_clear(&t->e.ring, SLOT) ||
	    ring_set_dmabuf(&t->e.ring, SLOT + 1, t->e.mem.fd, t->e.disk.fd))
		return __LINE__;
	return 0;
}

TEST_F_TIMEOUT(isolation, passed_ring, 60)
{
	struct isolation *t = &self->t;

	EXPECT_EQ(0, in_child(t, use_passed_ring));
	/* The other process has moved the tail of the ring */
	t->e.ring.tail = *t->e.ring.sq_tail;
	EXPECT_EQ(-EFAULT, fixed_rw(t, &t->e.ring, SLOT));
	EXPECT_EQ(4096, fixed_rw(t, &t->e.ring, SLOT + 1));
}

static int clone_all(struct ring *dst, struct ring *src)
{
	return ring_clone(dst, src, 0, 0, 0, DIO_CLONE_REPLACE);
}

static int clone_in_other_process(struct ring *theirs)
{
	struct ring r;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (ring_init(&r, 8, 0))
			_exit(1);
		_exit(clone_all(&r, theirs) == -EINVAL ? 0 : 2);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid ? -ECHILD : status;
}

/*
 * Buffers stay with who they are accounted to: another user's, or another
 * process's, can't be had, nor can he be given any.
 */
static int clone_others(struct isolation *t)
{
	struct ring r, same;

	if (t->become())
		return __LINE__;
	if (ring_init(&r, 8, 0) || ring_init(&same, 8, 0))
		return __LINE__;
	if (clone_all(&r, &t->e.ring) != -EINVAL)
		return __LINE__;
	if (ring_sparse(&r, 2) || ring_set_dmabuf(&r, 1, t->e.mem.fd, t->e.disk.fd))
		return __LINE__;
	if (clone_all(&t->e.ring, &r) != -EINVAL)
		return __LINE__;
	if (clone_in_other_process(&r))
		return __LINE__;
	if (clone_all(&same, &r) || fixed_rw(t, &same, 1) != 4096)
		return __LINE__;
	ring_exit(&r);
	ring_exit(&same);
	return 0;
}

TEST_F_TIMEOUT(isolation, clone, 60)
{
	struct isolation *t = &self->t;

	EXPECT_EQ(0, in_child(t, clone_others));
	/* That was refused, and the ring has what it had */
	EXPECT_EQ(4096, fixed_rw(t, &t->e.ring, SLOT));
}

static int set_premap(struct isolation *t, struct ring *r, unsigned int slot, size_t off,
		      size_t len, bool target)
{
	return ring_set_premap(r, slot, t->user + off, len, target ? t->e.disk.fd : -1);
}

/* Ordinary memory is not cheaper because it is mapped once */
static int lock_premap(struct isolation *t)
{
	/* A little is needed for the rings: fits alone, not together with the first */
	const struct rlimit limit = { PREMAP_SIZE / 2, PREMAP_SIZE / 2 };
	const size_t rest = PREMAP_SIZE / 8 * 3;
	struct ring r, clone;
	int i;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || t->become())
		return __LINE__;
	if (ring_init(&r, 8, 0) || ring_sparse(&r, 4) || ring_init(&clone, 8, 0))
		return __LINE__;
	for (i = 0; i < 6; i++) {
		if (set_premap(t, &r, 0, 0, PREMAP_SIZE, i & 1) != -ENOMEM)
			return __LINE__;
		if (set_premap(t, &r, 0, 0, PREMAP_SIZE / 4, i & 1))
			return __LINE__;
		if (set_premap(t, &r, 1, PREMAP_SIZE / 2, rest, i & 1) != -ENOMEM)
			return __LINE__;
		/* As long as one of the rings has it, and no longer */
		if (clone_all(&clone, &r) || ring_clear(&r, 0))
			return __LINE__;
		if (set_premap(t, &r, 1, PREMAP_SIZE / 2, rest, i & 1) != -ENOMEM)
			return __LINE__;
		if (ring_unregister(&clone))
			return __LINE__;
		if (set_premap(t, &r, 1, PREMAP_SIZE / 2, rest, i & 1) ||
		    ring_clear(&r, 1))
			return __LINE__;
	}
	ring_exit(&r);
	ring_exit(&clone);
	return 0;
}

TEST_F_TIMEOUT(isolation, locked_premap, 60)
{
	EXPECT_EQ(0, in_child(&self->t, lock_premap));
}

#define CHARGED_SLOTS	6	/* the DMA debugging takes 7 mappings of a page */

/*
 * What is allocated for a mapping is charged to who registered, whether it is made
 * at registration or, by a worker, with the first request.
 */
FIXTURE(charged) {
	struct isolation t;
};

FIXTURE_VARIANT(charged) {
	enum mem_kind kind;
	size_t size;
	unsigned int per_page;	/* bytes per 4 KiB that are charged at least */
	bool nvme;
};

/* Large segments, so that what the drive reads is the largest part of it */
FIXTURE_VARIANT_ADD(charged, prp_lists) {
	.kind = MEM_HEAP, .size = MIB(128), .per_page = 5, .nvme = true,
};

FIXTURE_SETUP(charged)
{
	struct isolation *t = &self->t;
	int err;

	if (!isolation_open(_metadata, t, variant->kind, variant->size))
		return;
	if (variant->nvme && strncmp(t->e.disk.name, "nvme", 4)) {
		isolation_close(_metadata, t);
		SKIP(return, "the disk is no nvme drive");
	}
	err = memcg_open(&t->cg);
	if (err) {
		isolation_close(_metadata, t);
		LACKS(return, "no cgroup v2 with a memory controller: %d", err);
	}
	t->least = (long long)CHARGED_SLOTS * variant->per_page * (variant->size / 4096);
}

FIXTURE_TEARDOWN(charged)
{
	EXPECT_EQ(0, memcg_close(&self->t.cg));
	isolation_close(_metadata, &self->t);
}

static int register_in_cgroup(struct isolation *t, bool later)
{
	long long before;
	struct ring r;
	int i;

	if (memcg_enter(&t->cg))
		return __LINE__;
	if (ring_init(&r, 8, 0) || ring_sparse(&r, CHARGED_SLOTS))
		return __LINE__;
	before = memcg_current(&t->cg);
	if (before < 0)
		return __LINE__;
	for (i = 0; i < CHARGED_SLOTS; i++)
		if (ring_set_dmabuf(&r, i, t->e.mem.fd, later ? -1 : t->e.disk.fd))
			return __LINE__;
	for (i = 0; later && i < CHARGED_SLOTS; i++)
		if (fixed_rw(t, &r, i) != 4096)
			return __LINE__;
	if (memcg_current(&t->cg) - before < t->least)
		return __LINE__;

	if (ring_unregister(&r) || memcg_wait(&t->cg, before + t->least / 2))
		return __LINE__;
	ring_exit(&r);
	return 0;
}

static int register_now(struct isolation *t)
{
	return register_in_cgroup(t, false);
}

static int register_for_later(struct isolation *t)
{
	return register_in_cgroup(t, true);
}

TEST_F_TIMEOUT(charged, at_registration, 120)
{
	EXPECT_EQ(0, in_child(&self->t, register_now));
}

TEST_F_TIMEOUT(charged, at_first_use, 120)
{
	EXPECT_EQ(0, in_child(&self->t, register_for_later));
}

TEST_HARNESS_MAIN
