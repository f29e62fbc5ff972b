// SPDX-License-Identifier: GPL-2.0
/*
 * Good descriptors and requests that are refused for other reasons: what a
 * request asks for besides, how the dma-buf was opened, who asks, and how much.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

/* What installed headers may not know */
#define OP_SEND_ZC		47
#define RECVSEND_FIXED_BUF	4U
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND		0x20
#endif
#ifndef RWF_ATOMIC
#define RWF_ATOMIC		0x40
#endif

#define SLOT			2
#define NOBODY			65534

struct refused {
	struct env e;
	struct xfer x;
};

FIXTURE(refused) {
	struct refused t;
};

FIXTURE_SETUP(refused)
{
	if (!fixture_open(_metadata, &self->t.e, MEM_UDMABUF, MIB(1), 0))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(refused)
{
	fixture_close(_metadata, &self->t.e);
}

/* Nothing was moved, and the next request moves what it should */
static void check_unchanged(struct __test_metadata *_metadata, struct refused *t, const char *name)
{
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("after %s: %s", name, t->x.why);
	EXPECT_EQ(0, xfer_read(&t->x, 4096, 8192, XFER_POS))
		TH_LOG("after %s: %s", name, t->x.why);
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 1, 10000))
		TH_LOG("after %s: attached %d times", name, watch_attached(t->e.mem.ino));
}

/* What sqe->rw_flags asks for and can't be had */
TEST_F_TIMEOUT(refused, rw_flags, 60)
{
	const unsigned int size = self->t.e.mem.size, lbs = self->t.e.disk.lbs;
	const int rd = IORING_OP_READ_FIXED, wr = IORING_OP_WRITE_FIXED;
	const struct {
		const char *name;
		int op;
		unsigned int len, rw_flags;
		int err;
	} bad[] = {
		{ "read: unknown flag", rd, lbs, 1U << 31, -EOPNOTSUPP },
		{ "write: unknown flag", wr, lbs, 1U << 31, -EOPNOTSUPP },
		{ "read: atomic", rd, lbs, RWF_ATOMIC, -EOPNOTSUPP },
		{ "write: append or not", wr, lbs, RWF_APPEND | RWF_NOAPPEND, -EINVAL },
		/* More than one command, which means to wait for the second one */
		{ "read: much, without waiting", rd, size, RWF_NOWAIT, -EAGAIN },
		{ "write: much, without waiting", wr, size, RWF_NOWAIT, -EAGAIN },
	};
	struct ring *r = &self->t.e.ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (bad[i].rw_flags == RWF_NOWAIT && size <= self->t.e.disk.max_io)
			continue;
		sqe = ring_sqe(r);
		ASSERT_NE(NULL, sqe);
		ring_prep_rw(sqe, bad[i].op, self->t.e.disk.fd, SLOT, 0, bad[i].len, XFER_POS);
		sqe->rw_flags = bad[i].rw_flags;
		ASSERT_EQ(1, ring_submit(r, 0));
		ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(bad[i].err, cqe.res)
			TH_LOG("%s", bad[i].name);
		check_unchanged(_metadata, &self->t, bad[i].name);
	}
}

/* The network stack wants pages */
TEST_F_TIMEOUT(refused, send, 60)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	static const int ops[] = { OP_SEND_ZC, IORING_OP_SEND };
	struct ring *r = &self->t.e.ring;
	socklen_t len = sizeof(addr);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	char data[4096];
	size_t i;
	int sock;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	ASSERT_LE(0, sock);
	ASSERT_EQ(0, bind(sock, (struct sockaddr *)&addr, len));
	ASSERT_EQ(0, getsockname(sock, (struct sockaddr *)&addr, &len));
	ASSERT_EQ(0, connect(sock, (struct sockaddr *)&addr, len));
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		sqe = ring_sqe(r);
		ASSERT_NE(NULL, sqe);
		sqe->opcode = ops[i];
		sqe->fd = sock;
		sqe->len = sizeof(data);
		sqe->ioprio = RECVSEND_FIXED_BUF;
		sqe->buf_index = SLOT;
		ASSERT_EQ(1, ring_submit(r, 0));
		ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(-EOPNOTSUPP, cqe.res)
			TH_LOG("operation %d", ops[i]);
		if (cqe.flags & IORING_CQE_F_MORE)
			ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(-1, recv(sock, data, sizeof(data), MSG_DONTWAIT));
		EXPECT_EQ(EAGAIN, errno);
		check_unchanged(_metadata, &self->t, "send");
	}
	close(sock);
}

/* Open for reading only: the disk may read from the memory, not write to it */
TEST_F_TIMEOUT(refused, read_only_dmabuf, 60)
{
	struct dma_heap_allocation_data data = { .len = MIB(1), .fd_flags = O_RDONLY | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC), i;
	struct env *e = &self->t.e;
	static char zeros[65536];
	char *va, *buf = NULL;

	if (heap < 0)
		LACKS(return, "no system heap");
	ASSERT_EQ(0, ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data));
	close(heap);
	va = mmap(NULL, MIB(1), PROT_READ, MAP_SHARED, data.fd, 0);
	ASSERT_NE(MAP_FAILED, va);
	ASSERT_EQ(0, posix_memalign((void **)&buf, 4096, sizeof(zeros)));
	memset(buf, 0x5a, sizeof(zeros));
	ASSERT_EQ(0, disk_put(&e->disk, buf, sizeof(zeros), XFER_POS));

	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, data.fd, e->disk.fd));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(-EACCES, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT,
					   i * 4096, sizeof(zeros), XFER_POS));
	EXPECT_EQ(-EFAULT, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, MIB(1), 4096,
				   XFER_POS));
	for (i = 0; i < (int)MIB(1); i += sizeof(zeros))
		EXPECT_EQ(0, memcmp(va + i, zeros, sizeof(zeros)));

	EXPECT_EQ((int)sizeof(zeros), ring_rw(&e->ring, IORING_OP_WRITE_FIXED, e->disk.fd, SLOT,
					      4096, sizeof(zeros), XFER_POS));
	ASSERT_EQ(0, disk_get(&e->disk, buf, sizeof(zeros), XFER_POS));
	EXPECT_EQ(0, memcmp(buf, zeros, sizeof(zeros)));
	munmap(va, MIB(1));
	free(buf);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	close(data.fd);
}

/* A ring that may not update buffers may not do so in the extended way either */
TEST_F_TIMEOUT(refused, restrictions, 60)
{
	struct io_uring_restriction res[] = {
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_BUFFERS2 },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ_FIXED },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_BUFFERS_UPDATE },
	};
	struct env *e = &self->t.e;
	unsigned int allowed;
	struct ring r;

	for (allowed = 0; allowed < 2; allowed++) {
		ASSERT_EQ(0, ring_init(&r, 8, IORING_SETUP_R_DISABLED));
		ASSERT_EQ(0, ring_register(&r, IORING_REGISTER_RESTRICTIONS, res, 3 + allowed));
		ASSERT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
		ASSERT_EQ(0, ring_sparse(&r, 2));
		EXPECT_EQ(allowed ? 0 : -EACCES, ring_set_dmabuf(&r, 1, e->mem.fd, e->disk.fd));
		EXPECT_EQ(allowed ? 4096 : -EFAULT, ring_rw(&r, IORING_OP_READ_FIXED, e->disk.fd, 1,
							    0, 4096, XFER_POS));
		EXPECT_EQ(-EACCES, ring_rw(&r, IORING_OP_WRITE_FIXED, e->disk.fd, 1, 0, 4096,
					   XFER_POS));
		ring_exit(&r);
	}
	xfer_poison(&self->t.x);
	check_unchanged(_metadata, &self->t, "restrictions");
}

/*
 * As someone whose locked memory is limited: ordinary memory counts, however it
 * is described, and is given back; the memory of a dma-buf is not the caller's.
 * Returns the line that went wrong.
 */
static int register_as_nobody(struct env *e, char *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct dio_rsrc_update up = { .data = (uintptr_t)&iov, .nr = 1, .offset = 1 };
	const struct rlimit limit = { len / 2, len / 2 };
	struct ring r;
	int i;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(NOBODY, NOBODY, NOBODY))
		return __LINE__;
	if (ring_init(&r, 8, 0) || ring_sparse(&r, 4))
		return __LINE__;
	if (ring_set_uaddr(&r, 0, buf, len) != -ENOMEM)
		return __LINE__;
	if (ring_register(&r, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up)) != -ENOMEM)
		return __LINE__;
	for (i = 0; i < 8; i++)
		if (ring_set_uaddr(&r, 0, buf, len / 4) || ring_clear(&r, 0))
			return __LINE__;
	/* One fits, the second one does not, and neither kind is cheaper */
	if (ring_set_uaddr(&r, 0, buf, len / 4))
		return __LINE__;
	if (ring_set_uaddr(&r, 1, buf + len / 2, len / 2) != -ENOMEM)
		return __LINE__;
	iov.iov_base = buf + len / 2;
	iov.iov_len = len / 2;
	if (ring_register(&r, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up)) != -ENOMEM)
		return __LINE__;
	for (i = 0; i < 3; i++)
		if (ring_set_dmabuf(&r, 1 + i, e->mem.fd, e->disk.fd))
			return __LINE__;
	ring_exit(&r);
	return 0;
}

TEST_F_TIMEOUT(refused, locked_memory, 60)
{
	int status;
	pid_t pid;
	char *buf;

	buf = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, buf);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(register_as_nobody(&self->t.e, buf, MIB(1)) % 255);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status)
		TH_LOG("line %d, modulo 255", WEXITSTATUS(status));
	munmap(buf, MIB(1));
	check_unchanged(_metadata, &self->t, "locked memory");
}

TEST_HARNESS_MAIN
