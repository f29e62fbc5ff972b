/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests need from the newest uapi headers, under names of their own:
 * they build with any headers, and notice when an in-tree definition drifts.
 */
#ifndef DMABUF_IO_ABI_H
#define DMABUF_IO_ABI_H

#include <assert.h>
#include <linux/io_uring.h>
#include <linux/types.h>
#include <linux/vfio.h>
#include <stddef.h>

/* in dio_rsrc_update.flags: data points at struct dio_regbuf_desc, not iovecs */
#define DIO_UPDATE_EXTENDED	0x2U

enum {
	DIO_TYPE_EMPTY	= 0,
	DIO_TYPE_UADDR	= 1,
	DIO_TYPE_DMABUF	= 2,
};

/* in dio_regbuf_desc.flags */
#define DIO_SOURCE_ONLY		0x1U
#define DIO_DEST_ONLY		0x2U
#define DIO_PREMAP		0x4U

/* Opcodes, and a call, that installed headers may not know */
#define DIO_OP_READV_FIXED		60
#define DIO_OP_WRITEV_FIXED		61
#define DIO_OP_URING_CMD128		64
#define DIO_SETUP_SQE_MIXED		0x80000U
#define DIO_REGISTER_CLONE_BUFFERS	30
#define DIO_CLONE_REPLACE		0x2U

/* struct io_uring_clone_buffers */
struct dio_clone_buffers {
	__u32 src_fd;
	__u32 flags;
	__u32 src_off;
	__u32 dst_off;
	__u32 nr;
	__u32 pad[3];
};

/* struct io_uring_rsrc_update2 with its flags field */
struct dio_rsrc_update {
	__u32 offset;
	__u32 flags;
	__u64 data;
	__u64 tags;
	__u32 nr;
	__u32 resv2;
};

/* struct io_uring_regbuf_desc */
struct dio_regbuf_desc {
	__u32 type;
	__u32 flags;
	__u64 size;
	__u64 uaddr;
	__s32 dmabuf_fd;
	__s32 target_fd;
	__u64 resv[6];
};

static_assert(sizeof(struct dio_rsrc_update) == sizeof(struct io_uring_rsrc_update2),
	      "the update structure keeps its size");
static_assert(sizeof(struct dio_regbuf_desc) == 80, "the descriptor is 80 bytes");

#ifdef IORING_RSRC_UPDATE_EXTENDED
static_assert(!(IORING_RSRC_UPDATE_EXTENDED ^ DIO_UPDATE_EXTENDED), "the flag keeps its value");
static_assert(!(IO_REGBUF_TYPE_EMPTY ^ DIO_TYPE_EMPTY), "the types keep their values");
static_assert(!(IO_REGBUF_TYPE_UADDR ^ DIO_TYPE_UADDR), "the types keep their values");
static_assert(!(IO_REGBUF_TYPE_DMABUF ^ DIO_TYPE_DMABUF), "the types keep their values");
static_assert(offsetof(struct dio_rsrc_update, flags) ==
	      offsetof(struct io_uring_rsrc_update2, flags), "flags is where it was");
static_assert(sizeof(struct dio_regbuf_desc) == sizeof(struct io_uring_regbuf_desc),
	      "the descriptor keeps its size");
static_assert(offsetof(struct dio_regbuf_desc, flags) ==
	      offsetof(struct io_uring_regbuf_desc, flags), "flags is where it was");
static_assert(offsetof(struct dio_regbuf_desc, size) ==
	      offsetof(struct io_uring_regbuf_desc, size), "size is where it was");
static_assert(offsetof(struct dio_regbuf_desc, uaddr) ==
	      offsetof(struct io_uring_regbuf_desc, uaddr), "uaddr is where it was");
static_assert(offsetof(struct dio_regbuf_desc, dmabuf_fd) ==
	      offsetof(struct io_uring_regbuf_desc, dmabuf_fd), "dmabuf_fd is where it was");
static_assert(offsetof(struct dio_regbuf_desc, target_fd) ==
	      offsetof(struct io_uring_regbuf_desc, target_fd), "target_fd is where it was");
static_assert(offsetof(struct dio_regbuf_desc, resv) ==
	      offsetof(struct io_uring_regbuf_desc, __resv), "__resv is where it was");
#endif

#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11

struct vfio_region_dma_range {
	__u64 offset;
	__u64 length;
};

struct vfio_device_feature_dma_buf {
	__u32 region_index;
	__u32 open_flags;
	__u32 flags;
	__u32 nr_ranges;
	struct vfio_region_dma_range dma_ranges[];
};
#endif

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER	0x1000U
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN	0x2000U
#endif

#endif /* DMABUF_IO_ABI_H */
