// SPDX-License-Identifier: GPL-2.0
/* SHA-256 (FIPS 180-4), so that the sender depends on no library. */
#include <string.h>

#include "sha256.h"

static const __u32 round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static __u32 ror(__u32 x, int n)
{
	return x >> n | x << (32 - n);
}

static __u32 load_be32(const __u8 *p)
{
	return (__u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void store_be32(__u8 *p, __u32 x)
{
	p[0] = x >> 24;
	p[1] = x >> 16;
	p[2] = x >> 8;
	p[3] = x;
}

/*
 * One round. The eight values are not moved to their next places, but looked for
 * one place further in each round; with constant @n that costs nothing.
 */
static inline void sha256_round(__u32 v[8], int n, __u32 input)
{
	__u32 a = v[-n & 7], b = v[(1 - n) & 7], c = v[(2 - n) & 7];
	__u32 e = v[(4 - n) & 7], f = v[(5 - n) & 7], g = v[(6 - n) & 7];

	input += v[(7 - n) & 7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & (f ^ g)) ^ g);
	v[(3 - n) & 7] += input;
	v[(7 - n) & 7] = input + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b)));
}

static void sha256_block(struct sha256 *sha, const __u8 *block)
{
	__u32 w[64], v[8];
	int i;

	for (i = 0; i < 16; i++)
		w[i] = load_be32(block + 4 * i);
	for (; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (i = 0; i < 64; i++)
		w[i] += round_constants[i];

	memcpy(v, sha->state, sizeof(v));
	for (i = 0; i < 64; i += 8) {
		sha256_round(v, 0, w[i]);
		sha256_round(v, 1, w[i + 1]);
		sha256_round(v, 2, w[i + 2]);
		sha256_round(v, 3, w[i + 3]);
		sha256_round(v, 4, w[i + 4]);
		sha256_round(v, 5, w[i + 5]);
		sha256_round(v, 6, w[i + 6]);
		sha256_round(v, 7, w[i + 7]);
	}
	for (i = 0; i < 8; i++)
		sha->state[i] += v[i];
}

void sha256_init(struct sha256 *sha)
{
	static const __u32 init[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};

	memcpy(sha->state, init, sizeof(init));
	sha->len = 0;
}

void sha256_update(struct sha256 *sha, const void *data, size_t len)
{
	size_t have = sha->len % 64, n;
	const __u8 *p = data;

	sha->len += len;
	while (len) {
		if (!have && len >= 64) {
			sha256_block(sha, p);
			n = 64;
		} else {
			n = len < 64 - have ? len : 64 - have;
			memcpy(sha->block + have, p, n);
			have += n;
			if (have == 64) {
				sha256_block(sha, sha->block);
				have = 0;
			}
		}
		p += n;
		len -= n;
	}
}

void sha256_final(struct sha256 *sha, __u8 digest[32])
{
	__u64 bits = sha->len * 8;
	size_t have = sha->len % 64;
	int i;

	sha->block[have++] = 0x80;
	if (have > 56) {
		memset(sha->block + have, 0, 64 - have);
		sha256_block(sha, sha->block);
		have = 0;
	}
	memset(sha->block + have, 0, 56 - have);
	store_be32(sha->block + 56, bits >> 32);
	store_be32(sha->block + 60, bits);
	sha256_block(sha, sha->block);
	for (i = 0; i < 8; i++)
		store_be32(digest + 4 * i, sha->state[i]);
}
