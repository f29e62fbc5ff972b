// SPDX-License-Identifier: GPL-2.0
/*
 * Let each memory allocation of a registration fail in turn: the error is clear,
 * nothing stays behind, and the next attempt works. Needs CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "fixture.h"
#include "sysfs.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		6
#define WAIT_MS		20000
/* More allocations than a registration of any of the buffers makes */
#define MAX_NTH		5000

static const char * const injectors[] = {
	"/sys/kernel/debug/failslab/ignore-gfp-wait",
	"/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait",
};

struct fault {
	struct env e;
	struct xfer x;
	int nth;		/* /proc/self/fail-nth */
	char old[ARRAY_SIZE(injectors)][8];
	char old_order[16];
};

FIXTURE(fault) {
	struct fault t;
};

FIXTURE_VARIANT(fault) {
	enum mem_kind kind;
	size_t size;
};

FIXTURE_VARIANT_ADD(fault, udmabuf) {
	.kind = MEM_UDMABUF, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(fault, heap) {
	.kind = MEM_HEAP, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(fault, vfio) {
	.kind = MEM_VFIO, .size = MIB(8),
};

FIXTURE_VARIANT_ADD(fault, vfio_two_ranges) {
	.kind = MEM_VFIO_2, .size = MIB(8),
};

FIXTURE_SETUP(fault)
{
	unsigned int i;

	if (!fixture_open(_metadata, &self->t.e, variant->kind, variant->size, 0))
		return;
	self->t.nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	for (i = 0; i < ARRAY_SIZE(injectors); i++) {
		if (self->t.nth >= 0 &&
		    !sysfs_get(self->t.old[i], sizeof(self->t.old[i]), "%s", injectors[i]))
			continue;
		env_close(&self->t.e);
		LACKS(return, "the kernel has no fault injection");
	}
	/* Allocations that may sleep are the ones to fail, and single pages as well */
	for (i = 0; i < ARRAY_SIZE(injectors); i++)
		ASSERT_EQ(0, sysfs_set("N", "%s", injectors[i]));
	ASSERT_EQ(0, sysfs_get(self->t.old_order, sizeof(self->t.old_order),
			       "/sys/kernel/debug/fail_page_alloc/min-order"));
	ASSERT_EQ(0, sysfs_set("0", "/sys/kernel/debug/fail_page_alloc/min-order"));
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(fault)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(injectors); i++)
		sysfs_set(self->t.old[i], "%s", injectors[i]);
	sysfs_set(self->t.old_order, "/sys/kernel/debug/fail_page_alloc/min-order");
	close(self->t.nth);
	fixture_close(_metadata, &self->t.e);
}

static void arm(struct __test_metadata *_metadata, int fd, unsigned int nth)
{
	char num[16];
	int len = snprintf(num, sizeof(num), "%u", nth);

	ASSERT_EQ(len, pwrite(fd, num, len, 0));
}

/* Has the failure been injected? */
static bool disarm(struct __test_metadata *_metadata, int fd)
{
	char num[16] = "";

	ASSERT_LT(0, pread(fd, num, sizeof(num) - 1, 0));
	arm(_metadata, fd, 0);
	return !atoi(num);
}

TEST_F_TIMEOUT(fault, registration, 900)
{
	struct env *e = &self->t.e;
	unsigned int nth, failed = 0;
	bool injected = true;
	int ret;

	for (nth = 1; injected && nth < MAX_NTH; nth++) {
		arm(_metadata, self->t.nth, nth);
		ret = ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd);
		injected = disarm(_metadata, self->t.nth);
		if (ret) {
			ASSERT_EQ(-ENOMEM, ret)
				TH_LOG("allocation %u", nth);
			ASSERT_TRUE(injected);
			failed++;
		} else {
			/* Not everything that fails is fatal */
			ASSERT_EQ(0, xfer_read(&self->t.x, 4096, 65536, XFER_POS))
				TH_LOG("allocation %u: %s", nth, self->t.x.why);
			ASSERT_EQ(0, ring_clear(&e->ring, SLOT));
		}
		ASSERT_EQ(0, watch_wait_attached(e->mem.ino, 0, WAIT_MS))
			TH_LOG("allocation %u: still attached", nth);
	}
	EXPECT_FALSE(injected);
	EXPECT_LT(3U, failed);

	ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
	EXPECT_EQ(0, xfer_read(&self->t.x, 0, e->mem.size, XFER_POS))
		TH_LOG("%s", self->t.x.why);
	EXPECT_EQ(0, xfer_write(&self->t.x, 0, e->mem.size, XFER_POS))
		TH_LOG("%s", self->t.x.why);
}

/* A failure to clear a slot can't be reported, so there must not be one */
TEST_F_TIMEOUT(fault, release, 300)
{
	struct env *e = &self->t.e;
	unsigned int nth;

	for (nth = 1; nth < 10; nth++) {
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		arm(_metadata, self->t.nth, nth);
		EXPECT_EQ(0, ring_clear(&e->ring, SLOT));
		disarm(_metadata, self->t.nth);
		EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, WAIT_MS));
	}
}

TEST_HARNESS_MAIN
