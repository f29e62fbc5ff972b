/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DMA_BUF_MOCK_H
#define DMA_BUF_MOCK_H

#include <linux/dma-buf.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/shrinker.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "dma-buf-mock-ioctl.h"

/* A place where the memory of a buffer is, or has been. */
struct mock_store {
	struct kref		ref;
	struct list_head	list;
	unsigned int		mapped;	/* mappings of it, under the reservation lock */
	unsigned int		order;
	unsigned int		nr;
	struct page		*segs[] __counted_by(nr);
};

struct mock_store *mock_store_alloc(size_t size, unsigned int order);
void mock_store_put(struct mock_store *store);
struct page *mock_store_page(const struct mock_store *store, unsigned long pgoff);
int mock_store_sgt(const struct mock_store *store, unsigned int nr, struct sg_table *sgt);
void *mock_store_vmap(const struct mock_store *store);
void mock_store_copy(struct mock_store *dst, const struct mock_store *src);
void mock_store_poison(struct mock_store *store);
bool mock_store_is_poisoned(const struct mock_store *store);
u32 mock_store_crc(const struct mock_store *store);

struct dma_buf_mock {
	struct dma_buf		*dmabuf;
	size_t			size;
	unsigned int		order;
	u32			flags;

	/* One move at a time; taken before the reservation lock */
	struct mutex		move_lock;
	struct delayed_work	auto_work;
	unsigned long		auto_us;
	unsigned long		auto_moves;
	struct shrinker		*shrinker;

	/* All below: under the reservation lock */
	struct mock_store	*store;
	struct list_head	left;		/* places it has left, poisoned */
	unsigned int		nr_left;
	unsigned int		vmaps;
	void			*vaddr;
	bool			revoked;
	bool			idle;		/* nothing mapped, @idle_crc is valid */
	u32			idle_crc;
	wait_queue_head_t	unmapped;
	struct {
		unsigned int	nth;
		int		error;
	} fail[DMA_BUF_MOCK_NR_FAILS];
	struct dma_buf_mock_stats stats;
};

struct dma_buf_mock *dma_buf_mock_create(size_t size, unsigned int order, u32 flags);
struct dma_buf_mock *dma_buf_mock_from(struct dma_buf *dmabuf);
void dma_buf_mock_check(struct dma_buf_mock *mock);
int dma_buf_mock_move(struct dma_buf_mock *mock, enum dma_buf_mock_move how);
int dma_buf_mock_revoke(struct dma_buf_mock *mock, enum dma_buf_mock_revoke how);
int dma_buf_mock_restore(struct dma_buf_mock *mock);
int dma_buf_mock_auto(struct dma_buf_mock *mock, unsigned long us, unsigned long moves);
int dma_buf_mock_init_moves(struct dma_buf_mock *mock);
void dma_buf_mock_start_moves(struct dma_buf_mock *mock);
void dma_buf_mock_exit_moves(struct dma_buf_mock *mock);

#endif /* DMA_BUF_MOCK_H */
