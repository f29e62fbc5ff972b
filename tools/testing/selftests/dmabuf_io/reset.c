// SPDX-License-Identifier: GPL-2.0
/*
 * The controller is reset, or taken away, while it works: requests end or are
 * done again, mappings are made anew, and afterwards the disk is as good as
 * before. For NVMe disks on PCI.
 */
#include <sys/wait.h>
#include <unistd.h>
#include "burst.h"
#include "ctrl.h"
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		2
#define IN_FLIGHT	64U
#define WAIT_MS		60000

struct reset {
	struct env e;
	struct xfer x;
	struct burst b;
	struct ctrl ctrl;
};

FIXTURE(reset) {
	struct reset t;
};

FIXTURE_VARIANT(reset) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(reset, udmabuf) {
	.kind = MEM_UDMABUF,
};

FIXTURE_VARIANT_ADD(reset, vfio) {
	.kind = MEM_VFIO,
};

FIXTURE_SETUP(reset)
{
	if (!fixture_open(_metadata, &self->t.e, variant->kind, MIB(8), 0))
		return;
	if (ctrl_of(&self->t.ctrl, &self->t.e.disk)) {
		env_close(&self->t.e);
		LACKS(return, "the disk is not an NVMe disk on PCI");
	}
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(reset)
{
	fixture_close(_metadata, &self->t.e);
	EXPECT_TRUE(ctrl_is_there(&self->t.ctrl) || ctrl_come_back(&self->t.ctrl));
}

static void check_both_ways(struct __test_metadata *_metadata, struct reset *t)
{
	size_t lbs = t->e.disk.lbs;

	xfer_poison(&t->x);
	ASSERT_EQ(0, xfer_read(&t->x, lbs, MIB(8) - 2 * lbs, XFER_POS))
		TH_LOG("read: %s", t->x.why);
	ASSERT_EQ(0, xfer_write(&t->x, lbs, MIB(8) - 2 * lbs, XFER_POS))
		TH_LOG("write: %s", t->x.why);
	ASSERT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
}

TEST_F_TIMEOUT(reset, idle, 300)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, ctrl_reset(&self->t.ctrl));
		ASSERT_TRUE(ctrl_wait_live(&self->t.ctrl));
		check_both_ways(_metadata, &self->t);
	}
	ASSERT_EQ(0, ring_clear(&self->t.e.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(self->t.e.mem.ino, 0, WAIT_MS));
}

/* A reset is no reason for an error: what was in flight is done again */
TEST_F_TIMEOUT(reset, in_flight, 600)
{
	int i;

	for (i = 0; i < 6; i++) {
		fixture_burst_start(_metadata, &self->t.b, &self->t.e, SLOT, i & 1, IN_FLIGHT);
		ASSERT_EQ(0, ctrl_reset(&self->t.ctrl));
		fixture_burst_finish(_metadata, &self->t.b);
		ASSERT_TRUE(ctrl_wait_live(&self->t.ctrl));
	}
	check_both_ways(_metadata, &self->t);
}

/* Registered and cleared while the controller is down and comes up */
TEST_F_TIMEOUT(reset, register_meanwhile, 300)
{
	int status, i, ret;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0; i < 10; i++)
			ctrl_reset(&self->t.ctrl);
		_exit(0);
	}
	for (i = 0; !waitpid(pid, &status, WNOHANG); i++) {
		ASSERT_EQ(0, ring_clear(&self->t.e.ring, SLOT));
		ret = ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.e.disk.fd);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(65536, ring_rw(&self->t.e.ring, IORING_OP_READ_FIXED, self->t.e.disk.fd,
					 SLOT, 0, 65536, XFER_POS));
	}
	EXPECT_LT(1, i);
	ASSERT_TRUE(ctrl_wait_live(&self->t.ctrl));
	check_both_ways(_metadata, &self->t);
}

static void expect_no_capacity(struct __test_metadata *_metadata, struct env *e)
{
	EXPECT_EQ(-ENOSPC, ring_rw(&e->ring, IORING_OP_WRITE_FIXED, e->disk.fd, SLOT, 0, 4096,
				   XFER_POS));
	EXPECT_EQ(0, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0, 4096, XFER_POS));
}

TEST_F_TIMEOUT(reset, remove_in_flight, 300)
{
	struct env *e = &self->t.e;
	int w;

	for (w = 0; w < 2; w++) {
		fixture_burst_start(_metadata, &self->t.b, e, SLOT, w, IN_FLIGHT);
		ASSERT_EQ(0, ctrl_remove(&self->t.ctrl));
		ASSERT_EQ(0, burst_reap(&self->t.b, NULL))
			TH_LOG("%s", self->t.b.why);
		EXPECT_TRUE(disk_allowed_after_removal(self->t.b.first_error))
			TH_LOG("error %d", self->t.b.first_error);

		/* The registration outlives the disk, which is like one of no size */
		expect_no_capacity(_metadata, e);
		EXPECT_EQ(0, ring_clear(&e->ring, SLOT));
		EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, WAIT_MS))
			TH_LOG("attached: %d", watch_attached(e->mem.ino));
		disk_close(&e->disk);

		ASSERT_TRUE(ctrl_come_back(&self->t.ctrl));
		ASSERT_EQ(0, env_reopen_disk(e))
			TH_LOG("%s", e->why);
		/* A request that was reported as done was done, also at the very end */
		EXPECT_EQ(0, burst_check(&self->t.b))
			TH_LOG("%s", self->t.b.why);
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		self->t.x.fd = e->disk.fd;
		check_both_ways(_metadata, &self->t);
	}
}

/* The ring and the file are closed only after the disk has gone */
TEST_F_TIMEOUT(reset, remove_idle, 300)
{
	struct env *e = &self->t.e;

	check_both_ways(_metadata, &self->t);
	ASSERT_EQ(0, ctrl_remove(&self->t.ctrl));
	/* Nothing may stay mapped for a device that is not there */
	EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, WAIT_MS))
		TH_LOG("attached: %d", watch_attached(e->mem.ino));
	expect_no_capacity(_metadata, e);
	EXPECT_EQ(0, xfer_poisoned(&self->t.x))
		TH_LOG("%s", self->t.x.why);
	EXPECT_EQ(-ENODEV, ring_set_dmabuf(&e->ring, SLOT + 1, e->mem.fd, e->disk.fd));
	ring_exit(&e->ring);
	disk_close(&e->disk);

	ASSERT_TRUE(ctrl_come_back(&self->t.ctrl));
	ASSERT_EQ(0, env_reopen_disk(e))
		TH_LOG("%s", e->why);
	ASSERT_EQ(0, ring_init(&e->ring, 64, 0));
	ASSERT_EQ(0, ring_sparse(&e->ring, ENV_SLOTS));
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	self->t.x.fd = e->disk.fd;
	check_both_ways(_metadata, &self->t);
}

TEST_HARNESS_MAIN
