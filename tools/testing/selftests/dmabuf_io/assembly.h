/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices put together from two scratch disks, DMABUF_IO_DISK and
 * DMABUF_IO_DISK2, with the tools that everybody uses: dmsetup, mdadm, mkfs.
 */
#ifndef DMABUF_IO_ASSEMBLY_H
#define DMABUF_IO_ASSEMBLY_H

#include "env.h"

#define ASM_LEGS	2
/* Names that scripts give to what they make */
#define ASM_MD		"/dev/md42"
#define ASM_DM		"/dev/mapper/dio_top"

struct assembly {
	struct disk leg[ASM_LEGS];
	struct disk top;
	char why[256];
};

/*
 * Take down what an earlier test may have left on the disks, open them, and run
 * @script; then open the device @path that it has made, if it is not NULL, and @e
 * with that as its disk. 0, ENV_SKIP or a negative errno with a->why.
 */
int asm_open(struct assembly *a, struct env *e, const char *path, const char *script,
	     enum mem_kind kind, size_t size);
/*
 * Undo everything; a negative errno with a->why if something stays. If asm_open() may
 * not have been called, e->log has to be -1.
 */
int asm_close(struct assembly *a, struct env *e);

/*
 * Run a shell script with $A and $B, the disks. 0, ENV_SKIP if it exits with 4 or a
 * tool is missing and DMABUF_IO_REQUIRE does not say that they are there, or a
 * negative errno.
 */
int asm_run(struct assembly *a, const char *script);
/* Where the data of an array starts on a leg, in bytes */
long long asm_md_offset(const struct assembly *a, unsigned int leg);

#endif /* DMABUF_IO_ASSEMBLY_H */
