// SPDX-License-Identifier: GPL-2.0

/* Receive side scaling: hash, indirection table and contexts, ethtool -X. */

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <net/netdev_lock.h>
#include <net/netdev_queues.h>

#include "netdevsim.h"
#include "steering.h"

#define NSIM_RSS_IP_FIELDS	(RXH_IP_SRC | RXH_IP_DST)
#define NSIM_RSS_L4_FIELDS	(RXH_L4_B_0_1 | RXH_L4_B_2_3)

/* Both addresses and both ports of IPv6 */
#define NSIM_RSS_INPUT_MAX	(2 * sizeof(struct in6_addr) + 2 * sizeof(u16))

/* The hash starts with 32 bits of the key and needs one more for each bit. */
static_assert(NSIM_RSS_INPUT_MAX + sizeof(u32) <= NSIM_RSS_KEY_SIZE);

static u32 nsim_toeplitz(const u8 *key, const u8 *data, size_t len)
{
	u32 window = get_unaligned_be32(key), hash = 0;
	size_t i;
	int bit;

	for (i = 0; i < len; i++) {
		for (bit = 7; bit >= 0; bit--) {
			if (data[i] & BIT(bit))
				hash ^= window;
			window = window << 1 | (key[i + 4] >> bit & 1);
		}
	}

	return hash;
}

/* Make the input the same for both directions of a flow. */
static void nsim_rss_xfrm(u8 xfrm, u8 *src, u8 *dst, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		u8 s = src[i], d = dst[i];

		if (xfrm & RXH_XFRM_SYM_XOR) {
			src[i] = s ^ d;
			dst[i] = s ^ d;
		} else if (xfrm & RXH_XFRM_SYM_OR_XOR) {
			src[i] = s | d;
			dst[i] = s ^ d;
		}
	}
}

/* Append the selected ones of a pair of header fields. */
static u8 *nsim_rss_input(u8 *in, u8 xfrm, const void *src, bool want_src,
			  const void *dst, bool want_dst, size_t len)
{
	u8 s[sizeof(struct in6_addr)], d[sizeof(struct in6_addr)];

	memcpy(s, src, len);
	memcpy(d, dst, len);
	nsim_rss_xfrm(xfrm, s, d, len);

	if (want_src) {
		memcpy(in, s, len);
		in += len;
	}
	if (want_dst) {
		memcpy(in, d, len);
		in += len;
	}

	return in;
}

/**
 * nsim_rss_hash() - the hash of a packet
 * @rss: the RSS context
 * @keys: header fields of the packet
 * @kind: what kind of packet it is
 *
 * Context: any.
 * Return: the Toeplitz hash of the fields that are configured for the kind of
 *	   packet, 0 if there are none.
 */
u32 nsim_rss_hash(const struct nsim_rss *rss, const struct flow_keys *keys,
		  enum nsim_flow_kind kind)
{
	u8 data[NSIM_RSS_INPUT_MAX], *in = data, xfrm = rss->input_xfrm;
	unsigned int fields;

	if (kind == NSIM_FLOW_OTHER)
		return 0;
	fields = rss->fields[kind];

	if (kind >= NSIM_FLOW_TCP6)
		in = nsim_rss_input(in, xfrm, &keys->addrs.v6addrs.src,
				    fields & RXH_IP_SRC,
				    &keys->addrs.v6addrs.dst,
				    fields & RXH_IP_DST,
				    sizeof(struct in6_addr));
	else
		in = nsim_rss_input(in, xfrm, &keys->addrs.v4addrs.src,
				    fields & RXH_IP_SRC,
				    &keys->addrs.v4addrs.dst,
				    fields & RXH_IP_DST, sizeof(__be32));
	in = nsim_rss_input(in, xfrm, &keys->ports.src, fields & RXH_L4_B_0_1,
			    &keys->ports.dst, fields & RXH_L4_B_2_3,
			    sizeof(__be16));

	return nsim_toeplitz(rss->key, data, in - data);
}

/* Spread the flows over the first @queues queues. */
void nsim_rss_spread(struct nsim_rss *rss, unsigned int queues)
{
	unsigned int i;

	for (i = 0; i < NSIM_RSS_INDIR_SIZE; i++)
		rss->indir[i] = ethtool_rxfh_indir_default(i, queues);
}

void nsim_rss_init(struct nsim_rss *rss, unsigned int queues)
{
	int i;

	nsim_rss_spread(rss, queues);
	netdev_rss_key_fill(rss->key, sizeof(rss->key));
	for (i = 0; i < NSIM_FLOW_KINDS; i++)
		rss->fields[i] = NSIM_RSS_IP_FIELDS | NSIM_RSS_L4_FIELDS;
	rss->fields[NSIM_FLOW_IP4] = NSIM_RSS_IP_FIELDS;
	rss->fields[NSIM_FLOW_IP6] = NSIM_RSS_IP_FIELDS;
	rss->input_xfrm = 0;
	rss->used = true;
}

/* Apply what user space sent; the core has checked table, key and xfrm. */
static int nsim_rss_apply(struct nsim_rss *rss,
			  const struct ethtool_rxfh_param *rxfh,
			  struct netlink_ext_ack *extack)
{
	int i;

	if (rxfh->hfunc != ETH_RSS_HASH_NO_CHANGE &&
	    rxfh->hfunc != ETH_RSS_HASH_TOP) {
		NSIM_EA(extack, "only the Toeplitz hash is supported");
		return -EOPNOTSUPP;
	}

	if (rxfh->indir)
		for (i = 0; i < NSIM_RSS_INDIR_SIZE; i++)
			rss->indir[i] = rxfh->indir[i];
	if (rxfh->key)
		memcpy(rss->key, rxfh->key, NSIM_RSS_KEY_SIZE);
	if (rxfh->input_xfrm != RXH_XFRM_NO_CHANGE)
		rss->input_xfrm = rxfh->input_xfrm;

	return 0;
}

/* Change context @id, which starts anew if @create is set. */
static int nsim_rss_change(struct net_device *dev, u32 id, bool create,
			   const struct ethtool_rxfh_param *rxfh,
			   struct netlink_ext_ack *extack)
{
	struct netdevsim *ns = netdev_priv(dev);
	struct nsim_steering *new;
	int err;

	new = nsim_steering_copy(ns);
	if (!new)
		return -ENOMEM;

	if (create)
		nsim_rss_init(&new->rss[id], dev->real_num_rx_queues);
	err = nsim_rss_apply(&new->rss[id], rxfh, extack);
	if (err) {
		kfree(new);
		return err;
	}

	nsim_steering_publish(ns, new);
	return 0;
}

u32 nsim_get_rx_ring_count(struct net_device *dev)
{
	return dev->real_num_rx_queues;
}

u32 nsim_get_rxfh_indir_size(struct net_device *dev)
{
	return NSIM_RSS_INDIR_SIZE;
}

u32 nsim_get_rxfh_key_size(struct net_device *dev)
{
	return NSIM_RSS_KEY_SIZE;
}

int nsim_get_rxfh(struct net_device *dev, struct ethtool_rxfh_param *rxfh)
{
	struct netdevsim *ns = netdev_priv(dev);
	const struct nsim_rss *rss = &nsim_steering_get(ns)->rss[0];
	int i;

	rxfh->hfunc = ETH_RSS_HASH_TOP;
	rxfh->input_xfrm = rss->input_xfrm;
	if (rxfh->indir)
		for (i = 0; i < NSIM_RSS_INDIR_SIZE; i++)
			rxfh->indir[i] = rss->indir[i];
	if (rxfh->key)
		memcpy(rxfh->key, rss->key, NSIM_RSS_KEY_SIZE);

	return 0;
}

int nsim_set_rxfh(struct net_device *dev, struct ethtool_rxfh_param *rxfh,
		  struct netlink_ext_ack *extack)
{
	return nsim_rss_change(dev, 0, false, rxfh, extack);
}

int nsim_create_rxfh_context(struct net_device *dev,
			     struct ethtool_rxfh_context *ctx,
			     const struct ethtool_rxfh_param *rxfh,
			     struct netlink_ext_ack *extack)
{
	struct netdevsim *ns = netdev_priv(dev);
	const struct nsim_rss *rss;
	int err, i;

	err = nsim_rss_change(dev, rxfh->rss_context, true, rxfh, extack);
	if (err)
		return err;

	/* The core knows what user space sent, but not the defaults */
	rss = &nsim_steering_get(ns)->rss[rxfh->rss_context];
	for (i = 0; i < NSIM_RSS_INDIR_SIZE; i++)
		ethtool_rxfh_context_indir(ctx)[i] = rss->indir[i];
	memcpy(ethtool_rxfh_context_key(ctx), rss->key, NSIM_RSS_KEY_SIZE);
	ctx->hfunc = ETH_RSS_HASH_TOP;
	ctx->input_xfrm = rss->input_xfrm;

	return 0;
}

int nsim_modify_rxfh_context(struct net_device *dev,
			     struct ethtool_rxfh_context *ctx,
			     const struct ethtool_rxfh_param *rxfh,
			     struct netlink_ext_ack *extack)
{
	return nsim_rss_change(dev, rxfh->rss_context, false, rxfh, extack);
}

int nsim_remove_rxfh_context(struct net_device *dev,
			     struct ethtool_rxfh_context *ctx, u32 rss_context,
			     struct netlink_ext_ack *extack)
{
	struct netdevsim *ns = netdev_priv(dev);
	struct nsim_steering *new;

	new = nsim_steering_copy(ns);
	if (!new)
		return -ENOMEM;

	memset(&new->rss[rss_context], 0, sizeof(new->rss[rss_context]));
	nsim_steering_publish(ns, new);
	return 0;
}

static int nsim_flow_type_kind(u32 flow_type)
{
	switch (flow_type) {
	case TCP_V4_FLOW:
		return NSIM_FLOW_TCP4;
	case UDP_V4_FLOW:
		return NSIM_FLOW_UDP4;
	case IPV4_FLOW:
		return NSIM_FLOW_IP4;
	case TCP_V6_FLOW:
		return NSIM_FLOW_TCP6;
	case UDP_V6_FLOW:
		return NSIM_FLOW_UDP6;
	case IPV6_FLOW:
		return NSIM_FLOW_IP6;
	default:
		return -EOPNOTSUPP;
	}
}

int nsim_get_rxfh_fields(struct net_device *dev,
			 struct ethtool_rxfh_fields *fields)
{
	struct netdevsim *ns = netdev_priv(dev);
	int kind = nsim_flow_type_kind(fields->flow_type);
	const struct nsim_steering *steering;

	if (kind < 0)
		return kind;

	steering = nsim_steering_get(ns);
	if (fields->rss_context >= NSIM_RSS_CONTEXTS ||
	    !steering->rss[fields->rss_context].used)
		return -ENOENT;

	fields->data = steering->rss[fields->rss_context].fields[kind];
	return 0;
}

int nsim_set_rxfh_fields(struct net_device *dev,
			 const struct ethtool_rxfh_fields *fields,
			 struct netlink_ext_ack *extack)
{
	struct netdevsim *ns = netdev_priv(dev);
	int kind = nsim_flow_type_kind(fields->flow_type);
	u32 supported = NSIM_RSS_IP_FIELDS;
	struct nsim_steering *new;

	if (kind < 0) {
		NSIM_EA(extack, "flow type is not hashed");
		return kind;
	}
	if (kind != NSIM_FLOW_IP4 && kind != NSIM_FLOW_IP6)
		supported |= NSIM_RSS_L4_FIELDS;
	if (fields->data & ~supported) {
		NSIM_EA(extack, "field can't be hashed for this flow type");
		return -EOPNOTSUPP;
	}

	new = nsim_steering_copy(ns);
	if (!new)
		return -ENOMEM;
	if (fields->rss_context >= NSIM_RSS_CONTEXTS ||
	    !new->rss[fields->rss_context].used) {
		kfree(new);
		return -ENOENT;
	}

	new->rss[fields->rss_context].fields[kind] = fields->data;
	nsim_steering_publish(ns, new);
	return 0;
}
