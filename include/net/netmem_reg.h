/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_NETMEM_REG_H
#define _NET_NETMEM_REG_H

#include <linux/err.h>
#include <linux/list.h>
#include <linux/netdevice.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/netmem_dmabuf.h>
#include <uapi/linux/netdev.h>

struct netdev_nl_sock;
struct netlink_ext_ack;

/**
 * struct netmem_reg_params - what to import a dma-buf for
 * @net: network namespace of the user
 * @ifindex: the netdev, as the user calls it
 * @hw_netdev: the netdev whose hardware the queues are
 * @dev: its DMA device
 * @dir: direction of the data
 * @owner: what kind of owner; idle if it is to be registered only
 * @niov_shift: log2 of the size of the buffers
 */
struct netmem_reg_params {
	struct net			*net;
	u32				ifindex;
	struct net_device		*hw_netdev;
	struct device			*dev;
	enum dma_data_direction		dir;
	enum netdev_dmabuf_owner	owner;
	unsigned int			niov_shift;
};

/**
 * struct netmem_reg - an imported dma-buf that user space knows by an id
 * @nd: the imported dma-buf
 * @id: the id, unique on the machine
 * @niov_shift: log2 of the size of the buffers it is to be cut into
 */
struct netmem_reg {
	struct netmem_dmabuf		*nd;
	u32				id;
	unsigned int			niov_shift;

	/* private: */
	struct net			*net;	/* passive reference */
	u32				ifindex;
	bool				peer2peer;
	struct work_struct		idle_work;

	/* under netmem_reg_lock */
	enum netdev_dmabuf_owner	owner;
	u64				range_offset;
	u64				range_size;
	bool				known;	/* user space has got the id */
	bool				told_revoked;
	/* what it goes away with, unless it has been taken */
	struct netdev_nl_sock		*sock;
	struct list_head		sock_list;
};

#if IS_ENABLED(CONFIG_NETMEM_DMABUF)
struct netmem_reg *netmem_reg_import(int fd, const struct netmem_reg_params *p,
				     struct netlink_ext_ack *extack);
struct netmem_reg *netmem_reg_take(u32 id, const struct netmem_reg_params *p,
				   struct netlink_ext_ack *extack);
void netmem_reg_give_back(struct netmem_reg *reg);
void netmem_reg_keep(struct netmem_reg *reg);
void netmem_reg_unmap(struct netmem_reg *reg);
void netmem_reg_release(struct netmem_reg *reg);
int netmem_reg_set_idle(struct netmem_reg *reg, struct netdev_nl_sock *sock,
			struct netlink_ext_ack *extack);
void netmem_reg_sock_gone(struct netdev_nl_sock *sock);
#else
static inline struct netmem_reg *
netmem_reg_import(int fd, const struct netmem_reg_params *p,
		  struct netlink_ext_ack *extack)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct netmem_reg *
netmem_reg_take(u32 id, const struct netmem_reg_params *p,
		struct netlink_ext_ack *extack)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void netmem_reg_give_back(struct netmem_reg *reg)
{
}

static inline void netmem_reg_keep(struct netmem_reg *reg)
{
}

static inline void netmem_reg_unmap(struct netmem_reg *reg)
{
}

static inline void netmem_reg_release(struct netmem_reg *reg)
{
}

static inline int netmem_reg_set_idle(struct netmem_reg *reg,
				      struct netdev_nl_sock *sock,
				      struct netlink_ext_ack *extack)
{
	return -EOPNOTSUPP;
}

static inline void netmem_reg_sock_gone(struct netdev_nl_sock *sock)
{
}
#endif

#endif /* _NET_NETMEM_REG_H */
