/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Many large requests at once, to have I/O in flight while something happens.
 * All of them move the same bytes between the whole buffer and one place on
 * the disk, so the outcome is known however many of them are done.
 */
#ifndef DMABUF_IO_BURST_H
#define DMABUF_IO_BURST_H

#include "env.h"

#define BURST_POS	(8ULL << 20)

struct burst {
	struct env *e;
	struct mem *mem;
	bool write;
	unsigned int nr;	/* submitted */
	unsigned int left;	/* not completed */
	unsigned int full, other;	/* completed: all bytes; an error or less */
	int first_error;	/* of those; 0 if none */
	bool saw_eagain;
	uint64_t seed;
	char why[256];
};

/* Fill the source, poison the destination; 0 or a negative errno with b->why */
int burst_prepare(struct burst *b, struct env *e, struct mem *m, bool write);
/* Submit @nr requests on the file and slot. Their user_data is below BURST_END. */
int burst_submit(struct burst *b, int fd, unsigned int slot, unsigned int nr,
		 unsigned int sqe_flags);
/*
 * The same, and return while the disk works on them. Large requests are handed
 * to a worker, so that takes a moment; -ENODATA if they are always done before.
 */
int burst_start(struct burst *b, int fd, unsigned int slot, unsigned int nr);
/* Take all completions. A stranger's one goes to *other if that is given. */
int burst_reap(struct burst *b, struct io_uring_cqe *other);
/* Is the destination what the source was? */
int burst_check(struct burst *b);

#define BURST_END	0x100000000ULL

#endif /* DMABUF_IO_BURST_H */
