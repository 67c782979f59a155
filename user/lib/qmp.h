/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of QEMU's monitor protocol: a Unix socket, one JSON object a line.
 *
 * Commands are sent one at a time and carry an id; events that come meanwhile
 * are counted. Nothing waits for ever: every wait has a limit, ends when QEMU
 * closes the socket, and asks its owner now and then whether to go on.
 */
#ifndef MRAM_QMP_H
#define MRAM_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mappedram.h>

struct json_object;

/**
 * struct qmp - a connection; read only for users but for @cancelled and below
 * @fd: the socket
 * @path: for messages
 * @pid: the process that listens on it, 0 when it is not visible from here
 * @version: QEMU's, major * 1000000 + minor * 1000 + micro
 * @resumed: how often an event said that the machine runs
 * @closed: QEMU has gone
 * @cancelled: asked while waiting; not 0 ends the wait with -ECANCELED. May be
 *             NULL.
 * @cancelled_data: handed to @cancelled
 * @insist: do not ask @cancelled: what is left has to be done
 */
struct qmp {
	int fd;
	char *path;
	pid_t pid;
	uint32_t version;
	unsigned int resumed;
	bool closed;
	uint64_t last_id;
	char *in;
	size_t in_length;
	size_t in_size;

	int (*cancelled)(void *data);
	void *cancelled_data;
	bool insist;
};

/** qmp_open - connect, read the greeting, leave negotiation mode */
int qmp_open(struct qmp **out, const char *path, struct mram_error *err);

/** qmp_close - close the connection; NULL is fine */
void qmp_close(struct qmp *q);

/**
 * qmp_execute - run a command
 * @args: its arguments, owned by the call; NULL for none
 * @out: what it returned, for json_object_put(); may be NULL
 *
 * Return: 0; -ENOSYS for a command that this QEMU does not know; -EREMOTEIO for
 * an error of QEMU's; -ECONNRESET, -ETIMEDOUT, -ECANCELED, -ENOMEM.
 */
int qmp_execute(struct qmp *q, const char *command, struct json_object *args,
		struct json_object **out, struct mram_error *err);

/** qmp_execute_fd - the same, and hand a file descriptor over with it */
int qmp_execute_fd(struct qmp *q, const char *command,
		   struct json_object *args, int fd, struct mram_error *err);

/**
 * qmp_args - arguments that are strings
 *
 * Keys and values in turn, then NULL. NULL when there is no memory, which
 * qmp_execute() cannot tell from no arguments: so only for commands that
 * refuse to go without.
 */
struct json_object *qmp_args(const char *key, ...)
	__attribute__((sentinel));

/** qmp_idle - let some time pass, with an eye on events and @cancelled */
int qmp_idle(struct qmp *q, unsigned int msec, struct mram_error *err);

/* What a returned object holds; NULL, @missing or false when it does not. */
const char *qmp_string(struct json_object *o, const char *key);
int64_t qmp_int(struct json_object *o, const char *key, int64_t missing);
bool qmp_bool(struct json_object *o, const char *key);

#endif /* MRAM_QMP_H */
