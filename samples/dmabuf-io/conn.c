// SPDX-License-Identifier: GPL-2.0
/*
 * The connections that the stream arrives on: one, or several at once. Each of them
 * has a queue of the NIC for itself, and each queue has a part of the dma-buf for
 * itself, so that a connection that waits for the disk never takes the buffers of
 * another one. Where in the dma-buf a piece is makes no difference from here on: for
 * the disk it is one buffer.
 *
 * stream.h says what of the stream is on which connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "receiver.h"
#include "stream.h"

#define RECEIVE_MAX	0x40000000	/* in one request */

/**
 * conns_init() - give each connection its queue and its part of the dma-buf
 * @rx: the receiver, its dma-buf exists
 * @nr: how many connections
 * @queue: of the first one, the others have the next ones
 *
 * Return: 0, or -1 if the dma-buf is too small.
 */
int conns_init(struct receiver *rx, unsigned int nr, unsigned int queue)
{
	__u64 part = rx->dmabuf_size / nr;
	struct conn *conn;

	/* A part begins with a page, and so do its buffers. */
	part -= part % sysconf(_SC_PAGESIZE);
	/* half of it is for what is being stored, the rest for what is coming */
	rx->limit = part / 2 < RECEIVE_MAX ? part / 2 : RECEIVE_MAX;
	if (rx->limit < STREAM_ALIGN) {
		fprintf(stderr, "receiver: the dma-buf is too small for %u queue%s\n", nr,
			nr == 1 ? "" : "s");
		return -1;
	}

	rx->nr_conns = nr;
	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		conn->nr = conn - rx->conns;
		conn->listener = -1;
		conn->sock = -1;
		conn->zcrx.queue = queue + conn->nr;
		conn->zcrx.area_start = conn->nr * part;
		conn->zcrx.area_size = part;
	}
	return 0;
}

static int conn_listen(struct conn *conn, __u16 port)
{
	/* "any" of IPv6 is any of IPv4 as well */
	struct sockaddr_in6 addr = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	int fd, one = 1, zero = 0, rcvbuf;

	/*
	 * What waits in the socket is in the area as well. Beyond this the window
	 * closes; the kernel doubles the figure to allow for its own overhead.
	 */
	rcvbuf = conn->zcrx.area_size / 8 < INT32_MAX / 2 ? conn->zcrx.area_size / 8 :
							    INT32_MAX / 2;
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	conn->listener = fd;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) ||
	    /*
	     * Now, since it decides on TCP's window scaling; and with force, beyond
	     * net.core.rmem_max: who may use zcrx may do that, too.
	     */
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 1)) {
		fprintf(stderr, "receiver: port %u: %s\n", port, strerror(errno));
		return -1;
	}
	return 0;
}

static void conn_close_listener(struct conn *conn)
{
	if (conn->listener >= 0)
		close(conn->listener);
	conn->listener = -1;
}

static void conn_accept(struct receiver *rx, struct conn *conn)
{
	struct wait_op wait = { .op.done = wait_done, .res = -ECANCELED };

	io_uring_prep_accept(loop_sqe(rx, &wait.op), conn->listener, NULL, NULL, SOCK_CLOEXEC);
	while (!wait.done && !receiver_stopping(rx))
		if (loop_run(rx, 1000))
			rx->failed = true;
	if (!wait.done) {
		/* The request must not outlive the memory that it points to. */
		io_uring_prep_cancel(loop_sqe(rx, NULL), &wait.op, 0);
		while (!wait.done && !loop_run(rx, 1000))
			;
	}
	conn_close_listener(conn);

	conn->sock = wait.res;
	if (conn->sock < 0 && !receiver_stopping(rx))
		fail(rx, "accept: %s", strerror(-wait.res));
}

/**
 * conns_accept() - wait for the sender
 * @rx: the receiver
 * @port: of the first connection, the others have the next ones
 *
 * Return: whether all connections are there.
 */
bool conns_accept(struct receiver *rx, __u16 port)
{
	struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		if (conn_listen(conn, port + conn->nr)) {
			rx->failed = true;
			return false;
		}
	}
	fprintf(stderr, "receiver: listening on port %u", port);
	if (rx->nr_conns > 1)
		fprintf(stderr, " to %u, for %u connections", port + rx->nr_conns - 1,
			rx->nr_conns);
	fprintf(stderr, "\n");

	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		conn_accept(rx, conn);
		if (receiver_stopping(rx))
			return false;
		if (rx->nr_conns > 1)
			fprintf(stderr, "receiver: port %u: connected\n", port + conn->nr);
	}
	return true;
}

/* Ask for more if there is room for a good part of the limit. */
void conn_receive(struct receiver *rx, struct conn *conn)
{
	__u64 used = conn->zcrx.held * conn->zcrx.buf_size, end, len, together;

	if (conn->zcrx.armed || conn->eof || receiver_stopping(rx) ||
	    used > rx->limit / 2)
		return;
	/*
	 * Where a request ends there is a cut, so let it be between blocks, and where a
	 * stripe ends: then each piece belongs to one place of the disk.
	 */
	end = (conn->received + rx->limit - used) & -STREAM_ALIGN;
	if (end <= conn->received)
		return;
	len = end - conn->received;
	together = stream_contiguous(conn->received, rx->nr_conns);
	zcrx_recv(rx, conn, len < together ? len : together);
}

void conns_exit(struct receiver *rx)
{
	struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		conn_close_listener(conn);
		if (conn->sock >= 0)
			close(conn->sock);
	}
}
