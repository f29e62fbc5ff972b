/* SPDX-License-Identifier: GPL-2.0 */
/* File systems for tests, on the first scratch disk of an assembly */
#ifndef DMABUF_IO_FSMAKE_H
#define DMABUF_IO_FSMAKE_H

#include "assembly.h"

#define MNT		"/mnt/dmabuf_io"
#define FILE_		MNT "/file"
#define FS_BLOCK	4096

/* Scripts for asm_open(): make one, with options for mkfs, and mount it */
#define EXT4(opts, mnt) \
	"mkfs.ext4 -q -F -b 4096 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 " opts \
	" $A 512m && mkdir -p " MNT " && mount -t ext4 -o nodiscard" mnt " $A " MNT
#define XFS(opts) \
	"command -v mkfs.xfs > /dev/null || { echo no mkfs.xfs; exit 4; }\n" \
	"mkfs.xfs -q -f -K " opts " $A && mkdir -p " MNT " && mount -t xfs $A " MNT

#endif /* DMABUF_IO_FSMAKE_H */
