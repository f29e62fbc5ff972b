// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions that the CPU executes for one I/O
 *
 * For a guest whose clock counts instructions (kit/vm --icount): the time stamp
 * counter is the number of instructions since the start. One io_uring_enter()
 * submits; then this program spins on the tail of the completion queue, in a loop
 * of three instructions that counts its turns, so that the processor never halts.
 * What is left after subtracting the turns is what the kernel has done, interrupt
 * and completion included.
 *
 * Prints a line of comma-separated values for each combination:
 *   kind,direction,bytes,depth,wait,instructions,commands,samples
 * per I/O, median of the samples, and one per buffer, see mapping.h.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "mapping.h"
#include "memory.h"

#define MAX_DEPTH	32
#define BUFFER		(64UL << 20)
#define WARM_UP		8
/* Instructions of one turn of spin() */
#define TURN		3

static const unsigned int sizes[] = { 512, 4096, 16384, 131072, 524288, 2097152 };

struct bench {
	struct io_uring ring;
	const char *disk;
	int fd;
	bool poll;
	unsigned int only;	/* size; 0: all of them */
	bool plain;		/* neither fixed buffer nor dma-buf */
	unsigned int samples;
	struct memory mem;
	uint64_t first;		/* offset into the memory */
};

/* Until *tail is @want; returns the turns */
static inline uint64_t spin(const unsigned int *tail, unsigned int want)
{
	uint64_t turns = 0;

	asm volatile("1:	inc	%0\n"
		     "		cmpl	%2, (%1)\n"
		     "		jne	1b\n"
		     : "+r" (turns) : "r" (tail), "r" (want) : "memory", "cc");
	return turns;
}

static uint64_t commands(const struct bench *b, bool write)
{
	char path[128], name[64];
	unsigned long long n[11];
	FILE *f;
	int i;

	snprintf(name, sizeof(name), "%s", b->disk);
	snprintf(path, sizeof(path), "/sys/block/%s/stat", basename(name));
	f = fopen(path, "r");
	if (!f)
		err(1, "%s", path);
	for (i = 0; i < 11; i++)
		if (fscanf(f, "%llu", &n[i]) != 1)
			errx(1, "%s: not understood", path);
	fclose(f);
	return n[write ? 4 : 0];
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* No two neighbours on the disk, which would be merged. */
static void prepare(struct bench *b, bool write, unsigned int size, unsigned int depth, unsigned int round)
{
	struct io_uring_sqe *sqe;
	unsigned int i;
	uint64_t addr;

	for (i = 0; i < depth; i++) {
		addr = b->first + (uint64_t)(round * depth + i) % (BUFFER / size) * size;
		if (b->mem.va)
			addr += (uint64_t)b->mem.va;
		sqe = io_uring_get_sqe(&b->ring);
		if (!sqe)
			errx(1, "submission queue full");
		if (b->plain)
			io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, b->fd,
					 (void *)addr, size, 2ULL * i * size);
		else
			io_uring_prep_rw(write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED, sqe, b->fd,
					 (void *)addr, size, 2ULL * i * size);
		sqe->buf_index = 0;
		sqe->user_data = size;
	}
}

static void take(struct bench *b, unsigned int depth)
{
	struct io_uring_cqe *cqe;
	unsigned int i;

	for (i = 0; i < depth; i++) {
		if (io_uring_peek_cqe(&b->ring, &cqe))
			errx(1, "a completion is missing");
		if (cqe->res != (int)cqe->user_data)
			errx(1, "%s: I/O of %llu bytes: %d", b->mem.kind,
			     (unsigned long long)cqe->user_data, cqe->res);
		io_uring_cqe_seen(&b->ring, cqe);
	}
}

/* Polling costs per look; how many looks there were is a matter of the device. */
static uint64_t wait_polled(struct bench *b, unsigned int want)
{
	uint64_t start, vain = 0;
	unsigned int i;

	while (*b->ring.cq.ktail != want) {
		unsigned int before = *b->ring.cq.ktail;

		start = instructions();
		io_uring_enter(b->ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
		if (*b->ring.cq.ktail == before)
			vain += instructions() - start;
		start = instructions();
		for (i = 0; i < 2000; i++)
			asm volatile("" ::: "memory");
		vain += instructions() - start;
	}
	return vain;
}

static uint64_t one_sample(struct bench *b, bool write, unsigned int size, unsigned int depth, unsigned int round)
{
	unsigned int want = *b->ring.cq.ktail + depth;
	uint64_t start, idle;

	prepare(b, write, size, depth, round);
	start = instructions();
	if (io_uring_submit(&b->ring) != (int)depth)
		errx(1, "not everything was submitted");
	idle = b->poll ? wait_polled(b, want) : TURN * spin(b->ring.cq.ktail, want);
	start = instructions() - start;
	take(b, depth);
	return (start - idle) / depth;
}

static void measure(struct bench *b, bool write, unsigned int size, unsigned int depth)
{
	unsigned int samples = depth == 1 ? b->samples : b->samples / 4 + 1, i;
	uint64_t *result = calloc(samples, sizeof(*result)), before, after;

	if (!result)
		err(1, "memory");
	for (i = 0; i < WARM_UP; i++)
		one_sample(b, write, size, depth, i);
	before = commands(b, write);
	for (i = 0; i < samples; i++)
		result[i] = one_sample(b, write, size, depth, i);
	after = commands(b, write);
	qsort(result, samples, sizeof(*result), compare);
	printf("%s%s,%s,%u,%u,%s,%llu,%.3f,%u\n", b->mem.kind, b->plain ? "-plain" : "",
	       write ? "write" : "read", size, depth, b->poll ? "poll" : "irq",
	       (unsigned long long)result[samples / 2],
	       (double)(after - before) / samples / depth, samples);
	fflush(stdout);
	free(result);
}

static void init_ring(struct bench *b)
{
	struct io_uring_params params = { .flags = b->poll ? IORING_SETUP_IOPOLL : 0 };
	int ret;

	ret = io_uring_queue_init_params(MAX_DEPTH, &b->ring, &params);
	if (ret)
		errx(1, "io_uring_queue_init: %s", strerror(-ret));
	ret = io_uring_register_buffers_sparse(&b->ring, 1);
	if (ret)
		errx(1, "io_uring_register_buffers_sparse: %s", strerror(-ret));
}

/* Does it matter how large the buffer is, and where in it the data is? */
static void run_large(struct bench *b, size_t size)
{
	init_ring(b);
	b->plain = false;
	memory_alloc(&b->mem, "udmabuf-large", size, NULL);
	mapping_register(&b->ring, 0, &b->mem, b->fd);
	b->mem.kind = "large-start";
	measure(b, false, 4096, 1);
	b->mem.kind = "large-end";
	b->first = size - BUFFER;
	measure(b, false, 4096, 1);
	b->first = 0;
	io_uring_queue_exit(&b->ring);
	memory_free(&b->mem);
}

static void run(struct bench *b, const char *kind, const char *p2p, bool depth32, bool writes, bool maps)
{
	unsigned int i, w;

	init_ring(b);
	b->plain = !strcmp(kind, "user-plain");
	memory_alloc(&b->mem, b->plain ? "user" : kind, BUFFER, p2p);
	if (!b->plain) {
		if (maps)
			mapping_cost(&b->mem, b->fd);
		mapping_register(&b->ring, 0, &b->mem, b->fd);
	}
	for (w = 0; w <= writes; w++)
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			if (b->only && b->only != sizes[i])
				continue;
			measure(b, w, sizes[i], 1);
			if (depth32)
				measure(b, w, sizes[i], MAX_DEPTH);
		}
	io_uring_queue_exit(&b->ring);
	memory_free(&b->mem);
}

int main(int argc, char **argv)
{
	struct bench b = { .samples = 101 };
	bool depth32 = false, writes = false, maps = false;
	const char *p2p = NULL;
	size_t large = 0;
	int opt;

	while ((opt = getopt(argc, argv, "dg:mn:p:rs:w")) != -1) {
		switch (opt) {
		case 'd':
			depth32 = true;
			break;
		case 'g':
			large = (size_t)atoi(optarg) << 30;
			break;
		case 'm':
			maps = true;
			break;
		case 'n':
			b.samples = atoi(optarg);
			break;
		case 'p':
			p2p = optarg;
			break;
		case 'r':
			b.poll = true;
			break;
		case 's':
			b.only = atoi(optarg);
			break;
		case 'w':
			writes = true;
			break;
		default:
			errx(2, "usage: bench [-d] [-m] [-r] [-w] [-g GIB] [-n SAMPLES] [-p BDF] [-s BYTES] DISK KIND...");
		}
	}
	if (argc - optind < 2 || !b.samples)
		errx(2, "usage: bench [-d] [-m] [-r] [-w] [-g GIB] [-n SAMPLES] [-p BDF] [-s BYTES] DISK KIND...");
	b.disk = argv[optind];
	b.fd = open(b.disk, O_RDWR | O_DIRECT);
	if (b.fd < 0)
		err(1, "%s", b.disk);
	for (optind++; optind < argc; optind++)
		run(&b, argv[optind], p2p, depth32, writes, maps);
	if (large)
		run_large(&b, large);
	return 0;
}
