// SPDX-License-Identifier: GPL-2.0
/*
 * The DMA addresses of a dma-buf, for drivers whose commands take a list of address
 * and length
 *
 * Which entry of a scatterlist an offset falls into would have to be searched for.
 * An array with an entry per page finds it at once, and each entry knows how far
 * the memory is contiguous from there, so a request is cut into as few pieces as
 * there are.
 */
#include <linux/blk-dmabuf.h>
#include <linux/blk-mq.h>
#include <linux/dma-buf.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/slab.h>

/**
 * struct blk_dmabuf_run - where a page of the dma-buf is
 * @addr: its DMA address
 * @pages: so many pages are contiguous from here
 */
struct blk_dmabuf_run {
	dma_addr_t	addr;
	unsigned long	pages;
};

/**
 * blk_dmabuf_map_runs - &blk_dmabuf_dev_ops.map for such drivers
 * @ddev: the device
 * @mapping: the new mapping
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int blk_dmabuf_map_runs(struct blk_dmabuf_dev *ddev,
			struct dma_buf_mapping *mapping)
{
	unsigned long nr = mapping->importer->dmabuf->size >> PAGE_SHIFT;
	struct blk_dmabuf_run *runs;
	struct scatterlist *sg = mapping->sgt->sgl;
	unsigned int done = 0;
	unsigned long i;

	runs = kvmalloc_objs(*runs, nr, GFP_KERNEL_ACCOUNT);
	if (!runs)
		return -ENOMEM;

	for (i = 0; i < nr; i++) {
		if (done == sg_dma_len(sg)) {
			sg = sg_next(sg);
			done = 0;
		}
		runs[i].addr = sg_dma_address(sg) + done;
		done += PAGE_SIZE;
		if (!(i % 4096))
			cond_resched();
	}
	/* Backwards, as the end of a run is what all of it has to know. */
	for (i = nr; i--; ) {
		runs[i].pages = 1;
		if (i + 1 < nr && runs[i].addr + PAGE_SIZE == runs[i + 1].addr)
			runs[i].pages += runs[i + 1].pages;
		if (!(i % 4096))
			cond_resched();
	}
	mapping->priv = runs;
	return 0;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_map_runs);

/**
 * blk_dmabuf_unmap_runs - &blk_dmabuf_dev_ops.unmap for such drivers
 * @ddev: the device
 * @mapping: the mapping
 *
 * Context: may sleep.
 */
void blk_dmabuf_unmap_runs(struct blk_dmabuf_dev *ddev,
			   struct dma_buf_mapping *mapping)
{
	kvfree(mapping->priv);
}
EXPORT_SYMBOL_GPL(blk_dmabuf_unmap_runs);

/**
 * blk_rq_dmabuf_run - the next contiguous piece of a request
 * @rq: a request for which blk_rq_dmabuf_map() succeeded, of a driver that uses
 *	blk_dmabuf_map_runs()
 * @done: bytes of the request before this piece
 * @addr: set to the DMA address
 *
 * Context: any.
 * Return: the length in bytes, or 0 at the end of the request.
 */
unsigned int blk_rq_dmabuf_run(const struct request *rq, unsigned int done,
			       dma_addr_t *addr)
{
	const struct blk_dmabuf_run *runs = blk_rq_dmabuf_priv(rq);
	u64 offset = blk_rq_dmabuf_offset(rq) + done;
	unsigned int left = blk_rq_bytes(rq) - done;
	const struct blk_dmabuf_run *run = runs + (offset >> PAGE_SHIFT);
	unsigned int skip = offset_in_page(offset);

	if (!left)
		return 0;
	*addr = run->addr + skip;
	return min_t(u64, left, ((u64)run->pages << PAGE_SHIFT) - skip);
}
EXPORT_SYMBOL_GPL(blk_rq_dmabuf_run);
