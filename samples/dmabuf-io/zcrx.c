// SPDX-License-Identifier: GPL-2.0
/*
 * The NIC's side of the receiver. A receive queue of the NIC gets its buffers from
 * a part of the dma-buf (the "area"), which it is the only owner of. A receive
 * request does not return data but says for each piece of the stream where in the
 * area it is. Each of these is to be given back through the refill ring, from where
 * the NIC takes it again. With several queues each one has an area and a refill ring
 * of its own, all in one ring.
 *
 * See Documentation/networking/iou-zcrx.rst.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "receiver.h"

#define BUF_SIZE_AUTO_MAX	65536
#define RQ_MAX			32768

/*
 * The refill ring is memory that we allocate and the kernel uses. Behind it is
 * room for the kernel's statistics.
 */
static int zcrx_alloc_region(struct zcrx *zcrx)
{
	size_t page = sysconf(_SC_PAGESIZE);
	size_t size;

	/* one page for the header, of which the kernel will tell the layout */
	size = page + zcrx->rq_entries * sizeof(struct io_uring_zcrx_rqe) +
	       sizeof(struct zcrx_stats);
	zcrx->region_size = (size + page - 1) & ~(page - 1);
	zcrx->region = mmap(NULL, zcrx->region_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (zcrx->region == MAP_FAILED) {
		zcrx->region = NULL;
		return -errno;
	}
	return 0;
}

static int zcrx_register(struct receiver *rx, struct zcrx *zcrx,
			 unsigned int ifindex, __u32 buf_size)
{
	struct zcrx_event_desc event = {
		.user_data = (uintptr_t)&zcrx->event,
		.type_mask = 1U << ZCRX_EVENT_ALLOC_FAIL,
		.flags = ZCRX_EVENT_DESC_FLAG_STATS,
		.stats_offset = zcrx->region_size - sizeof(struct zcrx_stats),
	};
	struct io_uring_zcrx_area_reg area = {
		.addr = zcrx->area_start,
		.len = zcrx->area_size,
		.flags = IORING_ZCRX_AREA_DMABUF,
		.dmabuf_fd = rx->dmabuf,
	};
	struct io_uring_region_desc region = {
		.user_addr = (uintptr_t)zcrx->region,
		.size = zcrx->region_size,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = ifindex,
		.if_rxq = zcrx->queue,
		.rq_entries = zcrx->rq_entries,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
		.event_desc = (uintptr_t)&event,
		.rx_buf_len = buf_size,
	};
	char *base = zcrx->region;
	int ret;

	ret = io_uring_register(rx->ring.ring_fd, IORING_REGISTER_ZCRX_IFQ, &reg, 1);
	if (ret)
		return ret;

	zcrx->id = reg.zcrx_id;
	zcrx->buf_size = reg.rx_buf_len;
	zcrx->rq_entries = reg.rq_entries;
	zcrx->rq_head = (__u32 *)(base + reg.offsets.head);
	zcrx->rq_tail = (__u32 *)(base + reg.offsets.tail);
	zcrx->rqes = (struct io_uring_zcrx_rqe *)(base + reg.offsets.rqes);
	zcrx->kstats = (struct zcrx_stats *)(base + event.stats_offset);
	return 0;
}

/* The likely reasons, for those who see this for the first time. */
static const char *zcrx_hint(int err)
{
	switch (err) {
	case ENODEV:
		return "no such interface in this network namespace";
	case EOPNOTSUPP:
		return "the driver has no memory providers, or the NIC can't use the dma-buf";
	case EINVAL:
		return "does the kernel have zcrx, and has the NIC header split on? (--help)";
	case EEXIST:
	case EBUSY:
		return "the queue has a memory provider or an XDP program, or the dma-buf an owner";
	case ERANGE:
		return "no such queue, or the memory is in pieces smaller than a buffer";
	case EPERM:
		return "this needs CAP_NET_ADMIN";
	}
	return "see Documentation/networking/iou-zcrx.rst";
}

static void zcrx_recv_done(struct receiver *rx, struct op *op,
			   const struct io_uring_cqe *cqe);
static void zcrx_event_done(struct receiver *rx, struct op *op,
			    const struct io_uring_cqe *cqe);

/**
 * zcrx_init() - let a receive queue of the NIC use its part of the dma-buf
 * @rx: the receiver, its ring and dma-buf exist
 * @zcrx: the queue; until the ring is closed all of its TCP payload goes to the
 *	  dma-buf
 * @ifname: the NIC
 * @buf_size: size of a receive buffer, 0 to find the largest that is possible
 * @rq_entries: size of the refill ring, 0 for as many as there can be buffers
 *
 * Large buffers make less work: an aggregated packet is one piece. The driver has
 * to support them, and the dma-buf must not be scattered in smaller pieces.
 *
 * Return: 0, or a negative number on failure.
 */
int zcrx_init(struct receiver *rx, struct zcrx *zcrx, const char *ifname,
	      __u32 buf_size, __u32 rq_entries)
{
	unsigned int ifindex = if_nametoindex(ifname);
	__u32 page = sysconf(_SC_PAGESIZE);
	__u32 try = buf_size ? buf_size : BUF_SIZE_AUTO_MAX;
	int ret;

	zcrx->recv.done = zcrx_recv_done;
	zcrx->event.done = zcrx_event_done;
	if (!rq_entries)
		rq_entries = zcrx->area_size / page < RQ_MAX ? zcrx->area_size / page : RQ_MAX;
	/* The kernel would round it up, and then the region would be too small. */
	zcrx->rq_entries = 1;
	while (zcrx->rq_entries < rq_entries)
		zcrx->rq_entries *= 2;
	if (!ifindex) {
		ret = -ENODEV;
		goto err;
	}
	ret = zcrx_alloc_region(zcrx);
	if (ret)
		goto err;

	/* Fewer than 64 large buffers would make the flow stop and go. */
	while (!buf_size && try > page && zcrx->area_size / try < 64)
		try /= 2;
	for (;;) {
		ret = zcrx_register(rx, zcrx, ifindex, try);
		if (!ret || buf_size || try <= page ||
		    (ret != -ERANGE && ret != -EOPNOTSUPP && ret != -EINVAL))
			break;
		try /= 2;
	}
	if (!ret) {
		zcrx->pieces_in = calloc(zcrx->area_size / zcrx->buf_size,
					 sizeof(*zcrx->pieces_in));
		ret = zcrx->pieces_in ? 0 : -ENOMEM;
	}
	if (ret)
		goto err;
	fprintf(stderr, "receiver: dma-buf, %llu bytes from %llu: %s queue %u, buffers of %u\n",
		zcrx->area_size, zcrx->area_start, ifname, zcrx->queue, zcrx->buf_size);
	return 0;
err:
	fprintf(stderr, "receiver: zcrx on %s queue %u: %s\nreceiver: %s\n",
		ifname, zcrx->queue, strerror(-ret), zcrx_hint(-ret));
	return ret;
}

/**
 * zcrx_recv() - receive some more of the stream
 * @rx: the receiver
 * @conn: the connection that it comes on
 * @len: receive so many bytes and then stop
 *
 * Without @len the request would go on for ever, and when the disk is slow the
 * NIC would run out of buffers and drop packets. So we only ask for what we
 * have room for. What is not asked for stays in the socket's queue, and when that
 * is full TCP tells the sender to wait.
 */
void zcrx_recv(struct receiver *rx, struct conn *conn, __u32 len)
{
	struct zcrx *zcrx = &conn->zcrx;
	struct io_uring_sqe *sqe = loop_sqe(rx, &zcrx->recv);

	io_uring_prep_rw(IORING_OP_RECV_ZC, sqe, conn->sock, NULL, len, 0);
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->zcrx_ifq_idx = zcrx->id;
	zcrx->armed = true;
	zcrx->armed_left = len;
	zcrx->rearms++;
}

static void zcrx_recv_ended(struct receiver *rx, struct conn *conn, int res)
{
	struct zcrx *zcrx = &conn->zcrx;

	zcrx->armed = false;
	switch (res) {
	case 0:
		/* Either we have got what we asked for, or there is no more. */
		if (zcrx->armed_left)
			conn->eof = true;
		return;
	case -ENOSPC:
		/* No place in the completion queue; now there is. */
		zcrx->enospc++;
		return;
	case -EINTR:
	case -EAGAIN:
		return;
	case -ECANCELED:
		if (receiver_stopping(rx))
			return;
		break;
	case -ENOMEM:
	case -EFAULT:
		/*
		 * Payload that is not in the area can't be received: the kernel
		 * would have to copy it to memory that it can't reach.
		 */
		fail(rx, "receive: %s: payload outside of the area: did it come on queue %u?",
		     strerror(-res), zcrx->queue);
		return;
	}
	fail(rx, "receive on queue %u: %s", zcrx->queue, strerror(-res));
}

static void zcrx_recv_done(struct receiver *rx, struct op *op,
			   const struct io_uring_cqe *cqe)
{
	const struct io_uring_zcrx_cqe *zcqe =
		(const struct io_uring_zcrx_cqe *)(cqe + 1);
	struct conn *conn = container_of(op, struct conn, zcrx.recv);
	struct zcrx *zcrx = &conn->zcrx;
	__u64 off;

	/* The last one of a request carries no data. */
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		zcrx_recv_ended(rx, conn, cqe->res);
		return;
	}
	off = zcqe->off & ~IORING_ZCRX_AREA_MASK;
	zcrx->pieces++;
	if (!zcrx->pieces_in[off / zcrx->buf_size]++)
		zcrx->held++;
	zcrx->armed_left -= cqe->res;
	receiver_piece(rx, conn, zcrx->area_start + off, zcqe->off, cqe->res);
}

/* The NIC has found no free buffer and has dropped a packet. */
static void zcrx_event_done(struct receiver *rx, struct op *op,
			    const struct io_uring_cqe *cqe)
{
	struct zcrx *zcrx = container_of(op, struct zcrx, event);

	if (cqe->res == ZCRX_EVENT_ALLOC_FAIL) {
		zcrx->alloc_fails++;
		zcrx->alloc_fail = true;
	}
}

static int zcrx_ctrl(struct receiver *rx, const struct zcrx *zcrx,
		     struct zcrx_ctrl *ctrl)
{
	ctrl->zcrx_id = zcrx->id;
	return io_uring_register(rx->ring.ring_fd, IORING_REGISTER_ZCRX_CTRL, ctrl, 0);
}

/* An event comes once until it is armed again; once per tick is enough. */
void zcrx_tick(struct receiver *rx, struct zcrx *zcrx)
{
	struct zcrx_ctrl ctrl = {
		.op = ZCRX_CTRL_ARM_EVENT,
		.zc_arm_event.event_type = ZCRX_EVENT_ALLOC_FAIL,
	};

	if (zcrx->alloc_fail) {
		zcrx->alloc_fail = false;
		zcrx_ctrl(rx, zcrx, &ctrl);
	}
}

/**
 * zcrx_return() - give a piece back to the NIC
 * @rx: the receiver
 * @zcrx: the queue that it came from
 * @off: as it came with the completion
 *
 * As many times as pieces came, even if several are in one buffer: the kernel
 * counts.
 */
void zcrx_return(struct receiver *rx, struct zcrx *zcrx, __u64 off)
{
	struct zcrx_ctrl flush = { .op = ZCRX_CTRL_FLUSH_RQ };
	struct io_uring_zcrx_rqe *rqe;
	__u32 tail = *zcrx->rq_tail;
	int ret;

	if (!--zcrx->pieces_in[(off & ~IORING_ZCRX_AREA_MASK) / zcrx->buf_size])
		zcrx->held--;

	/*
	 * The kernel looks at the ring when the NIC needs buffers. If the ring is
	 * full before that, ask it to look now.
	 */
	if (tail - io_uring_smp_load_acquire(zcrx->rq_head) >= zcrx->rq_entries) {
		ret = zcrx_ctrl(rx, zcrx, &flush);
		zcrx->flushes++;
		if (ret || tail - io_uring_smp_load_acquire(zcrx->rq_head) >=
			   zcrx->rq_entries) {
			/* The area has lost a buffer: can't go on like this. */
			fail(rx, "refill ring: %s", ret ? strerror(-ret) : "stays full");
			return;
		}
	}

	rqe = &zcrx->rqes[tail & (zcrx->rq_entries - 1)];
	rqe->off = off;
	rqe->len = 0;
	rqe->__pad = 0;
	io_uring_smp_store_release(zcrx->rq_tail, tail + 1);
	zcrx->returned++;
}

/* How the cancellation went is of no interest, zcrx_recv_done() will be told. */
void zcrx_cancel(struct receiver *rx, struct zcrx *zcrx)
{
	io_uring_prep_cancel(loop_sqe(rx, NULL), &zcrx->recv, 0);
}

/* Call after loop_exit(): the kernel uses the region as long as the ring exists. */
void zcrx_exit(struct zcrx *zcrx)
{
	if (zcrx->region)
		munmap(zcrx->region, zcrx->region_size);
	free(zcrx->pieces_in);
}
