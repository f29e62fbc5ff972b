// SPDX-License-Identifier: GPL-2.0
/*
 * Exporter for tests: the places where the memory of a buffer can be
 */
#include <linux/crc32c.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dma-buf-mock.h"

/* What a place contains that the buffer has left */
#define POISON	0xa7

/*
 * Neighbours in the buffer must not be neighbours in memory: who merges
 * segments would hide what the test is about.
 */
static void scatter(struct mock_store *store)
{
	unsigned int i;

	for (i = 0; i + 1 < store->nr; i++)
		if (page_to_pfn(store->segs[i]) + (1UL << store->order) ==
		    page_to_pfn(store->segs[i + 1]))
			swap(store->segs[i], store->segs[i + 1]);
}

static void store_release(struct kref *ref)
{
	struct mock_store *store = container_of(ref, struct mock_store, ref);
	unsigned int i;

	for (i = 0; i < store->nr && store->segs[i]; i++)
		__free_pages(store->segs[i], store->order);
	kvfree(store);
}

void mock_store_put(struct mock_store *store)
{
	kref_put(&store->ref, store_release);
}

struct mock_store *mock_store_alloc(size_t size, unsigned int order)
{
	unsigned int nr = size >> PAGE_SHIFT >> order, i;
	struct mock_store *store;

	store = kvzalloc_flex(*store, segs, nr,
			      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!store)
		return NULL;
	kref_init(&store->ref);
	INIT_LIST_HEAD(&store->list);
	store->nr = nr;
	store->order = order;
	for (i = 0; i < nr; i++) {
		store->segs[i] = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO |
					     __GFP_NOWARN | __GFP_RETRY_MAYFAIL, order);
		if (!store->segs[i]) {
			mock_store_put(store);
			return NULL;
		}
	}
	scatter(store);
	return store;
}

struct page *mock_store_page(const struct mock_store *store, unsigned long pgoff)
{
	return store->segs[pgoff >> store->order] + (pgoff & ((1UL << store->order) - 1));
}

int mock_store_sgt(const struct mock_store *store, unsigned int nr, struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	ret = sg_alloc_table(sgt, nr, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	for_each_sgtable_sg(sgt, sg, i)
		sg_set_page(sg, store->segs[i], PAGE_SIZE << store->order, 0);
	return 0;
}

void *mock_store_vmap(const struct mock_store *store)
{
	unsigned long nr = (unsigned long)store->nr << store->order, i;
	struct page **pages;
	void *vaddr = NULL;

	pages = kvmalloc_objs(*pages, nr);
	if (pages) {
		for (i = 0; i < nr; i++)
			pages[i] = mock_store_page(store, i);
		vaddr = vmap(pages, nr, VM_MAP, PAGE_KERNEL);
	}
	kvfree(pages);
	return vaddr;
}

static unsigned long store_pages(const struct mock_store *store)
{
	return (unsigned long)store->nr << store->order;
}

void mock_store_copy(struct mock_store *dst, const struct mock_store *src)
{
	unsigned long i;

	for (i = 0; i < store_pages(src); i++)
		copy_highpage(mock_store_page(dst, i), mock_store_page(src, i));
}

void mock_store_poison(struct mock_store *store)
{
	unsigned long i;

	for (i = 0; i < store_pages(store); i++) {
		void *va = kmap_local_page(mock_store_page(store, i));

		memset(va, POISON, PAGE_SIZE);
		kunmap_local(va);
	}
}

bool mock_store_is_poisoned(const struct mock_store *store)
{
	bool good = true;
	unsigned long i;

	for (i = 0; i < store_pages(store) && good; i++) {
		void *va = kmap_local_page(mock_store_page(store, i));

		good = !memchr_inv(va, POISON, PAGE_SIZE);
		kunmap_local(va);
	}
	return good;
}

u32 mock_store_crc(const struct mock_store *store)
{
	unsigned long i;
	u32 crc = ~0;

	for (i = 0; i < store_pages(store); i++) {
		void *va = kmap_local_page(mock_store_page(store, i));

		crc = crc32c(crc, va, PAGE_SIZE);
		kunmap_local(va);
	}
	return crc;
}
