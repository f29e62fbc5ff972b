/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scratch disk and the independent look at it: pread() and pwrite() with
 * O_DIRECT and ordinary memory, nothing of what is tested.
 */
#ifndef DMABUF_IO_DISK_H
#define DMABUF_IO_DISK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk {
	int fd;			/* O_RDWR | O_DIRECT, what the ring is given */
	int witness;		/* another open file of the same disk */
	char path[128];
	char name[32];		/* as in /sys/block */
	char pci[32];		/* address of the controller, may be empty */
	uint64_t size;
	unsigned int lbs;	/* logical block size */
	unsigned int max_io;	/* bytes of a dma-buf in one request */
};

/*
 * Open what DMABUF_IO_DISK names; all of its content may be lost. Returns 0 or
 * a negative errno with *why set: -ENODEV if the variable is not set.
 */
int disk_open(struct disk *d, const char **why);
/* The same with another variable */
int disk_open_var(struct disk *d, const char *var, const char **why);
/* The same for a device by its path */
int disk_open_path(struct disk *d, const char *path, const char **why);
void disk_close(struct disk *d);

/* A removed disk has no capacity: a write that comes late finds no space */
static inline bool disk_allowed_after_removal(int err)
{
	return !err || err == -EIO || err == -ENODEV || err == -ENXIO || err == -ENOSPC;
}

/*
 * For disk_get() and disk_put(): in huge pages if possible, as faulting and
 * pinning small ones takes longer than all the rest. NULL, or for free().
 */
void *disk_buffer(size_t size);
/* All or nothing: 0 or a negative errno */
int disk_get(const struct disk *d, void *buf, size_t len, uint64_t pos);
int disk_put(const struct disk *d, const void *buf, size_t len, uint64_t pos);

/* Requests of one kind completed so far, from the statistics; waits for those in flight */
long long disk_requests(const struct disk *d, bool write);
/* Requests in flight, both directions */
long disk_inflight(const struct disk *d);

#endif /* DMABUF_IO_DISK_H */
