/* SPDX-License-Identifier: GPL-2.0 */
/* Block devices made on the fly: partition, loop, device mapper. */
#ifndef DMABUF_IO_STACK_H
#define DMABUF_IO_STACK_H

#include "disk.h"

struct stacked {
	enum { STACK_NONE, STACK_PART, STACK_LOOP, STACK_DM } type;
	char path[160];
	char name[64];
	int ctl;		/* what is asked to remove it */
	unsigned int number;
};

/* All return 0 or a negative errno; -ENOENT or -EOPNOTSUPP: not in this kernel */
int stack_partition(struct stacked *s, const struct disk *d, uint64_t start, uint64_t len);
/* Over a memory file of that size */
int stack_loop(struct stacked *s, size_t size);
/* One target over the whole device; @params as in its documentation */
int stack_dm(struct stacked *s, const char *name, const char *target, const char *params,
	     uint64_t size);
/* Something may still hold it for a moment: tries again for a while */
int stack_remove(struct stacked *s);

#endif /* DMABUF_IO_STACK_H */
