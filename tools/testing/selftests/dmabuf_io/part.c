// SPDX-License-Identifier: GPL-2.0
/*
 * Registrations of a part of a dma-buf, and for one direction only: what they
 * leave out can't be reached, by the ring or by the device.
 */
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "fixture.h"
#include "mock.h"
#include "watch.h"
#include "xfer.h"

#define SLOT	4
#define SIZE	MIB(1)

FIXTURE(part) {
	struct env e;
	struct xfer x;
};

FIXTURE_VARIANT(part) {
	bool target;
};

FIXTURE_VARIANT_ADD(part, target) {
	.target = true,
};

FIXTURE_VARIANT_ADD(part, any_file) {
	.target = false,
};

FIXTURE_SETUP(part)
{
	if (!fixture_open(_metadata, &self->e, MEM_UDMABUF, SIZE, 0))
		return;
	xfer_init(&self->x, &self->e, &self->e.mem, SLOT);
	xfer_poison(&self->x);
}

FIXTURE_TEARDOWN(part)
{
	fixture_close(_metadata, &self->e);
}

static int set_part(struct env *e, int fd, bool target, uint64_t off, uint64_t len,
		    unsigned int flags)
{
	struct dio_regbuf_desc d = {
		.type = DIO_TYPE_DMABUF,
		.flags = flags,
		.uaddr = off,
		.size = len,
		.dmabuf_fd = fd,
		.target_fd = target ? e->disk.fd : -1,
	};
	int ret = ring_update(&e->ring, SLOT, &d, 1, NULL);

	return ret == 1 ? 0 : ret;
}

/* The part works from end to end, and one block more does not */
TEST_F_TIMEOUT(part, bounds, 300)
{
	static const struct {
		uint64_t off, len;
	} parts[] = {
		{ 0, 0 }, { 0, SIZE }, { 0, 4096 }, { SIZE - 4096, 4096 },
		{ 4096, SIZE - 4096 }, { 0, SIZE - 4096 }, { 65536, 131072 },
	};
	struct env *e = &self->e;
	unsigned int lbs = e->disk.lbs, w;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		uint64_t off = parts[i].off, len = parts[i].len ? parts[i].len : SIZE;
		uint64_t end = off + len;

		ASSERT_EQ(0, set_part(e, e->mem.fd, variant->target, parts[i].off, parts[i].len, 0))
			TH_LOG("part %zu", i);
		for (w = 0; w < 2; w++) {
			int op = w ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;

			EXPECT_EQ(0, xfer_one(&self->x, w, off, len, XFER_POS))
				TH_LOG("part %zu: %s", i, self->x.why);
			EXPECT_EQ(0, xfer_one(&self->x, w, off, lbs, XFER_POS))
				TH_LOG("part %zu: %s", i, self->x.why);
			EXPECT_EQ(0, xfer_one(&self->x, w, end - lbs, lbs, XFER_POS))
				TH_LOG("part %zu: %s", i, self->x.why);

			EXPECT_EQ(-EFAULT, ring_rw(&e->ring, op, e->disk.fd, SLOT, end, lbs,
						   XFER_POS));
			EXPECT_EQ(-EFAULT, ring_rw(&e->ring, op, e->disk.fd, SLOT, end - lbs,
						   2 * lbs, XFER_POS));
			EXPECT_EQ(-EFAULT, ring_rw(&e->ring, op, e->disk.fd, SLOT, off - lbs, lbs,
						   XFER_POS));
			EXPECT_EQ(-EFAULT, ring_rw(&e->ring, op, e->disk.fd, SLOT, off - lbs,
						   2 * lbs, XFER_POS));
		}
		EXPECT_EQ(0, xfer_poisoned(&self->x))
			TH_LOG("part %zu: %s", i, self->x.why);
	}
}

/* Several parts of one buffer in several slots know nothing of each other */
TEST_F_TIMEOUT(part, neighbours, 120)
{
	struct env *e = &self->e;
	struct dio_regbuf_desc d[4];
	unsigned int i;

	for (i = 0; i < 4; i++)
		d[i] = (struct dio_regbuf_desc){
			.type = DIO_TYPE_DMABUF, .uaddr = i * 65536, .size = 65536,
			.dmabuf_fd = e->mem.fd, .target_fd = variant->target ? e->disk.fd : -1,
		};
	ASSERT_EQ(4, ring_update(&e->ring, SLOT, d, 4, NULL));
	for (i = 0; i < 4; i++) {
		self->x.slot = SLOT + i;
		EXPECT_EQ(0, xfer_read(&self->x, i * 65536, 65536, XFER_POS))
			TH_LOG("%s", self->x.why);
		EXPECT_EQ(-EFAULT, xfer_read(&self->x, (i ^ 1) * 65536, 512, XFER_POS));
	}
}

/* The wrong direction is refused, and the device is not even given the right */
TEST_F_TIMEOUT(part, direction, 120)
{
	static const struct {
		unsigned int flags, dirs;
		bool rd, wr;
	} regs[] = {
		{ 0, 1U << 0, true, true },
		{ DIO_SOURCE_ONLY, 1U << 1, false, true },
		{ DIO_DEST_ONLY, 1U << 2, true, false },
	};
	struct env *e = &self->e;
	struct dma_buf_mock_stats stats;
	struct mem m;
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		const int rd_err = regs[i].rd ? 0 : -EACCES, wr_err = regs[i].wr ? 0 : -EACCES;

		ret = env_mem(e, &m, MEM_MOCK, MIB(1));
		if (ret == ENV_SKIP)
			SKIP(return, "%s", e->why);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, set_part(e, m.fd, variant->target, 0, 0, regs[i].flags));
		xfer_init(&self->x, e, &m, SLOT);
		xfer_poison(&self->x);
		EXPECT_EQ(rd_err,
			  xfer_read(&self->x, 4096, MIB(1) - 8192, XFER_POS))
			TH_LOG("flags %u: %s", regs[i].flags, self->x.why);
		xfer_poison(&self->x);
		EXPECT_EQ(wr_err,
			  xfer_write(&self->x, 4096, MIB(1) - 8192, XFER_POS))
			TH_LOG("flags %u: %s", regs[i].flags, self->x.why);
		EXPECT_EQ(0, mock_stats(m.fd, &stats));
		EXPECT_EQ(regs[i].dirs, stats.dirs)
			TH_LOG("flags %u", regs[i].flags);
		ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		EXPECT_EQ(0, env_mem_free(e, &m))
			TH_LOG("%s", e->why);
	}
}

/* What the file descriptor of the dma-buf does not allow can't be registered */
TEST_F_TIMEOUT(part, file_mode, 120)
{
	static const struct {
		int mode;
		unsigned int flags;
		int err;
		bool rd, wr;
	} regs[] = {
		{ O_RDWR, 0, 0, true, true },
		{ O_RDONLY, 0, 0, false, true },
		{ O_RDONLY, DIO_SOURCE_ONLY, 0, false, true },
		{ O_RDONLY, DIO_DEST_ONLY, -EACCES, false, false },
		{ O_WRONLY, 0, 0, true, false },
		{ O_WRONLY, DIO_DEST_ONLY, 0, true, false },
		{ O_WRONLY, DIO_SOURCE_ONLY, -EACCES, false, false },
	};
	struct env *e = &self->e;
	int heap = open("/dev/dma_heap/system", O_RDWR);
	size_t i;

	if (heap < 0)
		SKIP(return, "no system heap");
	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		struct dma_heap_allocation_data data = { .len = 65536, .fd_flags = regs[i].mode };
		const int rd_res = regs[i].rd ? 4096 : -EACCES;
		const int wr_res = regs[i].wr ? 4096 : -EACCES;

		ASSERT_EQ(0, ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data));
		EXPECT_EQ(regs[i].err, set_part(e, data.fd, variant->target, 0, 0, regs[i].flags))
			TH_LOG("case %zu", i);
		close(data.fd);
		if (regs[i].err)
			continue;
		EXPECT_EQ(rd_res,
			  ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0, 4096,
				  XFER_POS));
		EXPECT_EQ(wr_res,
			  ring_rw(&e->ring, IORING_OP_WRITE_FIXED, e->disk.fd, SLOT, 0, 4096,
				  XFER_POS));
		ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	}
	close(heap);
}

TEST_HARNESS_MAIN
