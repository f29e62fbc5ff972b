// SPDX-License-Identifier: GPL-2.0

/* Memory of a memory provider: cut into net_iovs of one size, which are handed
 * to page pools and come back. What the memory is, and how it became
 * accessible to the device, is the business of the provider.
 */

#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <net/netmem_area.h>
#include <net/page_pool/helpers.h>
#include <net/page_pool/memory_provider.h>

/**
 * netmem_area_init() - make net_iovs, all of them free
 * @area: the area to initialise
 * @type: what kind of net_iov
 * @size: number of bytes; what does not fill a net_iov is not used
 * @niov_shift: log2 of the size of a net_iov
 *
 * Undone by netmem_area_exit().
 *
 * Context: may sleep.
 * Return: 0; -EINVAL if there is not one whole net_iov; -EOVERFLOW for more than
 *	   fit into the free list; -ENOMEM.
 */
int netmem_area_init(struct netmem_area *area, enum net_iov_type type,
		     size_t size, unsigned int niov_shift)
{
	size_t nr = size >> niov_shift;
	u32 i;

	if (!nr)
		return -EINVAL;
	if (nr > INT_MAX)
		return -EOVERFLOW;

	area->free = kvmalloc_array(nr, sizeof(*area->free),
				    GFP_KERNEL_ACCOUNT);
	if (!area->free)
		return -ENOMEM;

	area->nia.niovs = kvmalloc_objs(*area->nia.niovs, nr,
					GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!area->nia.niovs)
		goto err_free_list;

	area->nia.num_niovs = nr;
	area->niov_shift = niov_shift;
	spin_lock_init(&area->lock);

	/* Hand them out in the order of the addresses at first. */
	for (i = 0; i < nr; i++) {
		net_iov_init(&area->nia.niovs[i], &area->nia, type);
		area->free[i] = nr - 1 - i;
	}
	area->nr_free = nr;
	return 0;

err_free_list:
	kvfree(area->free);
	area->free = NULL;
	return -ENOMEM;
}

/**
 * netmem_area_exit() - free the net_iovs
 * @area: the area, none of whose net_iovs is in use; or one that is all zero
 *
 * Context: may sleep.
 */
void netmem_area_exit(struct netmem_area *area)
{
	kvfree(area->nia.niovs);
	kvfree(area->free);
	area->nia.niovs = NULL;
	area->nia.num_niovs = 0;
	area->free = NULL;
	area->nr_free = 0;
}

/* The part of @sg, which begins at @start, that is in @offset ... @offset + @size.
 * Returns its length.
 */
static size_t netmem_sg_part(struct scatterlist *sg, size_t start,
			     size_t offset, size_t size, dma_addr_t *dma)
{
	size_t begin = max(start, offset);
	size_t end = min(start + sg_dma_len(sg), offset + size);

	if (begin >= end)
		return 0;
	*dma = sg_dma_address(sg) + (begin - start);
	return end - begin;
}

/**
 * netmem_sgt_max_shift() - the largest net_iovs that memory can be cut into
 * @sgt: the memory, mapped for DMA
 * @offset: where to begin
 * @size: number of bytes
 * @align_addr: whether the DMA addresses have to be aligned to the size of a
 *		net_iov
 *
 * Context: any.
 * Return: log2 of the size of a net_iov none of which reaches from one segment
 *	   into the next.
 */
unsigned int netmem_sgt_max_shift(const struct sg_table *sgt, size_t offset,
				  size_t size, bool align_addr)
{
	unsigned int shift = BITS_PER_LONG - 1;
	struct scatterlist *sg;
	size_t start = 0, len;
	dma_addr_t dma;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		len = netmem_sg_part(sg, start, offset, size, &dma);
		if (len) {
			shift = min_t(unsigned int, shift, __ffs(len));
			if (align_addr && dma)
				shift = min_t(unsigned int, shift, __ffs64(dma));
		}
		start += sg_dma_len(sg);
	}
	return shift;
}

/**
 * netmem_area_set_dma() - tell the net_iovs their DMA addresses
 * @area: the area
 * @sgt: the memory, mapped for DMA
 * @offset: where in @sgt the area begins
 *
 * The net_iovs must fit into the segments, see netmem_sgt_max_shift().
 *
 * Context: any; none of the net_iovs is in use.
 * Return: 0; -EINVAL if @sgt has less memory than the area, or segments that
 *	   are not multiples of net_iovs; -EFAULT for a DMA address that does not
 *	   fit into a net_iov.
 */
int netmem_area_set_dma(struct netmem_area *area, const struct sg_table *sgt,
			size_t offset)
{
	size_t size = area->nia.num_niovs << area->niov_shift;
	size_t niov_size = 1UL << area->niov_shift;
	struct scatterlist *sg;
	size_t start = 0, len;
	unsigned int i;
	u32 idx = 0;
	dma_addr_t dma;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		len = netmem_sg_part(sg, start, offset, size, &dma);
		if (len & (niov_size - 1))
			return -EINVAL;

		for (; len; len -= niov_size, dma += niov_size) {
			if (net_mp_niov_set_dma_addr(&area->nia.niovs[idx++],
						     dma))
				return -EFAULT;
		}
		start += sg_dma_len(sg);
	}
	return idx == area->nia.num_niovs ? 0 : -EINVAL;
}

/**
 * netmem_area_clear_dma() - make the net_iovs forget their DMA addresses
 * @area: the area
 *
 * Context: any; no device uses the net_iovs.
 */
void netmem_area_clear_dma(struct netmem_area *area)
{
	size_t i;

	for (i = 0; i < area->nia.num_niovs; i++)
		net_mp_niov_set_dma_addr(&area->nia.niovs[i], 0);
}

/**
 * netmem_area_get() - take a free net_iov
 * @area: the area
 *
 * The net_iov belongs to no page pool. Give it back with netmem_area_put().
 *
 * Context: process or softirq context.
 * Return: the net_iov, NULL if there is none.
 */
struct net_iov *netmem_area_get(struct netmem_area *area)
{
	struct net_iov *niov = NULL;

	spin_lock_bh(&area->lock);
	if (likely(area->nr_free))
		niov = &area->nia.niovs[area->free[--area->nr_free]];
	spin_unlock_bh(&area->lock);

	return niov;
}

/**
 * netmem_area_put() - give a net_iov back
 * @niov: what netmem_area_get() returned
 *
 * Context: process or softirq context.
 */
void netmem_area_put(struct net_iov *niov)
{
	struct netmem_area *area = net_iov_to_area(niov);

	spin_lock_bh(&area->lock);
	if (!WARN_ON_ONCE(area->nr_free >= area->nia.num_niovs))
		area->free[area->nr_free++] = net_iov_idx(niov);
	spin_unlock_bh(&area->lock);
}

/**
 * netmem_area_pp_alloc() - take free net_iovs for a page pool
 * @area: the area
 * @pool: the page pool
 * @netmems: where to put them
 * @nr: how many at most
 *
 * For &memory_provider_ops.alloc_netmems.
 *
 * Context: that of the page pool's allocation path.
 * Return: how many there are in @netmems.
 */
unsigned int netmem_area_pp_alloc(struct netmem_area *area,
				  struct page_pool *pool, netmem_ref *netmems,
				  unsigned int nr)
{
	struct net_iov *niov;
	unsigned int i;

	spin_lock_bh(&area->lock);
	nr = min(nr, area->nr_free);
	for (i = 0; i < nr; i++) {
		niov = &area->nia.niovs[area->free[--area->nr_free]];
		net_mp_niov_set_page_pool(pool, niov);
		netmems[i] = net_iov_to_netmem(niov);
	}
	spin_unlock_bh(&area->lock);

	return nr;
}

/**
 * netmem_area_pp_release() - take a net_iov back from its page pool
 * @netmem: the net_iov
 *
 * For &memory_provider_ops.release_netmem.
 *
 * Context: that of the page pool's release path.
 */
void netmem_area_pp_release(netmem_ref netmem)
{
	struct net_iov *niov = netmem_to_net_iov(netmem);

	net_mp_niov_clear_page_pool(niov);
	netmem_area_put(niov);
}
