// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the guest, started by the kernel on the read-only 9p view of the host.
 * Puts a writable layer in memory over all of it, mounts what a Linux system has,
 * runs the script that kit/vm wrote ($kit_dir/command), reports its exit status
 * and powers off.
 *
 * A program and not a script because each program that a script starts costs a
 * good part of a second under emulation, with the debug kernel more than that.
 * udev does not go through the devices that are there already (devtmpfs has their
 * nodes), only through those to come.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAFE	(MS_NOSUID | MS_NOEXEC | MS_NODEV)
#define DRAIN_S	5

/* What PID 1 starts, and the status of what has ended */
enum child { UDEV, OUT_RELAY, ERR_RELAY, COMMAND, NR_CHILDREN };
static pid_t running[NR_CHILDREN];
static int ended[NR_CHILDREN];

static const struct {
	const char *type, *path, *options;
	unsigned long flags;
	bool needed;
} mounts[] = {
	{ "sysfs", "/sys", NULL, SAFE, true },
	{ "tmpfs", "/run", "mode=755", 0, true },
	{ "devtmpfs", "/dev", "mode=755", MS_NOSUID, true },
	{ "devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", 0, true },
	{ "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, true },
	{ "debugfs", "/sys/kernel/debug", NULL, 0, false },
	{ "tracefs", "/sys/kernel/tracing", NULL, 0, false },
	{ "configfs", "/sys/kernel/config", NULL, 0, false },
	{ "cgroup2", "/sys/fs/cgroup", NULL, 0, false },
};

static const char * const links[][2] = {
	{ "/proc/self/fd", "/dev/fd" }, { "fd/0", "/dev/stdin" },
	{ "fd/1", "/dev/stdout" }, { "fd/2", "/dev/stderr" },
};

enum { IN, OUT, ERR, RET, NR_PORTS };
static const char * const port_names[] = {
	"virtme.stdin", "virtme.stdout", "virtme.stderr", "virtme.ret",
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return ret;
}

__attribute__((format(printf, 1, 2)))
static void say(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	write_file("/dev/kmsg", text);
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) give_up(const char *what)
{
	say("kit/vm: guest: %s: %s", what, strerror(errno));
	power_off();
}

/* A layer in memory over everything, and that is the root from now on. */
static void writable_root(void)
{
	static const char * const dirs[] = { "proc", "sys", "dev", "run", "mnt" };
	size_t i;

	if (mount("run", "/run", "tmpfs", 0, "mode=755") || mkdir("/run/kit", 0755) ||
	    mkdir("/run/kit/upper", 0755) || mkdir("/run/kit/work", 0755) ||
	    mkdir("/run/kit/root", 0755) ||
	    mount("root", "/run/kit/root", "overlay", 0,
		  "xino=off,lowerdir=/,upperdir=/run/kit/upper,workdir=/run/kit/work") ||
	    chdir("/run/kit/root"))
		give_up("writable layer");
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		mkdir(dirs[i], 0755);
	if (mount("proc", "proc", "proc", SAFE, NULL) || syscall(SYS_pivot_root, ".", "mnt") ||
	    chroot(".") || chdir("/"))
		give_up("new root");
}

static void mount_all(void)
{
	size_t i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].path, 0755);
		if (mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags,
			  mounts[i].options) && mounts[i].needed)
			give_up(mounts[i].path);
	}
	umount2("/mnt", MNT_DETACH);
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		unlink(links[i][1]);
		if (symlink(links[i][0], links[i][1]))
			give_up(links[i][1]);
	}
}

static void settings(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	mkdir("/run/lock", 0755);
	mkdir("/run/udev", 0755);
	mkdir("/run/udev/rules.d", 0755);
	/* Or it reads from a disk whenever somebody closes it, also between tests */
	if (write_file("/run/udev/rules.d/99-kit.rules",
		       "SUBSYSTEM==\"block\", OPTIONS+=\"nowatch\"\n"))
		say("kit/vm: guest: udev rules: %s", strerror(errno));
	if (sethostname("guest", 5))
		say("kit/vm: guest: hostname: %s", strerror(errno));
	if (getenv("nr_open"))
		write_file("/proc/sys/fs/nr_open", getenv("nr_open"));
	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &lo))
		say("kit/vm: guest: lo: %s", strerror(errno));
	close(sock);
}

/* The process that is started ends when udev works. */
static void start_udev(void)
{
	static const char * const paths[] = {
		"/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd",
	};
	const char *path = paths[access(paths[0], X_OK) ? 1 : 0];
	int null;

	if (access(path, X_OK))
		return;
	running[UDEV] = fork();
	if (running[UDEV] < 0)
		give_up("fork");
	if (running[UDEV])
		return;
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execl(path, path, "--daemon", "--resolve-names=never", NULL);
	_exit(127);
}

/* The ends of kit/vm: virtio ports, known by name. */
static void open_ports(int *ports)
{
	char path[300], name[64];
	struct dirent *de;
	DIR *dir;
	int fd, i;
	ssize_t n;

	for (i = 0; i < NR_PORTS; i++)
		ports[i] = -1;
	dir = opendir("/sys/class/virtio-ports");
	while (dir && (de = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", de->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
		name[n > 0 ? n : 0] = 0;
		name[strcspn(name, "\n")] = 0;
		for (i = 0; i < NR_PORTS; i++) {
			if (strcmp(name, port_names[i]))
				continue;
			snprintf(path, sizeof(path), "/dev/%s", de->d_name);
			ports[i] = open(path, (i == IN ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
		}
	}
	if (dir)
		closedir(dir);
	for (i = 0; i < NR_PORTS; i++)
		if (ports[i] < 0)
			give_up(port_names[i]);
}

/*
 * A port can only be opened once; through a pipe, /dev/stdout works as usual.
 * Starts the process that copies, and returns the command's end; @other is that of
 * the other pipe, whose reader would never see its end if it stayed open.
 */
static int relay(enum child child, int port, int other)
{
	static char buf[65536];
	ssize_t n, done, ret;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		give_up("pipe");
	running[child] = fork();
	if (running[child] < 0)
		give_up("fork");
	if (running[child]) {
		close(fds[0]);
		return fds[1];
	}
	close(fds[1]);
	if (other >= 0)
		close(other);
	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		for (done = 0; done < n; done += ret) {
			ret = write(port, buf + done, n - done);
			if (ret < 0)
				_exit(1);
		}
	_exit(0);
}

static void start_command(int in, int out, int err)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/command", getenv("kit_dir") ?: "");
	running[COMMAND] = fork();
	if (running[COMMAND] < 0)
		give_up("fork");
	if (running[COMMAND])
		return;
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	execlp("bash", "bash", path, NULL);
	_exit(127);
}

/* Wait for any child, ours or one that lost its parent; false: none, or the alarm */
static bool reap(void)
{
	int status, i;
	pid_t pid = waitpid(-1, &status, 0);

	for (i = 0; i < NR_CHILDREN; i++) {
		if (pid <= 0 || running[i] != pid)
			continue;
		running[i] = 0;
		ended[i] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	return pid > 0;
}

static void on_alarm(int sig)
{
	(void)sig;
}

int main(void)
{
	const struct sigaction alarmed = { .sa_handler = on_alarm };
	int ports[NR_PORTS], out, err, fd, i;
	char text[16];

	writable_root();
	mount_all();
	/* Whatever is started has all three */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	close(fd);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	settings();
	start_udev();
	open_ports(ports);
	out = relay(OUT_RELAY, ports[OUT], -1);
	err = relay(ERR_RELAY, ports[ERR], out);
	while (running[UDEV] && reap())
		;

	say("<6>kit: command starts");
	start_command(ports[IN], out, err);
	close(out);
	close(err);
	while (running[COMMAND] && reap())
		;
	say("<6>kit: command ended with status %d", ended[COMMAND]);

	/* A daemon of the command may keep the pipes open: do not wait for ever. */
	sigaction(SIGALRM, &alarmed, NULL);
	alarm(DRAIN_S);
	while ((running[OUT_RELAY] || running[ERR_RELAY]) && reap())
		;
	for (i = OUT_RELAY; i <= ERR_RELAY; i++)
		if (running[i])
			kill(running[i], SIGKILL);
	snprintf(text, sizeof(text), "%d\n", ended[COMMAND]);
	if (write(ports[RET], text, strlen(text)) < 0)
		say("kit/vm: guest: can't report: %s", strerror(errno));
	power_off();
}
