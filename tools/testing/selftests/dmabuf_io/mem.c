// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mem.h"
#include "mock.h"
#include "sysfs.h"

#define SMALL_PAGE	4096UL
#define HUGE_PAGE	(2UL << 20)
/* Co-prime with every power of two: steps through all pages of a memfd once */
#define SCATTER_STEP	37

static int make_memfd(struct mem *m, size_t size, bool huge, const char **why)
{
	m->memfd = memfd_create("dmabuf_io", MFD_ALLOW_SEALING | MFD_CLOEXEC |
				(huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	*why = "can't make the memfd";
	if (m->memfd < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	if (fcntl(m->memfd, F_ADD_SEALS, F_SEAL_SHRINK) || ftruncate(m->memfd, size))
		return -errno;
	return 0;
}

static int open_udmabuf(const char **why)
{
	int fd = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		*why = "no /dev/udmabuf";
		return -errno;
	}
	return fd;
}

/* Neighbours in the buffer are pages that lie far apart in the memfd. */
static int alloc_scattered(struct mem *m, size_t size, const char **why)
{
	size_t nr = size / SMALL_PAGE, i;
	struct udmabuf_create_list *list;
	char limit[32];
	int dev, err;

	if (nr & (nr - 1)) {
		*why = "the size of a scattered buffer is a power of two";
		return -EINVAL;
	}
	dev = open_udmabuf(why);
	if (dev < 0)
		return dev;
	if (sysfs_get_num("/sys/module/udmabuf/parameters/list_limit") < (long long)nr) {
		snprintf(limit, sizeof(limit), "%zu", nr);
		sysfs_set(limit, "/sys/module/udmabuf/parameters/list_limit");
	}
	err = make_memfd(m, size, false, why);
	if (err)
		goto out_close;

	list = calloc(1, sizeof(*list) + nr * sizeof(list->list[0]));
	if (!list) {
		err = -ENOMEM;
		goto out_close;
	}
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = nr;
	for (i = 0; i < nr; i++) {
		list->list[i].memfd = m->memfd;
		list->list[i].offset = ((i * SCATTER_STEP) % nr) * SMALL_PAGE;
		list->list[i].size = SMALL_PAGE;
	}
	*why = "UDMABUF_CREATE_LIST failed";
	m->fd = ioctl(dev, UDMABUF_CREATE_LIST, list);
	if (m->fd < 0)
		err = -errno;
	free(list);
out_close:
	close(dev);
	return err;
}

static int reserve_huge_pages(size_t nr)
{
	const char *path = "/sys/kernel/mm/hugepages/hugepages-2048kB/%s_hugepages";
	long long have, total;
	char val[32];

	have = sysfs_get_num(path, "free");
	total = sysfs_get_num(path, "nr");
	if (have < 0 || total < 0)
		return -EOPNOTSUPP;
	if (have >= (long long)nr)
		return 0;
	snprintf(val, sizeof(val), "%lld", total + (long long)nr - have);
	sysfs_set(val, path, "nr");
	return sysfs_get_num(path, "free") >= (long long)nr ? 0 : -EOPNOTSUPP;
}

static int alloc_huge(struct mem *m, size_t size, const char **why)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int dev, err;

	*why = "no 2 MiB pages";
	err = reserve_huge_pages(size / HUGE_PAGE);
	if (err)
		return err;
	dev = open_udmabuf(why);
	if (dev < 0)
		return dev;
	err = make_memfd(m, size, true, why);
	if (!err) {
		create.memfd = m->memfd;
		*why = "UDMABUF_CREATE failed";
		m->fd = ioctl(dev, UDMABUF_CREATE, &create);
		if (m->fd < 0)
			err = -errno;
	}
	close(dev);
	return err;
}

static int alloc_heap(struct mem *m, size_t size, const char **why)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev, err = 0;

	dev = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		*why = "no system heap";
		return -errno;
	}
	*why = "DMA_HEAP_IOCTL_ALLOC failed";
	if (ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &data))
		err = -errno;
	else
		m->fd = data.fd;
	close(dev);
	return err;
}

static int alloc_mock(struct mem *m, size_t size, const char **why)
{
	unsigned int flags = DMA_BUF_MOCK_CHECK_IDLE, order = 0;

	if (m->kind == MEM_MOCK_P2P) {
		flags |= DMA_BUF_MOCK_P2P | DMA_BUF_MOCK_NO_VMAP;
		order = 4;
	} else if (m->kind == MEM_MOCK_SHRINK) {
		flags |= DMA_BUF_MOCK_SHRINK;
	}
	*why = "can't make a dma-buf of /dev/dma_buf_mock";
	m->fd = mock_create(size, order, flags);
	return m->fd < 0 ? m->fd : 0;
}

static int alloc_peer(struct mem *m, size_t size, struct vfio_dev *vfio, const char **why)
{
	/* Not in the order of the BAR and not adjacent: mix-ups show */
	struct vfio_region_dma_range two[2], one;
	size_t half;

	if (size > vfio->bar_size / 2)
		size = vfio->bar_size / 2;
	m->size = size;
	half = size / 2;
	one = (struct vfio_region_dma_range){ .offset = size / 2, .length = size };
	two[0] = (struct vfio_region_dma_range){ .offset = size + half, .length = half };
	two[1] = (struct vfio_region_dma_range){ .offset = 0, .length = half };

	*why = "VFIO_DEVICE_FEATURE_DMA_BUF failed";
	m->vfio = vfio;
	m->fd = m->kind == MEM_VFIO ? vfio_export(vfio, &one, 1) : vfio_export(vfio, two, 2);
	if (m->fd < 0)
		return m->fd;

	*why = "can't map the BAR";
	m->va = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->va == MAP_FAILED)
		return -errno;
	if (m->kind == MEM_VFIO) {
		if (vfio_map(vfio, m->va, one.offset, size) == MAP_FAILED)
			return -errno;
	} else if (vfio_map(vfio, m->va, two[0].offset, half) == MAP_FAILED ||
		   vfio_map(vfio, m->va + half, two[1].offset, half) == MAP_FAILED) {
		return -errno;
	}
	return 0;
}

int mem_alloc(struct mem *m, enum mem_kind kind, size_t size, struct vfio_dev *vfio,
	      const char **why)
{
	struct stat st;
	int err;

	memset(m, 0, sizeof(*m));
	m->kind = kind;
	m->fd = -1;
	m->memfd = -1;
	m->size = size;
	switch (kind) {
	case MEM_UDMABUF:
		err = alloc_scattered(m, size, why);
		break;
	case MEM_UDMABUF_HUGE:
		err = alloc_huge(m, size, why);
		break;
	case MEM_HEAP:
		err = alloc_heap(m, size, why);
		break;
	case MEM_MOCK:
	case MEM_MOCK_P2P:
	case MEM_MOCK_SHRINK:
		err = alloc_mock(m, size, why);
		break;
	default:
		err = alloc_peer(m, size, vfio, why);
		break;
	}
	if (err)
		goto err_free;

	*why = "can't map the dma-buf";
	if (!m->va)
		m->va = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (m->va == MAP_FAILED || fstat(m->fd, &st)) {
		err = -errno;
		goto err_free;
	}
	m->ino = st.st_ino;
	return 0;

err_free:
	mem_free(m);
	return err;
}

void mem_close_fd(struct mem *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

void mem_free(struct mem *m)
{
	if (m->va && m->va != MAP_FAILED)
		munmap(m->va, m->size);
	m->va = NULL;
	mem_close_fd(m);
	if (m->memfd >= 0)
		close(m->memfd);
	m->memfd = -1;
}

static void mem_sync(const struct mem *m, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_RW };

	/* Exporters of uncached memory have nothing to do; a closed fd can't ask */
	if (m->fd >= 0)
		ioctl(m->fd, DMA_BUF_IOCTL_SYNC, &sync);
}

void mem_begin(const struct mem *m)
{
	mem_sync(m, DMA_BUF_SYNC_START);
}

void mem_end(const struct mem *m)
{
	mem_sync(m, DMA_BUF_SYNC_END);
}
