/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests of memory providers on netdevsim: a pair of linked netdevsims in
 * network namespaces of their own, rings with zcrx, bindings of devmem TCP, and
 * dma-bufs of /dev/dma_buf_mock.
 *
 * What can't fail in a working kernel ends the program if it does.
 */
#ifndef NETMEM_LIB_H
#define NETMEM_LIB_H

#include <linux/io_uring.h>
#include <linux/io_uring/zcrx.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "../../../../../../drivers/dma-buf/dma-buf-mock-ioctl.h"

/* --- two linked netdevsims; the first one receives */

struct nsim {
	int id;			/* -1: not there */
	int ns;			/* its network namespace */
	int ifindex;
	char ifname[32];
};

struct nsim_pair {
	struct nsim rx, tx;
	int home;		/* where the program came from */
};

bool nsim_available(void);
void nsim_pair_create(struct nsim_pair *pair, int queues);
void nsim_pair_destroy(struct nsim_pair *pair);
void nsim_remove(struct nsim *nsim);
void nsim_enter(const struct nsim *nsim);
void nsim_set_up(const struct nsim *nsim, bool up);

int tcp_listen(void);
int tcp_connect(void);

/* --- dma-bufs */

int mock_create(size_t size, unsigned int seg_order, unsigned int flags);
int mock_revoke(int fd, enum dma_buf_mock_revoke how);
int mock_restore(int fd);
struct dma_buf_mock_stats mock_stats(int fd);
/* Nothing is attached, pinned or mapped any more, and nothing was done wrong. */
bool mock_released(int fd);

/* --- rings with zcrx; functions return 0 or a negative errno */

struct zc_ring {
	int fd;
	unsigned int to_submit;
	unsigned int sq_mask, cq_mask;
	unsigned int *sq_tail, *sq_array, *cq_head, *cq_tail;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	void *maps[2];
	size_t map_size[2];

	__u32 zcrx_id;
	__u64 token;
	char *region;		/* with the refill ring */
	size_t region_size;
	unsigned int *rq_head, *rq_tail, rq_entries;
	struct io_uring_zcrx_rqe *rqes;

	bool receiving;		/* a request is under way */
	unsigned int events;	/* mask of enum zcrx_event_type that came */
};

#define ZC_EVENT_DATA	0x6576656e74ULL

void zc_ring_open(struct zc_ring *ring);
void zc_ring_close(struct zc_ring *ring);
int zc_register(struct zc_ring *ring, int ifindex, int queue, int dmabuf,
		size_t offset, size_t size);
int zc_add_area(struct zc_ring *ring, int dmabuf, size_t offset, size_t size,
		__u64 *token);
void zc_recv(struct zc_ring *ring, int sock);
/* Waits so long for a completion; NULL if there is none. */
struct io_uring_cqe *zc_wait(struct zc_ring *ring, unsigned int ms);
void zc_seen(struct zc_ring *ring);

/* --- devmem TCP, a netlink socket each; negative errno on failure */

struct devmem {
	int sock;
	__u32 id;
	char msg[128];		/* what the kernel said about an error */
};

int devmem_bind(struct devmem *dm, int ifindex, int queue, int dmabuf);
void devmem_unbind(struct devmem *dm);

#endif /* NETMEM_LIB_H */
