// SPDX-License-Identifier: GPL-2.0
/*
 * What mirrors do besides passing data on: each leg is read, a leg fails, has bad
 * blocks, is resynced or slow; and a buffer that can't be mapped is not the
 * fault of a leg.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "assembly.h"
#include "burst.h"
#include "fixture.h"
#include "mock.h"
#include "sysfs.h"

#define SLOT		4
#define IN_FLIGHT	64U
#define MOVE_US		2000U

/* On linear devices, so that a test can change what a leg is */
#define LEGS \
	"set -e\n" \
	"dmsetup create dio_a --table \"0 262144 linear $A 0\"\n" \
	"dmsetup create dio_b --table \"0 262144 linear $B 0\"\n"
#define RAID1(options, b) \
	LEGS "mdadm --create " ASM_MD " --run --level=1 --size=65536 " options \
	" --raid-devices=2 /dev/mapper/dio_a " b "/dev/mapper/dio_b"

static const char raid1[] = RAID1("--assume-clean --bitmap=none", "");
static const char raid10[] =
	LEGS "mdadm --create " ASM_MD " --run --level=10 --layout=n2 --size=65536 --assume-clean"
	" --bitmap=none --raid-devices=2 /dev/mapper/dio_a /dev/mapper/dio_b";
static const char write_behind[] =
	RAID1("--assume-clean --bitmap=internal --write-behind=256", "--write-mostly ");
static const char resync[] = RAID1("--bitmap=none", "");
static const char dm_mirror[] =
	LEGS "dmsetup create dio_top --table \"0 131072 mirror core 2 1024 nosync 2"
	" /dev/mapper/dio_a 0 /dev/mapper/dio_b 0 1 handle_errors\"";

struct mirror {
	struct env e;
	struct assembly a;
	struct burst b;
	char *tmp;
};

FIXTURE(mirror) {
	struct mirror t;
};

FIXTURE_SETUP(mirror)
{
	self->t.e.log = -1;
}

FIXTURE_TEARDOWN(mirror)
{
	EXPECT_EQ(0, asm_close(&self->t.a, &self->t.e))
		TH_LOG("%s", self->t.a.why);
	free(self->t.tmp);
}

static bool build(struct __test_metadata *_metadata, struct mirror *t, const char *path,
		  const char *script)
{
	int ret = asm_open(&t->a, &t->e, path, script, MEM_MOCK, MIB(1));

	if (!fixture_ready(_metadata, ret, t->a.why))
		return false;
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->a.top.fd));
	ASSERT_EQ(0, posix_memalign((void **)&t->tmp, 4096, t->e.mem.size));
	return true;
}

static void start(struct __test_metadata *_metadata, struct mirror *t, bool write)
{
	fixture_burst_submit(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
}

static void finish(struct __test_metadata *_metadata, struct mirror *t)
{
	fixture_burst_finish(_metadata, &t->b);
}

static int rw_once(struct mirror *t, int op)
{
	return ring_rw(&t->e.ring, op, t->a.top.fd, SLOT, 0, 65536, BURST_POS);
}

/* The legs start where the disks do, and md has a header there */
static uint64_t leg_pos(struct mirror *t)
{
	long long off = sysfs_get_num("/sys/block/%s/md/rd0/offset", t->a.top.name);

	return BURST_POS + (off < 0 ? 0 : off * 512);
}

static void expect_leg(struct __test_metadata *_metadata, struct mirror *t, int leg)
{
	ASSERT_EQ(0, disk_get(&t->a.leg[leg], t->tmp, t->e.mem.size, leg_pos(t)));
	EXPECT_EQ(-1, pattern_differs(t->tmp, t->e.mem.size, t->b.seed, 0))
		TH_LOG("leg %d", leg);
}

static long long legs_lost(struct mirror *t)
{
	return sysfs_get_num("/sys/block/%s/md/degraded", t->a.top.name);
}

/* The legs differ, so it shows which one has been read */
TEST_F_TIMEOUT(mirror, read_each_leg, 120)
{
	int i;

	if (!build(_metadata, &self->t, ASM_MD, raid1))
		return;
	for (i = 0; i < ASM_LEGS; i++) {
		pattern_fill(self->t.tmp, MIB(1), 77 + i, 0);
		ASSERT_EQ(0, disk_put(&self->t.a.leg[i], self->t.tmp, MIB(1), leg_pos(&self->t)));
	}
	for (i = 0; i < ASM_LEGS; i++) {
		ASSERT_EQ(0, sysfs_set("writemostly", "/sys/block/%s/md/rd%d/state",
				       self->t.a.top.name, !i));
		ASSERT_EQ(0, sysfs_set("-writemostly", "/sys/block/%s/md/rd%d/state",
				       self->t.a.top.name, i));
		mem_begin(&self->t.e.mem);
		memset(self->t.e.mem.va, 0xa5, MIB(1));
		mem_end(&self->t.e.mem);
		ASSERT_EQ((int)MIB(1), ring_rw(&self->t.e.ring, IORING_OP_READ_FIXED,
					       self->t.a.top.fd, SLOT, 0, MIB(1), BURST_POS));
		mem_begin(&self->t.e.mem);
		EXPECT_EQ(-1, pattern_differs(self->t.e.mem.va, MIB(1), 77 + i, 0))
			TH_LOG("leg %d", i);
		mem_end(&self->t.e.mem);
	}
}

/* Write-behind would be a copy: a write is done when all legs have the data */
TEST_F_TIMEOUT(mirror, no_write_behind, 120)
{
	if (!build(_metadata, &self->t, ASM_MD, write_behind))
		return;
	start(_metadata, &self->t, true);
	finish(_metadata, &self->t);
	expect_leg(_metadata, &self->t, 0);
	expect_leg(_metadata, &self->t, 1);
}

static void check_map_fails(struct __test_metadata *_metadata, struct mirror *t)
{
	int fd = t->e.mem.fd, nth, op, ret;

	/* map both legs once */
	start(_metadata, t, true);
	finish(_metadata, t);
	start(_metadata, t, false);
	finish(_metadata, t);

	/* First the one leg can't map it, then the other */
	for (nth = 1; nth <= 2; nth++) {
		do {
			ret = mock_move(fd, DMA_BUF_MOCK_MOVE_LOCKED);
		} while (ret == -EAGAIN);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, nth, ENOSPC));
		ret = rw_once(t, IORING_OP_WRITE_FIXED);
		EXPECT_TRUE(ret == -ENODEV || ret == -EINVAL)
			TH_LOG("%d", ret);
	}
	/* Gone for all */
	ASSERT_EQ(0, mock_revoke(fd));
	for (op = 0; op < 4; op++)
		EXPECT_GT(0, rw_once(t, op & 1 ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED));
	ASSERT_EQ(0, mock_restore(fd));

	/* None of that has cost a leg */
	start(_metadata, t, true);
	finish(_metadata, t);
	expect_leg(_metadata, t, 0);
	expect_leg(_metadata, t, 1);
}

TEST_F_TIMEOUT(mirror, map_fails_raid1, 120)
{
	if (!build(_metadata, &self->t, ASM_MD, raid1))
		return;
	check_map_fails(_metadata, &self->t);
	EXPECT_EQ(0, legs_lost(&self->t));
}

TEST_F_TIMEOUT(mirror, map_fails_raid10, 120)
{
	if (!build(_metadata, &self->t, ASM_MD, raid10))
		return;
	check_map_fails(_metadata, &self->t);
	EXPECT_EQ(0, legs_lost(&self->t));
}

TEST_F_TIMEOUT(mirror, map_fails_dm, 120)
{
	if (!build(_metadata, &self->t, ASM_DM, dm_mirror))
		return;
	check_map_fails(_metadata, &self->t);
	/* "AA": both alive */
	EXPECT_EQ(0, asm_run(&self->t.a, "dmsetup status dio_top | grep ' AA '"))
		TH_LOG("%s", self->t.a.why);
}

/* Let the second disk refuse writes where the tests have their data */
static int inject(struct mirror *t, const char *status)
{
	char rule[128];

	snprintf(rule, sizeof(rule), "add,op=WRITE,status=%s,start=%llu,nr_sectors=%llu", status,
		 (unsigned long long)leg_pos(t) / 512, MIB(1) / 512ULL);
	return sysfs_set(rule, "/sys/kernel/debug/block/%s/error_injection", t->a.leg[1].name);
}

static int inject_nothing(struct mirror *t)
{
	return sysfs_set("removeall", "/sys/kernel/debug/block/%s/error_injection",
			 t->a.leg[1].name);
}

/*
 * What a leg refuses as invalid has not been written.  It is an error for ordinary
 * memory, too, and neither a success nor a reason to give up the leg.
 */
static void check_invalid(struct __test_metadata *_metadata, struct mirror *t)
{
	int ret;

	ret = inject(t, "INVAL");
	if (ret == -ENOENT && !env_required())
		SKIP(return, "no error injection for block devices");
	ASSERT_EQ(0, ret);
	memset(t->tmp, 0x77, 65536);
	errno = 0;
	EXPECT_EQ(-1, pwrite(t->a.top.witness, t->tmp, 65536, BURST_POS));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-ENODEV, rw_once(t, IORING_OP_WRITE_FIXED));
	ASSERT_EQ(0, inject_nothing(t));
	EXPECT_EQ(0, legs_lost(t));

	start(_metadata, t, true);
	finish(_metadata, t);
	expect_leg(_metadata, t, 0);
	expect_leg(_metadata, t, 1);
}

TEST_F_TIMEOUT(mirror, invalid_raid1, 120)
{
	if (!build(_metadata, &self->t, ASM_MD, raid1))
		return;
	check_invalid(_metadata, &self->t);
}

TEST_F_TIMEOUT(mirror, invalid_raid10, 120)
{
	if (!build(_metadata, &self->t, ASM_MD, raid10))
		return;
	check_invalid(_metadata, &self->t);
}

/* A leg is failed with I/O in flight */
TEST_F_TIMEOUT(mirror, leg_fails, 120)
{
	int w;

	if (!build(_metadata, &self->t, ASM_MD, raid1))
		return;
	ASSERT_EQ(0, mock_auto(self->t.e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	start(_metadata, &self->t, true);
	ASSERT_EQ(0, sysfs_set("faulty", "/sys/block/%s/md/rd0/state", self->t.a.top.name));
	finish(_metadata, &self->t);
	EXPECT_EQ(1, legs_lost(&self->t));
	for (w = 0; w < 2; w++) {
		start(_metadata, &self->t, w);
		finish(_metadata, &self->t);
	}
	ASSERT_EQ(0, mock_auto(self->t.e.mem.fd, 0, 0));
}

/* A leg can't read a part: it comes from the other leg, and is repaired */
TEST_F_TIMEOUT(mirror, bad_blocks, 120)
{
	uint64_t first;
	char script[512];

	if (!build(_metadata, &self->t, ASM_MD, raid1))
		return;
	first = leg_pos(&self->t) / 512;
	snprintf(script, sizeof(script),
		 "dmsetup suspend dio_a && printf '%%s\\n' \"0 %llu linear $A 0\" "
		 "\"%llu 128 error\" \"%llu %llu linear $A %llu\" | dmsetup load dio_a &&"
		 " dmsetup resume dio_a", (unsigned long long)first,
		 (unsigned long long)first, (unsigned long long)first + 128,
		 262144ULL - first - 128, (unsigned long long)first + 128);
	ASSERT_EQ(0, burst_prepare(&self->t.b, &self->t.e, &self->t.e.mem, false, 1));
	ASSERT_EQ(0, asm_run(&self->t.a, script))
		TH_LOG("%s", self->t.a.why);
	ASSERT_EQ(0, sysfs_set("writemostly", "/sys/block/%s/md/rd1/state", self->t.a.top.name));
	ASSERT_EQ(0, burst_submit(&self->t.b, self->t.a.top.fd, SLOT, 1, 0));
	finish(_metadata, &self->t);
	/* and again, when the leg is known to be bad there */
	EXPECT_EQ(65536, rw_once(&self->t, IORING_OP_READ_FIXED));
	EXPECT_EQ(0, burst_check(&self->t.b))
		TH_LOG("%s", self->t.b.why);
}

/* Resync reads and writes pages of its own, in between */
TEST_F_TIMEOUT(mirror, resync, 180)
{
	char action[32] = "";
	int rounds = 0;

	if (!build(_metadata, &self->t, ASM_MD, resync))
		return;
	ASSERT_EQ(0, sysfs_set("2000", "/sys/block/%s/md/sync_speed_max", self->t.a.top.name));
	ASSERT_EQ(0, mock_auto(self->t.e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	do {
		start(_metadata, &self->t, true);
		finish(_metadata, &self->t);
		start(_metadata, &self->t, false);
		finish(_metadata, &self->t);
		ASSERT_EQ(0, sysfs_get(action, sizeof(action), "/sys/block/%s/md/sync_action",
				       self->t.a.top.name));
	} while (++rounds < 3);
	EXPECT_STREQ("resync", action);
	ASSERT_EQ(0, sysfs_set("400000", "/sys/block/%s/md/sync_speed_max", self->t.a.top.name));
	for (rounds = 0; rounds < 600 && strcmp(action, "idle"); rounds++) {
		start(_metadata, &self->t, rounds & 1);
		finish(_metadata, &self->t);
		usleep(50000);
		ASSERT_EQ(0, sysfs_get(action, sizeof(action), "/sys/block/%s/md/sync_action",
				       self->t.a.top.name));
	}
	EXPECT_STREQ("idle", action);
	start(_metadata, &self->t, true);
	finish(_metadata, &self->t);
	expect_leg(_metadata, &self->t, 0);
	expect_leg(_metadata, &self->t, 1);
	ASSERT_EQ(0, mock_auto(self->t.e.mem.fd, 0, 0));
}

TEST_HARNESS_MAIN
