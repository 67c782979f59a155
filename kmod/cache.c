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
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/userfaultfd_k.h>
#include <asm/mmu_context.h>

#include "compat.h"
#include "look.h"
#include "mapped_ram.h"

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
	struct address_space *mapping;
	struct vm_area_struct *vma;
	unsigned long got = 0;
	pgoff_t index, end;

	if (mmap_read_lock_killable(mm))
		return 0;
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr && mram_cache_may(vma)) {
		mapping = vma->vm_file->f_mapping;
		index = vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
		end = DIV_ROUND_UP(i_size_read(mapping->host), PAGE_SIZE);
		nr = min(nr, (vma->vm_end - addr) >> PAGE_SHIFT);
		if (index < end)
			got = mram_cache_walk(mapping, index,
					      min(nr, end - index), pages);
	}
	mmap_read_unlock(mm);
	return got;
}
