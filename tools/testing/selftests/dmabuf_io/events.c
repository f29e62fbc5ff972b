// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to disks and machines while there is I/O and the exporter moves
 * the buffer every few ms: nothing is lost, every byte is right, and the exporter
 * never waits for longer than the disk may take for a command.
 */
#include <errno.h>
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

struct events {
	struct env e;
	struct xfer x;
	struct burst b;
	struct ctrl ctrl;
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
	fixture_mock_close(_metadata, &self->t.e, SLOT, MOCK_WAIT_US);
	fixture_close(_metadata, &self->t.e);
	EXPECT_TRUE(ctrl_is_there(&self->t.ctrl) || ctrl_come_back(&self->t.ctrl));
}

static void one_burst(struct __test_metadata *_metadata, struct events *t, bool write)
{
	fixture_burst_submit(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
	fixture_burst_finish(_metadata, &t->b);
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

/* The data is gone then, so only that everything completes can be told */
TEST_F_TIMEOUT(events, format, 300)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 4; i++) {
		fixture_burst_start(_metadata, &self->t.b, &self->t.e, SLOT, i & 1, IN_FLIGHT);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(-ctrl_format(self->t.ctrl.name, 0) & 0xff);
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
		ASSERT_EQ(0, ctrl_format(self->t.ctrl.name, 1));
		ASSERT_EQ(0, rescan(&self->t, 0));
		if (sysfs_get_num("/sys/block/%s/queue/max_dmabuf_sectors_kb", e->disk.name)) {
			ctrl_format(self->t.ctrl.name, 0);
			SKIP(return, "the second format has no metadata");
		}
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					       65536, XFER_POS));
		EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(&e->ring, SLOT + 1, e->mem.fd, e->disk.fd));
		ASSERT_EQ(0, ctrl_format(self->t.ctrl.name, 0));
		ASSERT_EQ(0, rescan(&self->t, 0));
		one_burst(_metadata, &self->t, i & 1);
	}
}

TEST_F_TIMEOUT(events, dies, 300)
{
	struct env *e = &self->t.e;
	int ret;

	ASSERT_EQ(0, sysfs_set(IO_TIMEOUT_MS, "/sys/block/%s/queue/io_timeout", e->disk.name));
	fixture_burst_start(_metadata, &self->t.b, e, SLOT, false, IN_FLIGHT);
	ASSERT_EQ(0, ctrl_kill(self->t.ctrl.pci));
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
