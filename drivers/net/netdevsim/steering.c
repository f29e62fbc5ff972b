// SPDX-License-Identifier: GPL-2.0

/* Receive side scaling and flow steering: on which queue a packet arrives.
 *
 * What the hardware of a real NIC does with the first bytes of a packet from
 * the wire is done here on behalf of the receiver while the peer transmits. It
 * is the order of most NICs: a rule for the flow (ethtool -N) decides, alone or
 * with the RSS context that it names, and RSS (ethtool -X) where there is none.
 *
 * Where this cheats:
 * - a GSO packet is one packet. The packets of the wire all have the same flow,
 *   so nothing would change.
 */

#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <net/netdev_lock.h>

#include "netdevsim.h"
#include "steering.h"

/* The current state, for the holder of the instance lock. */
const struct nsim_steering *nsim_steering_get(struct netdevsim *ns)
{
	netdev_assert_locked_ops_compat(ns->netdev);
	return rcu_dereference_protected(ns->steering, true);
}

/**
 * nsim_steering_copy() - begin to change the steering of received packets
 * @ns: the device
 *
 * Context: process context, under the instance lock.
 * Return: a copy of the current state, NULL if out of memory. Give it to
 *	   nsim_steering_publish(), or to kfree().
 */
struct nsim_steering *nsim_steering_copy(struct netdevsim *ns)
{
	return kmemdup(nsim_steering_get(ns), sizeof(struct nsim_steering),
		       GFP_KERNEL_ACCOUNT);
}

/**
 * nsim_steering_publish() - let packets that are sent from now on use a state
 * @ns: the device
 * @new: what nsim_steering_copy() returned, with changes
 *
 * Context: process context, under the instance lock.
 */
void nsim_steering_publish(struct netdevsim *ns, struct nsim_steering *new)
{
	struct nsim_steering *old;

	netdev_assert_locked_ops_compat(ns->netdev);
	old = rcu_replace_pointer(ns->steering, new, true);
	kfree_rcu(old, rcu);
}

int nsim_steering_init(struct netdevsim *ns)
{
	struct nsim_steering *new;

	new = kzalloc_obj(*new, GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;

	nsim_rss_init(&new->rss[0], ns->nsim_bus_dev->num_queues);
	RCU_INIT_POINTER(ns->steering, new);
	return 0;
}

/* After the device was unregistered nobody transmits to it. */
void nsim_steering_uninit(struct netdevsim *ns)
{
	kfree(rcu_dereference_protected(ns->steering, true));
	RCU_INIT_POINTER(ns->steering, NULL);
}

static enum nsim_flow_kind nsim_flow_kind(const struct flow_keys *keys)
{
	bool v6 = keys->control.addr_type == FLOW_DISSECTOR_KEY_IPV6_ADDRS;

	if (!v6 && keys->control.addr_type != FLOW_DISSECTOR_KEY_IPV4_ADDRS)
		return NSIM_FLOW_OTHER;
	/* Only the first fragment has ports, and all must take the same way */
	if (keys->control.flags & FLOW_DIS_IS_FRAGMENT)
		return v6 ? NSIM_FLOW_IP6 : NSIM_FLOW_IP4;

	switch (keys->basic.ip_proto) {
	case IPPROTO_TCP:
		return v6 ? NSIM_FLOW_TCP6 : NSIM_FLOW_TCP4;
	case IPPROTO_UDP:
		return v6 ? NSIM_FLOW_UDP6 : NSIM_FLOW_UDP4;
	default:
		return v6 ? NSIM_FLOW_IP6 : NSIM_FLOW_IP4;
	}
}

static int nsim_rss_queue(struct net_device *dev, const struct nsim_rss *rss,
			  u32 hash)
{
	unsigned int queue = rss->indir[hash % NSIM_RSS_INDIR_SIZE];

	/* The number of queues may just be changing */
	return queue % READ_ONCE(dev->real_num_rx_queues);
}

/**
 * nsim_steer() - find the receive queue of a packet
 * @ns: the device that receives
 * @skb: the packet as its sender's driver got it
 * @res: filled with the hash to report, if any
 *
 * Context: any, under rcu_read_lock().
 * Return: number of the queue, or -EPERM if a rule says to drop the packet.
 */
int nsim_steer(struct netdevsim *ns, const struct sk_buff *skb,
	       struct nsim_steer_res *res)
{
	const struct nsim_steering *steering = rcu_dereference(ns->steering);
	const struct nsim_rss *rss = &steering->rss[0];
	const struct nsim_ntuple_rule *rule = NULL;
	struct net_device *dev = ns->netdev;
	enum nsim_flow_kind kind;
	struct flow_keys keys;

	res->type = PKT_HASH_TYPE_NONE;
	if (READ_ONCE(dev->real_num_rx_queues) == 1 && !steering->nr_rules &&
	    !(dev->features & NETIF_F_RXHASH))
		return 0;

	if (!skb_flow_dissect_flow_keys(skb, &keys,
					FLOW_DISSECTOR_F_STOP_AT_ENCAP))
		kind = NSIM_FLOW_OTHER;
	else
		kind = nsim_flow_kind(&keys);

	if (steering->nr_rules)
		rule = nsim_ntuple_find(steering, &keys, kind);
	if (rule) {
		if (rule->fs.ring_cookie == RX_CLS_FLOW_DISC)
			return -EPERM;
		if (rule->fs.flow_type & FLOW_RSS)
			rss = &steering->rss[rule->rss_context];
	}

	res->hash = nsim_rss_hash(rss, &keys, kind);
	if ((dev->features & NETIF_F_RXHASH) && kind != NSIM_FLOW_OTHER)
		res->type = (rss->fields[kind] & (RXH_L4_B_0_1 | RXH_L4_B_2_3)) ?
			    PKT_HASH_TYPE_L4 : PKT_HASH_TYPE_L3;

	if (rule && !(rule->fs.flow_type & FLOW_RSS))
		return rule->fs.ring_cookie;
	return nsim_rss_queue(dev, rss, res->hash);
}
