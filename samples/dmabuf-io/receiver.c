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
 * @conn: the connection that it has come on
 * @addr: where it is in the dma-buf
 * @zcrx_off: how zcrx wants it back
 * @len: how long it is; it ends where the stripe ends at the latest
 */
void receiver_piece(struct receiver *rx, struct conn *conn, __u64 addr,
		    __u64 zcrx_off, __u32 len)
{
	struct piece *piece = rx->free_pieces;

	if (piece)
		rx->free_pieces = piece->next;
	else
		piece = calloc(1, sizeof(*piece));
	if (!piece) {
		fail(rx, "out of memory");
		zcrx_return(rx, &conn->zcrx, zcrx_off);
		return;
	}
	if (!rx->received)
		report_stage(STAGE_FIRST_BYTE);

	piece->pos = stream_pos(conn->received, conn->nr, rx->nr_conns);
	piece->addr = addr;
	piece->zcrx_off = zcrx_off;
	piece->len = len;
	piece->conn = conn;
	conn->received += len;
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
	zcrx_return(rx, &piece->conn->zcrx, piece->zcrx_off);
	piece->next = rx->free_pieces;
	rx->free_pieces = piece;
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

static void progress(struct receiver *rx)
{
	static unsigned int last;
	unsigned int now = report_seconds();
	struct conn *conn;

	if (now == last)
		return;
	last = now;
	for (conn = rx->conns; conn < conns_end(rx); conn++)
		zcrx_tick(rx, &conn->zcrx);
	fprintf(stderr, "receiver: %llu MiB received, %llu MiB stored\n",
		rx->received >> 20, rx->stored >> 20);
}

/* Has any connection got a request under way? */
static bool receiver_armed(const struct receiver *rx)
{
	const struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++)
		if (conn->zcrx.armed)
			return true;
	return false;
}

/* Has the stream ended, on all connections? */
static bool receiver_eof(const struct receiver *rx)
{
	const struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++)
		if (!conn->eof)
			return false;
	return true;
}

/* Ask for more, or, when it is time to stop, for no more. */
static void receiver_receive(struct receiver *rx)
{
	struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		conn_receive(rx, conn);
		if (receiver_stopping(rx) && conn->zcrx.armed && !conn->cancelled) {
			zcrx_cancel(rx, &conn->zcrx);
			conn->cancelled = true;
		}
	}
}

/* The heart of it: until the end of the stream, an error or a signal. */
static void receiver_run(struct receiver *rx)
{
	while (receiver_armed(rx) || rx->outstanding || rx->bounce.busy ||
	       (!receiver_eof(rx) && !receiver_stopping(rx))) {
		receiver_receive(rx);
		disk_kick(rx);
		if (loop_run(rx, 1000)) {
			rx->failed = true;
			return;
		}
		disk_kick(rx);
		if (receiver_eof(rx))
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

/* Is what has come without a gap, and can it end with a trailer? */
static bool receiver_complete(const struct receiver *rx)
{
	const struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++)
		if (conn->received != stream_share(rx->received, conn->nr, rx->nr_conns))
			return false;
	return rx->received >= sizeof(struct stream_trailer) &&
	       !(rx->received % STREAM_ALIGN);
}

static void receiver_trailer(struct receiver *rx, struct stream_trailer *trailer)
{
	void *buf;

	if (!receiver_complete(rx)) {
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
	struct conn *conn;

	if (rx->stored != rx->received) {
		fail(rx, "%llu bytes stored of %llu received", rx->stored, rx->received);
		return;
	}
	for (conn = rx->conns; conn < conns_end(rx); conn++)
		if (send(conn->sock, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
			fail(rx, "telling the sender: %s", strerror(errno));
}

static int receiver_queues(struct receiver *rx, const struct options *opts)
{
	struct conn *conn;
	int ret;

	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		ret = zcrx_init(rx, &conn->zcrx, opts->ifname, opts->buf_size,
				opts->rq_entries);
		if (ret)
			return ret;
	}
	return 0;
}

static int receiver_setup(struct receiver *rx, const struct options *opts)
{
	__u64 cq;
	int ret;

	rx->dmabuf_size = opts->area_size;
	rx->dmabuf = area_alloc(opts->area, &rx->dmabuf_size);
	if (rx->dmabuf < 0)
		return EXIT_ERROR;
	if (conns_init(rx, opts->queues, opts->queue))
		return EXIT_ERROR;
	if (disk_open(rx, opts->disk, opts->depth) || bounce_init(rx))
		return EXIT_ERROR;

	/* Pieces can be smaller than buffers, so "enough" is not a guarantee. */
	cq = opts->cq_entries ? opts->cq_entries :
				2 * (rx->dmabuf_size / 4096) + 2 * opts->depth;
	if (loop_init(rx, cq < 65536 ? cq : 65536))
		return EXIT_UNSUPPORTED;
	ret = receiver_queues(rx, opts);
	if (ret)
		return ret == -EOPNOTSUPP || ret == -EINVAL ? EXIT_UNSUPPORTED : EXIT_ERROR;
	ret = disk_register(rx);
	if (ret)
		return ret == -EOPNOTSUPP ? EXIT_UNSUPPORTED : EXIT_ERROR;
	fprintf(stderr, "receiver: dma-buf, all of its %llu bytes: %s\n", rx->dmabuf_size,
		opts->disk);
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
	if (conns_accept(rx, opts->port)) {
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
	struct receiver rx = { .dmabuf = -1, .disk.fd = -1, .ring.ring_fd = -1 };
	struct piece *piece;
	struct conn *conn;
	int ret;

	options_parse(&opts, argc, argv);
	ret = receiver_main(&rx, &opts);

	/*
	 * Nothing is under way any more. The ring holds the dma-buf for the NIC and
	 * for the disk; when it is closed the queues work as before.
	 */
	conns_exit(&rx);
	if (rx.ring.ring_fd >= 0)
		loop_exit(&rx);
	for (conn = rx.conns; conn < conns_end(&rx); conn++)
		zcrx_exit(&conn->zcrx);
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
