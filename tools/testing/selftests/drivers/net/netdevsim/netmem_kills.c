// SPDX-License-Identifier: GPL-2.0
/*
 * Under traffic, everything that has to do with a dma-buf is killed, in any order:
 * its owner, its exporter, the socket, the sender, and the netdev, which is shut
 * down or removed. What has been received before is right to the byte, and
 * nothing is left.
 *
 * Environment: NETMEM_ROUNDS; NETMEM_SEED, to get the same orders again.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "netmem_lib.h"
#include "netmem_stream.h"

#define PAGE		4096UL
#define AREA_SIZE	(64 * PAGE)
/* So often the netdevs are made anew, which takes longer than all the rest */
#define REMOVE_EVERY	20

/* The library has its own. */
static unsigned int seed;

static int any(int below)
{
	return rand_r(&seed) % below;
}

enum victim { OWNER, MEMORY, SOCKET, SENDER, NETDEV, NR_VICTIMS };

FIXTURE(kills) {
	struct nsim_pair pair;
	struct flow flow;
	int dmabuf, round;
};

FIXTURE_SETUP(kills)
{
	if (!nsim_available())
		SKIP(return, "no netdevsim, no /dev/dma_buf_mock, or not root");
	nsim_pair_create(&self->pair, 1);
}

FIXTURE_TEARDOWN(kills)
{
	if (self->pair.home)
		nsim_pair_destroy(&self->pair);
}

static void start(struct __test_metadata *_metadata, struct _test_data_kills *self)
{
	self->dmabuf = mock_create(AREA_SIZE, 2, DMA_BUF_MOCK_P2P |
				   DMA_BUF_MOCK_CHECK_IDLE);
	ASSERT_EQ(0, flow_open(&self->flow, &self->pair, any(NR_KINDS),
			       self->dmabuf, AREA_SIZE));
}

static void receive(struct __test_metadata *_metadata, struct _test_data_kills *self)
{
	uint64_t pos = 0, want = any(2 * AREA_SIZE);

	ASSERT_EQ(0, flow_recv(&self->flow, &pos, want));
	ASSERT_GE(pos, want);
}

static void kill_one(struct __test_metadata *_metadata,
		     struct _test_data_kills *self, enum victim victim, bool removed)
{
	switch (victim) {
	case OWNER:
		owner_put(&self->flow.owner);
		break;
	case MEMORY:
		EXPECT_EQ(0, mock_revoke(self->dmabuf,
					 any(DMA_BUF_MOCK_NR_REVOKES)));
		EXPECT_EQ(0, mock_stats(self->dmabuf).mapped);
		break;
	case SOCKET:
		close(self->flow.sock);
		break;
	case SENDER:
		sender_stop(&self->flow.sender);
		break;
	case NETDEV:
		if (removed)
			nsim_remove(&self->pair.rx);
		else
			nsim_set_up(&self->pair.rx, false);
		break;
	case NR_VICTIMS:
		break;
	}
}

TEST_F_TIMEOUT(kills, rounds, 24 * 3600)
{
	unsigned int left, i, pick, rounds = netmem_rounds(40);
	const char *again = getenv("NETMEM_SEED");
	enum victim order[NR_VICTIMS], victim;
	bool removed;

	seed = again ? strtoul(again, NULL, 0) : time(NULL);
	TH_LOG("NETMEM_SEED=%u", seed);
	for (self->round = 0; self->round < rounds; self->round++) {
		removed = self->round % REMOVE_EVERY == REMOVE_EVERY - 1;
		start(_metadata, self);
		receive(_metadata, self);
		for (i = 0; i < NR_VICTIMS; i++)
			order[i] = i;
		for (left = NR_VICTIMS; left; left--) {
			pick = any(left);
			victim = order[pick];
			order[pick] = order[left - 1];
			kill_one(_metadata, self, victim, removed);
			usleep(any(1000));
		}
		ASSERT_TRUE(mock_released(self->dmabuf))
			TH_LOG("in round %d", self->round);
		munmap(self->flow.mem, AREA_SIZE);
		close(self->dmabuf);
		if (removed) {
			nsim_pair_destroy(&self->pair);
			nsim_pair_create(&self->pair, 1);
		} else {
			nsim_set_up(&self->pair.rx, true);
		}
		ASSERT_TRUE(__test_passed(_metadata));
	}
}

TEST_HARNESS_MAIN
