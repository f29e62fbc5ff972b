// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "sysfs.h"
#include "vfio.h"

static bool find_device(char *bdf, size_t size)
{
	const char *want = getenv("DMABUF_IO_P2P");
	unsigned int dom, bus, dev, fn;
	bool found = false;
	struct dirent *de;
	DIR *dir;

	if (want && *want && strcmp(want, "auto")) {
		snprintf(bdf, size, "%s", want);
		return true;
	}
	dir = opendir("/sys/bus/pci/drivers/vfio-pci");
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (sscanf(de->d_name, "%x:%x:%x.%x", &dom, &bus, &dev, &fn) != 4)
			continue;
		snprintf(bdf, size, "%.31s", de->d_name);
		found = true;
	}
	closedir(dir);
	return found;
}

static int open_group(struct vfio_dev *v, const char **why)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char link[SYSFS_PATH_MAX], target[PATH_MAX], path[64];
	const char *group;
	ssize_t n;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", v->bdf);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0) {
		*why = "the peer device has no IOMMU group";
		return -errno;
	}
	target[n] = 0;
	group = strrchr(target, '/') + 1;

	snprintf(path, sizeof(path), "/dev/vfio/%.16s", group);
	v->group = open(path, O_RDWR | O_CLOEXEC);
	if (v->group < 0 && errno == ENOENT) {
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%.16s", group);
		v->group = open(path, O_RDWR | O_CLOEXEC);
		v->noiommu = true;
	}
	if (v->group < 0) {
		*why = "can't open the peer device's vfio group";
		return -errno;
	}
	if (ioctl(v->group, VFIO_GROUP_GET_STATUS, &status)) {
		*why = "VFIO_GROUP_GET_STATUS failed";
		return -errno;
	}
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		*why = "not every device of the vfio group is bound to vfio";
		return -EPERM;
	}
	return 0;
}

static int open_device(struct vfio_dev *v, const char **why)
{
	v->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (v->container < 0) {
		*why = "can't open /dev/vfio/vfio";
		return -errno;
	}
	if (ioctl(v->group, VFIO_GROUP_SET_CONTAINER, &v->container) ||
	    ioctl(v->container, VFIO_SET_IOMMU,
		  v->noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU)) {
		*why = "can't set up the vfio container";
		return -errno;
	}
	v->device = ioctl(v->group, VFIO_GROUP_GET_DEVICE_FD, v->bdf);
	if (v->device < 0) {
		*why = "VFIO_GROUP_GET_DEVICE_FD failed";
		return -errno;
	}
	return 0;
}

static int find_bar(struct vfio_dev *v, const char **why)
{
	struct vfio_region_info info;
	unsigned int i;

	for (i = VFIO_PCI_BAR0_REGION_INDEX; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
		info = (struct vfio_region_info){ .argsz = sizeof(info), .index = i };
		if (ioctl(v->device, VFIO_DEVICE_GET_REGION_INFO, &info) ||
		    !(info.flags & VFIO_REGION_INFO_FLAG_MMAP) || info.size <= v->bar_size)
			continue;
		v->bar = i;
		v->bar_size = info.size;
		v->bar_offset = info.offset;
	}
	if (!v->bar_size) {
		*why = "the peer device has no BAR that can be mapped";
		return -ENXIO;
	}

	info = (struct vfio_region_info){
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	if (ioctl(v->device, VFIO_DEVICE_GET_REGION_INFO, &info)) {
		*why = "the peer device has no config space";
		return -errno;
	}
	v->config_offset = info.offset;
	return 0;
}

int vfio_open(struct vfio_dev *v, const char **why)
{
	int err;

	memset(v, 0, sizeof(*v));
	v->container = -1;
	v->group = -1;
	v->device = -1;
	if (!find_device(v->bdf, sizeof(v->bdf))) {
		*why = "no device is bound to vfio-pci";
		return -ENODEV;
	}
	err = open_group(v, why);
	if (!err)
		err = open_device(v, why);
	if (!err)
		err = find_bar(v, why);
	if (!err) {
		*why = "can't switch the peer device's memory on";
		err = vfio_set_memory(v, true);
	}
	if (err)
		vfio_close(v);
	return err;
}

void vfio_close(struct vfio_dev *v)
{
	if (v->device >= 0)
		close(v->device);
	if (v->group >= 0)
		close(v->group);
	if (v->container >= 0)
		close(v->container);
	v->device = -1;
	v->group = -1;
	v->container = -1;
}

int vfio_export(struct vfio_dev *v, const struct vfio_region_dma_range *ranges,
		unsigned int nr)
{
	size_t rlen = nr * sizeof(*ranges), len;
	struct vfio_device_feature_dma_buf *db;
	struct vfio_device_feature *feat;
	int ret;

	len = sizeof(*feat) + sizeof(*db) + rlen;
	feat = calloc(1, len);
	if (!feat)
		return -ENOMEM;
	feat->argsz = len;
	feat->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	db = (void *)feat->data;
	db->region_index = v->bar;
	db->open_flags = O_RDWR | O_CLOEXEC;
	db->nr_ranges = nr;
	memcpy(db->dma_ranges, ranges, rlen);

	ret = ioctl(v->device, VFIO_DEVICE_FEATURE, feat);
	if (ret < 0)
		ret = -errno;
	free(feat);
	return ret;
}

void *vfio_map(struct vfio_dev *v, void *where, size_t offset, size_t len)
{
	return mmap(where, len, PROT_READ | PROT_WRITE, MAP_SHARED | (where ? MAP_FIXED : 0),
		    v->device, v->bar_offset + offset);
}

int vfio_set_memory(struct vfio_dev *v, bool on)
{
	off_t pos = v->config_offset + PCI_COMMAND;
	__u16 cmd;

	if (pread(v->device, &cmd, sizeof(cmd), pos) != sizeof(cmd))
		return -EIO;
	if (on)
		cmd |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	else
		cmd &= ~PCI_COMMAND_MEMORY;
	return pwrite(v->device, &cmd, sizeof(cmd), pos) == sizeof(cmd) ? 0 : -EIO;
}
