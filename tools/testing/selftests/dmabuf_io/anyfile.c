// SPDX-License-Identifier: GPL-2.0
/*
 * One registration without a target, for any file of the ring: several disks, a
 * partition and more than one open file of the same disk, in turns and at once.
 * Devices are attached when they are first used, once each.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fixture.h"
#include "mock.h"
#include "stack.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		1
#define CHUNK		65536UL
#define NR		64U
#define PART_START	(32UL << 20)
#define PART_SIZE	(16UL << 20)
#define MAX_PLACES	4

struct anyfile {
	struct env e;
	struct xfer x;
	struct disk second, part;
	struct stacked stacked;
	struct disk *place[MAX_PLACES];
	unsigned int nr_places;
	unsigned int sqe_flags;
};

FIXTURE(anyfile) {
	struct anyfile t;
};

FIXTURE_VARIANT(anyfile) {
	enum mem_kind kind;
	unsigned int ring_flags;
	unsigned int sqe_flags;
};

FIXTURE_VARIANT_ADD(anyfile, irq) {
	.kind = MEM_UDMABUF,
};

FIXTURE_VARIANT_ADD(anyfile, peer) {
	.kind = MEM_VFIO_2,
};

FIXTURE_VARIANT_ADD(anyfile, async) {
	.kind = MEM_HEAP, .sqe_flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(anyfile, sqpoll) {
	.kind = MEM_UDMABUF, .ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_SETUP(anyfile)
{
	struct anyfile *t = &self->t;
	const char *why = "";
	int err;

	if (!fixture_open(_metadata, &t->e, variant->kind, NR * CHUNK, variant->ring_flags))
		return;
	t->second.fd = -1;
	t->second.witness = -1;
	t->part.fd = -1;
	t->part.witness = -1;
	t->sqe_flags = variant->sqe_flags;
	ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, -1));
	xfer_init(&t->x, &t->e, &t->e.mem, SLOT);
	t->x.sqe_flags = variant->sqe_flags;
	xfer_poison(&t->x);
	t->place[t->nr_places++] = &t->e.disk;

	if (getenv("DMABUF_IO_DISK2")) {
		err = disk_open_var(&t->second, "DMABUF_IO_DISK2", &why);
		ASSERT_EQ(0, err)
			TH_LOG("DMABUF_IO_DISK2: %s", why);
		t->place[t->nr_places++] = &t->second;
	}
	if (!stack_partition(&t->stacked, &t->e.disk, PART_START, PART_SIZE)) {
		t->part = t->e.disk;
		t->part.size = PART_SIZE;
		t->part.fd = open(t->stacked.path, O_RDWR | O_DIRECT);
		t->part.witness = open(t->stacked.path, O_RDWR | O_DIRECT);
		ASSERT_LE(0, t->part.fd);
		ASSERT_LE(0, t->part.witness);
		t->place[t->nr_places++] = &t->part;
	}
}

FIXTURE_TEARDOWN(anyfile)
{
	disk_close(&self->t.part);
	EXPECT_EQ(0, stack_remove(&self->t.stacked));
	disk_close(&self->t.second);
	fixture_close(_metadata, &self->t.e);
}

static struct disk *place_of(struct anyfile *t, unsigned int i)
{
	return t->place[i % t->nr_places];
}

static uint64_t pos_of(unsigned int i)
{
	return XFER_POS + i * CHUNK;
}

static void fill_places(struct __test_metadata *_metadata, struct anyfile *t, void *tmp,
			uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < NR; i++) {
		pattern_fill(tmp, CHUNK, seed, i * CHUNK);
		ASSERT_EQ(0, disk_put(place_of(t, i), tmp, CHUNK, pos_of(i)));
	}
}

static void submit_all(struct __test_metadata *_metadata, struct anyfile *t, bool write)
{
	struct io_uring_sqe *sqe;
	unsigned int i;

	for (i = 0; i < NR; i++) {
		sqe = ring_sqe(&t->e.ring);
		ASSERT_NE(NULL, sqe);
		ring_prep_rw(sqe, write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED,
			     place_of(t, i)->fd, SLOT, i * CHUNK, CHUNK, pos_of(i));
		sqe->flags = t->sqe_flags;
		sqe->user_data = i;
	}
	ASSERT_EQ((int)NR, ring_submit(&t->e.ring, 0));
}

static void reap_all(struct __test_metadata *_metadata, struct anyfile *t)
{
	struct io_uring_cqe cqe;
	unsigned int i;

	for (i = 0; i < NR; i++) {
		ASSERT_EQ(0, ring_wait(&t->e.ring, &cqe, RING_TIMEOUT_MS));
		EXPECT_EQ((int)CHUNK, cqe.res)
			TH_LOG("chunk %llu", (unsigned long long)cqe.user_data);
	}
}

/* Each chunk of the buffer belongs to another file than its neighbours */
static void move_all(struct __test_metadata *_metadata, struct anyfile *t, bool write)
{
	uint64_t src = rnd_next(&t->e.rnd), poison = rnd_next(&t->e.rnd);
	struct mem *m = &t->e.mem;
	unsigned int i;
	void *tmp = disk_buffer(CHUNK);

	ASSERT_NE(NULL, tmp);
	fill_places(_metadata, t, tmp, write ? poison : src);
	mem_begin(m);
	pattern_fill(m->va, m->size, write ? src : poison, 0);
	mem_end(m);

	submit_all(_metadata, t, write);
	reap_all(_metadata, t);

	for (i = 0; write && i < NR; i++) {
		ASSERT_EQ(0, disk_get(place_of(t, i), tmp, CHUNK, pos_of(i)));
		EXPECT_EQ(-1, pattern_differs(tmp, CHUNK, src, i * CHUNK))
			TH_LOG("chunk %u on the disk is wrong", i);
	}
	mem_begin(m);
	EXPECT_EQ(-1, pattern_differs(m->va, m->size, src, 0));
	mem_end(m);
	free(tmp);
}

TEST_F_TIMEOUT(anyfile, in_turns, 300)
{
	struct anyfile *t = &self->t;
	unsigned int i;

	EXPECT_EQ(0, watch_attached(t->e.mem.ino));
	for (i = 0; i < t->nr_places; i++) {
		t->x.disk = t->place[i];
		t->x.fd = t->place[i]->fd;
		EXPECT_EQ(0, xfer_write(&t->x, 4096, MIB(2), XFER_POS))
			TH_LOG("file %u: %s", i, t->x.why);
		EXPECT_EQ(0, xfer_read(&t->x, 8192, MIB(2), XFER_POS))
			TH_LOG("file %u: %s", i, t->x.why);
	}
	/* The partition is no device of its own */
	EXPECT_EQ(t->second.fd >= 0 ? 2 : 1, watch_attached(t->e.mem.ino));

	/* Another open file of a disk that is known */
	t->x.disk = &t->e.disk;
	t->x.fd = t->e.disk.witness;
	EXPECT_EQ(0, xfer_read(&t->x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
}

TEST_F_TIMEOUT(anyfile, at_once, 300)
{
	unsigned int i;

	if (self->t.nr_places < 2)
		SKIP(return, "one file only: no DMABUF_IO_DISK2, no partition");
	for (i = 0; i < 6; i++)
		move_all(_metadata, &self->t, i & 1);
}

/* The first requests all find that nothing is attached */
TEST_F_TIMEOUT(anyfile, first_use, 300)
{
	struct anyfile *t = &self->t;
	bool threads = (t->e.ring.flags & IORING_SETUP_SQPOLL) || t->sqe_flags;
	int i, want = t->second.fd >= 0 ? 2 : 1;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
		ASSERT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
		ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, -1));
		move_all(_metadata, t, i & 1);
		EXPECT_EQ(want, watch_attached(t->e.mem.ino));
	}

	/*
	 * Unregistered while the first requests are on their way; threads may not
	 * have looked at them yet
	 */
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, ring_set_dmabuf(&t->e.ring, SLOT, t->e.mem.fd, -1));
		submit_all(_metadata, t, i & 1);
		ASSERT_EQ(0, threads ? 0 : ring_clear(&t->e.ring, SLOT));
		reap_all(_metadata, t);
	}
	ASSERT_EQ(0, ring_clear(&t->e.ring, SLOT));
	EXPECT_EQ(0, watch_wait_attached(t->e.mem.ino, 0, 10000));
}

/* Who asks for EAGAIN may get it, and the next request works */
TEST_F_TIMEOUT(anyfile, nowait, 120)
{
	struct io_uring_sqe *sqe = ring_sqe(&self->t.e.ring);
	struct io_uring_cqe cqe;

	ring_prep_rw(sqe, IORING_OP_READ_FIXED, self->t.e.disk.fd, SLOT, 0, 4096, XFER_POS);
	sqe->rw_flags = RWF_NOWAIT;
	ASSERT_EQ(1, ring_submit(&self->t.e.ring, 0));
	ASSERT_EQ(0, ring_wait(&self->t.e.ring, &cqe, RING_TIMEOUT_MS));
	EXPECT_TRUE(cqe.res == -EAGAIN || cqe.res == 4096)
		TH_LOG("%d", cqe.res);
	xfer_poison(&self->t.x);
	EXPECT_EQ(0, xfer_read(&self->t.x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", self->t.x.why);
}

/* Files that can't: an error, nothing moved, and the others go on */
TEST_F_TIMEOUT(anyfile, refused, 300)
{
	struct anyfile *t = &self->t;
	struct ring *r = &t->e.ring;
	struct stacked loop;
	int fd[6], sock[2], i;

	fd[0] = memfd_create("anyfile", 0);
	ASSERT_EQ(0, ftruncate(fd[0], MIB(1)));
	fd[1] = open("/dev/null", O_RDWR);
	fd[2] = open("/dev/zero", O_RDWR);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	fd[3] = sock[0];
	fd[4] = t->e.mem.fd;
	fd[5] = open(t->e.disk.path, O_RDWR);
	for (i = 0; i < 6; i++) {
		int want = i < 5 ? -EOPNOTSUPP : -EINVAL;

		EXPECT_EQ(want, ring_rw(r, IORING_OP_READ_FIXED, fd[i], SLOT, 0, 4096, 0))
			TH_LOG("file %d", i);
		EXPECT_EQ(want, ring_rw(r, IORING_OP_WRITE_FIXED, fd[i], SLOT, 0, 4096, 0))
			TH_LOG("file %d", i);
		if (i != 4)
			close(fd[i]);
	}
	close(sock[1]);

	/* A block device whose driver can't */
	if (!stack_loop(&loop, MIB(64))) {
		fd[0] = open(loop.path, O_RDWR | O_DIRECT);
		ASSERT_LE(0, fd[0]);
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(r, IORING_OP_READ_FIXED, fd[0], SLOT, 0, 4096, 0));
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(r, IORING_OP_WRITE_FIXED, fd[0], SLOT, 0, 4096, 0));
		close(fd[0]);
		EXPECT_EQ(0, stack_remove(&loop));
	}
	EXPECT_EQ(0, watch_attached(t->e.mem.ino));
	EXPECT_EQ(0, xfer_poisoned(&t->x))
		TH_LOG("%s", t->x.why);
	EXPECT_EQ(0, xfer_write(&t->x, 0, MIB(1), XFER_POS))
		TH_LOG("%s", t->x.why);
}

/* What the exporter says arrives with the first request */
TEST_F_TIMEOUT(anyfile, exporter_fails, 120)
{
	static const struct {
		enum dma_buf_mock_fail what;
		unsigned int nth;
		int error, res;
	} fails[] = {
		{ DMA_BUF_MOCK_FAIL_ATTACH, 1, ENODEV, -ENODEV },
		{ DMA_BUF_MOCK_FAIL_ATTACH, 1, EAGAIN, -ENODEV },
		{ DMA_BUF_MOCK_FAIL_MAP, 1, ENOMEM, -ENOMEM },
		{ DMA_BUF_MOCK_FAIL_MAP, 1, EAGAIN, -ENODEV },
		/* What means "try again without NOWAIT" elsewhere must not go on for ever. */
		{ DMA_BUF_MOCK_FAIL_ATTACH, DMA_BUF_MOCK_FAIL_ALWAYS, EOPNOTSUPP, -EOPNOTSUPP },
		{ DMA_BUF_MOCK_FAIL_MAP, DMA_BUF_MOCK_FAIL_ALWAYS, EAGAIN, -ENODEV },
		{ DMA_BUF_MOCK_FAIL_MAP, DMA_BUF_MOCK_FAIL_ALWAYS, EOPNOTSUPP, -EOPNOTSUPP },
	};
	struct env *e = &self->t.e;
	struct mem m;
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(fails); i++) {
		ret = env_mem(e, &m, MEM_MOCK, MIB(1));
		if (ret == ENV_SKIP)
			SKIP(return, "%s", e->why);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, m.fd, -1));
		ASSERT_EQ(0, mock_fail(m.fd, fails[i].what, fails[i].nth, fails[i].error));
		EXPECT_EQ(fails[i].res, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT,
						0, 65536, XFER_POS))
			TH_LOG("failure %zu", i);
		ASSERT_EQ(0, mock_fail(m.fd, fails[i].what, 0, fails[i].error));
		EXPECT_EQ(65536, ring_rw(&e->ring, IORING_OP_READ_FIXED, e->disk.fd, SLOT, 0,
					 65536, XFER_POS))
			TH_LOG("failure %zu", i);
		ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		EXPECT_EQ(0, env_mem_free(e, &m))
			TH_LOG("%s", e->why);
	}
}

TEST_HARNESS_MAIN
