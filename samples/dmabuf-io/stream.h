/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What sender and receiver agree on.
 *
 * The receiver never sees a byte of the stream: it lands in memory that no CPU
 * looks at and goes to the disk from there. So there is no header that it could
 * parse. Offset n of the stream is simply offset n of the disk, and whatever the
 * receiver needs to know comes last, in a trailer that it reads back from the
 * disk:
 *
 *   file | zeros up to a multiple of STREAM_ALIGN | struct stream_trailer
 *
 * The padding keeps the end of the stream a whole number of disk blocks, for the
 * same reason that the sender chooses segments that are whole blocks: what comes
 * in pieces that a disk can't write needs help from the CPU (see bounce.c).
 */
#ifndef STREAM_H
#define STREAM_H

#include <assert.h>
#include <linux/types.h>

#define STREAM_ALIGN	4096ULL
#define STREAM_PORT	5555
#define STREAM_MAGIC	"dmabuf-io-sample"

/* All numbers are little endian. */
struct stream_trailer {
	char		magic[16];	/* STREAM_MAGIC, without the final 0 */
	__u64		file_size;
	__u64		stream_size;	/* file, padding and trailer */
	__u8		sha256[32];	/* of the file */
	__u8		zero[STREAM_ALIGN - 64];
};

/*
 * Sent back when the disk has everything. Without it the sender only knows that
 * some TCP stack has the data.
 */
struct stream_reply {
	__u64		stored;		/* bytes of the stream */
};

static_assert(sizeof(struct stream_trailer) == STREAM_ALIGN, "one block");

static inline __u64 stream_padding(__u64 file_size)
{
	return -file_size & (STREAM_ALIGN - 1);
}

#endif
