/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A TCP stream every byte of which can be told from all others nearby, and
 * receivers that look at every byte.
 */
#ifndef NETMEM_STREAM_H
#define NETMEM_STREAM_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "netmem_lib.h"

struct sender {
	const struct nsim *nsim;
	pthread_t thread;
	int sock;
	int stop;
};

void sender_start(struct sender *sender, const struct nsim *nsim);
void sender_stop(struct sender *sender);

/*
 * Compare what arrives in the area @mem with the stream from @pos on, and give
 * the buffers back, until there are @want bytes or an error. Returns 0, the
 * error, or -EILSEQ for wrong data.
 */
int stream_recv_zcrx(struct zc_ring *ring, int sock, const char *mem,
		     size_t size, uint64_t *pos, uint64_t want);
int stream_recv_devmem(int sock, const char *mem, size_t size, uint64_t *pos,
		       uint64_t want);

#endif /* NETMEM_STREAM_H */
