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

#define MRAM_PIN_CHUNK		(PAGE_SIZE / sizeof(struct page *))

/**
 * struct mram_pins - a pin cache
 * @notifier: on the region's range
 * @mm: whose address space; kept by @notifier
 * @addr: the region's start
 * @nr: its length in kernel pages
 * @lock: guards @chunks; taken in the notifier
 * @chunks: for each run of MRAM_PIN_CHUNK pages an array of them, or NULL
 */
struct mram_pins {
	struct mmu_interval_notifier notifier;
	struct mm_struct *mm;
	unsigned long addr;
	unsigned long nr;
	spinlock_t lock;
	struct page **chunks[];
};

static void mram_page_run_get(struct page **pages, unsigned long nr)
{
	unsigned long i, n;
	struct folio *folio;

	for (i = 0; i < nr; i += n) {
		folio = page_folio(pages[i]);
		for (n = 1; i + n < nr; n++)
			if (page_folio(pages[i + n]) != folio)
				break;
		folio_ref_add(folio, n);
	}
}

/* Drop the pages of a chunk that lie in [@first, @end), region-relative. */
static void mram_pins_drop(struct mram_pins *pins, unsigned long chunk,
			   unsigned long first, unsigned long end)
{
	struct page **pages = pins->chunks[chunk];
	unsigned long i, base = chunk * MRAM_PIN_CHUNK, nr = 0;

	if (!pages)
		return;
	first = max(first, base) - base;
	end = min(end - base, MRAM_PIN_CHUNK);
	for (i = first; i < end; i++)
		nr += !!pages[i];
	atomic64_sub(nr, &pins->mm->pinned_vm);
	mram_pages_put(pages + first, end - first);
	memset(pages + first, 0, (end - first) * sizeof(*pages));
}

/*
 * The first page of the huge page that the page at @index belongs to, or the
 * @last one. All of it goes at once: references to its other parts would keep
 * it from being split, and the part that is discarded from being freed.
 */
static unsigned long mram_pins_widen(struct mram_pins *pins,
				     unsigned long index, bool last)
{
	struct page **pages = pins->chunks[index / MRAM_PIN_CHUNK];
	struct page *page = pages ? pages[index % MRAM_PIN_CHUNK] : NULL;
	unsigned long before, nr;

	if (!page)
		return index;
	nr = folio_nr_pages(page_folio(page));
	before = folio_page_idx(page_folio(page), page);
	if (last)
		return min(index + nr - before, pins->nr) - 1;
	return index - min(index, before);
}

static bool mram_pins_invalidate(struct mmu_interval_notifier *notifier,
				 const struct mmu_notifier_range *range,
				 unsigned long seq)
{
	struct mram_pins *pins = container_of(notifier, struct mram_pins,
					      notifier);
	unsigned long start = max(range->start, pins->addr);
	unsigned long last = min(range->end - 1,
				 pins->addr + (pins->nr << PAGE_SHIFT) - 1);
	unsigned long first, end, chunk;

	spin_lock(&pins->lock);
	mmu_interval_set_seq(notifier, seq);
	spin_unlock(&pins->lock);

	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;
	default:
		break;
	}

	/* Whoever got pages before now sees that and does not insert them. */
	spin_lock(&pins->lock);
	first = mram_pins_widen(pins, (start - pins->addr) >> PAGE_SHIFT,
				false);
	end = mram_pins_widen(pins, (last - pins->addr) >> PAGE_SHIFT, true) + 1;
	spin_unlock(&pins->lock);
	for (chunk = first / MRAM_PIN_CHUNK; chunk * MRAM_PIN_CHUNK < end;
	     chunk++) {
		if (mmu_notifier_range_blockable(range))
			cond_resched();
		if (!READ_ONCE(pins->chunks[chunk]))
			continue;
		spin_lock(&pins->lock);
		mram_pins_drop(pins, chunk, first, end);
		spin_unlock(&pins->lock);
	}
	return true;
}

static const struct mmu_interval_notifier_ops mram_pins_ops = {
	.invalidate = mram_pins_invalidate,
};

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
	size_t size = struct_size_t(struct mram_pins, chunks,
				    DIV_ROUND_UP(nr, MRAM_PIN_CHUNK));
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
	pins->addr = addr;
	pins->nr = nr;
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
	unsigned long chunk;

	/* The mm must outlive the notifier, whose reference goes first. */
	mmgrab(pins->mm);
	mmu_interval_notifier_remove(&pins->notifier);
	for (chunk = 0; chunk * MRAM_PIN_CHUNK < pins->nr; chunk++) {
		cond_resched();
		if (!pins->chunks[chunk])
			continue;
		mram_pins_drop(pins, chunk, 0, pins->nr);
		free_page((unsigned long)pins->chunks[chunk]);
	}
	mmdrop(pins->mm);
	kvfree(pins);
}

/* Have @nr more pages counted as pinned, if the limit allows it. */
static bool mram_pins_charge(struct mram_pins *pins, unsigned long nr,
			     unsigned long limit)
{
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

/*
 * Keep pages that were just got, all of one chunk. No memory may be reclaimed
 * for it: I/Os are in flight.
 */
static void mram_pins_insert(struct mram_pins *pins, unsigned long seq,
			     unsigned long index, unsigned long nr,
			     struct page **pages)
{
	unsigned long limit = capable(CAP_IPC_LOCK) ? LONG_MAX :
			      rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	unsigned long chunk = index / MRAM_PIN_CHUNK, i;
	struct page **slots, **new = NULL;

	if (!READ_ONCE(pins->chunks[chunk]))
		new = (struct page **)__get_free_page(GFP_NOWAIT |
						      __GFP_NOWARN |
						      __GFP_ACCOUNT |
						      __GFP_ZERO);
	spin_lock(&pins->lock);
	if (!pins->chunks[chunk]) {
		pins->chunks[chunk] = new;
		new = NULL;
	}
	slots = pins->chunks[chunk];
	if (slots && !mmu_interval_read_retry(&pins->notifier, seq)) {
		slots += index % MRAM_PIN_CHUNK;
		for (i = 0; i < nr; i++) {
			/* Another pass may have been here. */
			if (slots[i] || !mram_page_may_stay(pages[i]))
				continue;
			if (!mram_pins_charge(pins, 1, limit))
				break;
			slots[i] = pages[i];
			mram_page_run_get(&pages[i], 1);
		}
	}
	spin_unlock(&pins->lock);
	free_page((unsigned long)new);
}

/* Get pages that are kept. */
static unsigned long mram_pins_find(struct mram_pins *pins,
				    unsigned long index, unsigned long nr,
				    struct page **pages)
{
	struct page **slots;
	unsigned long n = 0;

	spin_lock(&pins->lock);
	slots = pins->chunks[index / MRAM_PIN_CHUNK];
	if (slots) {
		slots += index % MRAM_PIN_CHUNK;
		while (n < nr && slots[n])
			n++;
		memcpy(pages, slots, n * sizeof(*pages));
		mram_page_run_get(pages, n);
	}
	spin_unlock(&pins->lock);
	return n;
}

/**
 * mram_pins_get() - get pages for reading through the cache
 * @pins: the cache
 * @addr: page-aligned, in the region
 * @nr: how many pages, not 0
 * @pages: filled in
 *
 * Return: how many of the first pages, maybe 0, are in memory; each with a
 * reference for the caller.
 */
unsigned long mram_pins_get(struct mram_pins *pins, unsigned long addr,
			    unsigned long nr, struct page **pages)
{
	unsigned long index = (addr - pins->addr) >> PAGE_SHIFT;
	unsigned long n, seq;

	nr = min(nr, MRAM_PIN_CHUNK - index % MRAM_PIN_CHUNK);
	n = mram_pins_find(pins, index, nr, pages);
	if (n)
		return n;
	seq = mmu_interval_read_begin(&pins->notifier);
	n = mram_pages_get_present(addr, nr, pages);
	if (n)
		mram_pins_insert(pins, seq, index, n, pages);
	return n;
}
