// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "burst.h"

static int fail(struct burst *b, int err, const char *what)
{
	snprintf(b->why, sizeof(b->why), "%s: %s", what, strerror(-err));
	return err;
}

static int fill_disk(struct burst *b, uint64_t seed)
{
	size_t size = b->mem->size;
	void *tmp;
	int err;

	if (posix_memalign(&tmp, 4096, size))
		return -ENOMEM;
	pattern_fill(tmp, size, seed, 0);
	err = disk_put(&b->e->disk, tmp, size, BURST_POS);
	free(tmp);
	return err;
}

int burst_prepare(struct burst *b, struct env *e, struct mem *m, bool write)
{
	uint64_t src = rnd_next(&e->rnd), poison = rnd_next(&e->rnd);
	int err;

	memset(b, 0, sizeof(*b));
	b->e = e;
	b->mem = m;
	b->write = write;
	b->seed = src;

	err = fill_disk(b, write ? poison : src);
	if (err)
		return fail(b, err, "preparing the disk");
	mem_begin(m);
	pattern_fill(m->va, m->size, write ? src : poison, 0);
	mem_end(m);
	return 0;
}

int burst_submit(struct burst *b, int fd, unsigned int slot, unsigned int nr,
		 unsigned int sqe_flags)
{
	int op = b->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	struct io_uring_sqe *sqe;
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		sqe = ring_sqe(&b->e->ring);
		if (!sqe)
			return fail(b, -ENOSPC, "no free sqe");
		ring_prep_rw(sqe, op, fd, slot, 0, b->mem->size, BURST_POS);
		sqe->flags = sqe_flags;
		sqe->user_data = b->nr + i;
	}
	ret = ring_submit(&b->e->ring, 0);
	if (ret != (int)nr)
		return fail(b, ret < 0 ? ret : -EIO, "submit");
	b->nr += nr;
	b->left += nr;
	return 0;
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
		if (cqe.user_data >= BURST_END) {
			if (!other)
				return fail(b, -EIO, "a completion of something else");
			*other = cqe;
			continue;
		}
		b->left--;
		if (cqe.res == (int)b->mem->size) {
			b->full++;
			continue;
		}
		b->other++;
		b->saw_eagain |= cqe.res == -EAGAIN;
		if (!b->first_error)
			b->first_error = cqe.res < 0 ? cqe.res : -EIO;
	}
	return 0;
}

/* -ENODATA if nothing is in flight any more */
static int wait_busy(struct burst *b)
{
	const struct ring *r = &b->e->ring;

	while (disk_inflight(&b->e->disk) <= 0) {
		if (__atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) - *r->cq_head >= b->left)
			return -ENODATA;
		usleep(100);
	}
	return 0;
}

int burst_start(struct burst *b, int fd, unsigned int slot, unsigned int nr)
{
	int tries, err;

	for (tries = 0; tries < 10; tries++) {
		err = burst_submit(b, fd, slot, nr, 0);
		if (err)
			return err;
		if (!wait_busy(b))
			return 0;
		err = burst_reap(b, NULL);
		if (err)
			return err;
		if (b->other)
			return fail(b, b->first_error, "nothing in flight, and an error");
		b->nr = 0;
		b->full = 0;
	}
	return fail(b, -ENODATA, "all requests are done already");
}

int burst_check(struct burst *b)
{
	size_t size = b->mem->size;
	long long bad;
	void *tmp;
	int err;

	if (b->write) {
		if (posix_memalign(&tmp, 4096, size))
			return -ENOMEM;
		err = disk_get(&b->e->disk, tmp, size, BURST_POS);
		bad = err ? 0 : pattern_differs(tmp, size, b->seed, 0);
		free(tmp);
		if (err)
			return fail(b, err, "reading the disk back");
	} else {
		mem_begin(b->mem);
		bad = pattern_differs(b->mem->va, size, b->seed, 0);
		mem_end(b->mem);
	}
	if (bad < 0)
		return 0;
	snprintf(b->why, sizeof(b->why), "byte %lld of the %s is wrong", bad,
		 b->write ? "disk" : "dma-buf");
	return -EILSEQ;
}
