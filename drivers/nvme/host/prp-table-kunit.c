// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for PRP lists that cover a whole dma-buf
 *
 * Run with:
 *	./tools/testing/kunit/kunit.py run --arch x86_64 \
 *		--kconfig_add CONFIG_PCI=y --kconfig_add CONFIG_BLK_DEV_NVME=y \
 *		--kconfig_add CONFIG_DMA_SHARED_BUFFER=y \
 *		--kconfig_add CONFIG_NVME_PRP_TABLE_KUNIT_TEST=y nvme-prp-table
 *
 * walk() reads PRPs as a controller does that knows nothing but the command and
 * what it points to.  The data has addresses only, no memory.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/blk-dmabuf.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/sizes.h>

#include "nvme.h"
#include "prp-table.h"

#define ENTRIES		(NVME_CTRL_PAGE_SIZE / sizeof(__le64))
/* Two pages of PRPs and a bit, whatever the size of ours is */
#define NR_PAGES	round_up(2 * (ENTRIES - 1) + 3, \
				 PAGE_SIZE / NVME_CTRL_PAGE_SIZE)
#define DATA_BASE	BIT_ULL(40)
/* No two pages that follow each other have addresses that do */
#define STEP		37

struct prp_test {
	struct device		*dev;
	struct dma_buf		dmabuf;
	struct dma_buf_importer	imp;
	struct dma_buf_mapping	mapping;
	struct blk_dmabuf_dev	ddev;
	struct sg_table		sgt;
	bool			scattered;
};

/* The DMA address of a page of the buffer */
static dma_addr_t data_addr(struct prp_test *t, unsigned long page)
{
	unsigned long per_seg = PAGE_SIZE / NVME_CTRL_PAGE_SIZE;
	unsigned long seg = page / per_seg;

	if (t->scattered)
		seg = seg * STEP % (NR_PAGES / per_seg) * 2;
	return DATA_BASE + seg * PAGE_SIZE +
		page % per_seg * NVME_CTRL_PAGE_SIZE;
}

static u64 prp_read(struct prp_test *t, u64 addr)
{
	return le64_to_cpu(*(__le64 *)phys_to_virt(dma_to_phys(t->dev, addr)));
}

/*
 * Do what section "Physical Region Page Entry and List" of the NVM Express Base
 * Specification says, and compare with the addresses of the data.
 *
 * Returns the number of the page that is wrong, or -1.
 */
static long walk(struct prp_test *t, union nvme_data_ptr *dptr, u64 offset,
		 unsigned int len)
{
	unsigned long page = offset / NVME_CTRL_PAGE_SIZE;
	unsigned int skip = offset % NVME_CTRL_PAGE_SIZE;
	unsigned int left = DIV_ROUND_UP(skip + len, NVME_CTRL_PAGE_SIZE);
	u64 list = le64_to_cpu(dptr->prp2);

	if (le64_to_cpu(dptr->prp1) != data_addr(t, page) + skip)
		return page;
	page++;
	left--;
	if (!left)
		return list ? page : -1;	/* reserved: must be 0 */
	if (left == 1)
		return list == data_addr(t, page) ? -1 : page;

	while (left) {
		u64 entry;

		if (list % sizeof(__le64))
			return page;
		entry = prp_read(t, list);
		/* The last one in its page: a link, unless it is all we need */
		if (list % NVME_CTRL_PAGE_SIZE ==
		    NVME_CTRL_PAGE_SIZE - sizeof(__le64) && left > 1) {
			if (entry % NVME_CTRL_PAGE_SIZE)
				return page;
			list = entry;
			continue;
		}
		if (entry != data_addr(t, page))
			return page;
		list += sizeof(__le64);
		page++;
		left--;
	}
	return -1;
}

static bool copy_is_right(struct prp_test *t, u64 offset, unsigned int nr,
			  __le64 *prps)
{
	unsigned long page = offset / NVME_CTRL_PAGE_SIZE + 1;
	unsigned int i;

	memset(prps, 0xff, (nr + 1) * sizeof(*prps));
	nvme_prp_table_copy(t->mapping.priv, page, nr, prps);
	for (i = 0; i < nr; i++)
		if (le64_to_cpu(prps[i]) != data_addr(t, page + i))
			return false;
	/* nothing beyond */
	return prps[nr] == cpu_to_le64(U64_MAX);
}

/* Does the last PRP take the place of a link?  No other transfer needs a copy. */
static bool ends_at_link(u64 offset, unsigned int nr)
{
	unsigned long last = offset / NVME_CTRL_PAGE_SIZE + nr;

	return nr > 1 && !(last % (ENTRIES - 1));
}

static void check(struct kunit *test, u64 offset, unsigned int len,
		  __le64 *prps)
{
	unsigned int skip = offset % NVME_CTRL_PAGE_SIZE, nr, more;
	struct prp_test *t = test->priv;
	union nvme_data_ptr dptr;

	more = (skip + len - 1) / NVME_CTRL_PAGE_SIZE;
	memset(&dptr, 0xff, sizeof(dptr));
	nr = nvme_prp_table_lookup(t->mapping.priv, offset, len, &dptr);
	if (nr) {
		if (nr != more || !ends_at_link(offset, more) ||
		    le64_to_cpu(dptr.prp1) !=
		    data_addr(t, offset / NVME_CTRL_PAGE_SIZE) + skip ||
		    !copy_is_right(t, offset, nr, prps))
			KUNIT_FAIL(test, "copy of %u: offset %llu, %u bytes",
				   nr, offset, len);
	} else {
		long wrong = walk(t, &dptr, offset, len);

		if (wrong >= 0)
			KUNIT_FAIL(test, "page %ld: offset %llu, %u bytes",
				   wrong, offset, len);
	}
}

/* From @offset to the end of the page before @end, and to its middle */
static void check_until(struct kunit *test, u64 offset, unsigned long end,
			__le64 *prps)
{
	u64 len = (u64)end * NVME_CTRL_PAGE_SIZE - offset;

	check(test, offset, len, prps);
	if (len > NVME_CTRL_PAGE_SIZE / 2)
		check(test, offset, len - NVME_CTRL_PAGE_SIZE / 2, prps);
}

/* Every page to start in, and every end close to where a page of PRPs ends */
static void check_starts(struct kunit *test)
{
	static const unsigned int skips[] = { 0, 512, NVME_CTRL_PAGE_SIZE - 4 };
	unsigned long page;
	unsigned int i, j;
	__le64 *prps;

	prps = kunit_kcalloc(test, NR_PAGES + 1, sizeof(*prps), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, prps);
	for (page = 0; page < NR_PAGES; page++) {
		const unsigned long ends[] = {
			page + 1, page + 2, page + 3, page + 4,
			ENTRIES - 2, ENTRIES - 1, ENTRIES, ENTRIES + 1,
			2 * ENTRIES - 3, 2 * ENTRIES - 2, 2 * ENTRIES - 1,
			2 * ENTRIES, NR_PAGES,
		};

		for (i = 0; i < ARRAY_SIZE(ends); i++) {
			if (ends[i] <= page || ends[i] > NR_PAGES)
				continue;
			for (j = 0; j < ARRAY_SIZE(skips); j++)
				check_until(test, (u64)page *
					    NVME_CTRL_PAGE_SIZE + skips[j],
					    ends[i], prps);
		}
		cond_resched();
	}
}

static void map_segments(struct kunit *test, unsigned int nr)
{
	const struct blk_dmabuf_dev_ops *ops = &nvme_prp_table_dmabuf_ops;
	unsigned int pages = NR_PAGES / nr, i;
	struct prp_test *t = test->priv;
	struct scatterlist *sg;
	int ret;

	t->scattered = nr > 1;
	KUNIT_ASSERT_EQ(test, 0, sg_alloc_table(&t->sgt, nr, GFP_KERNEL));
	for_each_sgtable_dma_sg(&t->sgt, sg, i) {
		sg_dma_address(sg) = data_addr(t, i * pages);
		sg_dma_len(sg) = pages * NVME_CTRL_PAGE_SIZE;
	}
	ret = ops->map(&t->ddev, &t->mapping);
	if (ret)
		sg_free_table(&t->sgt);
	KUNIT_ASSERT_EQ(test, 0, ret);
}

static void unmap_segments(struct kunit *test)
{
	struct prp_test *t = test->priv;

	nvme_prp_table_dmabuf_ops.unmap(&t->ddev, &t->mapping);
	sg_free_table(&t->sgt);
}

static void test_scattered(struct kunit *test)
{
	struct prp_test *t = test->priv;
	dma_addr_t addr;

	map_segments(test, NR_PAGES / (PAGE_SIZE / NVME_CTRL_PAGE_SIZE));
	check_starts(test);
	KUNIT_EXPECT_FALSE(test, nvme_prp_table_contiguous(t->mapping.priv, 0,
							   &addr));
	unmap_segments(test);
}

static void test_contiguous(struct kunit *test)
{
	struct prp_test *t = test->priv;
	dma_addr_t addr;

	map_segments(test, 1);
	check_starts(test);
	KUNIT_EXPECT_TRUE(test, nvme_prp_table_contiguous(t->mapping.priv,
							  SZ_1M + 512, &addr));
	KUNIT_EXPECT_EQ(test, addr, DATA_BASE + SZ_1M + 512);
	unmap_segments(test);
}

static int prp_test_init(struct kunit *test)
{
	struct prp_test *t;
	int ret;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->dev = kunit_device_register(test, "nvme-prp-table");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->dev);
	ret = dma_coerce_mask_and_coherent(t->dev, DMA_BIT_MASK(64));
	KUNIT_ASSERT_EQ(test, 0, ret);
	t->dmabuf.size = NR_PAGES * NVME_CTRL_PAGE_SIZE;
	t->imp.dmabuf = &t->dmabuf;
	t->mapping.importer = &t->imp;
	t->mapping.sgt = &t->sgt;
	t->ddev.dma_dev = t->dev;
	return 0;
}

static struct kunit_case prp_cases[] = {
	KUNIT_CASE(test_scattered),
	KUNIT_CASE(test_contiguous),
	{}
};

static struct kunit_suite prp_suite = {
	.name		= "nvme-prp-table",
	.init		= prp_test_init,
	.test_cases	= prp_cases,
};

kunit_test_suite(prp_suite);
