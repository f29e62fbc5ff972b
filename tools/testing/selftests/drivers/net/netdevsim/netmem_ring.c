// SPDX-License-Identifier: GPL-2.0
/*
 * Rings with zcrx, without liburing: what is tested may be newer than it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <error.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "netmem_lib.h"

#define RQ_ENTRIES	4096
#define REGION_SIZE	(4096 + RQ_ENTRIES * sizeof(struct io_uring_zcrx_rqe))
#define CQ_ENTRIES	4096

static void *ring_map(struct zc_ring *ring, int i, size_t size, off_t off)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, off);

	if (p == MAP_FAILED)
		error(1, errno, "mmap of the ring");
	ring->maps[i] = p;
	ring->map_size[i] = size;
	return p;
}

void zc_ring_open(struct zc_ring *ring)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQE32 | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	char *r;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(__NR_io_uring_setup, 8, &p);
	if (ring->fd < 0)
		error(1, errno, "io_uring_setup");
	r = ring_map(ring, 0, p.cq_off.cqes +
		     p.cq_entries * 2 * sizeof(struct io_uring_cqe),
		     IORING_OFF_SQ_RING);
	ring->sqes = ring_map(ring, 1, p.sq_entries * sizeof(*ring->sqes),
			      IORING_OFF_SQES);
	ring->sq_mask = p.sq_entries - 1;
	ring->cq_mask = p.cq_entries - 1;
	ring->sq_tail = (void *)(r + p.sq_off.tail);
	ring->sq_array = (void *)(r + p.sq_off.array);
	ring->cq_head = (void *)(r + p.cq_off.head);
	ring->cq_tail = (void *)(r + p.cq_off.tail);
	ring->cqes = (void *)(r + p.cq_off.cqes);

	ring->region = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE,
			    MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
	if (ring->region == MAP_FAILED)
		error(1, errno, "mmap of the refill ring");
}

void zc_ring_close(struct zc_ring *ring)
{
	int i;

	for (i = 0; i < 2; i++)
		if (ring->maps[i])
			munmap(ring->maps[i], ring->map_size[i]);
	if (ring->region)
		munmap(ring->region, REGION_SIZE);
	if (ring->fd >= 0)
		close(ring->fd);
	memset(ring, 0, sizeof(*ring));
	ring->fd = -1;
}

int zc_register_area(struct zc_ring *ring, int ifindex, int queue,
		     struct io_uring_zcrx_area_reg area)
{
	struct io_uring_region_desc region = {
		.size = REGION_SIZE,
		.flags = IORING_MEM_REGION_TYPE_USER,
		.user_addr = (uintptr_t)ring->region,
	};
	struct zcrx_event_desc event = {
		.user_data = ZC_EVENT_DATA,
		.type_mask = 1U << ZCRX_EVENT_REVOKED,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = ifindex,
		.if_rxq = queue,
		.rq_entries = RQ_ENTRIES,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
		.event_desc = (uintptr_t)&event,
	};

	if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_ZCRX_IFQ,
		    &reg, 1))
		return -errno;
	ring->zcrx_id = reg.zcrx_id;
	ring->rq_entries = reg.rq_entries;
	ring->rq_head = (void *)(ring->region + reg.offsets.head);
	ring->rq_tail = (void *)(ring->region + reg.offsets.tail);
	ring->rqes = (void *)(ring->region + reg.offsets.rqes);
	ring->token = area.rq_area_token;
	return 0;
}

int zc_add_area_at(struct zc_ring *ring, const struct io_uring_zcrx_area_reg *area)
{
	struct zcrx_ctrl ctrl = {
		.zcrx_id = ring->zcrx_id,
		.op = ZCRX_CTRL_ADD_AREA,
		.zc_area.area_ptr = (uintptr_t)area,
	};

	if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_ZCRX_CTRL,
		    &ctrl, 0))
		return -errno;
	return 0;
}

static int do_add_area(struct zc_ring *ring, struct io_uring_zcrx_area_reg area,
		       __u64 *token)
{
	int ret = zc_add_area_at(ring, &area);

	if (!ret)
		*token = area.rq_area_token;
	return ret;
}

static struct io_uring_zcrx_area_reg area_of(__u32 fd, size_t offset, size_t size,
					     __u32 flags)
{
	return (struct io_uring_zcrx_area_reg) {
		.addr = offset,
		.len = size,
		.flags = IORING_ZCRX_AREA_DMABUF | flags,
		.dmabuf_fd = fd,
	};
}

int zc_register(struct zc_ring *ring, int ifindex, int queue, int dmabuf,
		size_t offset, size_t size)
{
	return zc_register_area(ring, ifindex, queue,
				area_of(dmabuf, offset, size, 0));
}

int zc_register_id(struct zc_ring *ring, int ifindex, int queue, __u32 id,
		   size_t offset, size_t size)
{
	return zc_register_area(ring, ifindex, queue,
				area_of(id, offset, size,
					IORING_ZCRX_AREA_DMABUF_ID));
}

int zc_add_area(struct zc_ring *ring, int dmabuf, size_t offset, size_t size,
		__u64 *token)
{
	return do_add_area(ring, area_of(dmabuf, offset, size, 0), token);
}

int zc_add_area_id(struct zc_ring *ring, __u32 id, size_t offset, size_t size,
		   __u64 *token)
{
	return do_add_area(ring, area_of(id, offset, size,
					 IORING_ZCRX_AREA_DMABUF_ID), token);
}

void zc_recv(struct zc_ring *ring, int sock)
{
	unsigned int tail = *ring->sq_tail;
	struct io_uring_sqe *sqe = &ring->sqes[tail & ring->sq_mask];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_RECV_ZC;
	sqe->fd = sock;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->zcrx_ifq_idx = ring->zcrx_id;
	ring->sq_array[tail & ring->sq_mask] = tail & ring->sq_mask;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	ring->to_submit++;
}

struct io_uring_cqe *zc_wait(struct zc_ring *ring, unsigned int ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000,
	};
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	unsigned int head = *ring->cq_head;
	long ret;

	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) ||
	    ring->to_submit) {
		ret = syscall(__NR_io_uring_enter, ring->fd, ring->to_submit, 1,
			      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
			      &arg, sizeof(arg));
		if (ret < 0 && errno != ETIME && errno != EINTR)
			error(1, errno, "io_uring_enter");
		ring->to_submit = 0;
	}
	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &ring->cqes[(head & ring->cq_mask) * 2];
}

void zc_seen(struct zc_ring *ring)
{
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
}

struct io_uring_cqe *zc_wait_event(struct zc_ring *ring, unsigned int ms)
{
	struct io_uring_cqe *cqe;

	while ((cqe = zc_wait(ring, ms))) {
		if (cqe->user_data == ZC_EVENT_DATA)
			return cqe;
		zc_seen(ring);
	}
	return NULL;
}
