// SPDX-License-Identifier: GPL-2.0
/*
 * Let every call fail once that can be made to fail, in all that user space can do
 * with a dma-buf: the error is one that is documented, all is as it was before, and
 * what is there goes on working. Needs CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC,
 * and finds more with CONFIG_FAULT_INJECTION_USERCOPY.
 *
 * DMABUF_IO_STRIDE: fail about every so many of them (1: each); DMABUF_IO_SEED:
 * with which to begin, another one each time if it is not set.
 */
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
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

#define CMD_WRITE	0x01
#define CMD_READ	0x02

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

static long pinned_kb(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static void get_stats(const struct mem *m, long *state)
{
	struct dma_buf_mock_stats s;

	if (mock_stats(m->fd, &s))
		memset(&s, 0xff, sizeof(s));
	state[0] = s.attached;
	state[1] = s.pinned;
	state[2] = s.mapped;
}

static void get_state(struct fail *t, struct state *s)
{
	unsigned int nr;

	memset(s, 0, sizeof(*s));
	get_stats(&t->e.mem, s->mem);
	get_stats(&t->other, s->other);
	s->user = watch_exporter("io_uring", &nr);
	s->kb = pinned_kb();
}

static void log_state(struct __test_metadata *_metadata, const char *when, const struct state *s)
{
	TH_LOG("%s: attached %ld, %ld, %ld, pinned %ld, %ld, %ld kB, mapped %ld, %ld", when,
	       s->mem[0], s->other[0], s->user, s->mem[1], s->other[1], s->kb, s->mem[2],
	       s->other[2]);
}

/* Memory is released from work items */
static void expect_state(struct __test_metadata *_metadata, struct fail *t,
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

static bool may_fail_with(const struct entry *en, int err)
{
	if (err == -EFAULT)
		return nth_usercopy() && !en->who;
	return err == -ENOMEM && !en->free;
}

/* One call, made to fail or not. Returns whether it did. */
static bool one_round(struct __test_metadata *_metadata, struct fail *t, const struct entry *en,
		      const struct state *base)
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

static void sweep(struct __test_metadata *_metadata, struct fail *t, const struct entry *en)
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

static void expect_works(struct __test_metadata *_metadata, struct fail *t, struct xfer *x,
			 struct ring *r, unsigned int slot, uint64_t off)
{
	x->ring = r;
	x->slot = slot;
	EXPECT_EQ(0, xfer_one(x, t->s.n & 1, off, LEN, XFER_POS))
		TH_LOG("call %u, slot %u: %s", t->s.n, slot, x->why);
}

static void expect_empty(struct __test_metadata *_metadata, struct fail *t, struct ring *r,
			 unsigned int slot)
{
	EXPECT_EQ(-EFAULT, ring_rw(r, IORING_OP_READ_FIXED, t->e.disk.fd, slot, 0, 4096, XFER_POS))
		TH_LOG("call %u, slot %u", t->s.n, slot);
}

/* Of ordinary memory the ring is told addresses */
static int move_user(struct xfer *x, bool write, uint64_t off, size_t len, uint64_t pos)
{
	int ret = ring_rw(x->ring, write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED, x->fd,
			  x->slot, (uintptr_t)x->mem->va + off, len, pos);

	return ret == (int)len ? 0 : ret < 0 ? ret : -EIO;
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
	t->x_user.move = move_user;
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

static int clone_to(struct ring *dst, struct ring *src, unsigned int src_off,
		    unsigned int dst_off, unsigned int nr, unsigned int flags)
{
	struct dio_clone_buffers arg = {
		.src_fd = src->fd, .flags = flags, .src_off = src_off, .dst_off = dst_off,
		.nr = nr,
	};

	return ring_register(dst, DIO_REGISTER_CLONE_BUFFERS, &arg, 1);
}

static void before_clone(struct __test_metadata *_metadata, struct fail *t)
{
	ASSERT_EQ(0, ring_init(&t->r, 8, 0));
}

static int call_clone(struct fail *t)
{
	return clone_to(&t->r, &t->e.ring, 0, 0, 0, 0);
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
	return clone_to(&t->r, &t->e.ring, SLOT, OTHER_SLOT, 1, DIO_CLONE_REPLACE);
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

/* --- I/O */

#define NO_DATA	0x6e6f6e65ULL

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
	ASSERT_EQ(0, clone_to(&t->r, &t->e.ring, 0, 0, 0, 0));
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
	struct fail *t = &self->t;

	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->e.disk.fd));
	EXPECT_EQ(0, xfer_read(&t->x, 0, SIZE, XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_write(&t->x, 0, SIZE, XFER_POS))
		TH_LOG("%s", t->x.why);
}

TEST_HARNESS_MAIN
