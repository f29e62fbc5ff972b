// SPDX-License-Identifier: GPL-2.0

/* dma-bufs of memory providers that user space sees, and hands around, by id
 *
 * All that is imported has an id. What has been registered and is in use by
 * nobody goes away with the netlink socket, or the netdev. devmem TCP or io_uring
 * can take it; then its lifetime is theirs.
 */

#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>
#include <net/netdev_netlink.h>
#include <net/netmem_reg.h>

#include "netmem_reg_priv.h"

DEFINE_XARRAY_FLAGS(netmem_regs, XA_FLAGS_ALLOC1);
static u32 netmem_reg_next_id;

/* See netmem_reg_priv.h. */
DEFINE_MUTEX(netmem_reg_lock);

/**
 * netmem_reg_unmap() - no queue uses the memory any more
 * @reg: the dma-buf
 *
 * Like netmem_dmabuf_unmap(), and user space is told if it has been revoked.
 * May be called more than once.
 *
 * Context: may sleep; no netdev lock held.
 */
void netmem_reg_unmap(struct netmem_reg *reg)
{
	struct net *net;

	netmem_dmabuf_unmap(reg->nd);
	if (!netmem_dmabuf_revoked(reg->nd))
		return;

	net = maybe_get_net(reg->net);
	if (!net)
		return;
	mutex_lock(&netmem_reg_lock);
	if (reg->known && !reg->told_revoked) {
		reg->told_revoked = true;
		netmem_reg_send(net, netmem_reg_ntf(reg,
						    NETDEV_CMD_DMABUF_CHANGE_NTF));
	}
	mutex_unlock(&netmem_reg_lock);
	put_net(net);
}

/* Nobody finds it any more, neither by its id nor by its socket. */
static void netmem_reg_remove(struct netmem_reg *reg)
{
	lockdep_assert_held(&netmem_reg_lock);

	/* The id may be somebody else's if this is done a second time. */
	xa_cmpxchg(&netmem_regs, reg->id, reg, NULL, GFP_KERNEL);
	list_del_init(&reg->sock_list);
	reg->sock = NULL;
}

static void netmem_reg_free(struct netmem_reg *reg)
{
	struct net *net = maybe_get_net(reg->net);
	struct sk_buff *ntf = NULL;

	mutex_lock(&netmem_reg_lock);
	netmem_reg_remove(reg);
	if (net && reg->known)
		ntf = netmem_reg_ntf(reg, NETDEV_CMD_DMABUF_DEL_NTF);
	mutex_unlock(&netmem_reg_lock);

	/* Whoever is told can have the memory. */
	netmem_dmabuf_release(reg->nd);
	if (net) {
		netmem_reg_send(net, ntf);
		put_net(net);
	}
	net_passive_dec(reg->net);
	kfree(reg);
}

/* Unmapped though nobody took the memory away. */
static bool netmem_reg_netdev_gone(const struct netmem_reg *reg)
{
	return !READ_ONCE(reg->nd->netdev) && !netmem_dmabuf_revoked(reg->nd);
}

/* The exporter takes the memory of an idle one away, or the netdev goes. */
static void netmem_reg_idle_work(struct work_struct *work)
{
	struct netmem_reg *reg = container_of(work, struct netmem_reg,
					      idle_work);
	bool gone;

	netmem_reg_unmap(reg);
	/* It is not queued any more from here on, but may have been before. */
	if (work_pending(work) || netmem_dmabuf_revoked(reg->nd))
		return;

	mutex_lock(&netmem_reg_lock);
	gone = reg->sock && reg->owner == NETDEV_DMABUF_OWNER_IDLE;
	if (gone)
		netmem_reg_remove(reg);
	mutex_unlock(&netmem_reg_lock);
	if (gone)
		netmem_reg_free(reg);
}

static void netmem_reg_idle_stop(void *priv)
{
	struct netmem_reg *reg = priv;

	netmem_dmabuf_stopped(reg->nd);
	queue_work(system_dfl_wq, &reg->idle_work);
}

static const struct netmem_dmabuf_ops netmem_reg_idle_ops = {
	.stop	= netmem_reg_idle_stop,
};

/**
 * netmem_reg_release() - the last net_iov is back
 * @reg: the dma-buf
 *
 * Like netmem_dmabuf_release(), and user space is told.
 *
 * Context: may sleep; no netdev lock held.
 */
void netmem_reg_release(struct netmem_reg *reg)
{
	netmem_reg_unmap(reg);
	cancel_work_sync(&reg->idle_work);
	netmem_reg_free(reg);
}

/**
 * netmem_reg_import() - import a dma-buf that user space can see
 * @fd: the dma-buf
 * @p: what for
 * @extack: told what went wrong, may be NULL
 *
 * The owner calls netmem_dmabuf_own() and netmem_reg_keep() before its queues
 * use it. Undone by netmem_reg_release() or netmem_reg_give_back().
 *
 * Context: may sleep; no netdev lock held.
 * Return: the dma-buf; or an error pointer with -ENOMEM, -EBUSY if there are no
 *	   more ids, or as from netmem_dmabuf_import().
 */
struct netmem_reg *netmem_reg_import(int fd, const struct netmem_reg_params *p,
				     struct netlink_ext_ack *extack)
{
	struct netmem_reg *reg;
	int err;

	reg = kzalloc_obj(*reg, GFP_KERNEL_ACCOUNT);
	if (!reg)
		return ERR_PTR(-ENOMEM);

	reg->nd = netmem_dmabuf_import(fd, p->hw_netdev, p->dev, p->dir, extack);
	if (IS_ERR(reg->nd)) {
		err = PTR_ERR(reg->nd);
		goto err_free;
	}

	reg->net = p->net;
	net_passive_inc(reg->net);
	reg->ifindex = p->ifindex;
	reg->niov_shift = p->niov_shift;
	reg->owner = p->owner;
	reg->peer2peer = netmem_dmabuf_peer2peer(reg->nd);
	INIT_LIST_HEAD(&reg->sock_list);
	INIT_WORK(&reg->idle_work, netmem_reg_idle_work);

	mutex_lock(&netmem_reg_lock);
	err = xa_alloc_cyclic(&netmem_regs, &reg->id, reg, xa_limit_32b,
			      &netmem_reg_next_id, GFP_KERNEL);
	mutex_unlock(&netmem_reg_lock);
	if (err < 0)
		goto err_release;
	return reg;

err_release:
	netmem_dmabuf_release(reg->nd);
	net_passive_dec(reg->net);
err_free:
	kfree(reg);
	return ERR_PTR(err);
}

static int netmem_reg_may_take(const struct netmem_reg *reg,
			       const struct netmem_reg_params *p,
			       struct netlink_ext_ack *extack)
{
	if (!reg || !net_eq(reg->net, p->net)) {
		NL_SET_ERR_MSG(extack, "no such dma-buf");
		return -ENOENT;
	}
	switch (reg->owner) {
	case NETDEV_DMABUF_OWNER_IDLE:
		/* Not before netmem_reg_set_idle() */
		if (reg->sock)
			break;
		NL_SET_ERR_MSG(extack, "no such dma-buf");
		return -ENOENT;
	case NETDEV_DMABUF_OWNER_DEVMEM:
		NL_SET_ERR_MSG(extack, "the dma-buf is in use by devmem TCP");
		return -EBUSY;
	case NETDEV_DMABUF_OWNER_IO_URING:
		NL_SET_ERR_MSG(extack, "the dma-buf is in use by io_uring");
		return -EBUSY;
	}
	if (netmem_dmabuf_revoked(reg->nd)) {
		NL_SET_ERR_MSG(extack, "the dma-buf has been revoked");
		return -ENODEV;
	}
	if (READ_ONCE(reg->nd->netdev) != p->hw_netdev ||
	    reg->nd->pin.dev != p->dev || reg->nd->pin.dir != p->dir) {
		NL_SET_ERR_MSG(extack,
			       "the dma-buf is registered for another device");
		return -EINVAL;
	}
	if (p->niov_shift && p->niov_shift != reg->niov_shift) {
		NL_SET_ERR_MSG(extack,
			       "the dma-buf is registered for another buffer size");
		return -EINVAL;
	}
	return 0;
}

/**
 * netmem_reg_take() - become the owner of a registered dma-buf
 * @id: its id
 * @p: what for; &netmem_reg_params.niov_shift is 0 for what it was registered
 *     with, else must be the same
 * @extack: told what went wrong, may be NULL
 *
 * Followed by netmem_dmabuf_own() and netmem_reg_keep(), or by
 * netmem_reg_give_back().
 *
 * Context: may sleep; no netdev lock held.
 * Return: the dma-buf; or an error pointer with -ENOENT if there is no such id in
 *	   the network namespace; -EBUSY if it has an owner; -ENODEV if it has been
 *	   revoked; -EINVAL if it was registered for another device or for buffers
 *	   of another size.
 */
struct netmem_reg *netmem_reg_take(u32 id, const struct netmem_reg_params *p,
				   struct netlink_ext_ack *extack)
{
	struct netmem_reg *reg;
	int err;

	mutex_lock(&netmem_reg_lock);
	reg = xa_load(&netmem_regs, id);
	err = netmem_reg_may_take(reg, p, extack);
	if (!err)
		reg->owner = p->owner;
	mutex_unlock(&netmem_reg_lock);

	return err ? ERR_PTR(err) : reg;
}

/**
 * netmem_reg_give_back() - the owner could not make use of it
 * @reg: the dma-buf, which netmem_dmabuf_own() has not been called for
 *
 * What had been registered is idle again.
 *
 * Context: may sleep; no netdev lock held.
 */
void netmem_reg_give_back(struct netmem_reg *reg)
{
	bool gone;

	netmem_claim_put(&reg->nd->claim);

	mutex_lock(&netmem_reg_lock);
	/* Or the socket or the netdev has gone meanwhile. */
	gone = !reg->sock || netmem_reg_netdev_gone(reg);
	if (gone)
		netmem_reg_remove(reg);
	else
		reg->owner = NETDEV_DMABUF_OWNER_IDLE;
	mutex_unlock(&netmem_reg_lock);

	if (gone)
		netmem_reg_release(reg);
}

/**
 * netmem_reg_keep() - the netlink socket does not matter any more
 * @reg: the dma-buf, whose owner the caller has become
 *
 * Context: may sleep.
 */
void netmem_reg_keep(struct netmem_reg *reg)
{
	const struct netmem_claim *claim = &reg->nd->claim;

	mutex_lock(&netmem_reg_lock);
	reg->known = true;
	reg->sock = NULL;
	list_del_init(&reg->sock_list);
	if (claim->dmabuf) {
		reg->range_offset = claim->start;
		reg->range_size = claim->end - claim->start;
	}
	mutex_unlock(&netmem_reg_lock);
}

/**
 * netmem_reg_set_idle() - a dma-buf is registered, in use by nobody
 * @reg: the dma-buf, which from now on is no longer the caller's
 * @sock: the netlink socket that it goes away with
 * @extack: told what went wrong, may be NULL
 *
 * Context: may sleep; no netdev lock held.
 * Return: 0; -ENODEV if the memory has been revoked, or the netdev unregistered,
 *	   since it was imported. The caller still has to release @reg then.
 */
int netmem_reg_set_idle(struct netmem_reg *reg, struct netdev_nl_sock *sock,
			struct netlink_ext_ack *extack)
{
	int err;

	err = netmem_dmabuf_own(reg->nd, &netmem_reg_idle_ops, reg);
	if (err) {
		NL_SET_ERR_MSG(extack, "the dma-buf has been revoked");
		return err;
	}

	mutex_lock(&netmem_reg_lock);
	/* Who has been told nothing until now will not be. */
	if (netmem_reg_netdev_gone(reg) || netmem_dmabuf_revoked(reg->nd)) {
		NL_SET_ERR_MSG(extack, "the memory or the netdev has gone");
		err = -ENODEV;
	} else {
		reg->known = true;
		reg->sock = sock;
		list_add_tail(&reg->sock_list, &sock->dmabufs);
	}
	mutex_unlock(&netmem_reg_lock);
	return err;
}

/**
 * netmem_reg_sock_gone() - a netlink socket is closed
 * @sock: the socket
 *
 * Context: may sleep; no netdev lock held.
 */
void netmem_reg_sock_gone(struct netdev_nl_sock *sock)
{
	struct netmem_reg *reg;

	mutex_lock(&netmem_reg_lock);
	while ((reg = list_first_entry_or_null(&sock->dmabufs,
					       struct netmem_reg, sock_list))) {
		if (reg->owner != NETDEV_DMABUF_OWNER_IDLE) {
			/* Whoever is about to take it releases it if it can't. */
			list_del_init(&reg->sock_list);
			reg->sock = NULL;
			continue;
		}
		netmem_reg_remove(reg);
		mutex_unlock(&netmem_reg_lock);
		netmem_reg_release(reg);
		mutex_lock(&netmem_reg_lock);
	}
	mutex_unlock(&netmem_reg_lock);
}
