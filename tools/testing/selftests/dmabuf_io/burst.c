// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "burst.h"

/* Part of the buffer, and of the disk from BURST_POS on */
struct part {
	size_t off, len;
};

static int fail(struct burst *b, int err, const char *what)
{
	snprintf(b->why, sizeof(b->why), "%s: %s", what, strerror(-err));
	return err;
}

/* What request @i moves */
static struct part part_of(const struct burst *b, unsigned int i)
{
	size_t half = b->mem->size / 2;

	if (b->total == 1)
		return (struct part){ 0, b->mem->size };
	if (i & 1)
		return (struct part){ i / 2 * b->slice, b->slice };
	return (struct part){ half, half };
}

static int fill_disk(struct burst *b, uint64_t seed)
{
	size_t size = b->mem->size;
	void *tmp = disk_buffer(size);
	int err;

	if (!tmp)
		return -ENOMEM;
	pattern_fill(tmp, size, seed, 0);
	err = disk_put(&b->e->disk, tmp, size, BURST_POS);
	free(tmp);
	return err;
}

/* Source and destination as if nothing had been moved */
static int fill(struct burst *b)
{
	struct mem *m = b->mem;
	int err;

	err = fill_disk(b, b->write ? b->poison : b->seed);
	if (err)
		return fail(b, err, "preparing the disk");
	mem_begin(m);
	pattern_fill(m->va, m->size, b->write ? b->seed : b->poison, 0);
	mem_end(m);
	return 0;
}

int burst_prepare(struct burst *b, struct env *e, struct mem *m, bool write,
		  unsigned int total)
{
	unsigned int lbs = e->disk.lbs;

	memset(b, 0, sizeof(*b));
	b->e = e;
	b->mem = m;
	b->write = write;
	b->seed = rnd_next(&e->rnd);
	b->poison = rnd_next(&e->rnd);
	b->total = total;
	if (total > 1)
		b->slice = m->size / 2 / (total / 2) / lbs * lbs;
	if (!total || total > BURST_MAX || (total > 1 && !b->slice))
		return fail(b, -EINVAL, "so many requests");
	return fill(b);
}

int burst_submit(struct burst *b, int fd, unsigned int slot, unsigned int nr,
		 unsigned int sqe_flags)
{
	int op = b->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	struct io_uring_sqe *sqe;
	struct part part;
	unsigned int i;
	int ret;

	if (b->nr + nr > b->total)
		return fail(b, -EINVAL, "too many requests");
	for (i = b->nr; i < b->nr + nr; i++) {
		sqe = ring_sqe(&b->e->ring);
		if (!sqe)
			return fail(b, -ENOSPC, "no free sqe");
		part = part_of(b, i);
		ring_prep_rw(sqe, op, fd, slot, part.off, part.len, BURST_POS + part.off);
		sqe->flags = sqe_flags;
		sqe->user_data = i;
	}
	ret = ring_submit(&b->e->ring, 0);
	if (ret != (int)nr)
		return fail(b, ret < 0 ? ret : -EIO, "submit");
	b->nr += nr;
	b->left += nr;
	return 0;
}

static void account(struct burst *b, unsigned int i, int res)
{
	b->left--;
	if (res == (int)part_of(b, i).len) {
		b->full++;
		b->is_full[i] = true;
		return;
	}
	b->other++;
	b->saw_eagain |= res == -EAGAIN;
	if (!b->first_error)
		b->first_error = res < 0 ? res : -EIO;
}

int burst_reap(struct burst *b, struct io_uring_cqe *other)
{
	struct io_uring_cqe cqe;
	int err;

	while (b->left) {
		err = ring_wait(&b->e->ring, &cqe, RING_TIMEOUT_MS);
		if (err) {
			snprintf(b->why, sizeof(b->why), "%u of %u never completed: %s", b->left,
				 b->nr, strerror(-err));
			return err;
		}
		if (cqe.user_data < b->nr) {
			account(b, cqe.user_data, cqe.res);
			continue;
		}
		if (!other || cqe.user_data < BURST_END)
			return fail(b, -EIO, "a completion of something else");
		*other = cqe;
	}
	return 0;
}

/* -ENODATA if nothing is in flight any more */
static int wait_busy(struct burst *b)
{
	const struct ring *r = &b->e->ring;

	/* Without sleeping, or they may be done meanwhile */
	while (disk_inflight(&b->e->disk) <= 0)
		if (__atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) - *r->cq_head >= b->left)
			return -ENODATA;
	return 0;
}

int burst_start(struct burst *b, int fd, unsigned int slot, unsigned int sqe_flags)
{
	int tries, err;

	for (tries = 0; tries < 10; tries++) {
		err = burst_submit(b, fd, slot, b->total, sqe_flags);
		if (err)
			return err;
		if (!wait_busy(b))
			return 0;
		err = burst_reap(b, NULL);
		if (err)
			return err;
		if (b->other)
			return fail(b, b->first_error, "nothing in flight, and an error");
		/* What is moved next must not be there already */
		err = fill(b);
		if (err)
			return err;
		b->nr = 0;
		b->full = 0;
		memset(b->is_full, 0, sizeof(b->is_full));
	}
	return fail(b, -ENODATA, "all requests are done already");
}

/* Offset of the first wrong byte of a part, or -1 */
static long long part_differs(const struct burst *b, const void *p, struct part part, bool full)
{
	size_t lbs = b->e->disk.lbs, end = part.off + part.len, at;
	long long bad;

	if (full) {
		bad = pattern_differs(p + part.off, part.len, b->seed, part.off);
		return bad < 0 ? -1 : (long long)part.off + bad;
	}
	for (at = part.off; at < end; at += lbs) {
		bad = pattern_differs(p + at, lbs, b->seed, at);
		if (bad >= 0 && pattern_differs(p + at, lbs, b->poison, at) >= 0)
			return at + bad;
	}
	return -1;
}

static long long find_wrong(const struct burst *b, const void *p)
{
	size_t half = b->mem->size / 2, covered = b->total / 2 * b->slice;
	bool busy_full = false;
	long long bad = -1;
	unsigned int i;

	if (b->total == 1)
		return part_differs(b, p, part_of(b, 0), b->is_full[0]);
	for (i = 0; i < b->total && bad < 0; i++) {
		if (i & 1)
			bad = part_differs(b, p, part_of(b, i), b->is_full[i]);
		else
			busy_full |= b->is_full[i];
	}
	if (bad < 0)
		bad = part_differs(b, p, part_of(b, 0), busy_full);
	if (bad < 0) {
		bad = pattern_differs(p + covered, half - covered, b->poison, covered);
		bad = bad < 0 ? -1 : (long long)covered + bad;
	}
	return bad;
}

int burst_check(struct burst *b)
{
	size_t size = b->mem->size;
	long long bad;
	void *tmp;
	int err;

	if (b->write) {
		tmp = disk_buffer(size);
		if (!tmp)
			return -ENOMEM;
		err = disk_get(&b->e->disk, tmp, size, BURST_POS);
		bad = err ? 0 : find_wrong(b, tmp);
		free(tmp);
		if (err)
			return fail(b, err, "reading the disk back");
	} else {
		mem_begin(b->mem);
		bad = find_wrong(b, b->mem->va);
		mem_end(b->mem);
	}
	if (bad < 0)
		return 0;
	snprintf(b->why, sizeof(b->why), "byte %lld of the %s is wrong", bad,
		 b->write ? "disk" : "dma-buf");
	return -EILSEQ;
}
