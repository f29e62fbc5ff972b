// SPDX-License-Identifier: GPL-2.0
/*
 * Send a file to the receiver, over an ordinary TCP connection.
 *
 * There is one thing that the sender can do for a receiver which puts the payload
 * where it comes from straight to a disk: send segments that are a whole number of
 * disk blocks, and nothing in between. So
 *  - the segment size is limited to a multiple of the block size, once what the
 *    path allows is known;
 *  - what is sent at a time is a number of whole segments that fit into the
 *    receiver's window, at whose end TCP would cut;
 *  - MSG_EOR keeps TCP from joining it with what follows, so that after an odd
 *    segment, should there be one, the next record is in step again;
 *  - the end of the file is padded.
 * stream.h says what the stream looks like.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sha256.h"
#include "stream.h"

#define SECTOR		512
#define RECORD_MAX	65000		/* what TCP takes as one packet */

static const char usage[] =
"usage: sender [options] ADDRESS FILE\n"
"\n"
"Send FILE to the receiver at ADDRESS (IPv4 or IPv6) and wait until it is on the disk there.\n"
"\n"
"  -p, --port=PORT      the receiver's port (default 5555)\n"
"  -c, --connections=N  send over N connections at once, to N ports from that one on;\n"
"                       as many as the receiver has queues (default 1, at most 16)\n"
"  -m, --segment=BYTES  payload per TCP segment (default: the largest multiple of\n"
"                       4096, or else of 512, that the route allows; 0: leave it to TCP)\n"
"  -w, --wait=SECONDS   keep trying to connect for so long (default 0)\n"
"  -h, --help           print this\n"
"\n"
"exit status: 0 the receiver has it all on its disk, 1 an error, 2 wrong usage\n";

struct address {
	union {
		struct sockaddr		any;
		struct sockaddr_in	v4;
		struct sockaddr_in6	v6;
	};
	socklen_t	len;
};

struct conns {
	unsigned int	nr;
	int		socks[STREAM_CONNS_MAX];
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "sender: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void progress(const char *what, __u64 done, __u64 total)
{
	static double last;

	if (!done)
		last = now();
	if (now() - last < 1)
		return;
	last = now();
	fprintf(stderr, "sender: %llu of %llu MiB %s\n", done >> 20, total >> 20, what);
}

static void read_file(int fd, char *buf, size_t len, __u64 pos)
{
	ssize_t ret;

	while (len) {
		ret = pread(fd, buf, len, pos);
		if (ret < 0)
			die("reading the file");
		if (!ret) {
			errno = ENODATA;
			die("the file has become shorter");
		}
		buf += ret;
		len -= ret;
		pos += ret;
	}
}

static void hash_file(int fd, __u64 size, __u8 digest[32])
{
	static char buf[65536];
	struct sha256 sha;
	size_t len;
	__u64 pos;

	sha256_init(&sha);
	for (pos = 0; pos < size; pos += len) {
		progress("hashed", pos, size);
		len = size - pos < sizeof(buf) ? size - pos : sizeof(buf);
		read_file(fd, buf, len, pos);
		sha256_update(&sha, buf, len);
	}
	sha256_final(&sha, digest);
}

/*
 * Payload per segment that a connection would have without our help. A UDP
 * socket tells the MTU of the route without sending anything.
 */
static unsigned int segment_of_route(const struct address *to)
{
	int v6 = to->any.sa_family == AF_INET6;
	int mtu = 0, fd;
	socklen_t len = sizeof(mtu);

	fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	if (connect(fd, &to->any, to->len) ||
	    getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &len))
		mtu = 0;
	close(fd);

	/* IP, TCP, and the timestamp option, which nearly every connection has */
	mtu -= (v6 ? 40 : 20) + 20 + 12;
	if (mtu >= (int)STREAM_ALIGN)
		return mtu & -STREAM_ALIGN;
	return mtu >= SECTOR ? mtu & -SECTOR : 0;
}

static struct tcp_info socket_info(int sock)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	if (getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len))
		die("TCP_INFO");
	return info;
}

static unsigned int segment_of_socket(int sock)
{
	return socket_info(sock).tcpi_snd_mss;
}

static int try_connect(const struct address *to, int maxseg)
{
	int sock = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (sock < 0)
		die("socket");
	if (maxseg > 0 && setsockopt(sock, IPPROTO_TCP, TCP_MAXSEG, &maxseg, sizeof(maxseg)))
		die("TCP_MAXSEG");
	if (connect(sock, &to->any, to->len)) {
		err = errno;
		close(sock);
		errno = err;
		return -1;
	}
	return sock;
}

/*
 * TCP_MAXSEG counts the options of a segment as payload and has to be set before
 * connecting. How many there are is known afterwards, so it may take two attempts.
 */
static int connect_with_segment(const struct address *to, unsigned int segment)
{
	int sock = try_connect(to, segment ? segment + 12 : 0);
	unsigned int got;

	if (sock < 0 || !segment)
		return sock;
	got = segment_of_socket(sock);
	if (got > segment) {
		close(sock);
		sock = try_connect(to, 2 * segment + 12 - got);
		if (sock < 0)
			return sock;
		got = segment_of_socket(sock);
	}
	if (got % SECTOR)
		fprintf(stderr, "sender: segments of %u bytes: the receiver will have to copy\n",
			got);
	return sock;
}

static void parse_address(struct address *to, const char *text, __u16 port)
{
	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &to->v4.sin_addr) == 1) {
		to->v4.sin_family = AF_INET;
		to->v4.sin_port = htons(port);
		to->len = sizeof(to->v4);
	} else if (inet_pton(AF_INET6, text, &to->v6.sin6_addr) == 1) {
		to->v6.sin6_family = AF_INET6;
		to->v6.sin6_port = htons(port);
		to->len = sizeof(to->v6);
	} else {
		fprintf(stderr, "sender: %s is no IPv4 or IPv6 address\n", text);
		exit(2);
	}
}

static int connect_to(const char *text, __u16 port, long segment, double patience)
{
	double until = now() + patience;
	struct address to;
	int sock;

	parse_address(&to, text, port);
	for (;;) {
		sock = connect_with_segment(&to, segment < 0 ? segment_of_route(&to) :
							       (unsigned int)segment);
		if (sock >= 0)
			return sock;
		if (now() >= until)
			die(text);
		usleep(100000);
	}
}

/* In the order of the ports, so that the receiver knows which one is which. */
static void connect_all(struct conns *conns, const char *text, __u16 port, long segment,
			double patience)
{
	unsigned int i;

	for (i = 0; i < conns->nr; i++)
		conns->socks[i] = connect_to(text, port + i, segment, patience);
}

/*
 * How many of @len bytes to send now: whole segments that fit into the receiver's
 * window. Waits for the first one; but should the window be smaller than that even
 * when the receiver has got everything, there is no point in waiting for long.
 */
static size_t wait_for_window(int sock, size_t len)
{
	int queued, tries = 0;

	for (;;) {
		struct tcp_info info = socket_info(sock);
		size_t room;

		if (ioctl(sock, SIOCOUTQ, &queued))
			die("SIOCOUTQ");
		room = info.tcpi_snd_wnd > (__u32)queued ? info.tcpi_snd_wnd - queued : 0;
		if (room >= len)
			return len;
		if (room >= info.tcpi_snd_mss)
			return room / info.tcpi_snd_mss * info.tcpi_snd_mss;
		tries = queued ? 0 : tries + 1;
		if (tries > 1000)
			return len < info.tcpi_snd_mss ? len : info.tcpi_snd_mss;
		usleep(1000);
	}
}

static void send_record(int sock, const void *data, size_t len)
{
	const char *p = data;
	ssize_t ret;

	while (len) {
		ret = send(sock, p, wait_for_window(sock, len), MSG_NOSIGNAL | MSG_EOR);
		if (ret < 0)
			die("send");
		p += ret;
		len -= ret;
	}
}

/* Whole segments; any number of bytes if segments are no whole blocks anyway. */
static size_t record_size(int sock)
{
	unsigned int segment = segment_of_socket(sock);

	if (segment % SECTOR || segment > RECORD_MAX)
		return RECORD_MAX;
	return RECORD_MAX / segment * segment;
}

/* Part of the stream: of the file, of the padding, of the trailer, or of all. */
static void read_stream(int fd, const struct stream_trailer *trailer, char *buf, size_t len,
			__u64 pos)
{
	__u64 size = le64toh(trailer->file_size);
	__u64 trailer_pos = le64toh(trailer->stream_size) - sizeof(*trailer);
	__u64 end = pos + len, from;

	memset(buf, 0, len);
	if (pos < size)
		read_file(fd, buf, (end < size ? end : size) - pos, pos);
	if (end > trailer_pos) {
		from = pos > trailer_pos ? pos : trailer_pos;
		memcpy(buf + (from - pos), (const char *)trailer + (from - trailer_pos),
		       end - from);
	}
}

/*
 * One record after the other, each on the connection that its stripe is for. While
 * this waits for the window of one connection, what the others have got is on its way.
 */
static void send_stream(const struct conns *conns, int fd, const struct stream_trailer *trailer)
{
	__u64 total = le64toh(trailer->stream_size), pos, together;
	size_t record = record_size(conns->socks[0]), len;
	static char buf[RECORD_MAX];
	unsigned int i;

	for (pos = 0; pos < total; pos += len) {
		progress("sent", pos, total);
		len = total - pos < record ? total - pos : record;
		together = stream_contiguous(pos, conns->nr);
		len = len < together ? len : together;
		read_stream(fd, trailer, buf, len, pos);
		send_record(conns->socks[stream_conn(pos, conns->nr)], buf, len);
	}
	for (i = 0; i < conns->nr; i++)
		if (shutdown(conns->socks[i], SHUT_WR))
			die("shutdown");
}

static void receive_reply(int sock, __u64 total)
{
	struct stream_reply reply;
	ssize_t ret;

	ret = recv(sock, &reply, sizeof(reply), MSG_WAITALL);
	if (ret < 0)
		die("waiting for the receiver");
	if (ret != sizeof(reply)) {
		fprintf(stderr, "sender: the receiver gave up before everything was on its disk\n");
		exit(1);
	}
	if (le64toh(reply.stored) != total) {
		fprintf(stderr, "sender: the receiver stored %llu bytes of %llu\n",
			(unsigned long long)le64toh(reply.stored), total);
		exit(1);
	}
}

static long parse_number(const char *name, const char *arg, long min, long max)
{
	char *end;
	long val;

	errno = 0;
	val = strtol(arg, &end, 0);
	if (errno || end == arg || *end || val < min || val > max) {
		fprintf(stderr, "sender: --%s=%s: not a number from %ld to %ld\n", name, arg,
			min, max);
		exit(2);
	}
	return val;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "connections", required_argument, NULL, 'c' },
		{ "segment", required_argument, NULL, 'm' },
		{ "wait", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	struct stream_trailer trailer = { .magic = {} };
	long segment = -1, patience = 0, port = STREAM_PORT;
	double start, hashed, connected, stored;
	struct conns conns = { .nr = 1 };
	__u64 size, total;
	struct stat st;
	unsigned int i;
	int opt, fd;

	while ((opt = getopt_long(argc, argv, "p:c:m:w:h", options, NULL)) != -1) {
		switch (opt) {
		case 'p':
			port = parse_number("port", optarg, 1, 65535);
			break;
		case 'c':
			conns.nr = parse_number("connections", optarg, 1, STREAM_CONNS_MAX);
			break;
		case 'm':
			segment = parse_number("segment", optarg, 0, 32767 - 12);
			break;
		case 'w':
			patience = parse_number("wait", optarg, 0, 86400);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (argc - optind != 2) {
		fputs(usage, stderr);
		return 2;
	}
	if (port + conns.nr - 1 > 65535) {
		fprintf(stderr, "sender: no %u ports from %ld on\n", conns.nr, port);
		return 2;
	}

	fd = open(argv[optind + 1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die(argv[optind + 1]);
	size = st.st_size;
	if (!S_ISREG(st.st_mode)) {
		fprintf(stderr, "sender: %s is no regular file\n", argv[optind + 1]);
		return 1;
	}

	start = now();
	hash_file(fd, size, trailer.sha256);
	hashed = now();
	total = size + stream_padding(size) + sizeof(trailer);
	memcpy(trailer.magic, STREAM_MAGIC, sizeof(trailer.magic));
	trailer.file_size = htole64(size);
	trailer.stream_size = htole64(total);

	signal(SIGPIPE, SIG_IGN);
	connect_all(&conns, argv[optind], port, segment, patience);
	connected = now();
	fprintf(stderr, "sender: %llu bytes to %s, %u bytes per segment, %u connection%s\n",
		total, argv[optind], segment_of_socket(conns.socks[0]), conns.nr,
		conns.nr == 1 ? "" : "s");
	send_stream(&conns, fd, &trailer);
	for (i = 0; i < conns.nr; i++)
		receive_reply(conns.socks[i], total);
	stored = now();

	printf("sha256  ");
	for (i = 0; i < sizeof(trailer.sha256); i++)
		printf("%02x", trailer.sha256[i]);
	printf("\nsent    %llu bytes, %llu of them the file\n", total, size);
	printf("time    %.2f s to hash, %.2f s until all of it was on the receiver's disk\n",
	       hashed - start, stored - connected);
	return 0;
}
