// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What happens to memory while it is restored: parts of it are discarded,
 * unmapped or moved. See lazy.h for why nothing is placed meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"

void lazy_discard(struct mram_restore_lazy *l, struct lazy_block *b,
		  uint64_t first, uint64_t end)
{
	uint64_t pages = 0, w, next, mask, unit;

	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < end; w++) {
		mask = bitmap_mask(w, first, end);
		bitmap_or(&b->claimed[w], mask);
		/* Units that were still to be placed. */
		mask &= ~__atomic_fetch_or(&b->placed[w], mask,
					   __ATOMIC_SEQ_CST);
		for (unit = 0; unit < BITS_PER_WORD; unit = next) {
			unit = bitmap_next(&mask, unit, BITS_PER_WORD, 1);
			next = bitmap_next(&mask, unit, BITS_PER_WORD, 0);
			lazy_set_placed(l, b, w * BITS_PER_WORD + unit,
					w * BITS_PER_WORD + next);
			pages += lazy_block_count(l, b,
						  w * BITS_PER_WORD + unit,
						  w * BITS_PER_WORD + next,
						  NULL);
		}
	}
	lazy_add(&l->counts.discarded, pages);
	lazy_dealt_with(l, pages);
}

void lazy_keep(struct mram_restore_lazy *l, struct lazy_block *b,
	       uint64_t unit)
{
	uint64_t bit = UINT64_C(1) << unit % BITS_PER_WORD, set;
	struct mram_error err;

	bitmap_or(&b->claimed[unit / BITS_PER_WORD], bit);
	if (__atomic_fetch_or(&b->placed[unit / BITS_PER_WORD], bit,
			      __ATOMIC_SEQ_CST) & bit)
		return;
	lazy_set_placed(l, b, unit, unit + 1);
	set = lazy_block_count(l, b, unit, unit + 1, NULL);
	lazy_add(&l->counts.existed, set);
	if (!(l->opts.flags & MRAM_LAZY_TAKE_OVER)) {
		mram_err(&err, -EEXIST,
			 "block '%s': page %" PRIu64 " was in memory already: nobody knows what it holds",
			 b->name, unit << b->unit_shift >> b->page_shift);
		lazy_lose(l, &err);
	}
	lazy_dealt_with(l, set);
}

/* The part of a segment, in units, that lies in [@start, @end). */
static bool in_segment(const struct lazy_block *b,
		       const struct lazy_segment *s, uint64_t start,
		       uint64_t end, uint64_t *first, uint64_t *units)
{
	const uint64_t size = UINT64_C(1) << b->unit_shift;
	uint64_t s_end = s->addr + (s->units << b->unit_shift), last;

	if (start >= s_end || end <= s->addr)
		return false;
	start = start > s->addr ? start - s->addr : 0;
	end = (end < s_end ? end : s_end) - s->addr;
	*first = (start + size - 1) >> b->unit_shift;
	last = end >> b->unit_shift;
	if (last <= *first)
		return false;
	*units = last - *first;
	return true;
}

static void removed(struct mram_restore_lazy *l, struct lazy_block *b,
		    uint64_t start, uint64_t end)
{
	uint64_t first, units;
	size_t i;

	for (i = 0; i < b->nr_segments; i++)
		if (in_segment(b, &b->segment[i], start, end, &first, &units))
			lazy_discard(l, b, b->segment[i].first + first,
				     b->segment[i].first + first + units);
}

static bool add_segment(struct lazy_block *b, uint64_t addr, uint64_t first,
			uint64_t units)
{
	if (!units)
		return true;
	if (!lazy_block_make_room(b, 1))
		return false;
	b->segment[b->nr_segments++] = (struct lazy_segment){ addr, first, units };
	return true;
}

/*
 * Cut [@start, @end) out of the segments; it goes to @to unless that is 0. What
 * cannot be remembered is given up, as if it had been unmapped.
 */
static void cut(struct mram_restore_lazy *l, struct lazy_block *b,
		uint64_t start, uint64_t end, uint64_t to)
{
	uint64_t first, units, unit, addr;
	size_t i, nr = b->nr_segments;

	for (i = 0; i < nr; i++) {
		struct lazy_segment *s = &b->segment[i], old = *s;

		if (!in_segment(b, s, start, end, &first, &units))
			continue;
		unit = old.first + first;
		addr = old.addr + (first << b->unit_shift);
		if (to && l->fds[b->fd].own && !b->shared)
			lazy_behind_add(l, &l->fds[b->fd], addr,
					addr + (units << b->unit_shift));
		s->units = first;
		if (!add_segment(b, addr + (units << b->unit_shift),
				 unit + units, old.units - first - units))
			lazy_discard(l, b, unit + units, old.first + old.units);
		if (!to || !add_segment(b, to + (addr - start), unit, units))
			lazy_discard(l, b, unit, unit + units);
	}
	lazy_block_sort(b);
}

/*
 * What was left out while the event was still to be read was moved before: it is
 * registered where it is now. Only what is registered tells of its moves, so all
 * of it that is in the range is such. Nobody has to bring anything of it, but who
 * touches it waits.
 */
static void cut_left_out(struct mram_restore_lazy *l, struct lazy_block *b,
			 uint64_t start, uint64_t end, uint64_t to)
{
	uint64_t first, units, addr;
	size_t i;

	for (i = 0; i < b->nr_left_out; i++) {
		struct lazy_segment *s = &b->left_out[i], old = *s, rest;

		if (!in_segment(b, s, start, end, &first, &units))
			continue;
		addr = old.addr + (first << b->unit_shift);
		rest = (struct lazy_segment){
			addr + (units << b->unit_shift),
			old.first + first + units, old.units - first - units,
		};
		s->units = first;
		/* Without room for both, lazy_is_left_out() knows less. */
		if (!first)
			*s = rest;
		else if (rest.units && b->nr_left_out < LAZY_MAX_LEFT_OUT)
			b->left_out[b->nr_left_out++] = rest;
		if (to && !add_segment(b, to + (addr - start),
				       old.first + first, units))
			lazy_uffd_unregister(l->fds[b->fd].fd,
					     to + (addr - start),
					     units << b->unit_shift);
	}
	lazy_block_sort(b);
}

const char *lazy_event(struct mram_restore_lazy *l, struct lazy_fd *f,
		       const struct uffd_msg *msg)
{
	uint64_t start = 0, end = 0, to = 0;
	size_t i;

	switch (msg->event) {
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		start = msg->arg.remove.start;
		end = msg->arg.remove.end;
		break;
	case UFFD_EVENT_REMAP:
		start = msg->arg.remap.from;
		end = start + msg->arg.remap.len;
		to = msg->arg.remap.to;
		break;
	case UFFD_EVENT_FORK:
		/* Its memory cannot be had twice: see the header. */
		close((int)msg->arg.fork.ufd);
		return "the process has forked: in its child, memory that is missing is zero";
	default:
		return "a userfaultfd tells of an event that is not known";
	}
	if (msg->event == UFFD_EVENT_UNMAP)
		lazy_behind_drop(l, f, start, end);
	if (to)
		lazy_behind_move(l, f, start, end, to);
	for (i = 0; i < l->nr_blocks; i++) {
		struct lazy_block *b = &l->blocks[i];

		if (&l->fds[b->fd] != f)
			continue;
		if (msg->event == UFFD_EVENT_REMOVE) {
			removed(l, b, start, end);
			continue;
		}
		cut(l, b, start, end, to);
		cut_left_out(l, b, start, end, to);
	}
	/* Who waits for what is not to come, or elsewhere, has to look again. */
	lazy_uffd_wake(f->fd, start, end - start);
	if (to)
		lazy_uffd_wake(f->fd, to, end - start);
	return NULL;
}
