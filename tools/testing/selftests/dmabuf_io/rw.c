// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes of every shape: offsets and lengths from one block to the
 * whole buffer, for each kind of memory.
 */
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "fixture.h"
#include "sysfs.h"
#include "xfer.h"

#define PAGE		4096UL

struct rw {
	struct env e;
	struct xfer x;
};

FIXTURE(rw) {
	struct rw t;
};

FIXTURE_VARIANT(rw) {
	enum mem_kind kind;
	size_t size;
};

FIXTURE_VARIANT_ADD(rw, udmabuf) {
	.kind = MEM_UDMABUF, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(rw, udmabuf_huge) {
	.kind = MEM_UDMABUF_HUGE, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(rw, heap) {
	.kind = MEM_HEAP, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(rw, vfio) {
	.kind = MEM_VFIO, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(rw, vfio_two_ranges) {
	.kind = MEM_VFIO_2, .size = MIB(8),
};

FIXTURE_SETUP(rw)
{
	if (!fixture_open(_metadata, &self->t.e, variant->kind, variant->size, 0))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, 3, self->t.e.mem.fd, self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, 3);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(rw)
{
	if (self->t.x.mem) {
		EXPECT_EQ(0, xfer_poisoned(&self->t.x))
			TH_LOG("%s", self->t.x.why);
	}
	fixture_close(_metadata, &self->t.e);
}

static void check(struct __test_metadata *_metadata, struct xfer *x, bool write, uint64_t off,
		  size_t len, uint64_t pos)
{
	ASSERT_EQ(0, xfer_one(x, write, off, len, pos))
		TH_LOG("%s off %llu len %zu pos %llu: %s", write ? "write" : "read",
		       (unsigned long long)off, len, (unsigned long long)pos, x->why);
}

/* Every offset and length of a few blocks, across the first page boundaries */
static void check_grid(struct __test_metadata *_metadata, struct xfer *x, bool write)
{
	unsigned int lbs = x->disk->lbs, o, l;
	unsigned int n = lbs < PAGE ? 2 * PAGE / lbs + 1 : 5;

	for (o = 0; o < n; o++)
		for (l = 1; l <= n; l++)
			check(_metadata, x, write, o * lbs, l * lbs,
			      XFER_POS + (o * n + l) % 7 * lbs);
}

TEST_F_TIMEOUT(rw, read_grid, 600)
{
	check_grid(_metadata, &self->t.x, false);
}

TEST_F_TIMEOUT(rw, write_grid, 600)
{
	check_grid(_metadata, &self->t.x, true);
}

/* Around the sizes where lists of pages, or the commands, change their form */
static void check_lengths(struct __test_metadata *_metadata, struct xfer *x, bool write)
{
	static const unsigned int pages[] = {
		1, 2, 3, 8, 31, 32, 33, 64, 127, 128, 129, 256, 511, 512, 513, 514,
		1023, 1024, 1025,
	};
	size_t size = x->mem->size, lbs = x->disk->lbs;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		size_t n = pages[i] * PAGE;
		size_t len[] = { n - lbs, n, n + lbs };
		size_t off[] = { 0, lbs, PAGE - lbs, size - n - lbs };

		for (j = 0; j < 12; j++) {
			size_t l = len[j % 3], o = off[j / 3];

			if (l && o < size && o + l <= size)
				check(_metadata, x, write, o, l, XFER_POS + lbs);
		}
	}
}

/*
 * A page of a list of pages has 512 entries, or 511 and a link: everything that
 * starts or ends close to where a page of a list for the whole buffer does.
 */
static void check_list_ends(struct __test_metadata *_metadata, struct xfer *x, bool write)
{
	size_t lbs = x->disk->lbs, bound, start, n;
	unsigned int i;

	for (i = 0; i < 6; i++) {
		bound = (i / 2 + 1) * (i & 1 ? 511 : 512);
		for (start = bound - 4; start < bound + 3; start++) {
			for (n = 1; n < 7; n++) {
				check(_metadata, x, write, start * PAGE, n * PAGE, XFER_POS);
				check(_metadata, x, write, start * PAGE + lbs, n * PAGE - lbs,
				      XFER_POS);
			}
		}
	}
}

TEST_F_TIMEOUT(rw, read_list_ends, 600)
{
	check_list_ends(_metadata, &self->t.x, false);
}

TEST_F_TIMEOUT(rw, write_list_ends, 600)
{
	check_list_ends(_metadata, &self->t.x, true);
}

TEST_F_TIMEOUT(rw, read_lengths, 600)
{
	check_lengths(_metadata, &self->t.x, false);
}

TEST_F_TIMEOUT(rw, write_lengths, 600)
{
	check_lengths(_metadata, &self->t.x, true);
}

/* Everything in one request, usually larger than any one command */
TEST_F_TIMEOUT(rw, whole, 600)
{
	size_t size = self->t.e.mem.size, lbs = self->t.e.disk.lbs;

	check(_metadata, &self->t.x, false, 0, size, XFER_POS);
	check(_metadata, &self->t.x, true, 0, size, XFER_POS);
	check(_metadata, &self->t.x, false, lbs, size - 2 * lbs, XFER_POS + lbs);
	check(_metadata, &self->t.x, true, lbs, size - 2 * lbs, XFER_POS + lbs);
}

static void check_random(struct __test_metadata *_metadata, struct xfer *x, uint64_t *rnd,
			 bool write)
{
	uint64_t lbs = x->disk->lbs, blocks = x->mem->size / lbs;
	unsigned long i, rounds = env_rounds();

	for (i = 0; i < rounds; i++) {
		uint64_t len = 1 + rnd_below(rnd, 1 + rnd_below(rnd, blocks / 2));
		uint64_t off = rnd_below(rnd, blocks - len + 1);
		uint64_t pos = rnd_below(rnd, MIB(32) / lbs);

		check(_metadata, x, write, off * lbs, len * lbs, XFER_POS + pos * lbs);
	}
}

TEST_F_TIMEOUT(rw, read_random, 900)
{
	check_random(_metadata, &self->t.x, &self->t.e.rnd, false);
}

TEST_F_TIMEOUT(rw, write_random, 900)
{
	check_random(_metadata, &self->t.x, &self->t.e.rnd, true);
}

/* Commands by lists of pages and by scatter/gather lists */
TEST_F_TIMEOUT(rw, prp_and_sgl, 900)
{
	static const char path[] = "/sys/module/nvme/parameters/sgl_threshold";
	static const char * const threshold[] = { "0", "1", "32768" };
	unsigned int lbs = self->t.e.disk.lbs, i, j;
	char old[32];

	if (sysfs_get(old, sizeof(old), "%s", path))
		LACKS(return, "the disk is not driven by nvme-pci");
	for (i = 0; i < ARRAY_SIZE(threshold); i++) {
		ASSERT_EQ(0, sysfs_set(threshold[i], "%s", path));
		for (j = 1; j < 20; j++) {
			size_t len = (size_t)j * j * j * lbs;
			size_t off = (size_t)j * 3 * lbs;

			if (off + len > self->t.x.mem->size)
				break;
			check(_metadata, &self->t.x, false, off, len, XFER_POS);
			check(_metadata, &self->t.x, true, off, len, XFER_POS);
		}
	}
	ASSERT_EQ(0, sysfs_set(old, "%s", path));
}

/* As large as the controller takes, not only as is cheap to map each time */
TEST_F(rw, max_size)
{
	struct nvme_admin_cmd cmd = {
		.opcode = 0x06,		/* identify */
		.cdw10 = 1,		/* the controller */
		.data_len = PAGE,
	};
	size_t max = MIB(8);		/* the driver's own limit */
	unsigned char *id;

	ASSERT_EQ(0, posix_memalign((void **)&id, PAGE, PAGE));
	memset(id, 0, PAGE);
	cmd.addr = (uintptr_t)id;
	if (ioctl(self->t.e.disk.fd, NVME_IOCTL_ADMIN_CMD, &cmd))
		LACKS(return, "the disk is not driven by nvme");
	/* Maximum data transfer size, a power of two of pages; 0: no limit */
	if (id[77] && id[77] < 11)
		max = PAGE << id[77];
	free(id);
	EXPECT_EQ((long long)max >> 10,
		  sysfs_get_num("/sys/block/%s/queue/max_dmabuf_sectors_kb",
				self->t.e.disk.name));
}

/* No more commands than the disk's limit asks for, wherever the I/O starts */
TEST_F_TIMEOUT(rw, command_count, 600)
{
	size_t lbs = self->t.e.disk.lbs, max = self->t.e.disk.max_io, len;
	size_t off[] = { 0, lbs, PAGE - lbs, PAGE, 5 * PAGE + lbs };
	const int ops[] = { IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED };
	unsigned int i, j, w;
	long long n;

	for (i = 0; i < 3 * ARRAY_SIZE(off); i++) {
		j = i % ARRAY_SIZE(off);
		len = max * (1 + i / ARRAY_SIZE(off));
		if (off[j] + len > self->t.e.mem.size)
			continue;
		for (w = 0; w < ARRAY_SIZE(ops); w++) {
			n = disk_requests(&self->t.e.disk, w);
			ASSERT_EQ((int)len, ring_rw(&self->t.e.ring, ops[w], self->t.e.disk.fd, 3,
						    off[j], len, XFER_POS));
			n = disk_requests(&self->t.e.disk, w) - n;
			EXPECT_LE(1, n);
			EXPECT_GE((long long)((len + max - 1) / max), n)
				TH_LOG("off %zu len %zu", off[j], len);
		}
	}
	xfer_poison(&self->t.x);
}

TEST_HARNESS_MAIN
