/* SPDX-License-Identifier: GPL-2.0 */
/* A small io_uring: raw system calls, one submitter, no liburing needed. */
#ifndef DMABUF_IO_RING_H
#define DMABUF_IO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include "abi.h"

/* How long a completion may take before a test calls it lost, in ms */
#define RING_TIMEOUT_MS		60000

struct ring {
	int fd;
	unsigned int flags;
	unsigned int entries;
	unsigned int sqe_shift, cqe_shift;	/* 1: twice the usual size */
	unsigned int tail;		/* sqes handed out, not yet published */
	unsigned int *sq_head, *sq_tail, *sq_mask, *sq_flags, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	void *rings;
	size_t rings_len, sqes_len;
};

/* Everything below returns a negative errno on failure. */
int ring_init(struct ring *r, unsigned int entries, unsigned int flags);
void ring_exit(struct ring *r);

/* A zeroed sqe, or NULL when all are handed out and not yet submitted */
struct io_uring_sqe *ring_sqe(struct ring *r);
/* One of 128 bytes, which takes two entries of a ring with DIO_SETUP_SQE_MIXED */
struct io_uring_sqe *ring_sqe128(struct ring *r);
/* Publish all sqes, wait for @wait completions; number of sqes consumed */
int ring_submit(struct ring *r, unsigned int wait);
/* Take the next completion, -ETIME if none comes */
int ring_wait(struct ring *r, struct io_uring_cqe *cqe, unsigned int timeout_ms);
/* Take a completion that is there already; -EAGAIN if there is none */
int ring_peek(struct ring *r, struct io_uring_cqe *cqe);

void ring_prep_rw(struct io_uring_sqe *sqe, int op, int fd, unsigned int slot,
		  __u64 addr, __u32 len, __u64 pos);
/* One fixed-buffer read or write, waited for: cqe->res */
int ring_rw(struct ring *r, int op, int fd, unsigned int slot, __u64 addr,
	    __u32 len, __u64 pos);

int ring_register(struct ring *r, unsigned int op, void *arg, unsigned int nr);
int ring_sparse(struct ring *r, unsigned int nr);
int ring_update(struct ring *r, unsigned int slot, const struct dio_regbuf_desc *descs,
		unsigned int nr, const __u64 *tags);
int ring_set_dmabuf(struct ring *r, unsigned int slot, int dmabuf_fd, int target_fd);
int ring_set_uaddr(struct ring *r, unsigned int slot, void *p, size_t len);
/* Ordinary memory, mapped once for its devices */
int ring_set_premap(struct ring *r, unsigned int slot, void *p, size_t len, int target_fd);
int ring_clear(struct ring *r, unsigned int slot);
/* @nr slots of @src from @src_off on to those of @dst from @dst_off on; 0: all of them */
int ring_clone(struct ring *dst, const struct ring *src, unsigned int src_off,
	       unsigned int dst_off, unsigned int nr, unsigned int flags);
int ring_unregister(struct ring *r);

/* Whether the kernel knows dma-buf registered buffers at all */
bool ring_supports_dmabuf(void);

#endif /* DMABUF_IO_RING_H */
