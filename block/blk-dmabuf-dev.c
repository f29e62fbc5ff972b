// SPDX-License-Identifier: GPL-2.0
/*
 * Block devices that do DMA to and from dma-bufs, and what is attached to them
 */
#include <linux/blk-dmabuf.h>
#include <linux/dma-buf.h>
#include <linux/export.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "blk-dmabuf.h"

/* Links attachments to dma-bufs and devices.  A leaf but for ->wait's lock. */
static DEFINE_MUTEX(blk_dmabuf_lock);

static struct blk_dmabuf_att *mapping_att(struct dma_buf_mapping *mapping)
{
	return container_of(mapping->importer, struct blk_dmabuf_att, imp);
}

static int blk_dmabuf_importer_map(struct dma_buf_mapping *mapping)
{
	struct blk_dmabuf_dev *ddev = mapping_att(mapping)->ddev;

	return ddev->ops->map(ddev, mapping);
}

static void blk_dmabuf_importer_unmap(struct dma_buf_mapping *mapping)
{
	struct blk_dmabuf_dev *ddev = mapping_att(mapping)->ddev;

	ddev->ops->unmap(ddev, mapping);
}

static bool poll_rq(struct request *rq, void *data)
{
	if ((rq->rq_flags & RQF_DMABUF) &&
	    rq->mq_hctx->type == HCTX_TYPE_POLL)
		rq->q->mq_ops->poll(rq->mq_hctx, NULL);
	return true;
}

/*
 * Whoever polls for completions may be waiting for the reservation lock, may be
 * stopped, or may be us.
 */
static void blk_dmabuf_importer_reap(struct dma_buf_mapping *mapping)
{
	blk_mq_tagset_busy_iter(mapping_att(mapping)->ddev->set, poll_rq, NULL);
}

/* There may be none now, but after the next reset. */
static bool set_may_poll(struct blk_mq_tag_set *set)
{
	return set->nr_maps > HCTX_TYPE_POLL;
}

static const struct dma_buf_importer_ops importer_ops = {
	.map	= blk_dmabuf_importer_map,
	.unmap	= blk_dmabuf_importer_unmap,
};

static const struct dma_buf_importer_ops importer_polled_ops = {
	.map	= blk_dmabuf_importer_map,
	.unmap	= blk_dmabuf_importer_unmap,
	.reap	= blk_dmabuf_importer_reap,
};

static void att_release(struct kref *kref)
{
	struct blk_dmabuf_att *att =
		container_of(kref, struct blk_dmabuf_att, kref);

	kfree_rcu(att, rcu);
}

void blk_dmabuf_att_put(struct blk_dmabuf_att *att)
{
	kref_put(&att->kref, att_release);
}

static int att_link(struct blk_dmabuf *db, struct blk_dmabuf_att *att)
{
	struct blk_dmabuf_dev *ddev = att->ddev;
	int ret = 0;

	mutex_lock(&blk_dmabuf_lock);
	if (ddev->dead) {
		ret = -ENODEV;
	} else {
		list_add_rcu(&att->db_node, &db->attachments);
		list_add(&att->dev_node, &ddev->attachments);
		att->linked = true;
		ddev->nr_attachments++;
	}
	mutex_unlock(&blk_dmabuf_lock);
	return ret;
}

/* Whoever unlinks an attachment is the one to finish it with att_fini(). */
static bool att_unlink(struct blk_dmabuf_att *att)
{
	lockdep_assert_held(&blk_dmabuf_lock);

	if (!att->linked)
		return false;
	WRITE_ONCE(att->linked, false);
	list_del_rcu(&att->db_node);
	list_del(&att->dev_node);
	return true;
}

static void att_fini(struct blk_dmabuf_att *att)
{
	struct dma_buf *dmabuf = att->imp.dmabuf;
	struct blk_dmabuf_dev *ddev = att->ddev;

	dma_buf_importer_fini(&att->imp);
	dma_buf_put(dmabuf);
	blk_dmabuf_att_put(att);

	/* blk_dmabuf_dev_unregister() may be waiting to let go of ddev. */
	mutex_lock(&blk_dmabuf_lock);
	if (!--ddev->nr_attachments)
		wake_up_all(&ddev->wait);
	mutex_unlock(&blk_dmabuf_lock);
}

/* Context: RCU read lock held. */
struct blk_dmabuf_att *blk_dmabuf_att_find(struct blk_dmabuf *db,
					   struct blk_dmabuf_dev *ddev)
{
	struct blk_dmabuf_att *att;

	list_for_each_entry_rcu(att, &db->attachments, db_node)
		if (att->ddev == ddev)
			return att;
	return NULL;
}

static struct blk_dmabuf_att *att_create(struct blk_dmabuf *db,
					 struct blk_dmabuf_dev *ddev)
{
	struct blk_dmabuf_att *att;
	int ret;

	lockdep_assert_held(&db->attach_lock);

	/* Don't bother the exporter with a device that is gone. */
	if (READ_ONCE(ddev->dead))
		return ERR_PTR(-ENODEV);

	att = kzalloc_obj(*att, GFP_KERNEL_ACCOUNT);
	if (!att)
		return ERR_PTR(-ENOMEM);
	att->ddev = ddev;
	/* One for the lists, one for the caller. */
	kref_init(&att->kref);
	kref_get(&att->kref);
	spin_lock_init(&att->parked_lock);
	bio_list_init(&att->parked);
	INIT_WORK(&att->map_work, blk_dmabuf_map_work);

	ret = dma_buf_importer_init(&att->imp, db->dmabuf, ddev->dma_dev,
				    db->dir, set_may_poll(ddev->set) ?
				    &importer_polled_ops : &importer_ops);
	if (ret)
		goto err_free;
	/* The device may go away, and detach, after the struct blk_dmabuf. */
	get_dma_buf(db->dmabuf);
	ret = att_link(db, att);
	if (ret)
		goto err_fini;
	return att;

err_fini:
	dma_buf_importer_fini(&att->imp);
	dma_buf_put(db->dmabuf);
err_free:
	kfree(att);
	return ERR_PTR(ret);
}

/* Context: any. */
struct blk_dmabuf_att *blk_dmabuf_att_find_get(struct blk_dmabuf *db,
					       struct blk_dmabuf_dev *ddev)
{
	struct blk_dmabuf_att *att;

	rcu_read_lock();
	att = blk_dmabuf_att_find(db, ddev);
	if (att && !kref_get_unless_zero(&att->kref))
		att = NULL;
	rcu_read_unlock();
	return att;
}

/* Find the attachment, make one if need be; returned by blk_dmabuf_att_put(). */
struct blk_dmabuf_att *blk_dmabuf_att_get(struct blk_dmabuf *db,
					  struct blk_dmabuf_dev *ddev)
{
	struct blk_dmabuf_att *att;

	att = blk_dmabuf_att_find_get(db, ddev);
	if (att)
		return att;

	mutex_lock(&db->attach_lock);
	att = blk_dmabuf_att_find_get(db, ddev);
	if (!att)
		att = att_create(db, ddev);
	mutex_unlock(&db->attach_lock);
	return att;
}

/* Detach @db, which nobody uses any more, from all devices. */
void blk_dmabuf_detach_all(struct blk_dmabuf *db)
{
	struct blk_dmabuf_att *att;
	bool unlinked;

	for (;;) {
		mutex_lock(&blk_dmabuf_lock);
		att = list_first_entry_or_null(&db->attachments,
					       struct blk_dmabuf_att, db_node);
		unlinked = att && att_unlink(att);
		mutex_unlock(&blk_dmabuf_lock);
		if (!unlinked)
			break;
		att_fini(att);
	}
}

/**
 * blk_dmabuf_dev_register - a driver can do I/O on dma-bufs
 * @ddev: to be initialised
 * @set: the tag set of the queues that do the I/O
 * @dma_dev: the device to map dma-bufs for
 * @ops: the driver's operations
 *
 * To be called before the driver adds disks that have BLK_FEAT_DMABUF.  Undone
 * by blk_dmabuf_dev_unregister().  @ddev and @set must stay there until the last
 * of these disks is released.
 *
 * Context: may sleep.
 */
void blk_dmabuf_dev_register(struct blk_dmabuf_dev *ddev,
			     struct blk_mq_tag_set *set,
			     struct device *dma_dev,
			     const struct blk_dmabuf_dev_ops *ops)
{
	mutex_lock(&blk_dmabuf_lock);
	ddev->dma_dev = dma_dev;
	ddev->set = set;
	ddev->ops = ops;
	INIT_LIST_HEAD(&ddev->attachments);
	ddev->nr_attachments = 0;
	init_waitqueue_head(&ddev->wait);
	WRITE_ONCE(ddev->dead, false);
	set->dmabuf_dev = ddev;
	mutex_unlock(&blk_dmabuf_lock);
}
EXPORT_SYMBOL_GPL(blk_dmabuf_dev_register);

/**
 * blk_dmabuf_dev_unregister - the device goes away
 * @ddev: the device
 *
 * Unmaps and detaches all dma-bufs.  The driver calls this while DMA mappings
 * still work, when no request can be issued any more and all that hold a mapping
 * complete by themselves.  May be called again.
 *
 * Context: may sleep.  Takes reservation locks.
 */
void blk_dmabuf_dev_unregister(struct blk_dmabuf_dev *ddev)
{
	struct blk_dmabuf_att *att;

	if (!ddev->ops)
		return;		/* never registered */

	mutex_lock(&blk_dmabuf_lock);
	ddev->dead = true;
	while ((att = list_first_entry_or_null(&ddev->attachments,
					       struct blk_dmabuf_att,
					       dev_node))) {
		att_unlink(att);
		mutex_unlock(&blk_dmabuf_lock);
		att_fini(att);
		mutex_lock(&blk_dmabuf_lock);
	}
	mutex_unlock(&blk_dmabuf_lock);

	wait_event(ddev->wait, !READ_ONCE(ddev->nr_attachments));
	/* Let the one who woke us up drop the lock before ddev is freed. */
	mutex_lock(&blk_dmabuf_lock);
	mutex_unlock(&blk_dmabuf_lock);
}
EXPORT_SYMBOL_GPL(blk_dmabuf_dev_unregister);
