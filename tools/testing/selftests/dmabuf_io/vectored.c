// SPDX-License-Identifier: GPL-2.0
/*
 * READV_FIXED and WRITEV_FIXED: one piece of the disk, many pieces of the dma-buf
 * in any order. Every byte of both is looked at.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fixture.h"
#include "xfer.h"

#define SLOT		3
#define SIZE		MIB(8)
#define MAX_SEGS	1024
#define POS		XFER_POS

struct vectored {
	struct env e;
	struct xfer x;
	unsigned int sqe_flags;
	struct iovec *iov;
	void *tmp;
};

FIXTURE(vectored) {
	struct vectored t;
};

FIXTURE_VARIANT(vectored) {
	enum mem_kind kind;
	unsigned int ring_flags;
	unsigned int sqe_flags;
};

FIXTURE_VARIANT_ADD(vectored, irq) {
	.kind = MEM_UDMABUF,
};

FIXTURE_VARIANT_ADD(vectored, irq_vfio) {
	.kind = MEM_VFIO,
};

FIXTURE_VARIANT_ADD(vectored, async) {
	.kind = MEM_HEAP, .sqe_flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(vectored, sqpoll) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(vectored, defer_taskrun) {
	.kind = MEM_UDMABUF,
	.ring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
};

FIXTURE_SETUP(vectored)
{
	struct vectored *t = &self->t;

	if (!fixture_open(_metadata, &t->e, variant->kind, SIZE, variant->ring_flags))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, -1));
	t->sqe_flags = variant->sqe_flags;
	t->iov = calloc(MAX_SEGS + 1, sizeof(*t->iov));
	ASSERT_NE(NULL, t->iov);
	t->tmp = disk_buffer(2 * SIZE);
	ASSERT_NE(NULL, t->tmp);
	xfer_init(&t->x, &t->e, &t->e.mem, SLOT);
	xfer_poison(&t->x);
}

FIXTURE_TEARDOWN(vectored)
{
	free(self->t.iov);
	free(self->t.tmp);
	fixture_close(_metadata, &self->t.e);
}

static int run(struct vectored *t, bool write, const struct iovec *iov, unsigned int nr,
	       uint64_t pos)
{
	struct io_uring_sqe *sqe = ring_sqe(&t->e.ring);
	struct io_uring_cqe cqe;
	int ret;

	if (!sqe)
		return -ENOSPC;
	ring_prep_rw(sqe, write ? DIO_OP_WRITEV_FIXED : DIO_OP_READV_FIXED, t->e.disk.fd, SLOT,
		     (uintptr_t)iov, nr, pos);
	sqe->flags = t->sqe_flags;
	ret = ring_submit(&t->e.ring, 0);
	if (ret < 0)
		return ret;
	ret = ring_wait(&t->e.ring, &cqe, RING_TIMEOUT_MS);
	return ret ? ret : cqe.res;
}

static void set(struct vectored *t, unsigned int i, uint64_t off, size_t len)
{
	t->iov[i].iov_base = (void *)(uintptr_t)off;
	t->iov[i].iov_len = len;
}

static uint64_t off_of(const struct iovec *iov)
{
	return (uintptr_t)iov->iov_base;
}

/* The first @nr of t->iov, which must not overlap */
static void check_read(struct __test_metadata *_metadata, struct vectored *t, unsigned int nr)
{
	uint64_t seed = rnd_next(&t->e.rnd);
	struct mem *m = &t->e.mem;
	size_t total = 0, done = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		total += t->iov[i].iov_len;
	pattern_fill(t->tmp, total, seed, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, t->tmp, total, POS));
	xfer_poison(&t->x);

	ASSERT_EQ((int)total, run(t, false, t->iov, nr, POS))
		TH_LOG("%u segments", nr);

	mem_begin(m);
	/* What follows each other in the file is compared in the file's order */
	for (i = 0; i < nr; i++) {
		memcpy(t->tmp + done, m->va + off_of(&t->iov[i]), t->iov[i].iov_len);
		done += t->iov[i].iov_len;
	}
	EXPECT_EQ(-1, pattern_differs(t->tmp, total, seed, 0))
		TH_LOG("wrong data, %u segments, %zu bytes", nr, total);
	/* Put back what has to be there around them */
	memcpy(t->tmp, m->va, m->size);
	mem_end(m);
	xfer_poison(&t->x);
	mem_begin(m);
	for (i = 0; i < nr; i++)
		memcpy(t->tmp + off_of(&t->iov[i]), m->va + off_of(&t->iov[i]),
		       t->iov[i].iov_len);
	EXPECT_EQ(0, memcmp(t->tmp, m->va, m->size))
		TH_LOG("changed between %u segments", nr);
	mem_end(m);
}

static void check_write(struct __test_metadata *_metadata, struct vectored *t, unsigned int nr)
{
	uint64_t seed = rnd_next(&t->e.rnd), poison = rnd_next(&t->e.rnd);
	struct mem *m = &t->e.mem;
	size_t total = 0, done = 0, len;
	unsigned int i;

	for (i = 0; i < nr; i++)
		total += t->iov[i].iov_len;
	len = total + XFER_GUARD;
	pattern_fill(t->tmp, len, poison, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, t->tmp, len, POS));
	mem_begin(m);
	pattern_fill(m->va, m->size, seed, 0);
	mem_end(m);

	ASSERT_EQ((int)total, run(t, true, t->iov, nr, POS))
		TH_LOG("%u segments", nr);

	ASSERT_EQ(0, disk_get(&t->e.disk, t->tmp, len, POS));
	mem_begin(m);
	for (i = 0; i < nr; i++) {
		EXPECT_EQ(0, memcmp(t->tmp + done, m->va + off_of(&t->iov[i]),
				    t->iov[i].iov_len))
			TH_LOG("segment %u of %u is wrong", i, nr);
		done += t->iov[i].iov_len;
	}
	EXPECT_EQ(-1, pattern_differs(m->va, m->size, seed, 0));
	mem_end(m);
	EXPECT_EQ(-1, pattern_differs(t->tmp + total, XFER_GUARD, poison, total))
		TH_LOG("changed behind %u segments", nr);
}

/* One piece in each of @nr slices of the buffer, in no order */
static void make_random(struct vectored *t, unsigned int nr)
{
	size_t lbs = t->e.disk.lbs, slice = t->e.mem.size / nr / lbs * lbs, off, len;
	struct iovec tmp;
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		len = (1 + rnd_below(&t->e.rnd, slice / lbs)) * lbs;
		off = rnd_below(&t->e.rnd, (slice - len) / lbs + 1) * lbs;
		set(t, i, i * slice + off, len);
	}
	for (i = nr - 1; i; i--) {
		j = rnd_below(&t->e.rnd, i + 1);
		tmp = t->iov[i];
		t->iov[i] = t->iov[j];
		t->iov[j] = tmp;
	}
}

TEST_F_TIMEOUT(vectored, random, 600)
{
	unsigned int i, nr;

	for (i = 0; i < env_rounds() / 5; i++) {
		nr = 1 + rnd_below(&self->t.e.rnd, i % 8 ? 9 : 100);
		make_random(&self->t, nr);
		check_read(_metadata, &self->t, nr);
		check_write(_metadata, &self->t, nr);
	}
}

/* As many as the interface takes */
TEST_F_TIMEOUT(vectored, most, 300)
{
	make_random(&self->t, MAX_SEGS);
	check_read(_metadata, &self->t, MAX_SEGS);
	check_write(_metadata, &self->t, MAX_SEGS);
}

/* Each larger than a command, starting where a PRP list ends */
TEST_F_TIMEOUT(vectored, large, 300)
{
	size_t size = self->t.e.mem.size;

	set(&self->t, 0, size / 2 + 4096, size / 2 - 4096);
	set(&self->t, 1, 510 * 4096, size / 2 - 510 * 4096);
	check_read(_metadata, &self->t, 2);
	check_write(_metadata, &self->t, 2);
}

/* A write may take the same bytes several times */
TEST_F_TIMEOUT(vectored, overlap, 300)
{
	unsigned int i;

	for (i = 0; i < 16; i++)
		set(&self->t, i, i * self->t.e.disk.lbs, 65536);
	check_write(_metadata, &self->t, 16);
}

/* What follows each other in the buffer is one request, whatever its parts are */
TEST_F_TIMEOUT(vectored, joined, 300)
{
	struct vectored *t = &self->t;
	long long before;
	unsigned int i;

	for (i = 0; i < 128; i++)
		set(t, i, 4096 + i * 64, 64);
	/* The first use finds no mapping, and is counted twice */
	ASSERT_EQ(8192, run(t, false, t->iov, 128, POS));
	before = disk_requests(&t->e.disk, false);
	ASSERT_EQ(8192, run(t, false, t->iov, 128, POS));
	EXPECT_EQ(before + 1, disk_requests(&t->e.disk, false));
	check_read(_metadata, t, 128);
	check_write(_metadata, t, 128);

	/* Two such runs with a gap between them */
	for (i = 64; i < 128; i++)
		set(t, i, 65536 + i * 64, 64);
	before = disk_requests(&t->e.disk, false);
	ASSERT_EQ(8192, run(t, false, t->iov, 128, POS));
	EXPECT_EQ(before + 2, disk_requests(&t->e.disk, false));
	check_read(_metadata, t, 128);
	check_write(_metadata, t, 128);
}

TEST_F_TIMEOUT(vectored, in_flight, 300)
{
	struct vectored *t = &self->t;
	uint64_t seed = rnd_next(&t->e.rnd);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	unsigned int i;

	/* Request i reads 64 KiB into two halves that lie 1 MiB apart */
	pattern_fill(t->tmp, MIB(1), seed, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, t->tmp, MIB(1), POS));
	xfer_poison(&t->x);
	for (i = 0; i < 16; i++) {
		set(t, 2 * i, i * 32768, 32768);
		set(t, 2 * i + 1, MIB(1) + i * 32768, 32768);
		sqe = ring_sqe(&t->e.ring);
		ASSERT_NE(NULL, sqe);
		ring_prep_rw(sqe, DIO_OP_READV_FIXED, t->e.disk.fd, SLOT,
			     (uintptr_t)&t->iov[2 * i], 2, POS + i * 65536);
		sqe->flags = t->sqe_flags;
	}
	ASSERT_EQ(16, ring_submit(&t->e.ring, 0));
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(0, ring_wait(&t->e.ring, &cqe, RING_TIMEOUT_MS));
		ASSERT_EQ(65536, cqe.res);
	}
	mem_begin(&t->e.mem);
	for (i = 0; i < 16; i++) {
		EXPECT_EQ(-1, pattern_differs(t->e.mem.va + i * 32768, 32768, seed, i * 65536));
		EXPECT_EQ(-1, pattern_differs(t->e.mem.va + MIB(1) + i * 32768, 32768, seed,
					      i * 65536 + 32768));
	}
	mem_end(&t->e.mem);
}

/* An error is for the whole request: nothing has moved */
TEST_F_TIMEOUT(vectored, bad, 300)
{
	struct vectored *t = &self->t;
	const size_t lbs = t->e.disk.lbs, size = t->e.mem.size;
	const struct {
		const char *name;
		uint64_t off[2];
		size_t len[2];
		int err;
	} bad[] = {
		{ "no length", { 0, 8192 }, { 4096, 0 }, -EFAULT },
		{ "at the end", { 0, size }, { 4096, lbs }, -EFAULT },
		{ "over the end", { 0, size - lbs }, { 4096, 2 * lbs }, -EFAULT },
		{ "far", { 0, 1ULL << 40 }, { 4096, lbs }, -EFAULT },
		{ "sum overflows", { 0, -lbs }, { 4096, 2 * lbs }, -EFAULT },
		{ "a virtual address", { 0, (uintptr_t)t->e.mem.va }, { 4096, lbs }, -EFAULT },
		{ "too long", { 0, 0 }, { 4096, 1ULL << 62 }, -EFAULT },
		{ "length negative", { 0, 0 }, { 4096, -lbs }, -EINVAL },
		{ "part of a block", { 0, 8192 }, { lbs / 2, lbs / 2 }, -EINVAL },
		{ "part of a block last", { 0, 8192 }, { 4096, lbs / 2 }, -EINVAL },
		{ "odd address", { 0, 8193 }, { 4096, lbs }, -EINVAL },
		{ "odd address first", { 1, 8192 }, { lbs, lbs }, -EINVAL },
	};
	unsigned int i, w;
	int ret;

	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		const char *name = bad[i / 2].name;

		w = i & 1;
		set(t, 0, bad[i / 2].off[0], bad[i / 2].len[0]);
		set(t, 1, bad[i / 2].off[1], bad[i / 2].len[1]);
		ret = run(t, w, t->iov, 2, POS);
		EXPECT_EQ(bad[i / 2].err, ret)
			TH_LOG("%s, write %u", name, w);
		EXPECT_EQ(0, xfer_poisoned(&t->x))
			TH_LOG("%s, write %u: %s", name, w, t->x.why);
	}

	/* The array itself; no vector at all moves nothing */
	EXPECT_EQ(-EFAULT, run(t, false, (void *)8, 1, POS));
	for (i = 0; i <= MAX_SEGS; i++)
		set(t, i, i * 4096, lbs);
	EXPECT_EQ(-EINVAL, run(t, false, t->iov, MAX_SEGS + 1, POS));
	EXPECT_EQ(0, run(t, false, t->iov, 0, POS));
	EXPECT_EQ(-EINVAL, run(t, false, t->iov, 4, POS + lbs / 2));
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_read(&t->x, 0, MIB(1), POS))
		TH_LOG("%s", t->x.why);
}

TEST_HARNESS_MAIN
