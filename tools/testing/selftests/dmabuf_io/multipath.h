/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of NVMe multipath start from and end with: a disk with several
 * paths that are all used, and a buffer of the exporter for tests.
 *
 * Needs an NVMe multipath disk on PCI; the polled variant needs poll queues, too.
 */
#ifndef DMABUF_IO_MULTIPATH_H
#define DMABUF_IO_MULTIPATH_H

#include "burst.h"
#include "fixture.h"
#include "mock.h"
#include "paths.h"
#include "sysfs.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		2
#define IN_FLIGHT	64U
#define MOVE_US		3000U

struct multipath {
	struct env e;
	struct xfer x;
	struct burst b;
	struct paths paths;
	unsigned long long wait_us;	/* the longest that a move may take */
};

FIXTURE(multipath) {
	struct multipath t;
};

FIXTURE_VARIANT(multipath) {
	enum mem_kind kind;
	unsigned int ring_flags;
};

FIXTURE_VARIANT_ADD(multipath, scattered) {
	.kind = MEM_MOCK,
};

FIXTURE_VARIANT_ADD(multipath, peer) {
	.kind = MEM_MOCK_P2P,
};

FIXTURE_VARIANT_ADD(multipath, polled) {
	.kind = MEM_MOCK, .ring_flags = IORING_SETUP_IOPOLL,
};

/* In FIXTURE_SETUP, which has to return if this is false */
static inline bool multipath_open(struct __test_metadata *_metadata, struct multipath *t,
				  enum mem_kind kind, size_t size, unsigned int ring_flags)
{
	struct env *e = &t->e;

	/* A request that is split is not polled */
	if (ring_flags & IORING_SETUP_IOPOLL)
		size = MIB(1) / 4;
	if (!fixture_open(_metadata, e, kind, size, ring_flags))
		return false;
	if (paths_of(&t->paths, &e->disk) || t->paths.nr < 2) {
		env_close(e);
		LACKS(return false, "the disk does not have several paths");
	}
	ASSERT_EQ(0, paths_set_policy(&t->paths, "round-robin"));
	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	xfer_init(&t->x, e, &e->mem, SLOT);
	t->wait_us = MOCK_WAIT_US;
	return true;
}

/* In FIXTURE_TEARDOWN */
static inline void multipath_close(struct __test_metadata *_metadata, struct multipath *t)
{
	struct env *e = &t->e;

	fixture_mock_close(_metadata, e, SLOT, t->wait_us);
	/* Every request that was counted as started has ended */
	EXPECT_EQ(0, disk_inflight(&e->disk));
	paths_set_policy(&t->paths, "numa");
	fixture_close(_metadata, e);
	EXPECT_TRUE(paths_come_back(&t->paths));
}

/* Have requests in flight */
static inline void start(struct __test_metadata *_metadata, struct multipath *t, bool write)
{
	fixture_burst_start(_metadata, &t->b, &t->e, SLOT, write, IN_FLIGHT);
}

/* All of them are done, and nobody has noticed anything */
static inline void finish(struct __test_metadata *_metadata, struct multipath *t)
{
	fixture_burst_finish(_metadata, &t->b);
}

/* Both; how many paths have moved something of it? */
static inline int one_burst(struct __test_metadata *_metadata, struct multipath *t, bool write)
{
	long long before[PATHS_MAX];
	int i, moved = 0;

	ASSERT_EQ(0, burst_prepare(&t->b, &t->e, &t->e.mem, write, IN_FLIGHT))
		TH_LOG("%s", t->b.why);
	for (i = 0; i < t->paths.nr; i++)
		before[i] = path_sectors(&t->paths.path[i], write);
	ASSERT_EQ(0, burst_submit(&t->b, t->e.disk.fd, SLOT, IN_FLIGHT, 0))
		TH_LOG("%s", t->b.why);
	ASSERT_EQ(0, burst_reap(&t->b, NULL))
		TH_LOG("%s", t->b.why);
	for (i = 0; i < t->paths.nr; i++)
		moved += path_sectors(&t->paths.path[i], write) > before[i];
	finish(_metadata, t);
	return moved;
}

#endif /* DMABUF_IO_MULTIPATH_H */
