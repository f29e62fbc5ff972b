/* SPDX-License-Identifier: GPL-2.0 */
/* The kinds of memory that are compared. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stddef.h>

struct memory {
	const char *kind;
	size_t size;
	void *va;	/* NULL where the CPU has no view */
	int dmabuf;	/* -1: ordinary memory */
};

/*
 * "user", "user-huge", "udmabuf", "udmabuf-huge", "udmabuf-large", "heap" or "p2p";
 * exits on failure
 */
void memory_alloc(struct memory *m, const char *kind, size_t size, const char *p2p_bdf);
void memory_free(struct memory *m);

#endif
