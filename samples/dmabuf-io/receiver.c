// SPDX-License-Identifier: GPL-2.0
/*
 * Receive a stream over TCP and store it on a disk. The payload is written by the
 * NIC to a dma-buf and read from there by the disk; the CPU only moves the
 * descriptions of it:
 *
 *	NIC --> dma-buf --> disk
 *
 *   1. zcrx.c	a piece of the stream is at offset N of the dma-buf
 *   2. disk.c	write it: WRITE_FIXED from offset N of the same dma-buf
 *   3. zcrx.c	written: offset N goes back to the NIC
 *
 * The order of 2 and 3 is what keeps the data intact: until the write is done the
 * memory belongs to the disk. A slow disk then means that less and less memory is
 * left to the NIC. That is why there is a limit on what is received but not
 * stored, beyond which the stream is left in the socket: TCP's own flow control
 * does the rest. What counts are buffers, not bytes, since a small packet takes as
 * much of the memory as a large one. Should the NIC run out of them all the same,
 * it drops packets, which TCP sends again.
 *
 * stream.h says what the stream looks like.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "options.h"
#include "receiver.h"
#include "report.h"
#include "stream.h"

#define RECEIVE_MAX	0x40000000	/* in one request */

/* Remember the first error, stop, and let everything that is under way finish. */
void fail(struct receiver *rx, const char *fmt, ...)
{
	va_list ap;

	if (!rx->failed) {
		va_start(ap, fmt);
		fprintf(stderr, "receiver: ");
		vfprintf(stderr, fmt, ap);
		fprintf(stderr, "\n");
		va_end(ap);
	}
	rx->failed = true;
}

/**
 * receiver_piece() - a piece of the stream has come
 * @rx: the receiver
 * @addr: where it is in the dma-buf
 * @zcrx_off: how zcrx wants it back
 * @len: how long it is
 */
void receiver_piece(struct receiver *rx, __u64 addr, __u64 zcrx_off, __u32 len)
{
	struct piece *piece = rx->free_pieces;

	if (piece)
		rx->free_pieces = piece->next;
	else
		piece = calloc(1, sizeof(*piece));
	if (!piece) {
		fail(rx, "out of memory");
		zcrx_return(rx, zcrx_off);
		return;
	}
	if (!rx->received)
		report_stage(STAGE_FIRST_BYTE);

	piece->pos = rx->received;
	piece->addr = addr;
	piece->zcrx_off = zcrx_off;
	piece->len = len;
	rx->received += len;
	rx->outstanding += len;
	disk_store(rx, piece);
}

/* Nobody reads from the piece any more if this was the last reference. */
void receiver_release(struct receiver *rx, struct piece *piece)
{
	if (--piece->refs)
		return;
	rx->outstanding -= piece->len;
	zcrx_return(rx, piece->zcrx_off);
	piece->next = rx->free_pieces;
	rx->free_pieces = piece;
}

/* Ask for more if there is room for a good part of the limit. */
static void receive_more(struct receiver *rx)
{
	__u64 used = rx->zcrx.held * rx->zcrx.buf_size, end;

	if (rx->zcrx.armed || rx->eof || receiver_stopping(rx) ||
	    used > rx->limit / 2)
		return;
	/* Where a request ends there is a cut, so let it be between blocks. */
	end = (rx->received + rx->limit - used) & -STREAM_ALIGN;
	if (end > rx->received)
		zcrx_recv(rx, end - rx->received);
}

struct signal_op {
	struct op	op;
	int		fd;
	struct signalfd_siginfo info;
};

static void signal_done(struct receiver *rx, struct op *op, const struct io_uring_cqe *cqe)
{
	struct signal_op *sig = (struct signal_op *)op;
	sigset_t none;

	if (cqe->res != sizeof(sig->info))
		return;
	fprintf(stderr, "receiver: %s: finishing what is under way\n",
		strsignal(sig->info.ssi_signo));
	rx->signal = sig->info.ssi_signo;
	/* For those who can't wait: a second one kills. */
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Signals become completions, so that they can't come at a bad moment. */
static int watch_signals(struct receiver *rx, struct signal_op *sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	sig->op.done = signal_done;
	sig->fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (sig->fd < 0)
		return -1;
	io_uring_prep_read(loop_sqe(rx, &sig->op), sig->fd, &sig->info,
			   sizeof(sig->info), 0);
	return 0;
}

struct wait_op {
	struct op	op;
	bool		done;
	int		res;
};

static void wait_done(struct receiver *rx, struct op *op, const struct io_uring_cqe *cqe)
{
	struct wait_op *wait = (struct wait_op *)op;

	wait->done = true;
	wait->res = cqe->res;
}

static void progress(struct receiver *rx)
{
	static unsigned int last;
	unsigned int now = report_seconds();

	if (now == last)
		return;
	last = now;
	zcrx_tick(rx);
	fprintf(stderr, "receiver: %llu MiB received, %llu MiB stored\n",
		rx->received >> 20, rx->stored >> 20);
}

static int bind_and_listen(__u16 port, int rcvbuf)
{
	/* "any" of IPv6 is any of IPv4 as well */
	struct sockaddr_in6 addr = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	int fd, one = 1, zero = 0;

	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) ||
	    /*
	     * Now, since it decides on TCP's window scaling; and with force, beyond
	     * net.core.rmem_max: who may use zcrx may do that, too.
	     */
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 1)) {
		fprintf(stderr, "receiver: port %u: %s\n", port, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	return fd;
}

static bool receiver_accept(struct receiver *rx, __u16 port)
{
	struct wait_op wait = { .op.done = wait_done, .res = -ECANCELED };
	int fd, rcvbuf;

	/*
	 * What waits in the socket is in the area as well. Beyond this the window
	 * closes; the kernel doubles the figure to allow for its own overhead.
	 */
	rcvbuf = rx->dmabuf_size / 8 < INT32_MAX / 2 ? rx->dmabuf_size / 8 : INT32_MAX / 2;
	fd = bind_and_listen(port, rcvbuf);
	if (fd < 0) {
		rx->failed = true;
		return false;
	}
	fprintf(stderr, "receiver: listening on port %u\n", port);

	io_uring_prep_accept(loop_sqe(rx, &wait.op), fd, NULL, NULL, SOCK_CLOEXEC);
	while (!wait.done && !receiver_stopping(rx))
		if (loop_run(rx, 1000))
			rx->failed = true;
	if (!wait.done) {
		/* The request must not outlive the memory that it points to. */
		io_uring_prep_cancel(loop_sqe(rx, NULL), &wait.op, 0);
		while (!wait.done && !loop_run(rx, 1000))
			;
	}
	close(fd);

	rx->sock = wait.res;
	if (rx->sock < 0 && !receiver_stopping(rx))
		fail(rx, "accept: %s", strerror(-wait.res));
	return !receiver_stopping(rx);
}

/* The heart of it: until the end of the stream, an error or a signal. */
static void receiver_run(struct receiver *rx)
{
	bool cancelled = false;

	while (rx->zcrx.armed || rx->outstanding || rx->bounce.busy ||
	       (!rx->eof && !receiver_stopping(rx))) {
		if (receiver_stopping(rx) && rx->zcrx.armed && !cancelled) {
			zcrx_cancel(rx);
			cancelled = true;
		}
		receive_more(rx);
		disk_kick(rx);
		if (loop_run(rx, 1000)) {
			rx->failed = true;
			return;
		}
		disk_kick(rx);
		if (rx->eof)
			report_stage(STAGE_LAST_BYTE);
		progress(rx);
	}
	if (rx->bounce.open && !receiver_stopping(rx))
		fail(rx, "the stream broke off in a block, after %llu bytes: sender died?",
		     rx->received);
}

/* What the disk has accepted may still be in its cache. */
static void receiver_flush(struct receiver *rx)
{
	struct wait_op wait = { .op.done = wait_done };

	io_uring_prep_fsync(loop_sqe(rx, &wait.op), rx->disk.fd, 0);
	while (!wait.done)
		if (loop_run(rx, 1000))
			return;
	if (wait.res)
		fail(rx, "flush of %s: %s", rx->disk.path, strerror(-wait.res));
}

static void receiver_trailer(struct receiver *rx, struct stream_trailer *trailer)
{
	void *buf;

	if (rx->received < sizeof(*trailer) || rx->received % STREAM_ALIGN) {
		fail(rx, "the stream ended after %llu bytes, without its trailer: sender died?",
		     rx->received);
		return;
	}
	if (posix_memalign(&buf, STREAM_ALIGN, sizeof(*trailer))) {
		fail(rx, "out of memory");
		return;
	}
	if (pread(rx->disk.fd, buf, sizeof(*trailer), rx->received - sizeof(*trailer)) !=
	    sizeof(*trailer))
		fail(rx, "reading the trailer from %s: %s", rx->disk.path, strerror(errno));
	memcpy(trailer, buf, sizeof(*trailer));
	free(buf);
	if (!rx->failed && (memcmp(trailer->magic, STREAM_MAGIC, sizeof(trailer->magic)) ||
			    le64toh(trailer->stream_size) != rx->received ||
			    le64toh(trailer->file_size) > rx->received))
		fail(rx, "the stream ended after %llu bytes, without its trailer: sender died?",
		     rx->received);
}

static void receiver_reply(struct receiver *rx)
{
	struct stream_reply reply = { .stored = htole64(rx->stored) };

	if (rx->stored != rx->received)
		fail(rx, "%llu bytes stored of %llu received", rx->stored, rx->received);
	else if (send(rx->sock, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
		fail(rx, "telling the sender: %s", strerror(errno));
}

static int receiver_setup(struct receiver *rx, const struct options *opts)
{
	__u64 buffers, rq, cq;
	int ret;

	rx->dmabuf_size = opts->area_size;
	rx->dmabuf = area_alloc(opts->area, &rx->dmabuf_size);
	if (rx->dmabuf < 0)
		return EXIT_ERROR;
	/* half of it is for what is being stored, the rest for what is coming */
	rx->limit = rx->dmabuf_size / 2 < RECEIVE_MAX ? rx->dmabuf_size / 2 : RECEIVE_MAX;
	if (rx->limit < STREAM_ALIGN) {
		fprintf(stderr, "receiver: the dma-buf is too small\n");
		return EXIT_ERROR;
	}
	if (disk_open(rx, opts->disk, opts->depth) || bounce_init(rx))
		return EXIT_ERROR;

	/* Pieces can be smaller than buffers, so "enough" is not a guarantee. */
	buffers = rx->dmabuf_size / 4096;
	cq = opts->cq_entries ? opts->cq_entries : 2 * buffers + 2 * opts->depth;
	rq = opts->rq_entries ? opts->rq_entries : buffers;
	if (loop_init(rx, cq < 65536 ? cq : 65536))
		return EXIT_UNSUPPORTED;
	ret = zcrx_init(rx, opts->ifname, opts->queue, opts->buf_size, rq < 32768 ? rq : 32768);
	if (ret)
		return ret == -EOPNOTSUPP || ret == -EINVAL ? EXIT_UNSUPPORTED : EXIT_ERROR;
	ret = disk_register(rx);
	if (ret)
		return ret == -EOPNOTSUPP ? EXIT_UNSUPPORTED : EXIT_ERROR;
	fprintf(stderr, "receiver: dma-buf of %llu bytes, buffers of %u, for %s queue %u and %s\n",
		rx->dmabuf_size, rx->zcrx.buf_size, opts->ifname, opts->queue, opts->disk);
	return EXIT_OK;
}

static int receiver_main(struct receiver *rx, const struct options *opts)
{
	static struct signal_op sig;	/* in use as long as the ring is */
	struct stream_trailer trailer = {};
	int ret;

	ret = receiver_setup(rx, opts);
	if (ret)
		return ret;
	if (watch_signals(rx, &sig)) {
		fprintf(stderr, "receiver: signalfd: %s\n", strerror(errno));
		return EXIT_ERROR;
	}
	report_start(rx);
	if (receiver_accept(rx, opts->port)) {
		report_stage(STAGE_CONNECTED);
		receiver_run(rx);
		report_stage(STAGE_STORED);
		if (!receiver_stopping(rx))
			receiver_flush(rx);
		if (!receiver_stopping(rx))
			receiver_trailer(rx, &trailer);
		if (!receiver_stopping(rx))
			receiver_reply(rx);
		report_stage(STAGE_FLUSHED);
	}
	if (report_print(rx, &trailer, opts->report))
		rx->failed = true;
	if (rx->failed)
		return EXIT_ERROR;
	return rx->signal ? 128 + rx->signal : EXIT_OK;
}

int main(int argc, char **argv)
{
	struct options opts;
	struct receiver rx = { .dmabuf = -1, .sock = -1, .disk.fd = -1, .ring.ring_fd = -1 };
	struct piece *piece;
	int ret;

	options_parse(&opts, argc, argv);
	ret = receiver_main(&rx, &opts);

	/*
	 * Nothing is under way any more. The ring holds the dma-buf for the NIC and
	 * for the disk; when it is closed the queue works as before.
	 */
	if (rx.sock >= 0)
		close(rx.sock);
	if (rx.ring.ring_fd >= 0)
		loop_exit(&rx);
	zcrx_exit(&rx);
	bounce_exit(&rx);
	disk_exit(&rx);
	if (rx.dmabuf >= 0)
		close(rx.dmabuf);
	while ((piece = rx.free_pieces)) {
		rx.free_pieces = piece->next;
		free(piece);
	}
	return ret;
}
