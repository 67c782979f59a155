// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What callers do to the dirty bitmaps of a session, at any time and from any
 * thread: they only ever add bits, atomically.
 */
#include <errno.h>
#include <inttypes.h>

#include "bitmap.h"
#include "error.h"
#include "session.h"

int session_region(const struct mram_session *s, int index, const char *what,
		   struct engine_region **out, struct mram_error *err)
{
	if (!s->begun)
		return mram_err(err, -EINVAL,
				"%s: the session has no bitmaps yet: call mram_session_begin() first",
				what);
	if (index < 0 || (size_t)index >= s->nr_regions)
		return mram_err(err, -EINVAL,
				"%s: no region %d, the session has %zu",
				what, index, s->nr_regions);
	*out = &s->regions[index];
	return 0;
}

static int check_range(const struct engine_region *r, uint64_t first,
		       uint64_t *count, const char *what,
		       struct mram_error *err)
{
	if (*count == MRAM_ALL && first <= r->pages)
		*count = r->pages - first;
	if (first > r->pages || *count > r->pages - first)
		return mram_err(err, -ERANGE,
				"%s: pages %" PRIu64 " + %" PRIu64 " leave region '%s' of %" PRIu64 " pages",
				what, first, *count, r->name, r->pages);
	return 0;
}

int mram_session_mark_dirty(struct mram_session *s, int region,
			    uint64_t first, uint64_t count,
			    struct mram_error *err)
{
	static const char what[] = "mark dirty";
	struct engine_region *r;
	size_t i;
	int ret;

	if (region == -1) {
		if (first || count != MRAM_ALL)
			return mram_err(err, -EINVAL,
					"%s: a range needs a region", what);
		ret = session_region(s, 0, what, &r, err);
		for (i = 0; !ret && i < s->nr_regions; i++)
			bitmap_or_range(s->regions[i].dirty, 0,
					s->regions[i].pages);
		return ret;
	}
	ret = session_region(s, region, what, &r, err);
	if (!ret)
		ret = check_range(r, first, &count, what, err);
	if (!ret)
		bitmap_or_range(r->dirty, first, first + count);
	return ret;
}

int mram_session_or_dirty(struct mram_session *s, int region, uint64_t first,
			  const uint64_t *words, uint64_t count,
			  struct mram_error *err)
{
	static const char what[] = "add to the dirty bitmap";
	struct engine_region *r = NULL;
	int ret;

	ret = session_region(s, region, what, &r, err);
	if (!ret && count == MRAM_ALL)
		ret = mram_err(err, -EINVAL, "%s: bits need a count", what);
	if (!ret)
		ret = check_range(r, first, &count, what, err);
	if (!ret)
		bitmap_or_shifted(r->dirty, first, words, count);
	return ret;
}

int64_t mram_session_count_dirty(const struct mram_session *s, int region)
{
	struct engine_region *r;
	int64_t count = 0;
	size_t i;
	int ret;

	ret = session_region(s, region == -1 ? 0 : region, "count", &r, NULL);
	if (ret)
		return ret;
	if (region >= 0)
		return bitmap_count(r->dirty, 0, r->pages);
	for (i = 0; i < s->nr_regions; i++)
		count += bitmap_count(s->regions[i].dirty, 0,
				      s->regions[i].pages);
	return count;
}
