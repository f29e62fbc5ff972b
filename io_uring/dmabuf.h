/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/errno.h>
#include <linux/types.h>

struct blk_dmabuf;
struct file;
struct io_kiocb;
struct io_mapped_ubuf;
struct io_uring_regbuf_desc;
struct iov_dmabuf_seg;
struct iov_iter;

#if defined(CONFIG_BLK_DMABUF)
struct file *io_dmabuf_target(struct blk_dmabuf *db, int fd);
int io_dmabuf_init_buf(struct io_mapped_ubuf *imu,
		       const struct io_uring_regbuf_desc *desc);
int io_dmabuf_import(struct io_kiocb *req, struct iov_iter *iter,
		     struct io_mapped_ubuf *imu, u64 offset, size_t len,
		     int ddir);
int io_dmabuf_import_vec(struct io_kiocb *req, struct iov_iter *iter,
			 struct io_mapped_ubuf *imu,
			 const struct iov_dmabuf_seg *segs, unsigned int nr,
			 size_t len, int ddir);
#else
static inline int io_dmabuf_init_buf(struct io_mapped_ubuf *imu,
				     const struct io_uring_regbuf_desc *desc)
{
	return -EOPNOTSUPP;
}

static inline int io_dmabuf_import(struct io_kiocb *req, struct iov_iter *iter,
				   struct io_mapped_ubuf *imu, u64 offset,
				   size_t len, int ddir)
{
	return -EOPNOTSUPP;
}

static inline int io_dmabuf_import_vec(struct io_kiocb *req,
				       struct iov_iter *iter,
				       struct io_mapped_ubuf *imu,
				       const struct iov_dmabuf_seg *segs,
				       unsigned int nr, size_t len, int ddir)
{
	return -EOPNOTSUPP;
}
#endif

#endif
