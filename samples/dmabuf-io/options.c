// SPDX-License-Identifier: GPL-2.0
/* The command line of the receiver */
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "stream.h"

static const char usage[] =
"usage: receiver [options] INTERFACE DISK\n"
"\n"
"Wait for a connection of sender, receive its stream from a queue of INTERFACE\n"
"into a dma-buf and write it from there to DISK, beginning at its first block.\n"
"What is on DISK is lost.\n"
"\n"
"With --queues=N the stream comes on N connections at once. Each arrives on a queue\n"
"of its own, which receives into a part of the dma-buf of its own.\n"
"\n"
"  -q, --queue=N      receive queue that the stream arrives on (default 0)\n"
"  -n, --queues=N     receive on N queues, from that one on (default 1, at most 16)\n"
"  -p, --port=PORT    TCP port to listen on (default 5555); with --queues=N the first\n"
"                     of N, in the order of the queues\n"
"  -a, --area=KIND    where the dma-buf comes from: heap (default), heap:NAME,\n"
"                     udmabuf, udmabuf-huge, or fd:N, one that was inherited\n"
"  -s, --size=BYTES   size of the dma-buf (default 16M; K, M and G can be used)\n"
"  -b, --buf=BYTES    size of a receive buffer (default: largest possible)\n"
"  -d, --depth=N      writes at a time (default 64)\n"
"  -r, --refill=N     entries of the refill ring (default: as many as buffers)\n"
"  -c, --cq=N         entries of the completion queue (default: enough)\n"
"      --report=FILE  write the figures to FILE as well, as NAME=VALUE\n"
"  -h, --help         print this\n"
"\n"
"INTERFACE needs header split and a driver with memory providers:\n"
"  ethtool -G INTERFACE tcp-data-split on hds-thresh 0\n"
"and each flow must arrive on its queue, for instance by a rule of ethtool -N:\n"
"  ethtool -N INTERFACE flow-type tcp4 dst-port PORT action QUEUE\n"
"\n"
"exit status: 0 everything is on the disk, 1 an error, 2 wrong usage, 3 the kernel,\n"
"the NIC or the disk can't do this, 128+N stopped by signal N\n";

static __u64 parse_number(const char *name, const char *arg, __u64 min, __u64 max)
{
	static const char suffix[] = "KMG";
	__u64 val;
	const char *s;
	char *end;

	errno = 0;
	val = strtoull(arg, &end, 0);
	s = *end ? strchr(suffix, *end) : NULL;
	if (s && !end[1] && val <= UINT64_MAX >> (10 * (s - suffix + 1))) {
		val <<= 10 * (s - suffix + 1);
		end++;
	}
	if (errno || end == arg || *end || *arg == '-' || val < min || val > max) {
		fprintf(stderr, "receiver: --%s=%s: not a number from %llu to %llu\n", name, arg,
			min, max);
		exit(EXIT_USAGE);
	}
	return val;
}

void options_parse(struct options *opts, int argc, char **argv)
{
	static const struct option options[] = {
		{ "queue", required_argument, NULL, 'q' },
		{ "queues", required_argument, NULL, 'n' },
		{ "port", required_argument, NULL, 'p' },
		{ "area", required_argument, NULL, 'a' },
		{ "size", required_argument, NULL, 's' },
		{ "buf", required_argument, NULL, 'b' },
		{ "depth", required_argument, NULL, 'd' },
		{ "refill", required_argument, NULL, 'r' },
		{ "cq", required_argument, NULL, 'c' },
		{ "report", required_argument, NULL, 'R' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int opt;

	*opts = (struct options) {
		.port = STREAM_PORT,
		.queues = 1,
		.area = "heap",
		.area_size = 16 << 20,
		.depth = 64,
	};
	while ((opt = getopt_long(argc, argv, "q:n:p:a:s:b:d:r:c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'q':
			opts->queue = parse_number("queue", optarg, 0, 65535);
			break;
		case 'n':
			opts->queues = parse_number("queues", optarg, 1, STREAM_CONNS_MAX);
			break;
		case 'p':
			opts->port = parse_number("port", optarg, 1, 65535);
			break;
		case 'a':
			opts->area = optarg;
			break;
		case 's':
			opts->area_size = parse_number("size", optarg, 4096, 1ULL << 40);
			opts->area_size &= ~4095ULL;
			break;
		case 'b':
			opts->buf_size = parse_number("buf", optarg, 4096, 1 << 30);
			if (opts->buf_size & (opts->buf_size - 1)) {
				fprintf(stderr, "receiver: --buf: not a power of two\n");
				exit(EXIT_USAGE);
			}
			break;
		case 'd':
			opts->depth = parse_number("depth", optarg, 1, 4096);
			break;
		case 'r':
			opts->rq_entries = parse_number("refill", optarg, 1, 32768);
			break;
		case 'c':
			opts->cq_entries = parse_number("cq", optarg, 1, 65536);
			break;
		case 'R':
			opts->report = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_OK);
		default:
			fputs(usage, stderr);
			exit(EXIT_USAGE);
		}
	}
	if (argc - optind != 2) {
		fputs(usage, stderr);
		exit(EXIT_USAGE);
	}
	if (opts->port + opts->queues - 1 > 65535) {
		fprintf(stderr, "receiver: no %u ports from %u on\n", opts->queues, opts->port);
		exit(EXIT_USAGE);
	}
	opts->ifname = argv[optind];
	opts->disk = argv[optind + 1];
}
