// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever can fail does, in all that takes, changes or releases a registered
 * buffer on a dma-buf. fail_nth_io does the same to the use of such buffers.
 */
#include <errno.h>
#include <unistd.h>
#include "fail_nth.h"

static struct dio_regbuf_desc desc_of(const struct mem *m, int target, uint64_t off, size_t len)
{
	return (struct dio_regbuf_desc) {
		.type = DIO_TYPE_DMABUF, .dmabuf_fd = m->fd, .target_fd = target,
		.uaddr = off, .size = len,
	};
}

/* --- registration */

static int call_update(struct fail *t)
{
	return ring_update(&t->e.ring, SLOT, t->d, t->nr, t->with_tags ? t->tags : NULL);
}

static void after_register(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret < 0) {
		expect_empty(_metadata, t, &t->e.ring, SLOT);
		return;
	}
	EXPECT_EQ(1, t->ret);
	expect_works(_metadata, t, &t->x, &t->e.ring, SLOT, t->d[0].uaddr);
	EXPECT_EQ(0, ring_clear(&t->e.ring, SLOT));
}

static const struct entry reg_entry = {
	.name = "register for a block device",
	.call = call_update,
	.after = after_register,
};

TEST_F_TIMEOUT(fail_nth, register_target, LIMIT)
{
	struct fail *t = &self->t;

	t->d[0] = desc_of(&t->e.mem, t->e.disk.fd, 0, 0);
	t->nr = 1;
	sweep(_metadata, t, &reg_entry);
}

TEST_F_TIMEOUT(fail_nth, register_any_file, LIMIT)
{
	struct fail *t = &self->t;
	struct entry en = reg_entry;

	en.name = "register for any file";
	t->d[0] = desc_of(&t->e.mem, -1, 0, 0);
	t->nr = 1;
	sweep(_metadata, t, &en);
}

TEST_F_TIMEOUT(fail_nth, register_part, LIMIT)
{
	struct fail *t = &self->t;
	struct entry en = reg_entry;

	en.name = "register a part";
	t->d[0] = desc_of(&t->e.mem, t->e.disk.fd, 65536, LEN);
	t->nr = 1;
	sweep(_metadata, t, &en);
}

static void after_premap(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret < 0) {
		expect_empty(_metadata, t, &t->e.ring, SLOT);
		return;
	}
	expect_works(_metadata, t, &t->x_user, &t->e.ring, SLOT, 4096);
	EXPECT_EQ(0, ring_clear(&t->e.ring, SLOT));
}

static void sweep_premap(struct __test_metadata *_metadata, struct fail *t, int target,
			 const char *name)
{
	const struct entry en = { .name = name, .call = call_update, .after = after_premap };

	t->d[0] = (struct dio_regbuf_desc){
		.type = DIO_TYPE_UADDR, .flags = DIO_PREMAP, .dmabuf_fd = -1,
		.target_fd = target, .uaddr = (uintptr_t)t->user.va, .size = USER_SIZE,
	};
	t->nr = 1;
	sweep(_metadata, t, &en);
}

TEST_F_TIMEOUT(fail_nth, premap_target, LIMIT)
{
	sweep_premap(_metadata, &self->t, self->t.e.disk.fd, "map user memory for a block device");
}

TEST_F_TIMEOUT(fail_nth, premap_any_file, LIMIT)
{
	sweep_premap(_metadata, &self->t, -1, "map user memory for any file");
}

/* What was in the slot is there until it has been replaced; and no tag is lost */
static void after_replace(struct __test_metadata *_metadata, struct fail *t)
{
	struct io_uring_cqe cqe = {};
	struct dio_regbuf_desc d;

	if (t->ret < 0) {
		EXPECT_EQ(-EAGAIN, ring_peek(&t->e.ring, &cqe));
		expect_works(_metadata, t, &t->x_other, &t->e.ring, SLOT, 0);
		return;
	}
	EXPECT_EQ(0, ring_wait(&t->e.ring, &cqe, WAIT_MS));
	EXPECT_EQ(0x111ULL, cqe.user_data);
	expect_works(_metadata, t, &t->x, &t->e.ring, SLOT, 0);

	d = desc_of(&t->other, t->e.disk.fd, 0, 0);
	EXPECT_EQ(1, ring_update(&t->e.ring, SLOT, &d, 1, (__u64[]) { 0x111 }));
	EXPECT_EQ(0, ring_wait(&t->e.ring, &cqe, WAIT_MS));
	EXPECT_EQ(0x222ULL, cqe.user_data);
}

TEST_F_TIMEOUT(fail_nth, replace, LIMIT)
{
	static const struct entry en = {
		.name = "replace a buffer",
		.call = call_update,
		.after = after_replace,
	};
	struct fail *t = &self->t;
	struct dio_regbuf_desc d = desc_of(&t->other, t->e.disk.fd, 0, 0);

	ASSERT_EQ(1, ring_update(&t->e.ring, SLOT, &d, 1, (__u64[]) { 0x111 }));
	t->d[0] = desc_of(&t->e.mem, t->e.disk.fd, 0, 0);
	t->tags[0] = 0x222;
	t->with_tags = true;
	t->nr = 1;
	sweep(_metadata, t, &en);
	/* Or its tag would come when the fixture has gone */
	EXPECT_EQ(0, ring_clear(&t->e.ring, SLOT));
}

/* It returns how many of them have been done, and the others have not been */
static void after_many(struct __test_metadata *_metadata, struct fail *t)
{
	int i;

	if (t->ret >= 0 && t->ret < NR_MANY)
		EXPECT_TRUE(t->s.nth.fired);
	for (i = 0; i < NR_MANY; i++) {
		if (i < t->ret)
			expect_works(_metadata, t, &t->x, &t->e.ring, SLOT + i, i * 65536);
		else
			expect_empty(_metadata, t, &t->e.ring, SLOT + i);
		EXPECT_EQ(0, ring_clear(&t->e.ring, SLOT + i));
	}
}

TEST_F_TIMEOUT(fail_nth, register_many, LIMIT)
{
	static const struct entry en = {
		.name = "register several in one call",
		.call = call_update,
		.after = after_many,
	};
	struct fail *t = &self->t;
	int i;

	for (i = 0; i < NR_MANY; i++)
		t->d[i] = desc_of(&t->e.mem, t->e.disk.fd, i * 65536, 65536);
	t->nr = NR_MANY;
	sweep(_metadata, t, &en);
}

/* --- clones */

static void before_clone(struct __test_metadata *_metadata, struct fail *t)
{
	ASSERT_EQ(0, ring_init(&t->r, 8, 0));
}

static int call_clone(struct fail *t)
{
	return ring_clone(&t->r, &t->e.ring, 0, 0, 0, 0);
}

static void after_clone(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret < 0)
		expect_empty(_metadata, t, &t->r, SLOT);
	else
		expect_works(_metadata, t, &t->x, &t->r, SLOT, 0);
	expect_works(_metadata, t, &t->x, &t->e.ring, SLOT, 0);
	ring_exit(&t->r);
}

TEST_F_TIMEOUT(fail_nth, clone, LIMIT)
{
	static const struct entry en = {
		.name = "clone the buffers",
		.before = before_clone,
		.call = call_clone,
		.after = after_clone,
	};
	struct fail *t = &self->t;

	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->e.disk.fd));
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT + 1, t->e.mem.fd, -1));
	sweep(_metadata, t, &en);
}

static void before_clone_over(struct __test_metadata *_metadata, struct fail *t)
{
	ASSERT_EQ(0, ring_init(&t->r, 8, 0));
	ASSERT_EQ(0, ring_sparse(&t->r, ENV_SLOTS));
	ASSERT_EQ(0, ring_set_dmabuf(&t->r, OTHER_SLOT, t->other.fd, t->e.disk.fd));
}

static int call_clone_over(struct fail *t)
{
	return ring_clone(&t->r, &t->e.ring, SLOT, OTHER_SLOT, 1, DIO_CLONE_REPLACE);
}

static void after_clone_over(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret < 0)
		expect_works(_metadata, t, &t->x_other, &t->r, OTHER_SLOT, 0);
	else
		expect_works(_metadata, t, &t->x, &t->r, OTHER_SLOT, 0);
	expect_works(_metadata, t, &t->x, &t->e.ring, SLOT, 0);
	ring_exit(&t->r);
}

TEST_F_TIMEOUT(fail_nth, clone_over, LIMIT)
{
	static const struct entry en = {
		.name = "clone a buffer over another",
		.before = before_clone_over,
		.call = call_clone_over,
		.after = after_clone_over,
	};
	struct fail *t = &self->t;

	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->e.disk.fd));
	sweep(_metadata, t, &en);
}

/* --- letting go: a failure can't be reported, or would help nobody */

static void before_clear(struct __test_metadata *_metadata, struct fail *t)
{
	struct dio_regbuf_desc d = desc_of(&t->e.mem, t->e.disk.fd, 0, 0);

	ASSERT_EQ(1, ring_update(&t->e.ring, SLOT, &d, 1, NULL));
	t->d[0] = (struct dio_regbuf_desc){ .type = DIO_TYPE_EMPTY };
	t->nr = 1;
}

static void after_clear(struct __test_metadata *_metadata, struct fail *t)
{
	if (t->ret < 0) {
		expect_works(_metadata, t, &t->x, &t->e.ring, SLOT, 0);
		EXPECT_EQ(0, ring_clear(&t->e.ring, SLOT));
	}
	expect_empty(_metadata, t, &t->e.ring, SLOT);
}

TEST_F_TIMEOUT(fail_nth, clear, LIMIT)
{
	static const struct entry en = {
		.name = "clear a slot",
		.free = true,
		.before = before_clear,
		.call = call_update,
		.after = after_clear,
	};

	sweep(_metadata, &self->t, &en);
}

static void before_go(struct __test_metadata *_metadata, struct fail *t)
{
	before_clone_over(_metadata, t);
	ASSERT_EQ(0, ring_set_dmabuf(&t->r, SLOT, t->e.mem.fd, t->e.disk.fd));
	ASSERT_EQ(0, ring_set_dmabuf(&t->r, SLOT + 1, t->e.mem.fd, -1));
	expect_works(_metadata, t, &t->x, &t->r, SLOT + 1, 0);
}

static void after_go(struct __test_metadata *_metadata, struct fail *t)
{
	EXPECT_EQ(0, t->ret);
	ring_exit(&t->r);
}

static int call_unregister(struct fail *t)
{
	return ring_unregister(&t->r);
}

static int call_close(struct fail *t)
{
	int fd = t->r.fd;

	t->r.fd = -1;
	return close(fd) ? -errno : 0;
}

TEST_F_TIMEOUT(fail_nth, let_go, LIMIT)
{
	struct entry en = { .free = true, .before = before_go, .after = after_go };

	en.name = "unregister all";
	en.call = call_unregister;
	sweep(_metadata, &self->t, &en);
	en.name = "close the ring";
	en.call = call_close;
	sweep(_metadata, &self->t, &en);
}

/* --- and in the end, all of it works */

TEST_F_TIMEOUT(fail_nth, works, LIMIT)
{
	expect_all_works(_metadata, &self->t);
}

TEST_HARNESS_MAIN
