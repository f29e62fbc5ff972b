// SPDX-License-Identifier: GPL-2.0
/*
 * Where the dma-buf comes from. Nobody maps it for the CPU here or later; with a
 * dma-buf of a GPU or of a PCI device (kind "fd:N") there may be no way to.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "receiver.h"

static int area_error(const char *what)
{
	int err = errno;

	fprintf(stderr, "receiver: %s: %s\n", what, strerror(err));
	return -err;
}

static int area_from_heap(const char *heap, __u64 size)
{
	struct dma_heap_allocation_data data = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", heap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return area_error(path);
	ret = ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data) ? area_error(path) : 0;
	close(fd);
	return ret ? ret : (int)data.fd;
}

/* The pages of a memfd. They must not go away, so shrinking is sealed off. */
static int area_from_memfd(unsigned int memfd_flags, __u64 size)
{
	struct udmabuf_create create = {
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = size,
	};
	int memfd, dev, ret;

	memfd = memfd_create("dmabuf-io", MFD_ALLOW_SEALING | MFD_CLOEXEC | memfd_flags);
	if (memfd < 0)
		return area_error("memfd_create");
	if (ftruncate(memfd, size) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		ret = area_error("memfd");
		goto out_memfd;
	}

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		ret = area_error("/dev/udmabuf");
		goto out_memfd;
	}
	create.memfd = memfd;
	ret = ioctl(dev, UDMABUF_CREATE, &create);
	if (ret < 0)
		ret = area_error("udmabuf (huge pages, /sys/module/udmabuf/parameters?)");
	close(dev);
out_memfd:
	close(memfd);
	return ret;
}

/**
 * area_alloc() - get a dma-buf
 * @kind: see usage()
 * @size: of the dma-buf, for "fd:N" set to what it is
 *
 * Return: file descriptor of the dma-buf, or a negative error number, in which
 * case a message has been printed.
 */
int area_alloc(const char *kind, __u64 *size)
{
	char *end;
	off_t len;
	int fd;

	if (!strcmp(kind, "heap"))
		return area_from_heap("system", *size);
	if (!strncmp(kind, "heap:", 5) && !strchr(kind, '/'))
		return area_from_heap(kind + 5, *size);
	if (!strcmp(kind, "udmabuf"))
		return area_from_memfd(0, *size);
	if (!strcmp(kind, "udmabuf-huge"))
		return area_from_memfd(MFD_HUGETLB, *size);

	if (strncmp(kind, "fd:", 3)) {
		fprintf(stderr, "receiver: no kind of dma-buf: %s\n", kind);
		return -EINVAL;
	}
	fd = strtol(kind + 3, &end, 10);
	if (end == kind + 3 || *end) {
		fprintf(stderr, "receiver: no file descriptor: %s\n", kind + 3);
		return -EINVAL;
	}
	/* This is how a dma-buf tells its size. */
	len = lseek(fd, 0, SEEK_END);
	if (len < 0)
		return area_error(kind);
	*size = len;
	return fd;
}
