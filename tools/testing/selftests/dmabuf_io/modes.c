// SPDX-License-Identifier: GPL-2.0
/*
 * The same transfers in every way to drive a ring, many of them in flight, and
 * with a disk that has far too few tags: the waiting is not user space's job.
 */
#include <stdlib.h>
#include <unistd.h>
#include "burst.h"
#include "fixture.h"
#include "sysfs.h"
#include "xfer.h"

#define MAX_CHUNKS	256

struct modes {
	struct env e;
	struct xfer x;
	char old_nr[16];	/* nr_requests to restore */
};

FIXTURE(modes) {
	struct modes t;
};

FIXTURE_VARIANT(modes) {
	enum mem_kind kind;
	unsigned int ring_flags;
	unsigned int sqe_flags;
};

FIXTURE_VARIANT_ADD(modes, irq) {
	.kind = MEM_UDMABUF,
};

FIXTURE_VARIANT_ADD(modes, irq_heap) {
	.kind = MEM_HEAP,
};

FIXTURE_VARIANT_ADD(modes, irq_vfio) {
	.kind = MEM_VFIO,
};

FIXTURE_VARIANT_ADD(modes, async) {
	.kind = MEM_UDMABUF, .sqe_flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(modes, sqpoll) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(modes, sqpoll_async) {
	.kind = MEM_HEAP, .ring_flags = IORING_SETUP_SQPOLL, .sqe_flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(modes, defer_taskrun) {
	.kind = MEM_UDMABUF,
	.ring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
};

FIXTURE_VARIANT_ADD(modes, coop_taskrun) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_COOP_TASKRUN,
};

FIXTURE_SETUP(modes)
{
	if (!fixture_open(_metadata, &self->t.e, variant->kind, MIB(8), variant->ring_flags))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, 0, self->t.e.mem.fd, self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, 0);
	self->t.x.sqe_flags = variant->sqe_flags;
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(modes)
{
	if (*self->t.old_nr) {
		EXPECT_EQ(0, sysfs_set(self->t.old_nr, "/sys/block/%s/queue/nr_requests",
				       self->t.e.disk.name));
	}
	fixture_close(_metadata, &self->t.e);
}

TEST_F_TIMEOUT(modes, both_directions, 300)
{
	size_t lbs = self->t.e.disk.lbs, i;
	const size_t len[] = { lbs, 4096, 65536 - lbs, MIB(1), MIB(8) - lbs };

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		ASSERT_EQ(0, xfer_read(&self->t.x, lbs, len[i], XFER_POS + lbs))
			TH_LOG("read: %s", self->t.x.why);
		ASSERT_EQ(0, xfer_write(&self->t.x, lbs, len[i], XFER_POS + lbs))
			TH_LOG("write: %s", self->t.x.why);
	}
	EXPECT_EQ(0, xfer_poisoned(&self->t.x))
		TH_LOG("%s", self->t.x.why);
}

/*
 * Cut buffer and disk into chunks, transfer a piece of each, all at once and in
 * no order, and look at every byte of the destination. Small chunks share pages.
 */
static void check_chunks(struct __test_metadata *_metadata, struct modes *t,
			 unsigned int sqe_flags, size_t chunk, bool write)
{
	const uint64_t src = rnd_next(&t->e.rnd), poison = rnd_next(&t->e.rnd);
	struct mem *m = &t->e.mem;
	size_t nr = m->size / chunk, total, len[MAX_CHUNKS], i, j, lbs = t->e.disk.lbs;
	unsigned int order[MAX_CHUNKS], tmp, done[MAX_CHUNKS] = {};
	struct ring *r = &t->e.ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	void *disk, *dst;

	if (nr > MAX_CHUNKS)
		nr = MAX_CHUNKS;
	total = nr * chunk;
	disk = disk_buffer(total);
	ASSERT_NE(NULL, disk);
	pattern_fill(disk, total, write ? poison : src, 0);
	ASSERT_EQ(0, disk_put(&t->e.disk, disk, total, XFER_POS));
	mem_begin(m);
	pattern_fill(m->va, m->size, write ? src : poison, 0);
	mem_end(m);

	for (i = 0; i < nr; i++) {
		len[i] = (1 + rnd_below(&t->e.rnd, chunk / lbs)) * lbs;
		order[i] = i;
	}
	for (i = nr - 1; i; i--) {
		j = rnd_below(&t->e.rnd, i + 1);
		tmp = order[i];
		order[i] = order[j];
		order[j] = tmp;
	}
	for (i = 0; i < nr; i++) {
		j = order[i];
		sqe = ring_sqe(r);
		ASSERT_NE(NULL, sqe);
		ring_prep_rw(sqe, write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED,
			     t->e.disk.fd, 0, j * chunk, len[j], XFER_POS + j * chunk);
		sqe->flags = sqe_flags;
		sqe->user_data = j;
	}
	ASSERT_EQ((int)nr, ring_submit(r, 0));
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		ASSERT_GT(nr, cqe.user_data);
		ASSERT_EQ((int)len[cqe.user_data], cqe.res);
		ASSERT_EQ(0U, done[cqe.user_data]++);
	}

	ASSERT_EQ(0, disk_get(&t->e.disk, disk, total, XFER_POS));
	mem_begin(m);
	dst = write ? disk : m->va;
	for (i = 0; i < nr; i++) {
		void *p = dst + i * chunk;

		EXPECT_EQ(-1, pattern_differs(p, len[i], src, i * chunk))
			TH_LOG("chunk %zu of %zu, %zu bytes: wrong", i, nr, len[i]);
		EXPECT_EQ(-1, pattern_differs(p + len[i], chunk - len[i], poison,
					      i * chunk + len[i]))
			TH_LOG("chunk %zu of %zu, %zu bytes: changed behind", i, nr, len[i]);
	}
	/* The source and what no chunk covers */
	EXPECT_EQ(-1, pattern_differs(write ? m->va : disk, total, src, 0));
	EXPECT_EQ(-1, pattern_differs(m->va + total, m->size - total, write ? src : poison,
				      total));
	mem_end(m);
	free(disk);
}

TEST_F_TIMEOUT(modes, many_in_flight, 300)
{
	size_t lbs = self->t.e.disk.lbs;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		check_chunks(_metadata, &self->t, variant->sqe_flags, 65536, i & 1);
		check_chunks(_metadata, &self->t, variant->sqe_flags, 3 * lbs, i & 1);
	}
}

/* A read of what the write before it in the chain has put there */
TEST_F_TIMEOUT(modes, linked, 300)
{
	struct ring *r = &self->t.e.ring;
	size_t half = self->t.e.mem.size / 2;
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	unsigned int i, n;

	for (i = 0; i < 10; i++) {
		uint64_t seed = rnd_next(&self->t.e.rnd);

		mem_begin(&self->t.e.mem);
		pattern_fill(self->t.e.mem.va, half, seed, 0);
		pattern_fill(self->t.e.mem.va + half, half, ~seed, 0);
		mem_end(&self->t.e.mem);

		sqe = ring_sqe(r);
		ring_prep_rw(sqe, IORING_OP_WRITE_FIXED, self->t.e.disk.fd, 0, 0, half, XFER_POS);
		sqe->flags = variant->sqe_flags | IOSQE_IO_LINK;
		sqe = ring_sqe(r);
		ring_prep_rw(sqe, IORING_OP_READ_FIXED, self->t.e.disk.fd, 0, half, half,
			     XFER_POS);
		sqe->flags = variant->sqe_flags;
		ASSERT_EQ(2, ring_submit(r, 0));
		for (n = 0; n < 2; n++) {
			ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
			ASSERT_EQ((int)half, cqe.res);
		}
		mem_begin(&self->t.e.mem);
		ASSERT_EQ(-1, pattern_differs(self->t.e.mem.va + half, half, seed, 0));
		mem_end(&self->t.e.mem);
	}

	/* A request that fails cuts the chain, and the rest moves nothing */
	xfer_poison(&self->t.x);
	sqe = ring_sqe(r);
	ring_prep_rw(sqe, IORING_OP_WRITE_FIXED, self->t.e.disk.fd, 0, self->t.e.mem.size, 4096,
		     XFER_POS);
	sqe->flags = variant->sqe_flags | IOSQE_IO_LINK;
	sqe->user_data = 1;
	sqe = ring_sqe(r);
	ring_prep_rw(sqe, IORING_OP_READ_FIXED, self->t.e.disk.fd, 0, 0, half, XFER_POS);
	sqe->flags = variant->sqe_flags;
	sqe->user_data = 2;
	ASSERT_EQ(2, ring_submit(r, 0));
	for (n = 0; n < 2; n++) {
		ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(cqe.user_data == 1 ? -EFAULT : -ECANCELED, cqe.res);
	}
	EXPECT_EQ(0, xfer_poisoned(&self->t.x))
		TH_LOG("%s", self->t.x.why);
}

/* One after the other by the ring's own order */
TEST_F_TIMEOUT(modes, drained, 300)
{
	check_chunks(_metadata, &self->t, variant->sqe_flags | IOSQE_IO_DRAIN, 65536, false);
	check_chunks(_metadata, &self->t, variant->sqe_flags | IOSQE_IO_DRAIN, 65536, true);
}

/* Far more commands than tags, large ones that are split as well */
TEST_F_TIMEOUT(modes, few_tags, 600)
{
	const char *name = self->t.e.disk.name;
	struct burst b;
	int w;

	ASSERT_EQ(0, sysfs_get(self->t.old_nr, sizeof(self->t.old_nr),
			       "/sys/block/%s/queue/nr_requests", name));
	ASSERT_EQ(0, sysfs_set("4", "/sys/block/%s/queue/nr_requests", name));
	for (w = 0; w < 2; w++) {
		check_chunks(_metadata, &self->t, variant->sqe_flags, 65536, w);
		ASSERT_EQ(0, burst_prepare(&b, &self->t.e, &self->t.e.mem, w, 24))
			TH_LOG("%s", b.why);
		ASSERT_EQ(0, burst_submit(&b, self->t.e.disk.fd, 0, 24, variant->sqe_flags))
			TH_LOG("%s", b.why);
		ASSERT_EQ(0, burst_reap(&b, NULL))
			TH_LOG("%s", b.why);
		EXPECT_FALSE(b.saw_eagain);
		EXPECT_EQ(24U, b.full)
			TH_LOG("first error %d", b.first_error);
		EXPECT_EQ(0, burst_check(&b))
			TH_LOG("%s", b.why);
	}
}

/* Two rings and two slots of each on one buffer, in turns and at once */
TEST_F_TIMEOUT(modes, shared_buffer, 300)
{
	struct ring other, *mine = self->t.x.ring;
	struct burst a, b;
	struct env e2;

	ASSERT_EQ(0, ring_init(&other, 64, variant->ring_flags));
	ASSERT_EQ(0, ring_sparse(&other, 4));
	ASSERT_EQ(0, ring_set_dmabuf(&other, 3, self->t.e.mem.fd, self->t.e.disk.fd));
	ASSERT_EQ(0, ring_set_dmabuf(mine, 9, self->t.e.mem.fd, self->t.e.disk.fd));
	self->t.x.slot = 9;
	EXPECT_EQ(0, xfer_read(&self->t.x, 4096, MIB(2), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	self->t.x.slot = 3;
	self->t.x.ring = &other;
	EXPECT_EQ(0, xfer_write(&self->t.x, 4096, MIB(2), XFER_POS))
		TH_LOG("%s", self->t.x.why);

	/* Each ring does one half of the requests */
	e2 = self->t.e;
	e2.ring = other;
	ASSERT_EQ(0, burst_prepare(&a, &self->t.e, &self->t.e.mem, false, 32));
	b = a;
	b.e = &e2;
	b.nr = 16;
	ASSERT_EQ(0, burst_submit(&a, self->t.e.disk.fd, 9, 16, variant->sqe_flags));
	ASSERT_EQ(0, burst_submit(&b, self->t.e.disk.fd, 3, 16, variant->sqe_flags));
	EXPECT_EQ(0, burst_reap(&b, NULL));
	EXPECT_EQ(0, burst_reap(&a, NULL));
	EXPECT_EQ(32U, a.full + b.full);
	EXPECT_EQ(0, burst_check(&a))
		TH_LOG("%s", a.why);
	EXPECT_EQ(0, burst_check(&b))
		TH_LOG("%s", b.why);
	ring_exit(&e2.ring);
}

TEST_HARNESS_MAIN
