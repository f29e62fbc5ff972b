// SPDX-License-Identifier: GPL-2.0
/*
 * Registered buffers of user memory that is mapped for its devices once
 *
 * The pinned pages are exported as a dma-buf, which nobody else ever sees, and
 * which the block layer imports like any other.  The buffer remains what it is:
 * requests that can't use the mapping use the pages.
 */
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include <uapi/linux/io_uring.h>

#include "dmabuf.h"
#include "io_uring.h"
#include "premap.h"
#include "rsrc.h"

/**
 * struct io_premap - io_mapped_ubuf->priv of a buffer with IO_REGBUF_F_PREMAP
 * @imu: the buffer; it has the pages
 * @dmabuf: those pages; freeing it frees this
 * @db: @dmabuf for the block layer
 * @target: the block device that uses the mapping, NULL for any
 * @start: where in @dmabuf the buffer starts, less than a page
 * @mapped: number of devices that have a mapping, under the reservation lock
 * @unmapped: to wait for 0
 */
struct io_premap {
	struct io_mapped_ubuf	*imu;
	struct dma_buf		*dmabuf;
	struct blk_dmabuf	*db;
	struct file		*target;
	size_t			start;
	unsigned int		mapped;
	wait_queue_head_t	unmapped;
};

/* Whole pages: this is what an IOMMU maps in any case. */
static void io_premap_fill(struct sg_table *sgt,
			   const struct io_mapped_ubuf *imu)
{
	const struct bio_vec *bv = imu->bvec;
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_sg(sgt, sg, i) {
		unsigned int offset = round_down(bv->bv_offset, PAGE_SIZE);

		sg_set_page(sg, bv->bv_page,
			    PAGE_ALIGN(bv->bv_offset + bv->bv_len) - offset,
			    offset);
		bv++;
	}
}

/*
 * The CPU goes on using the memory and nothing is synchronised, so a mapping that
 * needs a bounce buffer or cache maintenance is none.
 */
static struct sg_table *io_premap_map(struct dma_buf_attachment *attach,
				      enum dma_data_direction dir)
{
	struct io_premap *pm = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	sgt = kzalloc_obj(*sgt, GFP_KERNEL_ACCOUNT);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, pm->imu->nr_bvecs, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free;
	io_premap_fill(sgt, pm->imu);
	ret = dma_map_sgtable(attach->dev, sgt, dir, DMA_ATTR_REQUIRE_COHERENT);
	if (ret) {
		if (ret == -EIO)
			ret = -EOPNOTSUPP;
		goto err_free_table;
	}
	pm->mapped++;
	return sgt;

err_free_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void io_premap_unmap(struct dma_buf_attachment *attach,
			    struct sg_table *sgt, enum dma_data_direction dir)
{
	struct io_premap *pm = attach->dmabuf->priv;

	dma_unmap_sgtable(attach->dev, sgt, dir, DMA_ATTR_REQUIRE_COHERENT);
	sg_free_table(sgt);
	kfree(sgt);
	pm->mapped--;
	wake_up_all(&pm->unmapped);
}

static void io_premap_free(struct dma_buf *dmabuf)
{
	kfree(dmabuf->priv);
}

static const struct dma_buf_ops io_premap_ops = {
	.map_dma_buf	= io_premap_map,
	.unmap_dma_buf	= io_premap_unmap,
	.release	= io_premap_free,
};

/*
 * Let the devices unmap a buffer that is about to be freed and that nobody else
 * has.  Each takes an RCU grace period, so that many are better started together.
 */
void io_premap_start_release(struct io_mapped_ubuf *imu)
{
	struct io_premap *pm = imu->priv;

	if (!(imu->flags & IO_REGBUF_F_PREMAP) || refcount_read(&imu->refs) > 1)
		return;
	blk_dmabuf_put(pm->db);
	pm->db = NULL;
}

/*
 * There are no requests any more, so the devices unmap in bounded time.  The
 * pages may be unpinned only then.
 */
static void io_premap_release(void *priv)
{
	struct io_premap *pm = priv;

	if (pm->db)
		blk_dmabuf_put(pm->db);
	wait_event(pm->unmapped, !READ_ONCE(pm->mapped));
	if (pm->target)
		fput(pm->target);
	io_release_ubuf(pm->imu);
	dma_buf_put(pm->dmabuf);
}

static int io_premap_export(struct io_premap *pm)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp);

	exp.exp_name = "io_uring";
	exp.ops = &io_premap_ops;
	exp.size = PAGE_ALIGN(pm->start + pm->imu->len);
	exp.flags = O_RDWR;
	exp.priv = pm;
	pm->dmabuf = dma_buf_export(&exp);
	return PTR_ERR_OR_ZERO(pm->dmabuf);
}

/*
 * Let the registered buffer @imu be mapped for @target_fd, a block device, now, or
 * for any block device on first use if that is -1.  On failure @imu is what it
 * was.
 */
int io_premap_init(struct io_mapped_ubuf *imu, int target_fd)
{
	struct io_premap *pm;
	struct file *target;
	int ret;

	pm = kzalloc_obj(*pm, GFP_KERNEL_ACCOUNT);
	if (!pm)
		return -ENOMEM;
	pm->imu = imu;
	pm->start = offset_in_page(imu->ubuf);
	init_waitqueue_head(&pm->unmapped);
	ret = io_premap_export(pm);
	if (ret) {
		kfree(pm);
		return ret;
	}

	pm->db = blk_dmabuf_create(pm->dmabuf, DMA_BIDIRECTIONAL);
	if (IS_ERR(pm->db)) {
		ret = PTR_ERR(pm->db);
		goto err_put_dmabuf;
	}
	target = io_dmabuf_target(pm->db, target_fd);
	if (IS_ERR(target)) {
		ret = PTR_ERR(target);
		goto err_put_db;
	}
	ret = -EOPNOTSUPP;
	if (target && !S_ISBLK(file_inode(target)->i_mode))
		goto err_put_target;
	pm->target = target;

	imu->flags |= IO_REGBUF_F_PREMAP;
	imu->release = io_premap_release;
	imu->priv = pm;
	return 0;

err_put_target:
	fput(target);
err_put_db:
	blk_dmabuf_put(pm->db);
	wait_event(pm->unmapped, !READ_ONCE(pm->mapped));
err_put_dmabuf:
	dma_buf_put(pm->dmabuf);
	return ret;
}

/*
 * Use the mapping, if the request can.  Files other than block devices can't: they
 * may have to look at the data.
 */
bool io_premap_import(struct io_kiocb *req, struct iov_iter *iter,
		      struct io_mapped_ubuf *imu, u64 buf_addr, size_t len,
		      int ddir)
{
	struct io_premap *pm = imu->priv;
	struct file *file = req->file;

	if (req->opcode != IORING_OP_READ_FIXED &&
	    req->opcode != IORING_OP_WRITE_FIXED)
		return false;
	if (pm->target && file != pm->target)
		return false;
	if (!S_ISBLK(file_inode(file)->i_mode) ||
	    !(file->f_op->fop_flags & FOP_DMABUF) ||
	    !(file->f_flags & O_DIRECT) || !bdev_dmabuf(file_bdev(file)))
		return false;

	iov_iter_dmabuf(iter, ddir, pm->db, pm->start + buf_addr - imu->ubuf,
			len);
	return true;
}
