// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * QEMU hands its device state over: a migration into a pipe that leaves the
 * shared memory out. QEMU's capabilities are set for it and set back behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "format.h"
#include "qemu.h"

#define FD_NAME		"mapped-ram"
#define PIPE_BYTES	(1 << 20)
#define READ_BYTES	(1 << 16)
/* How often the monitor is looked at while nothing comes. */
#define SILENCE_MSEC	200
/* From the end of the stream to the end of the migration. */
#define END_MSEC	2
#define END_TRIES	15000

#define NO_LIMIT	((int64_t)1 << 40)

static struct json_object *capability(const char *name, bool on)
{
	struct json_object *o = qmp_args("capability", name, NULL);

	if (o && json_object_object_add(o, "state",
					json_object_new_boolean(on))) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

static int set_capabilities(struct mram_qemu *q, bool ignore_shared,
			    bool mapped_ram, struct mram_error *err)
{
	struct json_object *args = json_object_new_object();
	struct json_object *list = json_object_new_array();

	json_object_object_add(args, "capabilities", list);
	/* The two exclude each other: the one that goes has to go first. */
	if (q->had_mapped_ram && !mapped_ram)
		json_object_array_add(list, capability("mapped-ram", false));
	json_object_array_add(list, capability("x-ignore-shared",
					       ignore_shared));
	if (q->had_mapped_ram && mapped_ram)
		json_object_array_add(list, capability("mapped-ram", true));
	return qmp_execute(q->qmp, "migrate-set-capabilities", args, NULL, err);
}

static int set_bandwidth(struct mram_qemu *q, int64_t value,
			 struct mram_error *err)
{
	struct json_object *args = json_object_new_object();

	if (q->bandwidth < 0) {
		json_object_put(args);
		return 0;
	}
	json_object_object_add(args, "max-bandwidth",
			       json_object_new_int64(value));
	return qmp_execute(q->qmp, "migrate-set-parameters", args, NULL, err);
}

int qemu_begin_caps(struct mram_qemu *q, struct mram_error *err)
{
	q->caps_set = true;
	return set_capabilities(q, true, false, err);
}

int qemu_restore_caps(struct mram_qemu *q, struct mram_error *err)
{
	int ret;

	ret = set_capabilities(q, q->had_ignore_shared, q->had_mapped_ram, err);
	if (!ret)
		ret = set_bandwidth(q, q->bandwidth, err);
	if (!ret)
		q->caps_set = false;
	return ret;
}

static int begin(struct mram_qemu *q, int *out, struct mram_error *err)
{
	int fds[2], ret;

	if (pipe2(fds, O_CLOEXEC))
		return mram_err(err, -errno, "a pipe for QEMU: %s",
				strerror(errno));
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	ret = qemu_begin_caps(q, err);
	if (!ret)
		ret = set_bandwidth(q, NO_LIMIT, err);
	if (!ret)
		ret = qmp_execute_fd(q->qmp, "getfd",
				     qmp_args("fdname", FD_NAME, NULL), fds[1],
				     err);
	close(fds[1]);
	if (!ret) {
		q->migrating = true;
		ret = qmp_execute(q->qmp, "migrate",
				  qmp_args("uri", "fd:" FD_NAME, NULL), NULL,
				  err);
		/* One that was refused has left the descriptor there. */
		if (ret == -EREMOTEIO) {
			q->migrating = false;
			qmp_execute(q->qmp, "closefd",
				    qmp_args("fdname", FD_NAME, NULL), NULL,
				    NULL);
		}
	}
	if (ret)
		close(fds[0]);
	else
		*out = fds[0];
	return ret;
}

/* 1: there is more to come, 0: the end. */
static int read_some(int fd, struct mram_buf *out, struct mram_error *err)
{
	uint8_t *to = mram_buf_room(out, READ_BYTES);
	ssize_t n;

	if (!to)
		return mram_err(err, -ENOMEM,
				"no memory for QEMU's device state");
	n = read(fd, to, READ_BYTES);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 :
		       mram_err(err, -errno, "QEMU's device state: %s",
				strerror(errno));
	out->length += (size_t)n;
	if (out->length > MRAM_STATE_MAX)
		return mram_err(err, -EFBIG,
				"QEMU's device state is longer than %u bytes: it has private RAM",
				MRAM_STATE_MAX);
	return n > 0;
}

static int read_all(struct mram_qemu *q, int fd, struct mram_buf *out,
		    struct mram_error *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[32];
	int ret = 1;

	while (ret > 0) {
		if (poll(&p, 1, SILENCE_MSEC) > 0) {
			ret = read_some(fd, out, err);
			if (q->qmp->cancelled &&
			    q->qmp->cancelled(q->qmp->cancelled_data))
				return mram_err(err, -ECANCELED,
						"%.200s: the caller wants no more",
						q->qmp->path);
			continue;
		}
		ret = qemu_migration(q, text, err);
		/* It may have ended between the two looks. */
		if (!ret)
			ret = poll(&p, 1, 0) > 0 ? 1 :
			      mram_err(err, -EREMOTEIO,
				       "QEMU's migration is '%s' without an end of its stream",
				       text);
	}
	return ret;
}

static int await_end(struct mram_qemu *q, struct mram_error *err)
{
	char text[32];
	int ret, i;

	for (i = 0; i < END_TRIES; i++) {
		ret = qemu_migration(q, text, err);
		if (ret < 0)
			return ret;
		if (!ret) {
			q->migrating = false;
			if (!strcmp(text, "completed"))
				return 0;
			return qemu_migration_failed(q,
				"QEMU could not hand its device state over",
				text, "", err);
		}
		ret = qmp_idle(q->qmp, END_MSEC, err);
		if (ret)
			return ret;
	}
	return mram_err(err, -ETIMEDOUT, "QEMU's migration does not end (%s)",
			text);
}

int qemu_fetch_state(struct mram_qemu *q, struct mram_buf *out,
		     struct mram_error *err)
{
	int fd = -1, ret;

	ret = begin(q, &fd, err);
	if (ret)
		return ret;
	ret = read_all(q, fd, out, err);
	close(fd);
	if (!ret)
		ret = await_end(q, err);
	if (!ret)
		ret = qemu_restore_caps(q, err);
	return ret;
}
