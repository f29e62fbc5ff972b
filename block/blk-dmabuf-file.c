// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs and direct I/O on files: what can be told early, and what the CPU has
 * to do
 */
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/iosys-map.h>
#include <linux/pagemap.h>
#include <linux/stat.h>

#include "blk-dmabuf.h"

/* Would direct I/O be direct, or go through the page cache or the CPU? */
static int check_regular(struct file *file)
{
	struct inode *inode = file_inode(file);
	struct kstat stat = {};
	int ret;

	if (IS_DAX(inode) || IS_ENCRYPTED(inode) ||
	    mapping_stable_writes(file->f_mapping))
		return -EOPNOTSUPP;
	ret = vfs_getattr_nosec(&file->f_path, &stat, STATX_DIOALIGN, 0);
	if (ret)
		return ret;
	if ((stat.result_mask & STATX_DIOALIGN) && !stat.dio_offset_align)
		return -EOPNOTSUPP;
	return 0;
}

/**
 * blk_dmabuf_map_file - prepare a dma-buf for I/O on a file
 * @db: the dma-buf
 * @file: a block device, or a regular file with FOP_DMABUF
 *
 * Like blk_dmabuf_map_bdev(), for the device that the file is on.  Some files of
 * a file system may be on another device, and the state of a file can change, so
 * I/O may be refused all the same.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0, or -EOPNOTSUPP if I/O on the file or on its device can't be done
 * with dma-bufs; see blk_dmabuf_map_bdev() for more.
 */
int blk_dmabuf_map_file(struct blk_dmabuf *db, struct file *file)
{
	struct inode *inode = file_inode(file);
	struct block_device *bdev;
	int ret;

	if (S_ISBLK(inode->i_mode))
		return blk_dmabuf_map_bdev(db, file_bdev(file));

	bdev = inode->i_sb->s_bdev;
	if (!S_ISREG(inode->i_mode) || !bdev)
		return -EOPNOTSUPP;
	ret = check_regular(file);
	if (ret)
		return ret;
	return blk_dmabuf_map_bdev(db, bdev);
}

/**
 * blk_dmabuf_zero - let the CPU zero a part of a dma-buf
 * @db: the dma-buf
 * @offset: where to start, in bytes
 * @len: the number of bytes, within the dma-buf
 *
 * For what can be read from a file without reading from a device.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0; -EOPNOTSUPP if the exporter gives the kernel no access to the
 * memory; or what the exporter returned.  Nothing has been zeroed then.
 */
int blk_dmabuf_zero(const struct blk_dmabuf *db, u64 offset, size_t len)
{
	struct dma_buf *dmabuf = db->dmabuf;
	struct iosys_map map;
	int ret;

	if (!dmabuf->ops->vmap)
		return -EOPNOTSUPP;
	/* In this order: once mapped, it stays where the exporter may be moving it. */
	ret = dma_buf_vmap_unlocked(dmabuf, &map);
	if (ret)
		return ret;
	ret = dma_buf_begin_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	if (!ret) {
		iosys_map_memset(&map, offset, 0, len);
		ret = dma_buf_end_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	}
	dma_buf_vunmap_unlocked(dmabuf, &map);
	return ret;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_zero);
