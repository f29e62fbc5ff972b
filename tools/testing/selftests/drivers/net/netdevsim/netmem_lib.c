// SPDX-License-Identifier: GPL-2.0
/*
 * For tests of memory providers on netdevsim, see netmem_lib.h
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netdev.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netmem_lib.h"

#define SYS	"/sys/bus/netdevsim/"
#define PORT	9998
#define RX_ADDR	"192.0.2.1"
#define TX_ADDR	"192.0.2.2"

static void write_file(const char *path, const char *fmt, ...)
{
	char buf[128];
	va_list ap;
	int fd, len;

	va_start(ap, fmt);
	len = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, buf, len) != len)
		error(1, errno, "writing '%s' to %s", buf, path);
	close(fd);
}

bool nsim_available(void)
{
	return !access(SYS "new_device", W_OK) &&
	       !access("/dev/dma_buf_mock", R_OK | W_OK);
}

void nsim_enter(const struct nsim *nsim)
{
	if (setns(nsim->ns, CLONE_NEWNET))
		error(1, errno, "setns");
}

static void if_ioctl(int cmd, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, cmd, ifr))
		error(1, errno, "ioctl %#x on %s", cmd, ifr->ifr_name);
	close(fd);
}

void nsim_set_up(const struct nsim *nsim, bool up)
{
	struct ifreq ifr = {};

	nsim_enter(nsim);
	strcpy(ifr.ifr_name, nsim->ifname);
	if_ioctl(SIOCGIFFLAGS, &ifr);
	if (up)
		ifr.ifr_flags |= IFF_UP;
	else
		ifr.ifr_flags &= ~IFF_UP;
	if_ioctl(SIOCSIFFLAGS, &ifr);
}

static void nsim_create(struct nsim *nsim, int queues, const char *addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct if_nameindex *ifs, *i;
	struct ifreq ifr = {};
	char path[64];

	if (unshare(CLONE_NEWNET))
		error(1, errno, "unshare");
	nsim->ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (nsim->ns < 0)
		error(1, errno, "/proc/thread-self/ns/net");
	do {
		nsim->id = 2000 + rand() % 1000;
		snprintf(path, sizeof(path), SYS "devices/netdevsim%d", nsim->id);
	} while (!access(path, F_OK));
	write_file(SYS "new_device", "%d 1 %d", nsim->id, queues);

	ifs = if_nameindex();
	for (i = ifs; i->if_index; i++) {
		if (!strcmp(i->if_name, "lo"))
			continue;
		nsim->ifindex = i->if_index;
		snprintf(nsim->ifname, sizeof(nsim->ifname), "%s", i->if_name);
	}
	if_freenameindex(ifs);

	strcpy(ifr.ifr_name, nsim->ifname);
	inet_pton(AF_INET, addr, &sin.sin_addr);
	memcpy(&ifr.ifr_addr, &sin, sizeof(sin));
	if_ioctl(SIOCSIFADDR, &ifr);
	inet_pton(AF_INET, "255.255.255.0", &sin.sin_addr);
	memcpy(&ifr.ifr_netmask, &sin, sizeof(sin));
	if_ioctl(SIOCSIFNETMASK, &ifr);
	nsim_set_up(nsim, true);
}

/* The helper is next to the program. */
static void set_hds(const struct nsim *nsim)
{
	char path[512], cmd[600];
	ssize_t len;

	len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (len < 0)
		error(1, errno, "/proc/self/exe");
	path[len] = 0;
	*strrchr(path, '/') = 0;
	snprintf(cmd, sizeof(cmd), "%s/nsim_ethtool %s hds on", path, nsim->ifname);
	if (system(cmd))
		error(1, 0, "failed: %s", cmd);
}

void nsim_pair_create(struct nsim_pair *pair, int queues)
{
	srand(getpid());
	pair->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	nsim_create(&pair->tx, queues, TX_ADDR);
	nsim_create(&pair->rx, queues, RX_ADDR);
	write_file(SYS "link_device", "%d:%d %d:%d", pair->rx.ns, pair->rx.ifindex,
		   pair->tx.ns, pair->tx.ifindex);
	set_hds(&pair->rx);
	nsim_enter(&pair->tx);
	set_hds(&pair->tx);
	nsim_enter(&pair->rx);
}

void nsim_remove(struct nsim *nsim)
{
	if (nsim->id >= 0)
		write_file(SYS "del_device", "%d", nsim->id);
	nsim->id = -1;
}

void nsim_pair_destroy(struct nsim_pair *pair)
{
	nsim_remove(&pair->rx);
	nsim_remove(&pair->tx);
	if (setns(pair->home, CLONE_NEWNET))
		error(1, errno, "setns");
	close(pair->home);
	close(pair->rx.ns);
	close(pair->tx.ns);
}

static struct sockaddr_in rx_addr(void)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(PORT),
	};

	inet_pton(AF_INET, RX_ADDR, &sin.sin_addr);
	return sin;
}

int tcp_listen(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in sin = rx_addr();

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (void *)&sin, sizeof(sin)) || listen(fd, 1))
		error(1, errno, "listen");
	return fd;
}

int tcp_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in sin = rx_addr();

	if (fd < 0 || connect(fd, (void *)&sin, sizeof(sin)))
		error(1, errno, "connect");
	return fd;
}

/* --- dma-bufs */

static int mock_dev(void)
{
	static int dev = -1;

	if (dev < 0)
		dev = open("/dev/dma_buf_mock", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		error(1, errno, "/dev/dma_buf_mock");
	return dev;
}

int mock_create(size_t size, unsigned int seg_order, unsigned int flags)
{
	struct dma_buf_mock_create create = {
		.size = size,
		.seg_order = seg_order,
		.flags = flags,
	};

	if (ioctl(mock_dev(), DMA_BUF_MOCK_IOC_CREATE, &create))
		error(1, errno, "DMA_BUF_MOCK_IOC_CREATE");
	return create.fd;
}

int mock_revoke(int fd, enum dma_buf_mock_revoke how)
{
	struct dma_buf_mock_cmd cmd = {
		.fd = fd,
		.op = DMA_BUF_MOCK_REVOKE,
		.arg = { how },
	};
	int i;

	/* In reclaim, it does not wait for the reservation lock. */
	for (i = 0; i < 1000; i++) {
		if (!ioctl(mock_dev(), DMA_BUF_MOCK_IOC_CMD, &cmd))
			return 0;
		if (errno != EAGAIN)
			break;
		usleep(1000);
	}
	return -errno;
}

int mock_restore(int fd)
{
	struct dma_buf_mock_cmd cmd = { .fd = fd, .op = DMA_BUF_MOCK_RESTORE };

	return ioctl(mock_dev(), DMA_BUF_MOCK_IOC_CMD, &cmd) ? -errno : 0;
}

struct dma_buf_mock_stats mock_stats(int fd)
{
	struct dma_buf_mock_stats stats = { .fd = fd };

	if (ioctl(mock_dev(), DMA_BUF_MOCK_IOC_STATS, &stats))
		error(1, errno, "DMA_BUF_MOCK_IOC_STATS");
	return stats;
}

bool mock_released(int fd)
{
	struct dma_buf_mock_stats stats;
	int i;

	/* Net_iovs come back when the last packet has been freed. */
	for (i = 0; i < 300; i++) {
		stats = mock_stats(fd);
		if (stats.violations)
			break;
		if (!stats.attached && !stats.pinned && !stats.mapped)
			return true;
		usleep(100000);
	}
	fprintf(stderr, "# attached %llu pinned %llu mapped %llu violations %llu\n",
		stats.attached, stats.pinned, stats.mapped, stats.violations);
	return false;
}

/* --- devmem TCP */

struct nlmsg {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[1024];
};

static struct nlattr *nla_put(struct nlmsg *msg, int type, const void *data, int len)
{
	struct nlattr *nla = (void *)msg + NLMSG_ALIGN(msg->nlh.nlmsg_len);

	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((void *)nla + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len = NLMSG_ALIGN(msg->nlh.nlmsg_len) + NLA_ALIGN(nla->nla_len);
	return nla;
}

static void nla_put_u32(struct nlmsg *msg, int type, __u32 val)
{
	nla_put(msg, type, &val, sizeof(val));
}

static struct nlattr *nla_find(void *data, int len, int type)
{
	struct nlattr *nla = data;

	while (len >= (int)NLA_HDRLEN && nla->nla_len >= NLA_HDRLEN) {
		if ((nla->nla_type & NLA_TYPE_MASK) == type)
			return nla;
		len -= NLA_ALIGN(nla->nla_len);
		nla = (void *)nla + NLA_ALIGN(nla->nla_len);
	}
	return NULL;
}

static void msg_init(struct nlmsg *msg, int family, int cmd, int version)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	msg->nlh.nlmsg_type = family;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	msg->genl.cmd = cmd;
	msg->genl.version = version;
}

/* Returns the attribute @type of the answer, or a negative errno. */
static long nl_ask(struct devmem *dm, struct nlmsg *msg, int type)
{
	char buf[4096];
	struct nlmsghdr *nlh = (void *)buf;
	struct nlattr *nla;
	long ret = -ENOMSG;
	int len;

	if (send(dm->sock, msg, msg->nlh.nlmsg_len, 0) < 0)
		error(1, errno, "netlink");
	for (;;) {
		len = recv(dm->sock, buf, sizeof(buf), 0);
		if (len < 0)
			error(1, errno, "netlink");
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			struct nlmsgerr *err = NLMSG_DATA(nlh);
			int skip = NLMSG_HDRLEN + sizeof(*err);

			if (!err->error)
				return ret;
			if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
				skip += err->msg.nlmsg_len - NLMSG_HDRLEN;
			nla = nla_find(buf + skip, len - skip, NLMSGERR_ATTR_MSG);
			snprintf(dm->msg, sizeof(dm->msg), "%s",
				 nla ? (char *)nla + NLA_HDRLEN : "");
			return err->error;
		}
		nla = nla_find(NLMSG_DATA(nlh) + GENL_HDRLEN,
			       nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), type);
		if (nla) {
			__u32 val = 0;

			memcpy(&val, (void *)nla + NLA_HDRLEN,
			       nla->nla_len - NLA_HDRLEN);
			ret = val;
		}
	}
}

int devmem_bind(struct devmem *dm, int ifindex, int queue, int dmabuf)
{
	struct nlattr *nest;
	struct nlmsg msg;
	long ret;
	int one = 1;

	memset(dm, 0, sizeof(*dm));
	dm->sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (dm->sock < 0)
		error(1, errno, "netlink");
	setsockopt(dm->sock, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(dm->sock, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));

	msg_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	nla_put(&msg, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY_NAME,
		sizeof(NETDEV_FAMILY_NAME));
	ret = nl_ask(dm, &msg, CTRL_ATTR_FAMILY_ID);
	if (ret < 0)
		error(1, -ret, "no netdev family");

	msg_init(&msg, ret, NETDEV_CMD_BIND_RX, NETDEV_FAMILY_VERSION);
	nla_put_u32(&msg, NETDEV_A_DMABUF_IFINDEX, ifindex);
	nla_put_u32(&msg, NETDEV_A_DMABUF_FD, dmabuf);
	nest = nla_put(&msg, NETDEV_A_DMABUF_QUEUES | NLA_F_NESTED, NULL, 0);
	nla_put_u32(&msg, NETDEV_A_QUEUE_ID, queue);
	nla_put_u32(&msg, NETDEV_A_QUEUE_TYPE, NETDEV_QUEUE_TYPE_RX);
	nest->nla_len = (void *)&msg + msg.nlh.nlmsg_len - (void *)nest;
	ret = nl_ask(dm, &msg, NETDEV_A_DMABUF_ID);
	if (ret < 0) {
		close(dm->sock);
		dm->sock = -1;
		return ret;
	}
	dm->id = ret;
	return 0;
}

void devmem_unbind(struct devmem *dm)
{
	close(dm->sock);
	dm->sock = -1;
}
