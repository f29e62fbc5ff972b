// SPDX-License-Identifier: GPL-2.0
/*
 * Ordinary memory, mapped once for the devices that use it. It remains ordinary
 * memory in every other respect: addresses, accounting, the CPU's view, and what
 * can't use the mapping.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mman.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fixture.h"
#include "stack.h"
#include "sysfs.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		6
#define SIZE		MIB(4)
#define EXPORTER	"io_uring"

struct premap {
	struct env e;
	struct xfer x;
	struct mem m;		/* ordinary memory, as if it were a dma-buf */
	void *map;
	bool target;
};

FIXTURE(premap) {
	struct premap t;
};

FIXTURE_VARIANT(premap) {
	size_t offset;		/* of the buffer in its first page */
	bool huge, target;
	unsigned int ring_flags;
};

FIXTURE_VARIANT_ADD(premap, target) {
	.target = true,
};

FIXTURE_VARIANT_ADD(premap, any_file) {
	.offset = 1536, .ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(premap, huge) {
	.offset = 4096 + 512, .huge = true, .target = true,
};

static int set_slot(struct premap *t)
{
	return ring_set_premap(&t->e.ring, SLOT, t->m.va, SIZE, t->target ? t->e.disk.fd : -1);
}

/* Who may lock any amount of memory is not accounted for */
static int lose_ipc_lock(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct rlimit lim = { .rlim_cur = 1UL << 30, .rlim_max = 1UL << 30 };
	struct __user_cap_data_struct caps[2];

	if (setrlimit(RLIMIT_MEMLOCK, &lim) || syscall(__NR_capget, &head, caps))
		return -errno;
	caps[0].effective &= ~(1U << CAP_IPC_LOCK);
	return syscall(__NR_capset, &head, caps) ? -errno : 0;
}

FIXTURE_SETUP(premap)
{
	struct premap *t = &self->t;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	ASSERT_EQ(0, lose_ipc_lock());
	if (!fixture_open(_metadata, &t->e, MEM_UDMABUF, MIB(1), variant->ring_flags))
		return;
	if (variant->huge) {
		sysfs_set("4", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
		flags |= MAP_HUGETLB | MAP_HUGE_2MB;
	}
	t->map = mmap(NULL, SIZE + MIB(2), PROT_READ | PROT_WRITE, flags, -1, 0);
	if (t->map == MAP_FAILED && variant->huge) {
		env_close(&t->e);
		SKIP(return, "no huge pages");
	}
	ASSERT_NE(MAP_FAILED, t->map);
	t->m = (struct mem){ .fd = -1, .memfd = -1, .size = SIZE,
			     .va = t->map + variant->offset };
	t->target = variant->target;
	ASSERT_EQ(0, set_slot(t));
	xfer_init(&t->x, &t->e, &t->m, SLOT);
	t->x.move = xfer_move_uaddr;
	xfer_poison(&t->x);
}

static int attached(void)
{
	unsigned int nr;

	return watch_exporter(EXPORTER, &nr);
}

/* A completion is seen a moment before its request has let go of the buffer */
static int wait_attached(int want)
{
	int i;

	for (i = 0; attached() != want; i++) {
		if (i == 500)
			return -ETIME;
		usleep(10000);
	}
	return 0;
}

FIXTURE_TEARDOWN(premap)
{
	ring_exit(&self->t.e.ring);
	EXPECT_EQ(0, wait_attached(0));
	munmap(self->t.map, SIZE + MIB(2));
	fixture_close(_metadata, &self->t.e);
}

TEST_F_TIMEOUT(premap, both_ways, 300)
{
	struct premap *t = &self->t;
	size_t lbs = t->e.disk.lbs, i;
	const size_t len[] = { lbs, 4096, 65536 - lbs, 131072, SIZE - 2 * lbs, SIZE };
	const uint64_t off[] = { 0, lbs, 4096, 511 * 4096 };

	EXPECT_EQ(t->target ? 1 : 0, attached());
	for (i = 0; i < 2 * ARRAY_SIZE(len) * ARRAY_SIZE(off); i++) {
		uint64_t o = off[i / 2 % ARRAY_SIZE(off)];
		size_t l = len[i / 2 / ARRAY_SIZE(off)];

		if (o + l > SIZE)
			continue;
		ASSERT_EQ(0, xfer_one(&t->x, i & 1, o, l, XFER_POS))
			TH_LOG("%zu bytes at %llu: %s", l, (unsigned long long)o, t->x.why);
	}
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(1, attached());
}

/* The same borders as those of any registered memory */
TEST_F_TIMEOUT(premap, bounds, 120)
{
	struct premap *t = &self->t;
	size_t lbs = t->e.disk.lbs, i;
	const struct {
		long long off;
		size_t len;
		int err;
	} bad[] = {
		{ -(long long)lbs, lbs, -EFAULT }, { -(long long)lbs, 2 * lbs, -EFAULT },
		{ SIZE, lbs, -EFAULT }, { SIZE - lbs, 2 * lbs, -EFAULT },
		{ 1, lbs, -EINVAL }, { 0, lbs + 4, -EINVAL },
	};

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(bad[i].err, t->x.move(&t->x, false, bad[i].off, bad[i].len, XFER_POS))
			TH_LOG("case %zu", i);
		EXPECT_EQ(bad[i].err, t->x.move(&t->x, true, bad[i].off, bad[i].len, XFER_POS))
			TH_LOG("case %zu", i);
	}
	/* An offset, as into a dma-buf, is a bad address */
	EXPECT_EQ(-EFAULT, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, SLOT, 0, lbs,
				   XFER_POS));
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
}

/* Pinned while it is registered, and not a moment longer */
TEST_F_TIMEOUT(premap, accounting, 120)
{
	struct premap *t = &self->t;
	long with = watch_pinned_kb(), without;
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
		ASSERT_EQ(0, wait_attached(0));
		without = watch_pinned_kb();
		EXPECT_LE((long)(SIZE / 1024), with - without);
		ASSERT_EQ(0, set_slot(t));
		EXPECT_EQ(with, watch_pinned_kb());
		EXPECT_EQ(0, xfer_read(&t->x, 0, MIB(1), XFER_POS))
			TH_LOG("%s", t->x.why);
		EXPECT_EQ(1, attached());
	}
}

/* What can't use the mapping works as with any registered memory */
TEST_F_TIMEOUT(premap, other_uses, 120)
{
	struct premap *t = &self->t;
	struct ring *r = &t->e.ring;
	unsigned int lbs = t->e.disk.lbs;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	struct iovec iov[2];
	char debug[8] = "";
	int fd, other;

	sysfs_get(debug, sizeof(debug), "/sys/kernel/debug/dma-api/disabled");
	if (!strcmp(debug, "N"))
		SKIP(return, "the DMA debugging of this kernel wants each page mapped once");

	/* A file in memory */
	fd = memfd_create("premap", 0);
	ASSERT_EQ(0, ftruncate(fd, MIB(1)));
	pattern_fill(t->m.va, 65536, 7, 0);
	EXPECT_EQ(65536, ring_rw(r, IORING_OP_WRITE_FIXED, fd, SLOT, (uintptr_t)t->m.va, 65536, 0));
	EXPECT_EQ(65536, ring_rw(r, IORING_OP_READ_FIXED, fd, SLOT,
				 (uintptr_t)t->m.va + 131072, 65536, 0));
	EXPECT_EQ(-1, pattern_differs(t->m.va + 131072, 65536, 7, 0));
	close(fd);

	/* The page cache of the disk, and the mapping beside it */
	other = open(t->e.disk.path, O_RDWR);
	ASSERT_LE(0, other);
	EXPECT_EQ(4096, ring_rw(r, IORING_OP_READ_FIXED, other, SLOT, (uintptr_t)t->m.va, 4096,
				XFER_POS));
	close(other);
	EXPECT_EQ(4096, ring_rw(r, IORING_OP_READ_FIXED, t->e.disk.witness, SLOT,
				(uintptr_t)t->m.va, 4096, XFER_POS));

	/* Several pieces, of any alignment of the device */
	iov[0] = (struct iovec){ t->m.va + 8192, lbs };
	iov[1] = (struct iovec){ t->m.va + 65536, 65536 - lbs };
	pattern_fill(t->m.va, SIZE, 9, 0);
	sqe = ring_sqe(r);
	ring_prep_rw(sqe, DIO_OP_WRITEV_FIXED, t->e.disk.fd, SLOT, (uintptr_t)iov, 2, XFER_POS);
	ASSERT_EQ(1, ring_submit(r, 0));
	ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
	EXPECT_EQ(65536, cqe.res);
	memset(t->m.va, 0, 65536);
	ASSERT_EQ(65536, pread(t->e.disk.witness, memset(t->map + SIZE + MIB(1), 0, 65536), 65536,
			       XFER_POS));
	EXPECT_EQ(-1, pattern_differs(t->map + SIZE + MIB(1), lbs, 9, 8192));
	EXPECT_EQ(-1, pattern_differs(t->map + SIZE + MIB(1) + lbs, 65536 - lbs, 9, 65536));

	xfer_poison(&t->x);
	EXPECT_EQ(0, xfer_write(&t->x, 0, SIZE, XFER_POS))
		TH_LOG("%s", t->x.why);
}

/* Replaced, cleared and cloned while requests are in flight */
TEST_F_TIMEOUT(premap, in_flight, 300)
{
	struct premap *t = &self->t;
	struct ring *r = &t->e.ring;
	uint64_t seed = rnd_next(&t->e.rnd);
	unsigned int i, round, nr = SIZE / 65536;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	bool clear;

	for (round = 0; round < 6; round++) {
		pattern_fill(t->m.va, SIZE, seed, 0);
		ASSERT_EQ(0, disk_put(&t->e.disk, t->m.va, SIZE, XFER_POS));
		xfer_poison(&t->x);
		for (i = 0; i < nr; i++) {
			sqe = ring_sqe(r);
			ASSERT_NE(NULL, sqe);
			ring_prep_rw(sqe, IORING_OP_READ_FIXED, t->e.disk.fd, SLOT,
				     (uintptr_t)t->m.va + i * 65536, 65536, XFER_POS + i * 65536);
		}
		ASSERT_EQ((int)nr, ring_submit(r, 0));
		/* A polling thread may not have seen them yet */
		clear = !(r->flags & IORING_SETUP_SQPOLL) && (round & 1);
		ASSERT_EQ(0, clear ? ring_clear(r, SLOT) : 0);
		for (i = 0; i < nr; i++) {
			ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
			ASSERT_EQ(65536, cqe.res);
		}
		EXPECT_EQ(-1, pattern_differs(t->m.va, SIZE, seed, 0));
		ASSERT_EQ(0, set_slot(t));
	}
}

TEST_F_TIMEOUT(premap, clone, 120)
{
	struct premap *t = &self->t;
	struct ring other;

	ASSERT_EQ(0, ring_init(&other, 8, 0));
	ASSERT_EQ(0, ring_clone(&other, &t->e.ring, 0, 0, 0, 0));
	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	t->x.ring = &other;
	EXPECT_EQ(0, xfer_write(&t->x, 4096, MIB(1), XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_read(&t->x, 4096, MIB(1), XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(1, attached());
	ring_exit(&other);
	EXPECT_EQ(0, wait_attached(0));
}

/* Only block devices that can */
TEST_F_TIMEOUT(premap, targets, 120)
{
	struct premap *t = &self->t;
	struct ring *r = &t->e.ring;
	struct stacked loop;
	int fd;

	fd = open(t->e.disk.path, O_RDWR);
	EXPECT_EQ(-EINVAL, ring_set_premap(r, SLOT + 1, t->m.va, MIB(1), fd));
	close(fd);
	EXPECT_EQ(-EBADF, ring_set_premap(r, SLOT + 1, t->m.va, MIB(1), 0x7fffffff));
	fd = open("/dev/null", O_RDWR);
	EXPECT_EQ(-EOPNOTSUPP, ring_set_premap(r, SLOT + 1, t->m.va, MIB(1), fd));
	close(fd);
	if (!stack_loop(&loop, MIB(64))) {
		fd = open(loop.path, O_RDWR | O_DIRECT);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-EOPNOTSUPP, ring_set_premap(r, SLOT + 1, t->m.va, MIB(1), fd));
		/* without saying so it is ordinary memory there */
		ASSERT_EQ(0, ring_set_premap(r, SLOT + 1, t->map + SIZE + MIB(1), 65536, -1));
		EXPECT_EQ(65536, ring_rw(r, IORING_OP_READ_FIXED, fd, SLOT + 1,
					 (uintptr_t)t->map + SIZE + MIB(1), 65536, 0));
		close(fd);
		EXPECT_EQ(0, stack_remove(&loop));
	}
}

TEST_HARNESS_MAIN
