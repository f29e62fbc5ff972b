// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "kselftest.h"
#include "watch.h"

#define BUFINFO		"/sys/kernel/debug/dma_buf/bufinfo"
#define POLL_MS		20

static const char * const bad_words[] = {
	"BUG:", "WARNING:", "Oops", "KASAN:", "KFENCE:", "UBSAN:", "DMA-API:",
	"possible circular locking", "possible recursive locking", "inconsistent lock state",
	"sleeping function called", "DMAR: [DMA", "suspicious RCU", "blocked for more than",
	"refcount_t:", "list_add corruption", "list_del corruption", "stall on CPU",
	"stalls on CPUs", "general protection fault", "kernel panic",
};

static FILE *open_bufinfo(void)
{
	FILE *f = fopen(BUFINFO, "re");

	if (!f && errno == ENOENT) {
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
		f = fopen(BUFINFO, "re");
	}
	return f;
}

/*
 * An object is a line of size, flags, mode, count, exporter, inode and name;
 * its attachments are counted in a "Total N devices attached" line below.
 */
int watch_attached(uint64_t ino)
{
	unsigned long long seen;
	int count = -ENOENT, n;
	bool mine = false;
	char line[512];
	FILE *f;

	f = open_bufinfo();
	if (!f)
		return -EIO;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*u %*x %*x %*d %*s %llu", &seen) == 1) {
			mine = seen == ino;
			continue;
		}
		/* The totals at the end start like this line, too */
		if (mine && strstr(line, "devices attached") && sscanf(line, "Total %d", &n) == 1)
			count = n;
	}
	fclose(f);
	return count;
}

int watch_exporter(const char *name, unsigned int *nr_bufs)
{
	unsigned long long ino;
	bool mine = false;
	char line[512], exp[64];
	int count = 0, n;
	FILE *f;

	*nr_bufs = 0;
	f = open_bufinfo();
	if (!f)
		return -EIO;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*u %*x %*x %*d %63s %llu", exp, &ino) == 2) {
			mine = !strcmp(exp, name);
			*nr_bufs += mine;
			continue;
		}
		if (mine && strstr(line, "devices attached") && sscanf(line, "Total %d", &n) == 1) {
			count += n;
			mine = false;
		}
	}
	fclose(f);
	return count;
}

int watch_wait_attached(uint64_t ino, int want, unsigned int timeout_ms)
{
	unsigned int waited;
	int n;

	for (waited = 0; ; waited += POLL_MS) {
		n = watch_attached(ino);
		if (n == want)
			return 0;
		if (n == -EIO)
			return -EIO;
		if (waited >= timeout_ms)
			return -ETIME;
		usleep(POLL_MS * 1000);
	}
}

long watch_pinned_kb(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

int watch_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

int watch_log_bad(int fd, char *line, size_t size)
{
	const char *text;
	char rec[8192];
	size_t i;
	ssize_t n;

	for (;;) {
		n = read(fd, rec, sizeof(rec) - 1);
		if (n < 0 && errno == EPIPE)	/* overwritten, there is more */
			continue;
		if (n <= 0)
			return 0;
		rec[n] = 0;
		rec[strcspn(rec, "\n")] = 0;
		text = strchr(rec, ';');
		for (i = 0; text && i < ARRAY_SIZE(bad_words); i++) {
			if (!strstr(text, bad_words[i]))
				continue;
			snprintf(line, size, "%s", text + 1);
			return 1;
		}
	}
}
