/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests of dma-bufs that are registered over netlink: one that is registered
 * for a netdevsim, and what is expected to be said about it.
 */
#ifndef NETMEM_REG_H
#define NETMEM_REG_H

#include <errno.h>
#include <linux/netdev.h>
#include <string.h>
#include <unistd.h>

#include "netmem_fixture.h"

#define LIMIT		300	/* seconds, for a slow machine */

FIXTURE(reg) {
	struct nsim_pair pair;
	struct devmem nl, ntf;	/* has it registered; listens */
	struct dmabuf_info info;
	int dmabuf;
};

FIXTURE_SETUP(reg)
{
	if (!fixture_open(_metadata, &self->pair, 2, &self->dmabuf))
		return;
	netdev_nl_open(&self->nl);
	dmabuf_subscribe(&self->ntf);
	ASSERT_EQ(0, dmabuf_count(&self->nl, 0));
	ASSERT_EQ(0, dmabuf_register(&self->nl, self->pair.rx.ifindex,
				     self->dmabuf));
	ASSERT_NE(0, self->nl.id);
}

FIXTURE_TEARDOWN(reg)
{
	if (!self->pair.home)
		return;
	devmem_unbind(&self->nl);
	devmem_unbind(&self->ntf);
	fixture_close(_metadata, &self->pair, self->dmabuf);
}

/* The next notification must be this one. */
static inline void expect_ntf(struct __test_metadata *_metadata,
			      struct _test_data_reg *self, int cmd, __u32 id)
{
	memset(&self->info, 0, sizeof(self->info));
	EXPECT_EQ(cmd, dmabuf_wait(&self->ntf, WAIT_MS, &self->info));
	EXPECT_EQ(id, self->info.id);
	EXPECT_EQ(AREA_SIZE, self->info.size);
}

static inline void expect_no_ntf(struct __test_metadata *_metadata,
				 struct _test_data_reg *self)
{
	EXPECT_EQ(-ETIMEDOUT, dmabuf_wait(&self->ntf, 200, &self->info));
}

static inline void expect_owner(struct __test_metadata *_metadata,
				struct _test_data_reg *self, __u32 id,
				__u32 owner, size_t offset, size_t len)
{
	struct dmabuf_info info = {};
	struct devmem nl;

	netdev_nl_open(&nl);
	EXPECT_EQ(0, dmabuf_get(&nl, id, &info));
	devmem_unbind(&nl);
	EXPECT_EQ(id, info.id);
	EXPECT_EQ(self->pair.rx.ifindex, info.ifindex);
	EXPECT_EQ(AREA_SIZE, info.size);
	EXPECT_EQ(PAGE, info.buf_size);
	EXPECT_EQ(owner, info.owner);
	EXPECT_EQ(offset, info.offset);
	EXPECT_EQ(len, info.len);
	EXPECT_FALSE(info.peer2peer);
	EXPECT_FALSE(info.revoked);
}

static inline void expect_gone(struct __test_metadata *_metadata, __u32 id)
{
	struct dmabuf_info info;
	struct devmem nl;

	netdev_nl_open(&nl);
	EXPECT_EQ(-ENOENT, dmabuf_get(&nl, id, &info));
	EXPECT_EQ(0, dmabuf_count(&nl, 0));
	devmem_unbind(&nl);
}

#endif /* NETMEM_REG_H */
