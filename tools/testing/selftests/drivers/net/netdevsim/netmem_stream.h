/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A TCP stream every byte of which can be told from all others nearby, and
 * a receiver that looks at every byte.
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

/* Connects the two netdevsims and starts to send. Returns the receiver's socket. */
int stream_open(struct sender *sender, const struct nsim_pair *pair);
void sender_stop(struct sender *sender);
/*
 * devmem TCP fails for what can't be read any more. What comes later comes in
 * ordinary memory, so there has to be something: wait until there is.
 */
bool stream_waits(int sock);

/*
 * Compare what arrives in the area @mem with the stream from @pos on, and give
 * the buffers back, until there are @want bytes or an error. Without @mem, what
 * is in the area is not looked at. Returns 0, the error, or -EILSEQ for wrong
 * data. What comes in ordinary memory is an error: -ENOMEM from zcrx, -ENOMSG for
 * devmem TCP.
 */
int stream_recv(struct owner *owner, int sock, const char *mem, size_t size,
		uint64_t *pos, uint64_t want);
/* The same from a queue that has no memory provider */
int stream_recv_plain(int sock, uint64_t *pos, uint64_t want);

/* --- a stream into a dma-buf that has an owner, on the first queue */

struct flow {
	struct owner owner;
	struct sender sender;
	int sock;
	char *mem;
	size_t size;
};

/* 0 or a negative errno of the owner */
int flow_open(struct flow *flow, const struct nsim_pair *pair, enum kind kind,
	      int dmabuf, size_t size);
void flow_close(struct flow *flow);
int flow_recv(struct flow *flow, uint64_t *pos, uint64_t want);

#endif /* NETMEM_STREAM_H */
