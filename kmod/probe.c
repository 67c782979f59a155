// SPDX-License-Identifier: GPL-2.0
/*
 * Was this memory ever touched? Looks at page tables and at the page cache of
 * the mapped file, and changes neither: reading the memory to find out would
 * fault pages in, which for a hole of a shared file allocates them.
 *
 * A page is absent when reading it would give zeroes and nothing holds it:
 *
 * - anonymous memory: its page table entry is empty or maps the page of
 *   zeroes. Swapped-out pages and pages under migration have an entry, and so
 *   have untouched ones that a userfaultfd write-protects: they are faulted in.
 * - shmem and hugetlbfs, shared: the file has neither page nor swap entry at
 *   its offset. The page table says nothing, another process may have filled
 *   the page.
 * - shmem and hugetlbfs, private: both.
 * - anything else, and memory whose missing pages a userfaultfd supplies: not
 *   absent. It must be faulted in to be known.
 */
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/userfaultfd_k.h>

#include "compat.h"
#include "mapped_ram.h"

static unsigned long mram_block_end(unsigned long addr, unsigned long end,
				    unsigned long size)
{
	unsigned long boundary = (addr & ~(size - 1)) + size;

	/* At the top of the address space the boundary wraps to 0. */
	return boundary - 1 < end - 1 ? boundary : end;
}

/* Nothing is there, or the page of zeroes that a read fault maps. */
static bool mram_pte_empty(pte_t pte)
{
	return pte_none(pte) ||
	       (pte_present(pte) && is_zero_pfn(pte_pfn(pte)));
}

/*
 * The entries of one page table, as far as they are all empty or all not.
 *
 * Under the table's lock: whoever replaces an entry, to unmap, migrate or
 * write-protect the page, clears it for a moment, but holds the lock.
 *
 * Return: how far, or @addr when @pmd is not the table any more.
 */
static unsigned long mram_walk_ptes(struct mm_struct *mm, pmd_t *pmdp,
				    pmd_t pmd, unsigned long addr,
				    unsigned long end, bool *empty)
{
	spinlock_t *ptl;
	pte_t *pte;

	/* Keeps the table from being freed, though not from being removed. */
	rcu_read_lock();
	ptl = pte_lockptr(mm, &pmd);
	spin_lock(ptl);
	if (!pmd_same(pmd, READ_ONCE(*pmdp)))
		goto out;
	pte = pte_offset_kernel(&pmd, addr);
	*empty = mram_pte_empty(ptep_get(pte));
	do {
		addr += PAGE_SIZE;
		pte++;
	} while (addr < end && mram_pte_empty(ptep_get(pte)) == *empty);
out:
	spin_unlock(ptl);
	rcu_read_unlock();
	return addr;
}

/* One step of the walk, from a page middle directory's entry on. */
static unsigned long mram_walk_pmd(struct mm_struct *mm, pmd_t *pmdp,
				   unsigned long addr, unsigned long end,
				   bool *empty)
{
	spinlock_t *ptl;
	pmd_t pmd;

	/* Entries of huge pages are replaced, too, under this lock. */
	ptl = pmd_lock(mm, pmdp);
	pmd = READ_ONCE(*pmdp);
	spin_unlock(ptl);

	end = mram_block_end(addr, end, PMD_SIZE);
	*empty = pmd_none(pmd);
	/* Huge pages that are swapped out or migrate are not present. */
	if (*empty || !pmd_present(pmd) || pmd_leaf(pmd))
		return end;
	return mram_walk_ptes(mm, pmdp, pmd, addr, end, empty);
}

/*
 * One step of the walk: how far from @addr on, at most to @end, page table
 * entries are all empty or all not. The caller has mmap_lock and a VMA there,
 * so that tables above the lowest are not freed.
 */
static unsigned long mram_walk_step(struct mm_struct *mm, unsigned long addr,
				    unsigned long end, bool *empty)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pudp, pud;

	*empty = true;
	if (pgd_none(READ_ONCE(*pgd)))
		return mram_block_end(addr, end, PGDIR_SIZE);
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(READ_ONCE(*p4d)))
		return mram_block_end(addr, end, P4D_SIZE);
	pudp = pud_offset(p4d, addr);
	/* The lock under which huge pages of this size come and go. */
	spin_lock(&mm->page_table_lock);
	pud = READ_ONCE(*pudp);
	spin_unlock(&mm->page_table_lock);
	if (pud_none(pud))
		return mram_block_end(addr, end, PUD_SIZE);
	*empty = false;
	if (!pud_present(pud) || pud_leaf(pud))
		return mram_block_end(addr, end, PUD_SIZE);
	return mram_walk_pmd(mm, pmd_offset(pudp, addr), addr, end, empty);
}

/* How far from @addr on page table entries are all empty, or all not. */
static unsigned long mram_walk(struct mm_struct *mm, unsigned long addr,
			       unsigned long end, bool *empty)
{
	unsigned long start = addr, next;
	bool same;

	while (addr < end) {
		next = mram_walk_step(mm, addr, end, &same);
		if (addr == start)
			*empty = same;
		else if (same != *empty)
			break;
		addr = next;
	}
	return addr;
}

/* How far from @addr on the mapped file holds nothing at all, or something. */
static unsigned long mram_walk_file(struct vm_area_struct *vma,
				    unsigned long addr, unsigned long end,
				    bool *empty)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	unsigned int shift = PAGE_SHIFT;
	unsigned long base, size, first, last, index;

	if (is_vm_hugetlb_page(vma))
		shift = mram_hugetlb_index_shift(vma);
	/* The file offset of address 0, which may well be negative. */
	base = (vma->vm_pgoff << PAGE_SHIFT) - vma->vm_start;
	/* Behind its end nothing can be read, which is not a hole. */
	size = PAGE_ALIGN(i_size_read(mapping->host));
	if (base + addr >= size) {
		*empty = false;
		return end;
	}
	end = min(base + end, size) - base;
	first = (base + addr) >> shift;
	last = (base + end - 1) >> shift;

	index = first;
	*empty = !xa_find(&mapping->i_pages, &index, last, XA_PRESENT) ||
		 index > first;
	if (!*empty) {
		/* Up to the next hole. Entries may be larger than one index. */
		for (index = first + 1; index <= last; index++)
			if (!xa_load(&mapping->i_pages, index))
				break;
	} else if (index <= first) {
		index = last + 1;
	}
	return index > last ? end : (index << shift) - base;
}

static bool mram_is_memory_file(struct vm_area_struct *vma)
{
	struct inode *inode = vma->vm_file->f_mapping->host;

	/*
	 * Of memfds, /dev/shm, shared anonymous memory, and SysV memory. Not of
	 * device nodes, which may lie in a tmpfs (devtmpfs is one).
	 */
	return is_vm_hugetlb_page(vma) ||
	       (S_ISREG(inode->i_mode) && inode->i_sb->s_magic == TMPFS_MAGIC);
}

static unsigned long mram_probe_vma(struct vm_area_struct *vma,
				    unsigned long addr, unsigned long end,
				    bool *absent)
{
	bool empty;

	if (!(vma->vm_flags & VM_READ) || vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	    userfaultfd_missing(vma)) {
		*absent = false;
		return end;
	}
	if (vma_is_anonymous(vma))
		return mram_walk(vma->vm_mm, addr, end, absent);
	if (!vma->vm_file || !mram_is_memory_file(vma)) {
		*absent = false;
		return end;
	}
	end = mram_walk_file(vma, addr, end, absent);
	if (!*absent || vma->vm_flags & VM_SHARED)
		return end;
	/* A hole of the file, but privately mapped: maybe with a copy. */
	end = mram_walk(vma->vm_mm, addr, end, &empty);
	*absent = empty;
	return end;
}

/**
 * mram_probe() - whether pages are absent
 * @mm: the address space
 * @addr: page-aligned
 * @nr: how many pages, not 0
 * @absent: true when nothing holds them and they read as zero; false when they
 *          must be faulted in
 *
 * The answer holds for the moment at which it is given.
 *
 * Return: for how many pages, at least 1, @absent is the answer. -EFAULT when
 * nothing is mapped at @addr, -EINTR.
 */
long mram_probe(struct mm_struct *mm, unsigned long addr, unsigned long nr,
		bool *absent)
{
	unsigned long end = addr + (nr << PAGE_SHIFT);
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, addr);
	if (!vma || vma->vm_start > addr) {
		mmap_read_unlock(mm);
		return -EFAULT;
	}
	end = mram_probe_vma(vma, addr, min(end, vma->vm_end), absent);
	mmap_read_unlock(mm);
	return (end - addr) >> PAGE_SHIFT;
}
