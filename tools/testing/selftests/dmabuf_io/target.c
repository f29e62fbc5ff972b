// SPDX-License-Identifier: GPL-2.0
/*
 * Which files a dma-buf can be registered for. What can't do it refuses at
 * registration with -EINVAL or -EOPNOTSUPP; what accepts it moves the data
 * right, never through the page cache.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fixture.h"
#include "stack.h"
#include "sysfs.h"
#include "xfer.h"

#define SLOT		5

struct target {
	struct env e;
	struct xfer x;
	struct stacked stacked;
};

FIXTURE(target) {
	struct target t;
};

FIXTURE_SETUP(target)
{
	if (!fixture_open(_metadata, &self->t.e, MEM_UDMABUF, MIB(1), 0))
		return;
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(target)
{
	/* The registration holds the file, and that the block device */
	ring_exit(&self->t.e.ring);
	EXPECT_EQ(0, stack_remove(&self->t.stacked));
	fixture_close(_metadata, &self->t.e);
}

static int set_target(struct target *t, int fd)
{
	return ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, fd);
}

static void expect_refused(struct __test_metadata *_metadata, struct target *t,
			   int fd)
{
	int ret = set_target(t, fd);

	EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP)
		TH_LOG("registered with %d", ret);
	/* and the slot has stayed empty */
	EXPECT_EQ(-EFAULT, ring_rw(&t->e.ring, IORING_OP_READ_FIXED, t->e.disk.fd, SLOT,
				   0, 4096, XFER_POS));
}

static void expect_both_ways(struct __test_metadata *_metadata, struct target *t)
{
	EXPECT_EQ(0, xfer_read(&t->x, 4096, MIB(1) - 8192, XFER_POS))
		TH_LOG("read: %s", t->x.why);
	EXPECT_EQ(0, xfer_write(&t->x, 4096, MIB(1) - 8192, XFER_POS))
		TH_LOG("write: %s", t->x.why);
}

/* Let the fixture's checks look at another file of other contents */
static void use_other(struct target *t, struct disk *view, int fd, int witness,
		      uint64_t size)
{
	*view = t->e.disk;
	view->fd = fd;
	view->witness = witness;
	view->size = size;
	t->x.disk = view;
	t->x.fd = fd;
}

TEST_F_TIMEOUT(target, not_direct, 120)
{
	int fd = open(self->t.e.disk.path, O_RDWR);

	ASSERT_LE(0, fd);
	expect_refused(_metadata, &self->t, fd);

	/* Only what the file is now counts, not how it was opened */
	ASSERT_EQ(0, fcntl(fd, F_SETFL, O_DIRECT));
	EXPECT_EQ(0, set_target(&self->t, fd));
	self->t.x.fd = fd;
	expect_both_ways(_metadata, &self->t);
	close(fd);
}

TEST_F_TIMEOUT(target, direct_cleared, 120)
{
	struct ring *r = &self->t.e.ring;
	int fd = self->t.e.disk.fd, i, ret;
	char *cached;

	ASSERT_EQ(0, set_target(&self->t, fd));
	expect_both_ways(_metadata, &self->t);
	ASSERT_EQ(0, fcntl(fd, F_SETFL, 0));
	for (i = 0; i < 4; i++) {
		ret = ring_rw(r, i & 1 ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED, fd, SLOT,
			      0, 65536, XFER_POS);
		EXPECT_GT(0, ret);
		EXPECT_NE(-EAGAIN, ret);
	}
	/* The data went nowhere, neither there nor into the page cache */
	EXPECT_EQ(0, xfer_poisoned(&self->t.x));
	cached = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, XFER_POS);
	ASSERT_NE(MAP_FAILED, cached);
	for (i = 0; i < 16; i++) {
		unsigned char in;

		ASSERT_EQ(0, mincore(cached + i * 4096, 4096, &in));
		EXPECT_EQ(0, in & 1);
	}
	munmap(cached, 65536);

	ASSERT_EQ(0, fcntl(fd, F_SETFL, O_DIRECT));
	expect_both_ways(_metadata, &self->t);
}

TEST_F_TIMEOUT(target, read_only_file, 120)
{
	int fd = open(self->t.e.disk.path, O_RDONLY | O_DIRECT);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_target(&self->t, fd));
	self->t.x.fd = fd;
	EXPECT_EQ(0, xfer_read(&self->t.x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	EXPECT_EQ(-EBADF, xfer_write(&self->t.x, 0, 4096, XFER_POS));
	close(fd);
}

TEST_F_TIMEOUT(target, write_only_file, 120)
{
	int fd = open(self->t.e.disk.path, O_WRONLY | O_DIRECT);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_target(&self->t, fd));
	self->t.x.fd = fd;
	EXPECT_EQ(0, xfer_write(&self->t.x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", self->t.x.why);
	EXPECT_EQ(-EBADF, xfer_read(&self->t.x, 0, 4096, XFER_POS));
	close(fd);
}

TEST_F_TIMEOUT(target, same_file_other_numbers, 120)
{
	int fd = dup(self->t.e.disk.fd), other;
	struct io_uring_rsrc_register rr = { .nr = 1, .data = (uintptr_t)&self->t.e.disk.fd };

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, set_target(&self->t, fd));
	expect_both_ways(_metadata, &self->t);
	self->t.x.fd = fd;
	expect_both_ways(_metadata, &self->t);

	/* A file out of the ring's own table */
	ASSERT_EQ(0, ring_register(&self->t.e.ring, IORING_REGISTER_FILES2, &rr, sizeof(rr)));
	self->t.x.fd = 0;
	self->t.x.sqe_flags = IOSQE_FIXED_FILE;
	expect_both_ways(_metadata, &self->t);
	self->t.x.sqe_flags = 0;
	close(fd);

	/* The same number, but another open file */
	other = open(self->t.e.disk.path, O_RDWR | O_DIRECT);
	ASSERT_EQ(fd, other);
	EXPECT_EQ(-EBADF, ring_rw(&self->t.e.ring, IORING_OP_READ_FIXED, fd, SLOT, 0, 4096,
				  XFER_POS));
	close(other);
}

TEST_F_TIMEOUT(target, no_block_device, 120)
{
	int sock[2], fd;

	fd = memfd_create("target", 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, MIB(1)));
	expect_refused(_metadata, &self->t, fd);
	close(fd);

	fd = open("/dev/null", O_RDWR);
	expect_refused(_metadata, &self->t, fd);
	close(fd);
	fd = open("/dev/zero", O_RDWR);
	expect_refused(_metadata, &self->t, fd);
	close(fd);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	expect_refused(_metadata, &self->t, fd);
	close(fd);
	fd = epoll_create1(0);
	expect_refused(_metadata, &self->t, fd);
	close(fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	expect_refused(_metadata, &self->t, sock[0]);
	close(sock[0]);
	close(sock[1]);

	fd = open(self->t.e.disk.path, O_PATH);
	EXPECT_EQ(-EBADF, set_target(&self->t, fd));
	close(fd);
}

TEST_F_TIMEOUT(target, null_blk, 120)
{
	int fd = open("/dev/nullb0", O_RDWR | O_DIRECT);

	if (fd < 0)
		LACKS(return, "no /dev/nullb0");
	expect_refused(_metadata, &self->t, fd);
	close(fd);
}

TEST_F_TIMEOUT(target, loop, 120)
{
	int fd;

	if (stack_loop(&self->t.stacked, MIB(64)))
		LACKS(return, "can't make a loop device");
	fd = open(self->t.stacked.path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	expect_refused(_metadata, &self->t, fd);
	close(fd);
}

/*
 * A mapping that lives long can't be a copy. Where each mapping would be one,
 * boot with swiotlb=force, there is an error, or a way around it.
 */
TEST_F_TIMEOUT(target, bounced, 120)
{
	static const enum mem_kind kinds[] = { MEM_UDMABUF, MEM_UDMABUF_HUGE, MEM_HEAP };
	struct env *e = &self->t.e;
	char cmdline[2048];
	struct dio_regbuf_desc d = {
		.type = DIO_TYPE_UADDR, .flags = DIO_PREMAP, .size = 4096,
		.target_fd = e->disk.fd,
	};
	struct mem m;
	unsigned int i;
	int ret;

	ASSERT_EQ(0, sysfs_get(cmdline, sizeof(cmdline), "/proc/cmdline"));
	if (!strstr(cmdline, "swiotlb=force"))
		LACKS(return, "not booted with swiotlb=force");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ASSERT_EQ(0, env_mem(e, &m, kinds[i], MIB(2)))
			TH_LOG("%s", e->why);
		ret = ring_set_dmabuf(&e->ring, SLOT, m.fd, e->disk.fd);
		if (!ret) {
			xfer_init(&self->t.x, e, &m, SLOT);
			xfer_poison(&self->t.x);
			expect_both_ways(_metadata, &self->t);
			ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		} else {
			EXPECT_EQ(-EOPNOTSUPP, ret);
			/* For any file: the same, once there is a device */
			ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, m.fd, -1));
			EXPECT_EQ(-EOPNOTSUPP, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd,
						       SLOT, 0, 4096, XFER_POS));
			ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		}
		EXPECT_EQ(0, env_mem_free(e, &m))
			TH_LOG("%s", e->why);
	}

	/* Ordinary memory can be used in the ordinary way, but not be mapped once */
	d.uaddr = (uintptr_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_EQ(-EOPNOTSUPP, ring_update(&e->ring, SLOT, &d, 1, NULL));
	d.flags = 0;
	d.target_fd = -1;
	EXPECT_EQ(1, ring_update(&e->ring, SLOT, &d, 1, NULL));
}

TEST_F_TIMEOUT(target, partition, 120)
{
	uint64_t start = MIB(7), size = MIB(40);
	struct disk view;
	int fd, witness, err;

	err = stack_partition(&self->t.stacked, &self->t.e.disk, start, size);
	if (err == -EBUSY || err == -ENOTTY)
		LACKS(return, "can't add a partition");
	ASSERT_EQ(0, err);
	fd = open(self->t.stacked.path, O_RDWR | O_DIRECT);
	witness = open(self->t.stacked.path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, witness);
	ASSERT_EQ(0, set_target(&self->t, fd));
	use_other(&self->t, &view, fd, witness, size);
	expect_both_ways(_metadata, &self->t);

	/* Past its end there is more disk, but not for this file */
	EXPECT_EQ(-ENOSPC, ring_rw(&self->t.e.ring, IORING_OP_WRITE_FIXED, fd, SLOT, 0, 4096,
				   size));
	/* A request across the end is cut there */
	EXPECT_EQ(8192, ring_rw(&self->t.e.ring, IORING_OP_READ_FIXED, fd, SLOT, 0, 65536,
				size - 8192));
	close(fd);
	close(witness);
}

/*
 * Stacked devices either refuse, or pass the dma-buf on and the data is right.
 * Those which have to look at the data can only refuse.
 */
static void check_dm(struct __test_metadata *_metadata, struct target *t,
		     const char *target, const char *params, bool may_accept)
{
	struct disk view;
	int fd, witness, ret;

	ret = stack_dm(&t->stacked, "dmabuf_io", target, params, MIB(48));
	if (ret == -ENOENT || ret == -EOPNOTSUPP)
		LACKS(return, "no device mapper target %s", target);
	ASSERT_EQ(0, ret);
	fd = open(t->stacked.path, O_RDWR | O_DIRECT);
	witness = open(t->stacked.path, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, witness);

	if (may_accept && !set_target(t, fd)) {
		use_other(t, &view, fd, witness, MIB(48));
		expect_both_ways(_metadata, t);
	} else {
		expect_refused(_metadata, t, fd);
	}
	close(fd);
	close(witness);
}

TEST_F_TIMEOUT(target, dm_linear, 120)
{
	char params[256];

	snprintf(params, sizeof(params), "%s 2048", self->t.e.disk.path);
	check_dm(_metadata, &self->t, "linear", params, true);
}

TEST_F_TIMEOUT(target, dm_striped, 120)
{
	char params[512];

	snprintf(params, sizeof(params), "2 128 %s 0 %s 65536", self->t.e.disk.path,
		 self->t.e.disk.path);
	check_dm(_metadata, &self->t, "striped", params, true);
}

TEST_F_TIMEOUT(target, dm_crypt, 120)
{
	char params[256];

	snprintf(params, sizeof(params), "cipher_null-ecb - 0 %s 0", self->t.e.disk.path);
	check_dm(_metadata, &self->t, "crypt", params, false);
}

TEST_HARNESS_MAIN
