// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs as the memory of bios
 */
#include <linux/bio.h>
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "blk.h"
#include "blk-dmabuf.h"

/**
 * DOC: dma-bufs in the block layer
 *
 * A &struct blk_dmabuf makes a dma-buf usable in bios.  It belongs to no
 * device: iterators (ITER_DMABUF) and bios carry it with an offset, and
 * everything between the submitter and the driver passes it along without
 * looking inside.  Queues say with BLK_FEAT_DMABUF that they can take such bios;
 * submit_bio_noacct() refuses them for all others.
 *
 * The mapping is found at the bottom, when a request has been allocated in the
 * queue that does the DMA.  A request holds its mapping from there until it is
 * freed, so an invalidation of the dma-buf waits for the requests that exist,
 * and these need nothing but the device to complete.  If there is no mapping, it
 * is made first, before the queue is entered; where the submitter may not sleep
 * the bio fails with BLK_STS_AGAIN.
 *
 * What can be known early is done early: blk_dmabuf_map_bdev() attaches and maps
 * at registration, so that a buffer that a device can't use is refused there.
 */

static struct workqueue_struct *blk_dmabuf_wq;

static struct blk_dmabuf *bio_dmabuf(const struct bio *bio)
{
	return container_of((const struct bio_vec (*)[])bio->bi_io_vec,
			    struct blk_dmabuf, windows);
}

static int blk_dmabuf_map(struct blk_dmabuf *db, struct blk_dmabuf_dev *ddev)
{
	struct blk_dmabuf_att *att;
	unsigned int noio;
	int ret;

	/* Requests that are needed to free memory may be waiting behind us. */
	noio = memalloc_noio_save();
	att = blk_dmabuf_att_get(db, ddev);
	if (IS_ERR(att)) {
		ret = PTR_ERR(att);
	} else {
		ret = dma_buf_importer_map(&att->imp);
		blk_dmabuf_att_put(att);
	}
	memalloc_noio_restore(noio);
	return ret;
}

static struct blk_dmabuf_dev *queue_dmabuf_dev(struct request_queue *q)
{
	return queue_is_mq(q) ? q->tag_set->dmabuf_dev : NULL;
}

/*
 * Make sure that the device of @q has a mapping of the bio's dma-buf.  Called
 * without a reference to the queue's usage counter, see "DOC: dma-buf importer".
 *
 * Returns false if that can't be; @bio has been completed then.
 */
bool blk_dmabuf_prepare_bio(struct request_queue *q, struct bio *bio)
{
	struct blk_dmabuf_dev *ddev = queue_dmabuf_dev(q);
	struct blk_dmabuf *db = bio_dmabuf(bio);
	struct bio_list *bio_list = current->bio_list;
	struct blk_dmabuf_att *att;
	bool mapped;
	int ret;

	if (!ddev) {
		bio_endio_status(bio, BLK_STS_NOTSUPP);
		return false;
	}

	rcu_read_lock();
	att = blk_dmabuf_att_find(db, ddev);
	mapped = att && dma_buf_importer_mapped(&att->imp);
	rcu_read_unlock();
	if (likely(mapped))
		return true;

	if (bio->bi_opf & REQ_NOWAIT) {
		bio_wouldblock_error(bio);
		return false;
	}
	/* The exporter may have to read the buffer back from swap. */
	current->bio_list = NULL;
	ret = blk_dmabuf_map(db, ddev);
	current->bio_list = bio_list;
	if (ret) {
		/* Not something that waiting would mend; see REQ_NOWAIT above. */
		if (ret == -EAGAIN)
			ret = -EIO;
		bio_endio_status(bio, errno_to_blk_status(ret));
		return false;
	}
	return true;
}

/*
 * Let @rq hold the mapping until blk_dmabuf_finish_rq().  Returns false if there
 * is none, because of an invalidation since blk_dmabuf_prepare_bio().
 */
bool blk_dmabuf_start_rq(struct request *rq, struct bio *bio)
{
	struct blk_dmabuf_dev *ddev = rq->q->tag_set->dmabuf_dev;
	struct dma_buf_mapping *mapping = NULL;
	struct blk_dmabuf_att *att;

	rcu_read_lock();
	att = blk_dmabuf_att_find(bio_dmabuf(bio), ddev);
	if (att)
		mapping = dma_buf_importer_get(&att->imp);
	rcu_read_unlock();
	if (!mapping)
		return false;

	rq->dmabuf_mapping = mapping;
	rq->rq_flags |= RQF_DMABUF;
	return true;
}

void blk_dmabuf_finish_rq(struct request *rq)
{
	struct dma_buf_mapping *mapping = rq->dmabuf_mapping;

	rq->rq_flags &= ~RQF_DMABUF;
	rq->dmabuf_mapping = NULL;
	dma_buf_mapping_put(mapping);
}

/**
 * bio_set_dmabuf - let a bio do I/O on a dma-buf
 * @bio: a bio without bio_vecs
 * @iter: an ITER_DMABUF iterator; whoever made it keeps the dma-buf until the
 *	bio has completed
 *
 * Context: any.
 */
void bio_set_dmabuf(struct bio *bio, const struct iov_iter *iter)
{
	u64 offset = iter->iov_offset;

	bio->bi_io_vec = (struct bio_vec *)iter->dmabuf->windows;
	bio->bi_iter.bi_idx = offset >> BLK_DMABUF_WINDOW_SHIFT;
	bio->bi_iter.bi_offset = offset & (BLK_DMABUF_WINDOW_SIZE - 1);
	bio->bi_iter.bi_size = iov_iter_count(iter);
	bio_set_flag(bio, BIO_CLONED);
	bio_set_flag(bio, BIO_DMABUF);
	/* A request has one mapping and one offset. */
	bio->bi_opf |= REQ_NOMERGE;
}

/*
 * bio_split_io_at() for a bio on a dma-buf.  How the memory is scattered is for
 * the driver's map operation to cope with, so only the length matters.
 */
int bio_split_dmabuf_at(struct bio *bio, const struct queue_limits *lim,
			unsigned int *segs, unsigned int max_bytes)
{
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

	blk_dmabuf_detach_all(db);
	dma_buf_put(db->dmabuf);
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
 *
 * A dma-buf whose file is not open for writing can be the source of I/O only.
 *
 * Context: may sleep.
 * Return: a blk_dmabuf, to be freed by blk_dmabuf_put(), or an ERR_PTR: -EINVAL
 * if the size is not a multiple of the page size, -EFBIG if it is beyond
 * BLK_DMABUF_MAX_SIZE, -ENOMEM.
 */
struct blk_dmabuf *blk_dmabuf_create(struct dma_buf *dmabuf)
{
	size_t nr_windows, i;
	struct blk_dmabuf *db;

	if (!dmabuf->size || !PAGE_ALIGNED(dmabuf->size))
		return ERR_PTR(-EINVAL);
	if (dmabuf->size > BLK_DMABUF_MAX_SIZE)
		return ERR_PTR(-EFBIG);

	nr_windows = DIV_ROUND_UP_ULL(dmabuf->size, BLK_DMABUF_WINDOW_SIZE);
	db = kvzalloc_flex(*db, windows, nr_windows, GFP_KERNEL_ACCOUNT);
	if (!db)
		return ERR_PTR(-ENOMEM);

	db->dir = DMA_BIDIRECTIONAL;
	if (!(dmabuf->file->f_mode & FMODE_WRITE))
		db->dir = DMA_TO_DEVICE;
	kref_init(&db->kref);
	mutex_init(&db->attach_lock);
	INIT_LIST_HEAD(&db->attachments);
	INIT_WORK(&db->release_work, blk_dmabuf_release_work);
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
 * Return: DMA_BIDIRECTIONAL, or DMA_TO_DEVICE if devices may only read it.
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
 * the first I/O from making the mapping.  For a stacked device only checks that
 * it supports dma-bufs.
 *
 * Context: may sleep.  Takes the reservation lock of the dma-buf.
 * Return: 0; -EOPNOTSUPP if the device doesn't support dma-bufs; -ENODEV if it
 * is gone; or what dma_buf_importer_map() or the exporter returned.
 */
int blk_dmabuf_map_bdev(struct blk_dmabuf *db, struct block_device *bdev)
{
	struct request_queue *q = bdev_get_queue(bdev);
	struct blk_dmabuf_dev *ddev = queue_dmabuf_dev(q);

	if (!bdev_dmabuf(bdev))
		return -EOPNOTSUPP;
	if (!queue_is_mq(q))
		return 0;
	if (!ddev)
		return -EOPNOTSUPP;
	return blk_dmabuf_map(db, ddev);
}
EXPORT_SYMBOL_GPL(blk_dmabuf_map_bdev);

static int __init blk_dmabuf_init(void)
{
	blk_dmabuf_wq = alloc_workqueue("blk_dmabuf",
					WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!blk_dmabuf_wq)
		panic("Failed to create blk_dmabuf wq\n");
	return 0;
}
subsys_initcall(blk_dmabuf_init);
