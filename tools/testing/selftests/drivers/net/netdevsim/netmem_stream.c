// SPDX-License-Identifier: GPL-2.0
/*
 * A TCP stream that is checked byte by byte, see netmem_stream.h
 */
#define _GNU_SOURCE
/* struct iovec comes from the kernel's header, like what else is in there */
#define __iovec_defined 1
#include <linux/uio.h>
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netmem_stream.h"

#ifndef MSG_SOCK_DEVMEM
#define MSG_SOCK_DEVMEM 0x2000000
#endif
#ifndef SO_DEVMEM_DONTNEED
#define SO_DEVMEM_LINEAR 78
#define SO_DEVMEM_DMABUF 79
#define SO_DEVMEM_DONTNEED 80
#endif

#define PORT		9998
#define CHUNK		65536
#define TIMEOUT_MS	20000

/* Other data in each test: memory can outlive it, with the data of the last one. */
static uint64_t stream_key;

static unsigned char stream_byte(uint64_t pos)
{
	uint64_t x = ((pos >> 3) + stream_key) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
	return x >> (8 * (pos & 7));
}

static int stream_check(const char *data, size_t len, uint64_t pos)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if ((unsigned char)data[i] == stream_byte(pos + i))
			continue;
		fprintf(stderr, "# byte %llu of the stream is %#hhx, not %#hhx\n",
			(unsigned long long)(pos + i), data[i],
			stream_byte(pos + i));
		return -EILSEQ;
	}
	return 0;
}

static int area_check(const char *mem, size_t size, uint64_t off, size_t len,
		      uint64_t pos)
{
	if (off + len > size)
		return -EILSEQ;
	return mem ? stream_check(mem + off, len, pos) : 0;
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

static int tcp_listen(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in sin = rx_addr();

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (void *)&sin, sizeof(sin)) || listen(fd, 1))
		error(1, errno, "listen");
	return fd;
}

static int tcp_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in sin = rx_addr();

	if (fd < 0 || connect(fd, (void *)&sin, sizeof(sin)))
		error(1, errno, "connect");
	return fd;
}

static void *send_stream(void *data)
{
	struct sender *sender = data;
	unsigned char buf[CHUNK];
	uint64_t pos = 0;
	ssize_t n;
	size_t i;

	nsim_enter(sender->nsim);
	sender->sock = tcp_connect();
	while (!__atomic_load_n(&sender->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < sizeof(buf); i++)
			buf[i] = stream_byte(pos + i);
		n = send(sender->sock, buf, sizeof(buf), MSG_NOSIGNAL);
		if (n < 0)
			break;
		pos += n;
	}
	return NULL;
}

int stream_open(struct sender *sender, const struct nsim_pair *pair)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int listenfd, sock;

	if (!stream_key &&
	    getrandom(&stream_key, sizeof(stream_key), 0) != sizeof(stream_key))
		error(1, errno, "getrandom");
	nsim_enter(&pair->rx);
	listenfd = tcp_listen();
	sender->nsim = &pair->tx;
	sender->stop = 0;
	sender->sock = -1;
	errno = pthread_create(&sender->thread, NULL, send_stream, sender);
	if (errno)
		error(1, errno, "pthread_create");

	sock = accept(listenfd, NULL, NULL);
	/*
	 * A socket that has no peer any more would keep what came out of order,
	 * and with it net_iovs, for minutes after it has been closed.
	 */
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		error(1, errno, "accept");
	close(listenfd);
	return sock;
}

void sender_stop(struct sender *sender)
{
	__atomic_store_n(&sender->stop, 1, __ATOMIC_RELAXED);
	if (sender->sock >= 0)
		shutdown(sender->sock, SHUT_RDWR);
	pthread_join(sender->thread, NULL);
	close(sender->sock);
}

bool stream_waits(int sock)
{
	int i, unread = 0;

	for (i = 0; i < TIMEOUT_MS && !unread; i++) {
		if (ioctl(sock, FIONREAD, &unread))
			return false;
		usleep(1000);
	}
	return unread;
}

static void zcrx_refill(struct zc_ring *ring, uint64_t off, unsigned int len)
{
	struct io_uring_zcrx_rqe *rqe;
	unsigned int tail = *ring->rq_tail;

	if (tail - __atomic_load_n(ring->rq_head, __ATOMIC_ACQUIRE) ==
	    ring->rq_entries)
		return;
	rqe = &ring->rqes[tail & (ring->rq_entries - 1)];
	rqe->off = off;
	rqe->len = len;
	rqe->__pad = 0;
	__atomic_store_n(ring->rq_tail, tail + 1, __ATOMIC_RELEASE);
}

static int recv_zcrx(struct zc_ring *ring, int sock, const char *mem, size_t size,
		     uint64_t *pos, uint64_t want)
{
	struct io_uring_zcrx_cqe *rcqe;
	struct io_uring_cqe *cqe;
	uint64_t off;
	int ret = 0;

	if (!ring->receiving)
		zc_recv(ring, sock);
	ring->receiving = true;

	while (!ret && *pos < want) {
		cqe = zc_wait(ring, TIMEOUT_MS);
		if (!cqe)
			return -ETIMEDOUT;
		rcqe = (void *)(cqe + 1);
		if (cqe->user_data == ZC_EVENT_DATA) {
			ring->events |= 1U << cqe->res;
		} else if (!(cqe->flags & IORING_CQE_F_MORE)) {
			ring->receiving = false;
			ret = cqe->res ?: -EPIPE;
		} else {
			off = rcqe->off & ~IORING_ZCRX_AREA_MASK;
			ret = area_check(mem, size, off, cqe->res, *pos);
			*pos += cqe->res;
			zcrx_refill(ring, rcqe->off, cqe->res);
		}
		zc_seen(ring);
	}
	return ret;
}

static void set_timeout(int sock)
{
	struct timeval timeout = { .tv_sec = TIMEOUT_MS / 1000 };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

static int recv_devmem(int sock, const char *mem, size_t size, uint64_t *pos,
		       uint64_t want)
{
	char ctrl[64 * CMSG_SPACE(sizeof(struct dmabuf_cmsg))];
	char linear[CHUNK];
	int ret;

	set_timeout(sock);
	while (*pos < want) {
		struct iovec iov = { .iov_base = linear, .iov_len = sizeof(linear) };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = ctrl,
			.msg_controllen = sizeof(ctrl),
		};
		struct cmsghdr *cm;
		size_t copied = 0;

		ret = recvmsg(sock, &msg, MSG_SOCK_DEVMEM);
		if (ret < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!ret)
			return -EPIPE;
		/* Of ordinary memory it says nothing. */
		if (!msg.msg_controllen)
			return -ENOMSG;

		for (cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
			struct dmabuf_cmsg *dc = (void *)CMSG_DATA(cm);
			struct dmabuf_token token = {};

			if (cm->cmsg_level != SOL_SOCKET)
				continue;
			if (cm->cmsg_type == SO_DEVMEM_LINEAR) {
				ret = stream_check(linear + copied, dc->frag_size, *pos);
				copied += dc->frag_size;
			} else if (cm->cmsg_type == SO_DEVMEM_DMABUF) {
				ret = area_check(mem, size, dc->frag_offset,
						 dc->frag_size, *pos);
				token.token_start = dc->frag_token;
				token.token_count = 1;
				if (setsockopt(sock, SOL_SOCKET, SO_DEVMEM_DONTNEED,
					       &token, sizeof(token)) != 1)
					return -EBADMSG;
			} else {
				continue;
			}
			*pos += dc->frag_size;
			if (ret)
				return ret;
		}
	}
	return 0;
}

int stream_recv(struct owner *owner, int sock, const char *mem, size_t size,
		uint64_t *pos, uint64_t want)
{
	if (owner->kind == DEVMEM)
		return recv_devmem(sock, mem, size, pos, want);
	return recv_zcrx(&owner->ring, sock, mem, size, pos, want);
}

int stream_recv_plain(int sock, uint64_t *pos, uint64_t want)
{
	char buf[CHUNK];
	ssize_t len;
	int ret;

	set_timeout(sock);
	while (*pos < want) {
		len = recv(sock, buf, sizeof(buf), 0);
		if (len < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!len)
			return -EPIPE;
		ret = stream_check(buf, len, *pos);
		if (ret)
			return ret;
		*pos += len;
	}
	return 0;
}

int flow_open(struct flow *flow, const struct nsim_pair *pair, enum kind kind,
	      int dmabuf, size_t size)
{
	int ret;

	flow->mem = mock_mmap(dmabuf, size);
	flow->size = size;
	ret = owner_get(&flow->owner, kind, &pair->rx, 0, dmabuf, size);
	if (!ret)
		flow->sock = stream_open(&flow->sender, pair);
	return ret;
}

void flow_close(struct flow *flow)
{
	sender_stop(&flow->sender);
	owner_put(&flow->owner);
	close(flow->sock);
	munmap(flow->mem, flow->size);
}

int flow_recv(struct flow *flow, uint64_t *pos, uint64_t want)
{
	return stream_recv(&flow->owner, flow->sock, flow->mem, flow->size, pos,
			   want);
}
