/* SPDX-License-Identifier: GPL-2.0 */
/* What iou-zcrx.c of the kernel's selftests takes from liburing 2.10, for older ones.
 * Included before the program: the kernel's <linux/io_uring.h> comes in the place of
 * liburing's copy, which does not know zcrx either.
 */
#ifndef KIT_LIBURING_ZCRX_H
#define KIT_LIBURING_ZCRX_H

#include <linux/io_uring.h>
#include <linux/io_uring/zcrx.h>
#include <liburing.h>

struct io_uring_zcrx_rq {
	__u32 *khead;
	__u32 *ktail;
	__u32 rq_tail;
	unsigned int ring_entries;
	struct io_uring_zcrx_rqe *rqes;
	void *ring_ptr;
};

static inline int io_uring_register_ifq(struct io_uring *ring, void *reg)
{
	return io_uring_register(ring->ring_fd, IORING_REGISTER_ZCRX_IFQ, reg, 1);
}

#endif
