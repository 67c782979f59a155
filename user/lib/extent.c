// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Extents: how runs of pages become I/Os, and what follows from their ends.
 */
#include <errno.h>
#include <sys/resource.h>

#include "bitmap.h"
#include "choose.h"

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Clean pages may be written along if the image holds them: then they are
 * written with what they have there, or with what is dirty by now anyway.
 * Pages that are not in memory would have to be made first.
 */
static bool may_bridge(const struct mover *m, uint64_t first, uint64_t end)
{
	uint64_t w, mask;

	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < end; w++) {
		mask = bitmap_mask(w, first, end);
		if (~bitmap_read(&m->r->file[w]) & mask ||
		    m->none[w - m->base_word] & mask)
			return false;
	}
	return true;
}

void extent_flush(struct mover *m)
{
	struct extent x = m->open;
	uint64_t base = m->base_word * BITS_PER_WORD;

	if (!x.pages)
		return;
	m->open.pages = 0;
	/* From here on the extent's end decides. */
	if (!m->load)
		bitmap_clear_range(m->claimed, x.first - base,
				   x.first + x.pages - base);
	m->p->ios++;
	m->ops->start(m, &x);
	choose_counted(m, x.pages);
}

void extent_add_run(struct mover *m, uint64_t first, uint64_t pages)
{
	struct extent *x = &m->open;
	uint64_t gap, take;

	if (x->pages) {
		gap = first - (x->first + x->pages);
		if (gap && (gap > m->bridge ||
			    x->pages + gap >= m->max_pages ||
			    !may_bridge(m, first - gap, first))) {
			extent_flush(m);
		} else {
			x->pages += gap;
			x->bridged += gap;
		}
	}
	while (pages && !m->error) {
		if (!x->pages)
			*x = (struct extent){ .first = first };
		take = min(pages, m->max_pages - x->pages);
		x->pages += take;
		first += take;
		pages -= take;
		if (x->pages == m->max_pages)
			extent_flush(m);
	}
}

/* @pages from @first on reached the image, or memory. */
static void arrived(struct mover *m, const struct extent *x, uint64_t pages)
{
	uint64_t bridged = x->bridged;

	if (!m->load)
		bitmap_or_range(m->r->file, x->first, x->first + pages);
	/* Bridges of an extent that was cut: count what cannot be wrong. */
	if (pages < x->pages)
		bridged = min(bridged, pages);
	m->p->moved += pages - bridged;
	m->p->bridged += bridged;
}

bool extent_advance(struct mover *m, struct extent *x, int64_t res)
{
	uint64_t pages, moved = x->moved;
	int code = 0;

	/* Canceled: a signal kept io_uring from making the thread for it. */
	if (res == -EAGAIN || res == -EINTR || res == -ECANCELED)
		return true;
	if (res > 0) {
		m->p->bytes += res;
		moved += res;
		if (moved >> m->r->page_shift == x->pages) {
			arrived(m, x, x->pages);
			return false;
		}
		/* Direct I/O must go on where a block starts. */
		moved -= moved % m->base.io->align;
		if (moved > x->moved) {
			x->moved = moved;
			return true;
		}
		code = -EIO;
	} else if (!res) {
		code = m->load ? -ENODATA : -EIO;
	} else {
		code = res;
	}

	/* A limit in the middle of a block looks like bad alignment. */
	if (code == -EINVAL && !m->load) {
		struct rlimit limit;

		if (!getrlimit(RLIMIT_FSIZE, &limit) &&
		    extent_offset(m, x) + extent_rest(m, x) > limit.rlim_cur)
			code = -EFBIG;
	}
	pages = x->moved >> m->r->page_shift;
	if (pages)
		arrived(m, x, pages);
	if (!m->load)
		bitmap_or_range(m->r->dirty, x->first + pages,
				x->first + x->pages);
	mover_stop(m, code, x->first + pages);
	return false;
}
