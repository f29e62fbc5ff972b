/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Let every call fail once that can be made to fail: the error is one that is
 * documented, all is as it was before, and what is there goes on working. Needs
 * CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC, and finds more with
 * CONFIG_FAULT_INJECTION_USERCOPY.
 *
 * DMABUF_IO_STRIDE: fail about every so many of them (1: each); DMABUF_IO_SEED:
 * with which to begin, another one each time if it is not set.
 */
#ifndef DMABUF_IO_FAIL_NTH_H
#define DMABUF_IO_FAIL_NTH_H

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "fixture.h"
#include "mock.h"
#include "nth.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		6
#define OTHER_SLOT	2
#define NR_MANY		3
/* More segments than one chunk of a scatterlist has */
#define SIZE		MIB(1)
#define OTHER_SIZE	65536UL
#define USER_SIZE	(256UL << 10)
#define LEN		32768UL
#define WAIT_MS		20000
#define LIMIT		1800

/* What must be as it was; of dma-bufs: attached, pinned, mapped */
struct state {
	long mem[3], other[3];
	long user;		/* mappings of ordinary memory */
	long kb;		/* pinned */
};

struct fail {
	struct env e;
	struct mem other;	/* in a slot of its own, or in the way */
	struct mem user;	/* ordinary memory, as if it were a dma-buf */
	struct xfer x, x_other, x_user;
	struct nth_sweep s;
	int mock_dev, ng, nsid;

	/* One round */
	struct ring r;
	unsigned int ring_flags;
	struct dio_regbuf_desc d[NR_MANY];
	unsigned int nr;
	__u64 tags[NR_MANY];
	bool with_tags;
	const struct op *op;
	uint64_t data;
	struct dma_buf_mock_stats stats;
	struct dma_buf_mock_cmd cmd;
	int ret;
};

struct entry {
	const char *name;
	/* It needs no memory, so there is nothing that may fail. */
	bool free;
	void (*before)(struct __test_metadata *_metadata, struct fail *t);
	/* Whose calls fail; this thread if there is no such function */
	void (*who)(struct __test_metadata *_metadata, struct fail *t);
	int (*call)(struct fail *t);
	/* Look whether it is done, or not at all if t->ret is an error, and undo it */
	void (*after)(struct __test_metadata *_metadata, struct fail *t);
};

FIXTURE(fail_nth) {
	struct fail t;
};

/* --- the state of all that must not change */

static inline void get_stats(const struct mem *m, long *state)
{
	struct dma_buf_mock_stats s;

	if (mock_stats(m->fd, &s))
		memset(&s, 0xff, sizeof(s));
	state[0] = s.attached;
	state[1] = s.pinned;
	state[2] = s.mapped;
}

static inline void get_state(struct fail *t, struct state *s)
{
	unsigned int nr;

	memset(s, 0, sizeof(*s));
	get_stats(&t->e.mem, s->mem);
	get_stats(&t->other, s->other);
	s->user = watch_exporter("io_uring", &nr);
	s->kb = watch_pinned_kb();
}

static inline void log_state(struct __test_metadata *_metadata, const char *when,
			     const struct state *s)
{
	TH_LOG("%s: attached %ld, %ld, %ld, pinned %ld, %ld, %ld kB, mapped %ld, %ld", when,
	       s->mem[0], s->other[0], s->user, s->mem[1], s->other[1], s->kb, s->mem[2],
	       s->other[2]);
}

/* Memory is released from work items */
static inline void expect_state(struct __test_metadata *_metadata, struct fail *t,
				const struct state *want)
{
	unsigned int us = 500, waited = 0;
	struct state now;

	for (;;) {
		get_state(t, &now);
		if (!memcmp(&now, want, sizeof(now)) || waited > WAIT_MS * 1000)
			break;
		usleep(us);
		waited += us;
		us = us < 16000 ? 2 * us : us;
	}
	if (memcmp(&now, want, sizeof(now))) {
		log_state(_metadata, "before", want);
		log_state(_metadata, "after", &now);
	}
	ASSERT_EQ(0, memcmp(&now, want, sizeof(now)))
		TH_LOG("call %u", t->s.n);
}

/* --- the sweep */

static inline bool may_fail_with(const struct entry *en, int err)
{
	if (err == -EFAULT)
		return nth_usercopy() && !en->who;
	return err == -ENOMEM && !en->free;
}

/* One call, made to fail or not. Returns whether it did. */
static inline bool one_round(struct __test_metadata *_metadata, struct fail *t,
			     const struct entry *en, const struct state *base)
{
	struct nth *nth = &t->s.nth;
	struct state was;
	bool failed;

	if (en->before)
		en->before(_metadata, t);
	get_state(t, &was);
	nth_close(nth);
	if (en->who)
		en->who(_metadata, t);
	else
		nth_add_self(nth);
	ASSERT_TRUE(nth_arm(nth, t->s.n));
	t->ret = en->call(t);
	nth_disarm(nth);

	failed = t->ret < 0;
	if (failed) {
		ASSERT_TRUE(nth->fired)
			TH_LOG("%s: %d, and nothing was made to fail", en->name, t->ret);
		ASSERT_TRUE(may_fail_with(en, t->ret))
			TH_LOG("%s: call %u: %d", en->name, t->s.n, t->ret);
		/* What is attached on first use is kept for the next attempt */
		if (!en->who)
			expect_state(_metadata, t, &was);
	}
	en->after(_metadata, t);
	expect_state(_metadata, t, base);
	ASSERT_TRUE(__test_passed(_metadata))
		TH_LOG("%s: call %u", en->name, t->s.n);
	return failed;
}

static inline void sweep(struct __test_metadata *_metadata, struct fail *t, const struct entry *en)
{
	struct nth_sweep *s = &t->s;
	unsigned int again = 0;
	struct state base;
	bool failed;

	nth_sweep_begin(s, env_num("DMABUF_IO_STRIDE", 1), env_num("DMABUF_IO_SEED", 0));
	get_state(t, &base);
	do {
		/* Which of the workers it will be can't be known for sure */
		do {
			failed = one_round(_metadata, t, en, &base);
		} while (nth_sweep_counts(s) && en->who && !s->nth.calls && again++ < 5);
	} while (nth_sweep_next(s, failed, en->who ? 3 : 1));

	nth_sweep_report(s, en->name);
	if (!en->free)
		EXPECT_LT(0U, s->points);
	EXPECT_GT(NTH_MAX, s->n);
}

/* --- does it work? */

static inline void expect_works(struct __test_metadata *_metadata, struct fail *t, struct xfer *x,
				struct ring *r, unsigned int slot, uint64_t off)
{
	x->ring = r;
	x->slot = slot;
	EXPECT_EQ(0, xfer_one(x, t->s.n & 1, off, LEN, XFER_POS))
		TH_LOG("call %u, slot %u: %s", t->s.n, slot, x->why);
}

static inline void expect_empty(struct __test_metadata *_metadata, struct fail *t, struct ring *r,
				unsigned int slot)
{
	EXPECT_EQ(-EFAULT, ring_rw(r, IORING_OP_READ_FIXED, t->e.disk.fd, slot, 0, 4096, XFER_POS))
		TH_LOG("call %u, slot %u", t->s.n, slot);
}

/* In the end, all of it */
static inline void expect_all_works(struct __test_metadata *_metadata, struct fail *t)
{
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->e.disk.fd));
	EXPECT_EQ(0, xfer_read(&t->x, 0, SIZE, XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_write(&t->x, 0, SIZE, XFER_POS))
		TH_LOG("%s", t->x.why);
}

FIXTURE_SETUP(fail_nth)
{
	struct fail *t = &self->t;

	t->ng = -1;
	t->mock_dev = -1;
	t->other.fd = -1;
	t->other.memfd = -1;
	t->r.fd = -1;
	if (!fixture_open(_metadata, &t->e, MEM_MOCK, SIZE, 0))
		return;
	if (nth_allow()) {
		env_close(&t->e);
		LACKS(return, "the kernel has no fault injection");
	}
	ASSERT_EQ(0, env_mem(&t->e, &t->other, MEM_MOCK, OTHER_SIZE))
		TH_LOG("%s", t->e.why);
	t->mock_dev = open("/dev/dma_buf_mock", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, t->mock_dev);
	t->user = (struct mem){ .fd = -1, .memfd = -1, .size = USER_SIZE,
				.va = disk_buffer(USER_SIZE) };
	ASSERT_NE(NULL, t->user.va);

	xfer_init(&t->x, &t->e, &t->e.mem, SLOT);
	xfer_init(&t->x_other, &t->e, &t->other, OTHER_SLOT);
	xfer_init(&t->x_user, &t->e, &t->user, SLOT);
	t->x_user.move = xfer_move_uaddr;
	xfer_poison(&t->x);
	xfer_poison(&t->x_other);
	xfer_poison(&t->x_user);
}

FIXTURE_TEARDOWN(fail_nth)
{
	struct fail *t = &self->t;

	nth_disarm(&t->s.nth);
	nth_close(&t->s.nth);
	nth_restore();
	ring_exit(&t->r);
	ring_exit(&t->e.ring);
	if (t->ng >= 0)
		close(t->ng);
	if (t->mock_dev >= 0)
		close(t->mock_dev);
	EXPECT_EQ(0, env_mem_free(&t->e, &t->other))
		TH_LOG("%s", t->e.why);
	free(t->user.va);
	fixture_close(_metadata, &t->e);
}

#endif /* DMABUF_IO_FAIL_NTH_H */
