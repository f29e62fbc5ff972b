/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One transfer, one direction, every byte checked. The other end is always
 * looked at without the code under test: the disk by pread() and pwrite() of
 * ordinary memory, the dma-buf by the CPU. What lies around the transfer on
 * both ends is checked to be left alone.
 */
#ifndef DMABUF_IO_XFER_H
#define DMABUF_IO_XFER_H

#include "env.h"

/* Bytes before and after the transfer that are compared, at both ends */
#define XFER_GUARD	(32UL << 10)
/* No test uses the disk below this position, so a guard always fits */
#define XFER_POS	0x100000ULL

struct xfer {
	struct ring *ring;
	struct disk *disk;
	struct mem *mem;
	int fd;			/* file that the ring is given */
	unsigned int slot;
	unsigned int sqe_flags;
	uint64_t seed;		/* a new one for each transfer */
	/* Another way to move the bytes: 0 or a negative errno */
	int (*move)(struct xfer *x, bool write, uint64_t off, size_t len, uint64_t pos);
	void *tmp;		/* for the disk's end; lives as long as the process */
	size_t tmp_size;
	char why[256];
};

void xfer_init(struct xfer *x, struct env *e, struct mem *m, unsigned int slot);
/* Poison all of the dma-buf, and see that it still is poisoned everywhere */
void xfer_poison(struct xfer *x);
int xfer_poisoned(struct xfer *x);

/*
 * @off bytes into the dma-buf, @pos on the disk, all multiples of the logical
 * block size. 0 or a negative errno (-EILSEQ: wrong data) with x->why. The
 * dma-buf has to be poisoned before and is again after.
 */
int xfer_read(struct xfer *x, uint64_t off, size_t len, uint64_t pos);
int xfer_write(struct xfer *x, uint64_t off, size_t len, uint64_t pos);

/* The way to move the bytes of ordinary memory: the ring is told their addresses */
int xfer_move_uaddr(struct xfer *x, bool write, uint64_t off, size_t len, uint64_t pos);

static inline int xfer_one(struct xfer *x, bool write, uint64_t off, size_t len, uint64_t pos)
{
	return write ? xfer_write(x, off, len, pos) : xfer_read(x, off, len, pos);
}

#endif /* DMABUF_IO_XFER_H */
