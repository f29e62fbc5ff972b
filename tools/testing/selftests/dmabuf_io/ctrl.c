// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "ctrl.h"
#include "sysfs.h"

/* The first entry below the controller's PCI function that starts with @prefix */
static int find_below(const char *pci, const char *dir, const char *prefix, char *name,
		      size_t size)
{
	char path[PATH_MAX];
	struct dirent *de;
	int err = -ENOENT;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", pci, dir);
	d = opendir(path);
	if (!d)
		return -errno;
	while (err && (de = readdir(d))) {
		if (strncmp(de->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(name, size, "%.63s", de->d_name);
		err = 0;
	}
	closedir(d);
	return err;
}

int ctrl_of(struct ctrl *c, const struct disk *d)
{
	memset(c, 0, sizeof(*c));
	if (!*d->pci || strncmp(d->name, "nvme", 4) ||
	    find_below(d->pci, "nvme", "nvme", c->name, sizeof(c->name)))
		return -ENODEV;
	snprintf(c->pci, sizeof(c->pci), "%s", d->pci);
	snprintf(c->disk, sizeof(c->disk), "%s", d->name);
	return 0;
}

/* Wait until the controller works, and tell the name of its first disk */
static bool wait_live(struct ctrl *c, char *disk, size_t size)
{
	char state[32] = "", dir[128];
	int i;

	for (i = 0; i < CTRL_WAIT_MS / 20; i++) {
		usleep(20000);
		if (find_below(c->pci, "nvme", "nvme", c->name, sizeof(c->name)) ||
		    sysfs_get(state, sizeof(state), "/sys/class/nvme/%s/state", c->name) ||
		    strcmp(state, "live"))
			continue;
		snprintf(dir, sizeof(dir), "nvme/%s", c->name);
		if (!find_below(c->pci, dir, "nvme", disk, size))
			return true;
	}
	return false;
}

bool ctrl_wait_live(struct ctrl *c)
{
	char disk[64];

	return wait_live(c, disk, sizeof(disk)) && !strcmp(disk, c->disk);
}

int ctrl_reset(struct ctrl *c)
{
	return sysfs_set("1", "/sys/class/nvme/%s/reset_controller", c->name);
}

int ctrl_remove(struct ctrl *c)
{
	return sysfs_set("1", "/sys/bus/pci/devices/%s/remove", c->pci);
}

bool ctrl_is_there(const struct ctrl *c)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", c->pci);
	return !access(path, F_OK);
}

bool ctrl_come_back(struct ctrl *c)
{
	char path[80], disk[64];
	int tries;

	snprintf(path, sizeof(path), "/dev/%s", c->disk);
	for (tries = 0; tries < 20; tries++) {
		if (sysfs_set("1", "/sys/bus/pci/rescan") || !wait_live(c, disk, sizeof(disk)))
			return false;
		if (!strcmp(disk, c->disk) && !access(path, F_OK))
			return true;
		/* Someone still held the old one, so the new one got another name */
		ctrl_remove(c);
		usleep(500000);
	}
	return false;
}
