/* SPDX-License-Identifier: GPL-2.0 */
/* A memory cgroup of one process, to see what the kernel charges to it. */
#ifndef DMABUF_IO_MEMCG_H
#define DMABUF_IO_MEMCG_H

struct memcg {
	char path[256];		/* empty: there is none */
};

/* 0 or a negative errno; -ENOENT: no cgroup v2, or it has no memory controller */
int memcg_open(struct memcg *cg);
/* When no process is in it any more */
int memcg_close(struct memcg *cg);

/*
 * Move the caller into it, and to one CPU: each CPU charges up to 64 pages in
 * advance. 0 or a negative errno.
 */
int memcg_enter(const struct memcg *cg);
/* Bytes that are charged now */
long long memcg_current(const struct memcg *cg);
/* Wait until no more than that is charged; 0 or -ETIME */
int memcg_wait(const struct memcg *cg, long long max);

#endif /* DMABUF_IO_MEMCG_H */
