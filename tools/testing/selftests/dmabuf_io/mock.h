/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The exporter for tests, /dev/dma_buf_mock: dma-bufs that move, are revoked or
 * fail on command, and notice accesses outside of a live mapping.
 */
#ifndef DMABUF_IO_MOCK_H
#define DMABUF_IO_MOCK_H

#include <stddef.h>
#include <stdint.h>
#include "../../../../drivers/dma-buf/dma-buf-mock-ioctl.h"

#define MOCK_ALL_MOVES	((1U << DMA_BUF_MOCK_NR_MOVES) - 1)
/*
 * How long it may have to wait for a disk: two command timeouts, one before and one
 * of the reset, and the reset itself
 */
#define MOCK_WAIT_US	35000000ULL

/* fd of a new dma-buf in segments of 4096 << @order, or a negative errno */
int mock_create(size_t size, unsigned int order, unsigned int flags);

/* 0 or a negative errno */
int mock_move(int fd, enum dma_buf_mock_move how);
int mock_auto(int fd, unsigned int us, unsigned int moves);
int mock_revoke(int fd);
int mock_restore(int fd);
/* Let the @nth such call from now fail with @error, a positive errno */
int mock_fail(int fd, enum dma_buf_mock_fail what, unsigned int nth, int error);
int mock_stats(int fd, struct dma_buf_mock_stats *stats);

#endif /* DMABUF_IO_MOCK_H */
