// SPDX-License-Identifier: GPL-2.0
/*
 * For tests of memory providers on netdevsim, see netmem_lib.h
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netmem_lib.h"

#define SYS	"/sys/bus/netdevsim/"
#define TX_ADDR	"192.0.2.2"

int netmem_rounds(int dflt)
{
	const char *env = getenv("NETMEM_ROUNDS");

	return env ? atoi(env) : dflt;
}

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

bool nsim_is_up(const struct nsim *nsim)
{
	struct ifreq ifr = {};

	nsim_enter(nsim);
	strcpy(ifr.ifr_name, nsim->ifname);
	if_ioctl(SIOCGIFFLAGS, &ifr);
	return ifr.ifr_flags & IFF_UP;
}

static void fail_path(const struct nsim *nsim, char *path, size_t size)
{
	snprintf(path, size, "/sys/kernel/debug/netdevsim/netdevsim%d/ports/0/pp_alloc_fail",
		 nsim->id);
	if (access(path, F_OK))
		mount("none", "/sys/kernel/debug", "debugfs", 0, NULL);
}

void nsim_fail_alloc(const struct nsim *nsim, unsigned int nr)
{
	char path[128];

	fail_path(nsim, path, sizeof(path));
	write_file(path, "%u", nr);
}

unsigned int nsim_fails_left(const struct nsim *nsim)
{
	char path[128];
	unsigned int nr;
	FILE *f;

	fail_path(nsim, path, sizeof(path));
	f = fopen(path, "r");
	if (!f || fscanf(f, "%u", &nr) != 1)
		error(1, errno, "%s", path);
	fclose(f);
	return nr;
}

/* The netdev in this network namespace that is not @other */
static void find_netdev(struct nsim *nsim, int other)
{
	struct if_nameindex *ifs = if_nameindex(), *i;

	nsim->ifindex = 0;
	for (i = ifs; i && i->if_index; i++) {
		if (!strcmp(i->if_name, "lo") || i->if_index == other)
			continue;
		nsim->ifindex = i->if_index;
		snprintf(nsim->ifname, sizeof(nsim->ifname), "%s", i->if_name);
	}
	if_freenameindex(ifs);
	if (!nsim->ifindex)
		error(1, 0, "there is no netdev");
}

static void nsim_create(struct nsim *nsim, int queues, const char *addr,
			const char *dma_dev)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
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
	write_file(SYS "new_device", "%d 1 %d %s", nsim->id, queues, dma_dev);
	find_netdev(nsim, 0);

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
	const char *dma_dev = getenv("NSIM_DMA_DEV");

	srand(getpid());
	pair->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	nsim_create(&pair->tx, queues, TX_ADDR, "");
	nsim_create(&pair->rx, queues, NSIM_RX_ADDR, dma_dev ?: "");
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

void nsim_add_port(const struct nsim *nsim, struct nsim *port)
{
	char path[80];

	nsim_enter(nsim);
	snprintf(path, sizeof(path), SYS "devices/netdevsim%d/new_port", nsim->id);
	write_file(path, "1");
	*port = (struct nsim) { .id = -1, .ns = nsim->ns };
	find_netdev(port, nsim->ifindex);
	set_hds(port);
	nsim_set_up(port, true);
}

void nsim_move(struct nsim *nsim, int ns)
{
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg ifi;
		struct nlattr nla;
		__u32 ns;
	} req = {
		.nlh.nlmsg_len = sizeof(req),
		.nlh.nlmsg_type = RTM_NEWLINK,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.ifi.ifi_index = nsim->ifindex,
		.nla.nla_type = IFLA_NET_NS_FD,
		.nla.nla_len = NLA_HDRLEN + sizeof(req.ns),
		.ns = ns,
	};
	struct {
		struct nlmsghdr nlh;
		struct nlmsgerr err;
	} ack;
	int fd;

	nsim_enter(nsim);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0 || send(fd, &req, sizeof(req), 0) < 0 ||
	    recv(fd, &ack, sizeof(ack), 0) < 0)
		error(1, errno, "rtnetlink");
	if (ack.err.error)
		error(1, -ack.err.error, "moving %s", nsim->ifname);
	close(fd);
	nsim->ns = ns;
	nsim_enter(nsim);
	find_netdev(nsim, 0);
	nsim_set_up(nsim, true);
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

/* Once, the next time */
void mock_fail(int fd, enum dma_buf_mock_fail what, int err)
{
	struct dma_buf_mock_cmd cmd = {
		.fd = fd,
		.op = DMA_BUF_MOCK_FAIL,
		.arg = { what, (__u64)err << 32 | 1 },
	};

	if (ioctl(mock_dev(), DMA_BUF_MOCK_IOC_CMD, &cmd))
		error(1, errno, "DMA_BUF_MOCK_FAIL");
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

bool mock_unmapped(int fd)
{
	int i;

	for (i = 0; i < 600 && mock_stats(fd).mapped; i++)
		usleep(50000);
	return !mock_stats(fd).mapped;
}

char *mock_mmap(int fd, size_t size)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		error(1, errno, "mmap of the dma-buf");
	return mem;
}

/* --- owners */

void owner_open(struct owner *owner, enum kind kind, const struct nsim *nsim)
{
	memset(owner, 0, sizeof(*owner));
	owner->kind = kind;
	nsim_enter(nsim);
	if (kind == DEVMEM)
		netdev_nl_open(&owner->dm);
	else
		zc_ring_open(&owner->ring);
}

int owner_take(struct owner *owner, const struct nsim *nsim, int queue,
	       const struct part *part)
{
	nsim_enter(nsim);
	if (owner->kind == DEVMEM && part->id)
		return devmem_bind_id(&owner->dm, nsim->ifindex, queue, part->id);
	if (owner->kind == DEVMEM)
		return devmem_bind_fd(&owner->dm, nsim->ifindex, queue, part->dmabuf);
	if (part->id)
		return zc_register_id(&owner->ring, nsim->ifindex, queue, part->id,
				      part->offset, part->size);
	return zc_register(&owner->ring, nsim->ifindex, queue, part->dmabuf,
			   part->offset, part->size);
}

int owner_get(struct owner *owner, enum kind kind, const struct nsim *nsim,
	      int queue, int dmabuf, size_t size)
{
	struct part part = { .dmabuf = dmabuf, .size = size };
	int ret;

	owner_open(owner, kind, nsim);
	ret = owner_take(owner, nsim, queue, &part);
	if (ret)
		owner_put(owner);
	return ret;
}

void owner_put(struct owner *owner)
{
	if (owner->kind == DEVMEM)
		devmem_unbind(&owner->dm);
	else
		zc_ring_close(&owner->ring);
}
