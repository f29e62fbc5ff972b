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
 *
 * A stream can be spread over several connections, like a volume over several
 * disks: it is cut into stripes, and of n connections each one carries every n-th.
 * So the receiver knows where everything belongs without knowing how much there is:
 *
 *   connection 0   stripe 0 | stripe 2 | stripe 4 ...
 *   connection 1   stripe 1 | stripe 3 ...
 */
#ifndef STREAM_H
#define STREAM_H

#include <assert.h>
#include <linux/types.h>

#define STREAM_ALIGN	4096ULL
#define STREAM_STRIPE	(64 * STREAM_ALIGN)
#define STREAM_CONNS_MAX 16
#define STREAM_PORT	5555		/* of connection 0, the others have the next ones */
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

/* Which connection carries the byte at @pos of the stream. */
static inline unsigned int stream_conn(__u64 pos, unsigned int conns)
{
	return pos / STREAM_STRIPE % conns;
}

/* Where in the stream the byte at @off of connection @conn is. */
static inline __u64 stream_pos(__u64 off, unsigned int conn, unsigned int conns)
{
	return (off / STREAM_STRIPE * conns + conn) * STREAM_STRIPE + off % STREAM_STRIPE;
}

/*
 * How many bytes from @pos of the stream on, or of a connection, are together in the
 * other one as well.
 */
static inline __u64 stream_contiguous(__u64 pos, unsigned int conns)
{
	return conns == 1 ? ~0ULL : STREAM_STRIPE - pos % STREAM_STRIPE;
}

/* How much of a stream of @size bytes connection @conn carries. */
static inline __u64 stream_share(__u64 size, unsigned int conn, unsigned int conns)
{
	__u64 rest = size % (conns * STREAM_STRIPE), before = conn * STREAM_STRIPE;
	__u64 share = size / (conns * STREAM_STRIPE) * STREAM_STRIPE;

	if (rest <= before)
		return share;
	rest -= before;
	return share + (rest < STREAM_STRIPE ? rest : STREAM_STRIPE);
}

#endif
