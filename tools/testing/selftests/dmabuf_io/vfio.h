/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A PCI device bound to vfio-pci whose largest BAR is plain memory (ivshmem):
 * peer memory for the disk. The CPU sees the same bytes through the BAR's mmap.
 */
#ifndef DMABUF_IO_VFIO_H
#define DMABUF_IO_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi.h"

struct vfio_dev {
	int container, group, device;
	char bdf[32];
	bool noiommu;
	unsigned int bar;
	size_t bar_size;
	uint64_t bar_offset;	/* of the BAR in the device file */
	uint64_t config_offset;
};

/*
 * Open DMABUF_IO_P2P, or the first device bound to vfio-pci if that is unset or
 * "auto". 0 or a negative errno with *why set; -ENODEV: there is none.
 */
int vfio_open(struct vfio_dev *v, const char **why);
void vfio_close(struct vfio_dev *v);

/* A dma-buf of parts of the BAR, in this order; the fd or a negative errno */
int vfio_export(struct vfio_dev *v, const struct vfio_region_dma_range *ranges,
		unsigned int nr);
/* Map @len bytes of the BAR, at @where if that is not NULL */
void *vfio_map(struct vfio_dev *v, void *where, size_t offset, size_t len);
/* Set or clear the memory bit in PCI_COMMAND */
int vfio_set_memory(struct vfio_dev *v, bool on);

#endif /* DMABUF_IO_VFIO_H */
