/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What nearly every test starts from: the scratch disk, one dma-buf, one ring
 * with a sparse buffer table; and the checks that every test ends with.
 *
 * DMABUF_IO_DISK      scratch disk, its content is lost (required)
 * DMABUF_IO_DISK2     a second one on another controller, for some of the tests
 * DMABUF_IO_P2P       PCI address of a device bound to vfio-pci whose BAR is
 *                     memory, or "auto"; if set, the device has to be there
 * DMABUF_IO_REQUIRE   1: whatever the kernel or the machine lacks is a failure
 *                     and not a reason to skip
 * DMABUF_IO_SEED      start of the random sequences (1)
 * DMABUF_IO_ROUNDS    length of the random tests (150)
 */
#ifndef DMABUF_IO_ENV_H
#define DMABUF_IO_ENV_H

#include "disk.h"
#include "mem.h"
#include "pattern.h"
#include "ring.h"

#define ENV_SLOTS	16
#define ENV_SKIP	1

struct env {
	struct disk disk;
	struct vfio_dev vfio;
	struct mem mem;
	struct ring ring;
	bool have_vfio;
	int log;		/* position in the kernel log */
	uint64_t rnd;
	char why[256];		/* reason of a skip or failure */
};

/* 0, ENV_SKIP or a negative errno; e->why tells. Nothing is registered yet. */
int env_open(struct env *e, enum mem_kind kind, size_t size, unsigned int ring_flags);
/* The same without the scratch disk, which is a part of something else */
int env_open_busy(struct env *e, enum mem_kind kind, size_t size, unsigned int ring_flags);
/*
 * Undo it all, then wait until the dma-buf is really gone and look at the log.
 * Returns 0 or a negative errno with e->why.
 */
int env_close(struct env *e);
/* The last step of env_close() alone */
int env_check_log(struct env *e);

/* After the disk was taken away and came back: DMABUF_IO_DISK once more */
int env_reopen_disk(struct env *e);

/* Like kind and size of env_open() for one more buffer */
int env_mem(struct env *e, struct mem *m, enum mem_kind kind, size_t size);
/* Free @m, which has to be unregistered, and wait until it is really gone */
int env_mem_free(struct env *e, struct mem *m);

/* Positive number from the environment */
unsigned long env_num(const char *name, unsigned long def);
#define env_rounds()	env_num("DMABUF_IO_ROUNDS", 150)
#define env_required()	(env_num("DMABUF_IO_REQUIRE", 0) != 0)

#endif /* DMABUF_IO_ENV_H */
