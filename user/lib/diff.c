// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which pages of a block differ between two images?
 *
 * Only pages that at least one image holds are looked at. Runs that differ are
 * joined before they are told of, wherever the parts are that they were found
 * in.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bitmap.h"
#include "error.h"
#include "pages.h"
#include "zero.h"

/**
 * struct diff - two blocks
 * @s: the job
 * @a: one
 * @b: the other
 * @first: with @count, a run that differs and was not told of yet
 */
struct diff {
	struct scan s;
	struct pages a;
	struct pages b;
	uint64_t first;
	uint64_t count;
};

static int tell(struct diff *d, struct mram_error *err)
{
	if (d->count && d->s.opts.differ &&
	    d->s.opts.differ(d->s.opts.data, d->first, d->count))
		return mram_err(err, -ECANCELED, "canceled");
	d->count = 0;
	return 0;
}

static int differs(struct diff *d, uint64_t first, uint64_t count,
		   struct mram_error *err)
{
	int ret = 0;

	d->s.stats.differ += count;
	if (d->count && d->first + d->count == first) {
		d->count += count;
		return 0;
	}
	ret = tell(d, err);
	d->first = first;
	d->count = count;
	return ret;
}

/* Both blocks have these bits for this page, and some that follow. */
static uint64_t run_end(const struct diff *d, uint64_t first, uint64_t end,
			int in_a, int in_b)
{
	end = bitmap_next(d->a.bitmap, first, end, !in_a);
	return bitmap_next(d->b.bitmap, first, end, !in_b);
}

static bool page_differs(const struct diff *d, size_t at, bool in_a, bool in_b)
{
	size_t size = (size_t)d->a.info.page_size;

	if (in_a && in_b)
		return memcmp(d->a.buffer + at, d->b.buffer + at, size);
	return !zero_is((in_a ? d->a.buffer : d->b.buffer) + at, size);
}

static int compare_run(struct diff *d, uint64_t first, uint64_t end, bool in_a,
		       bool in_b, struct mram_error *err)
{
	uint64_t count, i;
	int ret = 0;

	for (; !ret && first < end; first += count) {
		count = pages_chunk(&d->a, end - first);
		if (in_a)
			ret = scan_read(&d->s, &d->a, first, count, err);
		if (!ret && in_b)
			ret = scan_read(&d->s, &d->b, first, count, err);
		for (i = 0; !ret && i < count; i++)
			if (page_differs(d, (size_t)(i * d->a.info.page_size),
					 in_a, in_b))
				ret = differs(d, first + i, 1, err);
		if (!ret)
			ret = scan_progress(&d->s, err);
	}
	return ret;
}

static int compare(struct diff *d, struct mram_error *err)
{
	const struct mram_block_info *a = &d->a.info, *b = &d->b.info;
	uint64_t most = a->pages > b->pages ? a->pages : b->pages;
	uint64_t least = a->pages < b->pages ? a->pages : b->pages;
	uint64_t first, end;
	int ret = 0;

	if (a->page_size != b->page_size)
		return mram_err(err, -EINVAL,
				"block '%s' has pages of %" PRIu64 " bytes in one image and of %" PRIu64 " in the other",
				a->name, a->page_size, b->page_size);
	d->s.total = bitmap_count(d->a.bitmap, 0, least) +
		     bitmap_count(d->b.bitmap, 0, least);
	for (first = 0; !ret && first < least; first = end) {
		bool in_a = bitmap_test(d->a.bitmap, first);
		bool in_b = bitmap_test(d->b.bitmap, first);

		end = run_end(d, first, least, in_a, in_b);
		if (in_a || in_b)
			ret = compare_run(d, first, end, in_a, in_b, err);
		else
			d->s.stats.zero += end - first;
	}
	if (!ret && most > least)
		ret = differs(d, least, most - least, err);
	if (!ret)
		ret = tell(d, err);
	return ret;
}

int64_t mram_image_diff(struct mram_image *a, int index_a,
			struct mram_image *b, int index_b,
			const struct mram_scan_opts *opts,
			struct mram_scan_stats *stats,
			struct mram_error *err)
{
	struct diff d = { .count = 0 };
	int ret;

	ret = scan_begin(&d.s, opts, "diff", err);
	if (!ret)
		ret = pages_open(&d.a, a, index_a, err);
	if (!ret)
		ret = pages_open(&d.b, b, index_b, err);
	if (!ret)
		ret = compare(&d, err);
	pages_close(&d.a);
	pages_close(&d.b);
	scan_end(&d.s, stats, ret);
	return ret ? ret : (int64_t)d.s.stats.differ;
}
