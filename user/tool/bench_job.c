// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram bench: one job, measured by the clock.
 *
 * Before it the session makes a pass over all pages that does not count: the
 * image then holds them all, and pins are there where the engine keeps any.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench.h"
#include "cleanup.h"
#include "tool.h"

int bench_memory(struct bench *b)
{
	uint64_t *word, n;

	b->memory = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->memory == MAP_FAILED)
		return tool_fail("no memory: %s is too much",
				 tool_format_size(b->size).text);
	/* Where there are none, it goes without. */
	madvise(b->memory, b->size, MADV_HUGEPAGE);
	word = (uint64_t *)b->memory;
	for (n = 0; n < b->size / sizeof(*word); n++)
		word[n] = n * 0x9e3779b97f4a7c15ull | 1;
	return 0;
}

static uint64_t cpu_now(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000ull +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000ull;
}

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	(void)data;
	(void)done;
	(void)total;
	return cleanup_interrupted();
}

/* More than one pass only when a signal that means nothing ended the first. */
static int pass(struct mram_session *s, const struct mram_pass_opts *o,
		struct bench_result *r, struct mram_error *err)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	int ret;

	r->ios = 0;
	do {
		ret = mram_session_pass(s, o, &st, err);
		r->ios += st.ios;
		r->bridge = st.bridge;
	} while (ret == -EINTR && !cleanup_interrupted());
	return ret;
}

static int measure(const struct bench *b, const uint64_t *dirty,
		   struct mram_session *s, const struct mram_pass_opts *o,
		   struct bench_result *r, struct mram_error *err)
{
	uint64_t cpu = cpu_now(), start = tool_now();
	int ret;

	ret = mram_session_or_dirty(s, 0, 0, dirty, b->size / BENCH_PAGE, err);
	if (!ret)
		ret = pass(s, o, r, err);
	if (!ret)
		ret = mram_session_commit(s, err);
	r->nsec = tool_now() - start;
	r->cpu_nsec = cpu_now() - cpu;
	return ret;
}

static int job(const struct bench *b, const uint64_t *dirty, const char *engine,
	       bool pin, struct bench_result *r, struct mram_error *err)
{
	struct mram_session_opts so = MRAM_OPTS(mram_session_opts,
						.engine = engine,
						.machine = BENCH_MACHINE);
	struct mram_region_opts ro = MRAM_OPTS(mram_region_opts,
					       .flags = pin ? MRAM_REGION_PIN : 0);
	struct mram_pass_opts po = MRAM_OPTS(mram_pass_opts,
					     .flags = MRAM_PASS_STOPPED,
					     .window = b->window,
					     .max_extent = b->max_extent,
					     .progress = on_progress);
	struct mram_session *s;
	int ret;

	ret = mram_session_open(&s, b->target, &so, err);
	if (ret)
		return ret;
	ret = mram_session_add_region(s, "bench", b->memory, b->size, &ro, err);
	if (ret >= 0)
		ret = mram_session_begin(s, err);
	if (!ret)
		ret = mram_session_mark_dirty(s, -1, 0, MRAM_ALL, err);
	if (!ret)
		ret = pass(s, &po, r, err);
	po.bridge = b->bridge;
	if (!ret)
		ret = measure(b, dirty, s, &po, r, err);
	mram_session_close(s);
	return ret;
}

static int by_time(const void *a, const void *b)
{
	const struct bench_result *x = a, *y = b;

	return (x->nsec > y->nsec) - (x->nsec < y->nsec);
}

int bench_save(const struct bench *b, const struct bench_case *c,
	       const char *engine, bool pin, struct bench_result *r,
	       struct mram_error *err)
{
	uint64_t pages = b->size / BENCH_PAGE, page, nr = 0;
	struct bench_result *results;
	uint64_t *dirty;
	uint32_t i;
	int ret = 0;

	results = calloc(b->rounds, sizeof(*results));
	dirty = calloc((pages + 63) / 64, sizeof(*dirty));
	if (!results || !dirty)
		ret = -ENOMEM;
	for (page = 0; !ret && page < pages; page += c->step, nr++)
		dirty[page / 64] |= 1ull << page % 64;
	/* The first one only warms up: its place is taken by the next. */
	for (i = 0; !ret && i < b->rounds + 1; i++)
		ret = job(b, dirty, engine, pin, &results[i ? i - 1 : 0], err);
	if (!ret) {
		qsort(results, b->rounds, sizeof(*results), by_time);
		*r = results[b->rounds / 2];
		r->bytes = nr * BENCH_PAGE;
	}
	free(results);
	free(dirty);
	return ret;
}
