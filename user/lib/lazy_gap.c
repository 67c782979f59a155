// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Large ranges that the image does not hold are let go of: they are zero by
 * themselves, cost nobody a fault then, and may have huge pages.
 *
 * That is for later: a machine need not wait until they are found, which takes
 * longer the more memory it has, and taken out of the userfaultfd. Whoever
 * touches them before gets zero pages as everywhere else.
 */
#include "bitmap.h"
#include "lazy.h"

/*
 * A huge page does no harm if it reaches beyond. Return the units of the next
 * such range from unit *@at on, and its first one; 0 when there is none.
 */
static uint64_t next_gap(const struct lazy_block *b, uint64_t *at,
			 uint64_t *unit)
{
	uint64_t first, end, start, stop;

	while (*at < b->units) {
		first = bitmap_next(b->present, *at, b->units, 0);
		end = bitmap_next(b->present, first, b->units, 1);
		*at = end;
		start = b->addr + (first << b->unit_shift);
		stop = b->addr + (end << b->unit_shift);
		if (first)
			start = (start + LAZY_GAP - 1) & ~(LAZY_GAP - 1);
		if (end < b->units)
			stop &= ~(LAZY_GAP - 1);
		*unit = (start - b->addr) >> b->unit_shift;
		if (stop > start && (stop - start >= LAZY_GAP ||
				     stop - start == b->length))
			return (stop - start) >> b->unit_shift;
	}
	return 0;
}

struct gap {
	uint64_t first;
	uint64_t units;
};

/*
 * Each one is a system call of some 28000 instructions, in which nothing can be
 * placed, and one more mapping: only the @most largest ones. Return how many.
 */
static size_t choose_gaps(const struct lazy_block *b, struct gap *gaps,
			  size_t most)
{
	uint64_t at = 0, first, units;
	size_t nr = 0, least, i;

	while ((units = next_gap(b, &at, &first))) {
		for (least = 0, i = 1; i < nr; i++)
			if (gaps[i].units < gaps[least].units)
				least = i;
		if (nr < most)
			gaps[nr++] = (struct gap){ first, units };
		else if (gaps[least].units < units)
			gaps[least] = (struct gap){ first, units };
	}
	return nr;
}

/*
 * What cannot be left out is only more work: for one, what the machine has
 * unmapped or moved apart meanwhile. If that was just now, it may be that less
 * of it is found there, or something else: the event puts that right.
 */
static void leave_out(struct mram_restore_lazy *l, struct lazy_block *b,
		      const struct gap *g)
{
	uint64_t addr, units;

	pthread_rwlock_wrlock(&l->place);
	addr = lazy_block_where(b, g->first, &units);
	if (addr && units >= g->units &&
	    b->nr_left_out < LAZY_MAX_LEFT_OUT && lazy_block_make_room(b, 1) &&
	    !lazy_uffd_unregister(l->fds[b->fd].fd, addr,
				  g->units << b->unit_shift)) {
		b->left_out[b->nr_left_out++] =
			(struct lazy_segment){ addr, g->first, g->units };
		lazy_block_cut(b, g->first, g->first + g->units);
	}
	pthread_rwlock_unlock(&l->place);
}

void lazy_leave_out(struct mram_restore_lazy *l)
{
	struct gap gaps[LAZY_MAX_PARTS + 1];
	size_t nr, i, k;

	for (i = 0; i < l->nr_blocks; i++) {
		nr = choose_gaps(&l->blocks[i], gaps,
				 LAZY_MAX_PARTS / l->nr_blocks + 1);
		for (k = 0; k < nr; k++)
			leave_out(l, &l->blocks[i], &gaps[k]);
	}
}

bool lazy_is_left_out(const struct mram_restore_lazy *l,
		      const struct lazy_fd *f, uint64_t addr)
{
	size_t i, k;

	for (i = 0; i < l->nr_blocks; i++) {
		const struct lazy_block *b = &l->blocks[i];

		if (&l->fds[b->fd] != f)
			continue;
		for (k = 0; k < b->nr_left_out; k++)
			if (addr >= b->left_out[k].addr &&
			    (addr - b->left_out[k].addr) >> b->unit_shift <
			    b->left_out[k].units)
				return true;
	}
	return false;
}
