/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Many requests at once, to have I/O in flight while something happens. Every
 * second one moves a slice of the buffer that is nobody else's, so what its
 * completion says can be checked. The others keep the disk busy: each of them
 * moves all of the second half.
 */
#ifndef DMABUF_IO_BURST_H
#define DMABUF_IO_BURST_H

#include "env.h"

#define BURST_POS	(8ULL << 20)
#define BURST_MAX	256

struct burst {
	struct env *e;
	struct mem *mem;
	bool write;
	unsigned int total;	/* requests that the buffer is cut up for */
	size_t slice;
	unsigned int nr;	/* submitted */
	unsigned int left;	/* not completed */
	unsigned int full, other;	/* completed: all bytes; an error or less */
	bool is_full[BURST_MAX];
	int first_error;	/* of those; 0 if none */
	bool saw_eagain;
	uint64_t seed, poison;
	char why[256];
};

/*
 * Fill the source, poison the destination, for @total requests; a single one
 * moves everything. 0 or a negative errno with b->why.
 */
int burst_prepare(struct burst *b, struct env *e, struct mem *m, bool write,
		  unsigned int total);
/* Submit the next @nr requests. Their user_data is below BURST_END. */
int burst_submit(struct burst *b, int fd, unsigned int slot, unsigned int nr,
		 unsigned int sqe_flags);
/*
 * Submit all, and return while the disk works on them. Large requests are handed
 * to a worker, so that takes a moment; -ENODATA if they are always done before.
 */
int burst_start(struct burst *b, int fd, unsigned int slot, unsigned int sqe_flags);
/* Take all completions. A stranger's one goes to *other if that is given. */
int burst_reap(struct burst *b, struct io_uring_cqe *other);
/*
 * The destination is what the source was wherever a request has reported that.
 * Each block of the other requests is either that or still poisoned, and what
 * belongs to none is poisoned.
 */
int burst_check(struct burst *b);

#define BURST_END	0x100000000ULL

#endif /* DMABUF_IO_BURST_H */
