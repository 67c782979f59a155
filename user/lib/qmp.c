// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The connection to QEMU's monitor: opening it, lines in and out.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine.h"
#include "error.h"
#include "qmp.h"
#include "qmp_wire.h"

/* Stopping a machine waits for its disks; everything else is quick. */
#define ANSWER_SECONDS	120
/* A QEMU that is busy says hello late; one that serves somebody else never. */
#define GREETING_SECONDS	10
/* How long a wait may take to notice that it is not wanted any more. */
#define SLICE_MSEC	50
/* Far beyond the longest answer to what is asked here. */
#define LINE_MAX_BYTES	(64u << 20)
#define READ_BYTES	65536

/* The connection is no more. */
static int gone(struct qmp *q, int code, struct mram_error *err)
{
	q->closed = true;
	if (code == -ECONNRESET || code == -EPIPE)
		return mram_err(err, -ECONNRESET,
				"%.200s: QEMU closed the connection: it has ended, or its monitor was taken away",
				q->path);
	return mram_err(err, code, "%.200s: %s", q->path, strerror(-code));
}

static int wait_for(struct qmp *q, short what, uint64_t deadline,
		    struct mram_error *err)
{
	struct pollfd p = { .fd = q->fd, .events = what };
	uint64_t now;
	int n;

	for (;;) {
		if (!q->insist && q->cancelled && q->cancelled(q->cancelled_data))
			return mram_err(err, -ECANCELED,
					"%.200s: the caller wants no more",
					q->path);
		now = engine_clock();
		if (now >= deadline)
			return -ETIMEDOUT;
		n = poll(&p, 1, SLICE_MSEC);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return gone(q, -errno, err);
	}
}

static int grow(struct qmp *q, struct mram_error *err)
{
	size_t size = q->in_size ? 2 * q->in_size : READ_BYTES;
	char *in;

	if (q->in_size - q->in_length > READ_BYTES / 2)
		return 0;
	if (size > LINE_MAX_BYTES)
		return mram_err(err, -EPROTO, "%.200s: an answer without end",
				q->path);
	in = realloc(q->in, size);
	if (!in)
		return mram_err(err, -ENOMEM, "%.200s: out of memory", q->path);
	q->in = in;
	q->in_size = size;
	return 0;
}

static char *find_end(const struct qmp *q)
{
	return q->in_length ? memchr(q->in, '\n', q->in_length) : NULL;
}

int qmp_receive(struct qmp *q, uint64_t deadline, struct json_object **out,
		struct mram_error *err)
{
	ssize_t n;
	char *end;
	int ret;

	*out = NULL;
	while (!(end = find_end(q))) {
		if (q->closed)
			return gone(q, -ECONNRESET, err);
		ret = grow(q, err);
		if (!ret)
			ret = wait_for(q, POLLIN, deadline, err);
		if (ret)
			return ret;
		n = recv(q->fd, q->in + q->in_length,
			 q->in_size - q->in_length, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return gone(q, n ? -errno : -ECONNRESET, err);
		q->in_length += (size_t)n;
	}
	*end = '\0';
	*out = json_tokener_parse(q->in);
	q->in_length -= (size_t)(end + 1 - q->in);
	memmove(q->in, end + 1, q->in_length);
	if (!json_object_is_type(*out, json_type_object)) {
		json_object_put(*out);
		*out = NULL;
		return mram_err(err, -EPROTO,
				"%.200s: this is not QEMU's monitor protocol",
				q->path);
	}
	return 0;
}

/* A descriptor goes with the first byte. */
static ssize_t send_some(const struct qmp *q, const char *text, size_t length,
			 int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)text, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(q->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int qmp_send(struct qmp *q, const char *text, int fd, uint64_t deadline,
	     struct mram_error *err)
{
	size_t length = strlen(text), done = 0;
	ssize_t n;
	int ret;

	while (done < length) {
		if (q->closed)
			return gone(q, -ECONNRESET, err);
		n = send_some(q, text + done, length - done, fd);
		if (n >= 0) {
			done += (size_t)n;
			fd = -1;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return gone(q, -errno, err);
		ret = wait_for(q, POLLOUT, deadline, err);
		if (ret == -ETIMEDOUT)
			return mram_err(err, ret, "%.200s: QEMU takes no commands",
					q->path);
		if (ret)
			return ret;
	}
	return 0;
}

static int connect_to(struct qmp *q, struct mram_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (strlen(q->path) >= sizeof(addr.sun_path))
		return mram_err(err, -ENAMETOOLONG,
				"%.200s: a socket's path has at most %zu bytes",
				q->path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, q->path);
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (q->fd < 0 || connect(q->fd, (void *)&addr, sizeof(addr)))
		return mram_err(err, -errno, "%.200s: cannot connect: %s%s",
				q->path, strerror(errno),
				errno == EAGAIN || errno == ECONNREFUSED ?
				": nobody listens, or others wait for it already" :
				"");
	if (!getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
		q->pid = peer.pid;
	return 0;
}

static uint32_t version_part(struct json_object *version, const char *key)
{
	struct json_object *qemu;
	int64_t n = 0;

	if (json_object_object_get_ex(version, "qemu", &qemu))
		n = qmp_int(qemu, key, 0);
	return n < 0 || n > 999 ? 0 : (uint32_t)n;
}

static int greet(struct qmp *q, struct mram_error *err)
{
	uint64_t deadline = engine_clock() + GREETING_SECONDS * 1000000000ull;
	struct json_object *hello, *qmp, *v;
	int ret;

	ret = qmp_receive(q, deadline, &hello, err);
	if (ret == -ETIMEDOUT)
		return mram_err(err, ret,
				"%.200s: no greeting within %d s: the monitor serves one client at a time, and another may be connected",
				q->path, GREETING_SECONDS);
	if (ret)
		return ret;
	if (!json_object_object_get_ex(hello, "QMP", &qmp) ||
	    !json_object_object_get_ex(qmp, "version", &v)) {
		json_object_put(hello);
		return mram_err(err, -EPROTO,
				"%.200s: this is not QEMU's monitor protocol: start QEMU with -qmp unix:PATH,server=on,wait=off",
				q->path);
	}
	q->version = version_part(v, "major") * 1000000 +
		     version_part(v, "minor") * 1000 +
		     version_part(v, "micro");
	json_object_put(hello);
	return qmp_execute(q, "qmp_capabilities", NULL, NULL, err);
}

int qmp_open(struct qmp **out, const char *path, struct mram_error *err)
{
	struct qmp *q = calloc(1, sizeof(*q));
	int ret = -ENOMEM;

	if (q) {
		q->fd = -1;
		q->path = strdup(path);
	}
	if (!q || !q->path)
		mram_err(err, ret, "%.200s: out of memory", path);
	else
		ret = connect_to(q, err);
	if (!ret)
		ret = greet(q, err);
	if (ret) {
		qmp_close(q);
		return ret;
	}
	*out = q;
	return 0;
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	if (q->fd >= 0)
		close(q->fd);
	free(q->in);
	free(q->path);
	free(q);
}

uint64_t qmp_deadline(void)
{
	return engine_clock() + ANSWER_SECONDS * 1000000000ull;
}
