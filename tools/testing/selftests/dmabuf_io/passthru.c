// SPDX-License-Identifier: GPL-2.0
/*
 * NVMe commands that user space makes itself, on the character device of the
 * namespace: the buffer is the dma-buf, and no command reaches outside of it,
 * whatever it says.
 */
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fixture.h"
#include "mock.h"
#include "xfer.h"

#define SLOT		2
#define BLOCK_SLOT	3
#define SIZE		MIB(2)

#define CMD_WRITE	0x01
#define CMD_READ	0x02
#define CMD_COMPARE	0x05
#define SC_COMPARE	0x285

struct passthru {
	struct env e;
	struct xfer x;
	int fd, nsid;
	bool pairs;		/* 128-byte entries in a ring of 64-byte ones */
};

FIXTURE(passthru) {
	struct passthru t;
};

FIXTURE_VARIANT(passthru) {
	enum mem_kind kind;
	unsigned int ring_flags;
};

FIXTURE_VARIANT_ADD(passthru, sqe128) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
};

FIXTURE_VARIANT_ADD(passthru, sqe128_vfio) {
	.kind = MEM_VFIO, .ring_flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
};

FIXTURE_VARIANT_ADD(passthru, mixed) {
	.kind = MEM_HEAP, .ring_flags = DIO_SETUP_SQE_MIXED | IORING_SETUP_CQE32,
};

FIXTURE_VARIANT_ADD(passthru, sqpoll) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32 |
					   IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(passthru, iopoll) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32 |
					   IORING_SETUP_IOPOLL,
};

static int set_slot(struct env *e, unsigned int slot, int dmabuf, int target, unsigned int flags)
{
	struct dio_regbuf_desc d = {
		.type = DIO_TYPE_DMABUF, .flags = flags, .dmabuf_fd = dmabuf,
		.target_fd = target,
	};
	int ret = ring_update(&e->ring, slot, &d, 1, NULL);

	return ret == 1 ? 0 : ret;
}

static struct nvme_uring_cmd *prep_on(struct ring *r, struct passthru *t, int fd,
				      unsigned int op, unsigned int slot,
				      struct io_uring_sqe **psqe)
{
	struct io_uring_sqe *sqe = t->pairs ? ring_sqe128(r) : ring_sqe(r);
	struct nvme_uring_cmd *cmd;

	if (!sqe)
		return NULL;
	sqe->opcode = t->pairs ? DIO_OP_URING_CMD128 : IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->buf_index = slot;
	cmd = (struct nvme_uring_cmd *)sqe->cmd;
	cmd->opcode = op;
	cmd->nsid = t->nsid;
	if (psqe)
		*psqe = sqe;
	return cmd;
}

static void set_lba(struct passthru *t, struct nvme_uring_cmd *cmd, uint64_t pos, size_t len)
{
	uint64_t slba = pos / t->e.disk.lbs;

	cmd->cdw10 = slba;
	cmd->cdw11 = slba >> 32;
	cmd->cdw12 = len / t->e.disk.lbs - 1;
}

static int finish(struct passthru *t)
{
	struct io_uring_cqe cqe;
	int ret = ring_submit(&t->e.ring, 0);

	if (ret < 0)
		return ret;
	ret = ring_wait(&t->e.ring, &cqe, RING_TIMEOUT_MS);
	return ret ? ret : cqe.res;
}

/* The command says @len bytes, its buffer has @data_len */
static int command(struct passthru *t, unsigned int op, unsigned int slot, uint64_t off,
		   size_t data_len, uint64_t pos, size_t len)
{
	struct nvme_uring_cmd *cmd = prep_on(&t->e.ring, t, t->fd, op, slot, NULL);

	if (!cmd)
		return -ENOSPC;
	cmd->addr = off;
	cmd->data_len = data_len;
	set_lba(t, cmd, pos, len);
	return finish(t);
}

static int move(struct xfer *x, bool write, uint64_t off, size_t len, uint64_t pos)
{
	struct passthru *t = (void *)((char *)x - offsetof(struct passthru, x));

	return command(t, write ? CMD_WRITE : CMD_READ, x->slot, off, len, pos, len);
}

FIXTURE_SETUP(passthru)
{
	struct passthru *t = &self->t;
	char path[64];

	t->fd = -1;
	if (!fixture_open(_metadata, &t->e, variant->kind, SIZE, variant->ring_flags))
		return;
	snprintf(path, sizeof(path), "/dev/ng%s", t->e.disk.name + strlen("nvme"));
	t->fd = strncmp(t->e.disk.name, "nvme", 4) ? -1 : open(path, O_RDWR);
	if (t->fd < 0) {
		env_close(&t->e);
		LACKS(return, "no %s", path);
	}
	t->nsid = ioctl(t->fd, NVME_IOCTL_ID);
	ASSERT_LT(0, t->nsid);
	t->pairs = variant->ring_flags & DIO_SETUP_SQE_MIXED;
	ASSERT_EQ(0, set_slot(&t->e, SLOT, t->e.mem.fd, -1, 0));
	ASSERT_EQ(0, set_slot(&t->e, BLOCK_SLOT, t->e.mem.fd, t->e.disk.fd, 0));
	xfer_init(&t->x, &t->e, &t->e.mem, SLOT);
	t->x.move = move;
	xfer_poison(&t->x);
}

FIXTURE_TEARDOWN(passthru)
{
	close(self->t.fd);
	fixture_close(_metadata, &self->t.e);
}

static size_t max_len(struct passthru *t)
{
	return t->e.disk.max_io < SIZE / 2 ? t->e.disk.max_io : SIZE / 2;
}

TEST_F_TIMEOUT(passthru, both_ways, 300)
{
	struct passthru *t = &self->t;
	size_t lbs = t->e.disk.lbs, i, w;
	const size_t len[] = { lbs, 4096, 8192, 65536 - lbs, max_len(t) };
	const uint64_t off[] = { 0, lbs, 4096, 509 * 4096, 510 * 4096, SIZE - max_len(t) };

	for (i = 0; i < 2 * ARRAY_SIZE(len) * ARRAY_SIZE(off); i++) {
		size_t l = len[i / 2 % ARRAY_SIZE(len)];
		uint64_t o = off[i / 2 / ARRAY_SIZE(len)];

		w = i & 1;
		if (o + l > SIZE)
			continue;
		ASSERT_EQ(0, xfer_one(&t->x, w, o, l, XFER_POS))
			TH_LOG("write %zu, %zu bytes at %llu: %s", w, l, (unsigned long long)o,
			       t->x.why);
	}
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
}

/* The drive itself compares, which takes the data out of the buffer */
TEST_F_TIMEOUT(passthru, compare, 120)
{
	struct passthru *t = &self->t;
	unsigned int lbs = t->e.disk.lbs;

	ASSERT_EQ(0, command(t, CMD_WRITE, SLOT, 0, 65536, XFER_POS, 65536));
	EXPECT_EQ(0, command(t, CMD_COMPARE, SLOT, 0, 65536, XFER_POS, 65536));
	EXPECT_EQ(0, xfer_write(&t->x, SIZE - lbs, lbs, XFER_POS + 65536 - lbs));
	EXPECT_EQ(SC_COMPARE, command(t, CMD_COMPARE, SLOT, 0, 65536, XFER_POS, 65536) & 0x7ff);
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
}

/* Each on its own piece, together with ordinary requests on the block device */
TEST_F_TIMEOUT(passthru, in_flight, 300)
{
	struct passthru *t = &self->t;
	uint64_t seed = rnd_next(&t->e.rnd);
	unsigned int i, nr = SIZE / 65536;
	struct io_uring_sqe *sqe = NULL;
	struct nvme_uring_cmd *cmd;
	struct io_uring_cqe cqe;
	void *tmp = disk_buffer(SIZE);

	ASSERT_NE(NULL, tmp);
	pattern_fill(tmp, SIZE, seed, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, tmp, SIZE, XFER_POS));
	free(tmp);
	for (i = 0; i < nr; i++) {
		if (i % 4 < 2) {
			/* Two of them, so that pairs stay where they fit */
			sqe = ring_sqe(&t->e.ring);
			ASSERT_NE(NULL, sqe);
			ring_prep_rw(sqe, IORING_OP_READ_FIXED, t->e.disk.fd, BLOCK_SLOT,
				     i * 65536, 65536, XFER_POS + i * 65536);
		} else {
			cmd = prep_on(&t->e.ring, t, t->fd, CMD_READ, SLOT, &sqe);
			ASSERT_NE(NULL, cmd);
			cmd->addr = i * 65536;
			cmd->data_len = 65536;
			set_lba(t, cmd, XFER_POS + i * 65536, 65536);
		}
		sqe->user_data = i;
	}
	ASSERT_LT(0, ring_submit(&t->e.ring, 0));
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, ring_wait(&t->e.ring, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(cqe.user_data % 4 < 2 ? 65536 : 0, cqe.res)
			TH_LOG("request %llu", (unsigned long long)cqe.user_data);
	}
	mem_begin(&t->e.mem);
	EXPECT_EQ(-1, pattern_differs(t->e.mem.va, SIZE, seed, 0));
	mem_end(&t->e.mem);
}

/* What the command says and what the buffer has must be the same */
TEST_F_TIMEOUT(passthru, length, 300)
{
	struct passthru *t = &self->t;
	const size_t lbs = t->e.disk.lbs, max = t->e.disk.max_io;
	const struct {
		const char *name;
		uint64_t off;
		size_t data_len, len;
		int err;
	} bad[] = {
		{ "a block more", 0, 4096, 4096 + lbs, -EINVAL },
		{ "a block less", 0, 4096, 4096 - lbs, -EINVAL },
		{ "everything", 0, lbs, 65536 * lbs, -EINVAL },
		{ "over a page", 4096 - lbs, lbs, 2 * lbs, -EINVAL },
		{ "over the end", SIZE - lbs, lbs, 2 * lbs, -EINVAL },
		{ "part of a block", 0, lbs / 2, lbs, -EINVAL },
		{ "at the end", SIZE, lbs, lbs, -EFAULT },
		{ "buffer over the end", SIZE - lbs, 2 * lbs, 2 * lbs, -EFAULT },
		{ "far", 1ULL << 40, lbs, lbs, -EFAULT },
		{ "overflow", -lbs, 2 * lbs, 2 * lbs, -EFAULT },
		{ "a virtual address", (uintptr_t)t->e.mem.va, lbs, lbs, -EFAULT },
		{ "odd address", 1, lbs, lbs, -EINVAL },
		{ "odd address", lbs - 1, lbs, lbs, -EINVAL },
		{ "larger than a command", 0, max + lbs, max + lbs, -EINVAL },
	};
	unsigned int i, w;

	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		w = i & 1;
		if (bad[i / 2].data_len > SIZE && bad[i / 2].err != -EFAULT)
			continue;
		EXPECT_EQ(bad[i / 2].err,
			  command(t, w ? CMD_WRITE : CMD_READ, SLOT, bad[i / 2].off,
				  bad[i / 2].data_len, XFER_POS, bad[i / 2].len))
			TH_LOG("%s, write %u", bad[i / 2].name, w);
		EXPECT_EQ(0, xfer_poisoned(&t->x))
			TH_LOG("%s, write %u: %s", bad[i / 2].name, w, t->x.why);
	}
	EXPECT_EQ(0, xfer_read(&t->x, 0, 65536, XFER_POS))
		TH_LOG("%s", t->x.why);
}

/* Commands whose data has another size than blocks, other files, other rings */
TEST_F_TIMEOUT(passthru, refused, 120)
{
	static const unsigned char ops[] = { 0x00, 0x04, 0x08, 0x09, 0x0c, 0x0d, 0x12, 0x7d, 0x82 };
	struct passthru *t = &self->t;
	struct io_uring_sqe *sqe = NULL;
	struct nvme_uring_cmd *cmd;
	char path[64];
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		EXPECT_EQ(-EOPNOTSUPP, command(t, ops[i], SLOT, 0, 4096, XFER_POS, 4096))
			TH_LOG("opcode %#x", ops[i]);
	}

	/* The namespace has no metadata, and a dma-buf comes without */
	cmd = prep_on(&t->e.ring, t, t->fd, CMD_READ, SLOT, NULL);
	cmd->data_len = 4096;
	cmd->metadata = (uintptr_t)path;
	cmd->metadata_len = 64;
	set_lba(t, cmd, XFER_POS, 4096);
	EXPECT_EQ(-EINVAL, finish(t));

	/* Registered for the block device */
	EXPECT_EQ(-EBADF, command(t, CMD_READ, BLOCK_SLOT, 0, 4096, XFER_POS, 4096));
	EXPECT_EQ(-EFAULT, command(t, CMD_READ, SLOT + 7, 0, 4096, XFER_POS, 4096));
	/* A character device reads and writes nothing by itself */
	EXPECT_GT(0, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->fd, SLOT, 0, 4096, 0));
	if (t->pairs) {
		ring_sqe(&t->e.ring)->opcode = IORING_OP_NOP;
		EXPECT_EQ(0, finish(t));
	}

	/* The controller's own commands have no namespace */
	snprintf(path, sizeof(path), "/dev/nvme%d", atoi(t->e.disk.name + strlen("nvme")));
	fd = open(path, O_RDWR);
	if (fd >= 0) {
		cmd = prep_on(&t->e.ring, t, fd, 0x06, SLOT, &sqe);
		sqe->cmd_op = NVME_URING_CMD_ADMIN;
		cmd->data_len = 4096;
		cmd->nsid = 0;
		cmd->cdw10 = 1;
		EXPECT_EQ(-EOPNOTSUPP, finish(t));
		close(fd);
	}
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
}

/* An ordinary ring has no room for the command */
TEST_F_TIMEOUT(passthru, sqe64, 60)
{
	struct passthru *t = &self->t;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, 8, 0));
	ASSERT_EQ(0, ring_sparse(&r, 4));
	ASSERT_EQ(0, ring_set_dmabuf(&r, 0, t->e.mem.fd, -1));
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = t->fd;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	ASSERT_EQ(1, ring_submit(&r, 0));
	ASSERT_EQ(0, ring_wait(&r, &cqe, RING_TIMEOUT_MS));
	EXPECT_EQ(-EOPNOTSUPP, cqe.res);
	ring_exit(&r);
}

/* Registered for the character device, and for one direction */
TEST_F_TIMEOUT(passthru, target, 120)
{
	struct passthru *t = &self->t;
	struct env *e = &t->e;
	int fd = dup(e->disk.fd);

	ASSERT_EQ(0, set_slot(e, SLOT, e->mem.fd, t->fd, 0));
	EXPECT_EQ(0, xfer_read(&t->x, 0, 65536, XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_write(&t->x, 0, 65536, XFER_POS))
		TH_LOG("%s", t->x.why);
	ASSERT_EQ(0, set_slot(e, SLOT, e->mem.fd, t->fd, DIO_SOURCE_ONLY));
	EXPECT_EQ(-EACCES, xfer_read(&t->x, 0, 65536, XFER_POS));
	EXPECT_EQ(0, xfer_write(&t->x, 0, 65536, XFER_POS))
		TH_LOG("%s", t->x.why);
	ASSERT_EQ(0, set_slot(e, SLOT, e->mem.fd, t->fd, DIO_DEST_ONLY));
	EXPECT_EQ(-EACCES, xfer_write(&t->x, 0, 65536, XFER_POS));
	EXPECT_EQ(-EACCES, command(t, CMD_COMPARE, SLOT, 0, 4096, XFER_POS, 4096));
	xfer_poison(&t->x);
	EXPECT_EQ(0, xfer_read(&t->x, 0, 65536, XFER_POS))
		TH_LOG("%s", t->x.why);
	close(fd);
}

/* Pieces without a gap are one command; others can't be */
TEST_F_TIMEOUT(passthru, vectored, 120)
{
	struct passthru *t = &self->t;
	struct iovec iov[4];
	unsigned int i, gap;

	for (gap = 0; gap < 2; gap++) {
		struct io_uring_sqe *sqe = NULL;
		struct nvme_uring_cmd *cmd = prep_on(&t->e.ring, t, t->fd, CMD_READ, SLOT, &sqe);

		ASSERT_NE(NULL, sqe);
		for (i = 0; i < 4; i++) {
			iov[i].iov_base = (void *)(uintptr_t)(8192 + i * (4096 + gap * 512));
			iov[i].iov_len = 4096;
		}
		sqe->cmd_op = NVME_URING_CMD_IO_VEC;
		cmd->addr = (uintptr_t)iov;
		cmd->data_len = 4;
		set_lba(t, cmd, XFER_POS, 16384);
		EXPECT_EQ(gap ? -EINVAL : 0, finish(t));
		if (gap) {
			EXPECT_EQ(0, xfer_poisoned(&t->x))
				TH_LOG("%s", t->x.why);
		}
		xfer_poison(&t->x);
	}
}

/* The buffer moves; a command that finds no mapping makes one, and no more */
TEST_F_TIMEOUT(passthru, moving, 300)
{
	struct passthru *t = &self->t;
	struct dma_buf_mock_stats before, after;
	struct env *e = &t->e;
	unsigned int i = 0;
	struct mem m;
	int ret;

	ret = env_mem(e, &m, MEM_MOCK, MIB(1));
	if (ret == ENV_SKIP)
		SKIP(return, "%s", e->why);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, set_slot(e, SLOT + 2, m.fd, -1, 0));
	xfer_init(&t->x, e, &m, SLOT + 2);
	t->x.move = move;
	xfer_poison(&t->x);
	ASSERT_EQ(0, mock_stats(m.fd, &before));
	ASSERT_EQ(0, mock_auto(m.fd, 2000, MOCK_ALL_MOVES));
	do {
		ASSERT_EQ(0, xfer_one(&t->x, i & 1, 4096 * (i % 64), 131072, XFER_POS))
			TH_LOG("round %u: %s", i, t->x.why);
		ASSERT_EQ(0, mock_stats(m.fd, &after));
	} while (++i < 50 || (after.maps < before.maps + 20 && i < 1000));
	EXPECT_LE(before.maps + 10, after.maps);
	ASSERT_EQ(0, mock_auto(m.fd, 0, 0));

	/* Errors of the exporter come back as they are, but for one */
	ASSERT_EQ(0, mock_move(m.fd, DMA_BUF_MOCK_MOVE_LOCKED));
	ASSERT_EQ(0, mock_fail(m.fd, DMA_BUF_MOCK_FAIL_MAP, 1, ENOSPC));
	EXPECT_EQ(-ENOSPC, command(t, CMD_READ, SLOT + 2, 0, 4096, XFER_POS, 4096));
	ASSERT_EQ(0, mock_fail(m.fd, DMA_BUF_MOCK_FAIL_MAP, 1, EAGAIN));
	EXPECT_EQ(-EIO, command(t, CMD_READ, SLOT + 2, 0, 4096, XFER_POS, 4096));
	EXPECT_EQ(0, command(t, CMD_READ, SLOT + 2, 0, 4096, XFER_POS, 4096));
	ASSERT_EQ(0, mock_stats(m.fd, &after));
	EXPECT_EQ(0ULL, after.violations);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT + 2));
	EXPECT_EQ(0, env_mem_free(e, &m))
		TH_LOG("%s", e->why);
}

TEST_HARNESS_MAIN
