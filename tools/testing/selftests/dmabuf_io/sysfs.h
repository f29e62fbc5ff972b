/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing small kernel files by printf-style path. */
#ifndef DMABUF_IO_SYSFS_H
#define DMABUF_IO_SYSFS_H

#include <stddef.h>
#include "kselftest.h"

#define SYSFS_PATH_MAX	512

/* One line without its newline; 0 or a negative errno */
__printf(3, 4) int sysfs_get(char *buf, size_t size, const char *fmt, ...);
__printf(2, 3) int sysfs_set(const char *value, const char *fmt, ...);
/* A decimal number, or a negative errno */
__printf(1, 2) long long sysfs_get_num(const char *fmt, ...);

#endif /* DMABUF_IO_SYSFS_H */
