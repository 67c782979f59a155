// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The guard of a virtual machine that is saved. It listens to its saver on a
 * line between them: a byte means that all is well, an end without one that the
 * saver is no more.
 * Then it says on the saver's own connection what takes everything back. As it
 * is forked from a process that may have threads, it makes system calls alone.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "qemu_guard.h"

/* Settings cannot be changed before a migration has ended, which takes time. */
#define ROUNDS		3
#define ROUND_MSEC	1000

/*
 * 0xff makes QEMU forget half a command. "cont" stands last, so that the
 * machine does not run before its migration is cancelled.
 */
static char *words(const struct mram_qemu *q)
{
	char mapped_ram[80] = "", bandwidth[120] = "", *text;
	int n;

	if (q->had_mapped_ram)
		snprintf(mapped_ram, sizeof(mapped_ram),
			 ",{\"capability\":\"mapped-ram\",\"state\":true}");
	if (q->bandwidth >= 0)
		snprintf(bandwidth, sizeof(bandwidth),
			 "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":%lld}}\n",
			 (long long)q->bandwidth);
	n = asprintf(&text,
		     "\xff\n{\"execute\":\"migrate_cancel\"}\n"
		     "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":%s}%s]}}\n"
		     "%s{\"execute\":\"cont\"}\n",
		     q->had_ignore_shared ? "true" : "false", mapped_ram,
		     bandwidth);
	return n < 0 ? NULL : text;
}

/* Closing at once could make QEMU drop what it has not read. */
static void say(int fd, const char *text, size_t length)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char sink[4096];
	int round;

	for (round = 0; round < ROUNDS; round++) {
		if (send(fd, text, length, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			return;
		while (poll(&p, 1, ROUND_MSEC) > 0)
			if (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) == 0)
				return;
	}
}

/* Any other file of the saver's would stay open as long as this lives. */
static void close_others(int a, int b)
{
	int low = a < b ? a : b, high = a < b ? b : a;

	if (low > 0)
		syscall(SYS_close_range, 0u, (unsigned int)low - 1, 0u);
	if (high > low + 1)
		syscall(SYS_close_range, (unsigned int)low + 1,
			(unsigned int)high - 1, 0u);
	syscall(SYS_close_range, (unsigned int)high + 1, ~0u, 0u);
}

static void guard(int end, int fd, const char *text, size_t length)
{
	ssize_t n;
	char byte;

	/* What ends the saver must not end this. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	close_others(end, fd);
	do
		n = read(end, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (!n)
		say(fd, text, length);
	_exit(0);
}

int qemu_guard_start(struct qemu_guard *g, struct mram_qemu *q,
		     struct mram_error *err)
{
	int fds[2], ret = 0;
	char *text;

	text = words(q);
	if (!text)
		return mram_err(err, -ENOMEM, "%.200s: out of memory",
				q->qmp->path);
	/* No pipe: writing to one whose other end has gone raises a signal. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		ret = mram_err(err, -errno, "a guard for QEMU: %s",
			       strerror(errno));
		goto out;
	}
	g->child = fork();
	if (!g->child)
		guard(fds[0], q->qmp->fd, text, strlen(text));
	if (g->child < 0) {
		ret = mram_err(err, -errno, "a guard for QEMU: fork: %s",
			       strerror(errno));
		g->child = 0;
		close(fds[1]);
	} else {
		g->line = fds[1];
	}
	close(fds[0]);
out:
	free(text);
	return ret;
}

void qemu_guard_end(struct qemu_guard *g)
{
	ssize_t n;

	if (!g->child)
		return;
	do
		n = send(g->line, "", 1, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	close(g->line);
	while (waitpid(g->child, NULL, 0) < 0 && errno == EINTR)
		;
	g->child = 0;
}
