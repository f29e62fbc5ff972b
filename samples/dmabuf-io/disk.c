// SPDX-License-Identifier: GPL-2.0
/*
 * The disk's side of the receiver. The dma-buf is a registered buffer of the
 * ring, and WRITE_FIXED takes an offset into it where there is an address
 * otherwise. The disk fetches the data from there, whatever the memory is, and
 * whichever queue has received it.
 *
 * See Documentation/userspace-api/dma-buf-io.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "receiver.h"
#include "stream.h"

/**
 * disk_open() - open the disk
 * @rx: the receiver
 * @path: a block device; what is on it will be overwritten
 * @depth: how many writes to have under way
 *
 * O_EXCL refuses a disk that is mounted or otherwise in use.
 *
 * Return: 0, or a negative number on failure.
 */
int disk_open(struct receiver *rx, const char *path, unsigned int depth)
{
	struct disk *disk = &rx->disk;
	struct statx stx;
	struct stat st;
	unsigned int block;

	disk->path = path;
	disk->depth = depth;
	disk->tail = &disk->head;
	if (stat(path, &st))
		goto err;
	if (!S_ISBLK(st.st_mode)) {
		errno = ENOTBLK;
		goto err;
	}
	disk->fd = open(path, O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC);
	if (disk->fd < 0)
		goto err;
	if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) ||
	    ioctl(disk->fd, BLKSSZGET, &block))
		goto err;
	disk->block = block;
	if (disk->block > STREAM_ALIGN) {
		fprintf(stderr, "receiver: %s: blocks of %u bytes are too large\n", path, block);
		return -1;
	}

	/* How data has to be aligned in memory. At worst, like a block. */
	disk->mem_align = block;
	if (!statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_mem_align)
		disk->mem_align = stx.stx_dio_mem_align;
	return 0;
err:
	fprintf(stderr, "receiver: %s: %s\n", path, strerror(errno));
	return -1;
}

/**
 * disk_register() - make the dma-buf a registered buffer for this disk
 * @rx: the receiver
 *
 * Return: 0, -EOPNOTSUPP if this kernel or this disk can't do that, or another
 * negative error number.
 */
int disk_register(struct receiver *rx)
{
	struct io_uring_regbuf_desc desc = {
		.type = IO_REGBUF_TYPE_DMABUF,
		.dmabuf_fd = rx->dmabuf,
		.target_fd = rx->disk.fd,
	};
	struct io_uring_rsrc_update2 update = {
		.flags = IORING_RSRC_UPDATE_EXTENDED,
		.data = (uintptr_t)&desc,
		.nr = 1,
	};
	int ret;

	/* An empty table of one buffer, and then the buffer. */
	ret = io_uring_register_buffers_sparse(&rx->ring, 1);
	if (!ret) {
		ret = io_uring_register(rx->ring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE,
					&update, sizeof(update));
		ret = ret == 1 ? 0 : ret ? ret : -EINVAL;
	}
	if (!ret)
		return 0;

	fprintf(stderr, "receiver: dma-buf as a registered buffer for %s: %s\n",
		rx->disk.path, strerror(-ret));
	if (ret != -EINVAL && ret != -EOPNOTSUPP)
		return ret;
	/* A kernel that doesn't know the flag says EINVAL. */
	fprintf(stderr, "receiver: this kernel or this disk can't do it\n");
	return -EOPNOTSUPP;
}

static void disk_write_done(struct receiver *rx, struct op *op,
			    const struct io_uring_cqe *cqe);

static void disk_write(struct receiver *rx, struct direct_write *write)
{
	struct io_uring_sqe *sqe;

	write->op.done = disk_write_done;
	sqe = loop_sqe(rx, &write->op);
	io_uring_prep_write_fixed(sqe, rx->disk.fd, (void *)(uintptr_t)write->addr,
				  write->len, write->pos, 0);
	rx->disk.writes++;
}

static void disk_write_done(struct receiver *rx, struct op *op,
			    const struct io_uring_cqe *cqe)
{
	struct direct_write *write = container_of(op, struct direct_write, op);
	struct disk *disk = &rx->disk;
	int res = cqe->res;

	/* Interrupted before it began: like a write of nothing. */
	if (res == -EINTR) {
		disk_write(rx, write);
		return;
	}
	if (res <= 0) {
		fail(rx, "write of %u bytes at %llu: %s", write->len,
		     write->pos, res ? strerror(-res) : "nothing written");
	} else {
		disk->direct_bytes += res;
		rx->stored += res;
		if ((__u32)res < write->len) {
			/* A device may do less than it was asked to. */
			write->pos += res;
			write->addr += res;
			write->len -= res;
			disk->partial++;
			disk_write(rx, write);
			return;
		}
	}

	disk->inflight--;
	receiver_release(rx, container_of(write, struct piece, write));
}

/*
 * Cut a piece: whole blocks of it that lie well in memory are written from where
 * they are. If all goes as it should that is all of it, else bounce.c gets the
 * ends, or everything if memory is badly aligned.
 */
static void disk_issue(struct receiver *rx, struct piece *piece)
{
	__u32 block = rx->disk.block;
	__u32 head, body, left = piece->len;
	__u64 pos = piece->pos, addr = piece->addr;

	/* so that it does not go away between the parts */
	piece->refs = 1;

	head = -pos & (block - 1);
	if (head > left)
		head = left;
	if (head) {
		bounce_add(rx, piece, pos, addr, head);
		pos += head;
		addr += head;
		left -= head;
	}

	body = left & ~(block - 1);
	if (body && !(addr & (rx->disk.mem_align - 1))) {
		piece->write.pos = pos;
		piece->write.addr = addr;
		piece->write.len = body;
		piece->refs++;
		rx->disk.inflight++;
		disk_write(rx, &piece->write);
		pos += body;
		addr += body;
		left -= body;
	}

	while (left) {
		__u32 len = left < block ? left : block;

		bounce_add(rx, piece, pos, addr, len);
		pos += len;
		addr += len;
		left -= len;
	}

	receiver_release(rx, piece);
}

/**
 * disk_store() - write a piece of the stream to the disk
 * @rx: the receiver
 * @piece: released when it is done, or won't be done because of an error
 */
void disk_store(struct receiver *rx, struct piece *piece)
{
	piece->next = NULL;
	*rx->disk.tail = piece;
	rx->disk.tail = &piece->next;
}

/* Issue what waits, as far as the depth allows. */
void disk_kick(struct receiver *rx)
{
	struct disk *disk = &rx->disk;
	struct piece *piece;

	while (disk->head) {
		if (!receiver_stopping(rx) && disk->inflight >= disk->depth)
			return;
		piece = disk->head;
		disk->head = piece->next;
		if (!disk->head)
			disk->tail = &disk->head;

		if (!receiver_stopping(rx) && piece->pos + piece->len > disk->size)
			fail(rx, "%s is full: the stream does not fit into %llu bytes",
			     disk->path, disk->size);
		if (receiver_stopping(rx)) {
			piece->refs = 1;
			receiver_release(rx, piece);
		} else {
			disk_issue(rx, piece);
		}
	}
}

void disk_exit(struct receiver *rx)
{
	if (rx->disk.fd >= 0)
		close(rx->disk.fd);
}
