// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "env.h"
#include "watch.h"

/* Memory is released from work items after the last user is gone */
#define GONE_MS		20000

unsigned long env_num(const char *name, unsigned long def)
{
	const char *s = getenv(name);
	unsigned long val = s ? strtoul(s, NULL, 0) : 0;

	return val ? val : def;
}

static int give_up(struct env *e, int err, const char *why)
{
	snprintf(e->why, sizeof(e->why), "%s: %s", why, strerror(-err));
	return err;
}

/* What the machine lacks is a reason to skip, unless it was said to have all */
static int lacks(struct env *e, const char *why)
{
	snprintf(e->why, sizeof(e->why), "%s", why);
	return env_required() ? -EOPNOTSUPP : ENV_SKIP;
}

static int open_vfio(struct env *e)
{
	const char *why = "";
	int err;

	if (e->have_vfio)
		return 0;
	err = vfio_open(&e->vfio, &why);
	if (err == -ENODEV && !getenv("DMABUF_IO_P2P"))
		return lacks(e, why);
	if (err)
		return give_up(e, err, why);
	e->have_vfio = true;
	return 0;
}

int env_mem(struct env *e, struct mem *m, enum mem_kind kind, size_t size)
{
	const char *why = "";
	int err;

	if (mem_is_peer(kind)) {
		err = open_vfio(e);
		if (err)
			return err;
	}
	err = mem_alloc(m, kind, size, &e->vfio, &why);
	if (err == -EOPNOTSUPP || err == -ENOENT)
		return lacks(e, why);
	return err ? give_up(e, err, why) : 0;
}

int env_mem_free(struct env *e, struct mem *m)
{
	uint64_t ino = m->ino;
	int err;

	mem_free(m);
	if (!ino)
		return 0;
	m->ino = 0;
	err = watch_wait_attached(ino, -ENOENT, GONE_MS);
	if (err)
		snprintf(e->why, sizeof(e->why), "dma-buf still there, attachments: %d",
			 watch_attached(ino));
	return err;
}

static int open_all(struct env *e, enum mem_kind kind, size_t size, unsigned int ring_flags,
		    bool with_disk)
{
	const char *why = "";
	int err;

	memset(e, 0, sizeof(*e));
	e->disk.fd = -1;
	e->disk.witness = -1;
	e->ring.fd = -1;
	e->mem.fd = -1;
	e->mem.memfd = -1;
	e->rnd = env_num("DMABUF_IO_SEED", 1);
	e->log = watch_log_open();
	if (e->log < 0)
		return give_up(e, e->log, "can't read the kernel log");

	err = with_disk ? disk_open(&e->disk, &why) : 0;
	if (err == -ENODEV)
		return lacks(e, why);
	if (err)
		return give_up(e, err, why);
	if (!ring_supports_dmabuf())
		return lacks(e, "this kernel has no dma-buf registered buffers");

	err = env_mem(e, &e->mem, kind, size);
	if (err)
		return err;
	err = ring_init(&e->ring, 256, ring_flags);
	if (!err)
		err = ring_sparse(&e->ring, ENV_SLOTS);
	return err ? give_up(e, err, "can't set up the ring") : 0;
}

int env_open(struct env *e, enum mem_kind kind, size_t size, unsigned int ring_flags)
{
	return open_all(e, kind, size, ring_flags, true);
}

int env_open_busy(struct env *e, enum mem_kind kind, size_t size, unsigned int ring_flags)
{
	return open_all(e, kind, size, ring_flags, false);
}

int env_reopen_disk(struct env *e)
{
	const char *why = "";
	int err, i;

	/* There is a name for it some time before it can be opened. */
	for (i = 0; i < 100; i++) {
		err = disk_open(&e->disk, &why);
		if (err != -ENXIO && err != -ENOENT)
			break;
		usleep(100000);
	}
	return err ? give_up(e, err, why) : 0;
}

int env_check_log(struct env *e)
{
	char line[200];

	if (e->log < 0 || !watch_log_bad(e->log, line, sizeof(line)))
		return 0;
	snprintf(e->why, sizeof(e->why), "kernel log: %s", line);
	return -EFAULT;
}

int env_close(struct env *e)
{
	int err, ret = 0;

	if (e->ring.rings)
		ring_exit(&e->ring);
	disk_close(&e->disk);
	ret = env_mem_free(e, &e->mem);
	if (e->have_vfio)
		vfio_close(&e->vfio);
	e->have_vfio = false;
	err = env_check_log(e);
	close(e->log);
	e->log = -1;
	return ret ? ret : err;
}
