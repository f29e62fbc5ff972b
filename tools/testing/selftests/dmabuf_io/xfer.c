// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kselftest.h"
#include "xfer.h"

#define POISON_MEM	0x6d656d00ULL
#define POISON_DISK	0x6469736bULL

/* Where the transfer and its guards lie at one end */
struct span {
	uint64_t start, end;	/* with guards */
	uint64_t from, to;	/* the transfer */
};

static struct span make_span(uint64_t from, size_t len, uint64_t limit)
{
	struct span s = { .from = from, .to = from + len };

	s.start = from > XFER_GUARD ? from - XFER_GUARD : 0;
	s.end = s.to + XFER_GUARD < limit ? s.to + XFER_GUARD : limit;
	return s;
}

__printf(3, 4) static int fail(struct xfer *x, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->why, sizeof(x->why), fmt, ap);
	va_end(ap);
	return err;
}

/* @p shows s->start .. s->end; @inside starts with the first byte transferred */
static int compare(struct xfer *x, const char *end_name, const void *p, const struct span *s,
		   uint64_t inside_seed, uint64_t inside_pos, uint64_t outside_seed)
{
	long long bad;

	bad = pattern_differs(p + s->from - s->start, s->to - s->from, inside_seed, inside_pos);
	if (bad >= 0)
		return fail(x, -EILSEQ, "%s: byte %lld of %llu transferred is wrong", end_name,
			    bad, (unsigned long long)(s->to - s->from));
	bad = pattern_differs(p, s->from - s->start, outside_seed, s->start);
	if (bad >= 0)
		return fail(x, -EILSEQ, "%s: byte %lld before the transfer was changed",
			    end_name, (long long)(s->from - s->start) - bad);
	bad = pattern_differs(p + s->to - s->start, s->end - s->to, outside_seed, s->to);
	if (bad >= 0)
		return fail(x, -EILSEQ, "%s: byte %lld after the transfer was changed",
			    end_name, bad);
	return 0;
}

static int run(struct xfer *x, int op, uint64_t off, size_t len, uint64_t pos)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe = {};
	int ret;

	if (x->move) {
		ret = x->move(x, op == IORING_OP_WRITE_FIXED, off, len, pos);
		return ret ? fail(x, ret, "completed with %d", ret) : 0;
	}
	sqe = ring_sqe(x->ring);
	if (!sqe)
		return fail(x, -ENOSPC, "no free sqe");
	ring_prep_rw(sqe, op, x->fd, x->slot, off, len, pos);
	sqe->flags |= x->sqe_flags;
	sqe->user_data = x->seed;
	ret = ring_submit(x->ring, 0);
	if (ret < 0)
		return fail(x, ret, "submit: %s", strerror(-ret));
	ret = ring_wait(x->ring, &cqe, RING_TIMEOUT_MS);
	if (ret)
		return fail(x, ret, "no completion: %s", strerror(-ret));
	if (cqe.user_data != x->seed)
		return fail(x, -EIO, "the completion of another request");
	if (cqe.res < 0)
		return fail(x, cqe.res, "completed with %s", strerror(-cqe.res));
	if ((size_t)cqe.res != len)
		return fail(x, -EIO, "%d of %zu bytes done", cqe.res, len);
	return 0;
}

int xfer_move_uaddr(struct xfer *x, bool write, uint64_t off, size_t len, uint64_t pos)
{
	int ret = ring_rw(x->ring, write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED, x->fd,
			  x->slot, (uintptr_t)x->mem->va + off, len, pos);

	return ret == (int)len ? 0 : ret < 0 ? ret : -EIO;
}

void xfer_init(struct xfer *x, struct env *e, struct mem *m, unsigned int slot)
{
	memset(x, 0, sizeof(*x));
	x->ring = &e->ring;
	x->disk = &e->disk;
	x->mem = m;
	x->fd = e->disk.fd;
	x->slot = slot;
	x->seed = e->rnd << 32;
}

static void *get_tmp(struct xfer *x, size_t size)
{
	if (size > x->tmp_size) {
		free(x->tmp);
		x->tmp = disk_buffer(size);
		x->tmp_size = x->tmp ? size : 0;
	}
	return x->tmp;
}

void xfer_poison(struct xfer *x)
{
	mem_begin(x->mem);
	pattern_fill(x->mem->va, x->mem->size, POISON_MEM, 0);
	mem_end(x->mem);
}

int xfer_poisoned(struct xfer *x)
{
	long long bad;

	mem_begin(x->mem);
	bad = pattern_differs(x->mem->va, x->mem->size, POISON_MEM, 0);
	mem_end(x->mem);
	if (bad >= 0)
		return fail(x, -EILSEQ, "dma-buf: byte %lld was changed", bad);
	return 0;
}

/* Put the poison back into a part of the dma-buf, after it was compared */
static void repoison(struct xfer *x, uint64_t off, size_t len)
{
	pattern_fill(x->mem->va + off, len, POISON_MEM, off);
}

int xfer_read(struct xfer *x, uint64_t off, size_t len, uint64_t pos)
{
	struct span s = make_span(off, len, x->mem->size);
	void *tmp = get_tmp(x, len);
	int err;

	x->seed++;
	if (!tmp)
		return fail(x, -ENOMEM, "out of memory");
	pattern_fill(tmp, len, x->seed, pos);
	err = disk_put(x->disk, tmp, len, pos);
	if (err)
		return fail(x, err, "pwrite: %s", strerror(-err));

	err = run(x, IORING_OP_READ_FIXED, off, len, pos);
	if (err)
		return err;

	mem_begin(x->mem);
	err = compare(x, "dma-buf", x->mem->va + s.start, &s, x->seed, pos, POISON_MEM);
	repoison(x, off, len);
	mem_end(x->mem);
	return err;
}

int xfer_write(struct xfer *x, uint64_t off, size_t len, uint64_t pos)
{
	struct span s = make_span(pos, len, x->disk->size);
	void *tmp = get_tmp(x, s.end - s.start);
	int err;

	x->seed++;
	if (!tmp)
		return fail(x, -ENOMEM, "out of memory");
	pattern_fill(tmp, s.end - s.start, POISON_DISK, s.start);
	err = disk_put(x->disk, tmp, s.end - s.start, s.start);
	if (err)
		return fail(x, err, "pwrite: %s", strerror(-err));

	mem_begin(x->mem);
	pattern_fill(x->mem->va + off, len, x->seed, off);
	mem_end(x->mem);

	err = run(x, IORING_OP_WRITE_FIXED, off, len, pos);
	if (err)
		return err;

	memset(tmp, 0x5a, s.end - s.start);
	err = disk_get(x->disk, tmp, s.end - s.start, s.start);
	if (err)
		return fail(x, err, "pread: %s", strerror(-err));
	err = compare(x, "disk", tmp, &s, x->seed, off, POISON_DISK);
	if (err)
		return err;

	/* Writing to the disk must not change the source */
	mem_begin(x->mem);
	if (pattern_differs(x->mem->va + off, len, x->seed, off) >= 0)
		err = fail(x, -EILSEQ, "the source of a write was changed");
	repoison(x, off, len);
	mem_end(x->mem);
	return err;
}
