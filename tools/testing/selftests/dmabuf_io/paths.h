/* SPDX-License-Identifier: GPL-2.0 */
/* The controllers that an NVMe multipath disk can be reached through. */
#ifndef DMABUF_IO_PATHS_H
#define DMABUF_IO_PATHS_H

#include <stdbool.h>
#include "disk.h"

#define PATHS_MAX	4
#define PATHS_WAIT_MS	60000

struct path {
	char disk[32];		/* as in /sys/block; there is nothing in /dev */
	char ctrl[32];		/* as in /sys/class/nvme */
	char pci[32];
};

struct paths {
	char head[32];		/* the disk itself */
	int nr;			/* usable when last looked at */
	struct path path[PATHS_MAX];	/* ordered by address */
	int nr_pci;		/* all that there have been */
	char pci[PATHS_MAX][32];
};

/* 0, or -ENODEV if the disk is none of NVMe multipath on PCI */
int paths_of(struct paths *ps, const struct disk *d);
/* Look again until that many paths are usable, or none if @want is 0 */
bool paths_wait(struct paths *ps, int want);
/* Find removed controllers again, with the disk under its old name */
bool paths_come_back(struct paths *ps);

int paths_set_policy(const struct paths *ps, const char *policy);
int path_reset(const struct path *p);
int path_remove(const struct path *p);
/* It stops to answer: no access to its registers and none from it to memory */
int path_kill(const struct path *p);
/* What the path has moved so far, without what is in flight */
long long path_sectors(const struct path *p, bool write);
/* Requests that failed on the path and were sent to another */
long long path_failovers(const struct path *p);

#endif /* DMABUF_IO_PATHS_H */
