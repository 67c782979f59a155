// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One job: what goes before it, and the clock around each part of it.
 *
 * A job starts with a session that has begun and that has made one pass over
 * all pages, so that the image holds them all and pins are there. Then come the
 * three parts that are measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* The region's record and bitmap stand before its pages, which start at a MiB. */
#define PAGES_ALIGN	(1ull << 20)

uint64_t clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

double clock_rate(void)
{
#if defined(__x86_64__)
	uint64_t start = clock_now(), n = 10000000, left = n;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r" (left));
	return 2.0 * n / (clock_now() - start);
#else
	return 0;
#endif
}

void perf_tell(const struct options *o, const char *command)
{
	static int control = -1, ack = -1;
	char answer[8];

	if (!o->perf_control)
		return;
	if (control < 0) {
		control = open(o->perf_control, O_WRONLY | O_CLOEXEC);
		ack = open(o->perf_ack, O_RDONLY | O_CLOEXEC);
	}
	if (control < 0 || ack < 0 ||
	    write(control, command, strlen(command)) < 0 ||
	    read(ack, answer, sizeof(answer)) <= 0)
		fail("perf does not listen at %s: %m", o->perf_control);
}

static struct mram_session *begin(const struct options *o,
				  const struct memory *m)
{
	struct mram_session_opts so = MRAM_OPTS(mram_session_opts);
	struct mram_region_opts ro = MRAM_OPTS(mram_region_opts);
	struct mram_session *s;
	struct mram_error err;

	if (!strcmp(o->engine, "module-pin")) {
		so.engine = "module";
		ro.flags |= MRAM_REGION_PIN;
	} else if (!strcmp(o->engine, "uring")) {
		so.engine = "uring";
		ro.flags |= MRAM_REGION_PIN;
	} else if (!strcmp(o->engine, "uring-plain")) {
		so.engine = "uring";
	} else {
		so.engine = o->engine;
	}
	if (m->fd >= 0) {
		ro.flags |= MRAM_REGION_HAS_FD;
		ro.fd = m->fd;
	}
	if (mram_session_open(&s, o->target, &so, &err) ||
	    mram_session_add_region(s, "pc.ram", m->p, m->size, &ro,
				    &err) < 0 ||
	    mram_session_begin(s, &err))
		fail("%s", err.message);
	return s;
}

/* Make holes of the image's pages; what stands before them does not count. */
static void make_fresh(const struct options *o)
{
	struct stat st;
	int fd;

	fd = open(o->target, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fail("%s: %m", o->target);
	if (!S_ISREG(st.st_mode))
		fail("%s is no file: it cannot have holes", o->target);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      PAGES_ALIGN, st.st_size) || fsync(fd))
		fail("%s: cannot make a hole: %m", o->target);
	close(fd);
}

void job_parts(struct job *j, uint64_t start, uint64_t in, uint64_t pass,
	       uint64_t end)
{
	j->in = in - start;
	j->pass = pass - in;
	j->out = end - pass;
}

struct job job_run(const struct options *o, const struct memory *m,
		   const struct pattern *p)
{
	struct mram_pass_opts po = MRAM_OPTS(mram_pass_opts,
					     .flags = MRAM_PASS_STOPPED,
					     .window = o->window,
					     .max_extent = o->max_extent);
	struct job j = { .stats.size = sizeof(j.stats) };
	struct footprint before, during;
	uint64_t start, in, pass, end;
	struct mram_session *s;
	struct mram_error err;
	int ret;

	before = footprint_now(m);
	s = begin(o, m);
	if (mram_session_mark_dirty(s, -1, 0, MRAM_ALL, &err) ||
	    mram_session_pass(s, &po, NULL, &err))
		fail("%s", err.message);
	if (o->fresh)
		make_fresh(o);
	during = footprint_now(m);
	j.kernel_bytes = during.kernel - before.kernel;
	j.user_bytes = during.user - before.user;

	po.bridge = o->bridge;
	perf_tell(o, "enable\n");
	start = clock_now();
	ret = mram_session_or_dirty(s, 0, 0, p->dirty, p->pages, &err);
	in = clock_now();
	if (!ret)
		ret = mram_session_pass(s, &po, &j.stats, &err);
	pass = clock_now();
	if (!ret)
		ret = mram_session_commit(s, &err);
	end = clock_now();
	perf_tell(o, "disable\n");
	if (ret)
		fail("%s", err.message);
	mram_session_close(s);

	job_parts(&j, start, in, pass, end);
	if (j.stats.dirty != p->dirty_pages)
		fail("%llu pages were dirty, not %llu",
		     (unsigned long long)j.stats.dirty,
		     (unsigned long long)p->dirty_pages);
	return j;
}
