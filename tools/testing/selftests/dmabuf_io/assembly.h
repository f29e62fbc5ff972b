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
	char path[64];
	char why[256];
};

/*
 * Take down what an earlier test may have left on the disks, then open them. 0,
 * ENV_SKIP or a negative errno with a->why.
 */
int asm_open(struct assembly *a);
/* Undo everything; a negative errno with a->why if something stays */
int asm_close(struct assembly *a);

/*
 * Run a shell script with $A and $B, the disks. 0, ENV_SKIP if it exits with 4 or a
 * tool is missing, or -EIO.
 */
int asm_run(struct assembly *a, const char *script);
/* The same for one that makes the device @path, which is opened as a->top */
int asm_make(struct assembly *a, const char *path, const char *script);
/* Where the data of an array starts on a leg, in bytes */
long long asm_md_offset(const struct assembly *a, unsigned int leg);

#endif /* DMABUF_IO_ASSEMBLY_H */
