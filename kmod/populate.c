// SPDX-License-Identifier: GPL-2.0
/*
 * The common case of making pages that LOAD is going to write to: one fault after
 * the other, under one mmap_lock, of a VMA that is found once. What
 * pin_user_pages() does beside that for each page, looking for it before and
 * after, is left to mram_pages_take(), which does it for all of a page table.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include "compat.h"
#include "mapped_ram.h"

/*
 * So mmap_lock is never dropped, neither with VM_FAULT_RETRY nor with
 * VM_FAULT_COMPLETED, and nobody's userfaultfd is waited for.
 */
#define MRAM_POPULATE_FLAGS	(FAULT_FLAG_WRITE | FAULT_FLAG_ALLOW_RETRY | \
				 FAULT_FLAG_RETRY_NOWAIT)

/**
 * mram_pages_populate() - let pages be there and writable
 * @addr: page-aligned, in the current address space: where page 0 is
 * @need: bitmap of the pages to populate, NULL for all
 * @index: the first one, which is needed
 * @end: the page behind the last one
 *
 * At most up to the end of a huge page, and of that no more pages than lie
 * before @index in it: one that comes in whole, which the next look at the page
 * tables shows, should not be asked for page by page. What a userfaultfd has to
 * bring, and what is no ordinary memory or not to be written to, is left to
 * pin_user_pages().
 *
 * Return: whether it may be of use to look for the first one again.
 */
bool mram_pages_populate(unsigned long addr, const unsigned long *need,
			 unsigned long index, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	unsigned long at = addr + (index << PAGE_SHIFT);
	unsigned long place = (at & ~PMD_MASK) >> PAGE_SHIFT;
	unsigned long page = index, nr;
	struct vm_area_struct *vma;

	/* Then mram_pages_take() would not find what this has made. */
	if (!mram_mm_may_pin(mm) || !mmap_read_trylock(mm))
		return false;
	vma = find_vma(mm, at);
	if (!vma || vma->vm_start > at || !mram_may_take(vma, true) ||
	    userfaultfd_missing(vma))
		goto out;
	nr = clamp(place, 1UL, PTRS_PER_PTE - place);
	end = min3(end, index + nr, (vma->vm_end - addr) >> PAGE_SHIFT);
	while (page < end && !fatal_signal_pending(current)) {
		if (handle_mm_fault(vma, addr + (page << PAGE_SHIFT),
				    MRAM_POPULATE_FLAGS, NULL) &
		    (VM_FAULT_ERROR | VM_FAULT_RETRY))
			break;
		cond_resched();
		page++;
		if (need)
			page = find_next_bit(need, end, page);
	}
out:
	mmap_read_unlock(mm);
	return page > index;
}
