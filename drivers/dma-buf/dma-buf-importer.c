// SPDX-License-Identifier: GPL-2.0
/*
 * A dma-buf mapped for one device for a long time, used by many DMA operations
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-importer.h>
#include <linux/dma-direct.h>
#include <linux/dma-resv.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>
#include <linux/wait.h>

/**
 * DOC: dma-buf importer
 *
 * Drivers that map a dma-buf once and then use it for any number of short DMA
 * operations share the same problem: the exporter may move or revoke the
 * memory at any time.  A &struct dma_buf_importer solves it in one place.
 *
 * The attachment is always dynamic and allows peer-to-peer, so that device
 * memory is used where it is.  What dma_buf_importer_map() makes is a
 * *generation*, &struct dma_buf_mapping: the scatterlist, the device's own
 * format of it, and a count of the operations in flight.  Operations find the
 * current generation with dma_buf_importer_get() under RCU, without a lock and
 * without allocating.  An invalidation unpublishes the generation, waits for
 * its operations, and unmaps it.  The next operation makes a new one.
 *
 * The wait
 *
 * dma_buf_invalidate_mappings() is called with the reservation lock of the
 * dma-buf held, from an exporter's move or revoke function and possibly from
 * memory reclaim, and nothing about that context is known here.  The wait
 * therefore needs only what hardware and its interrupt, poll or timeout
 * handlers do by themselves:
 *
 * - An operation starts when it is handed to the device, and ends when the device
 *   has completed it or the driver has given up on it.  One that is restarted
 *   later, such as after a reset of the device, starts anew.
 * - Ending it needs no user space, no task work, no memory reclaim and no lock
 *   that is held while waiting for memory or for a reservation lock.  That goes
 *   for error handling, too.
 * - Where completions are found by polling, &dma_buf_importer_ops.reap polls.
 *
 * So the wait is bounded by the time that the device takes to complete its
 * commands, and by the driver's command timeout and reset if it does not.
 * dma_buf_importer_begin_completion() lets lockdep know of code that the wait
 * depends on.
 *
 * Progress
 *
 * An exporter that moves the buffer again and again is already waiting for the
 * reservation lock when a new mapping is published, and would take it away before
 * anybody has used it.  Whoever maps in order to start an operation therefore
 * uses dma_buf_importer_map_hold(), and an invalidation lets him go first.  It
 * does not depend on him: after HOLD_TIMEOUT it goes on.
 *
 * Lock order
 *
 * Anything that is held while calling dma_buf_importer_map(), for instance
 * io_uring's uring_lock or a file system's inode lock, comes before the
 * reservation lock.  Locks that &dma_buf_importer_ops take, such as a driver's
 * queue locks, come after it.  Neither the usage counter of a request queue
 * nor a network device's instance lock may be held across
 * dma_buf_importer_map(): stopping a queue is what an exporter may be waiting
 * for, with the reservation lock held.
 *
 * Memory
 *
 * A long-lived mapping is not synchronised per operation; coherency with the
 * CPU is the business of the exporter's begin_cpu_access() and
 * end_cpu_access().  A mapping that goes through a bounce buffer would need it
 * and is refused.
 */

#ifdef CONFIG_LOCKDEP
struct lockdep_map dma_buf_importer_drain_map =
	STATIC_LOCKDEP_MAP_INIT("dma_buf_importer_drain",
				&dma_buf_importer_drain_map);
EXPORT_SYMBOL_GPL(dma_buf_importer_drain_map);
#endif

/* How often polled completions are looked for during the wait. */
#define REAP_INTERVAL_JIFFIES	1

/* For how long an invalidation lets those go first who have just mapped. */
#define HOLD_TIMEOUT		msecs_to_jiffies(10)

/*
 * Kernel fences signal in bounded time by contract.  An exporter that breaks
 * it must not hang whoever submits I/O.
 */
#define FENCE_TIMEOUT		(30 * HZ)

static void mapping_users_release(struct percpu_ref *ref)
{
	struct dma_buf_mapping *mapping =
		container_of(ref, struct dma_buf_mapping, users);

	complete(&mapping->drained);
}

/*
 * percpu_ref_kill() switches to the shared counter after an RCU grace period,
 * so when the count is zero no reader of @imp->mapping sees @mapping any more.
 */
static void mapping_drain(struct dma_buf_mapping *mapping)
{
	const struct dma_buf_importer_ops *ops = mapping->importer->ops;

	percpu_ref_kill(&mapping->users);

#ifdef CONFIG_LOCKDEP
	lock_map_acquire(&dma_buf_importer_drain_map);
	lock_map_release(&dma_buf_importer_drain_map);
#endif
	if (!ops->reap) {
		wait_for_completion(&mapping->drained);
		return;
	}
	while (!wait_for_completion_timeout(&mapping->drained,
					    REAP_INTERVAL_JIFFIES))
		ops->reap(mapping);
}

static void importer_unmap(struct dma_buf_importer *imp)
{
	struct dma_buf_mapping *mapping;

	dma_resv_assert_held(imp->dmabuf->resv);

	mapping = rcu_dereference_protected(imp->mapping, true);
	if (!mapping)
		return;

	wait_event_timeout(imp->unheld, !atomic_read(&imp->holds), HOLD_TIMEOUT);
	RCU_INIT_POINTER(imp->mapping, NULL);
	mapping_drain(mapping);
	if (imp->ops->unmap)
		imp->ops->unmap(mapping);
	dma_buf_unmap_attachment(imp->attach, mapping->sgt, imp->dir);
	percpu_ref_exit(&mapping->users);
	kfree(mapping);
}

static void importer_invalidate(struct dma_buf_attachment *attach)
{
	importer_unmap(attach->importer_priv);
}

static const struct dma_buf_attach_ops importer_attach_ops = {
	.allow_peer2peer	= true,
	.invalidate_mappings	= importer_invalidate,
};

static bool sgt_is_bounced(struct device *dev, struct sg_table *sgt)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct scatterlist *sg;
	unsigned int i;

	if (!is_swiotlb_active(dev))
		return false;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);
		phys_addr_t phys;

		phys = domain ? iommu_iova_to_phys(domain, addr) :
				dma_to_phys(dev, addr);
		if (swiotlb_find_pool(dev, phys))
			return true;
	}
	return false;
}

/*
 * Users compute with whole pages and with the size that the dma-buf claims, so
 * make sure that this is what the exporter delivers.
 */
static int sgt_check(struct dma_buf_attachment *attach, struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;
	size_t len = 0;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!sg_dma_len(sg) ||
		    !PAGE_ALIGNED(sg_dma_address(sg) | sg_dma_len(sg)))
			return -EINVAL;
		len += sg_dma_len(sg);
	}
	if (len < attach->dmabuf->size)
		return -EINVAL;
	if (sgt_is_bounced(attach->dev, sgt))
		return -EOPNOTSUPP;
	return 0;
}

/*
 * The exporter may have started to move the memory here when it mapped it.  Only
 * its own fences count: they tell when the memory is where it is said to be.
 * Fences that user space attaches order access between users, who can wait for
 * them before they submit.
 */
static int wait_for_exporter(struct dma_buf *dmabuf)
{
	long ret;

	ret = dma_resv_wait_timeout(dmabuf->resv, DMA_RESV_USAGE_KERNEL, true,
				    FENCE_TIMEOUT);
	if (ret < 0)
		return ret;
	return ret ? 0 : -ETIMEDOUT;
}

/**
 * dma_buf_importer_map_sgt - map an attachment for a long time
 * @attach: a dynamic attachment
 * @dir: what the device may do to the memory
 *
 * What dma_buf_importer_map() and dma_buf_pinned_init() have in common: waits
 * until the memory is where the exporter says, and checks that the mapping can
 * be used without being looked at again.  Undone by dma_buf_unmap_attachment().
 *
 * Context: reservation lock held; may sleep and allocate memory.
 * Return: the mapping, or an error pointer as from dma_buf_importer_map().
 */
struct sg_table *dma_buf_importer_map_sgt(struct dma_buf_attachment *attach,
					  enum dma_data_direction dir)
{
	struct sg_table *sgt;
	int ret;

	sgt = dma_buf_map_attachment(attach, dir);
	if (IS_ERR(sgt)) {
		/* It was too large for the bounce buffers that it had to go through. */
		if (PTR_ERR(sgt) == -EIO && is_swiotlb_force_bounce(attach->dev))
			return ERR_PTR(-EOPNOTSUPP);
		return sgt;
	}
	ret = wait_for_exporter(attach->dmabuf);
	if (!ret)
		ret = sgt_check(attach, sgt);
	if (ret) {
		dma_buf_unmap_attachment(attach, sgt, dir);
		return ERR_PTR(ret);
	}
	return sgt;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_importer_map_sgt, "DMA_BUF");

static int importer_map_locked(struct dma_buf_importer *imp)
{
	struct dma_buf_mapping *mapping;
	int ret;

	dma_resv_assert_held(imp->dmabuf->resv);

	if (imp->dead)
		return -ENODEV;
	if (rcu_access_pointer(imp->mapping))
		return 0;

	mapping = kzalloc_obj(*mapping, GFP_KERNEL_ACCOUNT);
	if (!mapping)
		return -ENOMEM;
	mapping->importer = imp;
	init_completion(&mapping->drained);
	ret = percpu_ref_init(&mapping->users, mapping_users_release, 0,
			      GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free;

	mapping->sgt = dma_buf_importer_map_sgt(imp->attach, imp->dir);
	if (IS_ERR(mapping->sgt)) {
		ret = PTR_ERR(mapping->sgt);
		goto err_exit_ref;
	}
	if (imp->ops->map) {
		ret = imp->ops->map(mapping);
		if (ret)
			goto err_unmap;
	}

	rcu_assign_pointer(imp->mapping, mapping);
	return 0;

err_unmap:
	dma_buf_unmap_attachment(imp->attach, mapping->sgt, imp->dir);
err_exit_ref:
	percpu_ref_exit(&mapping->users);
err_free:
	kfree(mapping);
	return ret;
}

/*
 * There is no dma_resv_lock() that gives up.  Whoever has the lock may be waiting
 * for a device to go on, and that for those who wait here.
 */
static int importer_lock(struct dma_buf_importer *imp, unsigned long timeout)
{
	unsigned long end = jiffies + timeout;

	if (!timeout) {
		dma_resv_lock(imp->dmabuf->resv, NULL);
		return 0;
	}
	while (!dma_resv_trylock(imp->dmabuf->resv)) {
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		usleep_range(100, 1000);
	}
	return 0;
}

static int importer_map(struct dma_buf_importer *imp, bool hold,
			unsigned long timeout)
{
	int ret;

	might_sleep();

	ret = importer_lock(imp, timeout);
	if (ret)
		return ret;
	ret = importer_map_locked(imp);
	if (!ret && hold)
		atomic_inc(&imp->holds);
	dma_resv_unlock(imp->dmabuf->resv);
	return ret;
}

/**
 * dma_buf_importer_map - make sure that there is a mapping
 * @imp: the importer
 *
 * Maps the dma-buf if it is not mapped, which may mean to wait until the
 * exporter has finished moving it.  Another invalidation may follow at once, see
 * dma_buf_importer_map_hold().
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.  Allocates
 * memory; callers that may not recurse into I/O use memalloc_noio_save().
 * Return: 0; -ENODEV after dma_buf_importer_fini(); -ETIMEDOUT if the exporter
 * does not finish moving the buffer; -ERESTARTSYS if a signal comes meanwhile;
 * -EOPNOTSUPP if the mapping would need a bounce buffer; -EINVAL if the exporter's
 * mapping has less than the size of the dma-buf or does not consist of whole
 * pages; or what the exporter or &dma_buf_importer_ops.map returned.
 */
int dma_buf_importer_map(struct dma_buf_importer *imp)
{
	return importer_map(imp, false, 0);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_importer_map, "DMA_BUF");

/**
 * dma_buf_importer_map_hold - map, for an operation that starts right away
 * @imp: the importer
 * @timeout: how long to wait for the reservation lock, in jiffies; 0 if as long as
 *	it takes, for those that nobody can be waiting for
 *
 * Like dma_buf_importer_map(), but the next invalidation gives the caller a
 * moment for his dma_buf_importer_get().  Every success is followed by
 * dma_buf_importer_unhold().  It is only about fairness: the caller may sleep in
 * between, and if he takes too long he finds no mapping after all.
 *
 * Context: as dma_buf_importer_map().
 * Return: as dma_buf_importer_map(); -ETIMEDOUT also if the lock is not to be had.
 */
int dma_buf_importer_map_hold(struct dma_buf_importer *imp,
			      unsigned long timeout)
{
	return importer_map(imp, true, timeout);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_importer_map_hold, "DMA_BUF");

/**
 * dma_buf_importer_unhold - the operation has started, or will not
 * @imp: the importer, which must not have been freed meanwhile
 *
 * Context: any but NMI.
 */
void dma_buf_importer_unhold(struct dma_buf_importer *imp)
{
	if (atomic_dec_and_test(&imp->holds))
		wake_up(&imp->unheld);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_importer_unhold, "DMA_BUF");

/**
 * dma_buf_importer_init - attach a dma-buf to a device
 * @imp: the importer to initialise
 * @dmabuf: the dma-buf; the caller keeps a reference until it frees @imp
 * @dev: the device that will do the DMA; must outlive the importer
 * @dir: what the device may do to the memory
 * @ops: how to make use of the mapping
 *
 * Does not map yet.  Undone by dma_buf_importer_fini().
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0 or what the exporter returned; nothing to undo then.
 */
int dma_buf_importer_init(struct dma_buf_importer *imp, struct dma_buf *dmabuf,
			  struct device *dev, enum dma_data_direction dir,
			  const struct dma_buf_importer_ops *ops)
{
	struct dma_buf_attachment *attach;

	imp->dmabuf = dmabuf;
	imp->dev = dev;
	imp->dir = dir;
	imp->ops = ops;
	imp->dead = false;
	atomic_set(&imp->holds, 0);
	init_waitqueue_head(&imp->unheld);
	RCU_INIT_POINTER(imp->mapping, NULL);

	/* The exporter may call back before the attachment is known here. */
	attach = dma_buf_dynamic_attach(dmabuf, dev, &importer_attach_ops, imp);
	if (IS_ERR(attach))
		return PTR_ERR(attach);

	imp->attach = attach;
	return 0;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_importer_init, "DMA_BUF");

/**
 * dma_buf_importer_fini - wait for operations in flight, unmap and detach
 * @imp: the importer
 *
 * From here on dma_buf_importer_get() returns NULL and dma_buf_importer_map()
 * fails.  @imp must stay allocated until nobody calls either any more.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 */
void dma_buf_importer_fini(struct dma_buf_importer *imp)
{
	struct dma_buf *dmabuf = imp->dmabuf;

	dma_resv_lock(dmabuf->resv, NULL);
	imp->dead = true;
	importer_unmap(imp);
	dma_resv_unlock(dmabuf->resv);

	dma_buf_detach(dmabuf, imp->attach);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_importer_fini, "DMA_BUF");
