/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_DMA_BUF_PINNED_H
#define _LINUX_DMA_BUF_PINNED_H

#include <linux/compiler.h>
#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dma_buf_pinned;
struct sg_table;

/**
 * struct dma_buf_pinned_ops - what the user of a pinned dma-buf provides
 */
struct dma_buf_pinned_ops {
	/**
	 * @revoke: the exporter takes the memory away for good
	 *
	 * Called at most once, between dma_buf_pinned_init() and
	 * dma_buf_pinned_unmap(), with the reservation lock of the dma-buf held
	 * and possibly in memory reclaim: must not sleep, allocate or take a
	 * lock that is held elsewhere while doing so.  It sees to it, by
	 * queueing a work item for instance, that the device stops using the
	 * memory and that dma_buf_pinned_unmap() is called in bounded time.
	 */
	void (*revoke)(struct dma_buf_pinned *pin);
};

/**
 * struct dma_buf_pinned - a dma-buf that stays where it is for a device
 * @dmabuf: the dma-buf
 * @dev: the device that does the DMA
 * @dir: what the device may do to the memory
 * @sgt: the DMA addresses, NULL after dma_buf_pinned_unmap(); the CPU side of
 *	 the scatterlist is not valid
 */
struct dma_buf_pinned {
	struct dma_buf				*dmabuf;
	struct device				*dev;
	enum dma_data_direction			dir;
	struct sg_table				*sgt;

	/* private: */
	const struct dma_buf_pinned_ops		*ops;
	struct dma_buf_attachment		*attach;
	struct dma_fence			*stopped;
	bool					revoked;
};

int dma_buf_pinned_init(struct dma_buf_pinned *pin, struct dma_buf *dmabuf,
			struct device *dev, enum dma_data_direction dir,
			const struct dma_buf_pinned_ops *ops);
void dma_buf_pinned_stopped(struct dma_buf_pinned *pin);
void dma_buf_pinned_unmap(struct dma_buf_pinned *pin);
void dma_buf_pinned_fini(struct dma_buf_pinned *pin);
bool dma_buf_pinned_in_ram(struct dma_buf_pinned *pin);

/**
 * dma_buf_pinned_revoked - has the exporter taken the memory away?
 * @pin: the pinned dma-buf
 *
 * Context: any.
 * Return: true from right before &dma_buf_pinned_ops.revoke is called.
 */
static inline bool dma_buf_pinned_revoked(const struct dma_buf_pinned *pin)
{
	return READ_ONCE(pin->revoked);
}

#endif /* _LINUX_DMA_BUF_PINNED_H */
