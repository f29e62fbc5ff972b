// SPDX-License-Identifier: GPL-2.0
/*
 * A dma-buf that stays where it is for a device, until the exporter takes it away
 */
#include <linux/dma-buf.h>
#include <linux/dma-buf-importer.h>
#include <linux/dma-buf-pinned.h>
#include <linux/dma-direct.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

/**
 * DOC: pinned dma-bufs
 *
 * A receive queue of a NIC owns the buffers that it was given until a packet
 * arrives, so the memory can't be moved under it as it can be under a
 * &struct dma_buf_importer.  A &struct dma_buf_pinned is its counterpart for such
 * devices: attached in the same way, with peer-to-peer allowed and subject to
 * invalidation, but pinned.  An invalidation is a revocation, and final.
 *
 * Stopping a queue takes locks that the exporter must not wait for while it
 * holds the reservation lock of the dma-buf, because those who hold them may
 * wait for that very lock or for memory reclaim.  So the revocation only starts
 * with dma_buf_invalidate_mappings():
 *
 * 1. &dma_buf_pinned_ops.revoke queues the work, and a fence is added to the
 *    reservation object.
 * 2. The user stops the device and calls dma_buf_pinned_unmap().  That signals
 *    the fence: nothing writes to the memory any more.
 * 3. When the exporter lets go of the reservation lock, the mapping goes away.
 *
 * This is what the documentation of dma_buf_invalidate_mappings() asks for.  An
 * exporter that wants the memory for itself waits for the fences, then for the
 * unmapping, and it does not wait in memory reclaim: it has promised not to
 * touch pinned memory there.
 *
 * Lock order: whatever the user needs to stop its device, for instance a network
 * device's instance lock, is never held while calling any function of this file.
 */

struct stopped_fence {
	struct dma_fence	base;
	spinlock_t		lock;	/* of @base */
};

static const char *stopped_fence_name(struct dma_fence *fence)
{
	return "dma_buf_pinned";
}

static const struct dma_fence_ops stopped_fence_ops = {
	.get_driver_name	= stopped_fence_name,
	.get_timeline_name	= stopped_fence_name,
};

static struct dma_fence *stopped_fence_alloc(void)
{
	struct stopped_fence *fence = kzalloc_obj(*fence, GFP_KERNEL_ACCOUNT);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &stopped_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	return &fence->base;
}

static void pinned_invalidate(struct dma_buf_attachment *attach)
{
	struct dma_buf_pinned *pin = attach->importer_priv;
	struct dma_resv *resv = attach->dmabuf->resv;

	dma_resv_assert_held(resv);

	/* Moved before it was pinned, or not in use any more. */
	if (!pin->sgt || pin->revoked)
		return;

	/*
	 * The room was made by pinned_map_locked() unless others have used it up
	 * since.  Without the fence, the exporter's second wait, for the
	 * unmapping, is what keeps it from the memory.
	 */
	if (!dma_resv_reserve_fences(resv, 1))
		dma_resv_add_fence(resv, pin->stopped, DMA_RESV_USAGE_BOOKKEEP);

	WRITE_ONCE(pin->revoked, true);
	pin->ops->revoke(pin);
}

static const struct dma_buf_attach_ops pinned_attach_ops = {
	.allow_peer2peer	= true,
	.invalidate_mappings	= pinned_invalidate,
};

static int pinned_map_locked(struct dma_buf_pinned *pin)
{
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(pin->dmabuf->resv);

	ret = dma_resv_reserve_fences(pin->dmabuf->resv, 1);
	if (ret)
		return ret;
	ret = dma_buf_pin(pin->attach);
	if (ret)
		return ret;
	sgt = dma_buf_importer_map_sgt(pin->attach, pin->dir);
	if (IS_ERR(sgt)) {
		dma_buf_unpin(pin->attach);
		return PTR_ERR(sgt);
	}
	pin->sgt = sgt;
	return 0;
}

/**
 * dma_buf_pinned_init - attach, pin and map a dma-buf
 * @pin: what to initialise
 * @dmabuf: the dma-buf; the caller keeps a reference until dma_buf_pinned_fini()
 * @dev: the device that will do the DMA; must outlive the mapping
 * @dir: what the device may do to the memory
 * @ops: what to do when the exporter takes the memory away; that can happen
 *	 before this function returns
 *
 * Undone by dma_buf_pinned_fini().
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0; -ENOMEM; -ERESTARTSYS if a signal comes meanwhile; -ETIMEDOUT if the
 * exporter does not finish moving the buffer; -EOPNOTSUPP if the mapping would
 * need a bounce buffer; -EINVAL if the mapping has less than the size of the
 * dma-buf or does not consist of whole pages; or what the exporter returned.
 * Nothing is to be undone then.
 */
int dma_buf_pinned_init(struct dma_buf_pinned *pin, struct dma_buf *dmabuf,
			struct device *dev, enum dma_data_direction dir,
			const struct dma_buf_pinned_ops *ops)
{
	int ret;

	pin->dmabuf = dmabuf;
	pin->dev = dev;
	pin->dir = dir;
	pin->ops = ops;
	pin->sgt = NULL;
	pin->revoked = false;
	pin->stopped = stopped_fence_alloc();
	if (!pin->stopped)
		return -ENOMEM;

	pin->attach = dma_buf_dynamic_attach(dmabuf, dev, &pinned_attach_ops, pin);
	if (IS_ERR(pin->attach)) {
		ret = PTR_ERR(pin->attach);
		goto err_put_fence;
	}

	dma_resv_lock(dmabuf->resv, NULL);
	ret = pinned_map_locked(pin);
	dma_resv_unlock(dmabuf->resv);
	if (ret)
		goto err_detach;
	return 0;

err_detach:
	dma_buf_detach(dmabuf, pin->attach);
err_put_fence:
	dma_fence_put(pin->stopped);
	return ret;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_pinned_init, "DMA_BUF");

/**
 * dma_buf_pinned_stopped - the device does not use the memory any more
 * @pin: the pinned dma-buf
 *
 * For users of several that may share a reservation object: the exporter can hold
 * its lock until all of them have stopped, so this is called for each of them
 * before dma_buf_pinned_unmap() is called for the first one.
 *
 * Context: any, also &dma_buf_pinned_ops.revoke.
 */
void dma_buf_pinned_stopped(struct dma_buf_pinned *pin)
{
	dma_fence_signal(pin->stopped);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_pinned_stopped, "DMA_BUF");

/**
 * dma_buf_pinned_unmap - the device does not use the memory any more
 * @pin: the pinned dma-buf
 *
 * May be called more than once.  &dma_buf_pinned_ops.revoke is not called any
 * more when it returns.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 */
void dma_buf_pinned_unmap(struct dma_buf_pinned *pin)
{
	struct dma_buf *dmabuf = pin->dmabuf;

	/* First: an exporter may hold the lock while it waits for this. */
	dma_buf_pinned_stopped(pin);

	dma_resv_lock(dmabuf->resv, NULL);
	if (pin->sgt) {
		dma_buf_unmap_attachment(pin->attach, pin->sgt, pin->dir);
		dma_buf_unpin(pin->attach);
		pin->sgt = NULL;
	}
	dma_resv_unlock(dmabuf->resv);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_pinned_unmap, "DMA_BUF");

/**
 * dma_buf_pinned_fini - unmap and detach
 * @pin: the pinned dma-buf
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 */
void dma_buf_pinned_fini(struct dma_buf_pinned *pin)
{
	dma_buf_pinned_unmap(pin);
	dma_buf_detach(pin->dmabuf, pin->attach);
	dma_fence_put(pin->stopped);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_pinned_fini, "DMA_BUF");

/**
 * dma_buf_pinned_in_ram - is it system memory?
 * @pin: the pinned dma-buf, mapped
 *
 * For user space to see whether a transfer is peer to peer.
 *
 * Context: the mapping must not go away meanwhile.
 * Return: true if the first byte is in system memory, false if it is in memory of
 * a device.
 */
bool dma_buf_pinned_in_ram(struct dma_buf_pinned *pin)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(pin->dev);
	dma_addr_t addr = sg_dma_address(pin->sgt->sgl);
	phys_addr_t phys;

	phys = domain ? iommu_iova_to_phys(domain, addr) :
			dma_to_phys(pin->dev, addr);
	return page_is_ram(PHYS_PFN(phys));
}
EXPORT_SYMBOL_NS_GPL(dma_buf_pinned_in_ram, "DMA_BUF");
