// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading the pages of a block where they stand in the image: see pages.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "image.h"
#include "opts.h"
#include "pages.h"

int pages_open(struct pages *p, struct mram_image *img, int index,
	       struct mram_error *err)
{
	int ret;

	memset(p, 0, sizeof(*p));
	p->io = mram_image_io(img);
	p->info.size = sizeof(p->info);
	ret = mram_image_block(img, index, &p->info, err);
	if (!ret)
		ret = mram_image_bitmap(img, index, &p->bitmap, err);
	if (ret)
		return ret;
	p->buffer = mram_io_alloc(p->io, PAGES_BUFFER);
	if (!p->buffer)
		return mram_err(err, -ENOMEM, "no memory to read pages");
	return 0;
}

void pages_close(struct pages *p)
{
	free(p->buffer);
	p->buffer = NULL;
}

uint64_t pages_chunk(const struct pages *p, uint64_t count)
{
	uint64_t most = PAGES_BUFFER / p->info.page_size;

	return count < most ? count : most;
}

static int err_page(const struct pages *p, uint64_t page, int code,
		    struct mram_error *err)
{
	return mram_err(err, code,
			"%.200s: block '%s': page %" PRIu64 " at offset %" PRIu64 " cannot be read: %s",
			p->io->path, p->info.name, page,
			p->info.pages_offset + page * p->info.page_size,
			code == -ENODATA ? "the file ends before it" :
					   strerror(-code));
}

int pages_read(const struct pages *p, uint64_t first, uint64_t count,
	       struct mram_error *err)
{
	size_t size = (size_t)p->info.page_size;
	uint64_t at = p->info.pages_offset + first * size, i;
	int code, ret;

	code = mram_io_read(p->io, at, p->buffer, (size_t)count * size, NULL);
	if (!code)
		return 0;
	/* A large read failed: small ones find the page. */
	for (i = 0; i < count; i++) {
		ret = mram_io_read(p->io, at + i * size, p->buffer, size, NULL);
		if (ret)
			return err_page(p, first + i, ret, err);
	}
	/* It can be read now, but it could not be trusted. */
	return err_page(p, first, code, err);
}

int scan_begin(struct scan *s, const struct mram_scan_opts *opts,
	       const char *what, struct mram_error *err)
{
	int ret;

	memset(s, 0, sizeof(*s));
	s->stats.size = sizeof(s->stats);
	s->start = engine_clock();
	ret = opts_get(&s->opts, sizeof(s->opts), opts, what, err);
	if (!ret && (s->opts.flags || s->opts.reserved))
		ret = mram_err(err, -EOPNOTSUPP, "%s: unknown flags %#x", what,
			       s->opts.flags);
	return ret;
}

int scan_read(struct scan *s, const struct pages *p, uint64_t first,
	      uint64_t count, struct mram_error *err)
{
	int ret = pages_read(p, first, count, err);

	if (ret)
		return ret;
	s->stats.read += count;
	s->stats.bytes += count * p->info.page_size;
	if (!p->io->direct)
		s->stats.flags |= MRAM_STATS_BUFFERED;
	return 0;
}

int scan_progress(struct scan *s, struct mram_error *err)
{
	if (s->opts.progress &&
	    s->opts.progress(s->opts.data, s->stats.read, s->total))
		return mram_err(err, -ECANCELED, "canceled");
	return 0;
}

int scan_end(struct scan *s, struct mram_scan_stats *stats, int ret)
{
	s->stats.nsec = engine_clock() - s->start;
	opts_put(stats, &s->stats, sizeof(s->stats));
	return ret;
}
