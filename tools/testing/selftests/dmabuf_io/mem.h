/* SPDX-License-Identifier: GPL-2.0 */
/* The kinds of dma-buf that the tests use, each with a view for the CPU. */
#ifndef DMABUF_IO_MEM_H
#define DMABUF_IO_MEM_H

#include "vfio.h"

enum mem_kind {
	MEM_UDMABUF,		/* 4 KiB pages in a scattered order */
	MEM_UDMABUF_HUGE,	/* hugetlb pages */
	MEM_HEAP,		/* system heap: pages as large as it gets them */
	MEM_VFIO,		/* peer memory, one range */
	MEM_VFIO_2,		/* peer memory, two ranges, the later one first */
	MEM_MOCK,		/* the exporter for tests: scattered 4 KiB segments */
	MEM_MOCK_P2P,		/* the same, 64 KiB, only for peers, not for the kernel */
	MEM_MOCK_SHRINK,	/* scattered, invalidated by memory reclaim */
};

struct mem {
	enum mem_kind kind;
	int fd;			/* the dma-buf, -1 when the test has closed it */
	int memfd;		/* what a udmabuf is made of */
	size_t size;
	void *va;		/* the whole buffer, for the CPU */
	uint64_t ino;		/* of the dma-buf, as in bufinfo */
	struct vfio_dev *vfio;	/* peer memory only; owned by the caller */
};

/*
 * @size is the wish; m->size may be less for peer memory. @vfio is needed for
 * peer memory only. 0 or a negative errno with *why set; -EOPNOTSUPP or
 * -ENOENT: this machine doesn't have that kind.
 */
int mem_alloc(struct mem *m, enum mem_kind kind, size_t size, struct vfio_dev *vfio,
	      const char **why);
void mem_free(struct mem *m);
/* Close the dma-buf fd and keep the CPU's view */
void mem_close_fd(struct mem *m);

/* Bracket what the CPU does with m->va */
void mem_begin(const struct mem *m);
void mem_end(const struct mem *m);

static inline bool mem_is_peer(enum mem_kind kind)
{
	return kind == MEM_VFIO || kind == MEM_VFIO_2;
}

#endif /* DMABUF_IO_MEM_H */
