// SPDX-License-Identifier: GPL-2.0
/*
 * The caller's pages, one run at a time: take references to those that are in
 * memory, bring in those that hold data elsewhere, and leave alone those that
 * were never touched.
 *
 * To read pages, plain references are taken (FOLL_GET), as short-lived as one
 * I/O, and not pins: a pin would break copy-on-write sharing (of forked and of
 * KSM pages), that is, allocate memory to save it. A page that is replaced
 * while it is written to the image was read after its dirty bit was claimed,
 * and whoever changes the memory makes it dirty again.
 */
#include <linux/mm.h>
#include <linux/page_ref.h>

#include "compat.h"
#include "look.h"
#include "mapped_ram.h"

/* What to tell userspace when getting pages returned @ret. */
long mram_gup_result(long ret)
{
	if (!ret)
		return -EFAULT;
	if (ret == -ERESTARTSYS || ret == -ERESTARTNOINTR)
		return -EINTR;
	return ret;
}

/* The runs that @nr pages make. */
void mram_runs_make(struct mram_run *runs, struct page **pages,
		    unsigned long nr)
{
	unsigned long i, n;

	for (; nr; nr -= n, pages += n, runs += n) {
		for (n = 1; n < nr && pages[n] == pages[n - 1] + 1; n++)
			;
		/*
		 * Device memory of different owners must not be mixed. It
		 * comes in larger blocks than a batch, so it is at an end.
		 */
		if (unlikely(is_zone_device_page(pages[0]) ||
			     is_zone_device_page(pages[n - 1]))) {
			for (i = 0; i < n; i++)
				runs[i] = (struct mram_run){ pages[i], 1 };
		} else {
			*runs = (struct mram_run){ pages[0], n };
		}
	}
}

/**
 * mram_pages_get_present() - get pages for reading if they are in memory
 * @addr: page-aligned, in the current address space
 * @nr: how many pages
 * @runs: filled in
 * @batch: room for MRAM_BATCH pages
 *
 * Only the lockless walk, and what it does not find in the page cache: what goes
 * further would fault hugetlb pages in, even with FOLL_NOFAULT (6.1), and costs
 * more than mram_probe().
 *
 * Return: how many of the first pages, maybe 0, were there.
 */
unsigned long mram_pages_get_present(unsigned long addr, unsigned long nr,
				     struct mram_run *runs,
				     struct page **batch)
{
	unsigned long done = 0;
	long want, got;

	/* The walk must never be asked for no page at all: it would not end. */
	while (done < nr) {
		want = min_t(unsigned long, nr - done, MRAM_BATCH);
		got = get_user_pages_fast_only(addr + (done << PAGE_SHIFT),
					       want, 0, batch);
		got = max(got, 0L);
		if (got < want)
			got += mram_cache_get(addr +
					      ((done + got) << PAGE_SHIFT),
					      want - got, batch + got);
		if (!got)
			break;
		mram_runs_make(runs + done, batch, got);
		done += got;
		if (got < want)
			break;
	}
	return done;
}

/**
 * mram_pages_fault() - get pages for reading, faulting them in
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @pages: filled in
 *
 * That may wait for a userfaultfd.
 *
 * Return: how many of the first pages, at least 1, were got, or an errno.
 */
long mram_pages_fault(unsigned long addr, unsigned long nr,
		      struct page **pages)
{
	long got = get_user_pages_unlocked(addr, nr, pages,
					   MRAM_GUP_INTERRUPTIBLE);

	/* It was task work that ended the wait: go on without such ends. */
	if (got == -EINTR && MRAM_GUP_INTERRUPTIBLE &&
	    !task_sigpending(current))
		got = get_user_pages_unlocked(addr, nr, pages, 0);
	return mram_gup_result(got);
}

/**
 * mram_pages_get_other() - get pages that mram_pages_get_present() did not find
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @runs: filled in
 * @batch: room for MRAM_BATCH pages
 *
 * Return: for how many pages, at least 1, @runs was filled in. -EFAULT when
 * the first one is not mapped or not readable, -EINTR.
 */
long mram_pages_get_other(unsigned long addr, unsigned long nr,
			  struct mram_run *runs, struct page **batch)
{
	unsigned long absent = 0;
	long got;

	nr = min_t(unsigned long, nr, BITS_PER_LONG);
	got = mram_probe(current->mm, addr, nr, &absent, 0);
	if (got < 0)
		return got;
	if (absent & 1) {
		got = find_first_zero_bit(&absent, got);
		*runs = (struct mram_run){ NULL, got };
		return got;
	}
	got = mram_pages_fault(addr, find_first_bit(&absent, got), batch);
	if (got > 0)
		mram_runs_make(runs, batch, got);
	return got;
}

/* Give the references to the first @nr pages back; NULLs are passed over. */
void mram_pages_put(struct mram_run *runs, unsigned long nr)
{
	unsigned long i, n;

	for (i = 0; i < nr; i += n) {
		n = mram_run_cut(&runs[i], nr - i);
		if (runs[i].page)
			mram_page_run_put(runs[i].page, n);
	}
}

/* Make a run start at page @nr, which lies in or behind runs from @runs on. */
void mram_pages_split(struct mram_run *runs, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; )
		i += mram_run_cut(&runs[i], nr - i);
}

/**
 * mram_pages_keep() - give the references to all but some of the pages back
 * @runs: the pages, whole runs, none of them absent
 * @nr: how many pages
 * @keep: a bitmap of those to keep
 * @first: the bit of the first page
 */
void mram_pages_keep(struct mram_run *runs, unsigned long nr,
		     const unsigned long *keep, unsigned long first)
{
	unsigned long end = first + nr, next, pos, start, n;
	struct page *page;

	for (pos = first; pos < end; pos = next) {
		page = runs[pos - first].page;
		start = pos;
		next = pos + runs[pos - first].nr;
		while (pos < next) {
			n = find_next_bit(keep, next, pos) - pos;
			if (n)
				mram_page_run_put(page + (pos - start), n);
			pos += n;
			if (pos == next)
				break;
			n = find_next_zero_bit(keep, next, pos) - pos;
			runs[pos - first] = (struct mram_run){
				page + (pos - start), n };
			pos += n;
		}
	}
}

/*
 * Take references to @nr pages in a row whose folios are held already; put_
 * gives them back.
 */
void mram_page_run_get(struct page *page, unsigned long nr)
{
	struct folio *folio;
	unsigned long n;

	for (; nr; nr -= n, page += n) {
		folio = page_folio(page);
		n = min(nr, folio_nr_pages(folio) -
			    (unsigned long)folio_page_idx(folio, page));
		folio_ref_add(folio, n);
	}
}

/* Give the references to @nr pages in a row back. */
void mram_page_run_put(struct page *page, unsigned long nr)
{
	struct folio *folio;
	unsigned long n;

	if (nr == 1) {
		put_page(page);
		return;
	}
	for (; nr; nr -= n, page += n) {
		n = 1;
		if (!PageCompound(page) || is_zone_device_page(page)) {
			put_page(page);
			continue;
		}
		folio = page_folio(page);
		n = min(nr, folio_nr_pages(folio) -
			    (unsigned long)folio_page_idx(folio, page));
		folio_put_refs(folio, n);
	}
}
