// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mapping.h"

#define REPEAT	8
#define CGROUP	"/sys/fs/cgroup"

#ifndef IORING_RSRC_UPDATE_EXTENDED
#define IORING_RSRC_UPDATE_EXTENDED	(1U << 1)
#endif

/* As in the kernel's header, which may be newer than that of liburing */
struct regbuf_desc {
	uint32_t type, flags;
	uint64_t size, uaddr;
	int32_t dmabuf_fd, target_fd;
	uint64_t resv[6];
};

enum { TYPE_DMABUF = 2 };

void mapping_register(struct io_uring *ring, unsigned int slot, const struct memory *m, int disk)
{
	struct regbuf_desc desc = {
		.type = TYPE_DMABUF, .dmabuf_fd = m->dmabuf, .target_fd = disk,
	};
	struct io_uring_rsrc_update2 update = { .offset = slot, .data = (uintptr_t)&desc, .nr = 1 };
	struct iovec iov = { .iov_base = m->va, .iov_len = m->size };
	int ret;

	/* The word after the offset, called resv or flags */
	((uint32_t *)&update)[1] = IORING_RSRC_UPDATE_EXTENDED;
	if (m->dmabuf >= 0)
		ret = io_uring_register(ring->ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));
	else
		ret = io_uring_register_buffers_update_tag(ring, slot, &iov, NULL, 1);
	if (ret != 1)
		errx(1, "%s: registering: %s", m->kind, strerror(-ret));
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err(1, "%s", path);
	close(fd);
}

/* The number that follows @name in @path, which is in units of @unit bytes */
static long read_bytes(const char *path, const char *name, unsigned int unit)
{
	FILE *f = fopen(path, "r");
	char line[256], found[64];
	long val = -1, n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", found, &n) == 2 && !strcmp(found, name))
			val = n * unit;
	if (val < 0)
		err(1, "%s: no %s", path, name);
	fclose(f);
	return val;
}

/* Charged to the control group: what the importer and its user allocate */
static long own_bytes(void)
{
	/* The statistics are brought up to date every two seconds. */
	sleep(5);
	return read_bytes(CGROUP "/bench/memory.stat", "kernel", 1);
}

/* With what is on the lists of the processors */
static long free_bytes(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	char line[256];
	long sum = 0, n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " pages free %ld", &n) == 1 || sscanf(line, " count: %ld", &n) == 1)
			sum += n;
	if (!sum)
		err(1, "/proc/zoneinfo");
	fclose(f);
	return sum * 4096;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void mapping_cost(const struct memory *m, int disk)
{
	uint64_t result[REPEAT], start;
	struct io_uring ring;
	long own, total;
	unsigned int i;
	int ret;

	ret = io_uring_queue_init(1, &ring, 0);
	if (!ret)
		ret = io_uring_register_buffers_sparse(&ring, REPEAT);
	if (ret)
		errx(1, "io_uring: %s", strerror(-ret));

	mkdir(CGROUP "/bench", 0755);
	write_file(CGROUP "/cgroup.subtree_control", "+memory");
	write_file(CGROUP "/bench/cgroup.procs", "0");
	own = own_bytes();
	write_file("/proc/sys/vm/stat_refresh", "1");
	total = free_bytes();
	for (i = 0; i < REPEAT; i++) {
		start = instructions();
		mapping_register(&ring, i, m, disk);
		result[i] = instructions() - start;
	}
	write_file("/proc/sys/vm/stat_refresh", "1");
	total -= free_bytes();
	own = own_bytes() - own;
	/* Where everybody else is: the cost of I/O depends on it. */
	write_file(CGROUP "/cgroup.procs", "0");

	qsort(result, REPEAT, sizeof(result[0]), compare);
	printf("%s,map,%zu,%llu,%ld,%ld\n", m->kind, m->size,
	       (unsigned long long)result[REPEAT / 2], own / REPEAT, total / REPEAT);
	io_uring_queue_exit(&ring);
	/* Some of it is undone in the background. */
	sleep(1);
}
