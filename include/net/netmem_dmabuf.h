/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_NETMEM_DMABUF_H
#define _NET_NETMEM_DMABUF_H

#include <linux/dma-buf-pinned.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/netdevice.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/netmem_area.h>

struct netlink_ext_ack;
struct netmem_dmabuf;

/**
 * enum netmem_owner - who receives into a part of a dma-buf
 * @NETMEM_OWNER_DEVMEM: devmem TCP, through a binding of netlink
 * @NETMEM_OWNER_IO_URING: an area of io_uring zcrx
 */
enum netmem_owner {
	NETMEM_OWNER_DEVMEM,
	NETMEM_OWNER_IO_URING,
};

/**
 * struct netmem_claim - a part of a dma-buf that has one owner
 * @dmabuf: the dma-buf; NULL if nothing is claimed
 * @start: first byte
 * @end: behind the last byte
 * @owner: what kind of owner
 */
struct netmem_claim {
	struct dma_buf		*dmabuf;
	u64			start;
	u64			end;
	enum netmem_owner	owner;

	/* private: */
	struct hlist_node	node;
};

int netmem_claim_get(struct netmem_claim *claim, struct dma_buf *dmabuf,
		     u64 start, u64 size, enum netmem_owner owner,
		     struct netlink_ext_ack *extack);
void netmem_claim_put(struct netmem_claim *claim);

/**
 * struct netmem_dmabuf_ops - what the owner of an imported dma-buf provides
 */
struct netmem_dmabuf_ops {
	/**
	 * @stop: the exporter takes the memory away, or the netdev unregisters
	 *
	 * Called in a context where nothing can be waited for and nothing be
	 * allocated: queues a work item that stops the queues and then, with no
	 * netdev lock held, calls netmem_dmabuf_unmap(). An owner that is about
	 * to do that for another reason has nothing to do. netmem_dmabuf_revoked()
	 * tells the reason.
	 */
	void (*stop)(void *priv);
};

/**
 * struct netmem_dmabuf - a dma-buf imported for the queues of a netdev
 * @pin: the dma-buf, attached, pinned and mapped for the queues' DMA device
 * @claim: the part that is received into
 * @netdev: the netdev, with a reference, as long as the dma-buf is mapped
 */
struct netmem_dmabuf {
	struct dma_buf_pinned		pin;
	struct netmem_claim		claim;
	struct net_device		*netdev;

	/* private: */
	const struct netmem_dmabuf_ops	*ops;
	void				*priv;
	struct work_struct		idle_work;
	netdevice_tracker		dev_tracker;
	struct list_head		list;
};

#if IS_ENABLED(CONFIG_NETMEM_DMABUF)
struct netmem_dmabuf *
netmem_dmabuf_import(int fd, struct net_device *netdev, struct device *dev,
		     enum dma_data_direction dir,
		     struct netlink_ext_ack *extack);
int netmem_dmabuf_claim(struct netmem_dmabuf *nd, u64 offset, u64 size,
			enum netmem_owner owner,
			struct netlink_ext_ack *extack);
int netmem_dmabuf_area_init(struct netmem_dmabuf *nd, struct netmem_area *area,
			    enum net_iov_type type, u64 offset, u64 size,
			    unsigned int niov_shift,
			    struct netlink_ext_ack *extack);
int netmem_dmabuf_own(struct netmem_dmabuf *nd,
		      const struct netmem_dmabuf_ops *ops, void *priv);
void netmem_dmabuf_stopped(struct netmem_dmabuf *nd);
void netmem_dmabuf_unmap(struct netmem_dmabuf *nd);
void netmem_dmabuf_release(struct netmem_dmabuf *nd);
size_t netmem_dmabuf_size(const struct netmem_dmabuf *nd);
bool netmem_dmabuf_peer2peer(struct netmem_dmabuf *nd);
#else
static inline struct netmem_dmabuf *
netmem_dmabuf_import(int fd, struct net_device *netdev, struct device *dev,
		     enum dma_data_direction dir,
		     struct netlink_ext_ack *extack)
{
	return ERR_PTR(-EINVAL);
}

static inline int netmem_dmabuf_claim(struct netmem_dmabuf *nd, u64 offset,
				      u64 size, enum netmem_owner owner,
				      struct netlink_ext_ack *extack)
{
	return -EINVAL;
}

static inline int netmem_dmabuf_area_init(struct netmem_dmabuf *nd,
					  struct netmem_area *area,
					  enum net_iov_type type, u64 offset,
					  u64 size, unsigned int niov_shift,
					  struct netlink_ext_ack *extack)
{
	return -EINVAL;
}

static inline int netmem_dmabuf_own(struct netmem_dmabuf *nd,
				    const struct netmem_dmabuf_ops *ops,
				    void *priv)
{
	return -EINVAL;
}

static inline void netmem_dmabuf_stopped(struct netmem_dmabuf *nd)
{
}

static inline void netmem_dmabuf_unmap(struct netmem_dmabuf *nd)
{
}

static inline void netmem_dmabuf_release(struct netmem_dmabuf *nd)
{
}
#endif

/**
 * netmem_dmabuf_revoked() - has the exporter taken the memory away?
 * @nd: the imported dma-buf
 *
 * Context: any.
 * Return: true if it has; nothing is to be expected of the memory any more.
 */
static inline bool netmem_dmabuf_revoked(const struct netmem_dmabuf *nd)
{
	return dma_buf_pinned_revoked(&nd->pin);
}

#endif /* _NET_NETMEM_DMABUF_H */
