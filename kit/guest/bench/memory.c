// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dma-heap.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "memory.h"

#define PAGE	4096UL
#define HUGE	(2UL << 20)
/* Neighbours are far apart: nothing is there to be merged */
#define STEP	37

static void write_num(const char *path, unsigned long num)
{
	FILE *f = fopen(path, "w");

	if (!f || fprintf(f, "%lu\n", num) < 0 || fclose(f))
		err(1, "%s", path);
}

static int make_memfd(size_t size, bool huge)
{
	int fd = memfd_create("bench", MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));

	if (huge)
		write_num("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", size / HUGE);
	if (fd < 0 || ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		err(1, "memfd");
	return fd;
}

/* 4 KiB pages, each one somewhere else, as in a process that runs for a while */
static void alloc_user(struct memory *m)
{
	size_t nr = m->size / PAGE, i;
	char *scratch;

	scratch = mmap(NULL, 2 * m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m->va = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->va == MAP_FAILED || scratch == MAP_FAILED)
		err(1, "mmap");
	madvise(m->va, m->size, MADV_NOHUGEPAGE);
	madvise(scratch, 2 * m->size, MADV_NOHUGEPAGE);
	/* A page in between for somebody else, so that no two are neighbours */
	for (i = 0; i < nr; i++) {
		((char *)m->va)[(i * STEP) % nr * PAGE] = 1;
		scratch[i * PAGE] = 1;
	}
	munmap(scratch, 2 * m->size);
}

static void alloc_user_huge(struct memory *m)
{
	int fd = make_memfd(m->size, true);

	m->va = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m->va == MAP_FAILED)
		err(1, "mmap of huge pages");
	memset(m->va, 1, m->size);
	close(fd);
}

static void alloc_udmabuf(struct memory *m, bool huge)
{
	size_t nr = huge ? 1 : m->size / PAGE, i;
	int memfd = make_memfd(m->size, huge), dev = open("/dev/udmabuf", O_RDWR);
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + nr * sizeof(list->list[0]));

	if (dev < 0 || !list)
		err(1, "/dev/udmabuf");
	/* In the order of the file, which is not that of the list */
	if (!huge && fallocate(memfd, 0, 0, m->size))
		err(1, "fallocate");
	write_num("/sys/module/udmabuf/parameters/list_limit", nr);
	write_num("/sys/module/udmabuf/parameters/size_limit_mb", m->size >> 20);
	list->count = nr;
	for (i = 0; i < nr; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = huge ? 0 : (i * STEP) % nr * PAGE;
		list->list[i].size = huge ? m->size : PAGE;
	}
	m->dmabuf = ioctl(dev, UDMABUF_CREATE_LIST, list);
	if (m->dmabuf < 0)
		err(1, "UDMABUF_CREATE_LIST");
	close(memfd);
	close(dev);
	free(list);
}

/* The same 64 MiB again and again, in scattered pages: as many segments as there are pages */
static void alloc_udmabuf_large(struct memory *m)
{
	size_t part = 64UL << 20, nr = part / PAGE, count = m->size / part, i;
	int memfd = make_memfd(part, false), dev = open("/dev/udmabuf", O_RDWR);
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + count * sizeof(list->list[0]));
	char *va = mmap(NULL, part, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);

	if (dev < 0 || !list || va == MAP_FAILED)
		err(1, "/dev/udmabuf");
	/* What follows in the file was not allocated next */
	for (i = 0; i < nr; i++)
		va[(i * STEP) % nr * PAGE] = 1;
	munmap(va, part);
	write_num("/sys/module/udmabuf/parameters/list_limit", count);
	write_num("/sys/module/udmabuf/parameters/size_limit_mb", m->size >> 20);
	list->count = count;
	for (i = 0; i < count; i++) {
		list->list[i].memfd = memfd;
		list->list[i].size = part;
	}
	m->dmabuf = ioctl(dev, UDMABUF_CREATE_LIST, list);
	if (m->dmabuf < 0)
		err(1, "UDMABUF_CREATE_LIST");
	close(memfd);
	close(dev);
	free(list);
}

static void alloc_heap(struct memory *m)
{
	struct dma_heap_allocation_data data = { .len = m->size, .fd_flags = O_RDWR };
	int dev = open("/dev/dma_heap/system", O_RDWR);

	if (dev < 0 || ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &data))
		err(1, "system heap");
	m->dmabuf = data.fd;
	close(dev);
}

/* The container and group stay open: the memory is theirs. */
static int open_vfio(const char *bdf)
{
	char link[PATH_MAX], path[PATH_MAX], target[PATH_MAX] = "";
	int container, group, device;
	bool noiommu;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		err(1, "%s", link);
	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s", strrchr(target, '/') + 1);
	noiommu = !access(path, F_OK);
	if (!noiommu)
		snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	if (container < 0 || group < 0)
		err(1, "%s", path);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU))
		err(1, "vfio container");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		err(1, "VFIO_GROUP_GET_DEVICE_FD");
	return device;
}

static void alloc_p2p(struct memory *m, const char *bdf)
{
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct {
		struct vfio_device_feature head;
		struct vfio_device_feature_dma_buf dmabuf;
		struct vfio_region_dma_range range;
	} arg = {
		.head.argsz = sizeof(arg),
		.head.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
		.dmabuf = { .region_index = 2, .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 1 },
		.range.length = m->size,
	};
	static int device = -1;
	unsigned short command;

	if (device < 0)
		device = open_vfio(bdf);
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config))
		err(1, "VFIO_DEVICE_GET_REGION_INFO");
	/* The device answers to accesses to its memory only if it is told to */
	if (pread(device, &command, 2, config.offset + 4) != 2)
		err(1, "PCI_COMMAND");
	command |= 2;
	if (pwrite(device, &command, 2, config.offset + 4) != 2)
		err(1, "PCI_COMMAND");
	m->dmabuf = ioctl(device, VFIO_DEVICE_FEATURE, &arg);
	if (m->dmabuf < 0)
		err(1, "VFIO_DEVICE_FEATURE_DMA_BUF");
}

void memory_alloc(struct memory *m, const char *kind, size_t size, const char *p2p_bdf)
{
	*m = (struct memory){ .kind = kind, .size = size, .dmabuf = -1 };
	if (!strcmp(kind, "user"))
		alloc_user(m);
	else if (!strcmp(kind, "user-huge"))
		alloc_user_huge(m);
	else if (!strcmp(kind, "udmabuf"))
		alloc_udmabuf(m, false);
	else if (!strcmp(kind, "udmabuf-huge"))
		alloc_udmabuf(m, true);
	else if (!strcmp(kind, "udmabuf-large"))
		alloc_udmabuf_large(m);
	else if (!strcmp(kind, "heap"))
		alloc_heap(m);
	else if (!strcmp(kind, "p2p"))
		alloc_p2p(m, p2p_bdf);
	else
		errx(1, "no such memory: %s", kind);
}

void memory_free(struct memory *m)
{
	if (m->va)
		munmap(m->va, m->size);
	if (m->dmabuf >= 0)
		close(m->dmabuf);
	m->va = NULL;
	m->dmabuf = -1;
}
