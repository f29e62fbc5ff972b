// SPDX-License-Identifier: GPL-2.0
/*
 * Pieces that are no whole blocks of the disk.
 *
 * TCP is a stream of bytes, a disk wants blocks. With segments that are whole
 * blocks nothing of this file is ever used, but there is no way to make sure of
 * that: a closing window, a path with a small MTU or a sender that doesn't care
 * make odd ones.
 *
 * Then the block has to be put together by the CPU, which can't look into the
 * dma-buf. But the disk can: it writes the blocks of memory around the fragment
 * to a scratch place at its end, and the CPU reads them from there. That is slow,
 * works with any memory, and is counted.
 *
 *   dma-buf --WRITE_FIXED--> scratch --READ--> memory --copy--> block --WRITE--> disk
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "receiver.h"
#include "stream.h"

#define BOUNCE_SLOTS	64

/* A block of the disk that comes in fragments */
struct block {
	struct op	op;
	struct block	*next;
	__u64		pos;
	__u32		filled;
	char		*data;
};

/* Some bytes in the dma-buf, all of the same block */
struct fragment {
	struct fragment	*next;
	struct piece	*piece;
	struct block	*block;
	__u64		addr;
	__u32		offset;		/* in the block */
	__u32		len;
};

/* A place on the disk and one in memory for fragments on their way */
struct bounce_slot {
	struct op	store;
	struct op	fetch;
	struct bounce_slot *next;
	struct fragment	*fragment;
	__u64		pos;		/* on the disk */
	char		*data;
};

/* Two blocks: a fragment is not longer than one but begins anywhere. */
static __u32 slot_size(const struct receiver *rx)
{
	return 2 * rx->disk.block;
}

static void *bounce_alloc(size_t size)
{
	void *mem;

	/* for O_DIRECT */
	if (posix_memalign(&mem, STREAM_ALIGN, size))
		return NULL;
	memset(mem, 0, size);
	return mem;
}

static void slot_stored(struct receiver *rx, struct op *op,
			const struct io_uring_cqe *cqe);
static void slot_fetched(struct receiver *rx, struct op *op,
			 const struct io_uring_cqe *cqe);

/**
 * bounce_init() - set aside the scratch place at the end of the disk
 * @rx: the receiver, its disk is open
 *
 * Return: 0, or a negative number on failure.
 */
int bounce_init(struct receiver *rx)
{
	struct bounce *bounce = &rx->bounce;
	__u64 need = (__u64)BOUNCE_SLOTS * slot_size(rx);
	int i;

	bounce->tail = &bounce->head;
	if (rx->disk.size < 2 * need) {
		fprintf(stderr, "receiver: %s is too small\n", rx->disk.path);
		return -1;
	}
	rx->disk.size -= need;
	bounce->scratch = rx->disk.size;

	bounce->slots = calloc(BOUNCE_SLOTS, sizeof(*bounce->slots));
	if (!bounce->slots)
		return -1;
	for (i = 0; i < BOUNCE_SLOTS; i++) {
		struct bounce_slot *slot = &bounce->slots[i];

		slot->store.done = slot_stored;
		slot->fetch.done = slot_fetched;
		slot->pos = bounce->scratch + (__u64)i * slot_size(rx);
		slot->data = bounce_alloc(slot_size(rx));
		if (!slot->data)
			return -1;
		slot->next = bounce->free;
		bounce->free = slot;
	}
	return 0;
}

/* The part of the dma-buf around a fragment that can be written. */
static __u64 span_start(const struct receiver *rx, const struct fragment *frag)
{
	return frag->addr & ~(__u64)(rx->disk.block - 1);
}

static __u32 span_len(const struct receiver *rx, const struct fragment *frag)
{
	__u64 end = frag->addr + frag->len;

	end = (end + rx->disk.block - 1) & ~(__u64)(rx->disk.block - 1);
	return end - span_start(rx, frag);
}

static void slot_start(struct receiver *rx, struct bounce_slot *slot,
		       struct fragment *frag)
{
	__u32 len = span_len(rx, frag);
	struct io_uring_sqe *sqe;

	slot->fragment = frag;
	/* The second one is only done if the first one was, and after it. */
	loop_reserve(rx, 2);
	sqe = loop_sqe(rx, &slot->store);
	io_uring_prep_write_fixed(sqe, rx->disk.fd,
				  (void *)(uintptr_t)span_start(rx, frag), len, slot->pos, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = loop_sqe(rx, &slot->fetch);
	io_uring_prep_read(sqe, rx->disk.fd, slot->data, len, slot->pos);
}

static void fragment_done(struct receiver *rx, struct fragment *frag)
{
	rx->bounce.busy--;
	receiver_release(rx, frag->piece);
	free(frag);
}

static void bounce_next(struct receiver *rx)
{
	struct bounce *bounce = &rx->bounce;
	struct bounce_slot *slot;
	struct fragment *frag;

	while (bounce->head && bounce->free) {
		frag = bounce->head;
		bounce->head = frag->next;
		if (!bounce->head)
			bounce->tail = &bounce->head;
		if (receiver_stopping(rx)) {
			fragment_done(rx, frag);
			continue;
		}
		slot = bounce->free;
		bounce->free = slot->next;
		slot_start(rx, slot, frag);
	}
}

static void block_free(struct block *block)
{
	free(block->data);
	free(block);
}

static void block_written(struct receiver *rx, struct op *op,
			  const struct io_uring_cqe *cqe)
{
	struct block *block = container_of(op, struct block, op);

	if (cqe->res == (int)rx->disk.block)
		rx->stored += cqe->res;
	else
		fail(rx, "write of a block at %llu: %s", block->pos,
		     cqe->res < 0 ? strerror(-cqe->res) : "incomplete");
	rx->bounce.busy--;
	block_free(block);
}

static void block_complete(struct receiver *rx, struct block *block)
{
	struct block **link = &rx->bounce.open;

	while (*link != block)
		link = &(*link)->next;
	*link = block->next;
	rx->bounce.busy++;
	block->op.done = block_written;
	io_uring_prep_write(loop_sqe(rx, &block->op), rx->disk.fd, block->data,
			    rx->disk.block, block->pos);
}

static void slot_stored(struct receiver *rx, struct op *op,
			const struct io_uring_cqe *cqe)
{
	struct bounce_slot *slot = container_of(op, struct bounce_slot, store);

	/* Whether it was all, too: only then the read went on. */
	if (cqe->res != (int)span_len(rx, slot->fragment))
		fail(rx, "write to scratch blocks: %s",
		     cqe->res < 0 ? strerror(-cqe->res) : "incomplete");
}

static void slot_fetched(struct receiver *rx, struct op *op,
			 const struct io_uring_cqe *cqe)
{
	struct bounce_slot *slot = container_of(op, struct bounce_slot, fetch);
	struct fragment *frag = slot->fragment;
	struct block *block = frag->block;
	struct bounce *bounce = &rx->bounce;

	if (cqe->res == (int)span_len(rx, frag)) {
		memcpy(block->data + frag->offset,
		       slot->data + (frag->addr - span_start(rx, frag)), frag->len);
		bounce->bytes += frag->len;
		block->filled += frag->len;
		if (block->filled == rx->disk.block)
			block_complete(rx, block);
	} else {
		fail(rx, "read of scratch blocks: %s",
		     cqe->res < 0 ? strerror(-cqe->res) : "incomplete");
	}

	slot->next = bounce->free;
	bounce->free = slot;
	fragment_done(rx, frag);
	bounce_next(rx);
}

static struct block *block_get(struct receiver *rx, __u64 pos)
{
	struct block *block;

	for (block = rx->bounce.open; block; block = block->next)
		if (block->pos == pos)
			return block;

	block = calloc(1, sizeof(*block));
	if (!block)
		return NULL;
	block->data = bounce_alloc(rx->disk.block);
	if (!block->data) {
		free(block);
		return NULL;
	}
	block->pos = pos;
	block->next = rx->bounce.open;
	rx->bounce.open = block;
	return block;
}

/**
 * bounce_add() - store bytes that can't be written from where they are
 * @rx: the receiver
 * @piece: to be released when it is done; a reference is taken
 * @pos: where they belong
 * @addr: where they are in the dma-buf
 * @len: how many; all in one block of the disk
 */
void bounce_add(struct receiver *rx, struct piece *piece, __u64 pos,
		__u64 addr, __u32 len)
{
	__u64 block_pos = pos & ~(__u64)(rx->disk.block - 1);
	struct bounce *bounce = &rx->bounce;
	struct fragment *frag;

	frag = calloc(1, sizeof(*frag));
	if (frag)
		frag->block = block_get(rx, block_pos);
	if (!frag || !frag->block) {
		fail(rx, "out of memory");
		free(frag);
		return;
	}
	frag->piece = piece;
	frag->addr = addr;
	frag->offset = pos - block_pos;
	frag->len = len;

	piece->refs++;
	bounce->fragments++;
	bounce->busy++;
	*bounce->tail = frag;
	bounce->tail = &frag->next;
	bounce_next(rx);
}

void bounce_exit(struct receiver *rx)
{
	struct bounce *bounce = &rx->bounce;
	struct block *block;
	int i;

	/* Blocks that stayed incomplete since the stream broke off. */
	while ((block = bounce->open)) {
		bounce->open = block->next;
		block_free(block);
	}
	for (i = 0; bounce->slots && i < BOUNCE_SLOTS; i++)
		free(bounce->slots[i].data);
	free(bounce->slots);
}
