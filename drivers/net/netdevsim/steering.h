/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _NSIM_STEERING_H
#define _NSIM_STEERING_H

#include <linux/ethtool.h>
#include <linux/in6.h>
#include <linux/rcupdate.h>
#include <net/flow_dissector.h>

struct netdevsim;

#define NSIM_RSS_INDIR_SIZE	128
#define NSIM_RSS_KEY_SIZE	40
#define NSIM_RSS_CONTEXTS	8	/* with the default context 0 */
#define NSIM_NTUPLE_RULES	32

/* Kinds of packet with hash fields of their own */
enum nsim_flow_kind {
	NSIM_FLOW_TCP4,
	NSIM_FLOW_UDP4,
	NSIM_FLOW_IP4,
	NSIM_FLOW_TCP6,
	NSIM_FLOW_UDP6,
	NSIM_FLOW_IP6,
	NSIM_FLOW_KINDS,
	NSIM_FLOW_OTHER = NSIM_FLOW_KINDS,
};

struct nsim_rss {
	u16 indir[NSIM_RSS_INDIR_SIZE];
	u8 key[NSIM_RSS_KEY_SIZE];
	u16 fields[NSIM_FLOW_KINDS];	/* RXH_* */
	u8 input_xfrm;
	bool used;
};

struct nsim_ntuple_rule {
	struct ethtool_rx_flow_spec fs;
	u32 rss_context;
	bool used;
};

/* All that decides about the receive queue of a packet. It never changes: who
 * wants a change makes a copy, changes that, and puts it in the place of the
 * old one, under the instance lock. The peer's transmit path uses it under RCU.
 */
struct nsim_steering {
	struct rcu_head rcu;
	struct nsim_rss rss[NSIM_RSS_CONTEXTS];
	struct nsim_ntuple_rule rules[NSIM_NTUPLE_RULES];
	unsigned int nr_rules;
};

struct nsim_steering *nsim_steering_copy(struct netdevsim *ns);
const struct nsim_steering *nsim_steering_get(struct netdevsim *ns);
void nsim_steering_publish(struct netdevsim *ns, struct nsim_steering *new);

void nsim_rss_init(struct nsim_rss *rss, unsigned int queues);
void nsim_rss_spread(struct nsim_rss *rss, unsigned int queues);
u32 nsim_rss_hash(const struct nsim_rss *rss, const struct flow_keys *keys,
		  enum nsim_flow_kind kind);

const struct nsim_ntuple_rule *
nsim_ntuple_find(const struct nsim_steering *steering,
		 const struct flow_keys *keys, enum nsim_flow_kind kind);

#endif
