/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_BLK_DMABUF_H
#define _LINUX_BLK_DMABUF_H

#include <linux/blk-mq.h>
#include <linux/dma-buf-importer.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/uio.h>
#include <linux/wait.h>

struct blk_dmabuf;
struct blk_dmabuf_att;
struct blk_dmabuf_dev;
struct block_device;
struct dma_buf;
struct file;

/*
 * A bio on a dma-buf has a table of bio_vecs like any other, so that splitting,
 * cloning and advancing it are what they always are.  But the entries have no
 * pages, they are windows of this size onto the dma-buf.
 */
#define BLK_DMABUF_WINDOW_SHIFT	31
#define BLK_DMABUF_WINDOW_SIZE	BIT(BLK_DMABUF_WINDOW_SHIFT)

/* Larger than any memory, and small enough for the table of windows. */
#define BLK_DMABUF_MAX_SIZE	BIT_ULL(48)

/**
 * struct blk_dmabuf_dev_ops - what a driver provides to do I/O on dma-bufs
 */
struct blk_dmabuf_dev_ops {
	/**
	 * @map: build the driver's own format of a new mapping
	 *
	 * Sets &dma_buf_mapping.priv, which the driver finds again for every
	 * request with blk_rq_dmabuf_priv().  May sleep and allocate memory;
	 * must not submit I/O.  Returns 0 or a negative errno.
	 */
	int (*map)(struct blk_dmabuf_dev *ddev,
		   struct dma_buf_mapping *mapping);

	/**
	 * @unmap: free what @map built
	 *
	 * No request uses the mapping any more.  Must not allocate memory.
	 */
	void (*unmap)(struct blk_dmabuf_dev *ddev,
		      struct dma_buf_mapping *mapping);
};

/**
 * struct blk_dmabuf_dev - a device that does DMA for one or more request queues
 * @dma_dev: the device to map dma-bufs for
 * @set: the tag set of the queues
 * @ops: the driver
 *
 * Embedded in the driver's controller structure.  One mapping serves all queues
 * of the tag set.
 */
struct blk_dmabuf_dev {
	struct device				*dma_dev;
	struct blk_mq_tag_set			*set;
	const struct blk_dmabuf_dev_ops		*ops;

	/* private: */
	struct list_head			attachments;
	unsigned int				nr_attachments;
	bool					dead;
	wait_queue_head_t			wait;
};

/**
 * bio_dmabuf_error - is the dma-buf at fault, and no device?
 * @bio: a bio, of which @status is the outcome
 * @status: its status
 *
 * For stacking drivers that have other devices to try, or to compare with: the
 * dma-buf can't be mapped any more, or a device that has just been added doesn't
 * take any.
 *
 * Return: true if @bio is on a dma-buf and has failed for one of these reasons.
 */
static inline bool bio_dmabuf_error(const struct bio *bio, blk_status_t status)
{
	if (!bio_flagged(bio, BIO_DMABUF))
		return false;
	return status == BLK_STS_OFFLINE || status == BLK_STS_NOTSUPP ||
		status == BLK_STS_RESOURCE || status == BLK_STS_INVAL;
}

#ifdef CONFIG_BLK_DMABUF
void blk_dmabuf_dev_register(struct blk_dmabuf_dev *ddev,
			     struct blk_mq_tag_set *set,
			     struct device *dma_dev,
			     const struct blk_dmabuf_dev_ops *ops);
void blk_dmabuf_dev_unregister(struct blk_dmabuf_dev *ddev);

struct blk_dmabuf *blk_dmabuf_create(struct dma_buf *dmabuf,
				     enum dma_data_direction dir);
void blk_dmabuf_put(struct blk_dmabuf *db);
u64 blk_dmabuf_size(const struct blk_dmabuf *db);
enum dma_data_direction blk_dmabuf_dir(const struct blk_dmabuf *db);
int blk_dmabuf_map_bdev(struct blk_dmabuf *db, struct block_device *bdev);
struct blk_dmabuf_att *blk_dmabuf_map_queue(struct request_queue *q,
					    const struct iov_iter *iter);
void blk_dmabuf_unhold(struct blk_dmabuf_att *att);
int blk_dmabuf_map_file(struct blk_dmabuf *db, struct file *file);
int blk_dmabuf_zero(const struct blk_dmabuf *db, u64 offset, size_t len);

int blk_dmabuf_map_runs(struct blk_dmabuf_dev *ddev,
			struct dma_buf_mapping *mapping);
void blk_dmabuf_unmap_runs(struct blk_dmabuf_dev *ddev,
			   struct dma_buf_mapping *mapping);
unsigned int blk_rq_dmabuf_run(const struct request *rq, unsigned int done,
			       dma_addr_t *addr);

blk_status_t blk_rq_dmabuf_map(struct request *rq);
void blk_rq_dmabuf_unmap(struct request *rq);

/**
 * blk_rq_is_dmabuf - does the request carry a dma-buf instead of pages?
 * @rq: the request
 *
 * Return: true if it does.
 */
static inline bool blk_rq_is_dmabuf(const struct request *rq)
{
	return rq->bio && bio_flagged(rq->bio, BIO_DMABUF);
}

/**
 * blk_rq_dmabuf_mapped - does the request hold a mapping of its dma-buf?
 * @rq: the request
 *
 * Unlike blk_rq_is_dmabuf() also valid when the bio has gone.
 *
 * Return: true between blk_rq_dmabuf_map() and blk_rq_dmabuf_unmap().
 */
static inline bool blk_rq_dmabuf_mapped(const struct request *rq)
{
	/*
	 * A timeout that races with the completion can bring the flag back, but
	 * not the mapping, which is not initialised before the flag is first set.
	 */
	return (rq->rq_flags & RQF_DMABUF) && rq->dmabuf_mapping;
}

/**
 * blk_rq_dmabuf_priv - the driver's own format of the mapping
 * @rq: a request for which blk_rq_dmabuf_map() succeeded
 *
 * Return: &dma_buf_mapping.priv, valid until blk_rq_dmabuf_unmap().
 */
static inline void *blk_rq_dmabuf_priv(const struct request *rq)
{
	return rq->dmabuf_mapping->priv;
}

/**
 * blk_rq_dmabuf_offset - where in the dma-buf the request's data is
 * @rq: a request for which blk_rq_is_dmabuf() is true
 *
 * Return: the offset in bytes, a multiple of the queue's DMA alignment; the
 * length is blk_rq_bytes().
 */
static inline u64 blk_rq_dmabuf_offset(const struct request *rq)
{
	const struct bvec_iter *iter = &rq->bio->bi_iter;

	return ((u64)iter->bi_idx << BLK_DMABUF_WINDOW_SHIFT) + iter->bi_offset;
}
#else /* !CONFIG_BLK_DMABUF */
static inline int blk_dmabuf_zero(const struct blk_dmabuf *db, u64 offset,
				  size_t len)
{
	return -EOPNOTSUPP;
}

/* No request is a dma-buf then, so these are not referenced. */
int blk_dmabuf_map_runs(struct blk_dmabuf_dev *ddev,
			struct dma_buf_mapping *mapping);
void blk_dmabuf_unmap_runs(struct blk_dmabuf_dev *ddev,
			   struct dma_buf_mapping *mapping);
unsigned int blk_rq_dmabuf_run(const struct request *rq, unsigned int done,
			       dma_addr_t *addr);

static inline void blk_dmabuf_dev_register(struct blk_dmabuf_dev *ddev,
					   struct blk_mq_tag_set *set,
					   struct device *dma_dev,
					   const struct blk_dmabuf_dev_ops *ops)
{
}

static inline void blk_dmabuf_dev_unregister(struct blk_dmabuf_dev *ddev)
{
}

static inline blk_status_t blk_rq_dmabuf_map(struct request *rq)
{
	return BLK_STS_NOTSUPP;
}

static inline void blk_rq_dmabuf_unmap(struct request *rq)
{
}

static inline struct blk_dmabuf_att *
blk_dmabuf_map_queue(struct request_queue *q, const struct iov_iter *iter)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void blk_dmabuf_unhold(struct blk_dmabuf_att *att)
{
}

static inline bool blk_rq_is_dmabuf(const struct request *rq)
{
	return false;
}

static inline bool blk_rq_dmabuf_mapped(const struct request *rq)
{
	return false;
}

static inline void *blk_rq_dmabuf_priv(const struct request *rq)
{
	return NULL;
}

static inline u64 blk_rq_dmabuf_offset(const struct request *rq)
{
	return 0;
}
#endif /* CONFIG_BLK_DMABUF */

#endif /* _LINUX_BLK_DMABUF_H */
