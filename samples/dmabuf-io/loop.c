// SPDX-License-Identifier: GPL-2.0
/*
 * The io_uring. All that happens in the receiver happens in loop_run().
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "receiver.h"

#define SQ_ENTRIES	256

/**
 * loop_init() - create the ring
 * @rx: the receiver
 * @cq_entries: size of the completion queue
 *
 * zcrx asks for DEFER_TASKRUN, so that it alone decides when the socket is looked
 * at, and for room in the CQE to say where in the area the data is. The
 * completion queue should have room for all pieces that can be outstanding; if
 * it has not, receiving ends with -ENOSPC and has to be started again.
 *
 * Return: 0, or a negative number on failure.
 */
int loop_init(struct receiver *rx, unsigned int cq_entries)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQE32 | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		.cq_entries = cq_entries > SQ_ENTRIES ? cq_entries : SQ_ENTRIES,
	};
	int ret;

	ret = io_uring_queue_init_params(SQ_ENTRIES, &rx->ring, &p);
	if (ret) {
		/* There is nothing for loop_exit() to do, but it may be zeroed. */
		rx->ring.ring_fd = -1;
		fprintf(stderr, "receiver: io_uring: %s\n", strerror(-ret));
	}
	return ret;
}

static void loop_submit(struct receiver *rx)
{
	int ret = io_uring_submit(&rx->ring);

	/*
	 * -EINTR and -EAGAIN leave the requests in the submission queue, for the
	 * next time. Nothing else can be expected from a ring of our own.
	 */
	if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY) {
		fprintf(stderr, "receiver: io_uring_enter: %s\n", strerror(-ret));
		exit(1);
	}
}

/**
 * loop_reserve() - make sure that the next requests are submitted together
 * @rx: the receiver
 * @nr: how many
 *
 * A chain of linked requests ends where a submission ends.
 */
void loop_reserve(struct receiver *rx, unsigned int nr)
{
	while (io_uring_sq_space_left(&rx->ring) < nr)
		loop_submit(rx);
}

/* Get a request whose completion will be reported to @op; never fails. */
struct io_uring_sqe *loop_sqe(struct receiver *rx, struct op *op)
{
	struct io_uring_sqe *sqe;

	loop_reserve(rx, 1);
	sqe = io_uring_get_sqe(&rx->ring);
	/* The io_uring_prep functions leave user_data alone. */
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

/**
 * loop_run() - submit what there is, wait for completions, handle all of them
 * @rx: the receiver
 * @timeout_ms: wait no longer than this
 *
 * Return: 0, or a negative error number.
 */
int loop_run(struct receiver *rx, unsigned int timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000ull,
	};
	struct {
		struct io_uring_cqe cqe;
		__u64 big[2];
	} copy;
	struct io_uring_cqe *cqe;
	struct op *op;
	int ret;

	ret = io_uring_submit_and_wait_timeout(&rx->ring, &cqe, 1, &ts, NULL);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN &&
	    ret != -EBUSY) {
		fprintf(stderr, "receiver: io_uring_enter: %s\n", strerror(-ret));
		return ret;
	}

	/*
	 * The CQE's place is given back before it is handled, since that may
	 * submit requests which want to complete.
	 */
	while (!io_uring_peek_cqe(&rx->ring, &cqe)) {
		memcpy(&copy, cqe, sizeof(copy));
		io_uring_cqe_seen(&rx->ring, cqe);
		op = io_uring_cqe_get_data(&copy.cqe);
		if (op)
			op->done(rx, op, &copy.cqe);
	}
	return 0;
}

/* The op of a struct wait_op */
void wait_done(struct receiver *rx, struct op *op, const struct io_uring_cqe *cqe)
{
	struct wait_op *wait = (struct wait_op *)op;

	wait->done = true;
	wait->res = cqe->res;
}

void loop_exit(struct receiver *rx)
{
	io_uring_queue_exit(&rx->ring);
}
