// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for pinned dma-bufs
 *
 * Run with:
 *	./tools/testing/kunit/kunit.py run --kconfig_add CONFIG_PCI=y \
 *		--kconfig_add CONFIG_DMABUF_KUNIT_TEST=y dma-buf-pinned
 *
 * The exporter here has no memory, only a DMA address.  It counts what the
 * importer has attached, pinned and mapped, and revokes like vfio-pci does.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-pinned.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define TEST_PAGES	4
#define TEST_BASE	BIT_ULL(40)
#define TEST_TIMEOUT	(10 * HZ)

struct mock {
	struct kunit		*test;
	struct device		*dev;
	struct dma_buf		*dmabuf;
	struct dma_buf_pinned	pin;

	/* the exporter's side */
	int			attached, pinned, mapped;
	int			attach_error, pin_error, map_error;
	bool			peer2peer;
	bool			moves_when_pinned;
	bool			short_map;
	wait_queue_head_t	unmapped;

	/* the user's side */
	struct delayed_work	stop_work;
	int			revokes;
};

static int mock_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct mock *mock = dmabuf->priv;

	if (mock->attach_error)
		return mock->attach_error;
	mock->peer2peer = attach->peer2peer && dma_buf_attach_revocable(attach);
	mock->attached++;
	return 0;
}

static void mock_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct mock *mock = dmabuf->priv;

	mock->attached--;
}

static int mock_pin(struct dma_buf_attachment *attach)
{
	struct mock *mock = attach->dmabuf->priv;

	if (mock->pin_error)
		return mock->pin_error;
	if (mock->moves_when_pinned)
		dma_buf_invalidate_mappings(attach->dmabuf);
	mock->pinned++;
	return 0;
}

static void mock_unpin(struct dma_buf_attachment *attach)
{
	struct mock *mock = attach->dmabuf->priv;

	KUNIT_EXPECT_EQ(mock->test, mock->mapped, 0);
	mock->pinned--;
}

static struct sg_table *mock_map(struct dma_buf_attachment *attach,
				 enum dma_data_direction dir)
{
	struct mock *mock = attach->dmabuf->priv;
	struct sg_table *sgt;

	KUNIT_EXPECT_EQ(mock->test, mock->pinned, 1);
	if (mock->map_error)
		return ERR_PTR(mock->map_error);
	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	if (sg_alloc_table(sgt, 1, GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	sg_dma_address(sgt->sgl) = TEST_BASE;
	sg_dma_len(sgt->sgl) = (TEST_PAGES - mock->short_map) * PAGE_SIZE;
	mock->mapped++;
	return sgt;
}

static void mock_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	struct mock *mock = attach->dmabuf->priv;

	sg_free_table(sgt);
	kfree(sgt);
	WRITE_ONCE(mock->mapped, mock->mapped - 1);
	wake_up(&mock->unmapped);
}

static void mock_release(struct dma_buf *dmabuf)
{
}

static const struct dma_buf_ops mock_ops = {
	.attach		= mock_attach,
	.detach		= mock_detach,
	.pin		= mock_pin,
	.unpin		= mock_unpin,
	.map_dma_buf	= mock_map,
	.unmap_dma_buf	= mock_unmap,
	.release	= mock_release,
};

static void user_revoke(struct dma_buf_pinned *pin)
{
	struct mock *mock = container_of(pin, struct mock, pin);

	dma_resv_assert_held(pin->dmabuf->resv);
	KUNIT_EXPECT_TRUE(mock->test, dma_buf_pinned_revoked(pin));
	mock->revokes++;
	schedule_delayed_work(&mock->stop_work, HZ / 10);
}

static const struct dma_buf_pinned_ops user_ops = {
	.revoke	= user_revoke,
};

static void user_stop(struct work_struct *work)
{
	struct mock *mock = container_of(to_delayed_work(work), struct mock,
					 stop_work);

	KUNIT_EXPECT_EQ(mock->test, READ_ONCE(mock->mapped), 1);
	dma_buf_pinned_unmap(&mock->pin);
}

static int start(struct mock *mock)
{
	return dma_buf_pinned_init(&mock->pin, mock->dmabuf, mock->dev,
				   DMA_FROM_DEVICE, &user_ops);
}

static void expect_nothing_left(struct mock *mock)
{
	KUNIT_EXPECT_EQ(mock->test, mock->mapped, 0);
	KUNIT_EXPECT_EQ(mock->test, mock->pinned, 0);
	KUNIT_EXPECT_EQ(mock->test, mock->attached, 0);
}

static void test_life(struct kunit *test)
{
	struct mock *mock = test->priv;

	KUNIT_ASSERT_EQ(test, start(mock), 0);
	KUNIT_EXPECT_TRUE(test, mock->peer2peer);
	KUNIT_EXPECT_EQ(test, mock->pinned, 1);
	KUNIT_EXPECT_EQ(test, mock->mapped, 1);
	KUNIT_ASSERT_NOT_NULL(test, mock->pin.sgt);
	KUNIT_EXPECT_EQ(test, sg_dma_address(mock->pin.sgt->sgl), TEST_BASE);
	KUNIT_EXPECT_FALSE(test, dma_buf_pinned_in_ram(&mock->pin));
	KUNIT_EXPECT_FALSE(test, dma_buf_pinned_revoked(&mock->pin));

	dma_buf_pinned_unmap(&mock->pin);
	KUNIT_EXPECT_NULL(test, mock->pin.sgt);
	KUNIT_EXPECT_EQ(test, mock->pinned, 0);
	KUNIT_EXPECT_EQ(test, mock->attached, 1);
	dma_buf_pinned_unmap(&mock->pin);
	dma_buf_pinned_fini(&mock->pin);
	expect_nothing_left(mock);
}

/* Both waits, as an exporter does that wants the memory for itself. */
static void test_revoke(struct kunit *test)
{
	struct mock *mock = test->priv;
	struct dma_resv *resv = mock->dmabuf->resv;
	long left;

	KUNIT_ASSERT_EQ(test, start(mock), 0);

	dma_resv_lock(resv, NULL);
	dma_buf_invalidate_mappings(mock->dmabuf);
	KUNIT_EXPECT_EQ(test, mock->revokes, 1);
	left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false,
				     TEST_TIMEOUT);
	/* The device has stopped, which took time, but can't unmap yet. */
	KUNIT_EXPECT_GT(test, left, 0);
	KUNIT_EXPECT_LE(test, left, TEST_TIMEOUT - HZ / 20);
	KUNIT_EXPECT_EQ(test, mock->mapped, 1);
	dma_resv_unlock(resv);

	left = wait_event_timeout(mock->unmapped, !READ_ONCE(mock->mapped),
				  TEST_TIMEOUT);
	KUNIT_EXPECT_GT(test, left, 0);
	flush_delayed_work(&mock->stop_work);
	KUNIT_EXPECT_EQ(test, mock->pinned, 0);

	/* It is not revoked twice, and not in use any more. */
	dma_resv_lock(resv, NULL);
	dma_buf_invalidate_mappings(mock->dmabuf);
	dma_resv_unlock(resv);
	KUNIT_EXPECT_EQ(test, mock->revokes, 1);

	dma_buf_pinned_fini(&mock->pin);
	expect_nothing_left(mock);
}

static void test_revoke_twice(struct kunit *test)
{
	struct mock *mock = test->priv;

	KUNIT_ASSERT_EQ(test, start(mock), 0);
	dma_resv_lock(mock->dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(mock->dmabuf);
	dma_buf_invalidate_mappings(mock->dmabuf);
	dma_resv_unlock(mock->dmabuf->resv);
	KUNIT_EXPECT_EQ(test, mock->revokes, 1);
	flush_delayed_work(&mock->stop_work);
	dma_buf_pinned_fini(&mock->pin);
	expect_nothing_left(mock);
}

static void test_revoke_unmapped(struct kunit *test)
{
	struct mock *mock = test->priv;

	KUNIT_ASSERT_EQ(test, start(mock), 0);
	dma_buf_pinned_unmap(&mock->pin);
	dma_resv_lock(mock->dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(mock->dmabuf);
	dma_resv_unlock(mock->dmabuf->resv);
	KUNIT_EXPECT_EQ(test, mock->revokes, 0);
	KUNIT_EXPECT_FALSE(test, dma_buf_pinned_revoked(&mock->pin));
	dma_buf_pinned_fini(&mock->pin);
	expect_nothing_left(mock);
}

/* Pinning may move the memory first, which revokes nothing. */
static void test_moved_when_pinned(struct kunit *test)
{
	struct mock *mock = test->priv;

	mock->moves_when_pinned = true;
	KUNIT_ASSERT_EQ(test, start(mock), 0);
	KUNIT_EXPECT_EQ(test, mock->revokes, 0);
	KUNIT_EXPECT_FALSE(test, dma_buf_pinned_revoked(&mock->pin));
	dma_buf_pinned_fini(&mock->pin);
	expect_nothing_left(mock);
}

static void test_errors(struct kunit *test)
{
	struct mock *mock = test->priv;

	mock->attach_error = -EOPNOTSUPP;
	KUNIT_EXPECT_EQ(test, start(mock), -EOPNOTSUPP);
	expect_nothing_left(mock);
	mock->attach_error = 0;

	mock->pin_error = -EBUSY;
	KUNIT_EXPECT_EQ(test, start(mock), -EBUSY);
	expect_nothing_left(mock);
	mock->pin_error = 0;

	mock->map_error = -EIO;
	KUNIT_EXPECT_EQ(test, start(mock), -EIO);
	expect_nothing_left(mock);
	mock->map_error = 0;

	mock->short_map = true;
	KUNIT_EXPECT_EQ(test, start(mock), -EINVAL);
	expect_nothing_left(mock);
	KUNIT_EXPECT_EQ(test, mock->revokes, 0);
}

static int pinned_test_init(struct kunit *test)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct mock *mock;

	mock = kunit_kzalloc(test, sizeof(*mock), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock);
	mock->test = test;
	mock->dev = kunit_device_register(test, "dma-buf-pinned");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mock->dev);
	init_waitqueue_head(&mock->unmapped);
	INIT_DELAYED_WORK(&mock->stop_work, user_stop);

	info.ops = &mock_ops;
	info.size = TEST_PAGES * PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = mock;
	mock->dmabuf = dma_buf_export(&info);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mock->dmabuf);
	test->priv = mock;
	return 0;
}

static void pinned_test_exit(struct kunit *test)
{
	struct mock *mock = test->priv;

	if (mock)
		dma_buf_put(mock->dmabuf);
}

static struct kunit_case pinned_test_cases[] = {
	KUNIT_CASE(test_life),
	KUNIT_CASE(test_revoke),
	KUNIT_CASE(test_revoke_twice),
	KUNIT_CASE(test_revoke_unmapped),
	KUNIT_CASE(test_moved_when_pinned),
	KUNIT_CASE(test_errors),
	{}
};

static struct kunit_suite pinned_test_suite = {
	.name		= "dma-buf-pinned",
	.init		= pinned_test_init,
	.exit		= pinned_test_exit,
	.test_cases	= pinned_test_cases,
};

kunit_test_suite(pinned_test_suite);
