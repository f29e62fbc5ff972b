// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever can fail does, in I/O on dma-bufs, when it attaches and maps them, and
 * when their exporter moves or revokes them. See fail_nth for what registers them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fail_nth.h"

#define CMD_WRITE	0x01
#define CMD_READ	0x02
#define NO_DATA		0x6e6f6e65ULL

struct seg {
	uint64_t off;
	size_t len;
};

/* One request on the buffer, in parts */
struct op {
	unsigned int code;
	bool write;
	unsigned int nr;
	struct seg seg[2];	/* in the order of the disk */
};

/* --- I/O */

static size_t op_len(const struct op *op)
{
	return op->seg[0].len + (op->nr > 1 ? op->seg[1].len : 0);
}

static bool is_cmd(const struct op *op)
{
	return op->code == IORING_OP_URING_CMD;
}

static void fill(struct fail *t, const struct op *op, uint64_t seed)
{
	uint64_t pos = 0;
	unsigned int i;

	mem_begin(&t->e.mem);
	for (i = 0; i < op->nr; pos += op->seg[i++].len)
		pattern_fill(t->e.mem.va + op->seg[i].off, op->seg[i].len, seed, pos);
	mem_end(&t->e.mem);
}

static bool filled(struct fail *t, const struct op *op, uint64_t seed)
{
	uint64_t pos = 0;
	unsigned int i;
	bool ret = true;

	mem_begin(&t->e.mem);
	for (i = 0; i < op->nr; pos += op->seg[i++].len)
		if (pattern_differs(t->e.mem.va + op->seg[i].off, op->seg[i].len, seed, pos) >= 0)
			ret = false;
	mem_end(&t->e.mem);
	return ret;
}

/* The memory at one end has the data, that at the other end none */
static void prepare_data(struct __test_metadata *_metadata, struct fail *t)
{
	const struct op *op = t->op;

	t->data = rnd_next(&t->e.rnd);
	fill(t, op, op->write ? t->data : NO_DATA);
	pattern_fill(t->user.va, op_len(op), op->write ? NO_DATA : t->data, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, t->user.va, op_len(op), XFER_POS));
}

static void expect_data(struct __test_metadata *_metadata, struct fail *t)
{
	const struct op *op = t->op;
	uint64_t want = t->ret < 0 ? NO_DATA : t->data;

	if (!op->write) {
		EXPECT_TRUE(filled(t, op, want))
			TH_LOG("call %u: returned %d", t->s.n, t->ret);
		return;
	}
	EXPECT_TRUE(filled(t, op, t->data));
	ASSERT_EQ(0, disk_get(&t->e.disk, t->user.va, op_len(op), XFER_POS));
	EXPECT_EQ(-1, pattern_differs(t->user.va, op_len(op), want, 0))
		TH_LOG("call %u: returned %d", t->s.n, t->ret);
}

static void prep_cmd(struct fail *t, struct io_uring_sqe *sqe)
{
	struct nvme_uring_cmd *cmd = (struct nvme_uring_cmd *)sqe->cmd;
	const struct op *op = t->op;

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = t->ng;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->buf_index = SLOT;
	cmd->opcode = op->write ? CMD_WRITE : CMD_READ;
	cmd->nsid = t->nsid;
	cmd->addr = op->seg[0].off;
	cmd->data_len = op->seg[0].len;
	cmd->cdw10 = XFER_POS / t->e.disk.lbs;
	cmd->cdw12 = op->seg[0].len / t->e.disk.lbs - 1;
}

static int do_io(struct fail *t, bool wait_armed)
{
	const struct op *op = t->op;
	struct io_uring_sqe *sqe = ring_sqe(&t->r);
	struct io_uring_cqe cqe;
	struct iovec iov[2];
	unsigned int i;
	int ret;

	if (!sqe)
		return -ENOSPC;
	for (i = 0; i < op->nr; i++)
		iov[i] = (struct iovec){ (void *)(uintptr_t)op->seg[i].off, op->seg[i].len };
	if (is_cmd(op))
		prep_cmd(t, sqe);
	else if (op->code == DIO_OP_READV_FIXED || op->code == DIO_OP_WRITEV_FIXED)
		ring_prep_rw(sqe, op->code, t->e.disk.fd, SLOT, (uintptr_t)iov, op->nr, XFER_POS);
	else
		ring_prep_rw(sqe, op->code, t->e.disk.fd, SLOT, op->seg[0].off, op->seg[0].len,
			     XFER_POS);

	ret = ring_submit(&t->r, 0);
	if (!wait_armed)
		nth_disarm(&t->s.nth);
	/* No memory for the request itself: it is where it was, for another attempt */
	if (ret == -EAGAIN && t->s.nth.fired)
		ret = syscall(__NR_io_uring_enter, t->r.fd, 1, 0, 0, NULL, 0);
	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	ret = ring_wait(&t->r, &cqe, RING_TIMEOUT_MS);
	if (ret)
		return ret;
	if (is_cmd(op) || cqe.res < 0)
		return cqe.res <= 0 ? cqe.res : -EIO;
	return (size_t)cqe.res == op_len(op) ? 0 : -EIO;
}

/* Waits for the completion when nothing can fail any more */
static int call_io(struct fail *t)
{
	return do_io(t, false);
}

/* A ring has memory left from one request for the next, so it is a new one */
static void before_io(struct __test_metadata *_metadata, struct fail *t)
{
	prepare_data(_metadata, t);
	ASSERT_EQ(0, ring_init(&t->r, 8, t->ring_flags));
	ASSERT_EQ(0, ring_clone(&t->r, &t->e.ring, 0, 0, 0, 0));
}

static void after_io(struct __test_metadata *_metadata, struct fail *t)
{
	expect_data(_metadata, t);
	if (t->ret < 0) {
		t->ret = call_io(t);
		EXPECT_EQ(0, t->ret);
		expect_data(_metadata, t);
	}
	ring_exit(&t->r);
}

static void sweep_io(struct __test_metadata *_metadata, struct fail *t, const char *name,
		     const struct op *op)
{
	const struct entry en = {
		.name = name, .before = before_io, .call = call_io, .after = after_io,
	};

	t->op = op;
	sweep(_metadata, t, &en);
}

static void sweep_rw(struct __test_metadata *_metadata, struct fail *t, const char *name,
		     const struct op *op)
{
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->e.disk.fd));
	sweep_io(_metadata, t, name, op);
}

static const struct op read_op = {
	.code = IORING_OP_READ_FIXED, .nr = 1, .seg = { { 8192, LEN } },
};

static const struct op write_op = {
	.code = IORING_OP_WRITE_FIXED, .write = true, .nr = 1, .seg = { { 8192, LEN } },
};

/* Not next to each other, and not in this order */
static const struct op readv_op = {
	.code = DIO_OP_READV_FIXED, .nr = 2, .seg = { { 65536, 8192 }, { 4096, 4096 } },
};

static const struct op writev_op = {
	.code = DIO_OP_WRITEV_FIXED, .write = true, .nr = 2,
	.seg = { { 65536, 8192 }, { 4096, 4096 } },
};

static const struct op cmd_read_op = {
	.code = IORING_OP_URING_CMD, .nr = 1, .seg = { { 8192, LEN } },
};

static const struct op cmd_write_op = {
	.code = IORING_OP_URING_CMD, .write = true, .nr = 1, .seg = { { 8192, LEN } },
};

TEST_F_TIMEOUT(fail_nth, read_fixed, LIMIT)
{
	sweep_rw(_metadata, &self->t, "READ_FIXED", &read_op);
}

TEST_F_TIMEOUT(fail_nth, write_fixed, LIMIT)
{
	sweep_rw(_metadata, &self->t, "WRITE_FIXED", &write_op);
}

TEST_F_TIMEOUT(fail_nth, readv_fixed, LIMIT)
{
	sweep_rw(_metadata, &self->t, "READV_FIXED", &readv_op);
}

TEST_F_TIMEOUT(fail_nth, writev_fixed, LIMIT)
{
	sweep_rw(_metadata, &self->t, "WRITEV_FIXED", &writev_op);
}

static bool open_ng(struct fail *t)
{
	char path[64];

	if (strncmp(t->e.disk.name, "nvme", 4))
		return false;
	snprintf(path, sizeof(path), "/dev/ng%s", t->e.disk.name + strlen("nvme"));
	t->ng = open(path, O_RDWR | O_CLOEXEC);
	t->nsid = t->ng < 0 ? -1 : ioctl(t->ng, NVME_IOCTL_ID);
	t->ring_flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	return t->nsid > 0;
}

TEST_F_TIMEOUT(fail_nth, passthru, LIMIT)
{
	struct fail *t = &self->t;

	if (!open_ng(t))
		LACKS(return, "no NVMe character device");
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, -1));
	/* With a mapping it is not for a worker any more. */
	t->op = &cmd_read_op;
	before_io(_metadata, t);
	ASSERT_EQ(0, call_io(t));
	ring_exit(&t->r);

	sweep_io(_metadata, t, "passthrough read", &cmd_read_op);
	sweep_io(_metadata, t, "passthrough write", &cmd_write_op);
}

/* --- first use: workers attach and map, and report their failure */

static void before_first(struct __test_metadata *_metadata, struct fail *t)
{
	prepare_data(_metadata, t);
	ASSERT_EQ(0, ring_init(&t->r, 8, t->ring_flags));
	ASSERT_EQ(0, ring_sparse(&t->r, ENV_SLOTS));
	ASSERT_EQ(0, ring_set_dmabuf(&t->r, SLOT, t->e.mem.fd, -1));
}

/* The block layer's workers are bound to no processor */
static void who_kworkers(struct __test_metadata *_metadata, struct fail *t)
{
	nth_add_named(&t->s.nth, "/proc", "kworker/u");
	ASSERT_LT(0U, t->s.nth.nr);
}

/* Those of the ring are threads of ours; a request makes one, for some seconds */
static void who_io_wq(struct __test_metadata *_metadata, struct fail *t)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		nth_add_named(&t->s.nth, "/proc/self/task", "iou-wrk-");
		if (t->s.nth.nr)
			return;
		ASSERT_EQ(0, call_io(t));
		ring_exit(&t->r);
		before_first(_metadata, t);
	}
	ASSERT_LT(0U, t->s.nth.nr);
}

/* They are armed until it is done */
static int call_first(struct fail *t)
{
	return do_io(t, true);
}

static void sweep_first(struct __test_metadata *_metadata, struct fail *t, const char *name,
			const struct op *op,
			void (*who)(struct __test_metadata *_metadata, struct fail *t))
{
	const struct entry en = {
		.name = name, .before = before_first, .who = who, .call = call_first,
		.after = after_io,
	};

	t->op = op;
	sweep(_metadata, t, &en);
}

TEST_F_TIMEOUT(fail_nth, first_read, LIMIT)
{
	sweep_first(_metadata, &self->t, "first READ_FIXED for a device, in the workers", &read_op,
		    who_kworkers);
}

TEST_F_TIMEOUT(fail_nth, first_passthru, LIMIT)
{
	if (!open_ng(&self->t))
		LACKS(return, "no NVMe character device");
	sweep_first(_metadata, &self->t, "first passthrough write, in io-wq", &cmd_write_op,
		    who_io_wq);
}

/* --- moves */

static int call_cmd(struct fail *t)
{
	return ioctl(t->mock_dev, DMA_BUF_MOCK_IOC_CMD, &t->cmd) ? -errno : 0;
}

static void before_move(struct __test_metadata *_metadata, struct fail *t)
{
	ASSERT_EQ(0, mock_stats(t->other.fd, &t->stats));
	ASSERT_EQ(1ULL, t->stats.mapped);
}

/* The exporter allocates memory to move to, before; the invalidation none. */
static void after_move(struct __test_metadata *_metadata, struct fail *t)
{
	struct dma_buf_mock_stats now;

	ASSERT_EQ(0, mock_stats(t->other.fd, &now));
	EXPECT_EQ(0ULL, now.violations);
	EXPECT_EQ(t->stats.moves + (t->ret < 0 ? 0 : 1), now.moves);
	expect_works(_metadata, t, &t->x_other, &t->e.ring, OTHER_SLOT, 0);
}

TEST_F_TIMEOUT(fail_nth, move, LIMIT)
{
	static const char * const names[] = {
		"move of a buffer", "pipelined move of a buffer", "move of a buffer in reclaim",
	};
	struct entry en = { .before = before_move, .call = call_cmd, .after = after_move };
	struct fail *t = &self->t;
	unsigned int how;

	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, OTHER_SLOT, t->other.fd, t->e.disk.fd));
	for (how = 0; how < DMA_BUF_MOCK_NR_MOVES; how++) {
		t->cmd = (struct dma_buf_mock_cmd){
			.fd = t->other.fd, .op = DMA_BUF_MOCK_MOVE, .arg = { how },
		};
		en.name = names[how];
		sweep(_metadata, t, &en);
	}
}

static void after_revoke(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret >= 0) {
		EXPECT_EQ(0, mock_stats(t->other.fd, &t->stats));
		EXPECT_EQ(0ULL, t->stats.mapped);
		EXPECT_EQ(0ULL, t->stats.violations);
		EXPECT_GT(0, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, OTHER_SLOT,
				     0, 4096, XFER_POS));
		EXPECT_EQ(0, mock_restore(t->other.fd));
	}
	expect_works(_metadata, t, &t->x_other, &t->e.ring, OTHER_SLOT, 0);
}

TEST_F_TIMEOUT(fail_nth, revoke, LIMIT)
{
	static const struct entry en = {
		.name = "revocation of a buffer",
		.free = true,
		.before = before_move,
		.call = call_cmd,
		.after = after_revoke,
	};
	struct fail *t = &self->t;

	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, OTHER_SLOT, t->other.fd, t->e.disk.fd));
	t->cmd = (struct dma_buf_mock_cmd){
		.fd = t->other.fd, .op = DMA_BUF_MOCK_REVOKE,
		.arg = { DMA_BUF_MOCK_REVOKE_LOCKED },
	};
	sweep(_metadata, t, &en);
}

/* --- and in the end, all of it works */

TEST_F_TIMEOUT(fail_nth, works, LIMIT)
{
	expect_all_works(_metadata, &self->t);
}

TEST_HARNESS_MAIN
