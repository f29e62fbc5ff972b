// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs that are registered over netlink: everything that is refused, with
 * what the kernel says about it, and that nothing has changed then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <linux/netdev.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "netmem_lib.h"

#define PAGE		4096UL
#define AREA_SIZE	(64 * PAGE)

FIXTURE(refused) {
	struct nsim_pair pair;
	struct devmem nl, other;
	struct zc_ring ring;
	struct dmabuf_info info;
	int dmabuf, other_dmabuf;
};

FIXTURE_SETUP(refused)
{
	if (!nsim_available())
		SKIP(return, "no netdevsim, no /dev/dma_buf_mock, or not root");
	nsim_pair_create(&self->pair, 2);
	self->dmabuf = mock_create(AREA_SIZE, 2, DMA_BUF_MOCK_P2P);
	self->other_dmabuf = mock_create(AREA_SIZE, 0, 0);
	netdev_nl_open(&self->nl);
	netdev_nl_open(&self->other);
	zc_ring_open(&self->ring);
	ASSERT_EQ(0, dmabuf_register(&self->nl, self->pair.rx.ifindex,
				     self->dmabuf));
}

FIXTURE_TEARDOWN(refused)
{
	if (!self->pair.home)
		return;
	/* Nothing that was refused has changed anything. */
	EXPECT_EQ(1, dmabuf_count(&self->other, 0));
	EXPECT_EQ(0, dmabuf_get(&self->other, self->nl.id, &self->info));
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, self->info.owner);
	EXPECT_EQ(0, self->info.len);
	EXPECT_EQ(1, mock_stats(self->dmabuf).mapped);
	EXPECT_TRUE(mock_released(self->other_dmabuf));

	/* and it can still be had. */
	EXPECT_EQ(0, devmem_bind_id(&self->other, self->pair.rx.ifindex, 0,
				    self->nl.id));
	devmem_unbind(&self->nl);
	devmem_unbind(&self->other);
	zc_ring_close(&self->ring);
	EXPECT_TRUE(mock_released(self->dmabuf));
	close(self->dmabuf);
	close(self->other_dmabuf);
	nsim_pair_destroy(&self->pair);
}

struct refused {
	int ret;
	const char *msg;	/* part of it; NULL: none */
	int bad, missing;	/* types of attributes */
	struct nl_arg args[8];
};

static void expect_refused(struct __test_metadata *_metadata, struct devmem *nl,
			   int cmd, const struct refused *r, int nr)
{
	int i, ret;

	for (i = 0; i < nr; i++, r++) {
		ret = netdev_nl_cmd(nl, cmd, r->args);
		EXPECT_EQ(r->ret, ret);
		EXPECT_EQ(r->bad, nl->bad);
		EXPECT_EQ(r->missing, nl->missing);
		EXPECT_TRUE(r->msg ? !!strstr(nl->msg, r->msg) : !*nl->msg)
			TH_LOG("line %d: %d, '%s'", i, ret, nl->msg);
	}
}

#define IFINDEX(x)	{ NETDEV_A_DMABUF_IFINDEX, 4, x }
#define FD(x)		{ NETDEV_A_DMABUF_FD, 4, x }
#define ID(x)		{ NETDEV_A_DMABUF_ID, 4, x }
#define SIZE(x)		{ NETDEV_A_DMABUF_RX_PAGE_SIZE, 4, x }
#define QUEUES		{ NETDEV_A_DMABUF_QUEUES | NLA_F_NESTED }
#define QUEUE(x)	{ NETDEV_A_QUEUE_ID, 4, x, true }
#define TYPE(x)		{ NETDEV_A_QUEUE_TYPE, 4, x, true }
#define RX		TYPE(NETDEV_QUEUE_TYPE_RX)

TEST_F(refused, registering)
{
	int ifi = self->pair.rx.ifindex, fd = self->other_dmabuf;
	const struct refused refused[] = {
		{ -EINVAL, NULL, 0, NETDEV_A_DMABUF_IFINDEX, { FD(fd) } },
		{ -EINVAL, NULL, 0, NETDEV_A_DMABUF_FD, { IFINDEX(ifi) } },
		{ -ERANGE, "out of range", NETDEV_A_DMABUF_IFINDEX, 0,
		  { IFINDEX(0), FD(fd) } },
		{ -EINVAL, "length", NETDEV_A_DMABUF_IFINDEX, 0,
		  { { NETDEV_A_DMABUF_IFINDEX, 2, ifi }, FD(fd) } },
		{ -ENODEV, NULL, NETDEV_A_DMABUF_IFINDEX, 0,
		  { IFINDEX(9999), FD(fd) } },
		{ -EOPNOTSUPP, NULL, NETDEV_A_DMABUF_IFINDEX, 0,
		  { IFINDEX(if_nametoindex("lo")), FD(fd) } },
		{ -EBADF, "not a dma-buf", 0, 0, { IFINDEX(ifi), FD(-1) } },
		{ -EINVAL, "not a dma-buf", 0, 0,
		  { IFINDEX(ifi), FD(self->pair.home) } },
		{ -EINVAL, "length", NETDEV_A_DMABUF_FD, 0,
		  { IFINDEX(ifi), { NETDEV_A_DMABUF_FD, 8, fd } } },
		{ -ERANGE, "out of range", NETDEV_A_DMABUF_RX_PAGE_SIZE, 0,
		  { IFINDEX(ifi), FD(fd), SIZE(PAGE / 2) } },
		{ -ERANGE, "out of range", NETDEV_A_DMABUF_RX_PAGE_SIZE, 0,
		  { IFINDEX(ifi), FD(fd), SIZE(0) } },
		{ -EINVAL, "power of 2", NETDEV_A_DMABUF_RX_PAGE_SIZE, 0,
		  { IFINDEX(ifi), FD(fd), SIZE(3 * PAGE) } },
		{ -EINVAL, NULL, NETDEV_A_QUEUE_ID, 0,
		  { IFINDEX(ifi), FD(fd), QUEUES, QUEUE(2), RX } },
		{ -EINVAL, NULL, NETDEV_A_QUEUE_TYPE, 0,
		  { IFINDEX(ifi), FD(fd), QUEUES, QUEUE(0),
		    TYPE(NETDEV_QUEUE_TYPE_TX) } },
		{ -EINVAL, NULL, 0, NETDEV_A_QUEUE_ID,
		  { IFINDEX(ifi), FD(fd), QUEUES, RX } },
		{ -EINVAL, NULL, 0, NETDEV_A_QUEUE_TYPE,
		  { IFINDEX(ifi), FD(fd), QUEUES, QUEUE(0) } },
		/* The answer's, not the request's */
		{ -EINVAL, "Unsupported attribute", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), FD(fd), ID(1) } },
		{ -EINVAL, "Unknown attribute", NETDEV_A_DMABUF_OWNER, 0,
		  { IFINDEX(ifi), FD(fd), { NETDEV_A_DMABUF_OWNER, 4, 2 } } },
	};

	expect_refused(_metadata, &self->other, NETDEV_CMD_DMABUF_REGISTER,
		       refused, ARRAY_SIZE(refused));
	EXPECT_EQ(0, mock_stats(fd).maps);
}

TEST_F(refused, binding)
{
	int ifi = self->pair.rx.ifindex, id = self->nl.id;
	const struct refused refused[] = {
		{ -EINVAL, NULL, 0, NETDEV_A_DMABUF_FD,
		  { IFINDEX(ifi), QUEUES, QUEUE(0), RX } },
		{ -EINVAL, "not both", NETDEV_A_DMABUF_FD, 0,
		  { IFINDEX(ifi), ID(id), FD(self->dmabuf), QUEUES, QUEUE(0), RX } },
		{ -ERANGE, "out of range", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), ID(0), QUEUES, QUEUE(0), RX } },
		{ -EINVAL, "length", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), { NETDEV_A_DMABUF_ID, 8, id }, QUEUES,
		    QUEUE(0), RX } },
		{ -ENOENT, "no such dma-buf", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), ID(id + 1), QUEUES, QUEUE(0), RX } },
		{ -EINVAL, "another buffer size", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), ID(id), SIZE(2 * PAGE), QUEUES, QUEUE(0), RX } },
		{ -EINVAL, NULL, 0, NETDEV_A_DMABUF_QUEUES,
		  { IFINDEX(ifi), ID(id) } },
		{ -EINVAL, NULL, NETDEV_A_QUEUE_ID, 0,
		  { IFINDEX(ifi), ID(id), QUEUES, QUEUE(2), RX } },
	};

	expect_refused(_metadata, &self->other, NETDEV_CMD_BIND_RX,
		       refused, ARRAY_SIZE(refused));
}

/* There is no registering to transmit. */
TEST_F(refused, transmitting)
{
	int ifi = self->pair.rx.ifindex, fd = self->other_dmabuf;
	const struct refused refused[] = {
		{ -EINVAL, NULL, 0, NETDEV_A_DMABUF_FD, { IFINDEX(ifi) } },
		{ -EINVAL, "Unknown attribute", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), ID(self->nl.id) } },
		{ -EINVAL, "Unknown attribute", NETDEV_A_DMABUF_ID, 0,
		  { IFINDEX(ifi), FD(fd), ID(self->nl.id) } },
		{ -EBADF, "not a dma-buf", 0, 0, { IFINDEX(ifi), FD(-1) } },
	};

	expect_refused(_metadata, &self->other, NETDEV_CMD_BIND_TX,
		       refused, ARRAY_SIZE(refused));
}

TEST_F(refused, getting)
{
	const struct refused refused[] = {
		{ -EINVAL, NULL, 0, NETDEV_A_DMABUF_ID, { {} } },
		{ -ERANGE, "out of range", NETDEV_A_DMABUF_ID, 0, { ID(0) } },
		{ -ENOENT, "no such dma-buf", NETDEV_A_DMABUF_ID, 0,
		  { ID(self->nl.id + 1) } },
		{ -EINVAL, "Unknown attribute", NETDEV_A_DMABUF_RX_PAGE_SIZE, 0,
		  { ID(self->nl.id), SIZE(PAGE) } },
	};

	expect_refused(_metadata, &self->other, NETDEV_CMD_DMABUF_GET,
		       refused, ARRAY_SIZE(refused));
}

/*
 * Netlink does not answer what has been interrupted, so this must be called
 * something else. Here the exporter says so without any signal: what is not
 * answered would be waited for.
 */
TEST_F(refused, interrupted)
{
	const int errors[] = { EINTR, 512 /* ERESTARTSYS */ };
	int ifi = self->pair.rx.ifindex, fd = self->other_dmabuf, i, j;
	const struct refused refused[] = {
		{ -EAGAIN, "interrupted", 0, 0, { IFINDEX(ifi), FD(fd) } },
		{ -EAGAIN, "interrupted", 0, 0,
		  { IFINDEX(ifi), FD(fd), QUEUES, QUEUE(0), RX } },
		{ -EAGAIN, "interrupted", 0, 0, { IFINDEX(ifi), FD(fd) } },
	};
	const int cmds[] = {
		NETDEV_CMD_DMABUF_REGISTER, NETDEV_CMD_BIND_RX, NETDEV_CMD_BIND_TX,
	};

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		for (j = 0; j < ARRAY_SIZE(errors); j++) {
			mock_fail(fd, DMA_BUF_MOCK_FAIL_MAP, errors[j]);
			expect_refused(_metadata, &self->other, cmds[i],
				       &refused[i], 1);
		}
	}
	EXPECT_EQ(0, mock_stats(fd).maps);
}

/* The queue is not free: the dma-buf is not taken. */
TEST_F(refused, queue_in_use)
{
	int ifi = self->pair.rx.ifindex;
	struct devmem binder;

	ASSERT_EQ(0, devmem_bind(&binder, ifi, 1, self->other_dmabuf));
	EXPECT_EQ(-EEXIST, devmem_bind_id(&self->other, ifi, 1, self->nl.id));
	EXPECT_NE(NULL, strstr(self->other.msg, "already"));
	EXPECT_EQ(-EEXIST, zc_register_id(&self->ring, ifi, 1, self->nl.id, 0,
					  PAGE));
	devmem_unbind(&binder);
}

/* Another netdev of the same device, which the queue does not belong to */
TEST_F(refused, other_netdev)
{
	struct nsim port;

	nsim_add_port(&self->pair.rx, &port);
	ASSERT_EQ(0, dmabuf_register(&self->other, port.ifindex,
				     self->other_dmabuf));
	EXPECT_EQ(-EINVAL, devmem_bind_id(&self->nl, self->pair.rx.ifindex, 0,
					  self->other.id));
	EXPECT_NE(NULL, strstr(self->nl.msg, "another device"));
	EXPECT_EQ(NETDEV_A_DMABUF_ID, self->nl.bad);
	EXPECT_EQ(-EINVAL, zc_register_id(&self->ring, self->pair.rx.ifindex, 0,
					  self->other.id, 0, PAGE));
	EXPECT_EQ(1, dmabuf_count(&self->nl, port.ifindex));
	devmem_unbind(&self->other);
	netdev_nl_open(&self->other);
}

TEST_F(refused, areas)
{
	int ifi = self->pair.rx.ifindex, id = self->nl.id;
	const struct {
		int ret;
		struct io_uring_zcrx_area_reg area;
	} areas[] = {
#define AREA(ret, off, size, fd, fl, ...)				\
	{ ret, { .addr = off, .len = size, .dmabuf_fd = fd, .flags = fl, __VA_ARGS__ } }
#define BY_ID	(IORING_ZCRX_AREA_DMABUF | IORING_ZCRX_AREA_DMABUF_ID)
		AREA(-EINVAL, 0, PAGE, id, IORING_ZCRX_AREA_DMABUF_ID),
		AREA(-EINVAL, 0, PAGE, id, BY_ID | 4),
		AREA(-EINVAL, 0, PAGE, id, BY_ID, .rq_area_token = 1),
		AREA(-EINVAL, 0, PAGE, id, BY_ID, .__resv2[0] = 1),
		AREA(-EINVAL, 0, PAGE, id, BY_ID, .__resv2[1] = 1),
		AREA(-ENOENT, 0, PAGE, 0, BY_ID),
		AREA(-ENOENT, 0, PAGE, -1, BY_ID),
		AREA(-ENOENT, 0, PAGE, id + 1, BY_ID),
		AREA(-EINVAL, 1, PAGE, id, BY_ID),
		AREA(-EINVAL, 0, PAGE + 1, id, BY_ID),
		AREA(-EINVAL, PAGE, AREA_SIZE, id, BY_ID),
		AREA(-EINVAL, AREA_SIZE, PAGE, id, BY_ID),
		AREA(-EFAULT, 0, 0, id, BY_ID),
		AREA(-EBADF, 0, PAGE, -1, IORING_ZCRX_AREA_DMABUF),
	};
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(areas); i++) {
		ret = zc_register_area(&self->ring, ifi, 1, areas[i].area);
		EXPECT_EQ(areas[i].ret, ret)
			TH_LOG("area %u", i);
	}
}

/* The kernel finds out when it has imported the area: it is given back. */
TEST_F(refused, area_read_only)
{
	struct io_uring_zcrx_area_reg *area;

	ASSERT_EQ(0, zc_register(&self->ring, self->pair.rx.ifindex, 1,
				 self->other_dmabuf, 0, PAGE));
	area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	area->len = PAGE;
	area->flags = BY_ID;
	area->dmabuf_fd = self->nl.id;
	ASSERT_EQ(0, mprotect(area, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, zc_add_area_at(&self->ring, area));
	EXPECT_EQ(0, dmabuf_get(&self->other, self->nl.id, &self->info));
	EXPECT_EQ(NETDEV_DMABUF_OWNER_IDLE, self->info.owner);
	munmap(area, PAGE);
	zc_ring_close(&self->ring);
	zc_ring_open(&self->ring);
	EXPECT_TRUE(mock_released(self->other_dmabuf));
}

/* --- without CAP_NET_ADMIN in the network namespace */

static void set_net_admin(struct __test_metadata *_metadata, bool on)
{
	struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	ASSERT_EQ(0, syscall(SYS_capget, &hdr, data));
	if (on)
		data[0].effective |= 1U << CAP_NET_ADMIN;
	else
		data[0].effective &= ~(1U << CAP_NET_ADMIN);
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, data));
}

TEST_F(refused, unprivileged)
{
	int ifi = self->pair.rx.ifindex;
	struct devmem unpriv;
	__u64 token;

	ASSERT_EQ(0, zc_register(&self->ring, ifi, 1, self->other_dmabuf, 0,
				 PAGE));
	set_net_admin(_metadata, false);
	netdev_nl_open(&unpriv);
	EXPECT_EQ(-EPERM, dmabuf_register(&unpriv, ifi, self->dmabuf));
	EXPECT_EQ(-EPERM, devmem_bind_id(&unpriv, ifi, 0, self->nl.id));
	/* IDs can be guessed, file descriptors can't. */
	EXPECT_EQ(-EPERM, zc_add_area_id(&self->ring, self->nl.id, 0, PAGE,
					 &token));
	EXPECT_EQ(0, zc_add_area(&self->ring, self->other_dmabuf, PAGE, PAGE,
				 &token));
	/* What there is can be seen by everybody. */
	EXPECT_EQ(0, dmabuf_get(&unpriv, self->nl.id, &self->info));
	EXPECT_EQ(self->nl.id, self->info.id);
	EXPECT_EQ(3, dmabuf_count(&unpriv, 0));
	devmem_unbind(&unpriv);
	set_net_admin(_metadata, true);
	zc_ring_close(&self->ring);
	zc_ring_open(&self->ring);
	EXPECT_TRUE(mock_released(self->other_dmabuf));
}

TEST_HARNESS_MAIN
