// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signals, and the files that a failed job removes or empties. What handlers
 * touch is written so that a signal between any two instructions finds it
 * whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "progress.h"
#include "region.h"
#include "tool.h"

struct mess {
	struct mess *next;
	const char *path;
	dev_t dev;
	ino_t ino;
	bool keep;
};

static struct mess *volatile messes;
static volatile sig_atomic_t got_signal;
static volatile sig_atomic_t die_at_once;
static volatile sig_atomic_t held;

/*
 * Also what is removed is emptied: the kernel lets go of a file that io_uring
 * worked on only some time after the ring is closed, and a full disk should
 * have its room back now.
 */
static void clean_up(const struct mess *m)
{
	struct stat st;
	int fd, ret;

	fd = open(m->path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && st.st_dev == m->dev && st.st_ino == m->ino) {
		ret = ftruncate(fd, 0);
		if (!m->keep)
			ret = unlink(m->path);
		(void)ret;
	}
	close(fd);
}

static void clean_all_up(void)
{
	const struct mess *m;

	for (m = messes; m; m = m->next)
		clean_up(m);
}

/* For handlers: no stdio there. */
static void put(const char *text)
{
	ssize_t ret = write(STDERR_FILENO, text, strlen(text));

	(void)ret;
}

static void put_number(uint64_t value)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	put(p);
}

static void die_of(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(128 + sig);
}

static void on_signal(int sig)
{
	int saved = errno;

	if (!die_at_once && (!got_signal || held)) {
		got_signal = sig;
		errno = saved;
		return;
	}
	progress_erase();
	clean_all_up();
	put("mapped-ram: interrupted\n");
	die_of(sig);
}

/*
 * The memory of a region is a file, and a file can lose its end, its device or
 * its room on the way. The library then meets this signal, not an error.
 */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	const struct region *r = region_at(info->si_addr);

	(void)context;
	if (!r)
		die_of(sig);
	progress_erase();
	clean_all_up();
	put("mapped-ram: region '");
	put(r->name);
	put("': ");
	put(r->path);
	put(": no memory at offset ");
	put_number((uint64_t)((char *)info->si_addr - (char *)r->addr));
	put(": the file was cut short, or its file system is full or failed\n");
	_exit(TOOL_FAILED);
}

void cleanup_start(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal }, old;
	size_t i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* What the caller had ignored, as nohup does, stays ignored. */
		if (!sigaction(signals[i], NULL, &old) &&
		    old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &sa, NULL);
	}
	sa.sa_sigaction = on_bus_error;
	sa.sa_flags = SA_SIGINFO;
	sigaction(SIGBUS, &sa, NULL);
}

void cleanup_hold(bool hold)
{
	held = hold;
}

bool cleanup_interrupted(void)
{
	return got_signal;
}

static int add(const char *path, const struct stat *st, bool keep)
{
	struct mess *m = malloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->path = path;
	m->dev = st->st_dev;
	m->ino = st->st_ino;
	m->keep = keep;
	m->next = messes;
	messes = m;
	return 0;
}

int cleanup_add_file(const char *path, int fd)
{
	struct stat st;
	int ret;

	ret = fstat(fd, &st) ? -errno : add(path, &st, false);
	if (!ret)
		return 0;
	unlink(path);
	return tool_fail("%s: %s", path, strerror(-ret));
}

int cleanup_add_spoilt(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -errno : add(path, &st, true);
}

int cleanup_end(int status)
{
	struct mess *m;

	/* From here on there is nothing left to do in order. */
	die_at_once = 1;
	if (status)
		clean_all_up();
	while ((m = messes)) {
		messes = m->next;
		free(m);
	}
	if (status && got_signal)
		die_of(got_signal);
	return status;
}
