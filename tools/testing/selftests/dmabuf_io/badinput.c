// SPDX-License-Identifier: GPL-2.0
/*
 * Every field of the update, the descriptor and the request that user space
 * can get wrong: the error it gets, and that nothing else changes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fixture.h"
#include "watch.h"
#include "xfer.h"

#define GOOD_SLOT	2
#define FREE_SLOT	3

/* Stands for memory that could be registered */
#define UADDR		1ULL
/* Stand-ins in the tables, replaced by what the fixture has opened */
enum {
	FD_DMABUF	= -100,
	FD_DISK		= -101,
	FD_WITNESS	= -102,
	FD_REGULAR	= -103,
	FD_PIPE		= -104,
	FD_RING		= -105,
	FD_EVENT	= -106,
};

enum ptr_kind { PTR_GOOD, PTR_NULL, PTR_UNMAPPED, PTR_EDGE, PTR_KERNEL };

struct badinput {
	struct env e;
	struct xfer x;
	int regular, pipe[2], event;
	char *edge;		/* the page after this address is not mapped */
};

FIXTURE(badinput) {
	struct badinput t;
};

FIXTURE_SETUP(badinput)
{
	long page = sysconf(_SC_PAGESIZE);

	if (!fixture_open(_metadata, &self->t.e, MEM_UDMABUF, MIB(1), 0))
		return;
	ASSERT_EQ(0, ring_set_dmabuf(&self->t.e.ring, GOOD_SLOT, self->t.e.mem.fd,
				     self->t.e.disk.fd));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, GOOD_SLOT);
	xfer_poison(&self->t.x);

	self->t.regular = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	ASSERT_LE(0, self->t.regular);
	ASSERT_EQ(0, ftruncate(self->t.regular, MIB(1)));
	ASSERT_EQ(0, pipe(self->t.pipe));
	self->t.event = eventfd(0, 0);
	ASSERT_LE(0, self->t.event);
	self->t.edge = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->t.edge);
	self->t.edge += page;
	ASSERT_EQ(0, munmap(self->t.edge, page));
}

FIXTURE_TEARDOWN(badinput)
{
	close(self->t.regular);
	close(self->t.pipe[0]);
	close(self->t.pipe[1]);
	close(self->t.event);
	fixture_close(_metadata, &self->t.e);
}

static int real_fd(struct badinput *t, int fd)
{
	switch (fd) {
	case FD_DMABUF:
		return t->e.mem.fd;
	case FD_DISK:
		return t->e.disk.fd;
	case FD_WITNESS:
		return t->e.disk.witness;
	case FD_REGULAR:
		return t->regular;
	case FD_PIPE:
		return t->pipe[0];
	case FD_RING:
		return t->e.ring.fd;
	case FD_EVENT:
		return t->event;
	}
	return fd;
}

/* The good slot still moves data, the free slot is still free, nothing is held */
static void check_unchanged(struct __test_metadata *_metadata, struct badinput *t,
			    const char *name)
{
	EXPECT_EQ(0, xfer_read(&t->x, 4096, 8192, XFER_POS))
		TH_LOG("after %s: %s", name, t->x.why);
	EXPECT_EQ(-EFAULT, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd,
				   FREE_SLOT, 0, 4096, XFER_POS))
		TH_LOG("after %s", name);
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 1, 10000))
		TH_LOG("after %s: attached %d times", name, watch_attached(t->e.mem.ino));
}

#define DMABUF_DESC(...) { .type = DIO_TYPE_DMABUF, .dmabuf_fd = FD_DMABUF, \
			   .target_fd = FD_DISK, __VA_ARGS__ }

/* Wextra dislikes that a table entry overrides a field of DMABUF_DESC() */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"

static const struct bad_desc {
	const char *name;
	struct dio_regbuf_desc desc;
	int err, or_err;
} bad_descs[] = {
	{ "unknown type 4", { .type = 4 }, -EINVAL, 0 },
	{ "unknown type 255", { .type = 255 }, -EINVAL, 0 },
	{ "unknown type UINT_MAX", { .type = ~0U }, -EINVAL, 0 },
	{ "both directions only", DMABUF_DESC(.flags = DIO_SOURCE_ONLY | DIO_DEST_ONLY),
	  -EINVAL, 0 },
	{ "flag 3", DMABUF_DESC(.flags = 1U << 3), -EINVAL, 0 },
	{ "flag 3 too", DMABUF_DESC(.flags = 1U << 3 | DIO_DEST_ONLY), -EINVAL, 0 },
	{ "flag 31", DMABUF_DESC(.flags = 1U << 31), -EINVAL, 0 },
	{ "size 1", DMABUF_DESC(.size = 1), -EINVAL, 0 },
	{ "size of half a page", DMABUF_DESC(.size = 2048), -EINVAL, 0 },
	{ "size U64_MAX", DMABUF_DESC(.size = ~0ULL), -EINVAL, 0 },
	{ "size over the end", DMABUF_DESC(.size = MIB(1) + 4096), -ERANGE, 0 },
	{ "size 2^63", DMABUF_DESC(.size = 1ULL << 63), -ERANGE, 0 },
	{ "part at the end", DMABUF_DESC(.uaddr = MIB(1), .size = 4096), -ERANGE, 0 },
	{ "part over the end", DMABUF_DESC(.uaddr = 4096, .size = MIB(1)), -ERANGE, 0 },
	{ "part overflows", DMABUF_DESC(.uaddr = -4096ULL, .size = 8192), -ERANGE, 0 },
	{ "part is 2^64", DMABUF_DESC(.uaddr = -4096ULL, .size = 4096), -ERANGE, 0 },
	{ "part misaligned", DMABUF_DESC(.uaddr = 512, .size = 4096), -EINVAL, 0 },
	{ "part without a size", DMABUF_DESC(.uaddr = 4096), -EINVAL, 0 },
	{ "uaddr U64_MAX", DMABUF_DESC(.uaddr = ~0ULL), -EINVAL, 0 },
	{ "resv[0]", DMABUF_DESC(.resv = { [0] = 1 }), -EINVAL, 0 },
	{ "resv[1]", DMABUF_DESC(.resv = { [1] = 1 }), -EINVAL, 0 },
	{ "resv[2]", DMABUF_DESC(.resv = { [2] = 1 }), -EINVAL, 0 },
	{ "resv[3]", DMABUF_DESC(.resv = { [3] = 1 }), -EINVAL, 0 },
	{ "resv[4]", DMABUF_DESC(.resv = { [4] = 1ULL << 63 }), -EINVAL, 0 },
	{ "resv[5]", DMABUF_DESC(.resv = { [5] = 1ULL << 32 }), -EINVAL, 0 },
	{ "dmabuf_fd -1", DMABUF_DESC(.dmabuf_fd = -1), -EBADF, 0 },
	{ "dmabuf_fd INT_MAX", DMABUF_DESC(.dmabuf_fd = 0x7fffffff), -EBADF, 0 },
	{ "dmabuf_fd of a file", DMABUF_DESC(.dmabuf_fd = FD_REGULAR), -EINVAL, 0 },
	{ "dmabuf_fd of the disk", DMABUF_DESC(.dmabuf_fd = FD_DISK), -EINVAL, 0 },
	{ "dmabuf_fd of a pipe", DMABUF_DESC(.dmabuf_fd = FD_PIPE), -EINVAL, 0 },
	{ "dmabuf_fd -1 for any file", DMABUF_DESC(.dmabuf_fd = -1, .target_fd = -1), -EBADF, 0 },
	{ "target_fd -2", DMABUF_DESC(.target_fd = -2), -EBADF, 0 },
	{ "target_fd INT_MAX", DMABUF_DESC(.target_fd = 0x7fffffff), -EBADF, 0 },
	{ "target is a file", DMABUF_DESC(.target_fd = FD_REGULAR), -EINVAL, -EOPNOTSUPP },
	{ "target is a pipe", DMABUF_DESC(.target_fd = FD_PIPE), -EINVAL, -EOPNOTSUPP },
	{ "target is a dma-buf", DMABUF_DESC(.target_fd = FD_DMABUF), -EINVAL, -EOPNOTSUPP },
	{ "target is the ring", DMABUF_DESC(.target_fd = FD_RING), -EBADF, -EOPNOTSUPP },
	{ "target is an eventfd", DMABUF_DESC(.target_fd = FD_EVENT), -EINVAL, -EOPNOTSUPP },
	{ "fds swapped", DMABUF_DESC(.dmabuf_fd = FD_DISK, .target_fd = FD_DMABUF),
	  -EINVAL, -EOPNOTSUPP },
	{ "empty with flags", { .type = DIO_TYPE_EMPTY, .flags = 1 }, -EINVAL, 0 },
	{ "empty with a size", { .type = DIO_TYPE_EMPTY, .size = 4096 }, -EINVAL, 0 },
	{ "empty with an address", { .type = DIO_TYPE_EMPTY, .uaddr = 4096 }, -EINVAL, 0 },
	{ "empty with resv[5]", { .type = DIO_TYPE_EMPTY, .resv = { [5] = 1 } }, -EINVAL, 0 },
	{ "empty with dmabuf_fd", { .type = DIO_TYPE_EMPTY, .dmabuf_fd = FD_DMABUF }, -EINVAL, 0 },
	{ "empty with dmabuf_fd -2", { .type = DIO_TYPE_EMPTY, .dmabuf_fd = -2 }, -EINVAL, 0 },
	{ "empty with target_fd", { .type = DIO_TYPE_EMPTY, .target_fd = FD_DISK }, -EINVAL, 0 },
	{ "empty with target_fd -2", { .type = DIO_TYPE_EMPTY, .target_fd = -2 }, -EINVAL, 0 },
	{ "memory with flags", { .type = DIO_TYPE_UADDR, .flags = 1, .size = 4096 }, -EINVAL, 0 },
	{ "memory with flag 3", { .type = DIO_TYPE_UADDR, .flags = 8, .size = 4096 }, -EINVAL, 0 },
	{ "memory with a dma-buf", { .type = DIO_TYPE_UADDR, .flags = DIO_PREMAP, .size = 4096,
	  .dmabuf_fd = FD_DMABUF, .target_fd = FD_DISK }, -EINVAL, 0 },
	{ "memory with a target", { .type = DIO_TYPE_UADDR, .size = 4096,
	  .target_fd = FD_DISK }, -EINVAL, 0 },
	{ "memory to map, not mapped", { .type = DIO_TYPE_UADDR, .flags = DIO_PREMAP, .uaddr = 4096,
	  .size = 4096, .target_fd = FD_DISK }, -EFAULT, 0 },
	{ "dma-buf to map", DMABUF_DESC(.flags = DIO_PREMAP), -EINVAL, 0 },
	{ "memory with resv[0]", { .type = DIO_TYPE_UADDR, .resv = { 1 } }, -EINVAL, 0 },
	{ "memory with dmabuf_fd", { .type = DIO_TYPE_UADDR, .uaddr = UADDR, .size = 4096,
	  .dmabuf_fd = FD_DMABUF }, -EINVAL, 0 },
	{ "memory with dmabuf_fd -2", { .type = DIO_TYPE_UADDR, .uaddr = UADDR, .size = 4096,
	  .dmabuf_fd = -2 }, -EINVAL, 0 },
	{ "memory with target_fd", { .type = DIO_TYPE_UADDR, .uaddr = UADDR, .size = 4096,
	  .target_fd = FD_DISK }, -EINVAL, 0 },
	{ "memory with target_fd -2", { .type = DIO_TYPE_UADDR, .uaddr = UADDR, .size = 4096,
	  .target_fd = -2 }, -EINVAL, 0 },
	{ "memory, kernel address", { .type = DIO_TYPE_UADDR, .uaddr = 0xffff888000000000ULL,
	  .size = 4096 }, -EFAULT, 0 },
	{ "memory, not mapped", { .type = DIO_TYPE_UADDR, .uaddr = 4096, .size = 4096 },
	  -EFAULT, 0 },
	{ "memory, over 1 TiB", { .type = DIO_TYPE_UADDR, .uaddr = 4096, .size = 1ULL << 41 },
	  -EINVAL, 0 },
	{ "memory, no size", { .type = DIO_TYPE_UADDR, .uaddr = 4096 }, -EFAULT, 0 },
	{ "memory, no address", { .type = DIO_TYPE_UADDR, .size = 4096 }, -EFAULT, 0 },
	{ "memory, nothing", { .type = DIO_TYPE_UADDR }, -EFAULT, 0 },
};

#pragma GCC diagnostic pop

TEST_F_TIMEOUT(badinput, descriptor, 300)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_descs); i++) {
		const struct bad_desc *b = &bad_descs[i];
		struct dio_regbuf_desc d = b->desc;
		int ret;

		d.dmabuf_fd = real_fd(&self->t, d.dmabuf_fd);
		d.target_fd = real_fd(&self->t, d.target_fd);
		if (d.uaddr == UADDR)
			d.uaddr = (uintptr_t)self->t.edge - 4096;
		ret = ring_update(&self->t.e.ring, FREE_SLOT, &d, 1, NULL);
		if (ret != b->or_err || !ret)
			EXPECT_EQ(b->err, ret)
				TH_LOG("%s", b->name);
		check_unchanged(_metadata, &self->t, b->name);

		/* A slot in use keeps its buffer, too */
		EXPECT_EQ(ret, ring_update(&self->t.e.ring, GOOD_SLOT, &d, 1, NULL))
			TH_LOG("%s", b->name);
		check_unchanged(_metadata, &self->t, b->name);
	}
}

static uint64_t make_ptr(struct badinput *t, enum ptr_kind kind, const void *good,
			 size_t size)
{
	switch (kind) {
	case PTR_NULL:
		return 0;
	case PTR_UNMAPPED:
		return (uintptr_t)t->edge;
	case PTR_EDGE:
		memcpy(t->edge - size / 2, good, size / 2);
		return (uintptr_t)t->edge - size / 2;
	case PTR_KERNEL:
		return 0xffff888000000000ULL;
	default:
		return (uintptr_t)good;
	}
}

static const struct bad_update {
	const char *name;
	__u32 offset, flags, nr, resv2;
	enum ptr_kind data, tags;
	int err;
} bad_updates[] = {
	{ "nr 0", FREE_SLOT, DIO_UPDATE_EXTENDED, 0, 0, PTR_GOOD, PTR_NULL, -EINVAL },
	{ "resv2", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 1, PTR_GOOD, PTR_NULL, -EINVAL },
	{ "resv2 bit 31", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 1U << 31, PTR_GOOD, PTR_NULL,
	  -EINVAL },
	{ "flag 0 alone", FREE_SLOT, 1, 1, 0, PTR_GOOD, PTR_NULL, -EINVAL },
	{ "flag 0 too", FREE_SLOT, DIO_UPDATE_EXTENDED | 1, 1, 0, PTR_GOOD, PTR_NULL, -EINVAL },
	{ "flag 2", FREE_SLOT, DIO_UPDATE_EXTENDED | 4, 1, 0, PTR_GOOD, PTR_NULL, -EINVAL },
	{ "flag 31", FREE_SLOT, DIO_UPDATE_EXTENDED | 1U << 31, 1, 0, PTR_GOOD, PTR_NULL,
	  -EINVAL },
	{ "slot past the table", ENV_SLOTS, DIO_UPDATE_EXTENDED, 1, 0, PTR_GOOD, PTR_NULL,
	  -EINVAL },
	{ "slots past the table", FREE_SLOT, DIO_UPDATE_EXTENDED, ENV_SLOTS, 0, PTR_GOOD,
	  PTR_NULL, -EINVAL },
	{ "offset overflows", ~0U, DIO_UPDATE_EXTENDED, 1, 0, PTR_GOOD, PTR_NULL, -EOVERFLOW },
	{ "nr overflows", FREE_SLOT, DIO_UPDATE_EXTENDED, ~0U, 0, PTR_GOOD, PTR_NULL,
	  -EOVERFLOW },
	{ "data NULL", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_NULL, PTR_NULL, -EFAULT },
	{ "data not mapped", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_UNMAPPED, PTR_NULL,
	  -EFAULT },
	{ "data half mapped", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_EDGE, PTR_NULL, -EFAULT },
	{ "data in the kernel", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_KERNEL, PTR_NULL,
	  -EFAULT },
	{ "tags not mapped", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_GOOD, PTR_UNMAPPED,
	  -EFAULT },
	{ "tags half mapped", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_GOOD, PTR_EDGE, -EFAULT },
	{ "tags in the kernel", FREE_SLOT, DIO_UPDATE_EXTENDED, 1, 0, PTR_GOOD, PTR_KERNEL,
	  -EFAULT },
};

TEST_F_TIMEOUT(badinput, update, 300)
{
	struct dio_regbuf_desc d[ENV_SLOTS] = {};
	__u64 tag = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(d); i++)
		d[i] = (struct dio_regbuf_desc){ .type = DIO_TYPE_DMABUF,
						 .dmabuf_fd = self->t.e.mem.fd,
						 .target_fd = self->t.e.disk.fd };

	for (i = 0; i < ARRAY_SIZE(bad_updates); i++) {
		const struct bad_update *b = &bad_updates[i];
		struct dio_rsrc_update up = {
			.offset = b->offset,
			.flags = b->flags,
			.nr = b->nr,
			.resv2 = b->resv2,
			.data = make_ptr(&self->t, b->data, d, sizeof(d[0])),
			.tags = make_ptr(&self->t, b->tags, &tag, sizeof(tag)),
		};

		EXPECT_EQ(b->err, ring_register(&self->t.e.ring, IORING_REGISTER_BUFFERS_UPDATE,
						&up, sizeof(up)))
			TH_LOG("%s", b->name);
		check_unchanged(_metadata, &self->t, b->name);
	}
}

TEST_F_TIMEOUT(badinput, update_call, 300)
{
	struct dio_regbuf_desc d = { .type = DIO_TYPE_DMABUF, .dmabuf_fd = self->t.e.mem.fd,
				     .target_fd = self->t.e.disk.fd };
	struct dio_rsrc_update up = { .offset = FREE_SLOT, .flags = DIO_UPDATE_EXTENDED,
				      .data = (uintptr_t)&d, .nr = 1 };
	struct io_uring_rsrc_register rr = { .nr = 1, .flags = DIO_UPDATE_EXTENDED,
					     .data = (uintptr_t)&d };
	static const unsigned int sizes[] = { 0, 1, 16, 24, sizeof(up) - 1, sizeof(up) + 1, 64 };
	struct ring r;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_EQ(-EINVAL, ring_register(&self->t.e.ring, IORING_REGISTER_BUFFERS_UPDATE,
						 &up, sizes[i]))
			TH_LOG("size %u", sizes[i]);
	EXPECT_EQ(-EFAULT, ring_register(&self->t.e.ring, IORING_REGISTER_BUFFERS_UPDATE,
					 self->t.edge - 8, sizeof(up)));
	EXPECT_EQ(-EFAULT, ring_register(&self->t.e.ring, IORING_REGISTER_BUFFERS_UPDATE,
					 NULL, sizeof(up)));
	check_unchanged(_metadata, &self->t, "size");

	/* The flag belongs to the update of buffers alone */
	EXPECT_GT(0, ring_register(&self->t.e.ring, IORING_REGISTER_FILES_UPDATE2, &up,
				   sizeof(up)));
	ASSERT_EQ(0, ring_init(&r, 4, 0));
	EXPECT_EQ(-ENXIO, ring_set_dmabuf(&r, 0, self->t.e.mem.fd, self->t.e.disk.fd));
	EXPECT_EQ(-EINVAL, ring_register(&r, IORING_REGISTER_BUFFERS2, &rr, sizeof(rr)));
	ring_exit(&r);
	check_unchanged(_metadata, &self->t, "other calls");
}

TEST_F_TIMEOUT(badinput, probe, 60)
{
	struct dio_regbuf_desc empty = { .type = DIO_TYPE_EMPTY };
	struct dio_regbuf_desc no_files = { .dmabuf_fd = -1, .target_fd = -1 };
	__u64 tag = 7;

	EXPECT_EQ(-EBADF, ring_set_dmabuf(&self->t.e.ring, FREE_SLOT, -1, -1));
	/* -1 is another way to say that there is no file */
	EXPECT_EQ(1, ring_update(&self->t.e.ring, FREE_SLOT, &no_files, 1, NULL));
	/* A tag announces the release of a resource: there is none */
	EXPECT_EQ(-EINVAL, ring_update(&self->t.e.ring, FREE_SLOT, &empty, 1, &tag));
	check_unchanged(_metadata, &self->t, "probe");
}

/* An array stops at the first bad entry, and says how far it came */
TEST_F_TIMEOUT(badinput, array, 60)
{
	struct dio_regbuf_desc good = { .type = DIO_TYPE_DMABUF, .dmabuf_fd = self->t.e.mem.fd,
					.target_fd = self->t.e.disk.fd };
	struct dio_regbuf_desc d[4] = { good, good, good, good }, *split;
	struct ring *r = &self->t.e.ring;
	int i, bad;

	for (bad = 0; bad < 4; bad++) {
		for (i = 0; i < 4; i++)
			d[i] = good;
		d[bad].dmabuf_fd = -1;
		EXPECT_EQ(bad ? bad : -EBADF, ring_update(r, 4, d, 4, NULL));
		for (i = 0; i < 4; i++) {
			EXPECT_EQ(i < bad ? 4096 : -EFAULT,
				  ring_rw(r, IORING_OP_READ_FIXED, self->t.e.disk.fd, 4 + i,
					  0, 4096, XFER_POS));
			EXPECT_EQ(0, ring_clear(r, 4 + i));
		}
	}

	/* Two entries fit before the end of the mapping, the third is cut */
	split = (void *)(self->t.edge - 2 * sizeof(good) - 40);
	for (i = 0; i < 2; i++)
		split[i] = good;
	EXPECT_EQ(2, ring_update(r, 4, split, 4, NULL));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, ring_clear(r, 4 + i));
	xfer_poison(&self->t.x);
	check_unchanged(_metadata, &self->t, "array");
}

TEST_F_TIMEOUT(badinput, request, 300)
{
	const uint64_t size = self->t.e.mem.size, lbs = self->t.e.disk.lbs;
	const uint64_t end = self->t.e.disk.size;
	const int rd = IORING_OP_READ_FIXED, wr = IORING_OP_WRITE_FIXED;
	const struct {
		const char *name;
		int op, fd;
		unsigned int slot;
		uint64_t addr, len, pos;
		unsigned int flags, ioprio;
		int err;
	} bad[] = {
		{ "at the end", rd, FD_DISK, GOOD_SLOT, size, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "at the end", wr, FD_DISK, GOOD_SLOT, size, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "over the end", rd, FD_DISK, GOOD_SLOT, size - lbs, 2 * lbs, XFER_POS, 0, 0,
		  -EFAULT },
		{ "over the end", wr, FD_DISK, GOOD_SLOT, size - lbs, 2 * lbs, XFER_POS, 0, 0,
		  -EFAULT },
		{ "too long", rd, FD_DISK, GOOD_SLOT, 0, size + lbs, XFER_POS, 0, 0, -EFAULT },
		{ "addr 2^32", rd, FD_DISK, GOOD_SLOT, 1ULL << 32, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "addr 2^63", rd, FD_DISK, GOOD_SLOT, 1ULL << 63, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "sum overflows", rd, FD_DISK, GOOD_SLOT, -lbs, 2 * lbs, XFER_POS, 0, 0,
		  -EFAULT },
		{ "sum is 2^64", rd, FD_DISK, GOOD_SLOT, -lbs, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "a virtual address", rd, FD_DISK, GOOD_SLOT, (uintptr_t)self->t.e.mem.va, lbs,
		  XFER_POS, 0, 0, -EFAULT },
		{ "length unaligned", rd, FD_DISK, GOOD_SLOT, 0, lbs + 1, XFER_POS, 0, 0,
		  -EINVAL },
		{ "length unaligned", wr, FD_DISK, GOOD_SLOT, 0, lbs - 1, XFER_POS, 0, 0,
		  -EINVAL },
		{ "length 1", rd, FD_DISK, GOOD_SLOT, 0, 1, XFER_POS, 0, 0, -EINVAL },
		{ "address odd", rd, FD_DISK, GOOD_SLOT, 1, lbs, XFER_POS, 0, 0, -EINVAL },
		{ "address odd", wr, FD_DISK, GOOD_SLOT, lbs + 3, lbs, XFER_POS, 0, 0, -EINVAL },
		{ "position unaligned", rd, FD_DISK, GOOD_SLOT, 0, lbs, XFER_POS + 1, 0, 0,
		  -EINVAL },
		{ "position unaligned", wr, FD_DISK, GOOD_SLOT, 0, lbs, XFER_POS + lbs / 2, 0, 0,
		  -EINVAL },
		{ "position negative", rd, FD_DISK, GOOD_SLOT, 0, lbs, -2 * lbs, 0, 0, -EINVAL },
		{ "write past the disk", wr, FD_DISK, GOOD_SLOT, 0, lbs, end, 0, 0, -ENOSPC },
		{ "read past the disk", rd, FD_DISK, GOOD_SLOT, 0, lbs, end, 0, 0, 0 },
		{ "nothing", rd, FD_DISK, GOOD_SLOT, 0, 0, XFER_POS, 0, 0, 0 },
		{ "nothing", wr, FD_DISK, GOOD_SLOT, size, 0, XFER_POS, 0, 0, 0 },
		{ "another open file", rd, FD_WITNESS, GOOD_SLOT, 0, lbs, XFER_POS, 0, 0,
		  -EBADF },
		{ "another open file", wr, FD_WITNESS, GOOD_SLOT, 0, lbs, XFER_POS, 0, 0,
		  -EBADF },
		{ "a regular file", rd, FD_REGULAR, GOOD_SLOT, 0, lbs, XFER_POS, 0, 0, -EBADF },
		{ "a regular file", wr, FD_REGULAR, GOOD_SLOT, 0, lbs, XFER_POS, 0, 0, -EBADF },
		{ "no file", rd, -1, GOOD_SLOT, 0, lbs, XFER_POS, 0, 0, -EBADF },
		{ "empty slot", rd, FD_DISK, FREE_SLOT, 0, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "empty slot", wr, FD_DISK, FREE_SLOT, 0, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "slot past the table", rd, FD_DISK, ENV_SLOTS, 0, lbs, XFER_POS, 0, 0,
		  -EFAULT },
		{ "slot 65535", rd, FD_DISK, 65535, 0, lbs, XFER_POS, 0, 0, -EFAULT },
		{ "buffer select", rd, FD_DISK, GOOD_SLOT, 0, lbs, XFER_POS,
		  IOSQE_BUFFER_SELECT, 0, -EOPNOTSUPP },
		{ "priority", rd, FD_DISK, GOOD_SLOT, 0, lbs, XFER_POS, 0, 0xffff, -EINVAL },
	};
	struct ring *r = &self->t.e.ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	char name[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(name, sizeof(name), "%s: %s", bad[i].op == rd ? "read" : "write",
			 bad[i].name);
		sqe = ring_sqe(r);
		ASSERT_NE(NULL, sqe);
		ring_prep_rw(sqe, bad[i].op, real_fd(&self->t, bad[i].fd), bad[i].slot, bad[i].addr,
			     bad[i].len, bad[i].pos);
		sqe->flags = bad[i].flags;
		sqe->ioprio = bad[i].ioprio;
		ASSERT_EQ(1, ring_submit(r, 0));
		ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ(bad[i].err, cqe.res)
			TH_LOG("%s", name);
		check_unchanged(_metadata, &self->t, name);
	}
}

/* Operations that can't take such a buffer say so, and touch nothing */
TEST_F_TIMEOUT(badinput, other_operations, 60)
{
	struct ring *r = &self->t.e.ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;

	/* The slot's number used as a plain buffer: an address near NULL */
	sqe = ring_sqe(r);
	ring_prep_rw(sqe, IORING_OP_READ, self->t.e.disk.fd, GOOD_SLOT, 0, 4096, XFER_POS);
	ASSERT_EQ(1, ring_submit(r, 0));
	ASSERT_EQ(0, ring_wait(r, &cqe, RING_TIMEOUT_MS));
	EXPECT_GT(0, cqe.res);
	check_unchanged(_metadata, &self->t, "plain read");

	/* Pipe: no O_DIRECT, not the registered file */
	EXPECT_EQ(-EBADF, ring_rw(r, IORING_OP_WRITE_FIXED, self->t.pipe[1], GOOD_SLOT, 0, 4096,
				  -1ULL));
	check_unchanged(_metadata, &self->t, "pipe");
}

TEST_HARNESS_MAIN
