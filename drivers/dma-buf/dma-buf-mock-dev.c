// SPDX-License-Identifier: GPL-2.0
/*
 * Exporter for tests: /dev/dma_buf_mock, see dma-buf-mock-ioctl.h
 */
#include <linux/capability.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "dma-buf-mock.h"

static long mock_ioctl_create(void __user *arg)
{
	struct dma_buf_mock_create create;
	struct dma_buf_mock *mock;

	if (copy_from_user(&create, arg, sizeof(create)))
		return -EFAULT;
	if (create.resv || create.size > SIZE_MAX)
		return -EINVAL;
	mock = dma_buf_mock_create(create.size, create.seg_order, create.flags);
	if (IS_ERR(mock))
		return PTR_ERR(mock);

	/* The descriptor is installed last, so that nobody sees it on failure. */
	create.fd = get_unused_fd_flags(O_CLOEXEC);
	if (create.fd < 0) {
		dma_buf_put(mock->dmabuf);
		return create.fd;
	}
	if (copy_to_user(arg, &create, sizeof(create))) {
		put_unused_fd(create.fd);
		dma_buf_put(mock->dmabuf);
		return -EFAULT;
	}
	dma_buf_fd_install(mock->dmabuf, create.fd);
	return 0;
}

static int mock_fail(struct dma_buf_mock *mock, u64 what, u64 when)
{
	u32 error = when >> 32;

	if (what >= DMA_BUF_MOCK_NR_FAILS || !error || error > MAX_ERRNO)
		return -EINVAL;
	dma_resv_lock(mock->dmabuf->resv, NULL);
	mock->fail[what].nth = lower_32_bits(when);
	mock->fail[what].error = -(int)error;
	dma_resv_unlock(mock->dmabuf->resv);
	return 0;
}

static long mock_ioctl_cmd(void __user *arg)
{
	struct dma_buf_mock_cmd cmd;
	struct dma_buf_mock *mock;
	struct dma_buf *dmabuf;
	long ret = -EINVAL;

	if (copy_from_user(&cmd, arg, sizeof(cmd)))
		return -EFAULT;
	dmabuf = dma_buf_get(cmd.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	mock = dma_buf_mock_from(dmabuf);
	if (!mock)
		goto out_put;

	switch (cmd.op) {
	case DMA_BUF_MOCK_MOVE:
		ret = dma_buf_mock_move(mock, min_t(u64, cmd.arg[0], DMA_BUF_MOCK_NR_MOVES));
		break;
	case DMA_BUF_MOCK_AUTO:
		if (cmd.arg[0] > USEC_PER_SEC || cmd.arg[1] > ULONG_MAX)
			break;
		ret = dma_buf_mock_auto(mock, cmd.arg[0], cmd.arg[1]);
		break;
	case DMA_BUF_MOCK_REVOKE:
		ret = dma_buf_mock_revoke(mock, min_t(u64, cmd.arg[0], DMA_BUF_MOCK_NR_REVOKES));
		break;
	case DMA_BUF_MOCK_RESTORE:
		ret = dma_buf_mock_restore(mock);
		break;
	case DMA_BUF_MOCK_FAIL:
		ret = mock_fail(mock, cmd.arg[0], cmd.arg[1]);
		break;
	}
out_put:
	dma_buf_put(dmabuf);
	return ret;
}

static long mock_ioctl_stats(void __user *arg)
{
	struct dma_buf_mock_stats stats;
	struct dma_buf_mock *mock;
	struct dma_buf *dmabuf;
	long ret = -EINVAL;
	s32 fd;

	if (copy_from_user(&stats, arg, sizeof(stats)))
		return -EFAULT;
	fd = stats.fd;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	mock = dma_buf_mock_from(dmabuf);
	if (!mock || stats.resv)
		goto out_put;

	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_mock_check(mock);
	stats = mock->stats;
	dma_resv_unlock(dmabuf->resv);
	stats.fd = fd;
	ret = copy_to_user(arg, &stats, sizeof(stats)) ? -EFAULT : 0;
out_put:
	dma_buf_put(dmabuf);
	return ret;
}

static long mock_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case DMA_BUF_MOCK_IOC_CREATE:
		return mock_ioctl_create(argp);
	case DMA_BUF_MOCK_IOC_CMD:
		return mock_ioctl_cmd(argp);
	case DMA_BUF_MOCK_IOC_STATS:
		return mock_ioctl_stats(argp);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations mock_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= mock_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice mock_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dma_buf_mock",
	.fops	= &mock_fops,
	.mode	= 0600,
};
module_misc_device(mock_misc);

MODULE_DESCRIPTION("dma-buf exporter for tests");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
