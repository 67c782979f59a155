// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Comparing memory with the image that is to be updated: large direct reads of
 * all pages that the old image holds. No state has to be kept from one job to
 * the next, and nothing that happened in between can be missed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "hole.h"
#include "image.h"
#include "session_compare.h"

#define CHUNK_WORDS	16u
#define CHUNK_PAGES	(CHUNK_WORDS * BITS_PER_WORD)

struct comparison {
	struct engine_region *r;
	struct mram_io *io;
	const uint64_t *had;
	unsigned char *buf;
	struct hole_cursor hole;
};

static int read_old(const struct comparison *k, uint64_t page, uint64_t pages,
		    struct mram_error *err)
{
	uint64_t offset = k->r->pages_offset + (page << k->r->page_shift);
	size_t want = pages << k->r->page_shift, done = 0;
	ssize_t n;

	while (done < want) {
		n = pread(k->io->fd, k->buf + done, want - done,
			  (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return engine_failed(err, "comparing", k->io, k->r,
					     page + (done >> k->r->page_shift),
					     n ? -errno : -ENODATA);
		done += (size_t)n;
	}
	return 0;
}

/* Looking at a hole of the memory would fill it. */
static bool is_equal(struct comparison *k, uint64_t page, uint64_t first)
{
	const struct engine_region *r = k->r;
	uint64_t at = page << r->page_shift;

	return hole_has_data(&k->hole, r->fd, r->fd_offset + at,
			     r->fd_offset + (r->pages << r->page_shift)) &&
	       !memcmp(r->addr + at, k->buf + ((page - first) << r->page_shift),
		       1u << r->page_shift);
}

/* A run of pages that the image holds, of at most a chunk. */
static int compare_run(struct comparison *k, uint64_t first, uint64_t end,
		       struct session_compare *c, struct mram_error *err)
{
	struct engine_region *r = k->r;
	uint64_t page;
	int ret;

	ret = read_old(k, first, end - first, err);
	for (page = first; !ret && page < end; page++) {
		c->compared++;
		bitmap_set(r->file, page);
		if (is_equal(k, page, first))
			c->same++;
		else
			bitmap_set(r->dirty, page);
	}
	return ret;
}

static int compare_chunk(struct comparison *k, uint64_t first, uint64_t end,
			 struct session_compare *c, struct mram_error *err)
{
	uint64_t page = first, next;
	int ret = 0;

	while (!ret && page < end) {
		bool held = bitmap_test(k->had, page);

		next = bitmap_next(k->had, page, end, !held);
		if (held)
			ret = compare_run(k, page, next, c, err);
		else
			bitmap_or_range(k->r->dirty, page, next);
		page = next;
	}
	return ret;
}

int session_compare(struct mram_session *s, size_t index,
		    struct mram_image *old, int block,
		    struct session_compare *c, struct mram_error *err)
{
	struct comparison k = {
		.r = &s->regions[index],
		.io = mram_image_io(old),
	};
	uint64_t page, end;
	int ret;

	ret = mram_image_bitmap(old, block, &k.had, err);
	if (ret)
		return ret;
	k.buf = mram_io_alloc(k.io, CHUNK_PAGES << k.r->page_shift);
	if (!k.buf)
		return mram_err(err, -ENOMEM, "region '%s': out of memory",
				k.r->name);
	for (page = 0; !ret && page < k.r->pages; page = end) {
		end = page + CHUNK_PAGES < k.r->pages ? page + CHUNK_PAGES :
							k.r->pages;
		ret = compare_chunk(&k, page, end, c, err);
		c->done += end - page;
		if (!ret && c->progress && c->progress(c->data, c->done))
			ret = mram_err(err, -ECANCELED,
				       "%s: the caller stopped the comparison",
				       s->io->path);
	}
	free(k.buf);
	return ret;
}
