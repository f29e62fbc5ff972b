// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
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

int ctrl_format(const char *name, unsigned int lbaf)
{
	struct nvme_admin_cmd cmd = {
		.opcode = 0x80, .nsid = 1, .cdw10 = lbaf, .timeout_ms = 60000,
	};
	char path[80];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret > 0 ? -EIO : ret;
}

int ctrl_kill(const char *pci)
{
	unsigned short zero = 0;
	char config[128];
	int fd, ret;

	snprintf(config, sizeof(config), "/sys/bus/pci/devices/%s/config", pci);
	fd = open(config, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = pwrite(fd, &zero, 2, 4) == 2 ? 0 : -EIO;	/* PCI_COMMAND */
	close(fd);
	return ret;
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
