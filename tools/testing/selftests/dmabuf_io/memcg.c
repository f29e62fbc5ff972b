// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "memcg.h"
#include "sysfs.h"

/* Processes leave, and what is freed in the background is uncharged, later */
#define TRIES		1000
#define TRY_US		10000

static int find_root(char *path, size_t size)
{
	char line[512], dir[200], type[32];
	int err = -ENOENT;
	FILE *f;

	f = fopen("/proc/self/mounts", "re");
	if (!f)
		return -errno;
	while (err && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %199s %31s", dir, type) != 2 || strcmp(type, "cgroup2"))
			continue;
		snprintf(path, size, "%s", dir);
		err = 0;
	}
	fclose(f);
	return err;
}

int memcg_open(struct memcg *cg)
{
	char root[200];
	int err;

	cg->path[0] = 0;
	err = find_root(root, sizeof(root));
	if (err)
		return err;
	if (sysfs_set("+memory", "%s/cgroup.subtree_control", root))
		return -ENOENT;
	snprintf(cg->path, sizeof(cg->path), "%s/dmabuf_io-%d", root, getpid());
	if (mkdir(cg->path, 0755)) {
		err = -errno;
		cg->path[0] = 0;
		return err;
	}
	return 0;
}

int memcg_close(struct memcg *cg)
{
	int i;

	if (!cg->path[0])
		return 0;
	for (i = 0; rmdir(cg->path); i++) {
		if (errno != EBUSY || i == TRIES)
			return -errno;
		usleep(TRY_US);
	}
	cg->path[0] = 0;
	return 0;
}

int memcg_enter(const struct memcg *cg)
{
	int cpu = sched_getcpu();
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu < 0 ? 0 : cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return -errno;
	return sysfs_set("0", "%s/cgroup.procs", cg->path);
}

long long memcg_current(const struct memcg *cg)
{
	return sysfs_get_num("%s/memory.current", cg->path);
}

int memcg_wait(const struct memcg *cg, long long max)
{
	int i;

	for (i = 0; memcg_current(cg) > max; i++) {
		if (i == TRIES)
			return -ETIME;
		usleep(TRY_US);
	}
	return 0;
}
