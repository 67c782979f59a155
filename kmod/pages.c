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
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "compat.h"
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

/**
 * mram_pages_get_present() - get pages for reading if they are in memory
 * @addr: page-aligned, in the current address space
 * @nr: how many pages
 * @pages: filled in
 *
 * Only the lockless walk: what goes further would fault hugetlb pages in, even
 * with FOLL_NOFAULT (6.1), and costs more than mram_probe().
 *
 * Return: how many of the first pages, maybe 0, were there.
 */
unsigned long mram_pages_get_present(unsigned long addr, unsigned long nr,
				     struct page **pages)
{
	return max(get_user_pages_fast_only(addr, nr, 0, pages), 0);
}

/* Get pages for reading, faulting them in; that may wait for a userfaultfd. */
static long mram_pages_fault(unsigned long addr, unsigned long nr,
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
 * mram_pages_get() - get pages for reading
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @pages: filled in; NULL stands for a page that is absent and reads as zero
 *
 * Return: for how many pages, at least 1, @pages was filled in. -EFAULT when
 * the first one is not mapped or not readable, -EINTR.
 */
long mram_pages_get(unsigned long addr, unsigned long nr, struct page **pages)
{
	bool absent;
	long got;

	/* The usual case: all there. */
	got = mram_pages_get_present(addr, nr, pages);
	if (got)
		return got;

	got = mram_probe(current->mm, addr, nr, &absent);
	if (got < 0)
		return got;
	if (absent) {
		memset(pages, 0, got * sizeof(*pages));
		return got;
	}
	return mram_pages_fault(addr, got, pages);
}

/* Give references back; NULLs are passed over. */
void mram_pages_put(struct page **pages, unsigned long nr)
{
	unsigned long i, n;
	struct folio *folio;

	for (i = 0; i < nr; i += n) {
		n = 1;
		if (!pages[i])
			continue;
		if (is_zone_device_page(pages[i])) {
			put_page(pages[i]);
			continue;
		}
		/* One atomic operation for what lies in one folio. */
		folio = page_folio(pages[i]);
		while (i + n < nr && pages[i + n] &&
		       page_folio(pages[i + n]) == folio)
			n++;
		folio_put_refs(folio, n);
	}
}

/* Give the references to @nr pages in a row back. */
void mram_page_run_put(struct page *page, unsigned long nr)
{
	struct folio *folio;
	unsigned long n;

	for (; nr; nr -= n, page += n) {
		n = 1;
		if (is_zone_device_page(page)) {
			put_page(page);
			continue;
		}
		folio = page_folio(page);
		n = min(nr, folio_nr_pages(folio) -
			    (unsigned long)folio_page_idx(folio, page));
		folio_put_refs(folio, n);
	}
}

/* Whether a page holds nothing but zeroes now. */
bool mram_page_is_zero(struct page *page)
{
	void *addr;
	bool zero;

	if (is_zero_pfn(page_to_pfn(page)))
		return true;
	addr = kmap_local_page(page);
	zero = !memchr_inv(addr, 0, PAGE_SIZE);
	kunmap_local(addr);
	return zero;
}
