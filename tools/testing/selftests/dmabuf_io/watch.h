/* SPDX-License-Identifier: GPL-2.0 */
/* What a test may not leave behind: dma-bufs, attachments, pinned memory, complaints in the log */
#ifndef DMABUF_IO_WATCH_H
#define DMABUF_IO_WATCH_H

#include <stddef.h>
#include <stdint.h>

/* Devices attached to the dma-buf with this inode number, -ENOENT if it is gone */
int watch_attached(uint64_t ino);
/* The same for all dma-bufs of an exporter together */
int watch_exporter(const char *name, unsigned int *nr_bufs);
/* Poll until that many are attached, or -ENOENT for "gone"; 0 or -ETIME */
int watch_wait_attached(uint64_t ino, int want, unsigned int timeout_ms);

/* What this process has pinned, in kB, or -1 */
long watch_pinned_kb(void);

/* A position in the kernel log, now */
int watch_log_open(void);
/* Copy the first complaint since then; 0 if there is none */
int watch_log_bad(int fd, char *line, size_t size);

#endif /* DMABUF_IO_WATCH_H */
