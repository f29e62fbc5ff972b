// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "assembly.h"
#include "sysfs.h"

#define LOG	"/tmp/dmabuf_io_assembly.log"
#define SKIP_STATUS	4

/*
 * From the top down, because each device is held by those above it. udev may
 * look at a device just now, or put an array together again that was stopped.
 */
static const char sweep[] =
	"holders() { for h in /sys/block/$1/holders/*; do\n"
	"	[ -e \"$h\" ] && echo \"${h##*/}\"; done; }\n"
	"drop() {\n"
	"	for up in $(holders $1); do drop $up; done\n"
	"	case $1 in\n"
	"	md*) mdadm --stop /dev/$1 ;;\n"
	"	dm-*) read -r n < /sys/block/$1/dm/name\n"
	"		dmsetup resume $n; dmsetup remove --retry $n ;;\n"
	"	esac\n"
	"}\n"
	"while umount /mnt/dmabuf_io 2> /dev/null; do :; done\n"
	"a=${A##*/} b=${B##*/}\n"
	"for try in 1 2 3 4 5 6 7 8 9 10; do\n"
	"	left=\"$(holders $a) $(holders $b)\"\n"
	"	[ \"$left\" = ' ' ] && exit 0\n"
	"	for up in $left; do drop $up; done\n"
	"	[ $try -lt 3 ] || sleep 0.3\n"
	"done\n"
	"exit 1\n";

__printf(3, 4) static int fail(struct assembly *a, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	return err;
}

/* See DMABUF_IO_REQUIRE */
static int lacks(struct assembly *a, const char *what)
{
	return fail(a, env_required() ? -EOPNOTSUPP : ENV_SKIP, "%s", what);
}

static void last_line(char *buf, size_t size)
{
	FILE *f = fopen(LOG, "r");
	char line[160];

	snprintf(buf, size, "no output");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (*line)
			snprintf(buf, size, "%s", line);
	}
	fclose(f);
}

static int shell(const char *script)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		if (!freopen(LOG, "w", stdout) || dup2(1, 2) < 0 ||
		    !freopen("/dev/null", "r", stdin))
			_exit(126);
		setenv("A", getenv("DMABUF_IO_DISK"), 1);
		setenv("B", getenv("DMABUF_IO_DISK2"), 1);
		/* There may be no udev to wait for, or none that knows these devices */
		setenv("DM_DISABLE_UDEV", "1", 1);
		setenv("MDADM_NO_UDEV", "1", 1);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int asm_run(struct assembly *a, const char *script)
{
	char line[160];
	int ret = shell(script);

	if (!ret)
		return 0;
	last_line(line, sizeof(line));
	if (ret == SKIP_STATUS || ret == 127)
		return lacks(a, line);
	return fail(a, -EIO, "exit status %d: %s", ret, line);
}

/* Nothing may take the disks for a part of something */
static int wipe(struct assembly *a, unsigned int leg)
{
	const struct disk *d = &a->leg[leg];
	const size_t len = 1 << 20;
	void *zero;
	int err;

	if (posix_memalign(&zero, 4096, len))
		return fail(a, -ENOMEM, "out of memory");
	memset(zero, 0, len);
	err = disk_put(d, zero, len, 0);
	if (!err)
		err = disk_put(d, zero, len, d->size - len);
	free(zero);
	return err ? fail(a, err, "can't clear %s", d->path) : 0;
}

static int open_legs(struct assembly *a)
{
	const char *path[ASM_LEGS] = { getenv("DMABUF_IO_DISK"), getenv("DMABUF_IO_DISK2") };
	const char *why;
	int i, err;

	memset(a, 0, sizeof(*a));
	a->top.fd = -1;
	a->top.witness = -1;
	for (i = 0; i < ASM_LEGS; i++) {
		a->leg[i].fd = -1;
		a->leg[i].witness = -1;
	}
	if (!path[0] || !path[1])
		return lacks(a, "DMABUF_IO_DISK and DMABUF_IO_DISK2 name no disks");
	err = asm_run(a, sweep);
	if (err)
		return err;
	for (i = 0; i < ASM_LEGS; i++) {
		err = disk_open_path(&a->leg[i], path[i], &why);
		if (err)
			return fail(a, err, "%s: %s", path[i], why);
		err = wipe(a, i);
		if (err)
			return err;
	}
	return 0;
}

static int open_top(struct assembly *a, const char *path)
{
	const char *why = "";
	int err;

	/* A node may be a moment late, and udev may look into it */
	for (int tries = 0; tries < 200; tries++) {
		err = disk_open_path(&a->top, path, &why);
		if (err != -EBUSY && err != -ENOENT)
			break;
		usleep(20000);
	}
	return err ? fail(a, err, "%s: %s", path, why) : 0;
}

int asm_open(struct assembly *a, struct env *e, const char *path, const char *script,
	     enum mem_kind kind, size_t size)
{
	int err;

	e->log = -1;
	err = open_legs(a);
	if (!err)
		err = asm_run(a, script);
	if (!err && path)
		err = open_top(a, path);
	if (err)
		return err;
	err = env_open_busy(e, kind, size, 0);
	if (err)
		return fail(a, err, "%s", e->why);
	e->disk = a->top;
	return 0;
}

static int close_legs(struct assembly *a)
{
	int i, err;

	if (!a->leg[0].size)
		return 0;
	disk_close(&a->top);
	err = asm_run(a, sweep);
	for (i = 0; i < ASM_LEGS; i++) {
		if (!err)
			err = wipe(a, i);
		disk_close(&a->leg[i]);
	}
	return err;
}

int asm_close(struct assembly *a, struct env *e)
{
	int err = 0, ret;

	/* A registration holds its file, and that the device */
	if (e->log >= 0) {
		e->disk.fd = -1;
		e->disk.witness = -1;
		err = env_close(e);
	}
	ret = close_legs(a);
	return err ? fail(a, err, "%s", e->why) : ret;
}

long long asm_md_offset(const struct assembly *a, unsigned int leg)
{
	long long sectors = sysfs_get_num("/sys/block/%s/md/dev-%s/offset", a->top.name,
					  a->leg[leg].name);

	return sectors < 0 ? sectors : sectors * 512;
}
