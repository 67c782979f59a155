// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Choosing an engine, and what engines say when a page cannot be moved.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "bitmap.h"
#include "engine.h"
#include "error.h"

/* Best first. */
static const struct engine_ops *const engines[] = {
	&engine_module,
	&engine_uring,
	&engine_pwrite,
};

#define NR_ENGINES	(sizeof(engines) / sizeof(engines[0]))

int engine_find(const struct engine_ops **out, const char *name,
		const struct mram_io *io, struct mram_error *err)
{
	int ret = -ENODEV;
	size_t i;

	for (i = 0; i < NR_ENGINES; i++) {
		if (name && strcmp(name, engines[i]->name))
			continue;
		/* The module refuses files without direct I/O; say so by name only. */
		if (!name && !io->direct && engines[i] == &engine_module)
			continue;
		ret = engines[i]->probe(err);
		if (!ret) {
			*out = engines[i];
			return 0;
		}
		if (name)
			return ret;
	}
	if (name)
		return mram_err(err, -EINVAL,
				"no engine is called '%s': use module, uring or pwrite",
				name);
	return ret;
}

uint64_t engine_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int engine_progress(struct engine_pass *p, const struct engine_region *r,
		    uint64_t pages)
{
	p->done += pages;
	if (!p->progress || (p->done - p->reported) <<
			    r->page_shift < ENGINE_PROGRESS_BYTES)
		return 0;
	p->reported = p->done;
	return p->progress(p->progress_data, p->done) ? -ECANCELED : 0;
}

int engine_check_length(const struct mram_io *io,
			const struct engine_region *r, uint64_t *page)
{
	uint64_t end = r->pages_offset + (r->pages << r->page_shift);
	uint64_t held = 0;
	struct stat st;

	if (io->is_block || fstat(io->fd, &st) || (uint64_t)st.st_size >= end)
		return 0;
	if ((uint64_t)st.st_size > r->pages_offset)
		held = (st.st_size - r->pages_offset) >> r->page_shift;
	bitmap_or_range(r->dirty, held, r->pages);
	bitmap_clear_range(r->file, held, r->pages);
	*page = held;
	return -ENODATA;
}

static const char *advice(int code)
{
	switch (-code) {
	case EFBIG:
		return ": raise RLIMIT_FSIZE, or use a file system that holds larger files";
	case ENOSPC:
		return ": make room and run the pass again";
	case EDQUOT:
		return ": raise the quota and run the pass again";
	case EFAULT:
		return ": its memory is not mapped, or not accessible";
	case ENODATA:
		return ": the image ends before it";
	case EINTR:
		return ": run the pass again";
	case EPERM:
		return ": the image may be immutable, or the session another process's";
	default:
		return "";
	}
}

int engine_failed(struct mram_error *err, const char *verb,
		  const struct mram_io *io, const struct engine_region *r,
		  uint64_t page, int code)
{
	if (page == ENGINE_NO_PAGE)
		return mram_err(err, code, "%s region '%s' of %s: %s%s",
				verb, r->name, io->path, strerror(-code),
				advice(code));
	return mram_err(err, code,
			"%s page %" PRIu64 " of region '%s' (offset %" PRIu64 " of %s): %s%s",
			verb, page, r->name,
			r->pages_offset + (page << r->page_shift), io->path,
			strerror(-code), advice(code));
}
