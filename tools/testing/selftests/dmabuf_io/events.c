// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to disks and machines while there is I/O and the exporter moves
 * the buffer every few ms: nothing is lost, every byte is right, and the exporter
 * never waits for longer than the disk may take for a command.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "burst.h"
#include "ctrl.h"
#include "fixture.h"
#include "mock.h"
#include "sysfs.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		2
#define IN_FLIGHT	128U
#define MOVE_US		3000U
#define IO_TIMEOUT_MS	"3000"
/* Two command timeouts, one before and one of the reset, and the reset itself */
#define WAIT_US		35000000ULL

struct events {
	struct env e;
	struct xfer x;
	struct burst b;
	struct ctrl ctrl;
	char scheduler[32];
};

FIXTURE(events) {
	struct events t;
};

FIXTURE_VARIANT(events) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(events, scattered) {
	.kind = MEM_MOCK,
};

FIXTURE_VARIANT_ADD(events, peer) {
	.kind = MEM_MOCK_P2P,
};

FIXTURE_SETUP(events)
{
	if (!fixture_open(_metadata, &self->t.e, variant->kind, MIB(1), 0))
		return;
	if (ctrl_of(&self->t.ctrl, &self->t.e.disk)) {
		env_close(&self->t.e);
		SKIP(return, "the disk is not an NVMe disk on PCI");
	}
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.e.disk.fd));
	ASSERT_EQ(0, mock_auto(self->t.e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
}

FIXTURE_TEARDOWN(events)
{
	struct dma_buf_mock_stats stats;

	EXPECT_EQ(0, ring_clear(&self->t.e.ring, SLOT));
	EXPECT_EQ(0, mock_auto(self->t.e.mem.fd, 0, 0));
	EXPECT_EQ(0, watch_wait_attached(self->t.e.mem.ino, 0, CTRL_WAIT_MS));
	EXPECT_EQ(0, mock_stats(self->t.e.mem.fd, &stats));
	EXPECT_EQ(0ULL, stats.violations);
	EXPECT_EQ(0ULL, stats.mapped);
	EXPECT_GE(WAIT_US, stats.longest_wait_us);
	ksft_print_msg("%llu moves, %llu mappings, longest wait %llu us\n", stats.moves,
		       stats.maps, stats.longest_wait_us);
	fixture_close(_metadata, &self->t.e);
	EXPECT_TRUE(ctrl_is_there(&self->t.ctrl) || ctrl_come_back(&self->t.ctrl));
}

static void one_burst(struct __test_metadata *_metadata, struct events *t, bool write)
{
	ASSERT_EQ(0, burst_prepare(&t->b, &t->e, &t->e.mem, write, IN_FLIGHT))
		TH_LOG("%s", t->b.why);
	ASSERT_EQ(0, burst_submit(&t->b, t->e.disk.fd, SLOT, IN_FLIGHT, 0))
		TH_LOG("%s", t->b.why);
	ASSERT_EQ(0, burst_reap(&t->b, NULL))
		TH_LOG("%s", t->b.why);
	ASSERT_EQ(0, t->b.first_error);
	ASSERT_EQ(0, burst_check(&t->b))
		TH_LOG("%s", t->b.why);
}

/* Bursts in both directions for as long as a child makes things happen */
static void under_load(struct __test_metadata *_metadata, struct events *t,
		       int (*event)(struct events *t, int i), int times)
{
	int status, i, err;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0; i < times; i++) {
			err = event(t, i);
			if (err)
				_exit(-err & 0xff);
			usleep(20000);
		}
		_exit(0);
	}
	for (i = 0; !waitpid(pid, &status, WNOHANG) || i < 2; i++)
		one_burst(_metadata, t, i & 1);
	ASSERT_TRUE(WIFEXITED(status));
	ASSERT_EQ(0, WEXITSTATUS(status))
		TH_LOG("the event failed: %s", strerror(WEXITSTATUS(status)));
}

static int rescan(struct events *t, int i)
{
	(void)i;
	return sysfs_set("1", "/sys/class/nvme/%s/rescan_controller", t->ctrl.name);
}

TEST_F_TIMEOUT(events, rescan, 300)
{
	under_load(_metadata, &self->t, rescan, 20);
}

static int reset(struct events *t, int i)
{
	(void)i;
	return ctrl_reset(&t->ctrl);
}

TEST_F_TIMEOUT(events, reset, 300)
{
	under_load(_metadata, &self->t, reset, 5);
	EXPECT_TRUE(ctrl_wait_live(&self->t.ctrl));
}

static int cpu_hotplug(struct events *t, int i)
{
	(void)t;
	return sysfs_set(i & 1 ? "1" : "0", "/sys/devices/system/cpu/cpu1/online");
}

TEST_F_TIMEOUT(events, cpu_hotplug, 300)
{
	if (sysfs_get_num("/sys/devices/system/cpu/cpu1/online") != 1)
		SKIP(return, "no second processor that can be taken away");
	under_load(_metadata, &self->t, cpu_hotplug, 10);
	EXPECT_EQ(0, sysfs_set("1", "/sys/devices/system/cpu/cpu1/online"));
}

/* Each of these freezes the queue and waits until it is empty */
static int freeze(struct events *t, int i)
{
	int err;

	err = sysfs_set(i & 1 ? "none" : "mq-deadline", "/sys/block/%s/queue/scheduler",
			t->e.disk.name);
	if (!err)
		err = sysfs_set(i & 1 ? "255" : "32", "/sys/block/%s/queue/nr_requests",
				t->e.disk.name);
	return err;
}

TEST_F_TIMEOUT(events, queue_freeze, 300)
{
	char line[128] = "";

	sysfs_get(line, sizeof(line), "/sys/block/%s/queue/scheduler", self->t.e.disk.name);
	if (!strstr(line, "mq-deadline"))
		SKIP(return, "no mq-deadline");
	under_load(_metadata, &self->t, freeze, 20);
	ASSERT_EQ(0, sysfs_set("none", "/sys/block/%s/queue/scheduler", self->t.e.disk.name));
}

static int format(struct events *t, unsigned int lbaf)
{
	struct nvme_admin_cmd cmd = {
		.opcode = 0x80, .nsid = 1, .cdw10 = lbaf, .timeout_ms = 60000,
	};
	char path[80];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/%s", t->ctrl.name);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret > 0 ? -EIO : ret;
}

/* The data is gone then, so only that everything completes can be told */
TEST_F_TIMEOUT(events, format, 300)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, burst_prepare(&self->t.b, &self->t.e, &self->t.e.mem, i & 1,
					   IN_FLIGHT));
		ASSERT_EQ(0, burst_start(&self->t.b, self->t.e.disk.fd, SLOT, 0));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(-format(&self->t, 0) & 0xff);
		ASSERT_EQ(0, burst_reap(&self->t.b, NULL))
			TH_LOG("%s", self->t.b.why);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, WEXITSTATUS(status))
			TH_LOG("format: %s", strerror(WEXITSTATUS(status)));
		EXPECT_FALSE(self->t.b.saw_eagain);
		one_burst(_metadata, &self->t, i & 1);
	}
}

/* With metadata per block the disk can't do it, and it can again without */
TEST_F_TIMEOUT(events, format_with_metadata, 300)
{
	struct env *e = &self->t.e;
	int i;

	one_burst(_metadata, &self->t, true);
	for (i = 0; i < 2; i++) {
		/* QEMU's second format: 512 + 8 */
		ASSERT_EQ(0, format(&self->t, 1));
		ASSERT_EQ(0, rescan(&self->t, 0));
		if (sysfs_get_num("/sys/block/%s/queue/max_dmabuf_sectors_kb", e->disk.name)) {
			format(&self->t, 0);
			SKIP(return, "the second format has no metadata");
		}
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					       65536, XFER_POS));
		EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(&e->ring, SLOT + 1, e->mem.fd, e->disk.fd));
		ASSERT_EQ(0, format(&self->t, 0));
		ASSERT_EQ(0, rescan(&self->t, 0));
		one_burst(_metadata, &self->t, i & 1);
	}
}

/*
 * The controller stops to answer, as one that has been pulled out: no access to
 * its registers and none from it to memory.
 */
TEST_F_TIMEOUT(events, dies, 300)
{
	struct env *e = &self->t.e;
	unsigned short zero = 0;
	char path[128];
	int fd, ret;

	ASSERT_EQ(0, sysfs_set(IO_TIMEOUT_MS, "/sys/block/%s/queue/io_timeout", e->disk.name));
	ASSERT_EQ(0, burst_prepare(&self->t.b, e, &e->mem, false, IN_FLIGHT));
	ASSERT_EQ(0, burst_start(&self->t.b, e->disk.fd, SLOT, 0));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", self->t.ctrl.pci);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(2, pwrite(fd, &zero, 2, 4));	/* PCI_COMMAND */
	close(fd);
	ASSERT_EQ(0, burst_reap(&self->t.b, NULL))
		TH_LOG("%s", self->t.b.why);
	EXPECT_FALSE(self->t.b.saw_eagain);
	/* It may have recovered by a reset. */
	ret = ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0, 65536, XFER_POS);
	EXPECT_TRUE(ret == 65536 || (ret <= 0 && ret != -EAGAIN))
		TH_LOG("%d", ret);
	ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, CTRL_WAIT_MS));
	disk_close(&e->disk);

	ctrl_remove(&self->t.ctrl);
	ASSERT_TRUE(ctrl_come_back(&self->t.ctrl));
	ASSERT_EQ(0, env_reopen_disk(e))
		TH_LOG("%s", e->why);
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	one_burst(_metadata, &self->t, true);
	one_burst(_metadata, &self->t, false);
}

TEST_HARNESS_MAIN
