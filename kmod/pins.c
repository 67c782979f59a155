// SPDX-License-Identifier: GPL-2.0
/*
 * The pin cache of a region with MAPPED_RAM_REGION_PIN: references to the
 * pages that passes met, kept until the memory changes under them.
 *
 * An MMU notifier drops the reference to a page before it is unmapped,
 * discarded or replaced by a copy, so the cache never holds a stale page, and
 * discarded memory is freed. What is kept is not swapped out, compacted or
 * collapsed to huge pages, and counts as pinned (VmPin, RLIMIT_MEMLOCK).
 *
 * A change of protection alone, as write tracking and fork cause, replaces no
 * page; the write that then breaks the sharing does, and is notified on its
 * own.
 *
 * Only pages that are in memory get in. The cache is an optimisation: when
 * there is no memory for it or the limit is reached, pages are just not kept.
 */
#include <linux/capability.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "mapped_ram.h"

/* A block is this much of the address space, aligned: that of a huge page. */
#define MRAM_BLOCK_PAGES	((unsigned long)MRAM_BATCH)

/**
 * struct mram_pin_block - the pages that are kept of a block
 * @row: the first of its pages where all are kept, in a row; else NULL
 * @pages: where not all are kept, or not in a row: those that are. Or NULL.
 */
struct mram_pin_block {
	struct page *row;
	struct page **pages;
};

/**
 * struct mram_pins - a pin cache
 * @notifier: on the region's range
 * @mm: whose address space; kept by @notifier
 * @start: the region's first page, as a number in the address space
 * @end: the page behind its last one
 * @lock: guards @blocks; taken in the notifier
 * @blocks: those that the region lies in
 */
struct mram_pins {
	struct mmu_interval_notifier notifier;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	spinlock_t lock;
	struct mram_pin_block blocks[];
};

static struct mram_pin_block *mram_pins_block(struct mram_pins *pins,
					      unsigned long index)
{
	return &pins->blocks[index / MRAM_BLOCK_PAGES -
			     pins->start / MRAM_BLOCK_PAGES];
}

/* The kept page at @index, or NULL. */
static struct page *mram_pins_page(struct mram_pins *pins, unsigned long index)
{
	struct mram_pin_block *block = mram_pins_block(pins, index);

	if (block->row)
		return block->row + index % MRAM_BLOCK_PAGES;
	return block->pages ? block->pages[index % MRAM_BLOCK_PAGES] : NULL;
}

/* Drop the pages of the block at @index that lie in [@first, @end). */
static void mram_pins_drop(struct mram_pins *pins, unsigned long index,
			   unsigned long first, unsigned long end)
{
	struct mram_pin_block *block = mram_pins_block(pins, index);
	unsigned long i, base = round_down(index, MRAM_BLOCK_PAGES), nr = 0;

	if (block->row) {
		/* A part of a huge page: see mram_pins_widen(). */
		mram_page_run_put(block->row, MRAM_BLOCK_PAGES);
		block->row = NULL;
		nr = MRAM_BLOCK_PAGES;
	} else if (block->pages) {
		end = min(end - base, MRAM_BLOCK_PAGES);
		for (i = max(first, base) - base; i < end; i++) {
			if (!block->pages[i])
				continue;
			put_page(block->pages[i]);
			block->pages[i] = NULL;
			nr++;
		}
	}
	atomic64_sub(nr, &pins->mm->pinned_vm);
}

/*
 * The first page of the huge page that the page at @index belongs to, or the
 * @last one. All of it goes at once: references to its other parts would keep
 * it from being split, and the part that is discarded from being freed.
 */
static unsigned long mram_pins_widen(struct mram_pins *pins,
				     unsigned long index, bool last)
{
	struct page *page = mram_pins_page(pins, index);
	unsigned long before, nr;

	if (!page)
		return index;
	nr = folio_nr_pages(page_folio(page));
	before = folio_page_idx(page_folio(page), page);
	if (last)
		return min(index + nr - before, pins->end) - 1;
	return max(index - min(index, before), pins->start);
}

static bool mram_pins_invalidate(struct mmu_interval_notifier *notifier,
				 const struct mmu_notifier_range *range,
				 unsigned long seq)
{
	struct mram_pins *pins = container_of(notifier, struct mram_pins,
					      notifier);
	unsigned long first = max(range->start >> PAGE_SHIFT, pins->start);
	unsigned long last = min((range->end - 1) >> PAGE_SHIFT, pins->end - 1);
	unsigned long index;

	/* Whoever got pages before now sees that and does not insert them. */
	spin_lock(&pins->lock);
	mmu_interval_set_seq(notifier, seq);
	first = mram_pins_widen(pins, first, false);
	last = mram_pins_widen(pins, last, true);
	spin_unlock(&pins->lock);

	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;
	default:
		break;
	}

	for (index = first; index <= last;
	     index = round_down(index, MRAM_BLOCK_PAGES) + MRAM_BLOCK_PAGES) {
		struct mram_pin_block *block = mram_pins_block(pins, index);

		if (mmu_notifier_range_blockable(range))
			cond_resched();
		if (!READ_ONCE(block->row) && !READ_ONCE(block->pages))
			continue;
		spin_lock(&pins->lock);
		mram_pins_drop(pins, index, first, last + 1);
		spin_unlock(&pins->lock);
	}
	return true;
}

static const struct mmu_interval_notifier_ops mram_pins_ops = {
	.invalidate = mram_pins_invalidate,
};

/* How many blocks a region lies in. */
static unsigned long mram_pins_nr_blocks(unsigned long start,
					 unsigned long end)
{
	return (end - 1) / MRAM_BLOCK_PAGES - start / MRAM_BLOCK_PAGES + 1;
}

/**
 * mram_pins_new() - make a pin cache
 * @mm: the address space
 * @addr: the region's start
 * @nr: its length in kernel pages
 *
 * Return: an empty cache, or an ERR_PTR.
 */
struct mram_pins *mram_pins_new(struct mm_struct *mm, unsigned long addr,
				unsigned long nr)
{
	unsigned long start = addr >> PAGE_SHIFT;
	size_t size = struct_size_t(struct mram_pins, blocks,
				    mram_pins_nr_blocks(start, start + nr));
	struct mram_pins *pins;
	int ret;

	/* More than that kvzalloc() takes for a mistake. */
	if (size > INT_MAX)
		return ERR_PTR(-ENOMEM);
	pins = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!pins)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&pins->lock);
	pins->mm = mm;
	pins->start = start;
	pins->end = start + nr;
	ret = mmu_interval_notifier_insert(&pins->notifier, mm, addr,
					   nr << PAGE_SHIFT, &mram_pins_ops);
	if (ret) {
		kvfree(pins);
		return ERR_PTR(ret);
	}
	return pins;
}

void mram_pins_free(struct mram_pins *pins)
{
	unsigned long i, nr = mram_pins_nr_blocks(pins->start, pins->end);

	/* The mm must outlive the notifier, whose reference goes first. */
	mmgrab(pins->mm);
	mmu_interval_notifier_remove(&pins->notifier);
	for (i = 0; i < nr; i++) {
		cond_resched();
		mram_pins_drop(pins, pins->start + i * MRAM_BLOCK_PAGES, 0,
			       ULONG_MAX);
		free_page((unsigned long)pins->blocks[i].pages);
	}
	mmdrop(pins->mm);
	kvfree(pins);
}

/* Have @nr more pages counted as pinned, if the limit allows it. */
static bool mram_pins_charge(struct mram_pins *pins, unsigned long nr)
{
	unsigned long limit = capable(CAP_IPC_LOCK) ? LONG_MAX :
			      rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (atomic64_add_return(nr, &pins->mm->pinned_vm) <= limit)
		return true;
	atomic64_sub(nr, &pins->mm->pinned_vm);
	return false;
}

/* Device memory is not ours to keep; the rest only if it has room for it. */
static bool mram_page_may_stay(struct page *page)
{
	int refs = folio_ref_count(page_folio(page));

	return !is_zone_device_page(page) && refs > 0 && refs < INT_MAX / 2;
}

/* Whether pages of a whole block are in a row, and may be kept. */
static bool mram_pins_is_row(struct page **pages)
{
	unsigned long i;

	for (i = 1; i < MRAM_BLOCK_PAGES; i++)
		if (pages[i] != pages[0] + i)
			return false;
	return mram_page_may_stay(pages[0]) &&
	       mram_page_may_stay(pages[MRAM_BLOCK_PAGES - 1]);
}

/* Keep a row of pages that makes up a block. */
static void mram_pins_insert_row(struct mram_pins *pins, unsigned long seq,
				 unsigned long index, struct page *row)
{
	struct mram_pin_block *block = mram_pins_block(pins, index);

	spin_lock(&pins->lock);
	/* Another pass may have been here. */
	if (!block->row && !block->pages &&
	    !mmu_interval_read_retry(&pins->notifier, seq) &&
	    mram_pins_charge(pins, MRAM_BLOCK_PAGES)) {
		block->row = row;
		mram_page_run_get(row, MRAM_BLOCK_PAGES);
	}
	spin_unlock(&pins->lock);
}

/*
 * Keep pages that were just got, all of one block. No memory may be reclaimed
 * for it: I/Os are in flight.
 */
static void mram_pins_insert(struct mram_pins *pins, unsigned long seq,
			     unsigned long index, unsigned long nr,
			     struct page **pages)
{
	struct mram_pin_block *block = mram_pins_block(pins, index);
	struct page **slots, **new = NULL;
	unsigned long i;

	if (!READ_ONCE(block->pages))
		new = (struct page **)__get_free_page(GFP_NOWAIT |
						      __GFP_NOWARN |
						      __GFP_ACCOUNT |
						      __GFP_ZERO);
	spin_lock(&pins->lock);
	if (!block->pages) {
		block->pages = new;
		new = NULL;
	}
	if (block->pages && !block->row &&
	    !mmu_interval_read_retry(&pins->notifier, seq)) {
		slots = block->pages + index % MRAM_BLOCK_PAGES;
		for (i = 0; i < nr; i++) {
			/* Another pass may have been here. */
			if (slots[i] || !mram_page_may_stay(pages[i]))
				continue;
			if (!mram_pins_charge(pins, 1))
				break;
			slots[i] = pages[i];
			get_page(pages[i]);
		}
	}
	spin_unlock(&pins->lock);
	free_page((unsigned long)new);
}

/* Get pages of a block that are kept. */
static unsigned long mram_pins_find(struct mram_pins *pins,
				    unsigned long index, unsigned long nr,
				    struct mram_run *runs)
{
	struct mram_pin_block *block = mram_pins_block(pins, index);
	struct page **pages;
	unsigned long i, n = 0;

	spin_lock(&pins->lock);
	if (block->row) {
		n = nr;
		*runs = (struct mram_run){
			block->row + index % MRAM_BLOCK_PAGES, nr };
	} else if (block->pages) {
		pages = block->pages + index % MRAM_BLOCK_PAGES;
		while (n < nr && pages[n])
			n++;
		mram_runs_make(runs, pages, n);
	}
	for (i = 0; i < n; i += runs[i].nr)
		mram_page_run_get(runs[i].page, runs[i].nr);
	spin_unlock(&pins->lock);
	return n;
}

/*
 * Get pages of a block that are not kept, and keep them. The first time that
 * it is met, all of it is looked at, to keep it as a row if it is one.
 */
static unsigned long mram_pins_add(struct mram_pins *pins, unsigned long index,
				   unsigned long nr, struct mram_run *runs,
				   struct page **batch)
{
	struct mram_pin_block *block = mram_pins_block(pins, index);
	unsigned long base = round_down(index, MRAM_BLOCK_PAGES);
	unsigned long seq = mmu_interval_read_begin(&pins->notifier);
	int got;

	if (!READ_ONCE(block->pages) && base >= pins->start &&
	    base + MRAM_BLOCK_PAGES <= pins->end) {
		got = get_user_pages_fast_only(base << PAGE_SHIFT,
					       MRAM_BLOCK_PAGES, 0, batch);
		if (got == MRAM_BLOCK_PAGES && mram_pins_is_row(batch)) {
			mram_pins_insert_row(pins, seq, base, batch[0]);
			mram_page_run_get(batch[index - base], nr);
			mram_page_run_put(batch[0], MRAM_BLOCK_PAGES);
			*runs = (struct mram_run){ batch[index - base], nr };
			return nr;
		}
		if (got > 0)
			release_pages(batch, got);
	}
	got = get_user_pages_fast_only(index << PAGE_SHIFT, nr, 0, batch);
	if (got <= 0)
		return 0;
	mram_pins_insert(pins, seq, index, got, batch);
	mram_runs_make(runs, batch, got);
	return got;
}

/**
 * mram_pins_get() - get pages for reading through the cache
 * @pins: the cache
 * @addr: page-aligned, in the region
 * @nr: how many pages, not 0
 * @runs: filled in
 * @batch: room for MRAM_BATCH pages
 *
 * Return: how many of the first pages, maybe 0, are in memory; each with a
 * reference for the caller.
 */
unsigned long mram_pins_get(struct mram_pins *pins, unsigned long addr,
			    unsigned long nr, struct mram_run *runs,
			    struct page **batch)
{
	unsigned long index = addr >> PAGE_SHIFT, n;

	nr = min(nr, MRAM_BLOCK_PAGES - index % MRAM_BLOCK_PAGES);
	n = mram_pins_find(pins, index, nr, runs);
	return n ? n : mram_pins_add(pins, index, nr, runs, batch);
}
