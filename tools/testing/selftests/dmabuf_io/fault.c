// SPDX-License-Identifier: GPL-2.0
/*
 * Let each memory allocation of a registration fail in turn: the error is clear,
 * nothing stays behind, and the next attempt works. Needs CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC.
 */
#include "fixture.h"
#include "nth.h"
#include "watch.h"
#include "xfer.h"

#define SLOT		6
#define WAIT_MS		20000
/* More allocations than a registration of any of the buffers makes */
#define MAX_NTH		5000

struct fault {
	struct env e;
	struct xfer x;
	struct nth nth;
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
	if (!fixture_open(_metadata, &self->t.e, variant->kind, variant->size, 0))
		return;
	if (nth_allow()) {
		env_close(&self->t.e);
		LACKS(return, "the kernel has no fault injection");
	}
	nth_add_self(&self->t.nth);
	xfer_init(&self->t.x, &self->t.e, &self->t.e.mem, SLOT);
	xfer_poison(&self->t.x);
}

FIXTURE_TEARDOWN(fault)
{
	nth_disarm(&self->t.nth);
	nth_close(&self->t.nth);
	nth_restore();
	fixture_close(_metadata, &self->t.e);
}

TEST_F_TIMEOUT(fault, registration, 900)
{
	struct env *e = &self->t.e;
	unsigned int nth, failed = 0;
	bool injected = true;
	int ret;

	for (nth = 1; injected && nth < MAX_NTH; nth++) {
		ASSERT_TRUE(nth_arm(&self->t.nth, nth));
		ret = ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd);
		injected = nth_disarm(&self->t.nth);
		if (ret) {
			ASSERT_TRUE(ret == -ENOMEM || (ret == -EFAULT && nth_usercopy()))
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
	int ret;

	for (nth = 1; nth < 10; nth++) {
		ASSERT_EQ(0, ring_set_dmabuf(&e->ring, SLOT, e->mem.fd, e->disk.fd));
		ASSERT_TRUE(nth_arm(&self->t.nth, nth));
		ret = ring_clear(&e->ring, SLOT);
		nth_disarm(&self->t.nth);
		if (ret == -EFAULT && nth_usercopy())
			ret = ring_clear(&e->ring, SLOT);
		EXPECT_EQ(0, ret);
		EXPECT_EQ(0, watch_wait_attached(e->mem.ino, 0, WAIT_MS));
	}
}

TEST_HARNESS_MAIN
