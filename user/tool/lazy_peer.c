// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The socket to a virtual machine monitor whose memory is served: it connects,
 * and hands over a userfaultfd and a JSON array that tells what is where.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "lazy_peer.h"
#include "tool.h"

/* How long a wait may take to notice a signal. */
#define SLICE_MSEC	100
/* Who has connected knows what it has to say. */
#define WORD_MSEC	10000
/* Far more than any machine has to say. */
#define TEXT_MAX	(1u << 20)
#define MAPPINGS_MAX	4096

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, ret;
	mode_t mask;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Whoever connects is given a machine's memory. */
	mask = umask(0177);
	ret = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (ret) {
		ret = -errno;
	} else if (listen(fd, 1)) {
		ret = -errno;
		unlink(path);
	}
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

/*
 * Under another name first: who sees the socket under its own can connect. A
 * second name, since a new name would take the place of what is there.
 */
static int make_socket(const char *path, struct stat *made)
{
	char first[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd, ret;

	if ((size_t)snprintf(first, sizeof(first), "%s.%d", path,
			     (int)getpid()) >= sizeof(first)) {
		tool_fail("%s: too long for a socket's path", path);
		return -1;
	}
	fd = listen_at(first);
	ret = fd;
	if (fd >= 0) {
		ret = lstat(first, made) || link(first, path) ? -errno : 0;
		unlink(first);
	}
	if (ret >= 0)
		return fd;
	tool_fail("%s: cannot listen there: %s%s", path, strerror(-ret),
		  ret == -EEXIST ? "; remove it if nobody does" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Until there is something, for at most @msec if that is not 0. */
static int await(int fd, int msec)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t start = tool_now();

	while (!cleanup_interrupted()) {
		if (poll(&p, 1, SLICE_MSEC) > 0)
			return 0;
		if (msec && tool_now() - start > msec * UINT64_C(1000000))
			return tool_fail("the other side says nothing for %d s",
					 msec / 1000);
	}
	return tool_fail("interrupted");
}

/* Only what was made here. */
static void remove_socket(const char *path, const struct stat *made)
{
	struct stat st;

	if (!lstat(path, &st) && st.st_dev == made->st_dev &&
	    st.st_ino == made->st_ino)
		unlink(path);
}

int peer_accept(struct peer *p, const char *path)
{
	struct ucred who = { 0 };
	socklen_t length = sizeof(who);
	struct stat made = { 0 };
	int fd, ret;

	fd = make_socket(path, &made);
	if (fd < 0)
		return TOOL_FAILED;
	ret = await(fd, 0);
	if (!ret) {
		p->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (p->fd < 0)
			ret = tool_fail("%s: %s", path, strerror(errno));
	}
	/* It is for one machine alone. */
	close(fd);
	remove_socket(path, &made);
	if (!ret && !getsockopt(p->fd, SOL_SOCKET, SO_PEERCRED, &who, &length))
		p->pid = who.pid;
	return ret;
}

/* ------------------------------------------------------------- what it says */

/* Takes the first descriptor that comes; more would be a mistake. */
static int take_fds(struct peer *p, struct msghdr *m, const char *path)
{
	struct cmsghdr *c;
	size_t i, nr;
	int fd, extra = 0;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < nr; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (p->uffd < 0) {
				p->uffd = fd;
			} else {
				close(fd);
				extra++;
			}
		}
	}
	if (extra || m->msg_flags & MSG_CTRUNC)
		return tool_fail("%s: more than one file descriptor came; expected a userfaultfd",
				 path);
	return 0;
}

static int receive(struct peer *p, char *to, size_t room, size_t *got,
		   const char *path)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec data = { to, room };
	struct msghdr m = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	if (await(p->fd, WORD_MSEC))
		return TOOL_FAILED;
	do
		n = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR && !cleanup_interrupted());
	if (n < 0)
		return tool_fail("%s: %s", path, strerror(errno));
	if (take_fds(p, &m, path))
		return TOOL_FAILED;
	if (!n)
		return tool_fail("%s: the other side has gone before it said what its memory is",
				 path);
	*got = (size_t)n;
	return 0;
}

static bool get_number(json_object *o, const char *key, uint64_t *out)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v))
		return false;
	if (!json_object_is_type(v, json_type_int) ||
	    (json_object_get_int64(v) < 0))
		return false;
	*out = json_object_get_uint64(v);
	return true;
}

static int bad(const char *path, size_t index, const char *what)
{
	return tool_fail("%s: mapping %zu: %s", path, index, what);
}

static int take_mapping(struct peer *p, json_object *o, const char *path)
{
	struct mapping *m = &p->maps[p->nr_maps];
	json_object *name;

	if (!json_object_is_type(o, json_type_object))
		return bad(path, p->nr_maps, "expected a JSON object");
	if (!get_number(o, "base_host_virt_addr", &m->addr))
		return bad(path, p->nr_maps,
			   "no number 'base_host_virt_addr'");
	if (!get_number(o, "size", &m->size) || !m->size)
		return bad(path, p->nr_maps, "no number 'size'");
	if (json_object_object_get_ex(o, "offset", NULL) &&
	    !get_number(o, "offset", &m->offset))
		return bad(path, p->nr_maps, "'offset' is no number");
	if (json_object_object_get_ex(o, "page_size", NULL) &&
	    !get_number(o, "page_size", &m->page_size))
		return bad(path, p->nr_maps, "'page_size' is no number");
	p->nr_maps++;
	if (!json_object_object_get_ex(o, "name", &name))
		return 0;
	if (!json_object_is_type(name, json_type_string))
		return bad(path, p->nr_maps - 1, "'name' is no string");
	m->name = strdup(json_object_get_string(name));
	return m->name ? 0 : tool_fail("out of memory");
}

static int take_array(struct peer *p, json_object *list, const char *path)
{
	size_t i, nr;

	if (!json_object_is_type(list, json_type_array))
		return tool_fail("%s: expected a JSON array of mappings", path);
	nr = json_object_array_length(list);
	if (!nr || nr > MAPPINGS_MAX)
		return tool_fail("%s: %zu mappings, expected 1 to %d", path, nr,
				 MAPPINGS_MAX);
	p->maps = calloc(nr, sizeof(*p->maps));
	if (!p->maps)
		return tool_fail("out of memory");
	for (i = 0; i < nr; i++)
		if (take_mapping(p, json_object_array_get_idx(list, i), path))
			return TOOL_FAILED;
	return 0;
}

/* The text has no end of its own: it is over when the array is. */
int peer_listen(struct peer *p, const char *path)
{
	struct json_tokener *tokener = json_tokener_new();
	json_object *list = NULL;
	size_t n = 0, all = 0;
	char text[4096];
	int ret = 0;

	if (!tokener)
		return tool_fail("out of memory");
	do {
		ret = receive(p, text, sizeof(text), &n, path);
		if (ret)
			break;
		all += n;
		list = json_tokener_parse_ex(tokener, text, (int)n);
	} while (!list && all < TEXT_MAX &&
		 json_tokener_get_error(tokener) == json_tokener_continue);
	if (!ret && !list)
		ret = tool_fail("%s: what came is no JSON array of mappings: %s",
				path, all < TEXT_MAX ?
				json_tokener_error_desc(
					json_tokener_get_error(tokener)) :
				"it is too long");
	if (!ret)
		ret = take_array(p, list, path);
	if (!ret && p->uffd < 0)
		ret = tool_fail("%s: no userfaultfd came with the mappings",
				path);
	json_object_put(list);
	json_tokener_free(tokener);
	return ret;
}

/* -------------------------------------------------------------------- end */

void peer_tell(const struct peer *p, const char *error)
{
	json_object *o;
	const char *text;
	ssize_t n;

	if (p->fd < 0)
		return;
	o = json_object_new_object();
	if (o && json_add(o, error ? "error" : "resident",
			  error ? json_text(error) :
				  json_object_new_boolean(true))) {
		text = json_object_to_json_string_ext(o,
						      JSON_C_TO_STRING_PLAIN);
		/* Many do not listen; it is theirs to know. */
		n = send(p->fd, text, strlen(text),
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)n;
		n = send(p->fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)n;
	}
	json_object_put(o);
}

void peer_close(struct peer *p)
{
	size_t i;

	for (i = 0; i < p->nr_maps; i++)
		free(p->maps[i].name);
	free(p->maps);
	if (p->uffd >= 0)
		close(p->uffd);
	if (p->fd >= 0)
		close(p->fd);
	*p = (struct peer)PEER;
}
