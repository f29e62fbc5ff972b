// SPDX-License-Identifier: GPL-2.0
/*
 * Through devices that are put together from others: the data is right at the
 * top, on each leg of a mirror, and while the exporter moves the buffer.
 */
#include <stdlib.h>
#include <unistd.h>
#include "assembly.h"
#include "burst.h"
#include "fixture.h"
#include "mock.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		4
#define IN_FLIGHT	64U
#define MOVE_US		2000U

struct stacks {
	struct env e;
	struct assembly a;
	struct xfer x;
	struct burst b;
	char *leg_data;
};

FIXTURE(stacks) {
	struct stacks t;
};

FIXTURE_VARIANT(stacks) {
	const char *path;
	const char *script;
	bool mirror;		/* the legs have the same data */
	int devices;		/* controllers that are used */
	bool limit;		/* requests are as large as the disk allows */
};

FIXTURE_VARIANT_ADD(stacks, dm_linear) {
	.path = ASM_DM, .devices = 1, .limit = true,
	.script = "dmsetup create dio_top --table \"0 131072 linear $A 2048\"",
};

FIXTURE_VARIANT_ADD(stacks, dm_striped) {
	.path = ASM_DM, .devices = 2, .limit = true,
	.script = "dmsetup create dio_top --table \"0 131072 striped 2 128 $A 0 $B 2048\"",
};

FIXTURE_VARIANT_ADD(stacks, dm_mirror) {
	.path = ASM_DM, .devices = 2, .limit = true, .mirror = true,
	.script = "dmsetup create dio_top --table"
		  " \"0 131072 mirror core 2 1024 nosync 2 $A 0 $B 0\"",
};

FIXTURE_VARIANT_ADD(stacks, dm_raid1) {
	.path = ASM_DM, .devices = 2, .mirror = true,
	.script = "dmsetup create dio_top --table"
		  " \"0 131072 raid raid1 4 0 nosync region_size 1024 2 - $A - $B\"",
};

FIXTURE_VARIANT_ADD(stacks, md_linear) {
	.path = ASM_MD, .devices = 1,
	.script = "mdadm --create " ASM_MD " --run --level=linear --raid-devices=2 $A $B",
};

FIXTURE_VARIANT_ADD(stacks, md_raid0) {
	.path = ASM_MD, .devices = 2,
	.script = "mdadm --create " ASM_MD " --run --level=0 --chunk=64 --raid-devices=2 $A $B",
};

FIXTURE_VARIANT_ADD(stacks, md_raid1) {
	.path = ASM_MD, .devices = 2, .mirror = true,
	.script = "mdadm --create " ASM_MD " --run --level=1 --size=65536 --assume-clean"
		  " --bitmap=internal --raid-devices=2 $A $B",
};

FIXTURE_VARIANT_ADD(stacks, md_raid10_far) {
	.path = ASM_MD, .devices = 2,
	.script = "mdadm --create " ASM_MD " --run --level=10 --layout=f2 --chunk=64"
		  " --size=65536 --assume-clean --bitmap=none --raid-devices=2 $A $B",
};

FIXTURE_VARIANT_ADD(stacks, linear_on_md_raid1_on_linear) {
	.path = ASM_DM, .devices = 2,
	.script = "set -e\n"
		  "dmsetup create dio_a --table \"0 262144 linear $A 8\"\n"
		  "dmsetup create dio_b --table \"0 262144 linear $B 16\"\n"
		  "mdadm --create " ASM_MD " --run --level=1 --size=98304 --assume-clean"
		  " --bitmap=none --raid-devices=2 /dev/mapper/dio_a /dev/mapper/dio_b\n"
		  "dmsetup create dio_top --table \"0 131072 linear " ASM_MD " 1024\"",
};

static bool build(struct __test_metadata *_metadata, struct stacks *t, const char *path,
		  const char *script, enum mem_kind kind, size_t size)
{
	int ret = asm_open(&t->a, &t->e, path, script, kind, size);

	if (!fixture_ready(_metadata, ret, t->a.why))
		return false;
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, t->a.top.fd));
	xfer_init(&t->x, &t->e, &t->e.mem, SLOT);
	xfer_poison(&t->x);
	return true;
}

FIXTURE_SETUP(stacks)
{
	self->t.e.log = -1;
}

FIXTURE_TEARDOWN(stacks)
{
	struct stacks *t = &self->t;

	EXPECT_EQ(0, asm_close(&t->a, &t->e))
		TH_LOG("%s", t->a.why);
	free(t->leg_data);
}

static void expect_both_ways(struct __test_metadata *_metadata, struct stacks *t, uint64_t off,
			     size_t len, uint64_t pos)
{
	ASSERT_EQ(0, xfer_read(&t->x, off, len, pos))
		TH_LOG("read off %llu len %zu pos %llu: %s", (unsigned long long)off, len,
		       (unsigned long long)pos, t->x.why);
	ASSERT_EQ(0, xfer_write(&t->x, off, len, pos))
		TH_LOG("write off %llu len %zu pos %llu: %s", (unsigned long long)off, len,
		       (unsigned long long)pos, t->x.why);
}

/* Both legs have what burst_prepare() and a write put there */
static void expect_on_each_leg(struct __test_metadata *_metadata, struct stacks *t)
{
	size_t size = t->e.mem.size;
	long long off;
	int i;

	if (!t->leg_data)
		ASSERT_EQ(0, posix_memalign((void **)&t->leg_data, 4096, size));
	for (i = 0; i < ASM_LEGS; i++) {
		off = asm_md_offset(&t->a, i);
		if (off < 0)
			off = 0;
		memset(t->leg_data, 0x5a, size);
		ASSERT_EQ(0, disk_get(&t->a.leg[i], t->leg_data, size, BURST_POS + off));
		EXPECT_EQ(-1, pattern_differs(t->leg_data, size, t->b.seed, 0))
			TH_LOG("leg %d", i);
	}
}

static void burst(struct __test_metadata *_metadata, struct stacks *t, bool write)
{
	fixture_burst_submit(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
	fixture_burst_finish(_metadata, &t->b);
}

TEST_F_TIMEOUT(stacks, io, 300)
{
	static const size_t lens[] = { 4096, 12288, 65536, 65536 + 4096, 262144, MIB(1) };
	struct stacks *t = &self->t;
	unsigned int i, lbs;

	if (!build(_metadata, t, variant->path, variant->script, MEM_UDMABUF, MIB(2)))
		return;
	lbs = t->a.top.lbs;
	if (variant->limit)
		EXPECT_EQ(t->a.leg[0].max_io, t->a.top.max_io);
	EXPECT_LT(0U, t->a.top.max_io);

	/* Across the boundaries of stripes, and everything at once */
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		expect_both_ways(_metadata, t, 0, lens[i], XFER_POS);
		expect_both_ways(_metadata, t, lbs, lens[i], XFER_POS + 65536 - lbs);
	}
	expect_both_ways(_metadata, t, 0, t->e.mem.size, XFER_POS + lbs);
	for (i = 0; i < 10; i++) {
		size_t len = (1 + rnd_below(&t->e.rnd, t->e.mem.size / lbs)) * lbs;
		size_t off = rnd_below(&t->e.rnd, (t->e.mem.size - len) / lbs + 1) * lbs;

		expect_both_ways(_metadata, t, off, len,
				 XFER_POS + rnd_below(&t->e.rnd, MIB(16) / lbs) * lbs);
	}
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);

	/* With flushes before or after the data */
	EXPECT_EQ(65536, ring_rw(&t->e.ring, IORING_OP_WRITE_FIXED, t->a.top.fd, SLOT, 0, 65536,
				 XFER_POS));
	EXPECT_EQ(0, fsync(t->a.top.fd));

	burst(_metadata, t, true);
	if (variant->mirror)
		expect_on_each_leg(_metadata, t);
	EXPECT_EQ(variant->devices, watch_attached(t->e.mem.ino));
	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, RING_TIMEOUT_MS));
}

/* The exporter moves the buffer while there is I/O, and nobody notices */
TEST_F_TIMEOUT(stacks, moving, 300)
{
	struct dma_buf_mock_stats stats;
	struct stacks *t = &self->t;
	unsigned int rounds = 0;

	if (!build(_metadata, t, variant->path, variant->script, MEM_MOCK, MIB(1)))
		return;
	ASSERT_EQ(0, mock_auto(t->e.mem.fd, MOVE_US, MOCK_ALL_MOVES));
	do {
		burst(_metadata, t, false);
		burst(_metadata, t, true);
		if (variant->mirror)
			expect_on_each_leg(_metadata, t);
		ASSERT_EQ(0, mock_stats(t->e.mem.fd, &stats));
	} while (++rounds < 3 || (stats.maps < 20 && rounds < 50));
	EXPECT_LE(20ULL, stats.maps);
	EXPECT_EQ(0ULL, stats.violations);
	ASSERT_EQ(0, mock_auto(t->e.mem.fd, 0, 0));
	ksft_print_msg("%llu moves, %llu mappings, longest wait %llu us\n", stats.moves,
		       stats.maps, stats.longest_wait_us);
	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, RING_TIMEOUT_MS));
}

TEST_HARNESS_MAIN
