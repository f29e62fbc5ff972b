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
#include <linux/iov_dmabuf.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include <uapi/linux/io_uring.h>

#include "dmabuf.h"
#include "io_uring.h"
#include "rsrc.h"

/* io_mapped_ubuf->priv of a buffer with IO_REGBUF_F_DMABUF */
struct io_dmabuf {
	struct blk_dmabuf	*db;
	struct file		*target;	/* NULL: any file */
};

static void io_release_dmabuf(void *priv)
{
	struct io_dmabuf *idb = priv;

	blk_dmabuf_put(idb->db);
	if (idb->target)
		fput(idb->target);
	kfree(idb);
}

/*
 * The file that the I/O will be for, or NULL if user space doesn't say.  Attaches
 * and maps for its block device now, so that what can't work fails here.
 */
struct file *io_dmabuf_target(struct blk_dmabuf *db, int fd)
{
	struct file *file;
	int ret;

	if (fd == -1)
		return NULL;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	ret = -EOPNOTSUPP;
	if (!(file->f_op->fop_flags & FOP_DMABUF))
		goto err_fput;
	if (!S_ISCHR(file_inode(file)->i_mode)) {
		ret = -EINVAL;
		if (!(file->f_flags & O_DIRECT))
			goto err_fput;
		ret = blk_dmabuf_map_file(db, file);
		if (ret)
			goto err_fput;
	}
	return file;

err_fput:
	fput(file);
	return ERR_PTR(ret);
}

/* What devices may do: all that the file descriptor allows, unless it's less. */
static enum dma_data_direction io_dmabuf_dir(const struct dma_buf *dmabuf,
					     u32 flags)
{
	if (flags & IO_REGBUF_SOURCE_ONLY)
		return DMA_TO_DEVICE;
	if (flags & IO_REGBUF_DEST_ONLY)
		return DMA_FROM_DEVICE;
	if (!(dmabuf->file->f_mode & FMODE_WRITE))
		return DMA_TO_DEVICE;
	if (!(dmabuf->file->f_mode & FMODE_READ))
		return DMA_FROM_DEVICE;
	return DMA_BIDIRECTIONAL;
}

static struct blk_dmabuf *
io_dmabuf_get(const struct io_uring_regbuf_desc *desc)
{
	struct blk_dmabuf *db;
	struct dma_buf *dmabuf;

	dmabuf = dma_buf_get(desc->dmabuf_fd);
	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	db = blk_dmabuf_create(dmabuf, io_dmabuf_dir(dmabuf, desc->flags));
	dma_buf_put(dmabuf);
	return db;
}

/*
 * Which part of the dma-buf is registered.  Requests address it by the offset
 * into the dma-buf in any case.
 */
static int io_dmabuf_set_range(struct io_mapped_ubuf *imu,
			       const struct io_uring_regbuf_desc *desc,
			       u64 total)
{
	u64 end;

	if (!desc->size) {
		imu->ubuf = 0;
		imu->len = total;
		return 0;
	}
	if (check_add_overflow(desc->uaddr, desc->size, &end) || end > total)
		return -ERANGE;
	imu->ubuf = desc->uaddr;
	imu->len = desc->size;
	return 0;
}

/*
 * Let @imu be the dma-buf that @desc describes.  On success, imu->release()
 * undoes it; on failure there is nothing to undo.
 */
int io_dmabuf_init_buf(struct io_mapped_ubuf *imu,
		       const struct io_uring_regbuf_desc *desc)
{
	enum dma_data_direction dir;
	struct io_dmabuf *idb;
	int ret;

	if (!PAGE_ALIGNED(desc->uaddr) || !PAGE_ALIGNED(desc->size) ||
	    (desc->uaddr && !desc->size))
		return -EINVAL;
	if ((desc->flags & IO_REGBUF_SOURCE_ONLY) &&
	    (desc->flags & IO_REGBUF_DEST_ONLY))
		return -EINVAL;

	idb = kzalloc_obj(*idb, GFP_KERNEL_ACCOUNT);
	if (!idb)
		return -ENOMEM;

	idb->db = io_dmabuf_get(desc);
	if (IS_ERR(idb->db)) {
		ret = PTR_ERR(idb->db);
		goto err_free;
	}
	ret = io_dmabuf_set_range(imu, desc, blk_dmabuf_size(idb->db));
	if (ret)
		goto err_put_dmabuf;
	idb->target = io_dmabuf_target(idb->db, desc->target_fd);
	if (IS_ERR(idb->target)) {
		ret = PTR_ERR(idb->target);
		goto err_put_dmabuf;
	}

	dir = blk_dmabuf_dir(idb->db);
	imu->dir = 0;
	if (dir != DMA_FROM_DEVICE)
		imu->dir |= IO_BUF_SOURCE;
	if (dir != DMA_TO_DEVICE)
		imu->dir |= IO_BUF_DEST;
	imu->nr_bvecs = 0;
	imu->folio_shift = PAGE_SHIFT;
	imu->flags = IO_REGBUF_F_DMABUF;
	imu->release = io_release_dmabuf;
	imu->priv = idb;
	refcount_set(&imu->refs, 1);
	return 0;

err_put_dmabuf:
	blk_dmabuf_put(idb->db);
err_free:
	kfree(idb);
	return ret;
}

/*
 * Only requests that hand the iterator to a file that knows ITER_DMABUF may
 * have it.
 */
static int io_dmabuf_check_req(struct io_kiocb *req,
			       const struct io_mapped_ubuf *imu, int ddir)
{
	const struct io_dmabuf *idb = imu->priv;
	struct file *file = req->file;

	switch (req->opcode) {
	case IORING_OP_READ_FIXED:
	case IORING_OP_WRITE_FIXED:
	case IORING_OP_READV_FIXED:
	case IORING_OP_WRITEV_FIXED:
	case IORING_OP_URING_CMD:
	case IORING_OP_URING_CMD128:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!idb->target && !(file->f_op->fop_flags & FOP_DMABUF))
		return -EOPNOTSUPP;
	if (idb->target && file != idb->target)
		return -EBADF;
	return imu->dir & (1 << ddir) ? 0 : -EACCES;
}

/* The range has been checked against the buffer. */
int io_dmabuf_import(struct io_kiocb *req, struct iov_iter *iter,
		     struct io_mapped_ubuf *imu, u64 offset, size_t len,
		     int ddir)
{
	struct io_dmabuf *idb = imu->priv;
	int ret;

	ret = io_dmabuf_check_req(req, imu, ddir);
	if (ret)
		return ret;

	iov_iter_dmabuf(iter, ddir, idb->db, offset, len);
	return 0;
}

/*
 * The same for @nr parts of @len bytes together; @segs stay there until the
 * request has completed.
 */
int io_dmabuf_import_vec(struct io_kiocb *req, struct iov_iter *iter,
			 struct io_mapped_ubuf *imu,
			 const struct iov_dmabuf_seg *segs, unsigned int nr,
			 size_t len, int ddir)
{
	struct io_dmabuf *idb = imu->priv;
	int ret;

	ret = io_dmabuf_check_req(req, imu, ddir);
	if (ret)
		return ret;

	if (nr == 1)
		iov_iter_dmabuf(iter, ddir, idb->db, segs->offset, len);
	else
		iov_iter_dmabuf_vec(iter, ddir, idb->db, segs, len);
	return 0;
}
