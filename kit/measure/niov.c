// SPDX-License-Identifier: GPL-2.0
/*
 * Built into net/core by kit/niov-cost, with and without the series: what it costs
 * devmem TCP to give a net_iov to a page pool and to take it back.
 *
 * Under QEMU's -icount shift=0 the time stamp counter counts instructions.
 */
#include <linux/dma-buf.h>
#include <linux/genalloc.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/reboot.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <net/page_pool/helpers.h>
#include <net/page_pool/memory_provider.h>

#include "devmem.h"
#include "mp_dmabuf_devmem.h"

#define AREA_PAGES	4096UL
#define DMA_START	0x100000000ULL
#define ROUNDS		1000

static netmem_ref taken[AREA_PAGES];

#ifdef NIOV_COST_SERIES
static void fill(struct net_devmem_dmabuf_binding *binding, unsigned long seg_pages)
{
	struct scatterlist *sg;
	struct sg_table sgt;
	unsigned int i;

	BUG_ON(sg_alloc_table(&sgt, AREA_PAGES / seg_pages, GFP_KERNEL));
	/* Every other segment is left out, so that none can be joined */
	for_each_sgtable_dma_sg(&sgt, sg, i) {
		sg_dma_address(sg) = DMA_START + 2 * i * seg_pages * PAGE_SIZE;
		sg_dma_len(sg) = seg_pages * PAGE_SIZE;
	}
	BUG_ON(netmem_area_init(&binding->area, NET_IOV_DMABUF, AREA_PAGES * PAGE_SIZE, PAGE_SHIFT));
	BUG_ON(netmem_area_set_dma(&binding->area, &sgt, 0));
	sg_free_table(&sgt);
}
#else
static void fill(struct net_devmem_dmabuf_binding *binding, unsigned long seg_pages)
{
	struct dmabuf_genpool_chunk_owner *owner;
	unsigned long i, n;

	binding->niov_shift = PAGE_SHIFT;
	binding->chunk_pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);
	BUG_ON(!binding->chunk_pool);
	for (i = 0; i < AREA_PAGES / seg_pages; i++) {
		owner = kzalloc_obj(*owner, GFP_KERNEL);
		BUG_ON(!owner);
		owner->binding = binding;
		owner->base_dma_addr = DMA_START + 2 * i * seg_pages * PAGE_SIZE;
		owner->area.num_niovs = seg_pages;
		owner->area.niovs = kvmalloc_objs(*owner->area.niovs, seg_pages);
		BUG_ON(!owner->area.niovs);
		for (n = 0; n < seg_pages; n++)
			net_iov_init(&owner->area.niovs[n], &owner->area, NET_IOV_DMABUF);
		BUG_ON(gen_pool_add_owner(binding->chunk_pool, owner->base_dma_addr,
					  owner->base_dma_addr, seg_pages * PAGE_SIZE,
					  NUMA_NO_NODE, owner));
	}
}
#endif

static void take(struct page_pool *pool, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		taken[i] = mp_dmabuf_devmem_alloc_netmems(pool, GFP_ATOMIC);
		BUG_ON(!taken[i]);
		/* What page_pool_fragment_netmem() does before the packet gets it */
		atomic_long_set(netmem_get_pp_ref_count_ref(taken[i]), 1);
	}
}

static void give(struct page_pool *pool, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++)
		mp_dmabuf_devmem_release_page(pool, taken[i]);
}

/* Instructions for one net_iov, taken and given back, while @busy of them are taken */
static unsigned long cost(unsigned long seg_pages, unsigned long busy)
{
	struct net_devmem_dmabuf_binding *binding = kzalloc_obj(*binding, GFP_KERNEL);
	struct page_pool *pool = kzalloc_obj(*pool, GFP_KERNEL);
	unsigned long flags, i;
	netmem_ref netmem;
	u64 start, end;

	BUG_ON(!binding || !pool);
	fill(binding, seg_pages);
	pool->mp_priv = binding;
	take(pool, busy);

	local_irq_save(flags);
	start = rdtsc();
	for (i = 0; i < ROUNDS; i++) {
		netmem = mp_dmabuf_devmem_alloc_netmems(pool, GFP_ATOMIC);
		atomic_long_set(netmem_get_pp_ref_count_ref(netmem), 1);
		mp_dmabuf_devmem_release_page(pool, netmem);
	}
	end = rdtsc();
	local_irq_restore(flags);

	give(pool, busy);
	/* The rest is left to the end of the machine. */
	return (end - start) / ROUNDS;
}

static int __init niov_cost_init(void)
{
	static const unsigned long seg_pages[] = { AREA_PAGES, 16, 1 };
	static const unsigned long busy[] = { 0, AREA_PAGES / 2, AREA_PAGES - 1 };
	unsigned int s, b;

	for (s = 0; s < ARRAY_SIZE(seg_pages); s++)
		for (b = 0; b < ARRAY_SIZE(busy); b++)
			pr_notice("niov-cost: %lu %lu %lu\n", seg_pages[s] * PAGE_SIZE / 1024,
				  busy[b], cost(seg_pages[s], busy[b]));
	emergency_restart();
	return 0;
}
late_initcall(niov_cost_init);
