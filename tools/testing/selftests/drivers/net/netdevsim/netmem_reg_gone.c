// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs that are registered over netlink, and the netdev that they are
 * registered for, or its network namespace, goes away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netdev.h>
#include <sched.h>
#include <unistd.h>

#include "netmem_reg.h"

TEST_F_TIMEOUT(reg, netdev_goes, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	struct zc_ring ring;
	__u32 idle, taken;

	idle = self->nl.id;
	ASSERT_EQ(0, dmabuf_register(&self->nl, rx->ifindex, self->dmabuf));
	taken = self->nl.id;
	zc_ring_open(&ring);
	ASSERT_EQ(0, zc_register_id(&ring, rx->ifindex, 0, taken, 0, PAGE));
	nsim_remove(rx);
	EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);

	/* What nobody uses goes with it, the others with their owner. */
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, idle);
	EXPECT_FALSE(self->info.revoked);
	EXPECT_EQ(-ENOENT, dmabuf_get(&self->nl, idle, &self->info));
	EXPECT_EQ(0, dmabuf_get(&self->nl, taken, &self->info));
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IO_URING, self->info.owner);
	zc_ring_close(&ring);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, taken);
	expect_gone(_metadata, taken);
}

TEST_F_TIMEOUT(reg, netdev_goes_while_bound, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	__u32 id = self->nl.id;

	ASSERT_EQ(0, devmem_bind_id(&self->nl, rx->ifindex, 0, id));
	nsim_remove(rx);
	EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
	expect_no_ntf(_metadata, self);
	devmem_unbind(&self->nl);
	expect_ntf(_metadata, self, NETDEV_CMD_DMABUF_DEL_NTF, id);
}

/* The ring is all that is left of the namespace, and nobody to be told. */
TEST_F_TIMEOUT(reg, netns_goes, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	__u32 id = self->nl.id;
	struct zc_ring ring;
	__u64 token;

	zc_ring_open(&ring);
	ASSERT_EQ(0, zc_register_id(&ring, rx->ifindex, 0, id, 0, 8 * PAGE));
	devmem_unbind(&self->nl);
	devmem_unbind(&self->ntf);
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);
	nsim_enter(&self->pair.tx);
	close(rx->ns);
	EXPECT_TRUE(mock_unmapped(self->dmabuf));
	/* There is no netdev any more that an area could be for. */
	EXPECT_EQ(-EFAULT, zc_add_area_id(&ring, id, 8 * PAGE, PAGE, &token));
	EXPECT_EQ(-EFAULT, zc_add_area(&ring, self->dmabuf, 8 * PAGE, PAGE,
				       &token));
	zc_ring_close(&ring);
	EXPECT_TRUE(mock_released(self->dmabuf));
	netdev_nl_open(&self->nl);
	netdev_nl_open(&self->ntf);
	rx->ns = dup(self->pair.tx.ns);
}

/*
 * The netdev of the other device, in a network namespace of its own, and then back
 * to where the device is, so that it stays when the namespace goes.
 */
static int move_away(struct __test_metadata *_metadata, struct nsim *nsim)
{
	int ns;

	nsim_enter(nsim);
	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	ASSERT_GE(ns, 0);
	nsim_move(nsim, ns);
	return ns;
}

/*
 * The ring has been set up in a network namespace that does not exist any more.
 * No ids are left in there: that of the ring's own area is not found, though it
 * lives. What comes as a file descriptor needs no namespace.
 */
TEST_F_TIMEOUT(reg, netns_goes_without_netdev, LIMIT)
{
	struct nsim *tx = &self->pair.tx;
	int home = tx->ns, ns, ret, i;
	struct zc_ring ring;
	struct devmem nl;
	__u64 token;
	__u32 id;

	ns = move_away(_metadata, tx);
	netdev_nl_open(&nl);
	ASSERT_EQ(0, dmabuf_register(&nl, tx->ifindex, self->dmabuf));
	id = nl.id;
	zc_ring_open(&ring);
	ASSERT_EQ(0, zc_register_id(&ring, tx->ifindex, 0, id, 0, 8 * PAGE));
	nsim_move(tx, home);
	/* The netdev is elsewhere, but this is still what it is about. */
	EXPECT_EQ(-EBUSY, zc_add_area_id(&ring, id, 8 * PAGE, PAGE, &token));
	EXPECT_EQ(-ENOENT, zc_add_area_id(&ring, self->nl.id, 8 * PAGE, PAGE,
					  &token));
	EXPECT_EQ(0, zc_add_area(&ring, self->dmabuf, 8 * PAGE, PAGE, &token));
	EXPECT_EQ(2, dmabuf_count(&nl, 0));

	devmem_unbind(&nl);
	close(ns);
	/* Netlink sockets let go of their namespace later. */
	for (i = 0; i < WAIT_MS / 50; i++) {
		ret = zc_add_area_id(&ring, id, 9 * PAGE, PAGE, &token);
		if (ret != -EBUSY)
			break;
		usleep(50000);
	}
	EXPECT_EQ(-ENOENT, ret);
	EXPECT_EQ(0, zc_add_area(&ring, self->dmabuf, 9 * PAGE, PAGE, &token));
	EXPECT_EQ(2ULL, token >> IORING_ZCRX_AREA_SHIFT);
	/* What is registered in the first one, and the areas */
	EXPECT_EQ(4, mock_stats(self->dmabuf).mapped);
	EXPECT_EQ(1, dmabuf_count(&self->nl, 0));
	zc_ring_close(&ring);
	nsim_enter(&self->pair.rx);
	expect_no_ntf(_metadata, self);
}

TEST_HARNESS_MAIN
