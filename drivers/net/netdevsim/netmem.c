// SPDX-License-Identifier: GPL-2.0

/* Receive queues with a memory provider (io_uring zcrx, devmem TCP).
 *
 * The NIC splits TCP packets behind the header: headers go to kernel memory,
 * payload is written by the simulated DMA engine to buffers of the queue's page
 * pool, which the CPU may not be able to read. All else stays in kernel memory.
 *
 * Where this cheats:
 * - only queues with a memory provider split. Without one the buffers would be
 *   ordinary pages, and the peer's skb which is already made of pages is as
 *   good as a copy of it.
 * - there is no descriptor ring, buffers are taken from the page pool when a
 *   packet needs them. The page pool's cache of up to PP_ALLOC_CACHE_REFILL
 *   buffers behaves much like a ring of that size.
 * - the checksum field of a packet that was sent with checksum offload is never
 *   computed, CHECKSUM_PARTIAL goes through to the receiver like in veth.
 */

#include <linux/if_vlan.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <net/gro.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ipv6.h>
#include <net/netdev_queues.h>
#include <net/page_pool/helpers.h>
#include <net/tcp.h>

#include "netdevsim.h"

#define NSIM_RX_PAGE_SIZE_MAX	(PAGE_SIZE << MAX_PAGE_ORDER)

/* The kinds of GSO packet for which the wire packets are simply consecutive
 * parts of one TCP stream, what receive offload in hardware aggregates.
 */
#define NSIM_GSO_AGGREGATE	(SKB_GSO_TCPV4 | SKB_GSO_TCPV6 | \
				 SKB_GSO_TCP_ECN | SKB_GSO_TCP_FIXEDID | \
				 SKB_GSO_TCP_ACCECN)

/* Offsets from the start of the Ethernet header */
struct nsim_hds {
	unsigned int network;
	unsigned int transport;
	unsigned int payload;
	unsigned int end;	/* of the IP packet, padding may follow */
	bool ipv6;
};

void nsim_netmem_pp_params(struct netdevsim *ns, int idx,
			   const struct netdev_queue_config *qcfg,
			   struct page_pool_params *params)
{
	params->flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV |
			PP_FLAG_ALLOW_UNREADABLE_NETMEM;
	params->order = get_order(qcfg->rx_page_size);
	params->max_len = qcfg->rx_page_size;
	params->dev = nsim_dma_dev(ns);
	params->dma_dir = DMA_FROM_DEVICE;
	params->queue_idx = idx;
}

/* Whoever asks is going to import memory for the device. */
struct device *nsim_netmem_get_dma_dev(struct net_device *dev, int idx)
{
	struct netdevsim *ns = netdev_priv(dev);

	nsim_dma_pci_map_bars(ns->nsim_bus_dev);
	return nsim_dma_dev(ns);
}

void nsim_netmem_default_qcfg(struct net_device *dev,
			      struct netdev_queue_config *qcfg)
{
	qcfg->rx_page_size = PAGE_SIZE;
}

int nsim_netmem_validate_qcfg(struct net_device *dev,
			      struct netdev_queue_config *qcfg,
			      struct netlink_ext_ack *extack)
{
	if (!is_power_of_2(qcfg->rx_page_size) ||
	    qcfg->rx_page_size < PAGE_SIZE ||
	    qcfg->rx_page_size > NSIM_RX_PAGE_SIZE_MAX) {
		NSIM_EA(extack, "rx-page-size must be a power of two, of page size or more");
		return -EINVAL;
	}
	return 0;
}

static bool nsim_hds_parse_ipv4(const struct sk_buff *skb, struct nsim_hds *hds)
{
	const struct iphdr *iph;
	struct iphdr _iph;

	iph = skb_header_pointer(skb, hds->network, sizeof(_iph), &_iph);
	if (!iph || iph->version != 4 || iph->ihl < 5 ||
	    iph->protocol != IPPROTO_TCP || ip_is_fragment(iph))
		return false;

	hds->transport = hds->network + iph->ihl * 4;
	hds->end = hds->network + ntohs(iph->tot_len);
	hds->ipv6 = false;
	return true;
}

static bool nsim_hds_parse_ipv6(const struct sk_buff *skb, struct nsim_hds *hds)
{
	const struct ipv6hdr *ip6h;
	struct ipv6hdr _ip6h;
	__be16 frag_off;
	u8 nexthdr;
	int off;

	ip6h = skb_header_pointer(skb, hds->network, sizeof(_ip6h), &_ip6h);
	if (!ip6h || ip6h->version != 6)
		return false;

	nexthdr = ip6h->nexthdr;
	off = ipv6_skip_exthdr(skb, hds->network + sizeof(*ip6h), &nexthdr,
			       &frag_off);
	if (off < 0 || frag_off || nexthdr != IPPROTO_TCP)
		return false;

	hds->transport = off;
	hds->end = hds->network + sizeof(*ip6h) + ntohs(ip6h->payload_len);
	hds->ipv6 = true;
	return true;
}

/* Find out where to split, false if the packet is to stay in one piece. */
static bool nsim_hds_parse(const struct sk_buff *skb, struct nsim_hds *hds)
{
	const struct vlan_hdr *vh;
	const struct tcphdr *th;
	struct vlan_hdr _vh;
	struct tcphdr _th;
	__be16 proto;

	proto = eth_hdr(skb)->h_proto;
	hds->network = ETH_HLEN;
	while (eth_type_vlan(proto)) {
		vh = skb_header_pointer(skb, hds->network, sizeof(_vh), &_vh);
		if (!vh)
			return false;
		proto = vh->h_vlan_encapsulated_proto;
		hds->network += VLAN_HLEN;
	}

	switch (proto) {
	case htons(ETH_P_IP):
		if (!nsim_hds_parse_ipv4(skb, hds))
			return false;
		break;
	case htons(ETH_P_IPV6):
		if (!nsim_hds_parse_ipv6(skb, hds))
			return false;
		break;
	default:
		return false;
	}

	th = skb_header_pointer(skb, hds->transport, sizeof(_th), &_th);
	if (!th || th->doff < 5)
		return false;
	hds->payload = hds->transport + th->doff * 4;

	/* Lengths of more than 64K don't fit into the IP header, and what GSO
	 * makes of a packet is the whole skb anyway.
	 */
	if (skb_is_gso(skb))
		hds->end = skb->len;

	return hds->payload < hds->end && hds->end <= skb->len;
}

/* The NIC is the last one who can look at all of the packet, so it must verify
 * checksums. A packet which fails stays in one piece in kernel memory for the
 * stack to see for itself, count and drop.
 */
static bool nsim_hds_csum_ok(const struct sk_buff *skb,
			     const struct nsim_hds *hds)
{
	unsigned int len = hds->end - hds->transport;
	const struct ipv6hdr *ip6h;
	const struct iphdr *iph;
	struct ipv6hdr _ip6h;
	struct iphdr _iph;
	__wsum csum;

	if (skb->ip_summed == CHECKSUM_PARTIAL ||
	    skb->ip_summed == CHECKSUM_UNNECESSARY)
		return true;

	csum = skb_checksum(skb, hds->transport, len, 0);
	if (hds->ipv6) {
		ip6h = skb_header_pointer(skb, hds->network, sizeof(_ip6h),
					  &_ip6h);
		return ip6h && !csum_ipv6_magic(&ip6h->saddr, &ip6h->daddr,
						len, IPPROTO_TCP, csum);
	}

	iph = skb_header_pointer(skb, hds->network, sizeof(_iph), &_iph);
	return iph && !csum_tcpudp_magic(iph->saddr, iph->daddr, len,
					 IPPROTO_TCP, csum);
}

static void nsim_netmem_deliver(struct nsim_rq *rq, struct sk_buff *skb)
{
	nsim_rq_rx_add(rq, skb->len);
	napi_gro_receive(&rq->napi, skb);
}

static void nsim_netmem_drop(struct nsim_rq *rq, struct sk_buff *skb)
{
	nsim_rq_stat_add(rq->stats, &rq->stats->drops, 1);
	dev_dstats_rx_dropped(rq->napi.dev);
	kfree_skb_reason(skb, SKB_DROP_REASON_NOMEM);
}

/* What a NIC knows about a packet in addition to its bytes. */
static void nsim_netmem_set_meta(struct nsim_rq *rq, struct sk_buff *nskb,
				 const struct sk_buff *skb,
				 const struct nsim_hds *hds)
{
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		nskb->ip_summed = CHECKSUM_PARTIAL;
		nskb->csum_start = skb_headroom(nskb) + hds->transport;
		nskb->csum_offset = offsetof(struct tcphdr, check);
	} else {
		nskb->ip_summed = CHECKSUM_UNNECESSARY;
	}

	if (skb_is_gso(skb)) {
		skb_shinfo(nskb)->gso_size = skb_shinfo(skb)->gso_size;
		skb_shinfo(nskb)->gso_segs = skb_shinfo(skb)->gso_segs;
		skb_shinfo(nskb)->gso_type = skb_shinfo(skb)->gso_type;
	}

	/* The other offloads of the device left their results here */
	skb_copy_hash(nskb, skb);
	skb_copy_decrypted(nskb, skb);
	skb_ext_copy(nskb, skb);

	skb_record_rx_queue(nskb, rq->napi.index);
	nskb->protocol = eth_type_trans(nskb, rq->napi.dev);
}

/* Returns -ENOBUFS when there are no more buffers, -EFAULT for a DMA fault. */
static int nsim_netmem_write_payload(struct nsim_rq *rq, struct sk_buff *nskb,
				     const struct sk_buff *skb,
				     const struct nsim_hds *hds)
{
	struct netdevsim *ns = netdev_priv(rq->napi.dev);
	struct nsim_rq_stats *stats = rq->stats;
	struct page_pool *pool = rq->page_pool;
	unsigned int off, len;
	int err;

	for (off = hds->payload; off < skb->len; off += len) {
		unsigned int truesize, buf_off = 0;
		netmem_ref netmem;
		dma_addr_t dma;

		len = min(skb->len - off, PAGE_SIZE << pool->p.order);
		truesize = len;
		netmem = page_pool_dev_alloc_netmem(pool, &buf_off, &truesize);
		if (!netmem) {
			nsim_rq_stat_add(stats, &stats->alloc_fail, 1);
			return -ENOBUFS;
		}
		skb_add_rx_frag_netmem(nskb, skb_shinfo(nskb)->nr_frags, netmem,
				       buf_off, len, truesize);

		dma = page_pool_get_dma_addr_netmem(netmem) + buf_off;
		err = nsim_dma_write_skb(ns, dma, skb, off, len);
		if (err) {
			nsim_rq_stat_add(stats, &stats->dma_faults, 1);
			return err;
		}
		page_pool_dma_sync_netmem_for_cpu(pool, netmem, buf_off, len);
		nsim_rq_stat_add(stats, &stats->dma_bytes, len);
	}

	return 0;
}

/* Receive @skb as header and payload. On error @skb is left to the caller. */
static int nsim_netmem_split(struct nsim_rq *rq, struct sk_buff *skb,
			     const struct nsim_hds *hds)
{
	struct nsim_rq_stats *stats = rq->stats;
	struct sk_buff *nskb;
	int err;

	nskb = napi_alloc_skb(&rq->napi, hds->payload);
	if (!nskb) {
		nsim_rq_stat_add(stats, &stats->alloc_fail, 1);
		return -ENOBUFS;
	}
	skb_mark_for_recycle(nskb);

	err = skb_copy_bits(skb, 0, skb_put(nskb, hds->payload), hds->payload);
	if (!err)
		err = nsim_netmem_write_payload(rq, nskb, skb, hds);
	if (err) {
		kfree_skb(nskb);
		return err;
	}

	nsim_netmem_set_meta(rq, nskb, skb, hds);
	nsim_rq_stat_add(stats, &stats->hds_packets, 1);
	nsim_netmem_deliver(rq, nskb);
	consume_skb(skb);

	return 0;
}

static void nsim_netmem_rcv_one(struct nsim_rq *rq, struct sk_buff *skb,
				const struct nsim_hds *hds)
{
	unsigned int buf_size = PAGE_SIZE << rq->page_pool->p.order;

	if (DIV_ROUND_UP(skb->len - hds->payload, buf_size) > MAX_SKB_FRAGS ||
	    nsim_netmem_split(rq, skb, hds))
		nsim_netmem_drop(rq, skb);
}

/* One skb for all the packets of the wire, as receive offload in hardware does
 * it. False if they have to be received one by one.
 */
static bool nsim_netmem_rcv_aggregate(struct nsim_rq *rq, struct sk_buff *skb,
				      const struct nsim_hds *hds)
{
	unsigned int buf_size = PAGE_SIZE << rq->page_pool->p.order;

	if (!(rq->napi.dev->features & NETIF_F_LRO) ||
	    skb_shinfo(skb)->gso_type & ~NSIM_GSO_AGGREGATE ||
	    DIV_ROUND_UP(skb->len - hds->payload, buf_size) > MAX_SKB_FRAGS)
		return false;

	return !nsim_netmem_split(rq, skb, hds);
}

static void nsim_netmem_rcv_segments(struct nsim_rq *rq, struct sk_buff *skb)
{
	struct sk_buff *segs, *next;
	struct nsim_hds hds;

	segs = skb_gso_segment(skb, NETIF_F_SG | NETIF_F_HW_CSUM |
				    NETIF_F_HIGHDMA);
	if (IS_ERR_OR_NULL(segs)) {
		nsim_netmem_drop(rq, skb);
		return;
	}
	consume_skb(skb);

	skb_list_walk_safe(segs, skb, next) {
		skb_mark_not_on_list(skb);
		if (nsim_hds_parse(skb, &hds))
			nsim_netmem_rcv_one(rq, skb, &hds);
		else
			nsim_netmem_drop(rq, skb);
	}
}

/**
 * nsim_netmem_rcv() - receive a packet on a queue with a memory provider
 * @rq: the receive queue
 * @skb: the packet as the peer's driver sent it, possibly a GSO packet, with
 *	 the Ethernet header pulled; consumed
 *
 * Context: NAPI poll of @rq.
 */
void nsim_netmem_rcv(struct nsim_rq *rq, struct sk_buff *skb)
{
	struct nsim_hds hds;

	__skb_push(skb, ETH_HLEN);

	if (!nsim_hds_parse(skb, &hds))
		goto deliver;

	if (!nsim_hds_csum_ok(skb, &hds)) {
		nsim_rq_stat_add(rq->stats, &rq->stats->csum_bad, 1);
		goto deliver;
	}

	if (!skb_is_gso(skb))
		nsim_netmem_rcv_one(rq, skb, &hds);
	else if (!nsim_netmem_rcv_aggregate(rq, skb, &hds))
		/* A packet of the wire that finds no buffer does not take the
		 * others with it, see how far we get.
		 */
		nsim_netmem_rcv_segments(rq, skb);
	return;

deliver:
	__skb_pull(skb, ETH_HLEN);
	nsim_netmem_deliver(rq, skb);
}
