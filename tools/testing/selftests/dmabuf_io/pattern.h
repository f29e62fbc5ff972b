/* SPDX-License-Identifier: GPL-2.0 */
/* Bytes that depend on a seed and on their own position, never repeating. */
#ifndef DMABUF_IO_PATTERN_H
#define DMABUF_IO_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* @pos and @len are multiples of 8 */
void pattern_fill(void *p, size_t len, uint64_t seed, uint64_t pos);
/* Offset of the first byte that differs, or -1 */
long long pattern_differs(const void *p, size_t len, uint64_t seed, uint64_t pos);

/* A small generator of its own: the same sequence everywhere for one seed */
uint64_t rnd_next(uint64_t *state);
/* 0 .. n - 1 */
uint64_t rnd_below(uint64_t *state, uint64_t n);

#endif /* DMABUF_IO_PATTERN_H */
