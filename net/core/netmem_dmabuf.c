// SPDX-License-Identifier: GPL-2.0

/* dma-bufs as memory of receive and transmit queues, for every memory provider */

#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/notifier.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <net/netmem_dmabuf.h>

/**
 * DOC: dma-bufs of memory providers
 *
 * devmem TCP and io_uring zcrx let a NIC receive into a dma-buf. What has to be
 * right for both is here: the dma-buf is imported for the DMA device of the
 * queues with peer-to-peer allowed (netmem_dmabuf_import()), a part of it gets
 * one owner (netmem_dmabuf_claim()), it is cut into net_iovs with one free list
 * (struct netmem_area), and the exporter can take it away.
 *
 * Locks
 *
 * Exporters wait, with the reservation lock of the dma-buf held, for queues to
 * stop, and stopping a queue needs the instance lock of the netdev. The two are
 * never held together, in neither order, and neither is any lock that is taken
 * with one of them held:
 *
 * - import first, then take the netdev lock, and see whether the netdev is still
 *   the one the dma-buf was imported for and the memory has not been revoked;
 * - stop the queues with the netdev lock held, let go of it, then unmap.
 *
 * A queue that the driver can't restart goes on with the memory. In that case the
 * interface is set down and up before anything is unmapped, which takes the RTNL:
 * nobody waits for a revocation, or for a reservation lock, with the RTNL held
 * either.
 *
 * So a revocation takes as long as it takes to get the netdev lock and to restart
 * a queue, at worst the interface. With the lock held the kernel waits for the device, not for user
 * space, but for some ethtool ioctls, which copy from and to user memory. A
 * transmit queue has to finish what it was given first, or to be reset by the
 * watchdog.
 *
 * Lifetimes
 *
 * The mapping ends when the queues have stopped: because they were closed, the
 * netdev goes away, or the exporter revokes the memory. Until then there is a
 * reference to the netdev, so that the DMA device does not go away with memory
 * mapped. What was received stays readable for others than the NIC:
 * the dma-buf is referenced, and its part claimed, until the last net_iov is
 * back.
 */

/* All that are mapped. The lock also protects their netdev and, together with
 * the reservation lock, ops and priv: either is enough to look at them.
 */
static LIST_HEAD(netmem_dmabufs);
static DEFINE_SPINLOCK(netmem_dmabufs_lock);

static void netmem_dmabuf_idle_work(struct work_struct *work)
{
	netmem_dmabuf_unmap(container_of(work, struct netmem_dmabuf, idle_work));
}

static void netmem_dmabuf_stop(struct netmem_dmabuf *nd)
{
	if (nd->ops) {
		nd->ops->stop(nd->priv);
	} else {
		netmem_dmabuf_stopped(nd);
		queue_work(system_dfl_wq, &nd->idle_work);
	}
}

static void netmem_dmabuf_revoke(struct dma_buf_pinned *pin)
{
	netmem_dmabuf_stop(container_of(pin, struct netmem_dmabuf, pin));
}

static const struct dma_buf_pinned_ops netmem_dmabuf_pinned_ops = {
	.revoke	= netmem_dmabuf_revoke,
};

static void netmem_dmabuf_drop_netdev(struct netmem_dmabuf *nd)
{
	struct net_device *netdev;

	spin_lock(&netmem_dmabufs_lock);
	netdev = nd->netdev;
	if (netdev) {
		WRITE_ONCE(nd->netdev, NULL);
		list_del_init(&nd->list);
	}
	spin_unlock(&netmem_dmabufs_lock);

	if (netdev)
		netdev_put(netdev, &nd->dev_tracker);
}

/* The queues have been stopped, and unregister_netdevice() waits for the
 * references to the netdev.
 */
static int netmem_dmabuf_netdev_event(struct notifier_block *nb,
				      unsigned long event, void *ptr)
{
	struct net_device *netdev = netdev_notifier_info_to_dev(ptr);
	struct netmem_dmabuf *nd;

	/* Not when it moves to another namespace. */
	if (event != NETDEV_UNREGISTER ||
	    netdev->reg_state == NETREG_REGISTERED)
		return NOTIFY_DONE;

	spin_lock(&netmem_dmabufs_lock);
	list_for_each_entry(nd, &netmem_dmabufs, list)
		if (nd->netdev == netdev)
			netmem_dmabuf_stop(nd);
	spin_unlock(&netmem_dmabufs_lock);

	return NOTIFY_DONE;
}

static struct notifier_block netmem_dmabuf_netdev_nb = {
	.notifier_call	= netmem_dmabuf_netdev_event,
};

static int __init netmem_dmabuf_init(void)
{
	return register_netdevice_notifier(&netmem_dmabuf_netdev_nb);
}
device_initcall(netmem_dmabuf_init);

/**
 * netmem_dmabuf_import() - make a dma-buf accessible to the queues of a netdev
 * @fd: the dma-buf
 * @netdev: the netdev; the caller has a reference
 * @dev: the DMA device of its queues, likewise
 * @dir: DMA_FROM_DEVICE to receive, DMA_TO_DEVICE to transmit
 * @extack: told what went wrong, may be NULL
 *
 * Until netmem_dmabuf_own() no queue may use it, and it can be unmapped at any
 * time. Undone by netmem_dmabuf_release().
 *
 * Context: may sleep; no netdev lock held.
 * Return: the imported dma-buf; or an error pointer with -ENOMEM, or what
 *	   dma_buf_get() or dma_buf_pinned_init() returned.
 */
struct netmem_dmabuf *
netmem_dmabuf_import(int fd, struct net_device *netdev, struct device *dev,
		     enum dma_data_direction dir,
		     struct netlink_ext_ack *extack)
{
	struct netmem_dmabuf *nd;
	struct dma_buf *dmabuf;
	int err;

	nd = kzalloc_obj(*nd, GFP_KERNEL_ACCOUNT);
	if (!nd)
		return ERR_PTR(-ENOMEM);

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf)) {
		NL_SET_ERR_MSG(extack, "not a dma-buf");
		err = PTR_ERR(dmabuf);
		goto err_free;
	}

	INIT_WORK(&nd->idle_work, netmem_dmabuf_idle_work);
	nd->netdev = netdev;
	netdev_hold(netdev, &nd->dev_tracker, GFP_KERNEL);
	INIT_LIST_HEAD(&nd->list);
	get_device(dev);

	err = dma_buf_pinned_init(&nd->pin, dmabuf, dev, dir,
				  &netmem_dmabuf_pinned_ops);
	if (err) {
		NL_SET_ERR_MSG(extack, "can't map the dma-buf for the device");
		goto err_put;
	}

	/* It may have been revoked and unmapped already. */
	spin_lock(&netmem_dmabufs_lock);
	if (nd->netdev)
		list_add(&nd->list, &netmem_dmabufs);
	spin_unlock(&netmem_dmabufs_lock);
	return nd;

err_put:
	put_device(dev);
	netmem_dmabuf_drop_netdev(nd);
	dma_buf_put(dmabuf);
err_free:
	kfree(nd);
	return ERR_PTR(err);
}

/**
 * netmem_dmabuf_claim() - own a part of an imported dma-buf, for receiving
 * @nd: the imported dma-buf
 * @offset: where the part begins, page-aligned
 * @size: number of bytes, whole pages
 * @owner: what kind of owner the caller is
 * @extack: told who is in the way, may be NULL
 *
 * Undone by netmem_dmabuf_release().
 *
 * Context: may sleep.
 * Return: 0; -EINVAL if there is no such part; -EBUSY if somebody else owns some
 *	   of it.
 */
int netmem_dmabuf_claim(struct netmem_dmabuf *nd, u64 offset, u64 size,
			enum netmem_owner owner,
			struct netlink_ext_ack *extack)
{
	return netmem_claim_get(&nd->claim, nd->pin.dmabuf, offset, size, owner,
				extack);
}

/**
 * netmem_dmabuf_size() - how much can be claimed
 * @nd: the imported dma-buf
 *
 * Context: any.
 * Return: size of the dma-buf in whole pages.
 */
size_t netmem_dmabuf_size(const struct netmem_dmabuf *nd)
{
	return PAGE_ALIGN(nd->pin.dmabuf->size);
}

/**
 * netmem_dmabuf_peer2peer() - does the device access memory of another device?
 * @nd: the imported dma-buf
 *
 * Context: may sleep; no netdev lock held.
 * Return: true if it does; false if it is system memory, or not mapped any more.
 */
bool netmem_dmabuf_peer2peer(struct netmem_dmabuf *nd)
{
	struct dma_resv *resv = nd->pin.dmabuf->resv;
	bool ret;

	dma_resv_lock(resv, NULL);
	ret = nd->pin.sgt && !dma_buf_pinned_in_ram(&nd->pin);
	dma_resv_unlock(resv);

	return ret;
}

/* The DMA addresses are good until the memory is unmapped, which can happen at
 * any time, but not while the reservation lock is held.
 */
static int netmem_dmabuf_set_dma(struct netmem_dmabuf *nd,
				 struct netmem_area *area, u64 offset,
				 bool align_addr)
{
	struct sg_table *sgt = nd->pin.sgt;
	unsigned int shift;

	dma_resv_assert_held(nd->pin.dmabuf->resv);

	if (!sgt)
		return -ENODEV;
	shift = netmem_sgt_max_shift(sgt, offset,
				     area->nia.num_niovs << area->niov_shift,
				     align_addr);
	if (area->niov_shift > shift)
		return -ERANGE;
	return netmem_area_set_dma(area, sgt, offset);
}

/**
 * netmem_dmabuf_area_init() - cut a part of an imported dma-buf into net_iovs
 * @nd: the imported dma-buf
 * @area: the area to initialise; undone by netmem_area_exit()
 * @type: what kind of net_iov; those of devmem TCP have aligned DMA addresses
 * @offset: where the part begins
 * @size: number of bytes
 * @niov_shift: log2 of the size of a net_iov
 * @extack: told what went wrong, may be NULL
 *
 * Context: may sleep; no netdev lock held.
 * Return: 0; -ERANGE if the memory is too scattered for net_iovs of this size or
 *	   not a multiple of it;
 *	   -ENODEV if it has been revoked; or what netmem_area_init() and
 *	   netmem_area_set_dma() returned.
 */
int netmem_dmabuf_area_init(struct netmem_dmabuf *nd, struct netmem_area *area,
			    enum net_iov_type type, u64 offset, u64 size,
			    unsigned int niov_shift,
			    struct netlink_ext_ack *extack)
{
	struct dma_resv *resv = nd->pin.dmabuf->resv;
	int err;

	if (size & ((1ULL << niov_shift) - 1)) {
		NL_SET_ERR_MSG(extack,
			       "size is not a multiple of the buffer size");
		return -ERANGE;
	}
	err = netmem_area_init(area, type, size, niov_shift);
	if (err)
		return err;
	area->nia.base_virtual = offset;

	dma_resv_lock(resv, NULL);
	err = netmem_dmabuf_set_dma(nd, area, offset, type == NET_IOV_DMABUF);
	dma_resv_unlock(resv);
	if (err) {
		if (err == -ERANGE)
			NL_SET_ERR_MSG(extack,
				       "segments of the dma-buf are not multiples of the buffer size");
		netmem_area_exit(area);
	}
	return err;
}

/**
 * netmem_dmabuf_own() - become responsible for stopping the queues
 * @nd: the imported dma-buf
 * @ops: operations of the owner, which can be called before this returns, but
 *	 not if it fails
 * @priv: their argument
 *
 * Replaces the previous owner, which none of its operations are called for any
 * more. The caller finds out with the netdev lock held whether the netdev has been
 * unregistered since, and in that case uses no queue.
 *
 * Context: may sleep; no netdev lock held.
 * Return: 0; -ENODEV if the memory has been revoked, or the netdev unregistered.
 */
int netmem_dmabuf_own(struct netmem_dmabuf *nd,
		      const struct netmem_dmabuf_ops *ops, void *priv)
{
	struct dma_resv *resv = nd->pin.dmabuf->resv;
	int err = -ENODEV;

	dma_resv_lock(resv, NULL);
	if (nd->pin.sgt && !netmem_dmabuf_revoked(nd)) {
		spin_lock(&netmem_dmabufs_lock);
		/* After the notifier, nobody would ask the owner to stop. */
		if (nd->netdev &&
		    READ_ONCE(nd->netdev->reg_state) <= NETREG_REGISTERED) {
			nd->ops = ops;
			nd->priv = priv;
			err = 0;
		}
		spin_unlock(&netmem_dmabufs_lock);
	}
	dma_resv_unlock(resv);

	return err;
}

/**
 * netmem_dmabuf_stopped() - no queue uses the memory any more
 * @nd: the imported dma-buf
 *
 * Called for each that an owner has before netmem_dmabuf_unmap() is called for
 * the first one: an exporter may wait for all with the reservation lock held.
 *
 * Context: any, also &netmem_dmabuf_ops.stop.
 */
void netmem_dmabuf_stopped(struct netmem_dmabuf *nd)
{
	dma_buf_pinned_stopped(&nd->pin);
}

/**
 * netmem_dmabuf_unmap() - no queue uses the memory any more
 * @nd: the imported dma-buf
 *
 * Whoever revokes the memory may be waiting for this. May be called more than
 * once.
 *
 * Context: may sleep; no netdev lock held.
 */
void netmem_dmabuf_unmap(struct netmem_dmabuf *nd)
{
	dma_buf_pinned_unmap(&nd->pin);
	netmem_dmabuf_drop_netdev(nd);
}

/**
 * netmem_dmabuf_release() - the last net_iov is back
 * @nd: the imported dma-buf
 *
 * Unmaps it, if that has not been done, gives up the claim, and frees @nd.
 *
 * Context: may sleep; no netdev lock held.
 */
void netmem_dmabuf_release(struct netmem_dmabuf *nd)
{
	struct dma_buf *dmabuf = nd->pin.dmabuf;
	struct device *dev = nd->pin.dev;

	netmem_dmabuf_unmap(nd);
	cancel_work_sync(&nd->idle_work);
	dma_buf_pinned_fini(&nd->pin);
	netmem_claim_put(&nd->claim);
	put_device(dev);
	dma_buf_put(dmabuf);
	kfree(nd);
}
