// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the dma-buf importer
 *
 * Run with:
 *	./tools/testing/kunit/kunit.py run --kconfig_add CONFIG_PCI=y \
 *		--kconfig_add CONFIG_DMABUF_KUNIT_TEST=y dma-buf-importer
 *
 * The exporter here has no memory, only DMA addresses.  It notes whether a
 * mapping is live, and the users complain when they hold one that is not.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-importer.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/kthread.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define TEST_PAGES	8
#define TEST_BASE	BIT_ULL(40)

struct mock {
	struct kunit		*test;
	struct device		*dev;
	struct dma_buf		*dmabuf;
	struct dma_buf_importer	imp;

	/* the exporter's side */
	unsigned int		attached;
	unsigned int		mapped;
	unsigned int		nr_maps;
	unsigned int		misalign;
	unsigned int		missing_pages;
	int			map_error;
	bool			move_on_map;
	struct dma_fence	*fence;
	struct delayed_work	moved_work;

	/* the user's side */
	int			format_error;
	unsigned int		formats;
	unsigned int		reaped;
	struct dma_buf_mapping	*in_flight;
	struct delayed_work	put_work;
	struct work_struct	start_work;
	atomic_t		used_while_dead;
	atomic_t		ops;
	bool			released;
};

static int mock_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct mock *mock = dmabuf->priv;

	mock->attached++;
	return 0;
}

static void mock_detach(struct dma_buf *dmabuf,
			struct dma_buf_attachment *attach)
{
	struct mock *mock = dmabuf->priv;

	mock->attached--;
}

static const char *mock_fence_name(struct dma_fence *fence)
{
	return "dma-buf-importer";
}

static const struct dma_fence_ops mock_fence_ops = {
	.get_driver_name	= mock_fence_name,
	.get_timeline_name	= mock_fence_name,
};

static DEFINE_SPINLOCK(mock_fence_lock);

static void mock_moved(struct work_struct *work)
{
	struct mock *mock = container_of(to_delayed_work(work), struct mock,
					 moved_work);

	dma_fence_signal(mock->fence);
}

/* The memory arrives later, as when a GPU copies it. */
static void mock_start_move(struct mock *mock)
{
	if (mock->fence || dma_resv_reserve_fences(mock->dmabuf->resv, 1))
		return;
	mock->fence = kzalloc_obj(*mock->fence);
	if (!mock->fence)
		return;
	dma_fence_init(mock->fence, &mock_fence_ops, &mock_fence_lock,
		       dma_fence_context_alloc(1), 1);
	dma_resv_add_fence(mock->dmabuf->resv, mock->fence,
			   DMA_RESV_USAGE_KERNEL);
	schedule_delayed_work(&mock->moved_work, HZ / 10);
}

static struct sg_table *mock_map(struct dma_buf_attachment *attach,
				 enum dma_data_direction dir)
{
	struct mock *mock = attach->dmabuf->priv;
	unsigned int i, nr = TEST_PAGES - mock->missing_pages;
	struct scatterlist *sg;
	struct sg_table *sgt;

	if (mock->map_error)
		return ERR_PTR(mock->map_error);

	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	if (sg_alloc_table(sgt, nr, GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	for_each_sgtable_dma_sg(sgt, sg, i) {
		sg_dma_address(sg) = TEST_BASE + 2 * i * PAGE_SIZE +
				     mock->misalign;
		sg_dma_len(sg) = PAGE_SIZE;
	}
	mock->nr_maps++;
	WRITE_ONCE(mock->mapped, mock->mapped + 1);
	if (mock->move_on_map)
		mock_start_move(mock);
	return sgt;
}

static void mock_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	struct mock *mock = attach->dmabuf->priv;

	WRITE_ONCE(mock->mapped, mock->mapped - 1);
	sg_free_table(sgt);
	kfree(sgt);
}

static void mock_release(struct dma_buf *dmabuf)
{
	struct mock *mock = dmabuf->priv;

	WRITE_ONCE(mock->released, true);
}

static const struct dma_buf_ops mock_ops = {
	.attach		= mock_attach,
	.detach		= mock_detach,
	.map_dma_buf	= mock_map,
	.unmap_dma_buf	= mock_unmap,
	.release	= mock_release,
};

static struct mock *importer_mock(struct dma_buf_importer *imp)
{
	return container_of(imp, struct mock, imp);
}

static int format_map(struct dma_buf_mapping *mapping)
{
	struct mock *mock = importer_mock(mapping->importer);

	if (mock->format_error)
		return mock->format_error;
	mapping->priv = mock;
	mock->formats++;
	return 0;
}

static void format_unmap(struct dma_buf_mapping *mapping)
{
	struct mock *mock = importer_mock(mapping->importer);

	KUNIT_EXPECT_EQ(mock->test, mock->mapped, 1);
	mock->formats--;
}

static void format_reap(struct dma_buf_mapping *mapping)
{
	struct mock *mock = importer_mock(mapping->importer);

	/* What a polled device does: the third look finds the completion. */
	if (++mock->reaped == 3)
		dma_buf_mapping_put(mock->in_flight);
}

static const struct dma_buf_importer_ops format_ops = {
	.map	= format_map,
	.unmap	= format_unmap,
};

static const struct dma_buf_importer_ops format_polled_ops = {
	.map	= format_map,
	.unmap	= format_unmap,
	.reap	= format_reap,
};

static void mock_invalidate(struct mock *mock)
{
	dma_resv_lock(mock->dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(mock->dmabuf);
	/* dma_buf_importer unmaps before it returns */
	KUNIT_EXPECT_EQ(mock->test, mock->mapped, 0);
	dma_resv_unlock(mock->dmabuf->resv);
}

static void start_importer(struct mock *mock,
			   const struct dma_buf_importer_ops *ops)
{
	KUNIT_ASSERT_EQ(mock->test, 0,
			dma_buf_importer_init(&mock->imp, mock->dmabuf,
					      mock->dev, DMA_BIDIRECTIONAL,
					      ops));
	KUNIT_EXPECT_EQ(mock->test, mock->attached, 1);
}

static void stop_importer(struct mock *mock)
{
	dma_buf_importer_fini(&mock->imp);
	KUNIT_EXPECT_EQ(mock->test, mock->mapped, 0);
	KUNIT_EXPECT_EQ(mock->test, mock->formats, 0);
	KUNIT_EXPECT_EQ(mock->test, mock->attached, 0);
}

static void put_later(struct work_struct *work)
{
	struct mock *mock = container_of(to_delayed_work(work), struct mock,
					 put_work);

	if (!READ_ONCE(mock->mapped))
		atomic_inc(&mock->used_while_dead);
	dma_buf_mapping_put(mock->in_flight);
}

static void test_map_and_use(struct kunit *test)
{
	struct mock *mock = test->priv;
	struct dma_buf_mapping *mapping;

	start_importer(mock, &format_ops);
	KUNIT_EXPECT_FALSE(test, dma_buf_importer_mapped(&mock->imp));
	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));

	KUNIT_ASSERT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	KUNIT_EXPECT_TRUE(test, dma_buf_importer_mapped(&mock->imp));
	mapping = dma_buf_importer_get(&mock->imp);
	KUNIT_ASSERT_NOT_NULL(test, mapping);
	KUNIT_EXPECT_PTR_EQ(test, mapping->priv, (void *)mock);
	KUNIT_EXPECT_EQ(test, sg_dma_address(mapping->sgt->sgl), TEST_BASE);
	dma_buf_mapping_put(mapping);

	/* mapped once, however often it is asked for */
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	KUNIT_EXPECT_EQ(test, mock->nr_maps, 1);

	stop_importer(mock);
	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), -ENODEV);
}

static void test_map_waits_for_move(struct kunit *test)
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_ops);
	mock->move_on_map = true;
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	KUNIT_ASSERT_NOT_NULL(test, mock->fence);
	KUNIT_EXPECT_TRUE(test, dma_fence_is_signaled(mock->fence));
	flush_delayed_work(&mock->moved_work);
	stop_importer(mock);
	dma_fence_put(mock->fence);
}

static void test_invalidate_idle(struct kunit *test)
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_ops);
	mock_invalidate(mock);
	KUNIT_ASSERT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	mock_invalidate(mock);
	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));
	KUNIT_EXPECT_EQ(test, mock->formats, 0);

	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	KUNIT_EXPECT_EQ(test, mock->nr_maps, 2);
	stop_importer(mock);
}

/* An operation in flight must be over when @end returns. */
static void check_waits(struct kunit *test, void (*end)(struct mock *mock))
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_ops);
	KUNIT_ASSERT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	mock->in_flight = dma_buf_importer_get(&mock->imp);
	KUNIT_ASSERT_NOT_NULL(test, mock->in_flight);
	schedule_delayed_work(&mock->put_work, HZ / 10);
	end(mock);
	/* The work must have run: it is what was waited for. */
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&mock->put_work));
	flush_delayed_work(&mock->put_work);
	KUNIT_EXPECT_EQ(test, atomic_read(&mock->used_while_dead), 0);
}

static void test_invalidate_waits(struct kunit *test)
{
	check_waits(test, mock_invalidate);
	stop_importer(test->priv);
}

static void test_fini_waits(struct kunit *test)
{
	check_waits(test, stop_importer);
}

static void test_invalidate_reaps(struct kunit *test)
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_polled_ops);
	KUNIT_ASSERT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	mock->in_flight = dma_buf_importer_get(&mock->imp);
	KUNIT_ASSERT_NOT_NULL(test, mock->in_flight);
	mock_invalidate(mock);
	KUNIT_EXPECT_GE(test, mock->reaped, 3);
	stop_importer(mock);
}

/* An operation that starts when an invalidation is already waiting */
static void start_later(struct work_struct *work)
{
	struct mock *mock = container_of(work, struct mock, start_work);
	unsigned long end = jiffies + HZ;

	while (!wq_has_sleeper(&mock->imp.unheld) && time_before(jiffies, end))
		usleep_range(100, 200);
	mock->in_flight = dma_buf_importer_get(&mock->imp);
	dma_buf_importer_unhold(&mock->imp);
	if (mock->in_flight)
		dma_buf_mapping_put(mock->in_flight);
}

/* Who has just mapped finds the mapping, even if it is to go right away. */
static void test_hold(struct kunit *test)
{
	struct mock *mock = test->priv;
	unsigned int tries = 0;

	start_importer(mock, &format_ops);
	/* A busy machine may need more than the moment that there is. */
	do {
		KUNIT_ASSERT_EQ(test, dma_buf_importer_map_hold(&mock->imp, 0),
				0);
		schedule_work(&mock->start_work);
		mock_invalidate(mock);
		flush_work(&mock->start_work);
	} while (!mock->in_flight && ++tries < 20);
	KUNIT_EXPECT_NOT_NULL(test, mock->in_flight);

	/* Nobody holds it any more: gone at once, and mapped anew */
	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));
	KUNIT_EXPECT_EQ(test, atomic_read(&mock->imp.holds), 0);
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	stop_importer(mock);
}

/* But the exporter does not depend on it. */
static void test_hold_forever(struct kunit *test)
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_ops);
	KUNIT_ASSERT_EQ(test, dma_buf_importer_map_hold(&mock->imp, 0), 0);
	mock_invalidate(mock);
	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));

	/* The same for an error: there is nothing to hold then. */
	mock->map_error = -EADDRINUSE;
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map_hold(&mock->imp, 0),
			-EADDRINUSE);
	mock->map_error = 0;
	dma_buf_importer_unhold(&mock->imp);
	KUNIT_EXPECT_EQ(test, atomic_read(&mock->imp.holds), 0);
	stop_importer(mock);
}

/* Whoever has the lock may be waiting for the one who wants to map. */
static void test_hold_timeout(struct kunit *test)
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_ops);
	dma_resv_lock(mock->dmabuf->resv, NULL);
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map_hold(&mock->imp, HZ / 20),
			-ETIMEDOUT);
	dma_resv_unlock(mock->dmabuf->resv);
	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));
	KUNIT_EXPECT_EQ(test, atomic_read(&mock->imp.holds), 0);

	KUNIT_EXPECT_EQ(test, dma_buf_importer_map_hold(&mock->imp, HZ), 0);
	dma_buf_importer_unhold(&mock->imp);
	stop_importer(mock);
}

static void test_errors(struct kunit *test)
{
	struct mock *mock = test->priv;

	start_importer(mock, &format_ops);

	mock->map_error = -EADDRINUSE;
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), -EADDRINUSE);
	mock->map_error = 0;

	mock->format_error = -EDOM;
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), -EDOM);
	KUNIT_EXPECT_EQ(test, mock->mapped, 0);
	mock->format_error = 0;

	mock->missing_pages = 1;
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), -EINVAL);
	KUNIT_EXPECT_EQ(test, mock->mapped, 0);
	mock->missing_pages = 0;

	mock->misalign = 512;
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), -EINVAL);
	KUNIT_EXPECT_EQ(test, mock->mapped, 0);
	mock->misalign = 0;

	KUNIT_EXPECT_NULL(test, dma_buf_importer_get(&mock->imp));
	KUNIT_EXPECT_EQ(test, dma_buf_importer_map(&mock->imp), 0);
	stop_importer(mock);
}

#define STRESS_THREADS	3
#define STRESS_MOVES	50

static int stress_user(void *data)
{
	struct mock *mock = data;

	while (!kthread_should_stop()) {
		struct dma_buf_mapping *mapping;

		mapping = dma_buf_importer_get(&mock->imp);
		if (!mapping) {
			if (dma_buf_importer_map(&mock->imp))
				atomic_inc(&mock->used_while_dead);
			continue;
		}
		if (!READ_ONCE(mock->mapped))
			atomic_inc(&mock->used_while_dead);
		if (atomic_inc_return(&mock->ops) % 64 == 0)
			usleep_range(50, 100);
		if (!READ_ONCE(mock->mapped))
			atomic_inc(&mock->used_while_dead);
		dma_buf_mapping_put(mapping);
		cond_resched();
	}
	return 0;
}

static void test_stress(struct kunit *test)
{
	struct mock *mock = test->priv;
	struct task_struct *users[STRESS_THREADS];
	unsigned int i, started;

	start_importer(mock, &format_ops);
	for (started = 0; started < STRESS_THREADS; started++) {
		users[started] = kthread_run(stress_user, mock,
					     "importer-user");
		if (IS_ERR(users[started]))
			break;
	}
	KUNIT_EXPECT_EQ(test, started, STRESS_THREADS);
	for (i = 0; i < STRESS_MOVES; i++) {
		usleep_range(500, 1000);
		mock_invalidate(mock);
	}
	while (started--)
		kthread_stop(users[started]);

	KUNIT_EXPECT_EQ(test, atomic_read(&mock->used_while_dead), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&mock->ops), 0);
	KUNIT_EXPECT_GT(test, mock->nr_maps, 1);
	stop_importer(mock);
}

static int importer_test_init(struct kunit *test)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct mock *mock;

	mock = kunit_kzalloc(test, sizeof(*mock), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock);
	mock->test = test;
	INIT_DELAYED_WORK(&mock->put_work, put_later);
	INIT_WORK(&mock->start_work, start_later);
	INIT_DELAYED_WORK(&mock->moved_work, mock_moved);
	mock->dev = kunit_device_register(test, "dma-buf-importer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(mock->dev));

	exp_info.ops = &mock_ops;
	exp_info.size = TEST_PAGES * PAGE_SIZE;
	exp_info.flags = O_RDWR;
	exp_info.priv = mock;
	mock->dmabuf = dma_buf_export(&exp_info);
	KUNIT_ASSERT_FALSE(test, IS_ERR(mock->dmabuf));
	test->priv = mock;
	return 0;
}

static void importer_test_exit(struct kunit *test)
{
	struct mock *mock = test->priv;
	unsigned int i;

	if (!mock)
		return;
	/* The last put of a file may be left to a work item. */
	dma_buf_put(mock->dmabuf);
	for (i = 0; i < 100 && !READ_ONCE(mock->released); i++)
		msleep(20);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(mock->released));
}

static struct kunit_case importer_cases[] = {
	KUNIT_CASE(test_map_and_use),
	KUNIT_CASE(test_map_waits_for_move),
	KUNIT_CASE(test_invalidate_idle),
	KUNIT_CASE(test_invalidate_waits),
	KUNIT_CASE(test_fini_waits),
	KUNIT_CASE(test_invalidate_reaps),
	KUNIT_CASE(test_hold),
	KUNIT_CASE(test_hold_forever),
	KUNIT_CASE(test_hold_timeout),
	KUNIT_CASE(test_errors),
	KUNIT_CASE_SLOW(test_stress),
	{}
};

static struct kunit_suite importer_suite = {
	.name		= "dma-buf-importer",
	.init		= importer_test_init,
	.exit		= importer_test_exit,
	.test_cases	= importer_cases,
};

kunit_test_suite(importer_suite);

MODULE_IMPORT_NS("DMA_BUF");
