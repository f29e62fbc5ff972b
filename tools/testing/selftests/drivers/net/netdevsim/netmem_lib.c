// SPDX-License-Identifier: GPL-2.0
/*
 * For tests of memory providers on netdevsim, see netmem_lib.h
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <fcntl.h>
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
	int ms, wait;

	/* Net_iovs come back when the last packet has been freed. */
	for (ms = 0; ms < 30000; ms += wait) {
		stats = mock_stats(fd);
		if (stats.violations)
			break;
		if (!stats.attached && !stats.pinned && !stats.mapped)
			return true;
		wait = ms < 100 ? 1 : 100;
		usleep(wait * 1000);
	}
	fprintf(stderr, "# attached %llu pinned %llu mapped %llu violations %llu\n",
		stats.attached, stats.pinned, stats.mapped, stats.violations);
	return false;
}

int owner_get(struct owner *owner, enum kind kind, const struct nsim *nsim,
	      int queue, int dmabuf, size_t size)
{
	int ret;

	memset(owner, 0, sizeof(*owner));
	owner->kind = kind;
	nsim_enter(nsim);
	if (kind == DEVMEM)
		return devmem_bind(&owner->dm, nsim->ifindex, queue, dmabuf);
	zc_ring_open(&owner->ring);
	ret = zc_register(&owner->ring, nsim->ifindex, queue, dmabuf, 0, size);
	if (ret)
		zc_ring_close(&owner->ring);
	return ret;
}

void owner_put(struct owner *owner)
{
	if (owner->kind == DEVMEM)
		devmem_unbind(&owner->dm);
	else
		zc_ring_close(&owner->ring);
}
