// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs as the memory of bios
 */
#include <linux/bio.h>
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/iov_dmabuf.h>
#include <linux/memcontrol.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "blk.h"
#include "blk-dmabuf.h"
#include "blk-rq-qos.h"

/**
 * DOC: dma-bufs in the block layer
 *
 * A &struct blk_dmabuf makes a dma-buf usable in bios.  It belongs to no
 * device: iterators (ITER_DMABUF) and bios carry it with an offset, and
 * everything between the submitter and the driver passes it along without
 * looking inside.  Queues say with BLK_FEAT_DMABUF that they can take such bios;
 * submit_bio_noacct() refuses them for all others.
 *
 * The mapping is found at the bottom, by the driver that does the DMA.  A request
 * holds it from blk_rq_dmabuf_map(), when the driver issues it, until
 * blk_rq_dmabuf_unmap(), when the device has completed it or the driver has given
 * up on it.  That is what an invalidation of the dma-buf waits for.  Requests
 * that are plugged, scheduled, or requeued by a reset of the device hold none.
 *
 * Where there is no mapping at that point, the request can't wait for one: it
 * has entered the queue, and a holder of the dma-buf's reservation lock may be
 * waiting in memory reclaim for the queue to thaw.  So the request is given up,
 * and its bio parked until a worker has made a mapping and submits it again.
 * Nobody has to sleep, and submitters do not notice.  There is a worker for each
 * dma-buf and device, so that those that are slow or stopped hold up no others.
 *
 * Where a driver chooses a device for each bio, its path, it takes the bio back
 * before that is parked, as the path may have gone before there is a mapping.  If
 * it is still there then, that is where the bio goes, because that is where the
 * mapping is.  Otherwise the driver chooses again.
 *
 * What can be known early is done early: blk_dmabuf_map_bdev() attaches and maps
 * at registration, so that a buffer that a device can't use is refused there.
 */

static struct workqueue_struct *blk_dmabuf_wq;

/*
 * Requests that are needed to free memory may be waiting behind us: no I/O.
 * Attachments and mappings are charged to whoever made @db, also if it is a
 * worker that makes them.
 */
struct blk_dmabuf_att *blk_dmabuf_att_get_noio(struct blk_dmabuf *db,
					       struct blk_dmabuf_dev *ddev)
{
	struct mem_cgroup *memcg = set_active_memcg(db->memcg);
	unsigned int noio = memalloc_noio_save();
	struct blk_dmabuf_att *att = blk_dmabuf_att_get(db, ddev);

	memalloc_noio_restore(noio);
	set_active_memcg(memcg);
	return att;
}

/* Make a mapping, for requests that are submitted before it is let go */
static int blk_dmabuf_att_map_hold(const struct blk_dmabuf *db,
				   struct blk_dmabuf_att *att,
				   unsigned long timeout)
{
	struct mem_cgroup *memcg = set_active_memcg(db->memcg);
	unsigned int noio = memalloc_noio_save();
	int ret = dma_buf_importer_map_hold(&att->imp, timeout);

	memalloc_noio_restore(noio);
	set_active_memcg(memcg);
	return ret;
}

/* The next invalidation leaves the mapping alone until blk_dmabuf_unhold() */
struct blk_dmabuf_att *blk_dmabuf_map_hold(struct blk_dmabuf *db,
					   struct blk_dmabuf_dev *ddev,
					   unsigned long timeout)
{
	struct blk_dmabuf_att *att = blk_dmabuf_att_get_noio(db, ddev);
	int ret;

	if (IS_ERR(att))
		return att;
	ret = blk_dmabuf_att_map_hold(db, att, timeout);
	if (ret) {
		blk_dmabuf_att_put(att);
		return ERR_PTR(ret);
	}
	return att;
}

/**
 * blk_dmabuf_unhold - the request has its mapping, or needs none
 * @att: what blk_dmabuf_map_queue() returned
 *
 * Context: any but NMI.
 */
void blk_dmabuf_unhold(struct blk_dmabuf_att *att)
{
	dma_buf_importer_unhold(&att->imp);
	blk_dmabuf_att_put(att);
}
EXPORT_SYMBOL_GPL(blk_dmabuf_unhold);

/**
 * blk_rq_dmabuf_map - find the mapping that a request uses
 * @rq: a request on a dma-buf, see blk_rq_is_dmabuf()
 *
 * For drivers, before they issue @rq: the mapping and the memory behind it stay
 * where they are until blk_rq_dmabuf_unmap().  On failure the driver fails the
 * request with the returned status; if that is BLK_STS_AGAIN, @rq does not reach
 * its submitter, but comes again when there is a mapping.
 *
 * Context: any but NMI.
 * Return: BLK_STS_OK, BLK_STS_AGAIN if there is no mapping now, BLK_STS_NOTSUPP
 * if the driver has not registered a &struct blk_dmabuf_dev.
 */
blk_status_t blk_rq_dmabuf_map(struct request *rq)
{
	struct blk_dmabuf_dev *ddev = queue_dmabuf_dev(rq->q);
	struct dma_buf_mapping *mapping = NULL;
	struct blk_dmabuf_att *att;

	if (unlikely(!ddev))
		return BLK_STS_NOTSUPP;
	/* A passthrough request can't be parked, and comes with its mapping. */
	if (blk_rq_dmabuf_mapped(rq))
		return BLK_STS_OK;

	rcu_read_lock();
	att = blk_dmabuf_att_find(bio_dmabuf(rq->bio), ddev);
	if (att)
		mapping = dma_buf_importer_get(&att->imp);
	rcu_read_unlock();
	if (unlikely(!mapping))
		return BLK_STS_AGAIN;

	rq->dmabuf_mapping = mapping;
	rq->rq_flags |= RQF_DMABUF;
	return BLK_STS_OK;
}
EXPORT_SYMBOL_GPL(blk_rq_dmabuf_map);

/**
 * blk_rq_dmabuf_unmap - the device does not access the memory any more
 * @rq: a request for which blk_rq_dmabuf_map() succeeded
 *
 * Context: any but NMI.
 */
void blk_rq_dmabuf_unmap(struct request *rq)
{
	struct dma_buf_mapping *mapping = rq->dmabuf_mapping;

	rq->rq_flags &= ~RQF_DMABUF;
	rq->dmabuf_mapping = NULL;
	dma_buf_mapping_put(mapping);
}
EXPORT_SYMBOL_GPL(blk_rq_dmabuf_unmap);

/* Let the worker of @att have @bio, and the reference to @att. */
void blk_dmabuf_att_park(struct blk_dmabuf_att *att, struct bio *bio)
{
	unsigned long flags;
	bool queued;

	spin_lock_irqsave(&att->parked_lock, flags);
	bio_list_add(&att->parked, bio);
	queued = queue_work(blk_dmabuf_wq, &att->map_work);
	spin_unlock_irqrestore(&att->parked_lock, flags);
	/* Otherwise the reference is the work's. */
	if (!queued)
		blk_dmabuf_att_put(att);
}

/*
 * A driver has found no mapping for @rq: take its bio away from it and let a
 * worker submit it again.  Returns false if it is not such a request.
 */
bool blk_dmabuf_park_rq(struct request *rq)
{
	struct bio_list bios = BIO_EMPTY_LIST;
	struct bio *bio = rq->bio;
	struct blk_dmabuf_att *att;
	struct blk_dmabuf *db;
	unsigned long flags;

	if (!bio || !bio_flagged(bio, BIO_DMABUF) || blk_rq_is_passthrough(rq))
		return false;

	/*
	 * Nothing has been done that latencies could be computed from.  If the
	 * driver that chose the device has the bio back, that one's disk does not
	 * know about it.
	 */
	if (bdev_get_queue(bio->bi_bdev) == rq->q) {
		bio->bi_status = BLK_STS_AGAIN;
		rq_qos_done_bio(bio);
		bio->bi_status = BLK_STS_OK;
	}

	/* As they are not merged, this is the only one. */
	blk_steal_bios(&bios, rq);
	bio = bio_list_pop(&bios);

	db = bio_dmabuf(bio);
	att = blk_dmabuf_att_find_get(db, queue_dmabuf_dev(rq->q));
	if (att) {
		blk_dmabuf_att_park(att, bio);
		return true;
	}
	spin_lock_irqsave(&db->parked_lock, flags);
	bio_list_add(&db->parked, bio);
	/* Under the lock: it is the bios that keep @db. */
	queue_work(blk_dmabuf_wq, &db->attach_work);
	spin_unlock_irqrestore(&db->parked_lock, flags);
	return true;
}

/* Why there is no mapping; not something that trying again would mend */
static int map_error(int error)
{
	return error == -EAGAIN ? -EIO : error;
}

/*
 * Stacking drivers must tell apart who is at fault: a mirror is not to be degraded
 * because an exporter has revoked a buffer.  See bio_dmabuf_error().
 */
static blk_status_t map_error_status(int error)
{
	switch (error) {
	case -EOPNOTSUPP:
		return BLK_STS_NOTSUPP;
	case -ENOMEM:
		return BLK_STS_RESOURCE;
	case -EINVAL:
		return BLK_STS_INVAL;
	default:
		return BLK_STS_OFFLINE;
	}
}

/* @ddev is the device that the bio is for, if there is no choice. */
void bio_dmabuf_fail(struct bio *bio, struct blk_dmabuf_dev *ddev, int error)
{
	if (ddev && READ_ONCE(ddev->dead))
		bio_io_error(bio);
	else
		bio_endio_status(bio, map_error_status(error));
}

/* The mapping may be refused, and it may have to wait for the exporter. */
void blk_dmabuf_map_work(struct work_struct *work)
{
	struct blk_dmabuf_att *att =
		container_of(work, struct blk_dmabuf_att, map_work);
	struct bio_list bios;
	struct bio *bio;
	bool paths;
	int ret = 0;

	spin_lock_irq(&att->parked_lock);
	bios = att->parked;
	bio_list_init(&att->parked);
	spin_unlock_irq(&att->parked_lock);

	while ((bio = bio_list_pop(&bios))) {
		paths = blk_dmabuf_has_paths(bio->bi_bdev->bd_disk);
		/* Those behind one that waited in vain have waited as long */
		if (ret != -ETIMEDOUT)
			ret = blk_dmabuf_att_map_hold(bio_dmabuf(bio), att,
						      BLK_DMABUF_PARKED_TIMEOUT);
		if (ret) {
			if (paths)
				blk_dmabuf_try_other_paths(bio, att, ret);
			else
				bio_dmabuf_fail(bio, att->ddev, ret);
			continue;
		}
		if (paths)
			blk_dmabuf_submit_to_path(bio, att->ddev);
		else
			submit_bio_noacct_nocheck(bio, false);
		dma_buf_importer_unhold(&att->imp);
	}
	blk_dmabuf_att_put(att);
}

static void blk_dmabuf_unpark_bio(struct blk_dmabuf *db, struct bio *bio)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	struct blk_dmabuf_dev *ddev = queue_dmabuf_dev(disk->queue);
	struct blk_dmabuf_att *att;

	if (blk_dmabuf_has_paths(disk)) {
		blk_dmabuf_park_for_paths(db, bio);
		return;
	}
	att = ddev ? blk_dmabuf_att_get_noio(db, ddev) : ERR_PTR(-EOPNOTSUPP);
	if (IS_ERR(att))
		bio_dmabuf_fail(bio, ddev, PTR_ERR(att));
	else
		blk_dmabuf_att_park(att, bio);
}

static void blk_dmabuf_attach_work(struct work_struct *work)
{
	struct blk_dmabuf *db = container_of(work, struct blk_dmabuf, attach_work);
	struct bio_list bios;
	struct bio *bio;

	spin_lock_irq(&db->parked_lock);
	bios = db->parked;
	bio_list_init(&db->parked);
	spin_unlock_irq(&db->parked_lock);

	while ((bio = bio_list_pop(&bios)))
		blk_dmabuf_unpark_bio(db, bio);
}

/**
 * bio_set_dmabuf - let a bio do I/O on a dma-buf
 * @bio: a bio without bio_vecs
 * @iter: an ITER_DMABUF iterator; whoever made it keeps the dma-buf until the
 *	bio has completed
 *
 * A bio has no gaps in it, so an iterator over several parts takes several bios;
 * this one gets the first part.
 *
 * Context: any.
 */
void bio_set_dmabuf(struct bio *bio, const struct iov_iter *iter)
{
	size_t len, start;
	u64 offset;

	len = iov_iter_dmabuf_run(iter, &start);
	offset = start;
	bio->bi_io_vec = (struct bio_vec *)iter->dmabuf->windows;
	bio->bi_iter.bi_idx = offset >> BLK_DMABUF_WINDOW_SHIFT;
	bio->bi_iter.bi_offset = offset & (BLK_DMABUF_WINDOW_SIZE - 1);
	bio->bi_iter.bi_size = len;
	bio_set_flag(bio, BIO_CLONED);
	bio_set_flag(bio, BIO_DMABUF);
}

/*
 * bio_split_io_at() for a bio on a dma-buf.  How the memory is scattered is for
 * the driver's map operation to cope with, so only the length matters.
 */
int bio_split_dmabuf_at(struct bio *bio, const struct queue_limits *lim,
			unsigned int *segs, unsigned int max_bytes)
{
	/* A disk without queue may have lost the feature since it was checked. */
	if (!(lim->features & BLK_FEAT_DMABUF))
		return -EOPNOTSUPP;
	if (bio->bi_iter.bi_offset & lim->dma_alignment)
		return -EINVAL;

	*segs = 1;
	bio->bi_bvec_gap_bit = 0;
	if (bio->bi_iter.bi_size <= max_bytes)
		return 0;

	if (bio->bi_opf & REQ_ATOMIC)
		return -EINVAL;
	if (bio->bi_opf & REQ_NOWAIT)
		return -EAGAIN;

	max_bytes = ALIGN_DOWN(max_bytes, lim->logical_block_size);
	if (!max_bytes)
		return -EINVAL;
	/* see bio_split_io_at() */
	bio_clear_polled(bio);
	return max_bytes >> SECTOR_SHIFT;
}

static void blk_dmabuf_release_work(struct work_struct *work)
{
	struct blk_dmabuf *db =
		container_of(work, struct blk_dmabuf, release_work);

	/* No bio is left, but the worker may not have returned from the last. */
	cancel_work_sync(&db->attach_work);
	blk_dmabuf_detach_all(db);
	dma_buf_put(db->dmabuf);
	mem_cgroup_put(db->memcg);
	mutex_destroy(&db->attach_lock);
	kvfree(db);
}

static void blk_dmabuf_release(struct kref *kref)
{
	struct blk_dmabuf *db = container_of(kref, struct blk_dmabuf, kref);

	queue_work(blk_dmabuf_wq, &db->release_work);
}

/**
 * blk_dmabuf_put - drop a reference
 * @db: the dma-buf
 *
 * With the last one, which the caller may only drop when all I/O has completed,
 * the dma-buf is detached from all devices, in the background.
 *
 * Context: any.
 */
void blk_dmabuf_put(struct blk_dmabuf *db)
{
	kref_put(&db->kref, blk_dmabuf_release);
}
EXPORT_SYMBOL_GPL(blk_dmabuf_put);

/**
 * blk_dmabuf_create - make a dma-buf usable in bios
 * @dmabuf: the dma-buf; a reference is taken
 * @dir: what devices may do to the memory
 *
 * What is allocated for it, now or later, is charged to the caller's memory
 * cgroup.
 *
 * Context: may sleep.
 * Return: a blk_dmabuf, to be freed by blk_dmabuf_put(), or an ERR_PTR: -EACCES
 * if the file of the dma-buf is not open for what @dir needs, -EINVAL if the
 * size is not a multiple of the page size, -EFBIG if it is beyond
 * BLK_DMABUF_MAX_SIZE, -ENOMEM.
 */
struct blk_dmabuf *blk_dmabuf_create(struct dma_buf *dmabuf,
				     enum dma_data_direction dir)
{
	fmode_t mode = dmabuf->file->f_mode;
	size_t nr_windows, i;
	struct blk_dmabuf *db;

	if ((dir != DMA_FROM_DEVICE && !(mode & FMODE_READ)) ||
	    (dir != DMA_TO_DEVICE && !(mode & FMODE_WRITE)))
		return ERR_PTR(-EACCES);
	if (!dmabuf->size || !PAGE_ALIGNED(dmabuf->size))
		return ERR_PTR(-EINVAL);
	if (dmabuf->size > BLK_DMABUF_MAX_SIZE)
		return ERR_PTR(-EFBIG);

	nr_windows = DIV_ROUND_UP_ULL(dmabuf->size, BLK_DMABUF_WINDOW_SIZE);
	db = kvzalloc_flex(*db, windows, nr_windows, GFP_KERNEL_ACCOUNT);
	if (!db)
		return ERR_PTR(-ENOMEM);

	db->dir = dir;
	db->memcg = get_mem_cgroup_from_current();
	kref_init(&db->kref);
	mutex_init(&db->attach_lock);
	INIT_LIST_HEAD(&db->attachments);
	INIT_WORK(&db->release_work, blk_dmabuf_release_work);
	spin_lock_init(&db->parked_lock);
	bio_list_init(&db->parked);
	INIT_WORK(&db->attach_work, blk_dmabuf_attach_work);
	for (i = 0; i < nr_windows; i++)
		db->windows[i].bv_len = BLK_DMABUF_WINDOW_SIZE;

	get_dma_buf(dmabuf);
	db->dmabuf = dmabuf;
	return db;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_create);

/**
 * blk_dmabuf_size - the size of a dma-buf
 * @db: the dma-buf
 *
 * Return: the size in bytes, a multiple of the page size.
 */
u64 blk_dmabuf_size(const struct blk_dmabuf *db)
{
	return db->dmabuf->size;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_size);

/**
 * blk_dmabuf_dir - what devices may do to the memory
 * @db: the dma-buf
 *
 * Return: the direction that it was made for.
 */
enum dma_data_direction blk_dmabuf_dir(const struct blk_dmabuf *db)
{
	return db->dir;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_dir);

/**
 * blk_dmabuf_map_bdev - prepare a dma-buf for I/O on a block device
 * @db: the dma-buf
 * @bdev: the block device
 *
 * Not needed before I/O, but reports early what would go wrong later, and saves
 * the first I/O from making the mapping.  For a device with several paths, one
 * that can be used is enough.  For other stacked devices only checks that they
 * support dma-bufs.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0; -EOPNOTSUPP if the device doesn't support dma-bufs; -ENODEV if it
 * is gone; or what dma_buf_importer_map() or the exporter returned.
 */
int blk_dmabuf_map_bdev(struct blk_dmabuf *db, struct block_device *bdev)
{
	struct request_queue *q = bdev_get_queue(bdev);
	struct blk_dmabuf_dev *ddev;
	struct blk_dmabuf_att *att;

	/* The tag set of a driver that does not opt in may be gone by now. */
	if (!bdev_dmabuf(bdev))
		return -EOPNOTSUPP;
	if (blk_dmabuf_has_paths(bdev->bd_disk))
		return blk_dmabuf_map_paths(db, bdev->bd_disk);
	if (!queue_is_mq(q))
		return 0;
	ddev = queue_dmabuf_dev(q);
	if (!ddev)
		return -EOPNOTSUPP;
	att = blk_dmabuf_map_hold(db, ddev, 0);
	if (IS_ERR(att))
		return map_error(PTR_ERR(att));
	blk_dmabuf_unhold(att);
	return 0;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_map_bdev);

/**
 * blk_dmabuf_map_queue - make the mapping that a passthrough request needs
 * @q: the queue of the request
 * @iter: an ITER_DMABUF iterator
 *
 * For callers of blk_rq_map_user_iov() that got -EAGAIN and may sleep.  They
 * free the request first, see "DOC: dma-buf importer", then try again, and call
 * blk_dmabuf_unhold() when they have.  An exporter that takes the mapping away
 * again waits a moment for that.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: for blk_dmabuf_unhold(), or an ERR_PTR that says why there can be no
 * mapping, which is not -EAGAIN.
 */
struct blk_dmabuf_att *blk_dmabuf_map_queue(struct request_queue *q,
					    const struct iov_iter *iter)
{
	struct blk_dmabuf_dev *ddev = queue_dmabuf_dev(q);
	struct blk_dmabuf_att *att;

	if (!ddev)
		return ERR_PTR(-EOPNOTSUPP);
	att = blk_dmabuf_map_hold((struct blk_dmabuf *)iter->dmabuf, ddev, 0);
	if (att == ERR_PTR(-ERESTARTSYS))
		return ERR_PTR(-EINTR);
	return IS_ERR(att) ? ERR_PTR(map_error(PTR_ERR(att))) : att;
}
EXPORT_SYMBOL_GPL(blk_dmabuf_map_queue);

static int __init blk_dmabuf_init(void)
{
	blk_dmabuf_wq = alloc_workqueue("blk_dmabuf",
					WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!blk_dmabuf_wq)
		panic("Failed to create blk_dmabuf wq\n");
	return 0;
}
subsys_initcall(blk_dmabuf_init);
