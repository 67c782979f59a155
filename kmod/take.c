// SPDX-License-Identifier: GPL-2.0
/*
 * The common case of getting the caller's pages: pages of a chunk that are
 * mapped, most likely not all of them next to each other. get_user_pages_fast()
 * begins at the top of the page tables for each run of pages; here, a table is
 * found once for all the pages that are needed of it, and a huge page is one
 * entry.
 *
 * Only of ordinary memory: anonymous, of memory files, and of private huge
 * pages, which nobody else has in the same tables. What is not, or is not
 * mapped, or looks unusual in any way, is left to pages.c.
 *
 * References and pins are taken under the lock of the table's entries, like the
 * slow path of get_user_pages() does: while an entry is there it holds one. A
 * pin (FOLL_PIN, to write to the page) asks for an entry that may be written
 * through, so that nobody else has an anonymous page, and nobody waits to be told
 * that it is written to. What makes pages shared behind that, clears the entry
 * under the same lock first and sees the pin; fork() waits for mmap_lock.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "compat.h"
#include "look.h"
#include "mapped_ram.h"
#include "take.h"

/*
 * Pages [@index, @stop) of one page table. The caller has read @pmd under RCU,
 * see mram_walk_ptes() in probe.c. Return: the first one not taken.
 */
static unsigned long mram_take_ptes(struct mram_take *take, pmd_t *pmdp,
				    pmd_t pmd, unsigned long index,
				    unsigned long stop)
{
	unsigned long base = index;
	struct page *page;
	spinlock_t *ptl;
	pte_t *first, pte;

	ptl = pte_lockptr(take->mm, &pmd);
	spin_lock(ptl);
	if (!pmd_same(pmd, READ_ONCE(*pmdp)))
		goto out;
	first = pte_offset_kernel(&pmd, take->addr + (index << PAGE_SHIFT));
	for (; index < stop; index = mram_take_next(take, index + 1, stop)) {
		pte = ptep_get(first + (index - base));
		/* Which no entry is that is not present. */
		if (!pte_access_permitted(pte, take->pin) || pte_special(pte))
			break;
		page = pte_page(pte);
		if (!mram_take_ref(take, page, 1))
			break;
		mram_take_add(take, index, page, 1);
	}
out:
	spin_unlock(ptl);
	return index;
}

/* Pages [@index, @stop) of one huge page, under its entry's lock. */
static unsigned long mram_take_huge(struct mram_take *take, pmd_t pmd,
				    unsigned long index, unsigned long stop)
{
	unsigned long addr = take->addr + (index << PAGE_SHIFT), end;
	struct page *head;

	if (!pmd_access_permitted(pmd, take->pin))
		return index;
	/* Counted from page 0 of the chunk, like @index. */
	head = pmd_page(pmd) + ((addr & ~PMD_MASK) >> PAGE_SHIFT) - index;
	for (; index < stop; index = mram_take_next(take, end, stop)) {
		end = take->need ?
		      find_next_zero_bit(take->need, stop, index) : stop;
		if (!mram_take_ref(take, head + index, end - index))
			break;
		mram_take_add(take, index, head + index, end - index);
	}
	return index;
}

/*
 * One entry of a page middle directory. The caller has mmap_lock and a VMA
 * there, so that tables above the lowest are not freed.
 */
static unsigned long mram_take_pmd(struct mram_take *take, unsigned long index,
				   unsigned long stop)
{
	unsigned long addr = take->addr + (index << PAGE_SHIFT);
	pgd_t *pgd = pgd_offset(take->mm, addr);
	p4d_t *p4d;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;
	spinlock_t *ptl;

	if (pgd_none(READ_ONCE(*pgd)))
		return index;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(READ_ONCE(*p4d)))
		return index;
	pudp = pud_offset(p4d, addr);
	/* Of the memory that is taken no page is so large that it stands here. */
	pud = READ_ONCE(*pudp);
	if (pud_none(pud) || !pud_present(pud) || pud_leaf(pud))
		return index;
	pmdp = pmd_offset(pudp, addr);

	rcu_read_lock();
	ptl = pmd_lock(take->mm, pmdp);
	pmd = READ_ONCE(*pmdp);
	if (pmd_present(pmd) && pmd_leaf(pmd))
		index = mram_take_huge(take, pmd, index, stop);
	spin_unlock(ptl);
	if (pmd_present(pmd) && !pmd_leaf(pmd))
		index = mram_take_ptes(take, pmdp, pmd, index, stop);
	rcu_read_unlock();
	return index;
}

/* Whether a VMA is of ordinary memory, that may be read or, to @pin, written. */
bool mram_may_take(struct vm_area_struct *vma, bool pin)
{
	if (!(vma->vm_flags & (pin ? VM_WRITE : VM_READ)) ||
	    vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP) ||
	    (pin && vma->vm_flags & VM_SHADOW_STACK))
		return false;
	if (vma_is_anonymous(vma))
		return true;
	if (is_vm_hugetlb_page(vma))
		return !(vma->vm_flags & VM_MAYSHARE) &&
		       huge_page_size(hstate_vma(vma)) == PMD_SIZE;
	return vma->vm_file && mram_is_memory_file(vma);
}

/**
 * mram_pages_take() - get pages if they are mapped
 * @pin: pin them to write to them, like pin_user_pages(FOLL_WRITE); else take
 *       references to read them
 * @addr: page-aligned, in the current address space: where page 0 is
 * @need: bitmap of the pages to get, NULL for all
 * @index: the first one, which is needed
 * @end: the page behind the last one
 * @runs: filled in, from that of page 0 on
 * @not_before: the address from which on it may be of use to ask again
 *
 * Waits for nothing. Nothing can be pinned before pin_user_pages() was called for
 * this address space once: fork() looks for pins only then.
 *
 * Return: the first needed page that was not got, maybe @index, or @end.
 */
unsigned long mram_pages_take(bool pin, unsigned long addr,
			      const unsigned long *need, unsigned long index,
			      unsigned long end, struct mram_run *runs,
			      unsigned long *not_before)
{
	struct mram_take take = {
		.mm = current->mm,
		.addr = addr,
		.need = need,
		.runs = runs,
		.next = ULONG_MAX,
		.pin = pin,
		.node = NUMA_NO_NODE,
	};
	struct vm_area_struct *vma = NULL;
	unsigned long at = addr + (index << PAGE_SHIFT), stop;

	if (at < *not_before || (pin && !mram_mm_may_pin(take.mm)) ||
	    !mmap_read_trylock(take.mm))
		return index;
	while (index < end) {
		at = addr + (index << PAGE_SHIFT);
		if (!vma || at >= vma->vm_end) {
			vma = find_vma(take.mm, at);
			if (!vma || vma->vm_start > at)
				break;
			if (!mram_may_take(vma, pin)) {
				*not_before = vma->vm_end;
				break;
			}
		}
		stop = min(((at | ~PMD_MASK) + 1), vma->vm_end);
		stop = min((stop - addr) >> PAGE_SHIFT, end);
		index = mram_take_pmd(&take, index, stop);
		if (index < stop)
			break;
		index = mram_take_next(&take, stop, end);
	}
	mmap_read_unlock(take.mm);
	mram_take_count(&take);
	return index;
}
