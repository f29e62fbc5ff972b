/* SPDX-License-Identifier: GPL-2.0 */
/* The NVMe controller of a disk on PCI: its state, and finding it again. */
#ifndef DMABUF_IO_CTRL_H
#define DMABUF_IO_CTRL_H

#include <stdbool.h>
#include "disk.h"

#define CTRL_WAIT_MS	60000

struct ctrl {
	char name[64];		/* as in /sys/class/nvme */
	char pci[32], disk[32];	/* to find it again */
};

/* 0, or -ENODEV if the disk is none of an NVMe controller on PCI */
int ctrl_of(struct ctrl *c, const struct disk *d);
/* Wait until the controller works and has the disk under its old name */
bool ctrl_wait_live(struct ctrl *c);
int ctrl_reset(struct ctrl *c);
int ctrl_remove(struct ctrl *c);
/* Format the first namespace of the controller with that name */
int ctrl_format(const char *name, unsigned int lbaf);
/*
 * By its PCI address: it stops to answer, as one that has been pulled out, with no
 * access to its registers and none from it to memory.
 */
int ctrl_kill(const char *pci);
bool ctrl_is_there(const struct ctrl *c);
/* Find a removed controller again, with its disk under the same name */
bool ctrl_come_back(struct ctrl *c);

#endif /* DMABUF_IO_CTRL_H */
