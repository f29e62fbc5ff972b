// SPDX-License-Identifier: GPL-2.0
/*
 * Who holds what for how long: every end of the path goes away in every order,
 * with and without I/O in flight, and nothing stays behind. The fixture's
 * teardown waits until the dma-buf itself is gone.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "burst.h"
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		1
#define IN_FLIGHT	64U
#define WAIT_MS		30000

struct lifetime {
	struct env e;
	struct xfer x;
	struct burst b;
};

FIXTURE(lifetime) {
	struct lifetime t;
};

FIXTURE_VARIANT(lifetime) {
	enum mem_kind kind;
	size_t size;
};

FIXTURE_VARIANT_ADD(lifetime, udmabuf) {
	.kind = MEM_UDMABUF, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(lifetime, heap) {
	.kind = MEM_HEAP, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(lifetime, vfio) {
	.kind = MEM_VFIO, .size = MIB(8),
};

FIXTURE_SETUP(lifetime)
{
	if (!fixture_open(_metadata, &self->t.e, variant->kind, variant->size, 0))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(lifetime)
{
	fixture_close(_metadata, &self->t.e);
}

/* Start I/O that takes a while and see that it is under way */
static void start(struct __test_metadata *_metadata, struct lifetime *t, bool write)
{
	fixture_burst_start(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
}

/* All of it has to arrive, complete and right */
static void finish(struct __test_metadata *_metadata, struct lifetime *t)
{
	EXPECT_EQ(0, burst_reap(&t->b, NULL))
		TH_LOG("%s", t->b.why);
	EXPECT_EQ(IN_FLIGHT, t->b.full)
		TH_LOG("first error %d", t->b.first_error);
	EXPECT_EQ(0, burst_check(&t->b))
		TH_LOG("%s", t->b.why);
}

static void expect_attached(struct __test_metadata *_metadata, uint64_t ino, int want)
{
	EXPECT_EQ(0, watch_wait_attached(ino, want, WAIT_MS))
		TH_LOG("attached: %d, not %d", watch_attached(ino), want);
}

/* Large transfers are split: each part must give back what it took */
TEST_F_TIMEOUT(lifetime, attach_and_clear, 120)
{
	struct env *e = &self->t.e;
	int i;

	expect_attached(_metadata, e->mem.ino, 1);
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		expect_attached(_metadata, e->mem.ino, 0);
		ASSERT_EQ(-EFAULT, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					   4096, XFER_POS));
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		ASSERT_EQ(0, xfer_one(&self->t.x, i & 1, 0, e->mem.size, XFER_POS))
			TH_LOG("%s", self->t.x.why);
	}
	ASSERT_EQ(0, ring_unregister(&e->ring));
	expect_attached(_metadata, e->mem.ino, 0);
}

/*
 * CONFIG_DMA_API_DEBUG complains about the eighth mapping of one page, so this
 * makes six, besides the one of the fixture.
 */
TEST_F_TIMEOUT(lifetime, many_registrations, 120)
{
	struct env *e = &self->t.e;
	struct ring rings[3];
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(rings); i++) {
		ASSERT_EQ(0, ring_init(&rings[i], 8, 0));
		ASSERT_EQ(0, ring_sparse(&rings[i], 2));
		for (j = 0; j < 2; j++)
			ASSERT_EQ(0, ring_set_dmabuf(&rings[i], j, e->mem.fd, e->disk.fd));
	}
	expect_attached(_metadata, e->mem.ino, 7);
	for (i = 0; i < ARRAY_SIZE(rings); i++) {
		self->t.x.ring = &rings[i];
		for (j = 0; j < 2; j++) {
			self->t.x.slot = j;
			EXPECT_EQ(0, xfer_one(&self->t.x, j, 0, MIB(1), XFER_POS))
				TH_LOG("%s", self->t.x.why);
		}
		ring_exit(&rings[i]);
	}
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	expect_attached(_metadata, e->mem.ino, 0);
}

/* The registration alone keeps memory and mapping */
TEST_F_TIMEOUT(lifetime, close_dmabuf, 120)
{
	struct env *e = &self->t.e;

	ASSERT_EQ(0, burst_prepare(&self->t.b, e, &e->mem, true, IN_FLIGHT))
		TH_LOG("%s", self->t.b.why);
	if (!mem_is_peer(variant->kind)) {
		munmap(e->mem.va, e->mem.size);
		e->mem.va = NULL;
	}
	mem_close_fd(&e->mem);
	if (e->mem.memfd >= 0)
		close(e->mem.memfd);
	e->mem.memfd = -1;

	ASSERT_EQ(0, burst_submit(&self->t.b, e->disk.fd, SLOT, IN_FLIGHT, 0));
	finish(_metadata, &self->t);
	expect_attached(_metadata, e->mem.ino, 1);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	expect_attached(_metadata, e->mem.ino, -ENOENT);
}

TEST_F_TIMEOUT(lifetime, close_target, 120)
{
	struct env *e = &self->t.e;
	int fd = open(e->disk.path, O_RDWR | O_DIRECT), fd2;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, fd));
	fd2 = dup(fd);
	close(fd);
	self->t.x.fd = fd2;
	EXPECT_EQ(0, xfer_read(&self->t.x, 0, e->mem.size, XFER_POS))
		TH_LOG("%s", self->t.x.why);

	/* In flight while the last descriptor goes */
	ASSERT_EQ(0, burst_prepare(&self->t.b, e, &e->mem, false, IN_FLIGHT))
		TH_LOG("%s", self->t.b.why);
	ASSERT_EQ(0, burst_start(&self->t.b, fd2, SLOT, 0))
		TH_LOG("%s", self->t.b.why);
	close(fd2);
	finish(_metadata, &self->t);

	/* Whatever opens the same number now is not the registered file */
	fd = open(e->disk.path, O_RDWR | O_DIRECT);
	EXPECT_EQ(-EBADF, ring_rw(&e->ring, IORING_OP_READ_FIXED, fd, SLOT, 0, 4096, XFER_POS));
	close(fd);
}

TEST_F_TIMEOUT(lifetime, clear_in_flight, 120)
{
	int w;

	for (w = 0; w < 2; w++) {
		ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd,
					     self->t.e.disk.fd));
		start(_metadata, &self->t, w);
		ASSERT_EQ(0, ring_clear(&self->t.e.ring, SLOT));
		finish(_metadata, &self->t);
		expect_attached(_metadata, self->t.e.mem.ino, 0);
		EXPECT_EQ(-EFAULT, ring_rw(&self->t.e.ring, IORING_OP_READ_FIXED, self->t.e.disk.fd,
					   SLOT, 0, 4096, XFER_POS));
	}
}

TEST_F_TIMEOUT(lifetime, unregister_in_flight, 120)
{
	int w;

	for (w = 0; w < 2; w++) {
		start(_metadata, &self->t, w);
		ASSERT_EQ(0, ring_unregister(&self->t.e.ring));
		finish(_metadata, &self->t);
		expect_attached(_metadata, self->t.e.mem.ino, 0);
		ASSERT_EQ(0, ring_sparse(&self->t.e.ring, ENV_SLOTS));
		ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd,
					     self->t.e.disk.fd));
	}
}

/* Requests use the buffer that the slot held when they were started */
TEST_F_TIMEOUT(lifetime, replace_in_flight, 120)
{
	struct env *e = &self->t.e;
	struct mem other;

	ASSERT_EQ(0, env_mem(e, &other, MEM_UDMABUF, MIB(1)))
		TH_LOG("%s", e->why);
	start(_metadata, &self->t, false);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, other.fd, e->disk.fd));
	finish(_metadata, &self->t);
	expect_attached(_metadata, e->mem.ino, 0);
	expect_attached(_metadata, other.ino, 1);

	xfer_init(&self->t.x, e, &other, SLOT);
	xfer_poison(&self->t.x);
	EXPECT_EQ(0, xfer_read(&self->t.x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	EXPECT_EQ(0, xfer_write(&self->t.x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	EXPECT_EQ(0, env_mem_free(e, &other))
		TH_LOG("%s", e->why);
}

/* The tag is posted once, after the last request that uses the buffer */
TEST_F_TIMEOUT(lifetime, tag, 120)
{
	struct env *e = &self->t.e;
	struct dio_regbuf_desc d = { .type = DIO_TYPE_DMABUF, .dmabuf_fd = e->mem.fd,
				     .target_fd = e->disk.fd };
	struct io_uring_cqe cqe = {};
	__u64 tag = BURST_END + 77;

	ASSERT_EQ(1, ring_update(&e->ring, SLOT, &d, 1, &tag));
	start(_metadata, &self->t, true);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	finish(_metadata, &self->t);
	ASSERT_EQ(0, ring_wait(&e->ring, &cqe, WAIT_MS));
	EXPECT_EQ(tag, cqe.user_data);
	EXPECT_EQ(0, cqe.res);
	expect_attached(_metadata, e->mem.ino, 0);
	EXPECT_EQ(-EAGAIN, ring_peek(&e->ring, &cqe));
}

TEST_F_TIMEOUT(lifetime, close_ring_in_flight, 120)
{
	int w;

	for (w = 0; w < 2; w++) {
		start(_metadata, &self->t, w);
		ring_exit(&self->t.e.ring);
		expect_attached(_metadata, self->t.e.mem.ino, 0);
		EXPECT_EQ(0, burst_check(&self->t.b))
			TH_LOG("%s", self->t.b.why);
		ASSERT_EQ(0, ring_init(&self->t.e.ring, 64, 0));
		ASSERT_EQ(0, ring_sparse(&self->t.e.ring, ENV_SLOTS));
		ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd,
					     self->t.e.disk.fd));
	}
}

TEST_F_TIMEOUT(lifetime, kill_in_flight, 120)
{
	struct env *e = &self->t.e;
	int status, i;
	pid_t pid;

	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, burst_prepare(&self->t.b, e, &e->mem, i & 1, IN_FLIGHT))
			TH_LOG("%s", self->t.b.why);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			/* A ring of its own; nobody else keeps it open */
			if (ring_init(&e->ring, 64, i & 2 ? IORING_SETUP_SQPOLL : 0) ||
			    ring_sparse(&e->ring, ENV_SLOTS) ||
			    ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd) ||
			    burst_start(&self->t.b, e->disk.fd, SLOT, 0))
				_exit(1);
			kill(getpid(), SIGKILL);
			_exit(2);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status))
			TH_LOG("child exited with %d", WEXITSTATUS(status));
		expect_attached(_metadata, e->mem.ino, 0);
		/* Whatever was done is either done right or not at all */
		EXPECT_EQ(0, burst_check(&self->t.b))
			TH_LOG("%s", self->t.b.why);
	}
}

/* A child that has inherited everything uses it, and its end changes nothing */
TEST_F_TIMEOUT(lifetime, fork_shares, 120)
{
	struct env *e = &self->t.e;
	int status, i;
	pid_t pid;

	for (i = 0; i < 4; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			int err = xfer_one(&self->t.x, i & 1, 0, MIB(2), XFER_POS);

			_exit(err ? 1 : 0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		expect_attached(_metadata, e->mem.ino, 1);
		/* The child has moved the tail of the shared submission queue */
		e->ring.tail = *e->ring.sq_tail;
		EXPECT_EQ(0, xfer_one(&self->t.x, !(i & 1), 0, MIB(2), XFER_POS))
			TH_LOG("%s", self->t.x.why);
	}
}

/* To another ring, and then the ring that it came from lets go of it */
TEST_F_TIMEOUT(lifetime, clone_buffers, 120)
{
	struct env *e = &self->t.e;
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, 8, 0));
	ASSERT_EQ(0, ring_clone(&r, &e->ring, 0, 0, 0, 0));
	ASSERT_EQ(0, ring_unregister(&e->ring));
	expect_attached(_metadata, e->mem.ino, 1);
	self->t.x.ring = &r;
	EXPECT_EQ(0, xfer_read(&self->t.x, 0, MIB(2), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	EXPECT_EQ(0, xfer_write(&self->t.x, 0, MIB(2), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	ring_exit(&r);
	expect_attached(_metadata, e->mem.ino, 0);
}

TEST_HARNESS_MAIN
