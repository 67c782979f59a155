/* SPDX-License-Identifier: GPL-2.0 */
/* References and pins to pages one after the other, and runs of pages of them. */
#ifndef MRAM_TAKE_H
#define MRAM_TAKE_H

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/page_ref.h>

#include "compat.h"
#include "mapped_ram.h"

/**
 * struct mram_take - which pages to take
 * @mm: of the caller
 * @addr: of page 0
 * @need: bitmap of them, NULL for all
 * @runs: where they go
 * @last: the run that grows
 * @next: the page behind it
 * @pin: pins, for writing; else references, for reading
 * @pinned: pages that were pinned and not yet counted
 * @node: where these are
 */
struct mram_take {
	struct mm_struct *mm;
	unsigned long addr;
	const unsigned long *need;
	struct mram_run *runs;
	struct mram_run *last;
	unsigned long next;
	bool pin;
	unsigned long pinned;
	int node;
};

/* The first needed page from @page on, or @stop. */
static __always_inline unsigned long
mram_take_next(const struct mram_take *take, unsigned long page,
	       unsigned long stop)
{
	if (!take->need || page >= stop || test_bit(page, take->need))
		return min(page, stop);
	return find_next_bit(take->need, stop, page);
}

static inline void mram_take_add(struct mram_take *take, unsigned long index,
				 struct page *page, unsigned long nr)
{
	struct mram_run *last = take->last;

	if (index == take->next && page == last->page + last->nr) {
		last->nr += nr;
	} else {
		take->last = &take->runs[index];
		*take->last = (struct mram_run){ page, nr };
	}
	take->next = index + nr;
}

/* The kernel counts pins for /proc/vmstat; unpinning does the other half. */
static inline void mram_take_count(struct mram_take *take)
{
	if (take->pinned)
		mod_node_page_state(NODE_DATA(take->node), NR_FOLL_PIN_ACQUIRED,
				    take->pinned);
	take->pinned = 0;
}

/*
 * What try_grab_folio() of mm/gup.c does for FOLL_PIN; and the page was used, as
 * its lockless walk says.
 */
static __always_inline void mram_take_pin(struct mram_take *take,
					  struct folio *folio,
					  unsigned long nr)
{
	int node = folio_nid(folio);

	if (folio_test_large(folio)) {
		folio_ref_add(folio, nr);
		atomic_add(nr, mram_folio_pincount(folio));
	} else {
		folio_ref_add(folio, nr * GUP_PIN_COUNTING_BIAS);
	}
	if (unlikely(node != take->node))
		mram_take_count(take);
	take->node = node;
	take->pinned += nr;
	if (!folio_test_referenced(folio))
		folio_set_referenced(folio);
}

/* @nr references or pins to a mapped page's folio. False: not so simple. */
static __always_inline bool mram_take_ref(struct mram_take *take,
					  struct page *page, unsigned long nr)
{
	struct folio *folio = page_folio(page);

	if (unlikely(is_zone_device_page(page) || folio_ref_count(folio) <= 0))
		return false;
	if (take->pin)
		mram_take_pin(take, folio, nr);
	else
		folio_ref_add(folio, nr);
	return true;
}

#endif /* MRAM_TAKE_H */
