/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What tests say to /dev/dma_buf_mock.  Not a stable interface: kernel and test
 * come from the same tree.
 */
#ifndef DMA_BUF_MOCK_IOCTL_H
#define DMA_BUF_MOCK_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

enum dma_buf_mock_flags {
	DMA_BUF_MOCK_P2P	= 0x01,	/* importers must allow peer-to-peer */
	DMA_BUF_MOCK_NO_VMAP	= 0x02,
	DMA_BUF_MOCK_NO_MMAP	= 0x04,
	DMA_BUF_MOCK_CHECK_IDLE	= 0x08,	/* compare the bytes when nothing is mapped */
	DMA_BUF_MOCK_SHRINK	= 0x10,	/* invalidated by memory reclaim */
	DMA_BUF_MOCK_SHORT	= 0x20,	/* mappings lack their last segment */
	DMA_BUF_MOCK_NO_PIN	= 0x40,
	DMA_BUF_MOCK_RDONLY	= 0x80,	/* mode of the file */
	DMA_BUF_MOCK_FLAGS	= 0xff,
};

struct dma_buf_mock_create {
	__u64	size;		/* bytes, a multiple of the segment size */
	__u32	seg_order;	/* segments have PAGE_SIZE << seg_order bytes */
	__u32	flags;		/* enum dma_buf_mock_flags */
	__s32	fd;		/* out: the dma-buf */
	__u32	resv;
};

/* How to move, as exporters do it */
enum dma_buf_mock_move {
	/* Invalidate, wait for fences and copy, all with the reservation held */
	DMA_BUF_MOCK_MOVE_LOCKED,
	/* Hand out the new place at once with a fence, copy when all have unmapped */
	DMA_BUF_MOCK_MOVE_PIPELINED,
	/* As LOCKED, in the context of memory reclaim */
	DMA_BUF_MOCK_MOVE_RECLAIM,
	DMA_BUF_MOCK_NR_MOVES,
};

/* How to take the memory away, as exporters do it */
enum dma_buf_mock_revoke {
	/* Wait for fences with the reservation held, then for unmapping */
	DMA_BUF_MOCK_REVOKE_LOCKED,
	/* Wait for unmapping only */
	DMA_BUF_MOCK_REVOKE_UNMAP,
	/* Begin in the context of memory reclaim, wait outside as LOCKED does */
	DMA_BUF_MOCK_REVOKE_RECLAIM,
	DMA_BUF_MOCK_NR_REVOKES,
};

enum dma_buf_mock_op {
	DMA_BUF_MOCK_MOVE,	/* arg[0]: enum dma_buf_mock_move */
	DMA_BUF_MOCK_AUTO,	/* arg[0]: interval in us, 0 to stop; arg[1]: mask of moves */
	DMA_BUF_MOCK_REVOKE,	/* until RESTORE; arg[0]: enum dma_buf_mock_revoke */
	DMA_BUF_MOCK_RESTORE,
	DMA_BUF_MOCK_FAIL,	/* arg[0]: enum dma_buf_mock_fail, arg[1]: errno << 32 | nth */
	DMA_BUF_MOCK_NR_OPS,
};

/* Instead of nth: from now on, until it is told otherwise; 0: no more */
#define DMA_BUF_MOCK_FAIL_ALWAYS	0xffffffffU

/* What can be told to fail, once, at the nth time from now */
enum dma_buf_mock_fail {
	DMA_BUF_MOCK_FAIL_ATTACH,
	DMA_BUF_MOCK_FAIL_PIN,
	DMA_BUF_MOCK_FAIL_MAP,
	DMA_BUF_MOCK_NR_FAILS,
};

struct dma_buf_mock_cmd {
	__s32	fd;		/* a dma-buf of this exporter */
	__u32	op;
	__u64	arg[2];
};

struct dma_buf_mock_stats {
	__s32	fd;		/* a dma-buf of this exporter */
	__u32	resv;
	__u64	attached;	/* now */
	__u64	pinned;		/* now */
	__u64	mapped;		/* now */
	__u64	maps;		/* ever */
	__u64	invalidations;	/* ever */
	__u64	moves;		/* ever */
	__u64	violations;	/* accesses outside a live mapping, endless mappings */
	__u64	longest_wait_us; /* for an invalidation */
	__u64	dirs;		/* mapped for, ever: mask of enum dma_data_direction */
};

#define DMA_BUF_MOCK_IOC_CREATE	_IOWR('M', 0, struct dma_buf_mock_create)
#define DMA_BUF_MOCK_IOC_CMD	_IOW('M', 1, struct dma_buf_mock_cmd)
#define DMA_BUF_MOCK_IOC_STATS	_IOWR('M', 2, struct dma_buf_mock_stats)

#endif /* DMA_BUF_MOCK_IOCTL_H */
