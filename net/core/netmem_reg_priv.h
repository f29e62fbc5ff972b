/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_CORE_NETMEM_REG_PRIV_H
#define _NET_CORE_NETMEM_REG_PRIV_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct net;
struct netmem_reg;
struct sk_buff;

/* All dma-bufs that have an id, of all network namespaces */
extern struct xarray netmem_regs;

/* Protects @netmem_regs, the lists of the sockets, and what struct netmem_reg says.
 * What is in @netmem_regs does not go away while it is held. No dma-buf is
 * imported, unmapped or released with it held: exporters need not wait for user
 * space to be told.
 */
extern struct mutex netmem_reg_lock;

/* With the lock, and a reference to the network namespace that can be told */
struct sk_buff *netmem_reg_ntf(const struct netmem_reg *reg, u32 cmd);
/* With or without */
void netmem_reg_send(struct net *net, struct sk_buff *ntf);

#endif /* _NET_CORE_NETMEM_REG_PRIV_H */
