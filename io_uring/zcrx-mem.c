// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of the areas that zcrx receives into
 */
#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/io_uring_types.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <net/net_namespace.h>
#include <net/netmem_area.h>
#include <net/netmem_dmabuf.h>
#include <net/netmem_reg.h>

#include <uapi/linux/io_uring.h>

#include "memmap.h"
#include "rsrc.h"
#include "zcrx.h"

#define IO_DMA_ATTR (DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_WEAK_ORDERING)

static struct netmem_reg *zcrx_take_dmabuf(u32 id,
					   const struct netmem_reg_params *p)
{
	/* What is registered in it would keep the namespace alive. */
	struct net *net = maybe_get_net(p->net);
	struct netmem_reg *reg;

	if (!net)
		return ERR_PTR(-ENOENT);
	/* IDs can be guessed. */
	if (ns_capable(net->user_ns, CAP_NET_ADMIN))
		reg = netmem_reg_take(id, p, NULL);
	else
		reg = ERR_PTR(-EPERM);
	put_net(net);
	return reg;
}

static int io_import_dmabuf(struct io_zcrx_ifq *ifq, struct net_device *netdev,
			    struct io_zcrx_mem *mem,
			    const struct io_uring_zcrx_area_reg *area_reg,
			    unsigned int niov_shift)
{
	struct netmem_reg_params p = {
		.net		= ifq->net,
		.ifindex	= ifq->if_idx,
		.hw_netdev	= netdev,
		.dev		= ifq->dev,
		.dir		= DMA_FROM_DEVICE,
		.owner		= NETDEV_DMABUF_OWNER_IO_URING,
		.niov_shift	= niov_shift,
	};
	struct netmem_reg *reg;

	if (!ifq->dev || !IS_ENABLED(CONFIG_NETMEM_DMABUF))
		return -EINVAL;

	if (area_reg->flags & IORING_ZCRX_AREA_DMABUF_ID)
		reg = zcrx_take_dmabuf(area_reg->dmabuf_fd, &p);
	else
		reg = netmem_reg_import(area_reg->dmabuf_fd, &p, NULL);
	if (IS_ERR(reg))
		return PTR_ERR(reg);

	mem->is_dmabuf = true;
	mem->reg = reg;
	mem->dmabuf = reg->nd;
	mem->size = area_reg->len;
	return netmem_dmabuf_claim(mem->dmabuf, area_reg->addr, area_reg->len,
				   NETMEM_OWNER_IO_URING, NULL);
}

static unsigned long io_count_account_pages(struct page **pages,
					    unsigned int nr_pages)
{
	struct folio *last_folio = NULL;
	unsigned long res = 0;
	int i;

	for (i = 0; i < nr_pages; i++) {
		struct folio *folio = page_folio(pages[i]);

		if (folio == last_folio)
			continue;
		last_folio = folio;
		res += folio_nr_pages(folio);
	}
	return res;
}

static int io_import_umem(struct io_zcrx_ifq *ifq,
			  struct io_zcrx_mem *mem,
			  const struct io_uring_zcrx_area_reg *area_reg)
{
	struct page **pages;
	int nr_pages, ret;
	bool mapped = false;

	if (area_reg->dmabuf_fd)
		return -EINVAL;
	if (!area_reg->addr)
		return -EFAULT;
	pages = io_pin_pages((unsigned long)area_reg->addr, area_reg->len,
			     &nr_pages);
	if (IS_ERR(pages))
		return PTR_ERR(pages);

	ret = sg_alloc_table_from_pages(&mem->page_sg_table, pages, nr_pages,
					0, (unsigned long)nr_pages << PAGE_SHIFT,
					GFP_KERNEL_ACCOUNT);
	if (ret)
		goto out_err;

	if (ifq->dev) {
		ret = dma_map_sgtable(ifq->dev, &mem->page_sg_table,
				      DMA_FROM_DEVICE, IO_DMA_ATTR);
		if (ret < 0)
			goto out_err;
		mapped = true;
	}

	mem->account_pages = io_count_account_pages(pages, nr_pages);
	ret = io_account_mem(ifq->user, ifq->mm_account, mem->account_pages);
	if (ret < 0) {
		mem->account_pages = 0;
		goto out_err;
	}

	mem->pages = pages;
	mem->nr_folios = nr_pages;
	mem->size = area_reg->len;
	return ret;
out_err:
	if (mapped)
		dma_unmap_sgtable(ifq->dev, &mem->page_sg_table,
				  DMA_FROM_DEVICE, IO_DMA_ATTR);
	sg_free_table(&mem->page_sg_table);
	unpin_user_pages(pages, nr_pages);
	kvfree(pages);
	return ret;
}

void io_release_area_mem(struct io_zcrx_mem *mem)
{
	if (mem->is_dmabuf) {
		/* It is still idle if the area has not become its owner */
		if (mem->is_owner)
			netmem_reg_release(mem->reg);
		else
			netmem_reg_give_back(mem->reg);
	} else if (mem->pages) {
		unpin_user_pages(mem->pages, mem->nr_folios);
		sg_free_table(&mem->page_sg_table);
		kvfree(mem->pages);
	}
	mem->pages = IO_URING_PTR_POISON;
}

int io_import_area(struct io_zcrx_ifq *ifq, struct net_device *netdev,
		   struct io_zcrx_mem *mem,
		   const struct io_uring_zcrx_area_reg *area_reg,
		   unsigned int niov_shift)
{
	int ret;

	if (area_reg->flags & ~ZCRX_SUPPORTED_AREA_FLAGS)
		return -EINVAL;
	if (ifq->kern_readable == !!(area_reg->flags & IORING_ZCRX_AREA_DMABUF))
		return -EINVAL;
	if (area_reg->rq_area_token)
		return -EINVAL;
	if (area_reg->__resv2[0] || area_reg->__resv2[1])
		return -EINVAL;

	ret = io_validate_user_buf_range(area_reg->addr, area_reg->len);
	if (ret)
		return ret;
	if (area_reg->addr & ~PAGE_MASK || area_reg->len & ~PAGE_MASK)
		return -EINVAL;

	if (area_reg->flags & IORING_ZCRX_AREA_DMABUF)
		return io_import_dmabuf(ifq, netdev, mem, area_reg, niov_shift);
	if (area_reg->flags)
		return -EINVAL;
	return io_import_umem(ifq, mem, area_reg);
}

int zcrx_init_niovs(struct io_zcrx_ifq *ifq, struct io_zcrx_area *area,
		    const struct io_uring_zcrx_area_reg *area_reg,
		    unsigned int niov_shift)
{
	struct io_zcrx_mem *mem = &area->mem;
	struct sg_table *sgt = &mem->page_sg_table;
	int ret;

	if (mem->is_dmabuf)
		return netmem_dmabuf_area_init(mem->dmabuf, &area->area,
					       NET_IOV_IOURING, area_reg->addr,
					       mem->size, niov_shift, NULL);

	if (ifq->dev &&
	    niov_shift > netmem_sgt_max_shift(sgt, 0, mem->size, false))
		return -ERANGE;
	ret = netmem_area_init(&area->area, NET_IOV_IOURING, mem->size,
			       niov_shift);
	if (ret || !ifq->dev)
		return ret;
	return netmem_area_set_dma(&area->area, sgt, 0);
}

/* dma-bufs are unmapped later, by zcrx_unmap_dmabufs() */
void __io_zcrx_unmap_area(struct io_zcrx_ifq *ifq, struct io_zcrx_area *area)
{
	if (!area->is_mapped)
		return;
	area->is_mapped = false;

	netmem_area_clear_dma(&area->area);
	if (!area->mem.is_dmabuf)
		dma_unmap_sgtable(ifq->dev, &area->mem.page_sg_table,
				  DMA_FROM_DEVICE, IO_DMA_ATTR);
}

void io_zcrx_unmap_areas(struct io_zcrx_ifq *ifq)
{
	unsigned int area_idx;

	lockdep_assert_held(&ifq->pp_lock);

	for (area_idx = 0; area_idx < ifq->nr_areas; area_idx++)
		__io_zcrx_unmap_area(ifq, ifq->areas[area_idx]);
}

/*
 * To be called when the queue has been closed. Takes reservation locks, for
 * which neither netdev lock nor pp_lock is held.
 */
void zcrx_unmap_dmabufs(struct io_zcrx_ifq *ifq)
{
	unsigned int i;

	/* An exporter may wait for all of them with a reservation lock held */
	for (i = 0; i < ifq->nr_areas; i++)
		if (ifq->areas[i]->mem.is_dmabuf && !ifq->areas[i]->is_mapped)
			netmem_dmabuf_stopped(ifq->areas[i]->mem.dmabuf);
	/* or for its unmapping, but not for what user space is told of it */
	for (i = 0; i < ifq->nr_areas; i++)
		if (ifq->areas[i]->mem.is_dmabuf && !ifq->areas[i]->is_mapped)
			netmem_dmabuf_unmap(ifq->areas[i]->mem.dmabuf);
	for (i = 0; i < ifq->nr_areas; i++)
		if (ifq->areas[i]->mem.is_dmabuf && !ifq->areas[i]->is_mapped)
			netmem_reg_unmap(ifq->areas[i]->mem.reg);
}
