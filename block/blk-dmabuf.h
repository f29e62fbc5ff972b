/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BLK_DMABUF_INTERNAL_H
#define BLK_DMABUF_INTERNAL_H

#include <linux/bio.h>
#include <linux/blk-dmabuf.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/**
 * struct blk_dmabuf_att - the importer of one dma-buf for one device
 * @imp: the importer
 * @ddev: the device
 * @db_node: in &blk_dmabuf.attachments
 * @dev_node: in &blk_dmabuf_dev.attachments
 * @linked: whether it is in both lists, or in none
 * @kref: the lists hold one reference, and whoever sleeps with it another
 * @parked_lock: protects @parked
 * @parked: bios for the device that wait for a mapping
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
 * @kref: users
 * @attach_lock: held while attaching, so that a device is attached once
 * @attachments: of struct blk_dmabuf_att; changed under blk_dmabuf_lock, read
 *	under RCU
 * @release_work: detaching sleeps, putting a reference does not
 * @parked_lock: protects @parked
 * @parked: bios for which there was no mapping
 * @attach_work: hands @parked on to &blk_dmabuf_att.parked of their device
 * @windows: what bi_io_vec of a bio points to
 */
struct blk_dmabuf {
	struct dma_buf		*dmabuf;
	enum dma_data_direction	dir;
	struct kref		kref;
	struct mutex		attach_lock;	/* attach a device once */
	struct list_head	attachments;
	struct work_struct	release_work;
	spinlock_t		parked_lock;	/* @parked */
	struct bio_list		parked;
	struct work_struct	attach_work;
	struct bio_vec		windows[];
};

struct blk_dmabuf_att *blk_dmabuf_att_find(struct blk_dmabuf *db,
					   struct blk_dmabuf_dev *ddev);
struct blk_dmabuf_att *blk_dmabuf_att_get(struct blk_dmabuf *db,
					  struct blk_dmabuf_dev *ddev);
void blk_dmabuf_att_put(struct blk_dmabuf_att *att);
void blk_dmabuf_map_work(struct work_struct *work);
void blk_dmabuf_detach_all(struct blk_dmabuf *db);

#endif /* BLK_DMABUF_INTERNAL_H */
