// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the client of QEMU's monitor finds its answers among events and
 * old answers, hands descriptors over, and says what is wrong when the other
 * side goes away, talks nonsense, or keeps silent while the caller wants no more.
 */
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "qmp.h"

#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 1, \"major\": 10}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"
#define READY "{\"return\": {}, \"id\": 1}\r\n"

/* One that says what it has been told to, a piece after each line it hears. */
struct server {
	char dir[64];
	struct sockaddr_un addr;
	int listener;
	const char *const *pieces;
	pthread_t thread;
	int got_fd;
};

static char *hear(int fd, int *got_fd)
{
	static char line[4096];
	char room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { line, sizeof(line) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room),
	};
	struct cmsghdr *c;
	ssize_t n = recvmsg(fd, &msg, 0);

	if (n <= 0)
		return NULL;
	line[n] = '\0';
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(got_fd, CMSG_DATA(c), sizeof(*got_fd));
	return line;
}

static void *serve(void *data)
{
	struct server *s = data;
	int fd = accept(s->listener, NULL, NULL), i;

	for (i = 0; s->pieces[i]; i++) {
		if (i && !hear(fd, &s->got_fd))
			break;
		if (send(fd, s->pieces[i], strlen(s->pieces[i]),
			 MSG_NOSIGNAL) < 0)
			break;
	}
	close(fd);
	return NULL;
}

static void start(struct server *s, const char *const *pieces)
{
	memset(s, 0, sizeof(*s));
	strcpy(s->dir, "/tmp/mapped-ram-monitor.XXXXXX");
	if (!mkdtemp(s->dir))
		abort();
	s->pieces = pieces;
	s->got_fd = -1;
	s->addr.sun_family = AF_UNIX;
	snprintf(s->addr.sun_path, sizeof(s->addr.sun_path), "%s/qmp", s->dir);
	s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(s->listener, (void *)&s->addr, sizeof(s->addr)) ||
	    listen(s->listener, 1) ||
	    pthread_create(&s->thread, NULL, serve, s))
		abort();
}

static void stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listener);
	unlink(s->addr.sun_path);
	rmdir(s->dir);
	if (s->got_fd >= 0)
		close(s->got_fd);
}

TEST(answers_among_events)
{
	static const char *const pieces[] = {
		GREETING, READY,
		"{\"event\": \"RESUME\", \"timestamp\": {}}\r\n"
		"{\"return\": {\"status\": \"old\"}, \"id\": 1}\r\n"
		"{\"event\": \"STOP\"}\r\n{\"return\": {\"status\": \"run",
		NULL
	}, *const more[] = {
		GREETING, READY,
		"{\"event\": \"RESUME\"}\r\n{\"return\": {\"status\": \"old\"}, \"id\": 1}\r\n{\"event\": \"STOP\"}\r\n"
		"{\"return\": {\"status\": \"running\", \"running\": true, \"n\": 12}, \"id\": 2}\r\n",
		"{\"id\": 3, \"error\": {\"class\": \"GenericError\", \"desc\": \"it is broken\"}}\r\n",
		"{\"id\": 4, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"what?\"}}\r\n",
		NULL
	};
	struct mram_error err = { 0 };
	struct json_object *o = NULL;
	struct server s;
	struct qmp *q;

	start(&s, more);
	ASSERT_EQ(0, qmp_open(&q, s.addr.sun_path, &err))
		TH_LOG("%s", err.message);
	EXPECT_EQ(10001002, q->version);
	EXPECT_EQ(getpid(), q->pid);
	ASSERT_EQ(0, qmp_execute(q, "query-status", NULL, &o, &err));
	EXPECT_STREQ("running", qmp_string(o, "status"));
	EXPECT_TRUE(qmp_bool(o, "running"));
	EXPECT_EQ(12, qmp_int(o, "n", -1));
	EXPECT_EQ(-1, qmp_int(o, "m", -1));
	EXPECT_EQ(1, q->resumed);
	json_object_put(o);
	EXPECT_EQ(-EREMOTEIO, qmp_execute(q, "stop", NULL, NULL, &err));
	EXPECT_NE(NULL, strstr(err.message, "stop: it is broken"));
	EXPECT_EQ(-ENOSYS, qmp_execute(q, "stap", NULL, NULL, &err));
	/* It has said all it has to say, and closes. */
	EXPECT_EQ(-ECONNRESET, qmp_execute(q, "cont", NULL, NULL, &err));
	EXPECT_NE(NULL, strstr(err.message, "QEMU closed the connection"));
	EXPECT_TRUE(q->closed);
	EXPECT_EQ(-ECONNRESET, qmp_execute(q, "cont", NULL, NULL, &err));
	qmp_close(q);
	stop(&s);

	/* In the middle of an answer. */
	start(&s, pieces);
	ASSERT_EQ(0, qmp_open(&q, s.addr.sun_path, &err));
	EXPECT_EQ(-ECONNRESET, qmp_execute(q, "query-status", NULL, &o, &err));
	qmp_close(q);
	stop(&s);
}

TEST(descriptors)
{
	static const char *const pieces[] = {
		GREETING, READY, "{\"return\": {}, \"id\": 2}\r\n", NULL
	};
	struct mram_error err = { 0 };
	struct stat mine, theirs;
	struct server s;
	struct qmp *q;
	int fds[2];

	start(&s, pieces);
	ASSERT_EQ(0, qmp_open(&q, s.addr.sun_path, &err));
	ASSERT_EQ(0, pipe(fds));
	EXPECT_EQ(0, qmp_execute_fd(q, "getfd",
				    qmp_args("fdname", "a \"name\"", NULL),
				    fds[1], &err));
	pthread_join(s.thread, NULL);
	ASSERT_LE(0, s.got_fd);
	fstat(fds[1], &mine);
	fstat(s.got_fd, &theirs);
	EXPECT_EQ(mine.st_ino, theirs.st_ino);
	close(fds[0]);
	close(fds[1]);
	qmp_close(q);
	close(s.listener);
	unlink(s.addr.sun_path);
	rmdir(s.dir);
	close(s.got_fd);
}

TEST(nonsense)
{
	static const char *const nonsense[][2] = {
		{ "220 mail.example ESMTP\r\n", NULL },
		{ "{\"return\": {}}\r\n", NULL },
		{ "[]\n", NULL },
		{ "\n", NULL },
		{ "{\"QMP\": 1}\r\n", NULL },
	};
	struct mram_error err;
	struct server s;
	struct qmp *q;
	size_t i;

	for (i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		start(&s, nonsense[i]);
		EXPECT_EQ(-EPROTO, qmp_open(&q, s.addr.sun_path, &err))
			TH_LOG("%s", nonsense[i][0]);
		EXPECT_NE(NULL, strstr(err.message,
				       "not QEMU's monitor protocol"));
		stop(&s);
	}
}

static int no_more(void *data)
{
	return ++*(int *)data > 3;
}

TEST(silence)
{
	static const char *const pieces[] = {
		GREETING, READY, "\r\n" + 2, "{\"return\": {}, \"id\": 2}\r\n{\"return\": {}, \"id\": 3}\r\n", NULL
	};
	struct mram_error err = { 0 };
	struct server s;
	struct qmp *q;
	int asked = 0;

	start(&s, pieces);
	ASSERT_EQ(0, qmp_open(&q, s.addr.sun_path, &err));
	q->cancelled = no_more;
	q->cancelled_data = &asked;
	EXPECT_EQ(-ECANCELED, qmp_execute(q, "stop", NULL, NULL, &err));
	EXPECT_EQ(-ECANCELED, qmp_idle(q, 1, &err));
	/* What has to be done is done, and the late answer does not disturb. */
	q->insist = true;
	EXPECT_EQ(0, qmp_execute(q, "cont", NULL, NULL, &err))
		TH_LOG("%s", err.message);
	qmp_close(q);
	stop(&s);
}

TEST(nobody_there)
{
	char longest[300];
	struct mram_error err = { 0 };
	struct qmp *q;

	EXPECT_EQ(-ENOENT, qmp_open(&q, "/nonexistent/qmp", &err));
	EXPECT_NE(NULL, strstr(err.message, "cannot connect"));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	EXPECT_EQ(-ENAMETOOLONG, qmp_open(&q, longest, &err));
}

TEST_HARNESS_MAIN
