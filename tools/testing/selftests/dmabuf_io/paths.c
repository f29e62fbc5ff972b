// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctrl.h"
#include "paths.h"
#include "sysfs.h"

#define POLL_MS		20

static bool look_at(struct path *p, const char *name)
{
	char link[64], real[PATH_MAX], state[32];
	unsigned int subsys, ctrl, ns;

	if (sscanf(name, "nvme%uc%un%u", &subsys, &ctrl, &ns) != 3)
		return false;
	snprintf(p->disk, sizeof(p->disk), "%.31s", name);
	snprintf(p->ctrl, sizeof(p->ctrl), "nvme%u", ctrl);
	if (sysfs_get(state, sizeof(state), "/sys/class/nvme/%s/state", p->ctrl) ||
	    strcmp(state, "live"))
		return false;
	snprintf(link, sizeof(link), "/sys/class/nvme/%s/device", p->ctrl);
	if (!realpath(link, real))
		return false;
	snprintf(p->pci, sizeof(p->pci), "%.31s", strrchr(real, '/') + 1);
	return true;
}

static int by_address(const void *a, const void *b)
{
	return strcmp(((const struct path *)a)->pci, ((const struct path *)b)->pci);
}

static void look(struct paths *ps)
{
	struct dirent *de;
	char dir[64];
	DIR *d;

	ps->nr = 0;
	snprintf(dir, sizeof(dir), "/sys/block/%s/multipath", ps->head);
	d = opendir(dir);
	if (!d)
		return;
	while (ps->nr < PATHS_MAX && (de = readdir(d)))
		ps->nr += look_at(&ps->path[ps->nr], de->d_name);
	closedir(d);
	qsort(ps->path, ps->nr, sizeof(ps->path[0]), by_address);
}

int paths_of(struct paths *ps, const struct disk *d)
{
	int i;

	memset(ps, 0, sizeof(*ps));
	snprintf(ps->head, sizeof(ps->head), "%s", d->name);
	look(ps);
	ps->nr_pci = ps->nr;
	for (i = 0; i < ps->nr; i++)
		memcpy(ps->pci[i], ps->path[i].pci, sizeof(ps->pci[i]));
	return ps->nr ? 0 : -ENODEV;
}

static bool wait_ms(struct paths *ps, int want, unsigned int ms)
{
	unsigned int waited;

	for (waited = 0; ; waited += POLL_MS) {
		look(ps);
		if (ps->nr == want)
			return true;
		if (waited >= ms)
			return false;
		usleep(POLL_MS * 1000);
	}
}

bool paths_wait(struct paths *ps, int want)
{
	return wait_ms(ps, want, PATHS_WAIT_MS);
}

bool paths_come_back(struct paths *ps)
{
	char dev[64];
	int tries, i;

	snprintf(dev, sizeof(dev), "/dev/%s", ps->head);
	for (tries = 0; tries < 10; tries++) {
		if (sysfs_set("1", "/sys/bus/pci/rescan"))
			return false;
		if (wait_ms(ps, ps->nr_pci, PATHS_WAIT_MS / 2) && !access(dev, F_OK))
			return true;
		/* The disk has the number of the controller that came first */
		for (i = 0; i < ps->nr_pci; i++)
			sysfs_set("1", "/sys/bus/pci/devices/%s/remove", ps->pci[i]);
		usleep(500000);
	}
	return false;
}

int paths_set_policy(const struct paths *ps, const char *policy)
{
	return sysfs_set(policy, "/sys/block/%s/device/iopolicy", ps->head);
}

int path_reset(const struct path *p)
{
	return sysfs_set("1", "/sys/class/nvme/%s/reset_controller", p->ctrl);
}

int path_remove(const struct path *p)
{
	return sysfs_set("1", "/sys/bus/pci/devices/%s/remove", p->pci);
}

int path_kill(const struct path *p)
{
	return ctrl_kill(p->pci);
}

long long path_sectors(const struct path *p, bool write)
{
	unsigned long long rd, wr, inflight;
	char line[256];

	/* See disk_requests() */
	do {
		if (sysfs_get(line, sizeof(line), "/sys/block/%s/stat", p->disk) ||
		    sscanf(line, "%*u %*u %llu %*u %*u %*u %llu %*u %llu", &rd, &wr,
			   &inflight) != 3)
			return -EIO;
	} while (inflight);
	return write ? wr : rd;
}

long long path_failovers(const struct path *p)
{
	return sysfs_get_num("/sys/block/%s/diag/multipath_failover_count", p->disk);
}
