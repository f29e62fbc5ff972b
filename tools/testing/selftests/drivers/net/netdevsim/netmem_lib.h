/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests of memory providers on netdevsim: a pair of linked netdevsims in
 * network namespaces of their own, rings with zcrx, bindings of devmem TCP, and
 * dma-bufs of /dev/dma_buf_mock.
 *
 * What can't fail in a working kernel ends the program if it does.
 *
 * Environment: NETMEM_ROUNDS, how often to repeat what depends on timing.
 * NSIM_DMA_DEV, PCI function for the receiver to use as DMA device; it must be
 * bound to netdevsim (default: none).
 */
#ifndef NETMEM_LIB_H
#define NETMEM_LIB_H

#include <linux/io_uring.h>
#include <linux/io_uring/zcrx.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "../../../../../../drivers/dma-buf/dma-buf-mock-ioctl.h"

int netmem_rounds(int dflt);

/* --- two linked netdevsims; the first one receives */

#define NSIM_RX_ADDR	"192.0.2.1"

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
/* RSS spreads flows over all the queues: only one if what arrives matters. */
void nsim_pair_create(struct nsim_pair *pair, int queues);
void nsim_pair_destroy(struct nsim_pair *pair);
void nsim_remove(struct nsim *nsim);
/* Another netdev of the same device; it goes with the first one. */
void nsim_add_port(const struct nsim *nsim, struct nsim *port);
/* To another network namespace, where there is none; @ns stays the caller's. */
void nsim_move(struct nsim *nsim, int ns);
void nsim_enter(const struct nsim *nsim);
void nsim_set_up(const struct nsim *nsim, bool up);
bool nsim_is_up(const struct nsim *nsim);
/* The driver fails the next @nr times that it needs memory for a receive queue. */
void nsim_fail_alloc(const struct nsim *nsim, unsigned int nr);
unsigned int nsim_fails_left(const struct nsim *nsim);

/* --- dma-bufs */

int mock_create(size_t size, unsigned int seg_order, unsigned int flags);
int mock_revoke(int fd, enum dma_buf_mock_revoke how);
int mock_restore(int fd);
void mock_fail(int fd, enum dma_buf_mock_fail what, int err);
struct dma_buf_mock_stats mock_stats(int fd);
/* Nothing is attached, pinned or mapped any more, and nothing was done wrong. */
bool mock_released(int fd);
bool mock_unmapped(int fd);
char *mock_mmap(int fd, size_t size);

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
/* What has been registered over netlink, and areas of any kind */
int zc_register_id(struct zc_ring *ring, int ifindex, int queue, __u32 id,
		   size_t offset, size_t size);
int zc_add_area_id(struct zc_ring *ring, __u32 id, size_t offset, size_t size,
		   __u64 *token);
/* The kernel writes to @area, or tries to. */
int zc_add_area_at(struct zc_ring *ring, const struct io_uring_zcrx_area_reg *area);
int zc_register_area(struct zc_ring *ring, int ifindex, int queue,
		     struct io_uring_zcrx_area_reg area);
void zc_recv(struct zc_ring *ring, int sock);
/* Waits so long for a completion; NULL if there is none. */
struct io_uring_cqe *zc_wait(struct zc_ring *ring, unsigned int ms);
/* The same for an event; all that comes before is lost. */
struct io_uring_cqe *zc_wait_event(struct zc_ring *ring, unsigned int ms);
void zc_seen(struct zc_ring *ring);

/* --- devmem TCP, a netlink socket each; negative errno on failure */

struct devmem {
	int sock;
	int family;
	__u32 id;
	/* what the kernel said about an error, and the type of the attribute */
	char msg[128];
	int bad, missing;
};

/* What the kernel says about a dma-buf. */
struct dmabuf_info {
	__u32 id, ifindex, buf_size, owner;
	__u64 size, offset, len;	/* of the range, if there is one */
	bool peer2peer, revoked;
};

/* Opens the socket, and closes it on failure */
int devmem_bind(struct devmem *dm, int ifindex, int queue, int dmabuf);
void devmem_unbind(struct devmem *dm);

/* The last one has type 0; those that are nested follow one with NLA_F_NESTED. */
struct nl_arg {
	int type, len;
	__u64 val;
	bool nested;
};

void netdev_nl_open(struct devmem *dm);
int netdev_nl_cmd(struct devmem *dm, int cmd, const struct nl_arg *args);
int dmabuf_register(struct devmem *dm, int ifindex, int dmabuf);
int devmem_bind_fd(struct devmem *dm, int ifindex, int queue, int dmabuf);
int devmem_bind_id(struct devmem *dm, int ifindex, int queue, __u32 id);
int devmem_bind_tx(struct devmem *dm, int ifindex, int dmabuf);
int dmabuf_get(struct devmem *dm, __u32 id, struct dmabuf_info *info);
/* How many there are in this network namespace, and the first ones of them. */
int dmabuf_list(struct devmem *dm, int ifindex, struct dmabuf_info *info, int max);
int dmabuf_count(struct devmem *dm, int ifindex);
/* Listen, and wait for a notification. Returns its command. */
void dmabuf_subscribe(struct devmem *dm);
int dmabuf_wait(struct devmem *dm, unsigned int ms, struct dmabuf_info *info);

/* --- either of them; functions return 0 or a negative errno */

enum kind { ZCRX, DEVMEM, NR_KINDS };

struct owner {
	enum kind kind;
	struct zc_ring ring;
	struct devmem dm;
};

/* Of a dma-buf, which has been registered if there is an id */
struct part {
	int dmabuf;
	__u32 id;
	size_t offset, size;	/* devmem TCP does not look at them. */
};

/* All that can be done before: the ring, or the netlink socket */
void owner_open(struct owner *owner, enum kind kind, const struct nsim *nsim);
int owner_take(struct owner *owner, const struct nsim *nsim, int queue,
	       const struct part *part);
/* Both; nothing is open on failure. */
int owner_get(struct owner *owner, enum kind kind, const struct nsim *nsim,
	      int queue, int dmabuf, size_t size);
void owner_put(struct owner *owner);

#endif /* NETMEM_LIB_H */
