/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_NETMEM_AREA_H
#define _NET_NETMEM_AREA_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <net/netmem.h>

struct page_pool;
struct sg_table;

/**
 * struct netmem_area - net_iovs of one size and the list of the free ones
 * @nia: the net_iovs; &net_iov_area.base_virtual is the user's
 * @niov_shift: log2 of the size of a net_iov
 * @lock: protects @nr_free and @free
 * @nr_free: how many are free
 * @free: their indices, as a stack: what was used last is used next
 */
struct netmem_area {
	struct net_iov_area	nia;
	unsigned int		niov_shift;

	spinlock_t		lock ____cacheline_aligned_in_smp;
	u32			nr_free;
	u32			*free;
};

int netmem_area_init(struct netmem_area *area, enum net_iov_type type,
		     size_t size, unsigned int niov_shift);
void netmem_area_exit(struct netmem_area *area);
int netmem_area_set_dma(struct netmem_area *area, const struct sg_table *sgt,
			size_t offset);
void netmem_area_clear_dma(struct netmem_area *area);
unsigned int netmem_sgt_max_shift(const struct sg_table *sgt, size_t offset,
				  size_t size, bool align_addr);

struct net_iov *netmem_area_get(struct netmem_area *area);
void netmem_area_put(struct net_iov *niov);
unsigned int netmem_area_pp_alloc(struct netmem_area *area,
				  struct page_pool *pool, netmem_ref *netmems,
				  unsigned int nr);
void netmem_area_pp_release(netmem_ref netmem);

static inline struct netmem_area *net_iov_to_area(const struct net_iov *niov)
{
	return container_of(net_iov_owner(niov), struct netmem_area, nia);
}

/* Where in the memory that the area was made of a net_iov begins. */
static inline unsigned long netmem_area_offset(const struct net_iov *niov)
{
	return net_iov_owner(niov)->base_virtual +
	       ((unsigned long)net_iov_idx(niov) <<
		net_iov_to_area(niov)->niov_shift);
}

#endif /* _NET_NETMEM_AREA_H */
