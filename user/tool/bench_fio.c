// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram bench: what fio makes of the same device.
 *
 * It writes the pages of the image, where they are, and leaves the rest alone:
 * the file stays one that bench knows again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "tool.h"

#define MAX_ARGS	32

/* fio takes a colon in a file's name for the end of it. */
static char *escape(const char *path)
{
	char *text = malloc(2 * strlen(path) + sizeof("--filename=")), *p;

	if (!text)
		return NULL;
	p = stpcpy(text, "--filename=");
	for (; *path; *p++ = *path++)
		if (*path == ':' || *path == '\\')
			*p++ = '\\';
	*p = 0;
	return text;
}

static int pages_offset(const struct bench *b, uint64_t *offset)
{
	struct mram_block_info info = { .size = sizeof(info) };
	struct mram_error err = { 0 };
	struct mram_image *img;
	int ret;

	ret = mram_image_open(&img, b->target, &err);
	if (!ret) {
		ret = mram_image_block(img, 0, &info, &err);
		mram_image_close(img);
	}
	if (ret)
		tool_warn("fio left out: %s", err.message);
	*offset = info.pages_offset;
	return ret;
}

/* The first line of what fio said on its stderr, as a line of ours. */
static void first_line(int fd, char *text, size_t size)
{
	ssize_t got = pread(fd, text, size - 1, 0);

	text[got > 0 ? got : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

/* Return: 0, or a negative errno, with @found: when it is there. */
static int start(char *const *argv, int out, int complaints, pid_t *pid,
		 bool *found)
{
	posix_spawn_file_actions_t to;
	int ret;

	ret = posix_spawn_file_actions_init(&to);
	if (ret)
		return -ret;
	ret = posix_spawn_file_actions_adddup2(&to, out, STDOUT_FILENO);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&to, complaints,
						       STDERR_FILENO);
	if (!ret) {
		ret = posix_spawnp(pid, argv[0], &to, NULL, argv, environ);
		*found = ret != ENOENT;
	}
	posix_spawn_file_actions_destroy(&to);
	return -ret;
}

/*
 * Run fio. @output is all that it prints, @complaint has what it complains of
 * first. Return: 0, or a negative errno, with @found: when it is there.
 */
static int run(char *const *argv, char **output, char *complaint, size_t size,
	       bool *found)
{
	int complaints = memfd_create("fio", MFD_CLOEXEC);
	size_t length = 0;
	int pipes[2], status;
	FILE *from, *to;
	char buf[4096];
	pid_t pid;

	if (complaints < 0)
		return -errno;
	if (pipe2(pipes, O_CLOEXEC)) {
		status = -errno;
		close(complaints);
		return status;
	}
	status = start(argv, pipes[1], complaints, &pid, found);
	close(pipes[1]);
	if (status) {
		close(complaints);
		close(pipes[0]);
		return status;
	}
	from = fdopen(pipes[0], "r");
	to = open_memstream(output, &length);
	if (from && to) {
		size_t got;

		while ((got = fread(buf, 1, sizeof(buf), from)))
			fwrite(buf, 1, got, to);
	}
	if (to)
		fclose(to);
	if (from)
		fclose(from);
	else
		close(pipes[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	first_line(complaints, complaint, size);
	close(complaints);
	if (!from || !to)
		return -ENOMEM;
	return status ? -EIO : 0;
}

static double number(json_object *o, const char *key)
{
	json_object *value;

	return json_object_object_get_ex(o, key, &value) ?
	       json_object_get_double(value) : 0;
}

static int read_result(const char *text, struct bench_result *r)
{
	json_object *all, *jobs, *job, *write;
	double nsec;
	const char *start = strchr(text, '{');
	int ret = -EINVAL;

	/* Notes may stand before it. */
	all = start ? json_tokener_parse(start) : NULL;
	if (all && json_object_object_get_ex(all, "jobs", &jobs) &&
	    json_object_is_type(jobs, json_type_array) &&
	    (job = json_object_array_get_idx(jobs, 0)) &&
	    json_object_object_get_ex(job, "write", &write)) {
		nsec = number(job, "job_runtime") * 1e6;
		r->nsec = (uint64_t)nsec;
		r->cpu_nsec = (uint64_t)(nsec / 100 * (number(job, "usr_cpu") +
						      number(job, "sys_cpu")));
		r->ios = (uint64_t)number(write, "total_ios");
		r->bridge = 0;
		r->bytes = (uint64_t)number(write, "io_bytes");
		/* The time, in milliseconds, is 0 for a small job. */
		ret = r->bytes ? 0 : -EINVAL;
	}
	json_object_put(all);
	return ret;
}

/*
 * The flush at the end, which belongs to the job. fio's own fails with some
 * versions when io_uring is its engine.
 */
static int flush(const char *path, struct bench_result *r)
{
	uint64_t start = tool_now();
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (fdatasync(fd))
		ret = -errno;
	close(fd);
	r->nsec += tool_now() - start;
	return ret;
}

int bench_fio(const struct bench *b, const struct bench_case *c,
	      struct bench_result *r)
{
	uint64_t dirty = b->size / c->step, block = b->max_extent;
	char texts[MAX_ARGS][64], *argv[MAX_ARGS + 1], *output = NULL;
	char complaint[256] = "";
	bool found = true;
	uint64_t offset;
	int n = 0, i, ret;

	ret = pages_offset(b, &offset);
	if (ret)
		return ret;
	if (c->step > 1)
		block = BENCH_PAGE;
	snprintf(texts[n++], sizeof(texts[0]), "fio");
	snprintf(texts[n++], sizeof(texts[0]), "--name=mapped-ram-bench");
	snprintf(texts[n++], sizeof(texts[0]), "--output-format=json");
	snprintf(texts[n++], sizeof(texts[0]), "--ioengine=io_uring");
	snprintf(texts[n++], sizeof(texts[0]), "--fixedbufs=1");
	snprintf(texts[n++], sizeof(texts[0]), "--registerfiles=1");
	snprintf(texts[n++], sizeof(texts[0]), "--direct=1");
	snprintf(texts[n++], sizeof(texts[0]), "--allow_file_create=0");
	snprintf(texts[n++], sizeof(texts[0]), "--fallocate=none");
	snprintf(texts[n++], sizeof(texts[0]), "--iodepth=%u", b->window);
	snprintf(texts[n++], sizeof(texts[0]), "--bs=%" PRIu64, block);
	snprintf(texts[n++], sizeof(texts[0]), "--offset=%" PRIu64, offset);
	snprintf(texts[n++], sizeof(texts[0]), "--size=%" PRIu64, b->size);
	snprintf(texts[n++], sizeof(texts[0]), "--io_size=%" PRIu64, dirty);
	if (c->step > 1)
		snprintf(texts[n++], sizeof(texts[0]), "--rw=write:%llu",
			 (c->step - 1) * BENCH_PAGE);
	else
		snprintf(texts[n++], sizeof(texts[0]), "--rw=write");
	for (i = 0; i < n; i++)
		argv[i] = texts[i];
	argv[n] = escape(b->target);
	argv[n + 1] = NULL;
	if (!argv[n])
		return -ENOMEM;
	ret = run(argv, &output, complaint, sizeof(complaint), &found);
	if (!ret)
		ret = read_result(output ? output : "", r);
	if (!ret)
		ret = flush(b->target, r);
	if (!found)
		tool_warn("fio is not installed: its figures are left out");
	else if (ret)
		tool_warn("fio failed on %s: %s", b->target,
			  complaint[0] ? complaint : strerror(-ret));
	free(output);
	free(argv[n]);
	return ret;
}
