/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BLK_DMABUF_INTERNAL_H
#define BLK_DMABUF_INTERNAL_H

#include <linux/bio.h>
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct mem_cgroup;

/**
 * struct blk_dmabuf_att - the importer of one dma-buf for one device
 * @imp: the importer
 * @ddev: the device
 * @db_node: in &blk_dmabuf.attachments
 * @dev_node: in &blk_dmabuf_dev.attachments
 * @linked: whether it is in both lists, or in none
 * @kref: the lists hold one reference, and whoever sleeps with it another
 * @parked_lock: protects @parked
 * @parked: bios that wait for a mapping for the device
 * @map_work: makes the mapping and submits @parked again; holds a reference
 *	while it is queued or runs
 * @rcu: readers of &blk_dmabuf.attachments
 */
struct blk_dmabuf_att {
	struct dma_buf_importer	imp;
	struct blk_dmabuf_dev	*ddev;
	struct list_head	db_node;
	struct list_head	dev_node;
	bool			linked;
	struct kref		kref;
	spinlock_t		parked_lock;	/* @parked */
	struct bio_list		parked;
	struct work_struct	map_work;
	struct rcu_head		rcu;
};

/**
 * struct blk_dmabuf - a dma-buf that can be used in bios
 * @dmabuf: the dma-buf, referenced
 * @dir: what devices may do to it
 * @memcg: what is allocated for it is charged to, referenced
 * @kref: users
 * @attach_lock: held while attaching, so that a device is attached once
 * @attachments: of struct blk_dmabuf_att; changed under blk_dmabuf_lock, read
 *	under RCU
 * @release_work: detaching sleeps, putting a reference does not
 * @parked_lock: protects @parked
 * @parked: bios for a device that was not attached
 * @attach_work: attaches it and hands @parked on to &blk_dmabuf_att.parked
 * @windows: what bi_io_vec of a bio points to
 */
struct blk_dmabuf {
	struct dma_buf		*dmabuf;
	enum dma_data_direction	dir;
	struct mem_cgroup	*memcg;
	struct kref		kref;
	struct mutex		attach_lock;	/* attach a device once */
	struct list_head	attachments;
	struct work_struct	release_work;
	spinlock_t		parked_lock;	/* @parked */
	struct bio_list		parked;
	struct work_struct	attach_work;
	struct bio_vec		windows[];
};

/*
 * A stacked device that is being suspended, or its array reconfigured, waits for
 * parked bios, and who has the reservation lock may be waiting for that device.
 *
 * But he may as well be waiting for another path or leg that has died, which is no
 * reason for these bios to fail.  That takes the timeout of a command, another one
 * if it was only aborted then, and the reset.
 */
#define BLK_DMABUF_PARKED_TIMEOUT	(120 * HZ)

static inline struct blk_dmabuf *bio_dmabuf(const struct bio *bio)
{
	return container_of((const struct bio_vec (*)[])bio->bi_io_vec,
			    struct blk_dmabuf, windows);
}

/* Does the driver choose a device for each bio?  See blk-dmabuf-path.c. */
static inline bool blk_dmabuf_has_paths(const struct gendisk *disk)
{
	return disk->fops->next_path;
}

struct blk_dmabuf_att *blk_dmabuf_att_find(struct blk_dmabuf *db,
					   struct blk_dmabuf_dev *ddev);
struct blk_dmabuf_att *blk_dmabuf_att_find_get(struct blk_dmabuf *db,
					       struct blk_dmabuf_dev *ddev);
struct blk_dmabuf_att *blk_dmabuf_att_get(struct blk_dmabuf *db,
					  struct blk_dmabuf_dev *ddev);
void blk_dmabuf_att_put(struct blk_dmabuf_att *att);
struct blk_dmabuf_att *blk_dmabuf_att_get_noio(struct blk_dmabuf *db,
					       struct blk_dmabuf_dev *ddev);
struct blk_dmabuf_att *blk_dmabuf_map_hold(struct blk_dmabuf *db,
					   struct blk_dmabuf_dev *ddev,
					   unsigned long timeout);
void blk_dmabuf_att_park(struct blk_dmabuf_att *att, struct bio *bio);
void bio_dmabuf_fail(struct bio *bio, struct blk_dmabuf_dev *ddev, int error);
void blk_dmabuf_map_work(struct work_struct *work);
void blk_dmabuf_detach_all(struct blk_dmabuf *db);

int blk_dmabuf_map_paths(struct blk_dmabuf *db, struct gendisk *disk);
void blk_dmabuf_park_for_paths(struct blk_dmabuf *db, struct bio *bio);
void blk_dmabuf_submit_to_path(struct bio *bio,
			       const struct blk_dmabuf_dev *ddev);
void blk_dmabuf_try_other_paths(struct bio *bio, struct blk_dmabuf_att *failed,
				int error);

#endif /* BLK_DMABUF_INTERNAL_H */
