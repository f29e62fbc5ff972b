// SPDX-License-Identifier: GPL-2.0
/*
 * Stream a file over TCP and receive it with io_uring zcrx.
 *
 *  zcrx_netmem tx HOST PORT FILE
 *  zcrx_netmem rx IFNAME PORT FILE [option=value...]
 *
 * The receiver compares every byte with FILE at the place where it belongs, and
 * overwrites what it has seen before it gives a buffer back, so that neither
 * old data nor data in the wrong place can pass. Options:
 *
 *  area=umem|hugetlb|udmabuf|heap	where the payload goes
 *  size=BYTES		size of the area
 *  buflen=BYTES	size of the receive buffers
 *  queue=N		receive queue
 *  delay=MS		wait so long before buffers are given back
 *  rcvbuf=BYTES	SO_RCVBUF
 *  stop=BYTES		print a line and stop reading after so many bytes
 *  copies=N		bytes that the kernel may copy, default 0
 *
 * The uapi is used without liburing: what is tested may be newer than it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/io_uring.h>
#include <linux/io_uring/zcrx.h>
#include <linux/udmabuf.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CQ_ENTRIES	4096
#define RQ_ENTRIES	4096
#define HUGE_SIZE	(2UL << 20)
#define POISON		0xa5

static struct {
	const char *area;
	size_t size;
	unsigned int buflen;
	unsigned int queue;
	unsigned int delay_ms;
	int rcvbuf;
	uint64_t stop;
	uint64_t copies;
} opt = { .area = "umem", .size = 4 << 20 };

static struct {
	int fd;
	unsigned int to_submit;
	unsigned int sq_mask, cq_mask;
	unsigned int *sq_tail, *sq_array, *cq_head, *cq_tail;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static struct {
	uint32_t id;
	uint64_t token;
	char *mem;
	int dmabuf;
	unsigned int *head, *tail, entries;
	struct io_uring_zcrx_rqe *rqes;
	struct zcrx_stats *stats;
} zc = { .dmabuf = -1 };

static const char *file;
static size_t file_size;

static void map_file(const char *path)
{
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		error(1, errno, "%s", path);
	file_size = st.st_size;
	file = mmap(NULL, file_size, PROT_READ, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		error(1, errno, "mmap %s", path);
	close(fd);
}

static int do_tx(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai;
	size_t done;
	ssize_t n;
	int fd;

	if (getaddrinfo(host, port, &hints, &ai))
		error(1, 0, "bad address %s %s", host, port);
	fd = socket(ai->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen))
		error(1, errno, "connect %s", host);

	for (done = 0; done < file_size; done += n) {
		n = send(fd, file + done, file_size - done, MSG_NOSIGNAL);
		if (n < 0)
			error(1, errno, "send after %zu bytes", done);
	}

	/* Not done before the peer has everything, it closes after the end */
	shutdown(fd, SHUT_WR);
	if (recv(fd, &done, 1, 0) < 0)
		error(1, errno, "connection lost");
	return 0;
}

static void ring_setup(void)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQE32 | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	size_t size;
	char *p_ring;

	ring.fd = syscall(__NR_io_uring_setup, 8, &p);
	if (ring.fd < 0)
		error(1, errno, "io_uring_setup");

	size = p.cq_off.cqes + p.cq_entries * 2 * sizeof(struct io_uring_cqe);
	p_ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
		      IORING_OFF_SQ_RING);
	ring.sqes = mmap(NULL, p.sq_entries * sizeof(*ring.sqes),
			 PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			 IORING_OFF_SQES);
	if (p_ring == MAP_FAILED || ring.sqes == MAP_FAILED)
		error(1, errno, "mmap of the rings");

	ring.sq_mask = p.sq_entries - 1;
	ring.cq_mask = p.cq_entries - 1;
	ring.sq_tail = (void *)(p_ring + p.sq_off.tail);
	ring.sq_array = (void *)(p_ring + p.sq_off.array);
	ring.cq_head = (void *)(p_ring + p.cq_off.head);
	ring.cq_tail = (void *)(p_ring + p.cq_off.tail);
	ring.cqes = (void *)(p_ring + p.cq_off.cqes);
}

static int area_udmabuf(void)
{
	struct udmabuf_create create = { .size = opt.size };
	int memfd, dev, fd;

	memfd = memfd_create("area", MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, opt.size) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		error(1, errno, "memfd");
	dev = open("/dev/udmabuf", O_RDWR);
	if (dev < 0)
		error(4, errno, "/dev/udmabuf");
	create.memfd = memfd;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	if (fd < 0)
		error(1, errno, "UDMABUF_CREATE");
	close(dev);
	close(memfd);
	return fd;
}

static int area_heap(void)
{
	struct dma_heap_allocation_data alloc = {
		.len = opt.size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int dev;

	dev = open("/dev/dma_heap/system", O_RDWR);
	if (dev < 0)
		error(4, errno, "/dev/dma_heap/system");
	if (ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &alloc))
		error(1, errno, "DMA_HEAP_IOCTL_ALLOC");
	close(dev);
	return alloc.fd;
}

static void area_setup(struct io_uring_zcrx_area_reg *area)
{
	int flags = MAP_ANONYMOUS | MAP_PRIVATE;

	if (!strcmp(opt.area, "udmabuf"))
		zc.dmabuf = area_udmabuf();
	else if (!strcmp(opt.area, "heap"))
		zc.dmabuf = area_heap();
	else if (!strcmp(opt.area, "hugetlb"))
		flags |= MAP_HUGETLB;
	else if (strcmp(opt.area, "umem"))
		error(2, 0, "bad area '%s'", opt.area);
	if (zc.dmabuf >= 0)
		flags = MAP_SHARED;

	/* Of a dma-buf this is only for the comparison */
	zc.mem = mmap(NULL, opt.size, PROT_READ | PROT_WRITE, flags, zc.dmabuf, 0);
	if (zc.mem == MAP_FAILED)
		error(1, errno, "mmap of the area");
	memset(zc.mem, POISON, opt.size);

	area->len = opt.size;
	if (zc.dmabuf >= 0) {
		area->flags = IORING_ZCRX_AREA_DMABUF;
		area->dmabuf_fd = zc.dmabuf;
	} else {
		area->addr = (uintptr_t)zc.mem;
	}
}

static void zcrx_setup(const char *ifname)
{
	size_t rqes_size = RQ_ENTRIES * sizeof(struct io_uring_zcrx_rqe);
	struct io_uring_zcrx_area_reg area = {};
	struct zcrx_event_desc event = {
		.flags = ZCRX_EVENT_DESC_FLAG_STATS,
	};
	struct io_uring_region_desc region = {
		/* head and tail in the first page, statistics in the last */
		.size = 4096 + rqes_size + 4096,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = if_nametoindex(ifname),
		.if_rxq = opt.queue,
		.rq_entries = RQ_ENTRIES,
		.rx_buf_len = opt.buflen,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
		.event_desc = (uintptr_t)&event,
	};
	char *mem;

	if (!reg.if_idx)
		error(1, errno, "%s", ifname);
	mem = mmap(NULL, region.size, PROT_READ | PROT_WRITE,
		   MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (mem == MAP_FAILED)
		error(1, errno, "mmap of the refill ring");
	region.user_addr = (uintptr_t)mem;
	event.stats_offset = region.size - 4096;
	area_setup(&area);

	if (syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_ZCRX_IFQ,
		    &reg, 1))
		error(1, errno, "IORING_REGISTER_ZCRX_IFQ");

	zc.id = reg.zcrx_id;
	zc.token = area.rq_area_token;
	zc.entries = reg.rq_entries;
	zc.head = (void *)(mem + reg.offsets.head);
	zc.tail = (void *)(mem + reg.offsets.tail);
	zc.rqes = (void *)(mem + reg.offsets.rqes);
	zc.stats = (void *)(mem + event.stats_offset);
}

static void arm(int sockfd)
{
	unsigned int tail = *ring.sq_tail;
	struct io_uring_sqe *sqe = &ring.sqes[tail & ring.sq_mask];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_RECV_ZC;
	sqe->fd = sockfd;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->zcrx_ifq_idx = zc.id;
	ring.sq_array[tail & ring.sq_mask] = tail & ring.sq_mask;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	ring.to_submit++;
}

static void refill(uint64_t off, unsigned int len)
{
	unsigned int tail = *zc.tail;
	struct io_uring_zcrx_rqe *rqe = &zc.rqes[tail & (zc.entries - 1)];

	while (tail - __atomic_load_n(zc.head, __ATOMIC_ACQUIRE) == zc.entries) {
		struct zcrx_ctrl ctrl = {
			.zcrx_id = zc.id,
			.op = ZCRX_CTRL_FLUSH_RQ,
		};

		if (syscall(__NR_io_uring_register, ring.fd,
			    IORING_REGISTER_ZCRX_CTRL, &ctrl, 0))
			error(1, errno, "ZCRX_CTRL_FLUSH_RQ");
	}

	rqe->off = (off & ~IORING_ZCRX_AREA_MASK) | zc.token;
	rqe->len = len;
	rqe->__pad = 0;
	__atomic_store_n(zc.tail, tail + 1, __ATOMIC_RELEASE);
}

static void dmabuf_sync(uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_RW };

	if (zc.dmabuf >= 0 && ioctl(zc.dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		error(1, errno, "DMA_BUF_IOCTL_SYNC");
}

static void check(uint64_t pos, uint64_t off, unsigned int len)
{
	unsigned int i;

	off &= ~IORING_ZCRX_AREA_MASK;
	if (off + len > opt.size)
		error(1, 0, "data at %#lx outside of the area", (long)off);
	if (pos + len > file_size)
		error(1, 0, "more data than was sent");

	dmabuf_sync(DMA_BUF_SYNC_START);
	if (memcmp(zc.mem + off, file + pos, len)) {
		for (i = 0; zc.mem[off + i] == file[pos + i]; i++)
			;
		error(1, 0, "byte %lu (%u of %u at area offset %#lx) is %#hhx, not %#hhx",
		      (long)(pos + i), i, len, (long)off, zc.mem[off + i],
		      file[pos + i]);
	}
	memset(zc.mem + off, POISON, len);
	dmabuf_sync(DMA_BUF_SYNC_END);
}

/* Check what has arrived. Returns the new position in the stream. */
static uint64_t reap(int sockfd, uint64_t pos, bool *end)
{
	unsigned int first = *ring.cq_head, tail, nr, i;

	tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
	nr = tail - first;

	for (i = 0; i < nr; i++) {
		struct io_uring_cqe *cqe = &ring.cqes[((first + i) & ring.cq_mask) * 2];
		struct io_uring_zcrx_cqe *rcqe = (void *)(cqe + 1);

		if (cqe->flags & IORING_CQE_F_MORE) {
			check(pos, rcqe->off, cqe->res);
			pos += cqe->res;
		} else if (cqe->res == -ENOSPC || cqe->res == -ENOMEM) {
			/* no room for a completion, no buffer for a copy */
			arm(sockfd);
		} else if (cqe->res < 0) {
			error(1, -cqe->res, "receive after %lu bytes", (long)pos);
		} else {
			*end = true;
		}
	}

	if (nr && opt.delay_ms)
		usleep(opt.delay_ms * 1000);

	for (i = 0; i < nr; i++) {
		struct io_uring_cqe *cqe = &ring.cqes[((first + i) & ring.cq_mask) * 2];
		struct io_uring_zcrx_cqe *rcqe = (void *)(cqe + 1);

		if (cqe->flags & IORING_CQE_F_MORE)
			refill(rcqe->off, cqe->res);
	}
	__atomic_store_n(ring.cq_head, tail, __ATOMIC_RELEASE);
	return pos;
}

static int do_rx(const char *ifname, const char *port)
{
	struct sockaddr_in6 addr = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(atoi(port)),
	};
	int listenfd, sockfd, one = 1;
	bool end = false;
	uint64_t pos = 0;

	ring_setup();
	zcrx_setup(ifname);

	listenfd = socket(AF_INET6, SOCK_STREAM, 0);
	setsockopt(listenfd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (opt.rcvbuf && setsockopt(listenfd, SOL_SOCKET, SO_RCVBUF,
				     &opt.rcvbuf, sizeof(opt.rcvbuf)))
		error(1, errno, "SO_RCVBUF");
	if (bind(listenfd, (void *)&addr, sizeof(addr)) || listen(listenfd, 1))
		error(1, errno, "listen");
	sockfd = accept(listenfd, NULL, NULL);
	if (sockfd < 0)
		error(1, errno, "accept");

	arm(sockfd);
	while (!end) {
		if (syscall(__NR_io_uring_enter, ring.fd, ring.to_submit, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			error(1, errno, "io_uring_enter");
		ring.to_submit = 0;
		pos = reap(sockfd, pos, &end);
		if (opt.stop && pos >= opt.stop) {
			printf("stopped after %lu bytes\n", (long)pos);
			fflush(stdout);
			pause();
		}
	}

	printf("received %lu copied %lu\n", (long)pos,
	       (long)zc.stats->copy_bytes);
	if (pos != file_size)
		error(1, 0, "the end came after %lu of %zu bytes", (long)pos,
		      file_size);
	if (zc.stats->copy_bytes > opt.copies)
		error(1, 0, "the kernel copied %lu bytes",
		      (long)zc.stats->copy_bytes);
	return 0;
}

static void parse_option(char *arg)
{
	char *val = strchr(arg, '=');

	if (!val)
		error(2, 0, "'%s' is not option=value", arg);
	*val++ = 0;
	if (!strcmp(arg, "area"))
		opt.area = val;
	else if (!strcmp(arg, "size"))
		opt.size = strtoul(val, NULL, 0);
	else if (!strcmp(arg, "buflen"))
		opt.buflen = strtoul(val, NULL, 0);
	else if (!strcmp(arg, "queue"))
		opt.queue = strtoul(val, NULL, 0);
	else if (!strcmp(arg, "delay"))
		opt.delay_ms = strtoul(val, NULL, 0);
	else if (!strcmp(arg, "rcvbuf"))
		opt.rcvbuf = strtoul(val, NULL, 0);
	else if (!strcmp(arg, "stop"))
		opt.stop = strtoull(val, NULL, 0);
	else if (!strcmp(arg, "copies"))
		opt.copies = strtoull(val, NULL, 0);
	else
		error(2, 0, "unknown option '%s'", arg);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 5)
		error(2, 0, "usage: tx HOST PORT FILE | rx IFNAME PORT FILE [option=value...]");
	for (i = 5; i < argc; i++)
		parse_option(argv[i]);
	map_file(argv[4]);

	if (!strcmp(argv[1], "tx"))
		return do_tx(argv[2], argv[3]);
	if (!strcmp(argv[1], "rx"))
		return do_rx(argv[2], argv[3]);
	error(2, 0, "unknown command '%s'", argv[1]);
	return 2;
}
