// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Can every page that an image holds be read?
 */
#include "bitmap.h"
#include "pages.h"

static int read_run(struct scan *s, const struct pages *p, uint64_t first,
		    uint64_t end, struct mram_error *err)
{
	uint64_t count;
	int ret = 0;

	for (; !ret && first < end; first += count) {
		count = pages_chunk(p, end - first);
		ret = scan_read(s, p, first, count, err);
		if (!ret)
			ret = scan_progress(s, err);
	}
	return ret;
}

static int read_block(struct scan *s, const struct pages *p,
		      struct mram_error *err)
{
	uint64_t first, end, pages = p->info.pages;
	int ret;

	s->total = p->info.set_pages;
	s->stats.zero = pages - p->info.set_pages;
	for (end = 0;; ) {
		first = bitmap_next(p->bitmap, end, pages, 1);
		if (first == pages)
			return 0;
		end = bitmap_next(p->bitmap, first, pages, 0);
		ret = read_run(s, p, first, end, err);
		if (ret)
			return ret;
	}
}

int mram_image_verify(struct mram_image *img, int index,
		      const struct mram_scan_opts *opts,
		      struct mram_scan_stats *stats, struct mram_error *err)
{
	struct pages p = { 0 };
	struct scan s;
	int ret;

	ret = scan_begin(&s, opts, "verify", err);
	if (!ret)
		ret = pages_open(&p, img, index, err);
	if (!ret)
		ret = read_block(&s, &p, err);
	pages_close(&p);
	return scan_end(&s, stats, ret);
}
