// SPDX-License-Identifier: GPL-2.0

/* Rules for single flows, ethtool -N. The one with the lowest number wins. */

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <net/ipv6.h>

#include "netdevsim.h"
#include "steering.h"

static u32 nsim_rule_type(const struct ethtool_rx_flow_spec *fs)
{
	return fs->flow_type & ~FLOW_RSS;
}

static bool nsim_match_v4(const struct ethtool_tcpip4_spec *h,
			  const struct ethtool_tcpip4_spec *m,
			  const struct flow_keys *keys)
{
	return !((keys->addrs.v4addrs.src ^ h->ip4src) & m->ip4src) &&
	       !((keys->addrs.v4addrs.dst ^ h->ip4dst) & m->ip4dst) &&
	       !((keys->ports.src ^ h->psrc) & m->psrc) &&
	       !((keys->ports.dst ^ h->pdst) & m->pdst);
}

static bool nsim_match_addr6(const struct in6_addr *addr, const __be32 *h,
			     const __be32 *m)
{
	return !ipv6_masked_addr_cmp(addr, (const struct in6_addr *)m,
				     (const struct in6_addr *)h);
}

static bool nsim_match_v6(const struct ethtool_tcpip6_spec *h,
			  const struct ethtool_tcpip6_spec *m,
			  const struct flow_keys *keys)
{
	return nsim_match_addr6(&keys->addrs.v6addrs.src, h->ip6src,
				m->ip6src) &&
	       nsim_match_addr6(&keys->addrs.v6addrs.dst, h->ip6dst,
				m->ip6dst) &&
	       !((keys->ports.src ^ h->psrc) & m->psrc) &&
	       !((keys->ports.dst ^ h->pdst) & m->pdst);
}

static bool nsim_rule_match(const struct ethtool_rx_flow_spec *fs,
			    const struct flow_keys *keys,
			    enum nsim_flow_kind kind)
{
	switch (nsim_rule_type(fs)) {
	case TCP_V4_FLOW:
		return kind == NSIM_FLOW_TCP4 &&
		       nsim_match_v4(&fs->h_u.tcp_ip4_spec,
				     &fs->m_u.tcp_ip4_spec, keys);
	case UDP_V4_FLOW:
		return kind == NSIM_FLOW_UDP4 &&
		       nsim_match_v4(&fs->h_u.udp_ip4_spec,
				     &fs->m_u.udp_ip4_spec, keys);
	case TCP_V6_FLOW:
		return kind == NSIM_FLOW_TCP6 &&
		       nsim_match_v6(&fs->h_u.tcp_ip6_spec,
				     &fs->m_u.tcp_ip6_spec, keys);
	case UDP_V6_FLOW:
		return kind == NSIM_FLOW_UDP6 &&
		       nsim_match_v6(&fs->h_u.udp_ip6_spec,
				     &fs->m_u.udp_ip6_spec, keys);
	default:
		return false;
	}
}

/**
 * nsim_ntuple_find() - find the rule for a packet
 * @steering: the state of the receiving device
 * @keys: header fields of the packet
 * @kind: what kind of packet it is
 *
 * Context: any.
 * Return: the rule, NULL if there is none.
 */
const struct nsim_ntuple_rule *
nsim_ntuple_find(const struct nsim_steering *steering,
		 const struct flow_keys *keys, enum nsim_flow_kind kind)
{
	const struct nsim_ntuple_rule *rule;
	int i;

	for (i = 0; i < NSIM_NTUPLE_RULES; i++) {
		rule = &steering->rules[i];
		if (rule->used && nsim_rule_match(&rule->fs, keys, kind))
			return rule;
	}

	return NULL;
}

/* Only fields that nsim_rule_match() looks at may have a mask. */
static int nsim_rule_check_fields(const struct ethtool_rx_flow_spec *fs)
{
	switch (nsim_rule_type(fs)) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
		return fs->m_u.tcp_ip4_spec.tos ? -EOPNOTSUPP : 0;
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		return fs->m_u.tcp_ip6_spec.tclass ? -EOPNOTSUPP : 0;
	default:
		/* With this also FLOW_EXT and FLOW_MAC_EXT */
		return -EOPNOTSUPP;
	}
}

static int nsim_rule_check_dest(struct net_device *dev,
				const struct nsim_steering *steering,
				const struct ethtool_rxnfc *info)
{
	u64 cookie = info->fs.ring_cookie;

	if (info->fs.flow_type & FLOW_RSS) {
		/* The core has made sure that there is no queue to add */
		if (info->rss_context >= NSIM_RSS_CONTEXTS ||
		    !steering->rss[info->rss_context].used)
			return -EINVAL;
		return 0;
	}

	if (cookie == RX_CLS_FLOW_DISC)
		return 0;
	if (cookie == RX_CLS_FLOW_WAKE)
		return -EOPNOTSUPP;
	if (ethtool_get_flow_spec_ring_vf(cookie) ||
	    cookie >= dev->real_num_rx_queues)
		return -EINVAL;
	return 0;
}

static int nsim_rule_location(const struct nsim_steering *steering, u32 loc)
{
	int i;

	switch (loc) {
	case RX_CLS_LOC_ANY:
	case RX_CLS_LOC_FIRST:
		for (i = 0; i < NSIM_NTUPLE_RULES; i++)
			if (!steering->rules[i].used)
				return i;
		return -ENOSPC;
	case RX_CLS_LOC_LAST:
		for (i = NSIM_NTUPLE_RULES - 1; i >= 0; i--)
			if (!steering->rules[i].used)
				return i;
		return -ENOSPC;
	default:
		return loc < NSIM_NTUPLE_RULES ? loc : -EINVAL;
	}
}

static int nsim_ntuple_insert(struct net_device *dev,
			      struct ethtool_rxnfc *info)
{
	struct netdevsim *ns = netdev_priv(dev);
	struct nsim_ntuple_rule *rule;
	struct nsim_steering *new;
	int loc, err;

	if (!(dev->features & NETIF_F_NTUPLE))
		return -EOPNOTSUPP;
	err = nsim_rule_check_fields(&info->fs);
	if (err)
		return err;

	new = nsim_steering_copy(ns);
	if (!new)
		return -ENOMEM;

	err = nsim_rule_check_dest(dev, new, info);
	if (err)
		goto err_free;
	loc = nsim_rule_location(new, info->fs.location);
	if (loc < 0) {
		err = loc;
		goto err_free;
	}

	rule = &new->rules[loc];
	new->nr_rules += !rule->used;
	rule->fs = info->fs;
	rule->fs.location = loc;
	rule->rss_context = info->fs.flow_type & FLOW_RSS ?
			    info->rss_context : 0;
	rule->used = true;
	nsim_steering_publish(ns, new);

	info->fs.location = loc;
	return 0;

err_free:
	kfree(new);
	return err;
}

static int nsim_ntuple_delete(struct netdevsim *ns, u32 loc)
{
	const struct nsim_steering *old = nsim_steering_get(ns);
	struct nsim_steering *new;

	if (loc >= NSIM_NTUPLE_RULES || !old->rules[loc].used)
		return -ENOENT;

	new = nsim_steering_copy(ns);
	if (!new)
		return -ENOMEM;

	memset(&new->rules[loc], 0, sizeof(new->rules[loc]));
	new->nr_rules--;
	nsim_steering_publish(ns, new);
	return 0;
}

/* All rules go when the feature is turned off. */
int nsim_ntuple_flush(struct netdevsim *ns)
{
	struct nsim_steering *new;

	new = nsim_steering_copy(ns);
	if (!new)
		return -ENOMEM;

	memset(new->rules, 0, sizeof(new->rules));
	new->nr_rules = 0;
	nsim_steering_publish(ns, new);
	return 0;
}

int nsim_set_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info)
{
	switch (info->cmd) {
	case ETHTOOL_SRXCLSRLINS:
		return nsim_ntuple_insert(dev, info);
	case ETHTOOL_SRXCLSRLDEL:
		return nsim_ntuple_delete(netdev_priv(dev), info->fs.location);
	default:
		return -EOPNOTSUPP;
	}
}

static int nsim_ntuple_list(const struct nsim_steering *steering,
			    struct ethtool_rxnfc *info, u32 *locs)
{
	unsigned int nr = 0;
	int i;

	for (i = 0; i < NSIM_NTUPLE_RULES; i++) {
		if (!steering->rules[i].used)
			continue;
		if (nr == info->rule_cnt)
			return -EMSGSIZE;
		locs[nr++] = i;
	}

	info->data = NSIM_NTUPLE_RULES;
	info->rule_cnt = nr;
	return 0;
}

int nsim_get_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info,
		   u32 *locs)
{
	const struct nsim_steering *steering;
	u32 loc = info->fs.location;

	steering = nsim_steering_get(netdev_priv(dev));

	switch (info->cmd) {
	case ETHTOOL_GRXCLSRLCNT:
		info->data = NSIM_NTUPLE_RULES | RX_CLS_LOC_SPECIAL;
		info->rule_cnt = steering->nr_rules;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		return nsim_ntuple_list(steering, info, locs);
	case ETHTOOL_GRXCLSRULE:
		if (loc >= NSIM_NTUPLE_RULES || !steering->rules[loc].used)
			return -ENOENT;
		info->fs = steering->rules[loc].fs;
		info->rss_context = steering->rules[loc].rss_context;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}
