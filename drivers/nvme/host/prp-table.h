/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NVME_PRP_TABLE_H
#define _NVME_PRP_TABLE_H

#include <linux/blk-dmabuf.h>
#include <linux/nvme.h>

struct nvme_prp_table;

#ifdef CONFIG_BLK_DMABUF
extern const struct blk_dmabuf_dev_ops nvme_prp_table_dmabuf_ops;

bool nvme_prp_table_contiguous(struct nvme_prp_table *table, u64 offset,
			       dma_addr_t *addr);
unsigned int nvme_prp_table_lookup(struct nvme_prp_table *table, u64 offset,
				   unsigned int len,
				   union nvme_data_ptr *dptr);
void nvme_prp_table_copy(struct nvme_prp_table *table, unsigned long first,
			 unsigned int nr, __le64 *prps);
#else
/* No request is a dma-buf then, so this is not referenced. */
extern const struct blk_dmabuf_dev_ops nvme_prp_table_dmabuf_ops;

static inline bool nvme_prp_table_contiguous(struct nvme_prp_table *table,
					     u64 offset, dma_addr_t *addr)
{
	return false;
}

static inline unsigned int nvme_prp_table_lookup(struct nvme_prp_table *table,
						 u64 offset, unsigned int len,
						 union nvme_data_ptr *dptr)
{
	return 0;
}

static inline void nvme_prp_table_copy(struct nvme_prp_table *table,
				       unsigned long first, unsigned int nr, __le64 *prps)
{
}
#endif /* CONFIG_BLK_DMABUF */

#endif /* _NVME_PRP_TABLE_H */
