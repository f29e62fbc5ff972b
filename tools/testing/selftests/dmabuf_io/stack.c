// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "stack.h"

/* A number that no partition table on the scratch disk uses */
#define PART_NUMBER	13

static int part_ioctl(int fd, int op, unsigned int number, uint64_t start, uint64_t len)
{
	struct blkpg_partition part = { .start = start, .length = len, .pno = number };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = sizeof(part), .data = &part };

	return ioctl(fd, BLKPG, &arg) ? -errno : 0;
}

int stack_partition(struct stacked *s, const struct disk *d, uint64_t start, uint64_t len)
{
	const char *sep = isdigit(d->path[strlen(d->path) - 1]) ? "p" : "";
	int err;

	memset(s, 0, sizeof(*s));
	err = part_ioctl(d->fd, BLKPG_ADD_PARTITION, PART_NUMBER, start, len);
	if (err)
		return err;
	s->type = STACK_PART;
	s->ctl = d->fd;
	s->number = PART_NUMBER;
	snprintf(s->path, sizeof(s->path), "%s%s%d", d->path, sep, PART_NUMBER);
	return 0;
}

int stack_loop(struct stacked *s, size_t size)
{
	struct loop_config cfg = { .block_size = 512 };
	int ctl, fd, err, nr;

	memset(s, 0, sizeof(*s));
	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (ctl < 0)
		return -errno;
	nr = ioctl(ctl, LOOP_CTL_GET_FREE);
	close(ctl);
	if (nr < 0)
		return -errno;

	snprintf(s->path, sizeof(s->path), "/dev/loop%d", nr);
	s->ctl = open(s->path, O_RDWR | O_CLOEXEC);
	if (s->ctl < 0)
		return -errno;
	fd = memfd_create("dmabuf_io_loop", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, size)) {
		err = -errno;
		goto err_close;
	}
	cfg.fd = fd;
	if (ioctl(s->ctl, LOOP_CONFIGURE, &cfg)) {
		err = -errno;
		goto err_close;
	}
	close(fd);
	s->type = STACK_LOOP;
	return 0;

err_close:
	if (fd >= 0)
		close(fd);
	close(s->ctl);
	return err;
}

struct dm_request {
	struct dm_ioctl io;
	struct dm_target_spec spec;
	char params[512];
};

static void dm_init(struct dm_request *rq, const char *name)
{
	memset(rq, 0, sizeof(*rq));
	rq->io.version[0] = DM_VERSION_MAJOR;
	rq->io.data_size = sizeof(*rq);
	rq->io.data_start = offsetof(struct dm_request, spec);
	snprintf(rq->io.name, sizeof(rq->io.name), "%s", name);
}

int stack_dm(struct stacked *s, const char *name, const char *target, const char *params,
	     uint64_t size)
{
	struct dm_request rq;
	int err;

	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->ctl = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (s->ctl < 0)
		return -errno;

	dm_init(&rq, name);
	if (ioctl(s->ctl, DM_DEV_CREATE, &rq)) {
		err = -errno;
		goto err_close;
	}
	snprintf(s->path, sizeof(s->path), "/dev/dm-%u", minor(rq.io.dev));

	dm_init(&rq, name);
	rq.io.target_count = 1;
	rq.spec.length = size / 512;
	snprintf(rq.spec.target_type, sizeof(rq.spec.target_type), "%s", target);
	snprintf(rq.params, sizeof(rq.params), "%s", params);
	if (ioctl(s->ctl, DM_TABLE_LOAD, &rq)) {
		/* An unknown target or cipher is -EINVAL or -ENOENT */
		err = errno == EINVAL ? -EOPNOTSUPP : -errno;
		goto err_remove;
	}
	dm_init(&rq, name);
	if (ioctl(s->ctl, DM_DEV_SUSPEND, &rq)) {	/* without the flag: resume */
		err = -errno;
		goto err_remove;
	}
	s->type = STACK_DM;
	return 0;

err_remove:
	dm_init(&rq, name);
	ioctl(s->ctl, DM_DEV_REMOVE, &rq);
err_close:
	close(s->ctl);
	return err;
}

static int try_remove(struct stacked *s)
{
	struct dm_request rq;

	switch (s->type) {
	case STACK_PART:
		return part_ioctl(s->ctl, BLKPG_DEL_PARTITION, s->number, 0, 0);
	case STACK_LOOP:
		return ioctl(s->ctl, LOOP_CLR_FD, 0) ? -errno : 0;
	case STACK_DM:
		dm_init(&rq, s->name);
		return ioctl(s->ctl, DM_DEV_REMOVE, &rq) ? -errno : 0;
	default:
		return 0;
	}
}

int stack_remove(struct stacked *s)
{
	int err, tries;

	for (tries = 0; tries < 250; tries++) {
		err = try_remove(s);
		if (err != -EBUSY)
			break;
		usleep(20000);
	}
	if (s->type == STACK_LOOP || s->type == STACK_DM)
		close(s->ctl);
	s->type = STACK_NONE;
	return err;
}
