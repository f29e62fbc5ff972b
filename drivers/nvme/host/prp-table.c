// SPDX-License-Identifier: GPL-2.0
/*
 * PRP lists for a whole dma-buf, built once and pointed into by commands
 *
 * A PRP list may start at any entry of a page.  So one list that covers the
 * whole buffer serves a command for any part of it, and nothing is left to do per
 * command but to point to the right entry.
 *
 * As the last entry of a page of PRPs links to the next page, PRPS_PER_PAGE
 * entries per page are data.  There is one snag: if a transfer needs exactly as
 * many entries as are left in the page, the controller takes the last one for
 * data.  nvme_prp_table_lookup() reports that, and the caller makes a copy.
 */
#include <linux/blk-dmabuf.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/nvme.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "nvme.h"
#include "prp-table.h"

#define PRPS_PER_PAGE	(NVME_CTRL_PAGE_SIZE / sizeof(__le64) - 1)

/*
 * PRP pages of the controller's page size in a page of ours.
 */
#define LISTS_PER_CHUNK	(PAGE_SIZE / NVME_CTRL_PAGE_SIZE)
static_assert(PAGE_SIZE >= NVME_CTRL_PAGE_SIZE);

struct nvme_prp_chunk {
	__le64		*prps;
	dma_addr_t	dma_addr;
};

/**
 * struct nvme_prp_table - PRP lists for a mapping of a dma-buf
 * @dev: the device that reads the lists
 * @base: DMA address of the buffer if it is contiguous
 * @contiguous: whether @base is valid
 * @nr_chunks: number of @chunks
 * @chunks: the lists, in pages that the device reads
 */
struct nvme_prp_table {
	struct device		*dev;
	dma_addr_t		base;
	bool			contiguous;
	unsigned long		nr_chunks;
	struct nvme_prp_chunk	chunks[] __counted_by(nr_chunks);
};

/* Page @list of PRPs, by its number. */
static __le64 *table_list(struct nvme_prp_table *table, unsigned long list)
{
	return table->chunks[list / LISTS_PER_CHUNK].prps +
		list % LISTS_PER_CHUNK * (PRPS_PER_PAGE + 1);
}

static dma_addr_t table_list_dma(struct nvme_prp_table *table,
				 unsigned long list)
{
	return table->chunks[list / LISTS_PER_CHUNK].dma_addr +
		list % LISTS_PER_CHUNK * NVME_CTRL_PAGE_SIZE;
}

static void table_free(struct nvme_prp_table *table)
{
	unsigned long i;

	for (i = 0; i < table->nr_chunks && table->chunks[i].prps; i++)
		dma_free_pages(table->dev, PAGE_SIZE,
			       virt_to_page(table->chunks[i].prps),
			       table->chunks[i].dma_addr, DMA_TO_DEVICE);
	kvfree(table);
}

static int table_alloc_chunks(struct nvme_prp_table *table)
{
	unsigned long i;

	for (i = 0; i < table->nr_chunks; i++) {
		struct nvme_prp_chunk *chunk = &table->chunks[i];
		struct page *page;

		page = dma_alloc_pages(table->dev, PAGE_SIZE, &chunk->dma_addr,
				       DMA_TO_DEVICE, GFP_KERNEL_ACCOUNT);
		if (!page)
			return -ENOMEM;
		chunk->prps = page_address(page);
		cond_resched();
	}
	return 0;
}

static void table_fill(struct nvme_prp_table *table, struct sg_table *sgt,
		       unsigned long nr_pages, unsigned long nr_lists)
{
	struct scatterlist *sg = sgt->sgl;
	unsigned int done = 0;
	unsigned long page, list;

	for (page = 0; page < nr_pages; page++) {
		if (done == sg_dma_len(sg)) {
			sg = sg_next(sg);
			done = 0;
		}
		if (!(page % PRPS_PER_PAGE))
			cond_resched();
		table_list(table, page / PRPS_PER_PAGE)[page % PRPS_PER_PAGE] =
			cpu_to_le64(sg_dma_address(sg) + done);
		done += NVME_CTRL_PAGE_SIZE;
	}

	for (list = 0; list + 1 < nr_lists; list++)
		table_list(table, list)[PRPS_PER_PAGE] =
			cpu_to_le64(table_list_dma(table, list + 1));

	for (list = 0; list < table->nr_chunks; list++)
		dma_sync_single_for_device(table->dev,
					   table->chunks[list].dma_addr,
					   PAGE_SIZE, DMA_TO_DEVICE);
}

static bool sgt_is_contiguous(struct sg_table *sgt)
{
	dma_addr_t next = sg_dma_address(sgt->sgl);
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (sg_dma_address(sg) != next)
			return false;
		next += sg_dma_len(sg);
	}
	return true;
}

static int nvme_prp_table_map(struct blk_dmabuf_dev *ddev,
			      struct dma_buf_mapping *mapping)
{
	unsigned long nr_pages =
		mapping->importer->dmabuf->size >> NVME_CTRL_PAGE_SHIFT;
	unsigned long nr_lists = DIV_ROUND_UP(nr_pages, PRPS_PER_PAGE);
	unsigned long nr_chunks = DIV_ROUND_UP(nr_lists, LISTS_PER_CHUNK);
	struct nvme_prp_table *table;
	int ret;

	table = kvzalloc_flex(*table, chunks, nr_chunks, GFP_KERNEL_ACCOUNT);
	if (!table)
		return -ENOMEM;
	table->nr_chunks = nr_chunks;
	table->dev = ddev->dma_dev;
	ret = table_alloc_chunks(table);
	if (ret) {
		table_free(table);
		return ret;
	}
	table_fill(table, mapping->sgt, nr_pages, nr_lists);
	table->base = sg_dma_address(mapping->sgt->sgl);
	table->contiguous = sgt_is_contiguous(mapping->sgt);

	mapping->priv = table;
	return 0;
}

static void nvme_prp_table_unmap(struct blk_dmabuf_dev *ddev,
				 struct dma_buf_mapping *mapping)
{
	table_free(mapping->priv);
}

const struct blk_dmabuf_dev_ops nvme_prp_table_dmabuf_ops = {
	.map	= nvme_prp_table_map,
	.unmap	= nvme_prp_table_unmap,
};

/**
 * nvme_prp_table_contiguous - is one address enough for the whole buffer?
 * @table: the table
 * @offset: an offset into the buffer
 * @addr: set to the DMA address of @offset
 *
 * Return: true if all of the buffer follows at contiguous DMA addresses.
 */
bool nvme_prp_table_contiguous(struct nvme_prp_table *table, u64 offset,
			       dma_addr_t *addr)
{
	*addr = table->base + offset;
	return table->contiguous;
}

/**
 * nvme_prp_table_lookup - find the PRPs of a transfer
 * @table: the table
 * @offset: where in the buffer the transfer starts
 * @len: its length in bytes
 * @dptr: PRP1 and PRP2 to be set
 *
 * Constant work for any @len.
 *
 * Return: 0, or the number of entries in the list of a transfer that the table
 * has no list for; PRP2 is not valid then.
 */
unsigned int nvme_prp_table_lookup(struct nvme_prp_table *table, u64 offset,
				   unsigned int len,
				   union nvme_data_ptr *dptr)
{
	unsigned int skip = offset & (NVME_CTRL_PAGE_SIZE - 1);
	unsigned long page = offset >> NVME_CTRL_PAGE_SHIFT;
	unsigned long list = page / PRPS_PER_PAGE;
	unsigned int slot = page % PRPS_PER_PAGE;
	unsigned int nr_prps, last;

	dptr->prp1 = cpu_to_le64(le64_to_cpu(table_list(table, list)[slot]) +
				 skip);
	dptr->prp2 = 0;

	/* entries in addition to PRP1 */
	nr_prps = (skip + len - 1) >> NVME_CTRL_PAGE_SHIFT;
	if (!nr_prps)
		return 0;

	if (++slot == PRPS_PER_PAGE) {
		slot = 0;
		list++;
	}
	if (nr_prps == 1) {
		dptr->prp2 = table_list(table, list)[slot];
		return 0;
	}

	/*
	 * If the entry for the last page of data is the first one in its page of
	 * PRPs, the controller looks for it in the link to that page.
	 */
	last = (slot + nr_prps - 1) % PRPS_PER_PAGE;
	if (unlikely(!last))
		return nr_prps;

	dptr->prp2 = cpu_to_le64(table_list_dma(table, list) +
				 slot * sizeof(__le64));
	return 0;
}

/**
 * nvme_prp_table_copy - copy PRPs out of the table
 * @table: the table
 * @first: the first page of the buffer, in units of NVME_CTRL_PAGE_SIZE
 * @nr: number of pages
 * @prps: where to copy their PRPs
 */
void nvme_prp_table_copy(struct nvme_prp_table *table, unsigned long first,
			 unsigned int nr, __le64 *prps)
{
	unsigned long list = first / PRPS_PER_PAGE;
	unsigned int slot = first % PRPS_PER_PAGE;

	while (nr) {
		unsigned int n = min_t(unsigned int, nr, PRPS_PER_PAGE - slot);

		memcpy(prps, table_list(table, list) + slot,
		       n * sizeof(*prps));
		prps += n;
		nr -= n;
		slot = 0;
		list++;
	}
}
