/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of the receiver:
 *
 *   receiver.c	what happens when
 *   options.c	the command line
 *   report.c	what is said at the end
 *   loop.c	the io_uring: submit requests, dispatch completions
 *   area.c	allocates the dma-buf
 *   conn.c	the connections, and how much is received at a time
 *   zcrx.c	the NIC's side: receive into the dma-buf, give buffers back
 *   disk.c	the disk's side: write from the dma-buf
 *   bounce.c	the same for pieces that are no whole disk blocks
 */
#ifndef RECEIVER_H
#define RECEIVER_H

/* Before liburing.h, whose own copy of it may be older than the kernel. */
#include <linux/io_uring.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "stream.h"

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

struct receiver;
struct conn;

/*
 * Every request has one of these, usually inside of something bigger, and its
 * address is the request's user_data. The big half of @cqe is only valid for
 * zcrx, which is the one who needs 32 byte CQEs.
 */
struct op {
	void (*done)(struct receiver *rx, struct op *op,
		     const struct io_uring_cqe *cqe);
};

/* For a request that somebody waits for. */
struct wait_op {
	struct op	op;
	bool		done;
	int		res;
};

/* A part of a piece that can go to the disk as it is. */
struct direct_write {
	struct op	op;
	__u64		pos;
	__u64		addr;
	__u32		len;
};

/*
 * A piece of the stream, where the NIC has put it: part of one receive buffer.
 * The buffer goes back to the NIC when the last piece in it has been released.
 */
struct piece {
	__u64		pos;		/* in the stream, and so on the disk */
	__u64		addr;		/* in the dma-buf */
	__u64		zcrx_off;	/* the same in the words of zcrx */
	__u32		len;
	struct conn	*conn;		/* that it came on */
	unsigned int	refs;		/* writes that are still to be done */
	struct direct_write write;
	struct piece	*next;		/* waiting for the disk, or free */
};

/* A receive queue of the NIC and the part of the dma-buf that it receives into. */
struct zcrx {
	struct op	recv;
	struct op	event;
	unsigned int	queue;
	__u64		area_start;	/* in the dma-buf */
	__u64		area_size;
	__u32		id;
	__u32		buf_size;
	__u32		*pieces_in;	/* each buffer: those that we have of it */
	__u64		held;		/* buffers of which we have a piece */
	bool		armed;		/* a receive request is under way */
	__u64		armed_left;	/* bytes that it may still deliver */
	bool		alloc_fail;	/* an event to be armed again */

	/* refill ring: we write entries and tail, the kernel writes head */
	void		*region;
	size_t		region_size;
	__u32		*rq_head;
	__u32		*rq_tail;
	struct io_uring_zcrx_rqe *rqes;
	__u32		rq_entries;
	const struct zcrx_stats *kstats;

	__u64		pieces;
	__u64		returned;
	__u64		flushes;
	__u64		rearms;
	__u64		enospc;
	__u64		alloc_fails;
};

/* A TCP connection, and the queue that it arrives on. */
struct conn {
	unsigned int	nr;
	int		listener;
	int		sock;
	__u64		received;
	bool		eof;
	bool		cancelled;
	struct zcrx	zcrx;
};

struct disk {
	int		fd;
	const char	*path;
	__u64		size;		/* usable, what is behind is bounce.c's */
	__u32		block;		/* unit of offset and length on the disk */
	__u32		mem_align;	/* alignment in memory */
	unsigned int	depth;		/* most writes at a time */
	unsigned int	inflight;
	struct piece	*head, **tail;	/* waiting */

	__u64		writes;
	__u64		partial;
	__u64		direct_bytes;
};

struct bounce_slot;
struct block;
struct fragment;

struct bounce {
	struct bounce_slot *slots;
	struct bounce_slot *free;
	struct block	*open;		/* incomplete blocks, newest first */
	struct fragment	*head, **tail;	/* waiting for a slot */
	__u64		scratch;	/* on the disk */
	unsigned int	busy;		/* fragments and writes of blocks */

	__u64		bytes;		/* copied by the CPU */
	__u64		fragments;
};

struct receiver {
	struct io_uring	ring;
	struct conn	conns[STREAM_CONNS_MAX];
	unsigned int	nr_conns;
	struct disk	disk;
	struct bounce	bounce;

	int		dmabuf;
	__u64		dmabuf_size;

	__u64		received;
	__u64		outstanding;	/* received, and not yet released */
	__u64		stored;		/* the disk has it, at least in its cache */
	__u64		limit;		/* for what each connection has outstanding */
	bool		failed;
	int		signal;
	struct piece	*free_pieces;
};

/* receiver.c */
void fail(struct receiver *rx, const char *fmt, ...);
void receiver_piece(struct receiver *rx, struct conn *conn, __u64 addr,
		    __u64 zcrx_off, __u32 len);
void receiver_release(struct receiver *rx, struct piece *piece);

static inline const struct conn *conns_end(const struct receiver *rx)
{
	return rx->conns + rx->nr_conns;
}

static inline bool receiver_stopping(const struct receiver *rx)
{
	return rx->failed || rx->signal;
}

/* loop.c */
int loop_init(struct receiver *rx, unsigned int cq_entries);
struct io_uring_sqe *loop_sqe(struct receiver *rx, struct op *op);
void loop_reserve(struct receiver *rx, unsigned int nr);
int loop_run(struct receiver *rx, unsigned int timeout_ms);
void wait_done(struct receiver *rx, struct op *op, const struct io_uring_cqe *cqe);
void loop_exit(struct receiver *rx);

/* area.c */
int area_alloc(const char *kind, __u64 *size);

/* conn.c */
int conns_init(struct receiver *rx, unsigned int nr, unsigned int queue);
bool conns_accept(struct receiver *rx, __u16 port);
void conn_receive(struct receiver *rx, struct conn *conn);
void conns_exit(struct receiver *rx);

/* zcrx.c */
int zcrx_init(struct receiver *rx, struct zcrx *zcrx, const char *ifname,
	      __u32 buf_size, __u32 rq_entries);
void zcrx_recv(struct receiver *rx, struct conn *conn, __u32 len);
void zcrx_cancel(struct receiver *rx, struct zcrx *zcrx);
void zcrx_return(struct receiver *rx, struct zcrx *zcrx, __u64 off);
void zcrx_tick(struct receiver *rx, struct zcrx *zcrx);
void zcrx_exit(struct zcrx *zcrx);

/* disk.c */
int disk_open(struct receiver *rx, const char *path, unsigned int depth);
int disk_register(struct receiver *rx);
void disk_store(struct receiver *rx, struct piece *piece);
void disk_kick(struct receiver *rx);
void disk_exit(struct receiver *rx);

/* bounce.c */
int bounce_init(struct receiver *rx);
void bounce_add(struct receiver *rx, struct piece *piece, __u64 pos,
		__u64 addr, __u32 len);
void bounce_exit(struct receiver *rx);

#endif
