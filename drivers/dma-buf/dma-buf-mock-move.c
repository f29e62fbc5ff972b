// SPDX-License-Identifier: GPL-2.0
/*
 * Exporter for tests: moving and revoking the memory, in the ways of real ones
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>

#include "dma-buf-mock.h"

/* How many places to keep an eye on after the buffer has left them */
#define MAX_LEFT	4

/* Importers must be done long before; a device's command timeout is 30 s. */
#define UNMAP_TIMEOUT	(60 * HZ)

struct mock_fence {
	struct dma_fence	base;
	spinlock_t		lock;	/* of @base */
};

static const char *mock_fence_name(struct dma_fence *fence)
{
	return "dma_buf_mock";
}

static const struct dma_fence_ops mock_fence_ops = {
	.get_driver_name	= mock_fence_name,
	.get_timeline_name	= mock_fence_name,
};

static struct dma_fence *mock_fence_alloc(void)
{
	struct mock_fence *fence = kzalloc_obj(*fence);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &mock_fence_ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	return &fence->base;
}

static void invalidate(struct dma_buf_mock *mock)
{
	ktime_t start = ktime_get();

	dma_buf_invalidate_mappings(mock->dmabuf);
	mock->stats.invalidations++;
	mock->stats.longest_wait_us = max_t(u64, mock->stats.longest_wait_us,
					    ktime_us_delta(ktime_get(), start));
}

/* The place that the buffer leaves stays under observation for a while. */
static void leave(struct dma_buf_mock *mock, struct mock_store *old)
{
	struct mock_store *oldest;

	mock_store_poison(old);
	dma_buf_mock_check(mock);
	list_add_tail(&old->list, &mock->left);
	if (++mock->nr_left > MAX_LEFT) {
		oldest = list_first_entry(&mock->left, struct mock_store, list);
		list_del(&oldest->list);
		mock->nr_left--;
		mock_store_put(oldest);
	}
	mock->stats.moves++;
}

static int may_move(struct dma_buf_mock *mock)
{
	if (mock->revoked)
		return -ENODEV;
	if (mock->stats.pinned || mock->vmaps)
		return -EBUSY;
	return 0;
}

static struct mock_store *move_to(struct dma_buf_mock *mock, struct mock_store *new)
{
	struct mock_store *old = mock->store;

	unmap_mapping_range(mock->dmabuf->file->f_mapping, 0, 0, 1);
	mock->store = new;
	return old;
}

/* A new idle period starts where the buffer is now. */
static int move_locked(struct dma_buf_mock *mock, struct mock_store *new)
{
	struct mock_store *old;
	int ret;

	dma_resv_assert_held(mock->dmabuf->resv);

	ret = may_move(mock);
	if (ret)
		return ret;
	invalidate(mock);
	if (dma_resv_wait_timeout(mock->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP, false,
				  UNMAP_TIMEOUT) <= 0) {
		mock->stats.violations++;
		return -ETIMEDOUT;
	}
	old = move_to(mock, new);
	mock_store_copy(new, old);
	leave(mock, old);
	return 0;
}

static int move_in_reclaim(struct dma_buf_mock *mock, struct mock_store *new)
{
	struct dma_resv *resv = mock->dmabuf->resv;
	unsigned int noreclaim;
	int ret = -EAGAIN;

	/* In this order, as lockdep ignores who must not enter reclaim. */
	fs_reclaim_acquire(GFP_KERNEL);
	noreclaim = memalloc_noreclaim_save();
	if (dma_resv_trylock(resv)) {
		ret = move_locked(mock, new);
		dma_resv_unlock(resv);
	}
	memalloc_noreclaim_restore(noreclaim);
	fs_reclaim_release(GFP_KERNEL);
	return ret;
}

static int move_pipelined(struct dma_buf_mock *mock, struct mock_store *new)
{
	struct dma_resv *resv = mock->dmabuf->resv;
	struct dma_fence *fence = mock_fence_alloc();
	struct mock_store *old;
	int ret;

	if (!fence)
		return -ENOMEM;
	dma_resv_lock(resv, NULL);
	ret = may_move(mock);
	if (!ret)
		ret = dma_resv_reserve_fences(resv, 1);
	if (ret) {
		dma_resv_unlock(resv);
		dma_fence_signal(fence);
		dma_fence_put(fence);
		return ret;
	}
	invalidate(mock);
	dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_KERNEL);
	/* Whoever maps it now gets the new place, and has to wait for the fence */
	old = move_to(mock, new);
	mock->idle = false;
	dma_resv_unlock(resv);

	if (!wait_event_timeout(mock->unmapped, !READ_ONCE(old->mapped), UNMAP_TIMEOUT))
		ret = -ETIMEDOUT;
	mock_store_copy(new, old);
	dma_fence_signal(fence);
	dma_fence_put(fence);

	dma_resv_lock(resv, NULL);
	if (ret)
		mock->stats.violations++;
	leave(mock, old);
	dma_resv_unlock(resv);
	return ret;
}

/**
 * dma_buf_mock_move() - move the memory of a buffer somewhere else
 * @mock: the exporter
 * @how: which kind of exporter to be
 *
 * Context: may sleep; takes the reservation lock.
 * Return: 0; -EBUSY if the buffer is pinned or mapped for the kernel; -ENODEV if
 * it is revoked; -EAGAIN if it is locked (DMA_BUF_MOCK_MOVE_RECLAIM); -ETIMEDOUT
 * if an importer does not unmap; -ENOMEM.
 */
int dma_buf_mock_move(struct dma_buf_mock *mock, enum dma_buf_mock_move how)
{
	struct dma_resv *resv = mock->dmabuf->resv;
	struct mock_store *new;
	int ret;

	if (how >= DMA_BUF_MOCK_NR_MOVES)
		return -EINVAL;
	new = mock_store_alloc(mock->size, mock->order);
	if (!new)
		return -ENOMEM;

	mutex_lock(&mock->move_lock);
	switch (how) {
	case DMA_BUF_MOCK_MOVE_RECLAIM:
		ret = move_in_reclaim(mock, new);
		break;
	case DMA_BUF_MOCK_MOVE_PIPELINED:
		ret = move_pipelined(mock, new);
		break;
	default:
		dma_resv_lock(resv, NULL);
		ret = move_locked(mock, new);
		dma_resv_unlock(resv);
	}
	mutex_unlock(&mock->move_lock);

	/* A pipelined move that timed out has taken place nevertheless */
	if (ret && READ_ONCE(mock->store) != new)
		mock_store_put(new);
	return ret;
}

static int revoke_locked(struct dma_buf_mock *mock)
{
	dma_resv_assert_held(mock->dmabuf->resv);

	if (mock->revoked)
		return -EALREADY;
	mock->revoked = true;
	invalidate(mock);
	return 0;
}

static int revoke_in_reclaim(struct dma_buf_mock *mock)
{
	struct dma_resv *resv = mock->dmabuf->resv;
	unsigned int noreclaim = memalloc_noreclaim_save();
	int ret = -EAGAIN;

	fs_reclaim_acquire(GFP_KERNEL);
	if (dma_resv_trylock(resv)) {
		ret = revoke_locked(mock);
		dma_resv_unlock(resv);
	}
	fs_reclaim_release(GFP_KERNEL);
	memalloc_noreclaim_restore(noreclaim);
	return ret;
}

/* From here on until it is unmapped, nobody may write. */
static int wait_for_fences(struct dma_buf_mock *mock, u32 *crc)
{
	dma_resv_assert_held(mock->dmabuf->resv);

	if (dma_resv_wait_timeout(mock->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP, false,
				  UNMAP_TIMEOUT) <= 0)
		return -ETIMEDOUT;
	if (mock->flags & DMA_BUF_MOCK_CHECK_IDLE)
		*crc = mock_store_crc(mock->store);
	return 0;
}

static int wait_for_unmap(struct dma_buf_mock *mock)
{
	if (!wait_event_timeout(mock->unmapped, !READ_ONCE(mock->stats.mapped), UNMAP_TIMEOUT))
		return -ETIMEDOUT;
	return 0;
}

/**
 * dma_buf_mock_revoke() - take the memory away
 * @mock: the exporter
 * @how: which kind of exporter to be
 *
 * Nobody can map the buffer until dma_buf_mock_restore(). Whoever has it mapped
 * is told, and waited for.
 *
 * Context: may sleep; takes the reservation lock.
 * Return: 0; -EALREADY; -ETIMEDOUT if somebody keeps it mapped; -EAGAIN if it is
 * locked (DMA_BUF_MOCK_REVOKE_RECLAIM).
 */
int dma_buf_mock_revoke(struct dma_buf_mock *mock, enum dma_buf_mock_revoke how)
{
	bool fences = how != DMA_BUF_MOCK_REVOKE_UNMAP;
	struct dma_resv *resv = mock->dmabuf->resv;
	u32 crc = 0;
	int ret;

	if (how >= DMA_BUF_MOCK_NR_REVOKES)
		return -EINVAL;

	mutex_lock(&mock->move_lock);
	if (how == DMA_BUF_MOCK_REVOKE_RECLAIM) {
		ret = revoke_in_reclaim(mock);
		dma_resv_lock(resv, NULL);
	} else {
		dma_resv_lock(resv, NULL);
		ret = revoke_locked(mock);
	}
	if (!ret && fences)
		ret = wait_for_fences(mock, &crc);
	dma_resv_unlock(resv);
	if (!ret)
		ret = wait_for_unmap(mock);

	dma_resv_lock(resv, NULL);
	if (ret == -ETIMEDOUT)
		mock->stats.violations++;
	if (!ret && fences && (mock->flags & DMA_BUF_MOCK_CHECK_IDLE) &&
	    mock_store_crc(mock->store) != crc)
		mock->stats.violations++;
	dma_resv_unlock(resv);
	mutex_unlock(&mock->move_lock);
	return ret;
}

/**
 * dma_buf_mock_restore() - undo dma_buf_mock_revoke()
 * @mock: the exporter
 *
 * Context: may sleep; takes the reservation lock.
 * Return: 0; -EALREADY if it was not revoked.
 */
int dma_buf_mock_restore(struct dma_buf_mock *mock)
{
	int ret = -EALREADY;

	dma_resv_lock(mock->dmabuf->resv, NULL);
	if (mock->revoked) {
		mock->revoked = false;
		ret = 0;
	}
	dma_resv_unlock(mock->dmabuf->resv);
	return ret;
}

static void auto_work(struct work_struct *work)
{
	struct dma_buf_mock *mock =
		container_of(to_delayed_work(work), struct dma_buf_mock, auto_work);
	unsigned long us = READ_ONCE(mock->auto_us), moves = READ_ONCE(mock->auto_moves);
	unsigned int how = get_random_u32_below(DMA_BUF_MOCK_NR_MOVES);

	if (!us)
		return;
	while (!(moves & BIT(how)))
		how = (how + 1) % DMA_BUF_MOCK_NR_MOVES;
	/* It cannot always be moved; the statistics tell how often it was */
	dma_buf_mock_move(mock, how);
	queue_delayed_work(system_dfl_wq, &mock->auto_work, usecs_to_jiffies(us));
}

/**
 * dma_buf_mock_auto() - keep moving the buffer
 * @mock: the exporter
 * @us: how often, in microseconds; 0 to stop
 * @moves: mask of enum dma_buf_mock_move, one of which is chosen at random
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL for a bad mask.
 */
int dma_buf_mock_auto(struct dma_buf_mock *mock, unsigned long us, unsigned long moves)
{
	if (us && (!moves || moves >> DMA_BUF_MOCK_NR_MOVES))
		return -EINVAL;
	WRITE_ONCE(mock->auto_us, 0);
	cancel_delayed_work_sync(&mock->auto_work);
	if (us) {
		WRITE_ONCE(mock->auto_moves, moves);
		WRITE_ONCE(mock->auto_us, us);
		queue_delayed_work(system_dfl_wq, &mock->auto_work, 0);
	}
	return 0;
}

static unsigned long mock_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct dma_buf_mock *mock = shrinker->private_data;

	return READ_ONCE(mock->stats.mapped) ? mock->size >> PAGE_SHIFT : 0;
}

/* Gives no memory back, only the trouble that those make who do. */
static unsigned long mock_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct dma_buf_mock *mock = shrinker->private_data;

	if (!dma_resv_trylock(mock->dmabuf->resv))
		return SHRINK_STOP;
	if (!mock->stats.pinned)
		invalidate(mock);
	dma_resv_unlock(mock->dmabuf->resv);
	return SHRINK_STOP;
}

int dma_buf_mock_init_moves(struct dma_buf_mock *mock)
{
	mutex_init(&mock->move_lock);
	INIT_DELAYED_WORK(&mock->auto_work, auto_work);
	if (!(mock->flags & DMA_BUF_MOCK_SHRINK))
		return 0;
	mock->shrinker = shrinker_alloc(0, "dma-buf-mock");
	if (!mock->shrinker)
		return -ENOMEM;
	mock->shrinker->count_objects = mock_count;
	mock->shrinker->scan_objects = mock_scan;
	mock->shrinker->private_data = mock;
	return 0;
}

/* Separate, because the shrinker needs the dma-buf. */
void dma_buf_mock_start_moves(struct dma_buf_mock *mock)
{
	if (mock->shrinker)
		shrinker_register(mock->shrinker);
}

void dma_buf_mock_exit_moves(struct dma_buf_mock *mock)
{
	dma_buf_mock_auto(mock, 0, 0);
	shrinker_free(mock->shrinker);
}
