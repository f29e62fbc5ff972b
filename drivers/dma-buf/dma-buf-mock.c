// SPDX-License-Identifier: GPL-2.0
/*
 * Exporter for tests: the dma-buf
 *
 * Memory in segments of a chosen size that moves or goes away on command, and
 * notices when somebody uses it where or when it must not be used.
 */
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dma-buf-mock.h"

/*
 * What an importer gets has addresses and nothing else, as for memory of a device
 * that has no struct pages.
 */
struct mock_mapping {
	struct sg_table		given;
	struct sg_table		real;
	struct mock_store	*store;
};

static bool fails(struct dma_buf_mock *mock, enum dma_buf_mock_fail what, int *error)
{
	unsigned int *nth = &mock->fail[what].nth;

	if (!*nth || (*nth != DMA_BUF_MOCK_FAIL_ALWAYS && --*nth))
		return false;
	*error = mock->fail[what].error;
	return true;
}

/*
 * From here on nobody has a reason to write to the memory, except the CPU: user
 * space has to fault its pages in again, and then no comparison is made.
 */
static void idle_begin(struct dma_buf_mock *mock)
{
	if (!(mock->flags & DMA_BUF_MOCK_CHECK_IDLE) || mock->vmaps)
		return;
	unmap_mapping_range(mock->dmabuf->file->f_mapping, 0, 0, 1);
	mock->idle_crc = mock_store_crc(mock->store);
	mock->idle = true;
}

static void idle_end(struct dma_buf_mock *mock)
{
	if (mock->idle && mock_store_crc(mock->store) != mock->idle_crc)
		mock->stats.violations++;
	mock->idle = false;
}

static void check_left(struct dma_buf_mock *mock)
{
	struct mock_store *store;

	list_for_each_entry(store, &mock->left, list)
		if (!mock_store_is_poisoned(store)) {
			mock->stats.violations++;
			mock_store_poison(store);
		}
}

/**
 * dma_buf_mock_check() - look for traces of accesses that must not have been
 * @mock: the exporter
 *
 * Context: reservation lock held.
 */
void dma_buf_mock_check(struct dma_buf_mock *mock)
{
	dma_resv_assert_held(mock->dmabuf->resv);

	if (mock->idle) {
		idle_end(mock);
		idle_begin(mock);
	}
	check_left(mock);
}

static int mock_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct dma_buf_mock *mock = dmabuf->priv;
	int ret = 0;

	if ((mock->flags & DMA_BUF_MOCK_P2P) && !attach->peer2peer)
		return -EOPNOTSUPP;

	dma_resv_lock(dmabuf->resv, NULL);
	if (!fails(mock, DMA_BUF_MOCK_FAIL_ATTACH, &ret))
		mock->stats.attached++;
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

static void mock_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct dma_buf_mock *mock = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	mock->stats.attached--;
	dma_resv_unlock(dmabuf->resv);
}

static int mock_pin(struct dma_buf_attachment *attach)
{
	struct dma_buf_mock *mock = attach->dmabuf->priv;
	int ret;

	if (mock->revoked)
		return -ENODEV;
	if (mock->flags & DMA_BUF_MOCK_NO_PIN)
		return -EOPNOTSUPP;
	if (fails(mock, DMA_BUF_MOCK_FAIL_PIN, &ret))
		return ret;
	mock->stats.pinned++;
	return 0;
}

static void mock_unpin(struct dma_buf_attachment *attach)
{
	struct dma_buf_mock *mock = attach->dmabuf->priv;

	mock->stats.pinned--;
}

static int give_addresses(struct mock_mapping *map)
{
	struct scatterlist *from, *to;
	unsigned int i;
	int ret;

	ret = sg_alloc_table(&map->given, map->real.nents, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	to = map->given.sgl;
	for_each_sgtable_dma_sg(&map->real, from, i) {
		sg_dma_address(to) = sg_dma_address(from);
		sg_dma_len(to) = sg_dma_len(from);
		to = sg_next(to);
	}
	return 0;
}

static struct sg_table *mock_map(struct dma_buf_attachment *attach,
				 enum dma_data_direction dir)
{
	struct dma_buf_mock *mock = attach->dmabuf->priv;
	unsigned int nr = mock->store->nr;
	struct mock_mapping *map;
	int ret;

	if (mock->revoked)
		return ERR_PTR(-ENODEV);
	if (fails(mock, DMA_BUF_MOCK_FAIL_MAP, &ret))
		return ERR_PTR(ret);

	map = kzalloc_obj(*map, GFP_KERNEL_ACCOUNT);
	if (!map)
		return ERR_PTR(-ENOMEM);
	if (mock->flags & DMA_BUF_MOCK_SHORT)
		nr--;
	ret = mock_store_sgt(mock->store, nr, &map->real);
	if (ret)
		goto err_free;
	ret = dma_map_sgtable(attach->dev, &map->real, dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		goto err_free_table;
	ret = give_addresses(map);
	if (ret)
		goto err_unmap;

	kref_get(&mock->store->ref);
	map->store = mock->store;
	map->store->mapped++;
	if (!mock->stats.mapped++)
		idle_end(mock);
	mock->stats.maps++;
	mock->stats.dirs |= BIT_ULL(dir);
	return &map->given;

err_unmap:
	dma_unmap_sgtable(attach->dev, &map->real, dir, DMA_ATTR_SKIP_CPU_SYNC);
err_free_table:
	sg_free_table(&map->real);
err_free:
	kfree(map);
	return ERR_PTR(ret);
}

static void mock_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	struct dma_buf_mock *mock = attach->dmabuf->priv;
	struct mock_mapping *map = container_of(sgt, struct mock_mapping, given);

	dma_unmap_sgtable(attach->dev, &map->real, dir, DMA_ATTR_SKIP_CPU_SYNC);
	map->store->mapped--;
	if (!--mock->stats.mapped)
		idle_begin(mock);
	wake_up_all(&mock->unmapped);
	mock_store_put(map->store);
	sg_free_table(&map->given);
	sg_free_table(&map->real);
	kfree(map);
}

/* A pipelined move copies while its fence is not signalled. */
static int mock_begin_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	long ret = dma_resv_wait_timeout(dmabuf->resv, DMA_RESV_USAGE_KERNEL, true,
					 MAX_SCHEDULE_TIMEOUT);

	return ret < 0 ? ret : 0;
}

static vm_fault_t mock_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct dma_buf_mock *mock = vma->vm_private_data;
	struct dma_resv *resv = mock->dmabuf->resv;
	vm_fault_t ret;

	if (vmf->pgoff >= mock->size >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	if (dma_resv_lock_interruptible(resv, NULL))
		return VM_FAULT_NOPAGE;
	if (dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true, MAX_SCHEDULE_TIMEOUT) < 0) {
		dma_resv_unlock(resv);
		return VM_FAULT_NOPAGE;
	}
	idle_end(mock);
	ret = vmf_insert_pfn(vma, vmf->address,
			     page_to_pfn(mock_store_page(mock->store, vmf->pgoff)));
	dma_resv_unlock(resv);
	return ret;
}

static const struct vm_operations_struct mock_vm_ops = {
	.fault	= mock_fault,
};

static int mock_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct dma_buf_mock *mock = dmabuf->priv;

	if (mock->flags & DMA_BUF_MOCK_NO_MMAP)
		return -EOPNOTSUPP;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &mock_vm_ops;
	vma->vm_private_data = mock;
	return 0;
}

static int mock_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dma_buf_mock *mock = dmabuf->priv;

	if (mock->flags & DMA_BUF_MOCK_NO_VMAP)
		return -EOPNOTSUPP;
	if (mock->revoked)
		return -ENODEV;
	if (!mock->vmaps) {
		mock->vaddr = mock_store_vmap(mock->store);
		if (!mock->vaddr)
			return -ENOMEM;
	}
	idle_end(mock);
	mock->vmaps++;
	iosys_map_set_vaddr(map, mock->vaddr);
	return 0;
}

static void mock_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct dma_buf_mock *mock = dmabuf->priv;

	if (--mock->vmaps)
		return;
	vunmap(mock->vaddr);
	if (!mock->stats.mapped)
		idle_begin(mock);
}

static void mock_release(struct dma_buf *dmabuf)
{
	struct dma_buf_mock *mock = dmabuf->priv;
	struct mock_store *store, *next;

	dma_buf_mock_exit_moves(mock);
	/* Nobody is left to lock out, and the inode with its mappings is gone */
	idle_end(mock);
	check_left(mock);
	/* Too late for the statistics */
	WARN(mock->stats.violations, "dma_buf_mock: %llu accesses to memory that was not mapped\n",
	     mock->stats.violations);

	list_for_each_entry_safe(store, next, &mock->left, list)
		mock_store_put(store);
	mock_store_put(mock->store);
	kfree(mock);
}

static const struct dma_buf_ops mock_ops = {
	.attach			= mock_attach,
	.detach			= mock_detach,
	.pin			= mock_pin,
	.unpin			= mock_unpin,
	.map_dma_buf		= mock_map,
	.unmap_dma_buf		= mock_unmap,
	.begin_cpu_access	= mock_begin_cpu_access,
	.mmap			= mock_mmap,
	.vmap			= mock_vmap,
	.vunmap			= mock_vunmap,
	.release		= mock_release,
};

/**
 * dma_buf_mock_from() - the exporter of a dma-buf
 * @dmabuf: any dma-buf
 *
 * Return: the exporter, or NULL if @dmabuf is somebody else's.
 */
struct dma_buf_mock *dma_buf_mock_from(struct dma_buf *dmabuf)
{
	return dmabuf->ops == &mock_ops ? dmabuf->priv : NULL;
}

/**
 * dma_buf_mock_create() - make a dma-buf
 * @size: in bytes, a multiple of the segment size
 * @order: segments have PAGE_SIZE << @order bytes
 * @flags: DMA_BUF_MOCK_*
 *
 * Context: may sleep.
 * Return: the exporter, with one reference to its dma-buf, on which its life
 * depends; or an error pointer: -EINVAL or -ENOMEM.
 */
struct dma_buf_mock *dma_buf_mock_create(size_t size, unsigned int order, u32 flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf_mock *mock;
	int ret;

	if (order > MAX_PAGE_ORDER || !size || !IS_ALIGNED(size, PAGE_SIZE << order) ||
	    size >> PAGE_SHIFT > INT_MAX || flags & ~DMA_BUF_MOCK_FLAGS)
		return ERR_PTR(-EINVAL);
	if ((flags & DMA_BUF_MOCK_SHORT) && size == PAGE_SIZE << order)
		return ERR_PTR(-EINVAL);

	mock = kzalloc_obj(*mock);
	if (!mock)
		return ERR_PTR(-ENOMEM);
	mock->size = size;
	mock->order = order;
	mock->flags = flags;
	INIT_LIST_HEAD(&mock->left);
	init_waitqueue_head(&mock->unmapped);
	mock->store = mock_store_alloc(size, order);
	if (!mock->store) {
		ret = -ENOMEM;
		goto err_free;
	}
	ret = dma_buf_mock_init_moves(mock);
	if (ret)
		goto err_put;

	info.ops = &mock_ops;
	info.size = size;
	info.flags = flags & DMA_BUF_MOCK_RDONLY ? O_RDONLY : O_RDWR;
	info.priv = mock;
	mock->dmabuf = dma_buf_export(&info);
	if (IS_ERR(mock->dmabuf)) {
		ret = PTR_ERR(mock->dmabuf);
		goto err_exit_moves;
	}
	dma_buf_mock_start_moves(mock);
	return mock;

err_exit_moves:
	dma_buf_mock_exit_moves(mock);
err_put:
	mock_store_put(mock->store);
err_free:
	kfree(mock);
	return ERR_PTR(ret);
}
