// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What was written since the last fetch, as PAGEMAP_SCAN tells it. Nothing has
 * to stand still meanwhile.
 *
 * Why no page is lost:
 *
 * 1. A page whose entry is not protected is protected again and handed out in
 *    one step, under the lock of its page table, and its bit stands in the
 *    session before this returns: before a pass reads the page. A write before
 *    that step is in what the pass reads, a write after it lifts the protection
 *    and is in the next fetch. When the list of ranges is full the kernel stops
 *    where the list does. When it fails nobody knows what it has protected: all
 *    of it is dirty then.
 * 2. What has no entry cannot be protected. It is looked at by itself: it was
 *    never touched, or given back (zero now, the image may have it), or lost its
 *    entry to the system although it is in the file. The image's bitmap and the
 *    file's holes tell which.
 * 3. The kernel leaves a marker where it takes a protected page of shared memory
 *    or of hugetlbfs away: swapped out, or given back. Markers keep the
 *    protection, so a page that was given back comes up again protected, and
 *    nobody can tell any more. As long as it has not come up it has its marker,
 *    and is looked at like 2.
 * 4. Where protection is asked for without PAGEMAP_SCAN (scan_protect()), the bit
 *    is set afterwards: what was written before is dirty, what is written later
 *    is seen. Where it is taken away, more is dirty, not less.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "hole.h"
#include "scan_tracker.h"
#include "session.h"

/*
 * Bytes of one request. Guests wait while KVM forgets what it has of a request's
 * range, which it is always told to, so it should not be much; pages may be
 * larger.
 */
#define CHUNK	(64ull << 20)

/* A scan of a piece, and what was found. */
struct scan {
	const struct mram_scan_tracker *t;
	const struct scan_piece *p;
	struct engine_region *r;
	int64_t count;
};

/* Addresses as pages of the region: those that have any of it. */
static bool to_pages(const struct scan *s, uint64_t start, uint64_t end,
		     uint64_t *first, uint64_t *last)
{
	uint64_t low = (uintptr_t)s->r->addr, shift = s->r->page_shift;
	uint64_t high = low + (s->r->pages << shift);

	if (start < low)
		start = low;
	if (end > high)
		end = high;
	if (start >= end)
		return false;
	*first = (start - low) >> shift;
	*last = ((end - low - 1) >> shift) + 1;
	return true;
}

static void set_dirty(struct scan *s, uint64_t start, uint64_t end)
{
	uint64_t first, last;

	if (!to_pages(s, start, end, &first, &last))
		return;
	bitmap_or_range(s->r->dirty, first, last);
	s->count += (int64_t)(last - first);
}

/* Those that the image has. */
static void set_dirty_if_saved(struct scan *s, uint64_t start, uint64_t end)
{
	uint64_t first, last, w, bits;

	if (!to_pages(s, start, end, &first, &last))
		return;
	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < last; w++) {
		bits = bitmap_read(&s->r->file[w]) & bitmap_mask(w, first, last);
		if (!bits)
			continue;
		bitmap_or(&s->r->dirty[w], bits);
		s->count += __builtin_popcountll(bits);
	}
}

/* The part of the file that is mapped from @start to @end has a hole there. */
static void take_hole(struct scan *s, uint64_t start, uint64_t end, bool marked)
{
	if (start >= end)
		return;
	/* Reading through a marker would make a page, without it is a hole. */
	if (marked)
		scan_protect(s->t, start, end, false);
	set_dirty_if_saved(s, start, end);
}

static void take_data(struct scan *s, uint64_t start, uint64_t end, bool marked)
{
	/* A marker stands for what the file has, but for copies that are gone. */
	if (marked && !s->p->copy)
		return;
	if (!marked)
		scan_protect(s->t, start, end, true);
	set_dirty(s, start, end);
}

static void ask_file(struct scan *s, uint64_t start, uint64_t end, bool marked)
{
	const struct engine_region *r = s->r;
	uint64_t to_addr = (uintptr_t)r->addr - r->fd_offset;
	uint64_t page = s->p->page, known = end, data, data_end;
	struct stat st;

	/* Nothing can be read behind a file's end; a device has no size here. */
	if (fstat(r->fd, &st) || !S_ISREG(st.st_mode))
		st.st_size = INT64_MAX;
	if (end - to_addr > (uint64_t)st.st_size)
		known = (to_addr + (uint64_t)st.st_size + page - 1) &
			~(page - 1);
	for (; start < known; start = data_end) {
		hole_next(r->fd, start - to_addr, known - to_addr, &data,
			  &data_end);
		data = (to_addr + data) & ~(page - 1);
		data_end = (to_addr + data_end + page - 1) & ~(page - 1);
		take_hole(s, start, data, marked);
		if (data < known)
			take_data(s, data, data_end, marked);
	}
	take_hole(s, start, end, marked);
}

static void take_absent(struct scan *s, const struct scan_range *range)
{
	bool marked = s->p->kind != SCAN_ANON && range->categories;

	switch (s->p->kind) {
	case SCAN_ANON:
	case SCAN_HUGE:
		take_hole(s, range->start, range->end, marked);
		break;
	case SCAN_FILE:
		ask_file(s, range->start, range->end, marked);
		break;
	case SCAN_UNKNOWN:
		if (marked && !s->p->copy)
			set_dirty_if_saved(s, range->start, range->end);
		else
			take_data(s, range->start, range->end, marked);
		break;
	}
}

static void take_written(struct scan *s, const struct scan_range *range)
{
	set_dirty(s, range->start, range->end);
}

static int failed(const struct scan *s, uint64_t at, int code,
		  struct mram_error *err)
{
	uint64_t low = (uintptr_t)s->r->addr;

	return mram_err(err, code,
			"track region '%s': PAGEMAP_SCAN at offset %" PRIu64 ": %s%s",
			s->r->name, at > low ? at - low : 0, strerror(-code),
			code == -EPERM ?
			": it was mapped anew, or is not tracked any more" : "");
}

/* Hand all ranges of the piece that @how asks for to @take. */
static int scan(struct scan *s, const struct scan_arg *how,
		void (*take)(struct scan *s, const struct scan_range *range),
		struct mram_error *err)
{
	uint64_t size = s->p->page > CHUNK ? s->p->page : CHUNK;
	struct scan_arg arg = *how;
	uint64_t at;
	int n, i;

	arg.size = sizeof(arg);
	arg.vec = (uintptr_t)s->t->ranges;
	arg.vec_len = SCAN_RANGES;
	for (at = s->p->start; at < s->p->end; at = arg.walk_end) {
		arg.start = at;
		arg.end = (at | (size - 1)) + 1;
		if (arg.end > s->p->end)
			arg.end = s->p->end;
		n = ioctl(s->t->pagemap, SCAN_IOCTL, &arg);
		if (n < 0) {
			n = -errno;
			set_dirty(s, at, arg.end);
			return failed(s, at, n, err);
		}
		for (i = 0; i < n; i++)
			take(s, &s->t->ranges[i]);
		if (arg.walk_end <= at) {
			set_dirty(s, at, arg.end);
			return failed(s, at, -EIO, err);
		}
	}
	return 0;
}

static int fetch_piece(struct scan *s, struct mram_error *err)
{
	/* Without the second mask the kernel would fill empty page tables. */
	static const struct scan_arg written = {
		.flags = SCAN_PROTECT | SCAN_CHECK_ASYNC,
		.category_mask = SCAN_WRITTEN,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
	};
	static const struct scan_arg absent = {
		.category_mask = SCAN_PRESENT,
		.category_inverted = SCAN_PRESENT,
		.return_mask = SCAN_SWAPPED,
	};
	static const struct scan_arg no_entry = {
		.category_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.category_inverted = SCAN_PRESENT | SCAN_SWAPPED,
	};
	int ret;

	ret = scan(s, &written, take_written, err);
	if (!ret)
		ret = scan(s, s->p->kind == SCAN_ANON ? &no_entry : &absent,
			   take_absent, err);
	return ret;
}

int64_t mram_scan_tracker_fetch(struct mram_scan_tracker *t,
				struct mram_error *err)
{
	struct scan s = { .t = t };
	size_t i;
	int ret;

	for (i = 0; i < t->nr_pieces; i++) {
		s.p = &t->pieces[i];
		ret = session_region(t->session, s.p->region,
				     "fetch what was written", &s.r, err);
		if (!ret)
			ret = fetch_piece(&s, err);
		if (ret)
			return ret;
	}
	return s.count;
}
