/* SPDX-License-Identifier: GPL-2.0 */
/* Registering memory with io_uring, and what that costs */
#ifndef BENCH_MAPPING_H
#define BENCH_MAPPING_H

#include <liburing.h>
#include <stdint.h>
#include "memory.h"

/* The clock of the guest counts instructions. */
static inline uint64_t instructions(void)
{
	return __builtin_ia32_rdtsc();
}

/* For I/O on @disk, the buffer in @slot of the table; exits on failure. */
void mapping_register(struct io_uring *ring, unsigned int slot, const struct memory *m, int disk);

/*
 * Registers the memory a few times and prints, per registration:
 *   kind,map,bytes,instructions,own,total
 * @own are the bytes that the mapping of the buffer takes, @total also counts
 * what the exporter and the IOMMU use for it.
 */
void mapping_cost(const struct memory *m, int disk);

#endif
