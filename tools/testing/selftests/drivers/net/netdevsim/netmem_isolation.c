// SPDX-License-Identifier: GPL-2.0
/*
 * Who may do what with dma-bufs to receive into and to send from, for what no
 * other test does: see the table in Documentation/networking/netmem-dmabuf.rst.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netdev.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../dmabuf_io/memcg.h"
#include "netmem_reg.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY	60
#endif
#ifndef SCM_DEVMEM_DMABUF
#define SCM_DEVMEM_DMABUF	79
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY	0x4000000
#endif

#define NOBODY		65534
#define PORT		9997
#define BIG_SIZE	(16384 * PAGE)
/* A net_iov is larger, and there is an entry of the free list for each. */
#define NIOV_LEAST	32

/* Another process does it. Returns the line that went wrong, or -1 if it died. */
static int in_child(struct _test_data_reg *self,
		    int (*fn)(struct _test_data_reg *self))
{
	int *line, ret = -1, status;
	pid_t pid;

	line = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (line == MAP_FAILED)
		return -1;
	pid = fork();
	if (!pid) {
		*line = fn(self);
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && !status)
		ret = *line;
	munmap(line, PAGE);
	return ret;
}

static int become_nobody(void)
{
	return setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	       setresuid(NOBODY, NOBODY, NOBODY) ? -errno : 0;
}

/* --- programs that bind what they can't map rely on it */

TEST_F_TIMEOUT(reg, access_mode, LIMIT)
{
	int ifi = self->pair.rx.ifindex, rdonly;
	struct zc_ring ring;
	struct devmem nl;

	rdonly = mock_create(AREA_SIZE, 2, DMA_BUF_MOCK_RDONLY);
	netdev_nl_open(&nl);
	EXPECT_EQ(0, devmem_bind_fd(&nl, ifi, 0, rdonly));
	devmem_unbind(&nl);
	EXPECT_TRUE(mock_released(rdonly));

	zc_ring_open(&ring);
	EXPECT_EQ(0, zc_register(&ring, ifi, 0, rdonly, 0, PAGE));
	EXPECT_EQ(1, mock_stats(rdonly).mapped);
	zc_ring_close(&ring);
	EXPECT_TRUE(mock_released(rdonly));
	close(rdonly);
}

/* --- capabilities, and the user namespace that they are in */

static int in_user_namespace(struct _test_data_reg *self)
{
	int ifi = self->pair.rx.ifindex;
	struct zc_ring ring;
	struct devmem nl;

	if (become_nobody() || unshare(CLONE_NEWUSER))
		return __LINE__;
	netdev_nl_open(&nl);
	zc_ring_open(&ring);
	if (dmabuf_register(&nl, ifi, self->dmabuf) != -EPERM ||
	    devmem_bind_fd(&nl, ifi, 0, self->dmabuf) != -EPERM ||
	    devmem_bind_id(&nl, ifi, 0, self->nl.id) != -EPERM)
		return __LINE__;
	if (zc_register(&ring, ifi, 0, self->dmabuf, 0, PAGE) != -EPERM ||
	    zc_register_id(&ring, ifi, 0, self->nl.id, 0, PAGE) != -EPERM)
		return __LINE__;
	if (dmabuf_get(&nl, self->nl.id, &self->info) ||
	    dmabuf_count(&nl, 0) != 1)
		return __LINE__;
	zc_ring_close(&ring);
	if (mock_stats(self->dmabuf).maps != 1)
		return __LINE__;
	/* It takes nothing away from anybody, and never asked for more */
	if (devmem_bind_tx(&nl, ifi, self->dmabuf))
		return __LINE__;
	devmem_unbind(&nl);
	return 0;
}

TEST_F_TIMEOUT(reg, user_namespace, LIMIT)
{
	EXPECT_EQ(0, in_child(self, in_user_namespace));
	expect_owner(_metadata, self, self->nl.id, NETDEV_DMABUF_OWNER_IDLE, 0, 0);
}

struct report {
	int line;
	__u32 id;
};

/* With a netdev in a network namespace of his own, which has been given to him */
static int in_own_namespace(struct _test_data_reg *self, struct devmem *nl,
			    int ifi)
{
	struct zc_ring ring;

	netdev_nl_open(nl);
	zc_ring_open(&ring);
	if (dmabuf_count(nl, 0) ||
	    dmabuf_get(nl, self->nl.id, &self->info) != -ENOENT ||
	    devmem_bind_id(nl, ifi, 0, self->nl.id) != -ENOENT)
		return __LINE__;
	if (dmabuf_register(nl, ifi, self->dmabuf) || dmabuf_count(nl, 0) != 1)
		return __LINE__;
	/* A ring could see what is received by others. */
	if (zc_register(&ring, ifi, 0, self->dmabuf, 0, PAGE) != -EPERM ||
	    zc_register_id(&ring, ifi, 0, nl->id, 0, PAGE) != -EPERM)
		return __LINE__;
	zc_ring_close(&ring);
	return devmem_bind_id(nl, ifi, 0, nl->id) ? __LINE__ : 0;
}

static void own_namespace(struct _test_data_reg *self, int sock)
{
	struct report report = {};
	struct devmem nl = {};
	int ifi = 0;

	if (become_nobody() || unshare(CLONE_NEWUSER | CLONE_NEWNET))
		report.line = __LINE__;
	if (send(sock, &report, sizeof(report), 0) < 0 ||
	    recv(sock, &ifi, sizeof(ifi), 0) != sizeof(ifi))
		_exit(1);
	report.line = in_own_namespace(self, &nl, ifi);
	report.id = nl.id;
	if (send(sock, &report, sizeof(report), 0) < 0)
		_exit(1);
	/* Until the parent has had a look from outside */
	_exit(recv(sock, &ifi, sizeof(ifi), 0) ? 1 : 0);
}

TEST_F_TIMEOUT(reg, own_namespace, LIMIT)
{
	struct nsim *rx = &self->pair.rx, *tx = &self->pair.tx;
	int home = tx->ns, sock[2], ns, status;
	struct report report = {};
	char path[64];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(sock[0]);
		own_namespace(self, sock[1]);
	}
	close(sock[1]);
	ASSERT_EQ(sizeof(report), read(sock[0], &report, sizeof(report)));
	ASSERT_EQ(0, report.line);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(ns, 0);
	nsim_move(tx, ns);
	nsim_enter(rx);

	ASSERT_EQ(sizeof(int), write(sock[0], &tx->ifindex, sizeof(int)));
	ASSERT_EQ(sizeof(report), read(sock[0], &report, sizeof(report)));
	EXPECT_EQ(0, report.line);
	EXPECT_NE(0, report.id);
	/* Not even root sees it, or can take it, from another one. */
	EXPECT_EQ(-ENOENT, dmabuf_get(&self->nl, report.id, &self->info));
	EXPECT_EQ(-ENOENT, devmem_bind_id(&self->nl, rx->ifindex, 0, report.id));
	EXPECT_EQ(1, dmabuf_count(&self->nl, 0));
	EXPECT_EQ(2, mock_stats(self->dmabuf).mapped);

	close(sock[0]);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	nsim_move(tx, home);
	nsim_enter(rx);
	close(ns);
}

/* Both need the capability: who has opened the socket, and who uses it. */
TEST_F_TIMEOUT(reg, passed_socket, LIMIT)
{
	int ifi = self->pair.rx.ifindex;
	struct devmem theirs;

	ASSERT_EQ(0, seteuid(NOBODY));
	netdev_nl_open(&theirs);
	EXPECT_EQ(-EPERM, dmabuf_register(&self->nl, ifi, self->dmabuf));
	EXPECT_EQ(-EPERM, devmem_bind_id(&self->nl, ifi, 0, self->nl.id));
	ASSERT_EQ(0, seteuid(0));
	EXPECT_EQ(-EPERM, dmabuf_register(&theirs, ifi, self->dmabuf));
	EXPECT_EQ(-EPERM, devmem_bind_id(&theirs, ifi, 0, self->nl.id));
	EXPECT_EQ(1, dmabuf_count(&theirs, 0));
	devmem_unbind(&theirs);
	EXPECT_EQ(0, devmem_bind_id(&self->nl, ifi, 0, self->nl.id));
}

/* --- ids */

/* An old one, of which somebody may have kept a note, does not become another's. */
TEST_F_TIMEOUT(reg, id_reuse, LIMIT)
{
	struct nsim *rx = &self->pair.rx;
	__u32 last = self->nl.id;
	struct devmem nl;
	int i;

	for (i = 0; i < 24; i++) {
		netdev_nl_open(&nl);
		ASSERT_EQ(0, dmabuf_register(&nl, rx->ifindex, self->dmabuf));
		EXPECT_LT(last, nl.id);
		last = nl.id;
		devmem_unbind(&nl);
		EXPECT_EQ(-ENOENT, dmabuf_get(&self->nl, last, &self->info));
		EXPECT_EQ(-ENOENT, devmem_bind_id(&self->nl, rx->ifindex, 0,
						  last));
	}
	ASSERT_EQ(0, devmem_bind(&nl, rx->ifindex, 0, self->dmabuf));
	EXPECT_LT(last, nl.id);
	devmem_unbind(&nl);
}

static struct sockaddr_in rx_addr(void)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(PORT),
	};

	inet_pton(AF_INET, NSIM_RX_ADDR, &sin.sin_addr);
	return sin;
}

/* Connected through the two netdevs; the first one is in the namespace of rx. */
static void tcp_pair(struct __test_metadata *_metadata,
		     const struct nsim_pair *pair, int *sock)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in sin = rx_addr();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, bind(fd, (void *)&sin, sizeof(sin)));
	ASSERT_EQ(0, listen(fd, 1));
	nsim_enter(&pair->tx);
	sock[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_GE(sock[1], 0);
	ASSERT_EQ(0, connect(sock[1], (void *)&sin, sizeof(sin)));
	nsim_enter(&pair->rx);
	sock[0] = accept(fd, NULL, NULL);
	ASSERT_GE(sock[0], 0);
	ASSERT_EQ(0, setsockopt(sock[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	close(fd);
}

static int send_from(int sock, __u32 id)
{
	/* The address is an offset into the dma-buf. */
	struct iovec iov = { .iov_base = NULL, .iov_len = PAGE };
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(id))];
	} control = {};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;

	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_DEVMEM_DMABUF;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(id));
	memcpy(CMSG_DATA(&control.hdr), &id, sizeof(id));
	n = sendmsg(sock, &msg, MSG_ZEROCOPY | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* For sendmsg(), ids are those of transmit bindings of the netdev of the route. */
TEST_F_TIMEOUT(reg, send_from_id, LIMIT)
{
	struct nsim *rx = &self->pair.rx, *tx = &self->pair.tx;
	struct devmem mine, others, receiver;
	int sock[2], status;
	pid_t pid;

	tcp_pair(_metadata, &self->pair, sock);
	netdev_nl_open(&mine);
	ASSERT_EQ(0, devmem_bind_tx(&mine, rx->ifindex, self->dmabuf));
	ASSERT_EQ(0, devmem_bind(&receiver, rx->ifindex, 1, self->dmabuf));
	nsim_enter(tx);
	netdev_nl_open(&others);
	ASSERT_EQ(0, devmem_bind_tx(&others, tx->ifindex, self->dmabuf));
	nsim_enter(rx);

	EXPECT_EQ(-EINVAL, send_from(sock[0], others.id + 1000));
	EXPECT_EQ(-EINVAL, send_from(sock[0], self->nl.id));
	EXPECT_EQ(-EINVAL, send_from(sock[0], receiver.id));
	EXPECT_EQ(-ENODEV, send_from(sock[0], others.id));
	EXPECT_EQ(0, mock_stats(self->dmabuf).violations);

	/* The id and the route are the right to it, no capability is asked for. */
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (become_nobody())
			_exit(1);
		_exit(send_from(sock[0], mine.id) == (int)PAGE ? 0 : 2);
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);

	/* It goes with the netlink socket, whoever has the id. */
	devmem_unbind(&mine);
	EXPECT_GT(0, send_from(sock[0], mine.id));
	close(sock[0]);
	close(sock[1]);
	devmem_unbind(&receiver);
	devmem_unbind(&others);
}

/* --- memory of the kernel */

static struct memcg memcg;
static int big;

static int bind_in_cgroup(struct _test_data_reg *self)
{
	const long long least = BIG_SIZE / PAGE * NIOV_LEAST;
	long long before;
	struct devmem nl;

	if (memcg_enter(&memcg))
		return __LINE__;
	netdev_nl_open(&nl);
	before = memcg_current(&memcg);
	if (before < 0)
		return __LINE__;
	if (devmem_bind_fd(&nl, self->pair.rx.ifindex, 0, big))
		return __LINE__;
	if (memcg_current(&memcg) - before < least)
		return __LINE__;
	devmem_unbind(&nl);
	if (!mock_released(big) || memcg_wait(&memcg, before + least / 2))
		return __LINE__;
	return 0;
}

TEST_F_TIMEOUT(reg, charged, LIMIT)
{
	if (memcg_open(&memcg))
		SKIP(return, "no cgroup v2 with a memory controller");
	big = mock_create(BIG_SIZE, 4, DMA_BUF_MOCK_P2P);
	EXPECT_EQ(0, in_child(self, bind_in_cgroup));
	EXPECT_TRUE(mock_released(big));
	close(big);
	EXPECT_EQ(0, memcg_close(&memcg));
}

TEST_HARNESS_MAIN
