// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ring.h"

#define load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)

static int sys_enter(int fd, unsigned int submit, unsigned int wait,
		     unsigned int flags, void *arg, size_t argsz)
{
	int ret = syscall(__NR_io_uring_enter, fd, submit, wait, flags, arg, argsz);

	return ret < 0 ? -errno : ret;
}

int ring_init(struct ring *r, unsigned int entries, unsigned int flags)
{
	struct io_uring_params p = { .flags = flags };
	size_t sq_len, cq_len;
	int err;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(__NR_io_uring_setup, entries, &p);
	if (r->fd < 0) {
		err = -errno;
		r->fd = -1;
		return err;
	}
	if (!(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_EXT_ARG)) {
		err = -EOPNOTSUPP;
		goto err_close;
	}

	r->sqe_shift = !!(flags & IORING_SETUP_SQE128);
	r->cqe_shift = !!(flags & IORING_SETUP_CQE32);
	sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_len = p.cq_off.cqes + (p.cq_entries * sizeof(struct io_uring_cqe) << r->cqe_shift);
	r->rings_len = sq_len > cq_len ? sq_len : cq_len;
	r->rings = mmap(NULL, r->rings_len, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	if (r->rings == MAP_FAILED) {
		err = -errno;
		goto err_close;
	}
	r->sqes_len = p.sq_entries * sizeof(struct io_uring_sqe) << r->sqe_shift;
	r->sqes = mmap(NULL, r->sqes_len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (r->sqes == MAP_FAILED) {
		err = -errno;
		goto err_unmap;
	}

	r->flags = flags;
	r->entries = p.sq_entries;
	r->sq_head = r->rings + p.sq_off.head;
	r->sq_tail = r->rings + p.sq_off.tail;
	r->sq_mask = r->rings + p.sq_off.ring_mask;
	r->sq_flags = r->rings + p.sq_off.flags;
	r->sq_array = r->rings + p.sq_off.array;
	r->cq_head = r->rings + p.cq_off.head;
	r->cq_tail = r->rings + p.cq_off.tail;
	r->cq_mask = r->rings + p.cq_off.ring_mask;
	r->cqes = r->rings + p.cq_off.cqes;
	return 0;

err_unmap:
	munmap(r->rings, r->rings_len);
err_close:
	close(r->fd);
	r->fd = -1;
	return err;
}

void ring_exit(struct ring *r)
{
	if (!r->rings)
		return;
	munmap(r->sqes, r->sqes_len);
	munmap(r->rings, r->rings_len);
	if (r->fd >= 0)
		close(r->fd);
	memset(r, 0, sizeof(*r));
	r->fd = -1;
}

struct io_uring_sqe *ring_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe;
	unsigned int idx;

	if (r->tail - load_acquire(r->sq_head) >= r->entries)
		return NULL;
	idx = r->tail++ & *r->sq_mask;
	r->sq_array[idx] = idx;
	sqe = &r->sqes[idx << r->sqe_shift];
	memset(sqe, 0, sizeof(*sqe) << r->sqe_shift);
	return sqe;
}

struct io_uring_sqe *ring_sqe128(struct ring *r)
{
	struct io_uring_sqe *sqe, *next;

	sqe = ring_sqe(r);
	if (!sqe || r->sqe_shift)
		return sqe;
	/* Pairs don't wrap around */
	next = ring_sqe(r);
	if (next == sqe + 1)
		return sqe;
	r->tail -= next ? 2 : 1;
	return NULL;
}

int ring_submit(struct ring *r, unsigned int wait)
{
	unsigned int flags = wait ? IORING_ENTER_GETEVENTS : 0;
	unsigned int n = r->tail - *r->sq_tail;

	store_release(r->sq_tail, r->tail);
	if (!(r->flags & IORING_SETUP_SQPOLL))
		return sys_enter(r->fd, n, wait, flags, NULL, 0);

	/* Order the new tail before the look at what the poller says */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (load_acquire(r->sq_flags) & IORING_SQ_NEED_WAKEUP)
		flags |= IORING_ENTER_SQ_WAKEUP;
	if (flags) {
		int ret = sys_enter(r->fd, n, wait, flags, NULL, 0);

		if (ret < 0)
			return ret;
	}
	return n;
}

int ring_peek(struct ring *r, struct io_uring_cqe *cqe)
{
	unsigned int head = *r->cq_head;

	if (head == load_acquire(r->cq_tail))
		return -EAGAIN;
	*cqe = r->cqes[(head & *r->cq_mask) << r->cqe_shift];
	store_release(r->cq_head, head + 1);
	return 0;
}

int ring_wait(struct ring *r, struct io_uring_cqe *cqe, unsigned int timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (timeout_ms % 1000) * 1000000L,
	};
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	int ret;

	do {
		if (!ring_peek(r, cqe))
			return 0;
		ret = sys_enter(r->fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
				&arg, sizeof(arg));
	} while (ret >= 0 || ret == -EINTR);
	return ring_peek(r, cqe) ? ret : 0;
}

void ring_prep_rw(struct io_uring_sqe *sqe, int op, int fd, unsigned int slot,
		  __u64 addr, __u32 len, __u64 pos)
{
	sqe->opcode = op;
	sqe->fd = fd;
	sqe->buf_index = slot;
	sqe->addr = addr;
	sqe->len = len;
	sqe->off = pos;
}

int ring_rw(struct ring *r, int op, int fd, unsigned int slot, __u64 addr,
	    __u32 len, __u64 pos)
{
	struct io_uring_sqe *sqe = ring_sqe(r);
	struct io_uring_cqe cqe;
	int ret;

	if (!sqe)
		return -ENOSPC;
	ring_prep_rw(sqe, op, fd, slot, addr, len, pos);
	ret = ring_submit(r, 0);
	if (ret < 0)
		return ret;
	ret = ring_wait(r, &cqe, RING_TIMEOUT_MS);
	return ret ? ret : cqe.res;
}

int ring_register(struct ring *r, unsigned int op, void *arg, unsigned int nr)
{
	int ret = syscall(__NR_io_uring_register, r->fd, op, arg, nr);

	return ret < 0 ? -errno : ret;
}

int ring_sparse(struct ring *r, unsigned int nr)
{
	struct io_uring_rsrc_register rr = {
		.nr = nr,
		.flags = IORING_RSRC_REGISTER_SPARSE,
	};

	return ring_register(r, IORING_REGISTER_BUFFERS2, &rr, sizeof(rr));
}

int ring_update(struct ring *r, unsigned int slot, const struct dio_regbuf_desc *descs,
		unsigned int nr, const __u64 *tags)
{
	struct dio_rsrc_update up = {
		.offset = slot,
		.flags = DIO_UPDATE_EXTENDED,
		.data = (uintptr_t)descs,
		.tags = (uintptr_t)tags,
		.nr = nr,
	};

	return ring_register(r, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
}

static int set_one(struct ring *r, unsigned int slot, const struct dio_regbuf_desc *desc)
{
	int ret = ring_update(r, slot, desc, 1, NULL);

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

int ring_set_dmabuf(struct ring *r, unsigned int slot, int dmabuf_fd, int target_fd)
{
	struct dio_regbuf_desc desc = {
		.type = DIO_TYPE_DMABUF,
		.dmabuf_fd = dmabuf_fd,
		.target_fd = target_fd,
	};

	return set_one(r, slot, &desc);
}

int ring_set_uaddr(struct ring *r, unsigned int slot, void *p, size_t len)
{
	struct dio_regbuf_desc desc = {
		.type = DIO_TYPE_UADDR,
		.uaddr = (uintptr_t)p,
		.size = len,
	};

	return set_one(r, slot, &desc);
}

int ring_set_premap(struct ring *r, unsigned int slot, void *p, size_t len, int target_fd)
{
	struct dio_regbuf_desc desc = {
		.type = DIO_TYPE_UADDR,
		.flags = DIO_PREMAP,
		.uaddr = (uintptr_t)p,
		.size = len,
		.dmabuf_fd = -1,
		.target_fd = target_fd,
	};

	return set_one(r, slot, &desc);
}

int ring_clear(struct ring *r, unsigned int slot)
{
	struct dio_regbuf_desc desc = { .type = DIO_TYPE_EMPTY };

	return set_one(r, slot, &desc);
}

int ring_clone(struct ring *dst, const struct ring *src, unsigned int src_off,
	       unsigned int dst_off, unsigned int nr, unsigned int flags)
{
	struct dio_clone_buffers arg = {
		.src_fd = src->fd,
		.flags = flags,
		.src_off = src_off,
		.dst_off = dst_off,
		.nr = nr,
	};

	return ring_register(dst, DIO_REGISTER_CLONE_BUFFERS, &arg, 1);
}

int ring_unregister(struct ring *r)
{
	return ring_register(r, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

bool ring_supports_dmabuf(void)
{
	struct ring r;
	int ret;

	if (ring_init(&r, 4, 0))
		return false;
	ret = ring_sparse(&r, 1);
	if (!ret)
		ret = ring_set_dmabuf(&r, 0, -1, -1);
	ring_exit(&r);
	return ret == -EBADF;
}
