// SPDX-License-Identifier: GPL-2.0
/*
 * What happened, in figures. Where the kernel has a figure of its own, that one is
 * shown next to what the receiver believes.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <linux/mman.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "receiver.h"
#include "report.h"
#include "stream.h"

#ifndef __NR_cachestat
#define __NR_cachestat	451
#endif

struct disk_stat {
	unsigned long long commands;
	unsigned long long bytes;
};

struct totals {
	__u64		pieces;
	__u64		copied;
	__u64		returned;
	__u64		rearms;
	__u64		enospc;
	__u64		flushes;
	__u64		alloc_fails;
};

static double stages[NR_STAGES];
static struct disk_stat before;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Write commands and bytes as the block layer has counted them. */
static struct disk_stat disk_stat(const struct receiver *rx)
{
	struct disk_stat stat = {};
	unsigned long long sectors;
	char path[64];
	struct stat st;
	FILE *file;

	if (fstat(rx->disk.fd, &st))
		return stat;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_rdev),
		 minor(st.st_rdev));
	file = fopen(path, "r");
	if (!file)
		return stat;
	if (fscanf(file, "%*u %*u %*u %*u %llu %*u %llu", &stat.commands, &sectors) == 2)
		stat.bytes = sectors * 512;
	fclose(file);
	return stat;
}

/* Pages of the disk in the page cache, -1 if that can't be known. */
static long long cached_pages(const struct receiver *rx)
{
	struct cachestat_range range = {};	/* all of it */
	struct cachestat stat;

	if (syscall(__NR_cachestat, rx->disk.fd, &range, &stat, 0))
		return -1;
	return stat.nr_cache;
}

void report_start(struct receiver *rx)
{
	before = disk_stat(rx);
	stages[STAGE_START] = now();
}

/* The first time counts. */
void report_stage(enum stage stage)
{
	if (!stages[stage])
		stages[stage] = now();
}

unsigned int report_seconds(void)
{
	return now() - stages[STAGE_START];
}

static double between(enum stage from, enum stage to)
{
	if (!stages[from] || !stages[to] || stages[to] < stages[from])
		return 0;
	return stages[to] - stages[from];
}

static void put(FILE *out, const char *name, unsigned long long value)
{
	fprintf(out, "%s=%llu\n", name, value);
}

static void put_time(FILE *out, const char *name, double seconds)
{
	fprintf(out, "%s=%.3f\n", name, seconds);
}

static void put_sha256(FILE *out, const __u8 *sha256)
{
	int i;

	fprintf(out, "sha256=");
	for (i = 0; i < 32; i++)
		fprintf(out, "%02x", sha256[i]);
	fprintf(out, "\n");
}

static __u64 copied(const struct zcrx *zcrx)
{
	return zcrx->kstats ? zcrx->kstats->copy_bytes : 0;
}

/* What all queues together have done. */
static struct totals totals(const struct receiver *rx)
{
	struct totals sum = {};
	const struct conn *conn;

	for (conn = rx->conns; conn < conns_end(rx); conn++) {
		sum.pieces += conn->zcrx.pieces;
		sum.copied += copied(&conn->zcrx);
		sum.returned += conn->zcrx.returned;
		sum.rearms += conn->zcrx.rearms;
		sum.enospc += conn->zcrx.enospc;
		sum.flushes += conn->zcrx.flushes;
		sum.alloc_fails += conn->zcrx.alloc_fails;
	}
	return sum;
}

static void put_queue(FILE *out, const struct conn *conn, const char *name,
		      unsigned long long value)
{
	fprintf(out, "queue%u_%s=%llu\n", conn->zcrx.queue, name, value);
}

/* Of each queue, under the number that the NIC's own statistics have it by. */
static void report_queue(FILE *out, const struct conn *conn)
{
	const struct zcrx *zcrx = &conn->zcrx;

	put_queue(out, conn, "area_start", zcrx->area_start);
	put_queue(out, conn, "area_size", zcrx->area_size);
	put_queue(out, conn, "buffer_size", zcrx->buf_size);
	put_queue(out, conn, "bytes_received", conn->received);
	put_queue(out, conn, "bytes_copied_rx", copied(zcrx));
	put_queue(out, conn, "pieces", zcrx->pieces);
	put_queue(out, conn, "pieces_recycled", zcrx->returned);
}

static void report_to(FILE *out, struct receiver *rx, const struct stream_trailer *trailer)
{
	struct disk_stat after = disk_stat(rx);
	struct totals sum = totals(rx);
	const struct conn *conn;

	put(out, "bytes_received", rx->received);
	put(out, "bytes_stored", rx->stored);
	put(out, "file_size", le64toh(trailer->file_size));
	put_sha256(out, trailer->sha256);

	/* the receive path */
	put(out, "pieces", sum.pieces);
	put(out, "bytes_copied_rx", sum.copied);
	put(out, "pieces_recycled", sum.returned);
	put(out, "receive_requests", sum.rearms);
	put(out, "cq_full", sum.enospc);
	put(out, "refill_flushes", sum.flushes);
	put(out, "alloc_fail_events", sum.alloc_fails);
	for (conn = rx->conns; conn < conns_end(rx); conn++)
		report_queue(out, conn);

	/* the storage path */
	put(out, "writes", rx->disk.writes);
	put(out, "writes_partial", rx->disk.partial);
	put(out, "bytes_direct", rx->disk.direct_bytes);
	put(out, "bytes_copied_disk", rx->bounce.bytes);
	put(out, "fragments", rx->bounce.fragments);
	put(out, "disk_commands", after.commands - before.commands);
	put(out, "disk_bytes", after.bytes - before.bytes);
	fprintf(out, "disk_cached_pages=%lld\n", cached_pages(rx));

	put_time(out, "time_wait", between(STAGE_START, STAGE_CONNECTED));
	put_time(out, "time_receive", between(STAGE_FIRST_BYTE, STAGE_LAST_BYTE));
	put_time(out, "time_store_rest", between(STAGE_LAST_BYTE, STAGE_STORED));
	put_time(out, "time_flush", between(STAGE_STORED, STAGE_FLUSHED));
}

static void report_human(struct receiver *rx, const struct stream_trailer *trailer)
{
	struct totals sum = totals(rx);
	unsigned long long received = rx->received;
	__u64 file_size = le64toh(trailer->file_size);
	double seconds = between(STAGE_FIRST_BYTE, STAGE_STORED);
	const struct conn *conn;

	printf("received  %llu bytes in %llu pieces, %.1f s, %.1f MiB/s\n", received,
	       sum.pieces, seconds, seconds > 0 ? received / seconds / (1 << 20) : 0);
	for (conn = rx->conns; conn < conns_end(rx); conn++)
		printf("  queue %u: %llu bytes in %llu pieces\n", conn->zcrx.queue,
		       conn->received, conn->zcrx.pieces);
	printf("stored    %llu bytes by %llu writes from the dma-buf (%llu were partial)\n",
	       rx->disk.direct_bytes, rx->disk.writes,
	       rx->disk.partial);
	printf("copied    %llu bytes while receiving, %llu bytes of unaligned pieces\n",
	       sum.copied, rx->bounce.bytes);
	printf("recycled  %llu pieces, refill ring full %llu times\n",
	       sum.returned, sum.flushes);
	printf("receive   %llu requests, %llu ended by a full completion queue\n",
	       sum.rearms, sum.enospc);
	printf("NIC       found no buffer %llu times\n", sum.alloc_fails);
	if (!receiver_stopping(rx))
		printf("file      %llu bytes, check with: head -c %llu %s | sha256sum\n",
		       file_size, file_size, rx->disk.path);
}

/**
 * report_print() - print the figures, also of a transfer that failed
 * @rx: the receiver
 * @trailer: of the stream, or zeros
 * @file: for the figures in machine readable form, or NULL
 *
 * Return: 0, or -1 if @file can't be written.
 */
int report_print(struct receiver *rx, const struct stream_trailer *trailer, const char *file)
{
	FILE *out;
	int ret;

	report_human(rx, trailer);
	if (fflush(stdout))
		return -1;
	if (!file)
		return 0;

	out = fopen(file, "w");
	if (!out) {
		fprintf(stderr, "receiver: %s: %s\n", file, strerror(errno));
		return -1;
	}
	report_to(out, rx, trailer);
	ret = ferror(out);
	if (fclose(out) || ret) {
		fprintf(stderr, "receiver: %s: cannot write\n", file);
		return -1;
	}
	return 0;
}
