// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "mock.h"

static int mock_ioctl(unsigned long request, void *arg)
{
	int dev = open("/dev/dma_buf_mock", O_RDWR | O_CLOEXEC), ret;

	if (dev < 0)
		return -errno;
	ret = ioctl(dev, request, arg) ? -errno : 0;
	close(dev);
	return ret;
}

static int mock_cmd(int fd, enum dma_buf_mock_op op, uint64_t arg0, uint64_t arg1)
{
	struct dma_buf_mock_cmd cmd = { .fd = fd, .op = op, .arg = { arg0, arg1 } };

	return mock_ioctl(DMA_BUF_MOCK_IOC_CMD, &cmd);
}

int mock_create(size_t size, unsigned int order, unsigned int flags)
{
	struct dma_buf_mock_create create = { .size = size, .seg_order = order, .flags = flags };
	int ret = mock_ioctl(DMA_BUF_MOCK_IOC_CREATE, &create);

	return ret ? ret : create.fd;
}

int mock_move(int fd, enum dma_buf_mock_move how)
{
	return mock_cmd(fd, DMA_BUF_MOCK_MOVE, how, 0);
}

int mock_auto(int fd, unsigned int us, unsigned int moves)
{
	return mock_cmd(fd, DMA_BUF_MOCK_AUTO, us, moves);
}

int mock_revoke(int fd)
{
	return mock_cmd(fd, DMA_BUF_MOCK_REVOKE, 0, 0);
}

int mock_restore(int fd)
{
	return mock_cmd(fd, DMA_BUF_MOCK_RESTORE, 0, 0);
}

int mock_fail(int fd, enum dma_buf_mock_fail what, unsigned int nth, int error)
{
	return mock_cmd(fd, DMA_BUF_MOCK_FAIL, what, (uint64_t)error << 32 | nth);
}

int mock_stats(int fd, struct dma_buf_mock_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->fd = fd;
	return mock_ioctl(DMA_BUF_MOCK_IOC_STATS, stats);
}
