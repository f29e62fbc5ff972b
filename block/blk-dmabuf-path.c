// SPDX-License-Identifier: GPL-2.0
/*
 * Bios on dma-bufs where a driver chooses a device, the path, for each bio
 *
 * A bio that has to wait for a mapping is for the disk of that driver, see
 * &block_device_operations.next_path.  The attachment where it waits says what
 * the mapping is for, by an address that is only compared: the device may be gone.
 */
#include <linux/blk-dmabuf.h>
#include <linux/blkdev.h>
#include <trace/events/block.h>

#include "blk.h"
#include "blk-dmabuf.h"

/* Whoever does not go on until this is NULL has a reference to the last one. */
static struct gendisk *next_path(struct gendisk *disk, struct gendisk *prev)
{
	return disk->fops->next_path(disk, prev);
}

/*
 * blk_dmabuf_map_bdev() for all paths.  What works on one of them works, as the
 * bios that find no mapping on another are sent there.
 */
int blk_dmabuf_map_paths(struct blk_dmabuf *db, struct gendisk *disk)
{
	struct gendisk *path = NULL;
	bool mapped = false;
	int ret = 0, err;

	if (test_bit(GD_DEAD, &disk->state))
		return -ENODEV;
	while ((path = next_path(disk, path))) {
		err = blk_dmabuf_map_bdev(db, path->part0);
		if (err)
			ret = err;
		else
			mapped = true;
	}
	return mapped ? 0 : ret;
}

/*
 * The path of a bio had no attachment, so attach all that have none.  Returns one
 * where the bio can wait, NULL if there is no path, or why there is none to attach.
 */
static struct blk_dmabuf_att *attach_paths(struct blk_dmabuf *db,
					   struct gendisk *disk)
{
	struct blk_dmabuf_att *ret = NULL, *att;
	struct blk_dmabuf_dev *ddev;
	struct gendisk *path = NULL;

	while ((path = next_path(disk, path))) {
		ddev = queue_dmabuf_dev(path->queue);
		att = ddev ? blk_dmabuf_att_get_noio(db, ddev) :
			     ERR_PTR(-EOPNOTSUPP);
		/* It has gone meanwhile, and is none any more. */
		if (IS_ERR(att) && ddev && READ_ONCE(ddev->dead))
			continue;
		if (IS_ERR_OR_NULL(ret))
			ret = att;
		else if (!IS_ERR(att))
			blk_dmabuf_att_put(att);
	}
	return ret;
}

static struct gendisk *find_path(struct gendisk *disk,
				 const struct blk_dmabuf_dev *ddev)
{
	struct gendisk *path = NULL;

	while ((path = next_path(disk, path)))
		if (queue_dmabuf_dev(path->queue) == ddev)
			break;
	return path;
}

/*
 * There is a mapping for @ddev, so send @bio there.  If it were up to the driver,
 * it would choose another path as likely as not, for which the exporter may have
 * taken the mapping away by now, and so on.
 */
void blk_dmabuf_submit_to_path(struct bio *bio,
			       const struct blk_dmabuf_dev *ddev)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	struct gendisk *path;

	/* No path is chosen while the disk is frozen; see __submit_bio(). */
	if (bio_queue_enter(bio))
		return;
	path = find_path(disk, ddev);
	blk_queue_exit(disk->queue);

	if (!path) {
		submit_bio_noacct_nocheck(bio, false);
		return;
	}
	/* It has been sent to a path before: this is all that has to be done. */
	bio_set_dev(bio, path->part0);
	bio_set_flag(bio, BIO_REMAPPED);
	trace_block_bio_remap(bio, disk_devt(disk), bio->bi_iter.bi_sector);
	submit_bio_noacct(bio);
	disk->fops->put_path(path);
}

/*
 * No path that was usable can have the dma-buf.  One that was being reset,
 * @coming, is waited for, as it would be if it were the only one.
 */
static void no_path(struct bio *bio, bool coming, int error)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	bool waits;

	if (!coming) {
		bio_dmabuf_fail(bio, NULL, error);
		return;
	}
	/* The driver may freeze the disk to find out who is waiting. */
	if (bio_queue_enter(bio))
		return;
	waits = disk->fops->wait_path(disk, bio);
	blk_queue_exit(disk->queue);
	/* Otherwise it is back, or has gone. */
	if (!waits)
		submit_bio_noacct_nocheck(bio, false);
}

/* @bio is for a path that was not attached. */
void blk_dmabuf_park_for_paths(struct blk_dmabuf *db, struct bio *bio)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	bool coming = disk->fops->wait_path(disk, NULL);
	struct blk_dmabuf_att *att;

	att = attach_paths(db, disk);
	if (IS_ERR(att))
		no_path(bio, coming, PTR_ERR(att));
	else if (att)
		blk_dmabuf_att_park(att, bio);
	else
		/* There is no path now.  The driver knows what to do then. */
		submit_bio_noacct_nocheck(bio, false);
}

/* There is no mapping at @failed because of @error. */
void blk_dmabuf_try_other_paths(struct bio *bio, struct blk_dmabuf_att *failed,
				int error)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	bool coming = disk->fops->wait_path(disk, NULL);
	struct gendisk *path = NULL;
	struct blk_dmabuf_att *att;
	struct blk_dmabuf_dev *ddev;

	/* The device has gone, which says nothing about the dma-buf. */
	if (!READ_ONCE(failed->linked)) {
		submit_bio_noacct_nocheck(bio, false);
		return;
	}
	/* The exporter has it locked or is moving it, which is so for all devices. */
	while (error != -ETIMEDOUT && (path = next_path(disk, path))) {
		ddev = queue_dmabuf_dev(path->queue);
		if (!ddev || ddev == failed->ddev)
			continue;
		att = blk_dmabuf_map_hold(bio_dmabuf(bio), ddev,
					  BLK_DMABUF_PARKED_TIMEOUT);
		if (!IS_ERR(att)) {
			blk_dmabuf_submit_to_path(bio, ddev);
			blk_dmabuf_unhold(att);
			disk->fops->put_path(path);
			return;
		}
		if (att == ERR_PTR(-ETIMEDOUT))
			error = -ETIMEDOUT;
	}
	if (path)
		disk->fops->put_path(path);
	no_path(bio, coming && error != -ETIMEDOUT, error);
}
