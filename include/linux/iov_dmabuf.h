/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_IOV_DMABUF_H
#define _LINUX_IOV_DMABUF_H

#include <linux/minmax.h>
#include <linux/uio.h>

/**
 * struct iov_dmabuf_seg - a part of a dma-buf in an iterator that has several
 * @offset: where it starts
 * @len: its length in bytes, not 0
 */
struct iov_dmabuf_seg {
	size_t offset;
	size_t len;
};

/*
 * The current part; &iov_iter.iov_offset counts from its start.  NULL if there are
 * no parts, then that counts from the start of the dma-buf.  There is no number of
 * parts, &iov_iter.count is enough to know the end, and so its place is free.
 */
static inline const struct iov_dmabuf_seg *
iov_iter_dmabuf_seg(const struct iov_iter *i)
{
	return (const struct iov_dmabuf_seg *)i->nr_segs;
}

/* Several parts of a dma-buf, with gaps between them? */
static inline bool iov_iter_is_dmabuf_vec(const struct iov_iter *i)
{
	return iov_iter_is_dmabuf(i) && iov_iter_dmabuf_seg(i);
}

/**
 * iov_iter_dmabuf_vec - initialise an iterator over several parts of a dma-buf
 * @i: the iterator
 * @direction: ITER_SOURCE or ITER_DEST
 * @dmabuf: the dma-buf; must stay referenced while the iterator is used
 * @segs: the parts; must stay while the iterator is used
 * @count: the number of bytes in all of them together
 */
static inline void iov_iter_dmabuf_vec(struct iov_iter *i,
				       unsigned int direction,
				       const struct blk_dmabuf *dmabuf,
				       const struct iov_dmabuf_seg *segs,
				       size_t count)
{
	iov_iter_dmabuf(i, direction, dmabuf, 0, count);
	i->nr_segs = (unsigned long)segs;
}

/**
 * iov_iter_dmabuf_run - the next bytes of the dma-buf without a gap
 * @i: an ITER_DMABUF iterator
 * @offset: set to where in the dma-buf they start
 *
 * Return: how many there are, 0 only at the end of the iterator.
 */
static inline size_t iov_iter_dmabuf_run(const struct iov_iter *i,
					 size_t *offset)
{
	const struct iov_dmabuf_seg *seg = iov_iter_dmabuf_seg(i);

	*offset = i->iov_offset;
	if (likely(!seg) || !i->count)
		return i->count;
	/* Advancing leaves the iterator at the end of a part. */
	if (*offset == seg->len) {
		seg++;
		*offset = 0;
	}
	*offset += seg->offset;
	return min(i->count, seg->offset + seg->len - *offset);
}

bool iov_iter_dmabuf_aligned(const struct iov_iter *i, unsigned int offset_mask,
			     unsigned int len_mask);

#endif /* _LINUX_IOV_DMABUF_H */
