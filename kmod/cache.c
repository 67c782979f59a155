// SPDX-License-Identifier: GPL-2.0
/*
 * Shared memory that is not mapped here, as another process' is at first: its
 * pages are taken from the page cache of the file. To fault a page in, and to
 * unmap it in the end, costs many times what there is to do with it.
 *
 * What a fault would refuse, or would do more for than to map a page of the
 * cache, is left to it: swap, holes, pages that are not filled yet, poison,
 * userfaultfd, protection keys, what lies behind the end of the file. Not seen is
 * what UFFDIO_POISON left in the page tables when its userfaultfd is closed.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/userfaultfd_k.h>
#include <asm/mmu_context.h>

#include "compat.h"
#include "look.h"
#include "mapped_ram.h"
#include "zero.h"
#include "zero_page.h"

static bool mram_cache_may(struct vm_area_struct *vma)
{
	const vm_flags_t want = VM_READ | VM_MAYSHARE;

	if ((vma->vm_flags & (want | VM_IO | VM_PFNMAP | VM_MIXEDMAP)) != want)
		return false;
	return vma->vm_file && !is_vm_hugetlb_page(vma) &&
	       mram_is_memory_file(vma) && !userfaultfd_armed(vma) &&
	       arch_vma_access_permitted(vma, false, false, false);
}

static bool mram_cache_good(struct folio *folio)
{
	return folio_test_uptodate(folio) && !folio_test_hwpoison(folio) &&
	       !(folio_test_large(folio) && folio_test_has_hwpoisoned(folio));
}

/*
 * The pages of a folio from @index on, at most @nr. The caller's reference to the
 * folio becomes theirs. Return: how many, maybe none.
 */
static unsigned long mram_cache_add(struct folio *folio, pgoff_t index,
				    unsigned long nr, struct page **pages)
{
	unsigned long skip = index - folio->index, i;

	/* Behind a hole, @skip wraps. */
	if (skip >= folio_nr_pages(folio)) {
		folio_put(folio);
		return 0;
	}
	nr = min(nr, folio_nr_pages(folio) - skip);
	folio_ref_add(folio, nr - 1);
	for (i = 0; i < nr; i++)
		pages[i] = folio_page(folio, skip + i);
	return nr;
}

/*
 * What the page cache has of a range of the caller's memory.
 * @mapping: of the file
 * @index: of the first page in it
 * @nr: how many pages
 */
struct mram_cached {
	struct address_space *mapping;
	pgoff_t index;
	unsigned long nr;
};

/* Find where the page at @addr is, and at most @nr. The caller has mmap_lock. */
static bool mram_cache_find(struct mram_cached *c, unsigned long addr,
			    unsigned long nr)
{
	struct vm_area_struct *vma = find_vma(current->mm, addr);
	pgoff_t end;

	if (!vma || vma->vm_start > addr || !mram_cache_may(vma))
		return false;
	c->mapping = vma->vm_file->f_mapping;
	c->index = linear_page_index(vma, addr);
	end = DIV_ROUND_UP(i_size_read(c->mapping->host), PAGE_SIZE);
	if (c->index >= end)
		return false;
	c->nr = min3(nr, (vma->vm_end - addr) >> PAGE_SHIFT, end - c->index);
	return true;
}

/* Pages of @mapping from @index on, up to one that cannot be had so. */
static unsigned long mram_cache_walk(struct address_space *mapping,
				     pgoff_t index, unsigned long nr,
				     struct page **pages)
{
	XA_STATE(xas, &mapping->i_pages, index);
	unsigned long done = 0, n;
	struct folio *folio;

	rcu_read_lock();
	xas_for_each(&xas, folio, index + nr - 1) {
		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio) || !folio_try_get(folio))
			break;
		/* It may have left its place before the reference was taken. */
		if (folio != xas_reload(&xas) || !mram_cache_good(folio)) {
			folio_put(folio);
			break;
		}
		if (!folio_test_large(folio) && folio->index == index + done) {
			pages[done++] = folio_page(folio, 0);
		} else {
			n = mram_cache_add(folio, index + done, nr - done,
					   pages + done);
			if (!n)
				break;
			done += n;
		}
		if (done == nr)
			break;
	}
	rcu_read_unlock();
	return done;
}

/**
 * mram_cache_get() - get pages for reading from the page cache
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @pages: filled in
 *
 * Return: how many of the first pages, maybe 0, were got.
 */
unsigned long mram_cache_get(unsigned long addr, unsigned long nr,
			     struct page **pages)
{
	struct mm_struct *mm = current->mm;
	unsigned long got = 0;
	struct mram_cached c;

	if (mmap_read_lock_killable(mm))
		return 0;
	if (mram_cache_find(&c, addr, nr))
		got = mram_cache_walk(c.mapping, c.index, c.nr, pages);
	mmap_read_unlock(mm);
	return got;
}

/*
 * Pages that are tested at once: the cache is locked meanwhile, with interrupts
 * off. And pages that are read as a whole afterwards.
 */
#define MRAM_CACHE_TEST		128UL
#define MRAM_CACHE_MAYBE	64UL

/*
 * Pages that may be zero, with a reference each.
 * @at: where, counted from the first one that was tested
 */
struct mram_maybe {
	unsigned int nr;
	u8 at[MRAM_CACHE_MAYBE];
	struct page *pages[MRAM_CACHE_MAYBE];
};

/* Test @nr pages from @page on, which is number @at. Return: how many, if all. */
static unsigned long mram_cache_test(struct mram_maybe *maybe,
				     struct page *page, unsigned long nr,
				     unsigned long at)
{
	unsigned long i;

	for (i = 0; i < nr; i++, page++) {
		if (mram_maybe_zero(page_address(page)) == MRAM_NOT_ZERO)
			continue;
		if (maybe->nr == MRAM_CACHE_MAYBE ||
		    !folio_try_get(page_folio(page)))
			break;
		maybe->at[maybe->nr] = at + i;
		maybe->pages[maybe->nr++] = page;
	}
	return i;
}

/*
 * Nearly all pages show with their first word that they are not zero. While the
 * cache is locked they stay in it, so that takes no reference. Holes are zero.
 *
 * Return: how many pages, up to one that cannot be looked at so.
 */
static unsigned long mram_cache_tests(const struct mram_cached *c,
				      struct mram_maybe *maybe,
				      unsigned long *zero, unsigned long first)
{
	XA_STATE(xas, &c->mapping->i_pages, c->index);
	unsigned long done = 0, skip, n, tested;
	bool whole = true;
	struct folio *folio;

	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, c->index + c->nr - 1) {
		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio) || !mram_cache_good(folio)) {
			/* What lies before it is a hole. */
			n = xas.xa_index - c->index;
			whole = false;
			if (n > done) {
				bitmap_set(zero, first + done, n - done);
				done = n;
			}
			break;
		}
		if (folio->index > c->index + done) {
			n = folio->index - c->index;
			bitmap_set(zero, first + done, n - done);
			done = n;
		}
		skip = c->index + done - folio->index;
		n = min(folio_nr_pages(folio) - skip, c->nr - done);
		tested = mram_cache_test(maybe, folio_page(folio, skip), n,
					 done);
		done += tested;
		if (tested < n) {
			whole = false;
			break;
		}
		if (done == c->nr)
			break;
	}
	xas_unlock_irq(&xas);
	if (whole && done < c->nr) {
		bitmap_set(zero, first + done, c->nr - done);
		done = c->nr;
	}
	return done;
}

/**
 * mram_cache_look() - find zero pages in the page cache
 * @addr: page-aligned, in the current address space
 * @nr: how many pages, not 0
 * @zero: bitmap; the bits of pages that are zero or absent get set
 * @first: the bit of the first page
 *
 * Return: at how many of the first pages, maybe 0, it looked.
 */
unsigned long mram_cache_look(unsigned long addr, unsigned long nr,
			      unsigned long *zero, unsigned long first)
{
	struct mram_maybe maybe = { .nr = 0 };
	struct mm_struct *mm = current->mm;
	unsigned long got = 0, found = 0;
	struct mram_cached c;
	unsigned int i;

	if (mmap_read_lock_killable(mm))
		return 0;
	if (mram_cache_find(&c, addr, min(nr, MRAM_CACHE_TEST)))
		got = mram_cache_tests(&c, &maybe, zero, first);
	mmap_read_unlock(mm);
	if (!maybe.nr)
		return got;
	mram_zero_scan_pages(maybe.pages, maybe.nr, &found, 0);
	for (i = 0; i < maybe.nr; i++) {
		if (test_bit(i, &found))
			__set_bit(first + maybe.at[i], zero);
		put_page(maybe.pages[i]);
	}
	return got;
}
