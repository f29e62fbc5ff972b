// SPDX-License-Identifier: GPL-2.0
/*
 * The extended update with ordinary memory: the same as a classic registration
 * in every respect, also mixed with dma-bufs in one table and one call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

#define LEN	MIB(1)

struct update {
	struct env e;
	void *buf, *want;
};

FIXTURE(update) {
	struct update t;
};

FIXTURE_SETUP(update)
{
	if (!fixture_open(_metadata, &self->t.e, MEM_HEAP, MIB(1), 0))
		return;
	ASSERT_EQ(0, posix_memalign(&self->t.buf, 4096, LEN));
	ASSERT_EQ(0, posix_memalign(&self->t.want, 4096, LEN));
}

FIXTURE_TEARDOWN(update)
{
	free(self->t.buf);
	free(self->t.want);
	fixture_close(_metadata, &self->t.e);
}

/* Both directions through a slot of ordinary memory; its address is the sqe's */
static void check_memory(struct __test_metadata *_metadata, struct update *t,
			 unsigned int slot)
{
	struct env *e = &t->e;
	uint64_t seed = rnd_next(&e->rnd);
	size_t lbs = e->disk.lbs;

	pattern_fill(t->want, LEN, seed, 0);
	ASSERT_EQ(0, disk_put(&e->disk, t->want, LEN, XFER_POS));
	memset(t->buf, 0x5a, LEN);
	EXPECT_EQ((int)(LEN - lbs), ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, slot,
					    (uintptr_t)t->buf + lbs, LEN - lbs,
					    XFER_POS + lbs));
	EXPECT_EQ(-1, pattern_differs(t->buf + lbs, LEN - lbs, seed, lbs));
	EXPECT_EQ(0x5a, *(unsigned char *)t->buf);

	seed = rnd_next(&e->rnd);
	pattern_fill(t->buf, LEN, seed, 0);
	EXPECT_EQ((int)LEN, ring_rw(&e->ring, IORING_OP_WRITE_FIXED, e->disk.fd, slot,
				    (uintptr_t)t->buf, LEN, XFER_POS));
	ASSERT_EQ(0, disk_get(&e->disk, t->want, LEN, XFER_POS));
	EXPECT_EQ(-1, pattern_differs(t->want, LEN, seed, 0));

	/* Outside of what was registered */
	EXPECT_EQ(-EFAULT, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, slot,
				   (uintptr_t)t->buf + LEN - lbs, 2 * lbs, XFER_POS));
	EXPECT_EQ(-EFAULT, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, slot,
				   0, lbs, XFER_POS));
}

static void check_empty(struct __test_metadata *_metadata, struct update *t,
			unsigned int slot)
{
	EXPECT_EQ(-EFAULT, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, slot,
				   (uintptr_t)t->buf, 4096, XFER_POS));
	EXPECT_EQ(-EFAULT, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, slot,
				   0, 4096, XFER_POS));
}

TEST_F_TIMEOUT(update, memory, 120)
{
	ASSERT_EQ(0, ring_set_uaddr(&self->t.e.ring, 0, self->t.buf, LEN));
	check_memory(_metadata, &self->t, 0);
	ASSERT_EQ(0, ring_clear(&self->t.e.ring, 0));
	check_empty(_metadata, &self->t, 0);
	/* An empty slot can be cleared */
	EXPECT_EQ(0, ring_clear(&self->t.e.ring, 0));
	EXPECT_EQ(0, ring_clear(&self->t.e.ring, ENV_SLOTS - 1));
}

/* The old layout works as before, in the same table */
TEST_F_TIMEOUT(update, classic, 120)
{
	struct iovec iov = { .iov_base = self->t.buf, .iov_len = LEN };
	struct dio_rsrc_update up = { .data = (uintptr_t)&iov, .nr = 1, .offset = 3 };
	struct env *e = &self->t.e;

	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, 3, e->mem.fd, e->disk.fd));
	ASSERT_EQ(1, ring_register(&e->ring, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, 10000));
	check_memory(_metadata, &self->t, 3);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, 3, e->mem.fd, e->disk.fd));
	iov = (struct iovec){};
	ASSERT_EQ(1, ring_register(&e->ring, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, 10000));
	check_empty(_metadata, &self->t, 3);
}

/* Every type in one call, over slots of every type */
TEST_F_TIMEOUT(update, mixed, 120)
{
	const struct dio_regbuf_desc type[] = {
		{ .type = DIO_TYPE_EMPTY },
		{ .type = DIO_TYPE_UADDR, .uaddr = (uintptr_t)self->t.buf, .size = LEN },
		{ .type = DIO_TYPE_DMABUF, .dmabuf_fd = self->t.e.mem.fd,
		  .target_fd = self->t.e.disk.fd },
	};
	struct dio_regbuf_desc d[9];
	struct env *e = &self->t.e;
	struct xfer x;
	unsigned int i;

	for (i = 0; i < 9; i++)
		d[i] = type[i / 3];
	ASSERT_EQ(9, ring_update(&e->ring, 2, d, 9, NULL));
	for (i = 0; i < 9; i++)
		d[i] = type[i % 3];
	ASSERT_EQ(9, ring_update(&e->ring, 2, d, 9, NULL));

	for (i = 0; i < 9; i++) {
		switch (i % 3) {
		case 0:
			check_empty(_metadata, &self->t, 2 + i);
			break;
		case 1:
			check_memory(_metadata, &self->t, 2 + i);
			break;
		default:
			xfer_init(&x, e, &e->mem, 2 + i);
			xfer_poison(&x);
			EXPECT_EQ(0, xfer_read(&x, 0, LEN, XFER_POS))
				TH_LOG("%s", x.why);
			EXPECT_EQ(0, xfer_write(&x, 0, LEN, XFER_POS))
				TH_LOG("%s", x.why);
			break;
		}
	}
}

/* One tag for each resource, posted when that one goes */
TEST_F_TIMEOUT(update, tags, 120)
{
	struct dio_regbuf_desc d[] = {
		{ .type = DIO_TYPE_UADDR, .uaddr = (uintptr_t)self->t.buf, .size = LEN },
		{ .type = DIO_TYPE_DMABUF, .dmabuf_fd = self->t.e.mem.fd,
		  .target_fd = self->t.e.disk.fd },
	};
	const __u64 tags[] = { 0x111, 0x222 };
	struct ring *r = &self->t.e.ring;
	struct io_uring_cqe cqe;
	int i;

	ASSERT_EQ(2, ring_update(r, 0, d, 2, tags));
	EXPECT_EQ(-EAGAIN, ring_peek(r, &cqe));
	for (i = 1; i >= 0; i--) {
		ASSERT_EQ(0, ring_clear(r, i));
		ASSERT_EQ(0, ring_wait(r, &cqe, 10000));
		EXPECT_EQ(tags[i], cqe.user_data);
		EXPECT_EQ(0, cqe.res);
	}
	/* Without a tag nothing is posted */
	ASSERT_EQ(2, ring_update(r, 0, d, 2, NULL));
	ASSERT_EQ(0, ring_clear(r, 0));
	ASSERT_EQ(0, ring_clear(r, 1));
	EXPECT_EQ(-ETIME, ring_wait(r, &cqe, 200));
}

/* What fdinfo says about a slot: base and length, or that it is empty */
static void expect_fdinfo(struct __test_metadata *_metadata, struct ring *r, unsigned int slot,
			  const char *want)
{
	char path[64], line[256], got[64] = "(nothing)";
	bool bufs = false;
	unsigned int nr;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", r->fd);
	f = fopen(path, "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "UserBufs:", 9))
			bufs = true;
		else if (bufs && sscanf(line, " %u: %63s", &nr, got) != 2)
			break;
		else if (bufs && nr == slot)
			break;
	}
	fclose(f);
	EXPECT_STREQ(want, got)
		TH_LOG("slot %u", slot);
}

TEST_F_TIMEOUT(update, fdinfo, 60)
{
	struct env *e = &self->t.e;
	char memory[64];

	snprintf(memory, sizeof(memory), "0x%llx/%zu", (unsigned long long)(uintptr_t)self->t.buf,
		 LEN);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, 1, e->mem.fd, e->disk.fd));
	ASSERT_EQ(0, ring_set_uaddr(&e->ring, 2, self->t.buf, LEN));
	expect_fdinfo(_metadata, &e->ring, 0, "<none>");
	expect_fdinfo(_metadata, &e->ring, 1, "0x0/1048576");
	expect_fdinfo(_metadata, &e->ring, 2, memory);
	ASSERT_EQ(0, ring_clear(&e->ring, 1));
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, 2, e->mem.fd, e->disk.fd));
	expect_fdinfo(_metadata, &e->ring, 1, "<none>");
	expect_fdinfo(_metadata, &e->ring, 2, "0x0/1048576");
}

TEST_HARNESS_MAIN
