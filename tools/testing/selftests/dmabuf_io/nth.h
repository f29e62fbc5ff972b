/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Let the n-th call fail that can be made to fail, for n = 1, 2, ... until there
 * is no n-th one: memory allocations, and with CONFIG_FAULT_INJECTION_USERCOPY
 * copies from and to user space. See Documentation/fault-injection/.
 *
 * fail-nth is about one task. What workers do for a system call is not covered by
 * that of the caller, but they are tasks as well.
 */
#ifndef DMABUF_IO_NTH_H
#define DMABUF_IO_NTH_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

#define NTH_DEBUGFS	"/sys/kernel/debug"
#define NTH_MAX_TASKS	64
/* Not reached by any call, so it counts them */
#define NTH_NEVER	1000000000U
/* More than there are in any call of the tests */
#define NTH_MAX		20000U

static inline int nth_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len <= 0)
		return -EIO;
	buf[len] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return 0;
}

static inline int nth_write_file(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, val, strlen(val)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* --- what may fail; fail-nth does not take precedence over these */

struct nth_knob {
	const char *path, *val;
	bool optional;
	char old[16];
};

/* User pages are __GFP_HIGHMEM, and remain what never fails. */
static struct nth_knob nth_knobs[] = {
	{ .path = NTH_DEBUGFS "/failslab/ignore-gfp-wait", .val = "N" },
	{ .path = NTH_DEBUGFS "/failslab/cache-filter", .val = "N" },
	{ .path = NTH_DEBUGFS "/failslab/verbose", .val = "0" },
	{ .path = NTH_DEBUGFS "/fail_page_alloc/ignore-gfp-wait", .val = "N" },
	{ .path = NTH_DEBUGFS "/fail_page_alloc/min-order", .val = "0" },
	{ .path = NTH_DEBUGFS "/fail_page_alloc/verbose", .val = "0" },
	{ .path = NTH_DEBUGFS "/fail_usercopy/verbose", .val = "0", .optional = true },
};

static inline void nth_restore(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nth_knobs); i++)
		if (nth_knobs[i].old[0])
			nth_write_file(nth_knobs[i].path, nth_knobs[i].old);
}

/* 0; or a negative errno if the kernel can't do it. Undone by nth_restore() */
static inline int nth_allow(void)
{
	unsigned int i;
	int ret;

	if (access("/proc/self/fail-nth", R_OK | W_OK))
		return -errno;
	if (access(nth_knobs[0].path, F_OK))
		mount("debugfs", NTH_DEBUGFS, "debugfs", 0, NULL);
	for (i = 0; i < ARRAY_SIZE(nth_knobs); i++) {
		struct nth_knob *knob = &nth_knobs[i];

		ret = nth_read_file(knob->path, knob->old, sizeof(knob->old));
		if (!ret)
			ret = nth_write_file(knob->path, knob->val);
		if (ret && !knob->optional) {
			nth_restore();
			return ret;
		}
	}
	return 0;
}

/* Do copies from and to user space fail as well? */
static inline bool nth_usercopy(void)
{
	return !access(NTH_DEBUGFS "/fail_usercopy", F_OK);
}

/* --- who is to fail: this thread, or others */

struct nth {
	unsigned int nr;
	int fd[NTH_MAX_TASKS];
	unsigned int armed;	/* for the n-th call; 0: it is not */
	unsigned int calls;	/* that could have failed since it was armed */
	bool fired;		/* one has been made to */
};

static inline void nth_close(struct nth *nth)
{
	while (nth->nr)
		close(nth->fd[--nth->nr]);
}

static inline void nth_add(struct nth *nth, const char *path)
{
	int fd;

	if (nth->nr == NTH_MAX_TASKS)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		nth->fd[nth->nr++] = fd;
}

static inline void nth_add_self(struct nth *nth)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%ld/fail-nth", syscall(SYS_gettid));
	nth_add(nth, path);
}

/* Those in @dir, /proc or /proc/self/task, whose name begins with @comm */
static inline void nth_add_named(struct nth *nth, const char *dir, const char *comm)
{
	DIR *d = opendir(dir);
	struct dirent *ent;
	char path[320], name[64];

	while (d && (ent = readdir(d))) {
		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "%s/%s/comm", dir, ent->d_name);
		if (nth_read_file(path, name, sizeof(name)) ||
		    strncmp(name, comm, strlen(comm)))
			continue;
		snprintf(path, sizeof(path), "%s/%s/fail-nth", dir, ent->d_name);
		nth_add(nth, path);
	}
	if (d)
		closedir(d);
}

static inline bool nth_write(int fd, unsigned int n)
{
	char num[16];
	int len = snprintf(num, sizeof(num), "%u", n);

	return pwrite(fd, num, len, 0) == len;
}

/* Returns false if there is nobody. */
static inline bool nth_arm(struct nth *nth, unsigned int n)
{
	unsigned int i;
	bool ok = false;

	nth->armed = n;
	nth->calls = 0;
	nth->fired = false;
	for (i = 0; i < nth->nr; i++)
		ok |= nth_write(nth->fd[i], n);
	return ok;
}

/* May be called again. Returns whether a call has been made to fail. */
static inline bool nth_disarm(struct nth *nth)
{
	unsigned int i, left;
	char num[16];
	ssize_t len;

	for (i = 0; nth->armed && i < nth->nr; i++) {
		len = pread(nth->fd[i], num, sizeof(num) - 1, 0);
		/* Nothing had failed before this did, or the task is gone. */
		if (len <= 0)
			continue;
		num[len] = 0;
		left = strtoul(num, NULL, 10);
		if (!left)
			nth->fired = true;
		if (nth->calls < nth->armed - left)
			nth->calls = nth->armed - left;
		/* If this fails, that was the n-th call. */
		if (left)
			nth_write(nth->fd[i], 0);
	}
	nth->armed = 0;
	return nth->fired;
}

/* --- one after the other */

struct nth_sweep {
	struct nth nth;
	unsigned int n;		/* NTH_NEVER: the first time, to count them */
	unsigned int stride;	/* about so many from one to the next */
	unsigned int misses;	/* in a row */
	unsigned int points, tried, failed;
	uint64_t seed, rnd;
};

/* Of all tests, each of which is a process */
static unsigned int *nth_total;

static __attribute__((constructor)) void nth_share_total(void)
{
	nth_total = mmap(NULL, sizeof(*nth_total), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static inline unsigned int nth_rnd_below(struct nth_sweep *s, unsigned int limit)
{
	s->rnd = s->rnd * 6364136223846793005ULL + 1442695040888963407ULL;
	return (s->rnd >> 33) % limit;
}

/* @stride 1: every one. @seed 0: another one each time */
static inline void nth_sweep_begin(struct nth_sweep *s, unsigned int stride, uint64_t seed)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	s->seed = seed ? seed : (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	s->rnd = s->seed;
	s->stride = stride ? stride : 1;
	s->n = NTH_NEVER;
	s->misses = 0;
	s->points = 0;
	s->tried = 0;
	s->failed = 0;
}

static inline bool nth_sweep_counts(const struct nth_sweep *s)
{
	return s->n == NTH_NEVER;
}

/*
 * After each round; @failed: the call that is tested did. False if it is over,
 * because @misses rounds in a row had no n-th call.
 */
static inline bool nth_sweep_next(struct nth_sweep *s, bool failed, unsigned int misses)
{
	unsigned int first;

	if (nth_sweep_counts(s)) {
		s->points = s->nth.calls;
		/* Where there are few, try one all the same. */
		first = s->points && s->points < s->stride ? s->points : s->stride;
		s->n = 1 + nth_rnd_below(s, first);
		return true;
	}
	s->tried += s->nth.fired;
	s->failed += failed;
	s->misses = s->nth.fired ? 0 : s->misses + 1;
	s->n += 1 + nth_rnd_below(s, 2 * s->stride - 1);
	return s->misses < misses && s->n < NTH_MAX;
}

static inline void nth_sweep_report(const struct nth_sweep *s, const char *what)
{
	*nth_total += s->points;
	printf("# %u failure points: %s, %u tried, %u of them failed it", s->points, what,
	       s->tried, s->failed);
	if (s->stride > 1)
		printf(", stride %u, seed %llu", s->stride, (unsigned long long)s->seed);
	printf("\n# %u failure points in all\n", *nth_total);
	fflush(stdout);
}

#endif /* DMABUF_IO_NTH_H */
