// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers that are cloned to another ring: the same registration, which lives as
 * long as one of the rings has it; and requests that are cancelled.
 */
#include <stdlib.h>
#include <unistd.h>
#include "burst.h"
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

#define SLOT	3

struct clone {
	struct env e;
	struct env other;	/* its ring alone is used */
	struct xfer x;
	bool target;
};

FIXTURE(clone) {
	struct clone t;
};

FIXTURE_VARIANT(clone) {
	enum mem_kind kind;
	bool target;
};

FIXTURE_VARIANT_ADD(clone, target) {
	.kind = MEM_UDMABUF, .target = true,
};

FIXTURE_VARIANT_ADD(clone, any_file) {
	.kind = MEM_HEAP, .target = false,
};

FIXTURE_SETUP(clone)
{
	struct clone *t = &self->t;

	if (!fixture_open(_metadata, &t->e, variant->kind, MIB(1), 0))
		return;
	t->target = variant->target;
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd,
				     t->target ? t->e.disk.fd : -1));
	t->other = t->e;
	ASSERT_EQ(0, ring_init(&t->other.ring, 256, 0));
	xfer_init(&t->x, &t->e, &t->e.mem, SLOT);
	xfer_poison(&t->x);
}

FIXTURE_TEARDOWN(clone)
{
	ring_exit(&self->t.other.ring);
	fixture_close(_metadata, &self->t.e);
}

static void both_ways(struct __test_metadata *_metadata, struct clone *t, struct ring *r,
		      unsigned int slot)
{
	t->x.ring = r;
	t->x.slot = slot;
	EXPECT_EQ(0, xfer_read(&t->x, 4096, MIB(1) - 8192, XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_write(&t->x, 4096, MIB(1) - 8192, XFER_POS))
		TH_LOG("%s", t->x.why);
}

/* One attachment however many rings have it, until the last one goes */
TEST_F_TIMEOUT(clone, whole_table, 120)
{
	struct clone *t = &self->t;

	ASSERT_EQ(0, ring_clone(&t->other.ring, &t->e.ring, 0, 0, 0, 0));
	both_ways(_metadata, t, &t->e.ring, SLOT);
	both_ways(_metadata, t, &t->other.ring, SLOT);
	EXPECT_EQ(1, watch_attached(t->e.mem.ino));

	/* What holds for the one holds for the other */
	EXPECT_EQ(-EFAULT, ring_rw(&t->other.ring, IORING_OP_READ_FIXED, t->e.disk.fd, SLOT,
				   MIB(1), 4096, XFER_POS));
	EXPECT_EQ(t->target ? -EBADF : 4096,
		  ring_rw(&t->other.ring, IORING_OP_WRITE_FIXED, t->e.disk.witness, SLOT, 0,
			  4096, XFER_POS));

	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	EXPECT_EQ(1, watch_attached(t->e.mem.ino));
	EXPECT_EQ(-EFAULT, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, SLOT, 0,
				   4096, XFER_POS));
	both_ways(_metadata, t, &t->other.ring, SLOT);
	ASSERT_EQ(0, ring_clear(&t->other.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
}

/* To another slot, over what is there, and back from the clone */
TEST_F_TIMEOUT(clone, parts, 120)
{
	struct clone *t = &self->t;
	struct ring third;

	ASSERT_EQ(0, ring_sparse(&t->other.ring, ENV_SLOTS));
	EXPECT_EQ(-EBUSY, ring_clone(&t->other.ring, &t->e.ring, SLOT, 7, 1, 0));
	ASSERT_EQ(0, ring_clone(&t->other.ring, &t->e.ring, SLOT, 7, 1, DIO_CLONE_REPLACE));
	both_ways(_metadata, t, &t->other.ring, 7);
	/* once more over itself */
	ASSERT_EQ(0, ring_clone(&t->other.ring, &t->e.ring, SLOT, 7, 1, DIO_CLONE_REPLACE));
	both_ways(_metadata, t, &t->other.ring, 7);

	ASSERT_EQ(0, ring_init(&third, 8, 0));
	ASSERT_EQ(0, ring_clone(&third, &t->other.ring, 7, 0, 1, 0));
	ring_exit(&t->other.ring);
	ASSERT_EQ(0, ring_unregister(&t->e.ring));
	both_ways(_metadata, t, &third, 0);
	ring_exit(&third);
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
}

/* The ring that registered it goes away with I/O in flight on both */
TEST_F_TIMEOUT(clone, source_goes, 300)
{
	struct clone *t = &self->t;
	struct burst a, b;
	int w;

	ASSERT_EQ(0, ring_clone(&t->other.ring, &t->e.ring, 0, 0, 0, 0));
	for (w = 0; w < 2; w++) {
		/* Each ring does one half of the requests, later the clone all */
		ASSERT_EQ(0, burst_prepare(&a, &t->e, &t->e.mem, w, w ? 32 : 64));
		b = a;
		b.e = &t->other;
		b.nr = w ? 0 : 32;
		ASSERT_EQ(0, w ? 0 : burst_submit(&a, t->e.disk.fd, SLOT, 32, 0));
		ASSERT_EQ(0, burst_submit(&b, t->e.disk.fd, SLOT, 32, 0));
		if (!w) {
			ASSERT_EQ(0, ring_unregister(&t->e.ring));
			ASSERT_EQ(0, burst_reap(&a, NULL));
			EXPECT_EQ(32U, a.full);
			EXPECT_EQ(0, burst_check(&a))
				TH_LOG("%s", a.why);
			ring_exit(&t->e.ring);
		}
		ASSERT_EQ(0, burst_reap(&b, NULL));
		EXPECT_EQ(32U, b.full);
		EXPECT_EQ(0, burst_check(&b))
			TH_LOG("%s", b.why);
	}
	ring_exit(&t->other.ring);
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
}

/* Cancelled or done, never something between, and nothing is held */
TEST_F_TIMEOUT(clone, cancel, 300)
{
	struct clone *t = &self->t;
	struct ring *r = &t->e.ring;
	unsigned int i, n, cancelled;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	struct burst b;

	for (i = 0; i < 8; i++) {
		/* Those in io-wq can be cancelled while they wait there */
		ASSERT_EQ(0, burst_prepare(&b, &t->e, &t->e.mem, false, 48));
		ASSERT_EQ(0, burst_submit(&b, t->e.disk.fd, SLOT, 48, i & 1 ? IOSQE_ASYNC : 0));
		for (n = 0; n < 48; n++) {
			sqe = ring_sqe(r);
			ASSERT_NE(NULL, sqe);
			sqe->opcode = IORING_OP_ASYNC_CANCEL;
			sqe->fd = -1;
			sqe->addr = 47 - n;
			sqe->user_data = BURST_END;
		}
		ASSERT_EQ(48, ring_submit(r, 0));
		cancelled = 0;
		for (n = 0; n < 96; n++) {
			ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
			if (cqe.user_data == BURST_END) {
				EXPECT_TRUE(!cqe.res || cqe.res == -ENOENT ||
					    cqe.res == -EALREADY)
					TH_LOG("cancel: %d", cqe.res);
			} else if (cqe.res == -ECANCELED || cqe.res == -EINTR) {
				cancelled++;
			} else {
				/* Odd ones have a slice, the others half of the buffer */
				ASSERT_GT(48ULL, cqe.user_data);
				EXPECT_EQ(cqe.user_data & 1 ? b.slice : t->e.mem.size / 2,
					  (size_t)cqe.res);
				b.is_full[cqe.user_data] = true;
				b.full++;
			}
		}
		EXPECT_EQ(48U, b.full + cancelled);
		EXPECT_EQ(0, burst_check(&b))
			TH_LOG("%s", b.why);
	}
	ASSERT_EQ(0, ring_clear(r, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
}

TEST_HARNESS_MAIN
