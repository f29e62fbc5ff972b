// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "disk.h"
#include "sysfs.h"

/* Tests use positions up to here; a smaller disk is of no use */
#define DISK_MIN_SIZE	0x4000000ULL

/* The device that /sys/block/<name> hangs below, if it is a PCI function */
static void find_pci(struct disk *d)
{
	char link[SYSFS_PATH_MAX], real[PATH_MAX], *p, *last = NULL;
	unsigned int dom, bus, dev, fn;

	snprintf(link, sizeof(link), "/sys/block/%s", d->name);
	if (!realpath(link, real))
		return;
	for (p = strtok(real, "/"); p; p = strtok(NULL, "/"))
		if (sscanf(p, "%x:%x:%x.%x", &dom, &bus, &dev, &fn) == 4)
			last = p;
	if (last)
		snprintf(d->pci, sizeof(d->pci), "%s", last);
}

static int identify(struct disk *d, const char **why)
{
	char link[64], target[PATH_MAX];
	struct stat st;
	long long kb;
	ssize_t n;
	int ssz;

	if (fstat(d->fd, &st) || !S_ISBLK(st.st_mode)) {
		*why = "DMABUF_IO_DISK is not a block device";
		return -ENOTBLK;
	}
	if (ioctl(d->fd, BLKGETSIZE64, &d->size) || ioctl(d->fd, BLKSSZGET, &ssz)) {
		*why = "can't ask the disk for its size";
		return -errno;
	}
	d->lbs = ssz;
	if (d->size < DISK_MIN_SIZE) {
		*why = "the disk is smaller than 64 MiB";
		return -ENOSPC;
	}

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0) {
		*why = "the disk is not in /sys/dev/block";
		return -errno;
	}
	target[n] = 0;
	snprintf(d->name, sizeof(d->name), "%s", strrchr(target, '/') + 1);
	kb = sysfs_get_num("/sys/block/%s/queue/max_dmabuf_sectors_kb", d->name);
	if (kb <= 0)
		kb = sysfs_get_num("/sys/block/%s/queue/max_sectors_kb", d->name);
	d->max_io = kb * 1024;
	find_pci(d);
	return 0;
}

int disk_open_path(struct disk *d, const char *path, const char **why)
{
	int fd, err;

	memset(d, 0, sizeof(*d));
	d->fd = -1;
	d->witness = -1;
	snprintf(d->path, sizeof(d->path), "%s", path);

	/* Exclusive for a moment: refuses what is mounted or part of something */
	fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		*why = err == -EBUSY ? "the disk is in use" : "can't open the disk";
		return err;
	}
	close(fd);

	d->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	d->witness = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (d->fd < 0 || d->witness < 0) {
		err = -errno;
		*why = "can't open the disk with O_DIRECT";
		goto err_close;
	}
	err = identify(d, why);
	if (err)
		goto err_close;
	return 0;

err_close:
	disk_close(d);
	return err;
}

int disk_open_var(struct disk *d, const char *var, const char **why)
{
	const char *path = getenv(var);

	if (!path || !*path) {
		memset(d, 0, sizeof(*d));
		d->fd = -1;
		d->witness = -1;
		*why = "DMABUF_IO_DISK names no scratch disk";
		return -ENODEV;
	}
	return disk_open_path(d, path, why);
}

int disk_open(struct disk *d, const char **why)
{
	return disk_open_var(d, "DMABUF_IO_DISK", why);
}

void disk_close(struct disk *d)
{
	if (d->fd >= 0)
		close(d->fd);
	if (d->witness >= 0)
		close(d->witness);
	d->fd = -1;
	d->witness = -1;
}

void *disk_buffer(size_t size)
{
	const size_t huge = 2UL << 20;
	void *buf;

	size = (size + huge - 1) / huge * huge;
	if (posix_memalign(&buf, huge, size))
		return NULL;
	madvise(buf, size, MADV_HUGEPAGE);
	return buf;
}

int disk_get(const struct disk *d, void *buf, size_t len, uint64_t pos)
{
	ssize_t n;

	for (; len; buf += n, len -= n, pos += n) {
		n = pread(d->witness, buf, len, pos);
		if (n <= 0)
			return n ? -errno : -EIO;
	}
	return 0;
}

int disk_put(const struct disk *d, const void *buf, size_t len, uint64_t pos)
{
	ssize_t n;

	for (; len; buf += n, len -= n, pos += n) {
		n = pwrite(d->witness, buf, len, pos);
		if (n <= 0)
			return n ? -errno : -EIO;
	}
	return 0;
}

long long disk_requests(const struct disk *d, bool write)
{
	unsigned long long rd, wr, inflight;
	char line[256];

	/* A request is counted, and no longer in flight, shortly after its completion */
	do {
		/* Columns: reads completed, merged, sectors, ms, writes completed, ... */
		if (sysfs_get(line, sizeof(line), "/sys/block/%s/stat", d->name) ||
		    sscanf(line, "%llu %*u %*u %*u %llu %*u %*u %*u %llu", &rd, &wr,
			   &inflight) != 3)
			return -EIO;
	} while (inflight);
	return write ? wr : rd;
}

long disk_inflight(const struct disk *d)
{
	char line[64];
	long rd, wr;

	if (sysfs_get(line, sizeof(line), "/sys/block/%s/inflight", d->name) ||
	    sscanf(line, "%ld %ld", &rd, &wr) != 2)
		return -EIO;
	return rd + wr;
}
