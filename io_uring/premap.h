/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_PREMAP_H
#define IOU_PREMAP_H

#include <linux/errno.h>
#include <linux/types.h>

struct io_kiocb;
struct io_mapped_ubuf;
struct iov_iter;

#if defined(CONFIG_BLK_DMABUF)
int io_premap_init(struct io_mapped_ubuf *imu, int target_fd);
void io_premap_start_release(struct io_mapped_ubuf *imu);
bool io_premap_import(struct io_kiocb *req, struct iov_iter *iter,
		      struct io_mapped_ubuf *imu, u64 buf_addr, size_t len,
		      int ddir);
#else
static inline int io_premap_init(struct io_mapped_ubuf *imu, int target_fd)
{
	return -EOPNOTSUPP;
}

static inline void io_premap_start_release(struct io_mapped_ubuf *imu)
{
}

static inline bool io_premap_import(struct io_kiocb *req, struct iov_iter *iter,
				    struct io_mapped_ubuf *imu, u64 buf_addr,
				    size_t len, int ddir)
{
	return false;
}
#endif

#endif
