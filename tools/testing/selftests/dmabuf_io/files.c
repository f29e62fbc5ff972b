// SPDX-License-Identifier: GPL-2.0
/*
 * Regular files on ext4 and XFS: every kind of extent, the end of the file, and
 * everything that changes a file while there is I/O.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "assembly.h"
#include "fixture.h"
#include "fsmake.h"
#include "mock.h"

#define SLOT	1
#define BLK	FS_BLOCK
#define SIZE	MIB(1)

struct files {
	struct env e;
	struct assembly a;
	char *want;		/* what the file or the buffer should be */
	char *got;
	int fd;			/* what the ring is given */
	int plain;		/* the witness: O_DIRECT, ordinary memory */
	uint64_t rnd;
};

FIXTURE(files) {
	struct files t;
};

FIXTURE_VARIANT(files) {
	const char *script;
	bool xfs;
};

FIXTURE_VARIANT_ADD(files, ext4) {
	.script = EXT4("", ""),
};

FIXTURE_VARIANT_ADD(files, xfs) {
	.script = XFS(""), .xfs = true,
};

FIXTURE_SETUP(files)
{
	int ret;

	self->t.fd = -1;
	self->t.plain = -1;
	ret = asm_open(&self->t.a, &self->t.e, NULL, variant->script, MEM_UDMABUF, SIZE);
	if (!fixture_ready(_metadata, ret, self->t.a.why))
		return;
	ASSERT_EQ(0, posix_memalign((void **)&self->t.want, 4096, SIZE));
	ASSERT_EQ(0, posix_memalign((void **)&self->t.got, 4096, SIZE));
	self->t.fd = open(FILE_, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	self->t.plain = open(FILE_, O_RDWR | O_DIRECT);
	ASSERT_LE(0, self->t.fd);
	ASSERT_LE(0, self->t.plain);
	self->t.rnd = 99;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT, self->t.e.mem.fd, self->t.fd));
}

FIXTURE_TEARDOWN(files)
{
	if (self->t.fd >= 0)
		close(self->t.fd);
	if (self->t.plain >= 0)
		close(self->t.plain);
	EXPECT_EQ(0, asm_close(&self->t.a, &self->t.e))
		TH_LOG("%s", self->t.a.why);
	free(self->t.want);
	free(self->t.got);
}

static void fill_mem(struct files *t, uint64_t seed)
{
	mem_begin(&t->e.mem);
	pattern_fill(t->e.mem.va, SIZE, seed, 0);
	mem_end(&t->e.mem);
}

static int slot_read(struct files *t, unsigned int slot, uint64_t off, uint32_t len, uint64_t pos)
{
	return ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->fd, slot, off, len, pos);
}

static int slot_write(struct files *t, unsigned int slot, uint64_t off, uint32_t len, uint64_t pos)
{
	return ring_rw(&t->e.ring, IORING_OP_WRITE_FIXED, t->fd, slot, off, len, pos);
}

static int do_read(struct files *t, uint64_t off, uint32_t len, uint64_t pos)
{
	return slot_read(t, SLOT, off, len, pos);
}

static int do_write(struct files *t, uint64_t off, uint32_t len, uint64_t pos)
{
	return slot_write(t, SLOT, off, len, pos);
}

/* Read with a poisoned buffer; @n bytes have to be those of the file, by pread() */
static void check_read(struct __test_metadata *_metadata, struct files *t, uint64_t off,
		       uint32_t len, uint64_t pos, int n)
{
	uint64_t seed = rnd_next(&t->rnd);

	fill_mem(t, seed);
	memset(t->want, 0x11, SIZE);
	ASSERT_EQ(n, pread(t->plain, t->want, len, pos));
	ASSERT_EQ(n, do_read(t, off, len, pos))
		TH_LOG("off %llu len %u pos %llu", (unsigned long long)off, len,
		       (unsigned long long)pos);
	mem_begin(&t->e.mem);
	EXPECT_EQ(0, memcmp(t->want, t->e.mem.va + off, n))
		TH_LOG("off %llu len %u pos %llu", (unsigned long long)off, len,
		       (unsigned long long)pos);
	/* what lies around has been left alone */
	EXPECT_EQ(-1, pattern_differs(t->e.mem.va, off, seed, 0));
	EXPECT_EQ(-1, pattern_differs(t->e.mem.va + off + len, SIZE - off - len, seed,
				      off + len));
	mem_end(&t->e.mem);
}

/* Write, and see by pread() that the file has it, and else is what it was */
static void check_write(struct __test_metadata *_metadata, struct files *t, uint64_t off,
			uint32_t len, uint64_t pos)
{
	uint64_t seed = rnd_next(&t->rnd), start = pos > BLK ? (pos - BLK) & -BLK : 0;
	struct stat st;
	ssize_t n;

	ASSERT_EQ(0, fstat(t->fd, &st));
	memset(t->want, 0, SIZE);
	n = pread(t->plain, t->want, len + 3 * BLK, start);
	ASSERT_LE(0, n);
	pattern_fill(t->want + (pos - start), len, seed, off);
	fill_mem(t, 0);
	mem_begin(&t->e.mem);
	pattern_fill(t->e.mem.va + off, len, seed, off);
	mem_end(&t->e.mem);
	ASSERT_EQ((int)len, do_write(t, off, len, pos))
		TH_LOG("off %llu len %u pos %llu", (unsigned long long)off, len,
		       (unsigned long long)pos);
	if ((uint64_t)st.st_size < pos + len)
		st.st_size = pos + len;
	n = st.st_size - start;
	if (n > (ssize_t)len + 3 * BLK)
		n = len + 3 * BLK;
	memset(t->got, 0x22, SIZE);
	ASSERT_EQ(n, pread(t->plain, t->got, len + 3 * BLK, start));
	EXPECT_EQ(0, memcmp(t->want, t->got, n))
		TH_LOG("off %llu len %u pos %llu", (unsigned long long)off, len,
		       (unsigned long long)pos);
	ASSERT_EQ(0, fstat(t->fd, &st));
	EXPECT_LE((int64_t)(pos + len), (int64_t)st.st_size);
}

static void put(struct __test_metadata *_metadata, struct files *t, size_t len, uint64_t pos)
{
	pattern_fill(t->got, len, rnd_next(&t->rnd), pos);
	ASSERT_EQ((ssize_t)len, pwrite(t->plain, t->got, len, pos));
}

/* Data, hole, data, unwritten, data, in blocks */
static void make_layout(struct __test_metadata *_metadata, struct files *t)
{
	ASSERT_EQ(0, ftruncate(t->fd, 0));
	put(_metadata, t, 4 * BLK, 0);
	put(_metadata, t, 4 * BLK, 8 * BLK);
	ASSERT_EQ(0, fallocate(t->fd, 0, 12 * BLK, 4 * BLK));
	put(_metadata, t, 4 * BLK, 16 * BLK);
	ASSERT_EQ(0, ftruncate(t->fd, 24 * BLK));
}

TEST_F_TIMEOUT(files, extents, 300)
{
	int lbs = 512, i, j;

	make_layout(_metadata, &self->t);
	for (i = 0; i < 20; i += 3)
		for (j = 1; j <= 24 - i; j += 3)
			check_read(_metadata, &self->t, BLK, j * BLK, i * BLK, j * BLK);
	/* blocks of the disk, smaller than those of the file system */
	check_read(_metadata, &self->t, lbs, 3 * lbs, 4 * BLK - lbs, 3 * lbs);
	check_read(_metadata, &self->t, 3 * lbs, 8 * BLK + lbs, 7 * BLK + lbs, 8 * BLK + lbs);
	for (i = 0; i < 20; i += 4) {
		for (j = 1; j <= 12; j += 5) {
			make_layout(_metadata, &self->t);
			check_write(_metadata, &self->t, BLK, j * BLK, (i + 1) * BLK);
			make_layout(_metadata, &self->t);
			check_write(_metadata, &self->t, lbs, j * BLK - 2 * lbs,
				    (i + 1) * BLK + lbs);
		}
	}
}

TEST_F_TIMEOUT(files, end_of_file, 300)
{
	static const int tails[] = { 1, 511, 512, 513, 4095 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		make_layout(_metadata, &self->t);
		put(_metadata, &self->t, BLK, 24 * BLK);
		ASSERT_EQ(0, ftruncate(self->t.fd, 24 * BLK + tails[i]));
		check_read(_metadata, &self->t, 0, 8 * BLK, 18 * BLK, 6 * BLK + tails[i]);
		check_read(_metadata, &self->t, 0, BLK, 24 * BLK, tails[i]);
	}
	EXPECT_EQ(0, do_read(&self->t, 0, BLK, 64 * BLK));

	/* Writes that extend the file: at its end, and past it */
	check_write(_metadata, &self->t, 0, 4 * BLK, 24 * BLK);
	check_write(_metadata, &self->t, 512, 1024, 28 * BLK);
	check_write(_metadata, &self->t, 0, 1536, 40 * BLK + 512);
	check_write(_metadata, &self->t, 0, 32 * BLK, 60 * BLK);
}

/* O_DSYNC and O_APPEND are the file's business */
TEST_F_TIMEOUT(files, flags, 120)
{
	int fd = open(FILE_, O_RDWR | O_DIRECT | O_DSYNC | O_APPEND), i;
	struct stat st;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT + 1, self->t.e.mem.fd, fd));
	fill_mem(&self->t, 5);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(2 * BLK, ring_rw(&self->t.e.ring, IORING_OP_WRITE_FIXED, fd, SLOT + 1,
					   i * 2 * BLK, 2 * BLK, -1));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(6 * BLK, st.st_size);
	ASSERT_EQ(6 * BLK, pread(self->t.plain, self->t.got, SIZE, 0));
	EXPECT_EQ(-1, pattern_differs(self->t.got, 6 * BLK, 5, 0));
	close(fd);
	ASSERT_EQ(0, ring_clear(&self->t.e.ring, SLOT + 1));
}

/* Many extents on the disk, in an order of their own, in one request */
TEST_F_TIMEOUT(files, fragmented, 300)
{
	int i, other = open(MNT "/other", O_RDWR | O_CREAT | O_DIRECT, 0600);

	ASSERT_LE(0, other);
	for (i = 0; i < 24; i++) {
		int at = i * 7 % 24;

		put(_metadata, &self->t, 2 * BLK, (uint64_t)at * 2 * BLK);
		ASSERT_EQ(BLK, pwrite(other, self->t.got, BLK, i * BLK));
	}
	check_read(_metadata, &self->t, BLK, 48 * BLK, 0, 48 * BLK);
	check_write(_metadata, &self->t, 512, 46 * BLK, BLK);
	close(other);
}

TEST_F_TIMEOUT(files, reflink, 300)
{
	int clone = open(MNT "/clone", O_RDWR | O_CREAT | O_DIRECT, 0600);
	uint64_t rnd = self->t.rnd, seed = rnd_next(&rnd);

	ASSERT_LE(0, clone);
	put(_metadata, &self->t, 16 * BLK, 0);
	if (ioctl(clone, FICLONE, self->t.fd)) {
		close(clone);
		ASSERT_FALSE(variant->xfs);
		SKIP(return, "no reflink");
	}
	check_write(_metadata, &self->t, BLK, 4 * BLK, 4 * BLK);
	check_read(_metadata, &self->t, 0, 16 * BLK, 0, 16 * BLK);
	/* Blocks that are shared can't be copied by the CPU */
	EXPECT_EQ(-EOPNOTSUPP, do_write(&self->t, 0, 512, 9 * BLK + 512));
	check_read(_metadata, &self->t, 0, 16 * BLK, 0, 16 * BLK);
	/* The one that shared the blocks still has what they were */
	ASSERT_EQ(16 * BLK, pread(clone, self->t.got, 16 * BLK, 0));
	EXPECT_EQ(-1, pattern_differs(self->t.got, 16 * BLK, seed, 0));
	close(clone);
}

/* Holes can be read only where the kernel reaches the memory */
TEST_F_TIMEOUT(files, no_cpu_access, 120)
{
	struct mem m;
	int i;

	ASSERT_EQ(0, env_mem(&self->t.e, &m, MEM_MOCK_P2P, SIZE))
		TH_LOG("%s", self->t.e.why);
	make_layout(_metadata, &self->t);
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT + 1, m.fd, self->t.fd));
	for (i = 0; i < 2; i++) {
		/* inside data, then from data into a hole, a hole, unwritten */
		EXPECT_EQ(4 * BLK, slot_read(&self->t, SLOT + 1, 0, 4 * BLK, 0));
		EXPECT_EQ(-EOPNOTSUPP, slot_read(&self->t, SLOT + 1, 0, 8 * BLK, 0));
		EXPECT_EQ(-EOPNOTSUPP, slot_read(&self->t, SLOT + 1, 0, 2 * BLK, 5 * BLK));
		EXPECT_EQ(-EOPNOTSUPP, slot_read(&self->t, SLOT + 1, 0, 2 * BLK, 13 * BLK));
		EXPECT_EQ(4 * BLK, slot_write(&self->t, SLOT + 1, 0, 4 * BLK, 0));
	}
	ASSERT_EQ(0, ring_clear(&self->t.e.ring, SLOT + 1));
	EXPECT_EQ(0, env_mem_free(&self->t.e, &m))
		TH_LOG("%s", self->t.e.why);
}

TEST_F_TIMEOUT(files, direct_cleared, 120)
{
	put(_metadata, &self->t, 4 * BLK, 0);
	fill_mem(&self->t, 3);
	ASSERT_EQ(0, fcntl(self->t.fd, F_SETFL, 0));
	EXPECT_EQ(-EINVAL, do_read(&self->t, 0, BLK, 0));
	EXPECT_EQ(-EINVAL, do_write(&self->t, 0, BLK, 0));
	ASSERT_EQ(0, fcntl(self->t.fd, F_SETFL, O_DIRECT));
	check_read(_metadata, &self->t, 0, 4 * BLK, 0, 4 * BLK);
}

struct racer {
	pthread_t thread;
	bool stop, xfs;
	int fd;
	unsigned int rounds;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	uint64_t rnd = 7;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		off_t pos = rnd_below(&rnd, 256) * BLK, len = (1 + rnd_below(&rnd, 64)) * BLK;
		int err = 0;

		switch (rnd_below(&rnd, 4)) {
		case 0:
			err = fallocate(r->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, pos,
					len);
			break;
		case 1:
			err = fallocate(r->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, pos,
					len);
			break;
		case 2:
			/* Growing from within a block makes XFS warn now and then. */
			err = ftruncate(r->fd, pos + (r->xfs ? 0 : 3));
			break;
		case 3:
			err = fallocate(r->fd, 0, pos, len);
			break;
		}
		if (err)
			return (void *)1;
		r->rounds++;
	}
	return NULL;
}

static bool is_zero(const char *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

/*
 * Blocks are punched, truncated, allocated while they are read and written.  Each
 * block is either what was written, or zeros, and nothing else of the disk shows.
 */
TEST_F_TIMEOUT(files, racing, 600)
{
	struct dma_buf_mock_stats stats;
	struct racer r = { .fd = self->t.plain, .xfs = variant->xfs };
	unsigned int round, i;
	struct mem m;
	void *err;
	int ret;

	ASSERT_EQ(0, env_mem(&self->t.e, &m, MEM_MOCK, SIZE))
		TH_LOG("%s", self->t.e.why);
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, SLOT + 1, m.fd, self->t.fd));
	ASSERT_EQ(0, mock_auto(m.fd, 3000, MOCK_ALL_MOVES));
	ASSERT_EQ(0, pthread_create(&r.thread, NULL, race, &r));
	for (round = 0; round < 40 || (r.rounds < 100 && round < 400); round++) {
		mem_begin(&m);
		for (i = 0; i < SIZE / BLK; i++)
			pattern_fill(m.va + i * BLK, BLK, 1000 + i, 0);
		mem_end(&m);
		ret = slot_write(&self->t, SLOT + 1, 0, SIZE, 0);
		ASSERT_EQ((int)SIZE, ret);
		mem_begin(&m);
		memset(m.va, 0x5a, SIZE);
		mem_end(&m);
		ret = slot_read(&self->t, SLOT + 1, 0, SIZE, 0);
		ASSERT_LE(0, ret);
		mem_begin(&m);
		for (i = 0; i < (unsigned int)ret / BLK; i++) {
			const char *p = m.va + i * BLK;
			bool zero_tail = pattern_differs(p, BLK, 1000 + i, 0) >= 3 &&
				is_zero(p + 3, BLK - 3);

			ASSERT_TRUE(is_zero(p, BLK) || zero_tail ||
				    pattern_differs(p, BLK, 1000 + i, 0) < 0)
				TH_LOG("round %u: block %u", round, i);
		}
		mem_end(&m);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(r.thread, &err));
	EXPECT_EQ(NULL, err);
	EXPECT_LT(20U, r.rounds);
	ASSERT_EQ(0, mock_auto(m.fd, 0, 0));
	ASSERT_EQ(0, mock_stats(m.fd, &stats));
	EXPECT_EQ(0ULL, stats.violations);
	ksft_print_msg("%u changes of the file, %llu mappings, longest wait %llu us\n", r.rounds,
		       stats.maps, stats.longest_wait_us);
	ASSERT_EQ(0, ring_clear(&self->t.e.ring, SLOT + 1));
	EXPECT_EQ(0, env_mem_free(&self->t.e, &m))
		TH_LOG("%s", self->t.e.why);
}

TEST_HARNESS_MAIN
