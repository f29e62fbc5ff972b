// SPDX-License-Identifier: GPL-2.0
/*
 * Registered buffers whose memory is a dma-buf
 */
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include <uapi/linux/io_uring.h>

#include "dmabuf.h"
#include "io_uring.h"
#include "rsrc.h"

/* io_mapped_ubuf->priv of a buffer with IO_REGBUF_F_DMABUF */
struct io_dmabuf {
	struct blk_dmabuf	*db;
	struct file		*target;
};

static void io_release_dmabuf(void *priv)
{
	struct io_dmabuf *idb = priv;

	blk_dmabuf_put(idb->db);
	fput(idb->target);
	kfree(idb);
}

/* Can @target do I/O on dma-bufs at all? */
static int io_dmabuf_check_target(struct file *target)
{
	if (!(target->f_op->fop_flags & FOP_DMABUF))
		return -EOPNOTSUPP;
	if (!(target->f_flags & O_DIRECT))
		return -EINVAL;
	return 0;
}

static struct blk_dmabuf *io_dmabuf_get(int fd)
{
	struct blk_dmabuf *db;
	struct dma_buf *dmabuf;

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	db = blk_dmabuf_create(dmabuf);
	dma_buf_put(dmabuf);
	return db;
}

/*
 * Let @imu be the dma-buf that @desc describes.  On success, imu->release()
 * undoes it; on failure there is nothing to undo.
 */
int io_dmabuf_init_buf(struct io_mapped_ubuf *imu,
		       const struct io_uring_regbuf_desc *desc)
{
	struct io_dmabuf *idb;
	int ret;

	if (desc->flags || desc->uaddr || desc->size)
		return -EINVAL;

	idb = kzalloc_obj(*idb, GFP_KERNEL_ACCOUNT);
	if (!idb)
		return -ENOMEM;

	idb->db = io_dmabuf_get(desc->dmabuf_fd);
	if (IS_ERR(idb->db)) {
		ret = PTR_ERR(idb->db);
		goto err_free;
	}

	ret = -EBADF;
	idb->target = fget(desc->target_fd);
	if (!idb->target)
		goto err_put_dmabuf;
	ret = io_dmabuf_check_target(idb->target);
	if (ret)
		goto err_put_target;
	ret = blk_dmabuf_map_bdev(idb->db, file_bdev(idb->target));
	if (ret)
		goto err_put_target;

	imu->ubuf = 0;
	imu->len = blk_dmabuf_size(idb->db);
	imu->nr_bvecs = 0;
	imu->folio_shift = PAGE_SHIFT;
	imu->flags = IO_REGBUF_F_DMABUF;
	imu->dir = IO_BUF_SOURCE;
	if (blk_dmabuf_dir(idb->db) == DMA_BIDIRECTIONAL)
		imu->dir |= IO_BUF_DEST;
	imu->release = io_release_dmabuf;
	imu->priv = idb;
	refcount_set(&imu->refs, 1);
	return 0;

err_put_target:
	fput(idb->target);
err_put_dmabuf:
	blk_dmabuf_put(idb->db);
err_free:
	kfree(idb);
	return ret;
}

/*
 * Only requests that hand the iterator to a file that knows ITER_DMABUF may
 * have it.  The range has been checked against the buffer.
 */
int io_dmabuf_import(struct io_kiocb *req, struct iov_iter *iter,
		     struct io_mapped_ubuf *imu, u64 offset, size_t len,
		     int ddir)
{
	struct io_dmabuf *idb = imu->priv;

	if (req->opcode != IORING_OP_READ_FIXED &&
	    req->opcode != IORING_OP_WRITE_FIXED)
		return -EOPNOTSUPP;
	if (req->file != idb->target)
		return -EBADF;
	if (!(imu->dir & (1 << ddir)))
		return -EACCES;

	iov_iter_dmabuf(iter, ddir, idb->db, offset, len);
	return 0;
}
