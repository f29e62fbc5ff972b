// SPDX-License-Identifier: GPL-2.0

/* KUnit tests for the memory of memory providers
 *
 * Run with:
 *	./tools/testing/kunit/kunit.py run --kconfig_add CONFIG_PCI=y \
 *		--kconfig_add CONFIG_DMABUF_KUNIT_TEST=y \
 *		--kconfig_add CONFIG_NET=y --kconfig_add CONFIG_INET=y \
 *		--kconfig_add CONFIG_PAGE_POOL=y \
 *		--kconfig_add CONFIG_NETMEM_KUNIT_TEST=y 'netmem*'
 */

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/etherdevice.h>
#include <linux/fdtable.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/scatterlist.h>
#include <net/netmem_area.h>
#include <net/netmem_dmabuf.h>
#include <net/page_pool/helpers.h>

#define TEST_BASE	BIT_ULL(40)

/* --- areas */

static void test_free_list(struct kunit *test)
{
	const unsigned int nr = 100;
	struct netmem_area *area;
	struct net_iov *niov;
	unsigned long *seen;
	unsigned int i;

	area = kunit_kzalloc(test, sizeof(*area), GFP_KERNEL);
	seen = kunit_kzalloc(test, BITS_TO_LONGS(nr) * sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, area);
	KUNIT_ASSERT_NOT_NULL(test, seen);

	KUNIT_EXPECT_EQ(test, -EINVAL,
			netmem_area_init(area, NET_IOV_IOURING, PAGE_SIZE,
					 PAGE_SHIFT + 1));
	/* The half net_iov at the end is not used. */
	KUNIT_ASSERT_EQ(test, 0,
			netmem_area_init(area, NET_IOV_IOURING,
					 (2 * nr + 1) * PAGE_SIZE,
					 PAGE_SHIFT + 1));
	KUNIT_EXPECT_EQ(test, area->nia.num_niovs, nr);
	area->nia.base_virtual = 16 * PAGE_SIZE;

	for (i = 0; i < nr; i++) {
		niov = netmem_area_get(area);
		KUNIT_ASSERT_NOT_NULL(test, niov);
		KUNIT_EXPECT_PTR_EQ(test, net_iov_to_area(niov), area);
		KUNIT_EXPECT_EQ(test, niov->type, NET_IOV_IOURING);
		KUNIT_EXPECT_EQ(test, netmem_area_offset(niov),
				(16 + 2 * net_iov_idx(niov)) * PAGE_SIZE);
		KUNIT_ASSERT_LT(test, net_iov_idx(niov), nr);
		KUNIT_EXPECT_FALSE(test, test_and_set_bit(net_iov_idx(niov), seen));
	}
	KUNIT_EXPECT_NULL(test, netmem_area_get(area));

	/* What was used last is used next. */
	netmem_area_put(&area->nia.niovs[7]);
	netmem_area_put(&area->nia.niovs[42]);
	KUNIT_EXPECT_PTR_EQ(test, netmem_area_get(area), &area->nia.niovs[42]);
	KUNIT_EXPECT_PTR_EQ(test, netmem_area_get(area), &area->nia.niovs[7]);
	KUNIT_EXPECT_NULL(test, netmem_area_get(area));

	for (i = 0; i < nr; i++)
		netmem_area_put(&area->nia.niovs[i]);
	KUNIT_EXPECT_EQ(test, area->nr_free, nr);
	netmem_area_exit(area);
	/* Error paths do it again. */
	netmem_area_exit(area);
}

struct seg {
	u64 addr;	/* pages */
	u32 len;	/* pages */
};

static void fill_sgt(struct kunit *test, struct sg_table *sgt,
		     const struct seg *segs, unsigned int nr)
{
	struct scatterlist *sg;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, sg_alloc_table(sgt, nr, GFP_KERNEL));
	for_each_sgtable_dma_sg(sgt, sg, i) {
		sg_dma_address(sg) = TEST_BASE + segs[i].addr * PAGE_SIZE;
		sg_dma_len(sg) = segs[i].len * PAGE_SIZE;
	}
}

static const struct seg test_segs[] = {
	{ 0, 4 }, { 18, 8 }, { 101, 2 }, { 200, 16 }, { 301, 1 },
};

static void test_niov_size(struct kunit *test)
{
	static const struct {
		u32 offset, size;	/* pages */
		u32 order, aligned_order;
	} cases[] = {
		{ 0, 31, 0, 0 },	/* the last segment is one page */
		{ 0, 30, 1, 0 },	/* the third has an odd address */
		{ 0, 12, 2, 1 },	/* the second begins at 18 */
		{ 0, 4, 2, 2 },
		{ 4, 8, 3, 1 },
		{ 6, 4, 2, 2 },		/* inside of the second */
		{ 5, 1, 0, 0 },
		{ 5, 7, 0, 0 },
		{ 14, 16, 4, 3 },	/* 200 is a multiple of 8 */
		{ 16, 8, 3, 1 },
		{ 12, 2, 1, 0 },
	};
	struct sg_table sgt;
	unsigned int i;

	fill_sgt(test, &sgt, test_segs, ARRAY_SIZE(test_segs));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t offset = cases[i].offset * PAGE_SIZE;
		size_t size = cases[i].size * PAGE_SIZE;

		KUNIT_EXPECT_EQ_MSG(test, PAGE_SHIFT + cases[i].order,
				    netmem_sgt_max_shift(&sgt, offset, size,
							 false),
				    "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, PAGE_SHIFT + cases[i].aligned_order,
				    netmem_sgt_max_shift(&sgt, offset, size,
							 true),
				    "case %u", i);
	}
	sg_free_table(&sgt);
}

static u64 niov_page(const struct netmem_area *area, unsigned int i)
{
	netmem_ref netmem = net_iov_to_netmem(&area->nia.niovs[i]);

	return (page_pool_get_dma_addr_netmem(netmem) - TEST_BASE) >> PAGE_SHIFT;
}

static void test_dma_addresses(struct kunit *test)
{
	static const u64 want[] = { 20, 22, 24, 101, 200, 202 };
	struct netmem_area *area;
	struct sg_table sgt;
	netmem_ref netmem;
	unsigned int i;

	area = kunit_kzalloc(test, sizeof(*area), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, area);
	fill_sgt(test, &sgt, test_segs, ARRAY_SIZE(test_segs));

	KUNIT_ASSERT_EQ(test, 0,
			netmem_area_init(area, NET_IOV_DMABUF,
					 ARRAY_SIZE(want) * 2 * PAGE_SIZE,
					 PAGE_SHIFT + 1));
	KUNIT_EXPECT_EQ(test, 0, netmem_area_set_dma(area, &sgt, 6 * PAGE_SIZE));
	for (i = 0; i < ARRAY_SIZE(want); i++)
		KUNIT_EXPECT_EQ_MSG(test, niov_page(area, i), want[i],
				    "net_iov %u", i);

	netmem_area_clear_dma(area);
	netmem = net_iov_to_netmem(&area->nia.niovs[3]);
	KUNIT_EXPECT_EQ(test, 0, page_pool_get_dma_addr_netmem(netmem));

	/* across the end of a segment, and of the memory */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			netmem_area_set_dma(area, &sgt, 5 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			netmem_area_set_dma(area, &sgt, 20 * PAGE_SIZE));
	netmem_area_exit(area);
	sg_free_table(&sgt);
}

/* --- dma-bufs, whose exporter has nothing but addresses */

#define TEST_PAGES	31

struct mock {
	struct kunit		*test;
	struct device		*dev;
	struct net_device	*netdev;
	struct dma_buf		*dmabuf;
	int			fd;
	int			attached, mapped;
	struct netmem_dmabuf	*nd;
	int			stops;
};

static int mock_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct mock *mock = dmabuf->priv;

	mock->attached++;
	return 0;
}

static void mock_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct mock *mock = dmabuf->priv;

	mock->attached--;
}

static struct sg_table *mock_map(struct dma_buf_attachment *attach,
				 enum dma_data_direction dir)
{
	struct mock *mock = attach->dmabuf->priv;
	struct sg_table *sgt = kzalloc_obj(*sgt);

	if (!sgt)
		return ERR_PTR(-ENOMEM);
	fill_sgt(mock->test, sgt, test_segs, ARRAY_SIZE(test_segs));
	mock->mapped++;
	return sgt;
}

static void mock_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	struct mock *mock = attach->dmabuf->priv;

	sg_free_table(sgt);
	kfree(sgt);
	mock->mapped--;
}

static void mock_release(struct dma_buf *dmabuf)
{
}

static const struct dma_buf_ops mock_ops = {
	.attach		= mock_attach,
	.detach		= mock_detach,
	.map_dma_buf	= mock_map,
	.unmap_dma_buf	= mock_unmap,
	.release	= mock_release,
};

static struct dma_buf *mock_export(struct mock *mock)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	info.ops = &mock_ops;
	info.size = TEST_PAGES * PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = mock;
	return dma_buf_export(&info);
}

static void mock_stop(void *priv)
{
	struct mock *mock = priv;

	mock->stops++;
}

static const struct netmem_dmabuf_ops mock_nd_ops = {
	.stop	= mock_stop,
};

static struct netmem_dmabuf *import(struct mock *mock)
{
	struct netlink_ext_ack extack = {};
	struct netmem_dmabuf *nd;

	get_dma_buf(mock->dmabuf);
	mock->fd = dma_buf_fd(mock->dmabuf, O_CLOEXEC);
	KUNIT_ASSERT_GE(mock->test, mock->fd, 0);
	nd = netmem_dmabuf_import(mock->fd, mock->netdev, mock->dev,
				  DMA_FROM_DEVICE, &extack);
	close_fd(mock->fd);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(mock->test, nd);
	KUNIT_EXPECT_NULL(mock->test, extack._msg);
	KUNIT_EXPECT_EQ(mock->test, mock->mapped, 1);
	return nd;
}

static void revoke(struct mock *mock)
{
	dma_resv_lock(mock->dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(mock->dmabuf);
	dma_resv_unlock(mock->dmabuf->resv);
}

static void test_import(struct kunit *test)
{
	struct netlink_ext_ack extack = {};
	struct mock *mock = test->priv;
	struct netmem_dmabuf *nd;
	struct netmem_area *area;

	area = kunit_kzalloc(test, sizeof(*area), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, area);

	nd = netmem_dmabuf_import(-1, mock->netdev, mock->dev, DMA_FROM_DEVICE,
				  &extack);
	KUNIT_EXPECT_PTR_EQ(test, nd, ERR_PTR(-EBADF));
	KUNIT_EXPECT_NOT_NULL(test, extack._msg);

	nd = import(mock);
	KUNIT_EXPECT_EQ(test, netmem_dmabuf_size(nd), TEST_PAGES * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, nd->netdev, mock->netdev);

	KUNIT_EXPECT_EQ(test, -ERANGE,
			netmem_dmabuf_area_init(nd, area, NET_IOV_DMABUF,
						4 * PAGE_SIZE, 8 * PAGE_SIZE,
						PAGE_SHIFT + 3, &extack));
	KUNIT_EXPECT_NULL(test, area->nia.niovs);
	KUNIT_ASSERT_EQ(test, 0,
			netmem_dmabuf_area_init(nd, area, NET_IOV_IOURING,
						4 * PAGE_SIZE, 8 * PAGE_SIZE,
						PAGE_SHIFT + 3, NULL));
	KUNIT_EXPECT_EQ(test, niov_page(area, 0), 18);
	KUNIT_EXPECT_EQ(test, netmem_area_offset(&area->nia.niovs[0]),
			4 * PAGE_SIZE);
	netmem_area_exit(area);

	KUNIT_EXPECT_EQ(test, 0,
			netmem_dmabuf_claim(nd, 0, PAGE_SIZE,
					    NETMEM_OWNER_DEVMEM, NULL));
	KUNIT_EXPECT_EQ(test, 0, netmem_dmabuf_own(nd, &mock_nd_ops, mock));
	netmem_dmabuf_unmap(nd);
	KUNIT_EXPECT_EQ(test, mock->mapped, 0);
	KUNIT_EXPECT_NULL(test, nd->netdev);
	/* The claim outlives the mapping. */
	KUNIT_EXPECT_PTR_EQ(test, nd->claim.dmabuf, mock->dmabuf);
	KUNIT_EXPECT_EQ(test, -ENODEV,
			netmem_dmabuf_area_init(nd, area, NET_IOV_IOURING, 0,
						PAGE_SIZE, PAGE_SHIFT, NULL));
	revoke(mock);
	netmem_dmabuf_release(nd);
	KUNIT_EXPECT_EQ(test, mock->attached, 0);
	KUNIT_EXPECT_EQ(test, mock->stops, 0);
}

static void test_revoke_owned(struct kunit *test)
{
	struct mock *mock = test->priv;
	struct netmem_dmabuf *nd;

	nd = import(mock);
	KUNIT_EXPECT_EQ(test, 0, netmem_dmabuf_own(nd, &mock_nd_ops, mock));
	KUNIT_EXPECT_FALSE(test, netmem_dmabuf_revoked(nd));
	revoke(mock);
	KUNIT_EXPECT_EQ(test, mock->stops, 1);
	KUNIT_EXPECT_TRUE(test, netmem_dmabuf_revoked(nd));
	/* It is mapped until the owner has stopped the queues. */
	KUNIT_EXPECT_EQ(test, mock->mapped, 1);
	KUNIT_EXPECT_PTR_EQ(test, nd->netdev, mock->netdev);

	netmem_dmabuf_unmap(nd);
	KUNIT_EXPECT_EQ(test, mock->mapped, 0);
	KUNIT_EXPECT_TRUE(test, netmem_dmabuf_revoked(nd));
	netmem_dmabuf_release(nd);
	KUNIT_EXPECT_EQ(test, mock->attached, 0);
}

static void test_revoke_idle(struct kunit *test)
{
	struct mock *mock = test->priv;
	struct netmem_dmabuf *nd;

	nd = import(mock);
	revoke(mock);
	flush_work(&nd->idle_work);
	KUNIT_EXPECT_EQ(test, mock->mapped, 0);
	KUNIT_EXPECT_NULL(test, nd->netdev);
	KUNIT_EXPECT_EQ(test, -ENODEV, netmem_dmabuf_own(nd, &mock_nd_ops, mock));
	netmem_dmabuf_release(nd);
	KUNIT_EXPECT_EQ(test, mock->attached, 0);
	KUNIT_EXPECT_EQ(test, mock->stops, 0);

	/* and released before the work is done */
	nd = import(mock);
	revoke(mock);
	netmem_dmabuf_release(nd);
	KUNIT_EXPECT_EQ(test, mock->attached, 0);
}

static int netmem_test_init(struct kunit *test)
{
	struct mock *mock;

	mock = kunit_kzalloc(test, sizeof(*mock), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock);
	mock->test = test;
	mock->dev = kunit_device_register(test, "netmem");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mock->dev);
	mock->netdev = alloc_netdev(0, "netmem%d", NET_NAME_ENUM,
				    ether_setup);
	KUNIT_ASSERT_NOT_NULL(test, mock->netdev);
	mock->dmabuf = mock_export(mock);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mock->dmabuf);
	test->priv = mock;
	return 0;
}

static void netmem_test_exit(struct kunit *test)
{
	struct mock *mock = test->priv;

	if (!mock)
		return;
	free_netdev(mock->netdev);
	dma_buf_put(mock->dmabuf);
}

static struct kunit_case netmem_test_cases[] = {
	KUNIT_CASE(test_free_list),
	KUNIT_CASE(test_niov_size),
	KUNIT_CASE(test_dma_addresses),
	KUNIT_CASE(test_import),
	KUNIT_CASE(test_revoke_owned),
	KUNIT_CASE(test_revoke_idle),
	{}
};

static struct kunit_suite netmem_test_suite = {
	.name		= "netmem",
	.init		= netmem_test_init,
	.exit		= netmem_test_exit,
	.test_cases	= netmem_test_cases,
};

kunit_test_suite(netmem_test_suite);

MODULE_DESCRIPTION("KUnit tests for the memory of memory providers");
MODULE_LICENSE("GPL");
