/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What most tests of dma-bufs to receive into begin and end with: two linked
 * netdevsims, and memory that must be given back.
 */
#ifndef NETMEM_FIXTURE_H
#define NETMEM_FIXTURE_H

#include <unistd.h>

#include "kselftest_harness.h"
#include "netmem_lib.h"

#define PAGE		4096UL
#define AREA_SIZE	(256 * PAGE)
#define WAIT_MS		30000

/* In FIXTURE_SETUP, which has to return if this is false */
static inline bool fixture_open(struct __test_metadata *_metadata,
				struct nsim_pair *pair, int queues, int *dmabuf)
{
	if (!nsim_available())
		SKIP(return false, "no netdevsim, no /dev/dma_buf_mock, or not root");
	nsim_pair_create(pair, queues);
	*dmabuf = mock_create(AREA_SIZE, 2, DMA_BUF_MOCK_P2P |
			      DMA_BUF_MOCK_CHECK_IDLE);
	return true;
}

/* In FIXTURE_TEARDOWN */
static inline void fixture_close(struct __test_metadata *_metadata,
				 struct nsim_pair *pair, int dmabuf)
{
	if (!pair->home)
		return;
	EXPECT_TRUE(mock_released(dmabuf));
	close(dmabuf);
	nsim_pair_destroy(pair);
}

#endif /* NETMEM_FIXTURE_H */
