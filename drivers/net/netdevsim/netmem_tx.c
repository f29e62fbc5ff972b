// SPDX-License-Identifier: GPL-2.0

/* Transmission from memory that the CPU can't read (devmem TCP).
 *
 * The headers of such a packet are in kernel memory, the payload is in
 * net_iovs. The driver of a NIC writes the DMA addresses of both into
 * descriptors. Here the simulated DMA engine gets them, and what it reads is the
 * packet that the peer receives.
 *
 * Where this cheats:
 * - there is no descriptor ring, the packet has been read when the driver
 *   returns.
 */

#include <linux/dma-mapping.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#include "netdevsim.h"

#define NSIM_TX_PAGE_ORDER	2

/* Read one part of the payload. A packet may have both kinds of memory. */
static int nsim_netmem_read_frag(struct netdevsim *ns, struct sk_buff *nskb,
				 int offset, const skb_frag_t *frag)
{
	struct device *dev = nsim_dma_dev(ns);
	size_t len = skb_frag_size(frag);
	dma_addr_t addr;
	int err;

	addr = skb_frag_dma_map(dev, frag);
	if (dma_mapping_error(dev, addr))
		return -ENOMEM;

	err = nsim_dma_read_skb(ns, addr, nskb, offset, len);
	if (!skb_frag_is_net_iov(frag))
		dma_unmap_page(dev, addr, len, DMA_TO_DEVICE);

	return err;
}

static int nsim_netmem_read_payload(struct netdevsim *ns, struct sk_buff *nskb,
				    const struct sk_buff *skb)
{
	int i, err, offset = skb_headlen(skb);

	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		err = nsim_netmem_read_frag(ns, nskb, offset, frag);
		if (err)
			return err;
		offset += skb_frag_size(frag);
	}

	return 0;
}

/* A packet in kernel memory with all of @skb but the payload. */
static struct sk_buff *nsim_netmem_tx_alloc(const struct sk_buff *skb)
{
	struct sk_buff *nskb;
	int err;

	nskb = alloc_skb_with_frags(skb_headroom(skb) + skb_headlen(skb),
				    skb->data_len, NSIM_TX_PAGE_ORDER, &err,
				    GFP_ATOMIC);
	if (!nskb)
		return NULL;

	/* All offsets of headers are from the start of the buffer */
	skb_reserve(nskb, skb_headroom(skb));
	skb_put_data(nskb, skb->data, skb_headlen(skb));
	nskb->len += skb->data_len;
	nskb->data_len = skb->data_len;
	skb_copy_header(nskb, skb);
	nskb->unreadable = 0;

	return nskb;
}

/**
 * nsim_netmem_tx() - read a packet that is to be transmitted from its memory
 * @ns: the device that transmits
 * @skb: the packet, consumed in any case
 *
 * Context: ndo_start_xmit.
 * Return: the packet as it goes to the wire, NULL if it was dropped: out of
 *	   memory, or a DMA fault.
 */
struct sk_buff *nsim_netmem_tx(struct netdevsim *ns, struct sk_buff *skb)
{
	struct nsim_tq_stats *stats = &ns->tq_stats[skb_get_queue_mapping(skb)];
	struct sk_buff *nskb;
	int err;

	if (skb_frags_readable(skb))
		return skb;

	nskb = skb_has_frag_list(skb) ? NULL : nsim_netmem_tx_alloc(skb);
	if (!nskb)
		goto err_drop;

	err = nsim_netmem_read_payload(ns, nskb, skb);
	if (err) {
		if (err == -EFAULT)
			nsim_tq_stat_add(stats, &stats->dma_faults, 1);
		kfree_skb(nskb);
		goto err_drop;
	}

	nsim_tq_stat_add(stats, &stats->dma_bytes, skb->data_len);
	/* Completes it for the socket */
	consume_skb(skb);
	return nskb;

err_drop:
	kfree_skb(skb);
	return NULL;
}
