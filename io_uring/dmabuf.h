/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/errno.h>
#include <linux/types.h>

struct io_kiocb;
struct io_mapped_ubuf;
struct io_uring_regbuf_desc;
struct iov_iter;

#if defined(CONFIG_BLK_DMABUF)
int io_dmabuf_init_buf(struct io_mapped_ubuf *imu,
		       const struct io_uring_regbuf_desc *desc);
int io_dmabuf_import(struct io_kiocb *req, struct iov_iter *iter,
		     struct io_mapped_ubuf *imu, u64 offset, size_t len,
		     int ddir);
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
#endif

#endif
