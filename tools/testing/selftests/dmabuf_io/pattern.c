// SPDX-License-Identifier: GPL-2.0
#include "pattern.h"

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185ULL;
	x ^= x >> 27;
	x *= 0x81dadef4bc2dd44dULL;
	return x ^ (x >> 33);
}

void pattern_fill(void *p, size_t len, uint64_t seed, uint64_t pos)
{
	uint64_t base = mix(seed + 1), word = pos / 8;
	uint64_t *out = p;
	size_t i;

	/* One plain 8-byte store each: @p may be device memory */
	for (i = 0; i < len / 8; i++)
		__atomic_store_n(&out[i], mix(base + word + i), __ATOMIC_RELAXED);
}

long long pattern_differs(const void *p, size_t len, uint64_t seed, uint64_t pos)
{
	uint64_t base = mix(seed + 1), word = pos / 8, diff;
	const uint64_t *in = p;
	size_t i;

	for (i = 0; i < len / 8; i++) {
		diff = __atomic_load_n(&in[i], __ATOMIC_RELAXED) ^ mix(base + word + i);
		if (diff)
			return i * 8 + __builtin_ctzll(diff) / 8;
	}
	return -1;
}

uint64_t rnd_next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ULL;
	return mix(*state);
}

uint64_t rnd_below(uint64_t *state, uint64_t n)
{
	return rnd_next(state) % n;
}
