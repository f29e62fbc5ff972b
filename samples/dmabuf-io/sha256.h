/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <linux/types.h>

struct sha256 {
	__u32		state[8];
	__u64		len;
	__u8		block[64];
};

void sha256_init(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *data, size_t len);
void sha256_final(struct sha256 *sha, __u8 digest[32]);

#endif
