// SPDX-License-Identifier: GPL-2.0
/*
 * A look at the caller's memory: which pages are zero?
 *
 * Most memory is there and mapped, and is read in place, which takes no
 * reference and brings nothing in (zero.c). The first page that cannot be read
 * so raises doubt. While there is doubt, page tables and page cache are asked
 * before memory is read (probe.c): what is absent is zero, what is there but
 * not mapped here is read in the page cache (cache.c) or faulted in, and the
 * rest is read as before. Enough pages that are there end the doubt.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "look.h"
#include "mapped_ram.h"
#include "zero.h"

/*
 * Pages to ask about first after one was absent. To ask costs some
 * instructions a page, to run into a page that is not there thousands.
 */
#define MRAM_DOUBT		512UL

/* Most pages that are faulted in, or got, at once. */
#define MRAM_FAULT_BATCH	64UL

/* Give back pages of which many may be one huge page's. */
static void mram_look_put(struct page **pages, unsigned long nr)
{
	unsigned long n;

	for (; nr; nr -= n, pages += n) {
		for (n = 1; n < nr && pages[n] == pages[n - 1] + 1; n++)
			;
		mram_page_run_put(pages[0], n);
	}
}

/* Look at pages of the page cache. Return: at how many. */
static long mram_look_cached(unsigned long addr, unsigned long nr,
			     unsigned long *zero, unsigned long first,
			     struct page **pages)
{
	unsigned long got;

	got = mram_cache_get(addr, min(nr, MRAM_FAULT_BATCH), pages);
	mram_zero_scan_pages(pages, got, zero, first);
	mram_look_put(pages, got);
	return got;
}

/* Look at pages that are not absent. Return: at how many, or an errno. */
static long mram_look_present(unsigned long addr, unsigned long nr,
			      unsigned long *zero, unsigned long first,
			      struct mram_doubt *doubt, unsigned long *batch)
{
	struct page *pages[MRAM_FAULT_BATCH];
	long got;

	if (doubt->cached) {
		got = mram_look_cached(addr, nr, zero, first, pages);
		doubt->cached -= min_t(unsigned long, doubt->cached,
				       got ? : MRAM_DOUBT);
		if (got)
			return got;
	}
	got = mram_zero_scan_user(addr, nr, zero, first);
	if (got) {
		*batch = 1;
		return got;
	}
	got = mram_look_cached(addr, nr, zero, first, pages);
	if (got) {
		doubt->cached = MRAM_DOUBT;
		return got;
	}
	/*
	 * Swapped out, mapped by others only, waiting for a userfaultfd: the
	 * next ones probably, too.
	 */
	got = mram_pages_fault(addr, min(nr, *batch), pages);
	if (got > 0) {
		*batch = min(*batch * 2, MRAM_FAULT_BATCH);
		mram_zero_scan_pages(pages, got, zero, first);
		release_pages(pages, got);
	}
	return got;
}

/*
 * Look at memory of which what came before was in the page cache and not mapped
 * here. From time to time it is read in place: it may be mapped from there on.
 * Return: at how many pages, maybe none.
 */
static long mram_look_cache(unsigned long addr, unsigned long nr,
			    unsigned long *zero, unsigned long first,
			    struct mram_doubt *doubt)
{
	long got;

	if (doubt->cached == 1) {
		got = mram_zero_scan_user(addr, nr, zero, first);
		doubt->cached = got ? 0 : MRAM_DOUBT;
		if (got)
			return got;
	}
	got = mram_cache_look(addr, nr, zero, first);
	doubt->cached -= min_t(unsigned long, doubt->cached - 1, got);
	return got;
}

/**
 * mram_look() - find out which pages are zero
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @zero: bitmap; the bits of pages that are zero or absent get set
 * @first: the bit of the first page; this and the next @nr are clear
 * @doubt: what is kept from look to look
 *
 * No reference is kept: who needs a page that is not zero gets it then, if it
 * is still there.
 *
 * Return: at how many pages, at least 1, it looked; bits behind these stay
 * clear. -EFAULT when the first one is not mapped or not readable, -EINTR.
 */
long mram_look(unsigned long addr, unsigned long nr, unsigned long *zero,
	       unsigned long first, struct mram_doubt *doubt)
{
	unsigned long pos, stop, end, batch = 1;
	bool cached = doubt->cached;
	long got;

	if (cached) {
		got = mram_look_cache(addr, nr, zero, first, doubt);
		if (got)
			return got;
	}
	if (!doubt->absent) {
		got = mram_zero_scan_user(addr, nr, zero, first);
		if (got < nr)
			doubt->absent = MRAM_DOUBT;
		if (got)
			return got;
	}

	got = mram_probe(current->mm, addr, nr, zero, first);
	if (got < 0)
		return got;
	end = first + got;
	pos = find_next_zero_bit(zero, end, first);
	if (pos > first || find_next_bit(zero, end, pos) < end)
		doubt->absent = MRAM_DOUBT;
	else
		doubt->absent -= min_t(unsigned long, doubt->absent, got);

	for (; pos < end; pos = find_next_zero_bit(zero, end, pos)) {
		stop = find_next_bit(zero, end, pos);
		while (pos < stop) {
			got = mram_look_present(addr +
						((pos - first) << PAGE_SHIFT),
						stop - pos, zero, pos, doubt,
						&batch);
			if (got < 0)
				goto stop;
			pos += got;
			cond_resched();
			/* What is in the page cache is looked at otherwise. */
			if (!cached && doubt->cached)
				goto stop;
		}
	}
	return end - first;
stop:
	bitmap_clear(zero, pos, end - pos);
	return pos > first ? pos - first : got;
}

/**
 * mram_look_ahead() - which pages are absent, asked in one walk
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @zero: bitmap; the bits of pages that are absent get set
 * @first: the bit of the first page; this and the next @nr are clear
 * @doubt: see mram_look()
 *
 * Only while there is doubt: then it is cheaper than to look at many stretches
 * one by one. What it does not tell, mram_look() will, and also why not.
 */
void mram_look_ahead(unsigned long addr, unsigned long nr, unsigned long *zero,
		     unsigned long first, struct mram_doubt *doubt)
{
	if (!doubt->absent)
		return;
	mram_probe(current->mm, addr, nr, zero, first);
	if (find_next_bit(zero, first + nr, first) < first + nr)
		doubt->absent = MRAM_DOUBT;
}

/**
 * mram_look_absent() - whether there is nothing at all
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @doubt: see mram_look()
 *
 * Much memory was never touched as a whole: then nobody needs to know of each
 * page. Asked only while there is doubt.
 *
 * Return: all pages are absent.
 */
bool mram_look_absent(unsigned long addr, unsigned long nr,
		      struct mram_doubt *doubt)
{
	if (!doubt->absent || mram_probe_run(current->mm, addr, nr) < nr)
		return false;
	doubt->absent = MRAM_DOUBT;
	return true;
}
