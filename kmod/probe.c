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
#include <linux/bitmap.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/userfaultfd_k.h>

#include "compat.h"
#include "look.h"
#include "mapped_ram.h"

/*
 * Where the answer goes.
 * @map: a bit for each page, set for absent ones; NULL when the walk is to end
 *       where the first page is that is not absent
 * @base: the address of bit 0; may lie before the first page asked for
 * @next: without @map: the address up to which all pages are absent
 */
struct mram_absent {
	unsigned long *map;
	unsigned long base;
	unsigned long next;
};

/* Pages from @addr to @end are absent. */
static void mram_absent_set(struct mram_absent *absent,
			    unsigned long addr, unsigned long end)
{
	if (absent->map)
		bitmap_set(absent->map, (addr - absent->base) >> PAGE_SHIFT,
			   (end - addr) >> PAGE_SHIFT);
	else if (addr == absent->next)
		absent->next = end;
}

/* All up to @addr was looked at: is that enough? */
static bool mram_absent_over(const struct mram_absent *absent,
			     unsigned long addr)
{
	return !absent->map && absent->next < addr;
}

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
 * Whether MRAM_PTES entries in a row are all empty. Page tables are full of
 * nothing; where an empty entry is one without certain bits, one test does for
 * many.
 */
#ifdef CONFIG_X86_64
#define MRAM_PTES	16

/* Not pte_val(), which is a paravirtual call; pte_none() avoids it, too. */
static __always_inline pteval_t mram_ptes_any(const pte_t *pte)
{
	return READ_ONCE(pte[0].pte) | READ_ONCE(pte[1].pte) |
	       READ_ONCE(pte[2].pte) | READ_ONCE(pte[3].pte);
}

static __always_inline bool mram_ptes_none(const pte_t *pte)
{
	return pte_none(native_make_pte(mram_ptes_any(pte) |
					mram_ptes_any(pte + 4) |
					mram_ptes_any(pte + 8) |
					mram_ptes_any(pte + 12)));
}
#else
#define MRAM_PTES	1

static inline bool mram_ptes_none(const pte_t *pte)
{
	return false;
}
#endif

/* Where the entries from @pte on, which is empty, end to be so. */
static pte_t *mram_pte_skip(pte_t *pte, pte_t *end)
{
	do {
		pte++;
		if (!IS_ALIGNED((unsigned long)pte, MRAM_PTES * sizeof(*pte)))
			continue;
		while (end - pte >= MRAM_PTES && mram_ptes_none(pte))
			pte += MRAM_PTES;
	} while (pte < end && mram_pte_empty(ptep_get(pte)));
	return pte;
}

/*
 * The entries of one page table.
 *
 * Under the table's lock: whoever replaces an entry, to unmap, migrate or
 * write-protect the page, clears it for a moment, but holds the lock. The
 * caller has read @pmd under RCU.
 *
 * Return: how far, or @addr when @pmd is not the table any more.
 */
static unsigned long mram_walk_ptes(struct mm_struct *mm, pmd_t *pmdp,
				    pmd_t pmd, unsigned long addr,
				    unsigned long end,
				    struct mram_absent *absent)
{
	pte_t *first, *last, *pte, *next;
	unsigned long start = addr;
	spinlock_t *ptl;

	ptl = pte_lockptr(mm, &pmd);
	spin_lock(ptl);
	if (!pmd_same(pmd, READ_ONCE(*pmdp)))
		goto out;
	first = pte_offset_kernel(&pmd, addr);
	last = first + ((end - addr) >> PAGE_SHIFT);
	for (pte = first; pte < last; pte = next) {
		next = pte + 1;
		if (!mram_pte_empty(ptep_get(pte))) {
			if (!absent->map)
				break;
			continue;
		}
		next = mram_pte_skip(pte, last);
		mram_absent_set(absent, start + ((pte - first) << PAGE_SHIFT),
				start + ((next - first) << PAGE_SHIFT));
	}
	addr = end;
out:
	spin_unlock(ptl);
	return addr;
}

/*
 * Where the entries from @pmdp on, which is empty, end to be so; within their
 * table, whose lock the caller has.
 */
static unsigned long mram_pmd_skip(pmd_t *pmdp, unsigned long addr,
				   unsigned long end)
{
	end = mram_block_end(addr, end, PUD_SIZE);
	do
		addr = mram_block_end(addr, end, PMD_SIZE);
	while (addr < end && pmd_none(READ_ONCE(*++pmdp)));
	return addr;
}

/* One step of the walk, from a page middle directory's entry on. */
static unsigned long mram_walk_pmd(struct mm_struct *mm, pmd_t *pmdp,
				   unsigned long addr, unsigned long end,
				   struct mram_absent *absent)
{
	spinlock_t *ptl;
	pmd_t pmd;

	/*
	 * From before the entry is read: keeps the table that it names from
	 * being freed, though not from being removed.
	 */
	rcu_read_lock();
	/* Entries of huge pages are replaced, too, under this lock. */
	ptl = pmd_lock(mm, pmdp);
	pmd = READ_ONCE(*pmdp);
	end = pmd_none(pmd) ? mram_pmd_skip(pmdp, addr, end) :
			      mram_block_end(addr, end, PMD_SIZE);
	spin_unlock(ptl);

	if (pmd_none(pmd))
		mram_absent_set(absent, addr, end);
	/* Huge pages that are swapped out or migrate are not present. */
	else if (pmd_present(pmd) && !pmd_leaf(pmd))
		end = mram_walk_ptes(mm, pmdp, pmd, addr, end, absent);
	rcu_read_unlock();
	return end;
}

/*
 * One step of the walk. The caller has mmap_lock and a VMA there, so that
 * tables above the lowest are not freed.
 *
 * Return: how far from @addr on, at most to @end; maybe not at all.
 */
static unsigned long mram_walk_step(struct mm_struct *mm, unsigned long addr,
				    unsigned long end,
				    struct mram_absent *absent)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pudp, pud;

	if (pgd_none(READ_ONCE(*pgd))) {
		end = mram_block_end(addr, end, PGDIR_SIZE);
		goto empty;
	}
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(READ_ONCE(*p4d))) {
		end = mram_block_end(addr, end, P4D_SIZE);
		goto empty;
	}
	pudp = pud_offset(p4d, addr);
	/* The lock under which huge pages of this size come and go. */
	spin_lock(&mm->page_table_lock);
	pud = READ_ONCE(*pudp);
	spin_unlock(&mm->page_table_lock);
	if (!pud_none(pud) && pud_present(pud) && !pud_leaf(pud))
		return mram_walk_pmd(mm, pmd_offset(pudp, addr), addr, end,
				     absent);
	end = mram_block_end(addr, end, PUD_SIZE);
	if (!pud_none(pud))
		return end;
empty:
	mram_absent_set(absent, addr, end);
	return end;
}

/* What has no page table entry. */
static void mram_walk(struct mm_struct *mm, unsigned long addr,
		      unsigned long end, struct mram_absent *absent)
{
	while (addr < end && !mram_absent_over(absent, addr))
		addr = mram_walk_step(mm, addr, end, absent);
}

/* The first index from @index on, at most @end, that holds nothing. */
static unsigned long mram_skip_entries(struct xarray *xa, unsigned long index,
				       unsigned long end)
{
	XA_STATE(xas, xa, index);
	void *entry;

	rcu_read_lock();
	entry = xas_load(&xas);
	while (entry && index < end) {
		if (xa_is_retry(entry)) {
			xas_reset(&xas);
			entry = xas_load(&xas);
		} else if (!xas_not_node(xas.xa_node) && xas.xa_node->shift) {
			/* An entry for many indices. */
			index |= (1UL << xas.xa_node->shift) - 1;
			xas_set(&xas, ++index);
			entry = xas_load(&xas);
		} else {
			index++;
			entry = xas_next(&xas);
		}
	}
	rcu_read_unlock();
	return min(index, end);
}

/* Holes of the mapped file; in a private mapping those without a copy. */
static void mram_walk_file(struct vm_area_struct *vma, unsigned long addr,
			   unsigned long end, struct mram_absent *absent)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	unsigned int shift = PAGE_SHIFT;
	unsigned long base, size, index, next, last, hole;

	if (is_vm_hugetlb_page(vma))
		shift = mram_hugetlb_index_shift(vma);
	/* The file offset of address 0, which may well be negative. */
	base = (vma->vm_pgoff << PAGE_SHIFT) - vma->vm_start;
	/* Behind its end nothing can be read, which is not a hole. */
	size = PAGE_ALIGN(i_size_read(mapping->host));
	if (base + addr >= size)
		return;
	end = min(base + end, size) - base;
	last = (base + end - 1) >> shift;

	for (index = (base + addr) >> shift; index <= last; index = next) {
		next = index;
		if (!xa_find(&mapping->i_pages, &next, last, XA_PRESENT))
			next = last + 1;
		if (next > index) {
			hole = min(end, (next << shift) - base);
			addr = max(addr, (index << shift) - base);
			if (vma->vm_flags & VM_MAYSHARE)
				mram_absent_set(absent, addr, hole);
			else
				mram_walk(vma->vm_mm, addr, hole, absent);
		}
		/* An entry is next, or was met in the page table. */
		if (!absent->map)
			break;
		if (next <= last)
			next = mram_skip_entries(&mapping->i_pages, next,
						 last + 1);
	}
}

/* Whether memory is that of a file made of memory. */
bool mram_is_memory_file(struct vm_area_struct *vma)
{
	struct inode *inode = vma->vm_file->f_mapping->host;

	/*
	 * Of memfds, /dev/shm, shared anonymous memory, and SysV memory. Not of
	 * device nodes, which may lie in a tmpfs (devtmpfs is one).
	 */
	return is_vm_hugetlb_page(vma) ||
	       (S_ISREG(inode->i_mode) && inode->i_sb->s_magic == TMPFS_MAGIC);
}

static void mram_probe_vma(struct vm_area_struct *vma, unsigned long addr,
			   unsigned long end, struct mram_absent *absent)
{
	if (!(vma->vm_flags & VM_READ) || vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	    userfaultfd_missing(vma))
		return;
	if (vma_is_anonymous(vma))
		mram_walk(vma->vm_mm, addr, end, absent);
	else if (vma->vm_file && mram_is_memory_file(vma))
		mram_walk_file(vma, addr, end, absent);
}

/* Return: for how many pages, at least 1, @to is the answer, or an errno. */
static long mram_probe_to(struct mm_struct *mm, unsigned long addr,
			  unsigned long nr, struct mram_absent *to)
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
	end = min(end, vma->vm_end);
	mram_probe_vma(vma, addr, end, to);
	mmap_read_unlock(mm);
	return (end - addr) >> PAGE_SHIFT;
}

/**
 * mram_probe() - which pages are absent
 * @mm: the address space
 * @addr: page-aligned
 * @nr: how many pages, not 0
 * @absent: bitmap; the bits of pages that nothing holds, and that read as zero,
 *          get set; others stay
 * @first: the bit of the first page
 *
 * The answer holds for the moment at which it is given. It costs by what is
 * there: page tables and stretches of a file that do not exist are passed over
 * in one step.
 *
 * Return: for how many pages, at least 1, @absent is the answer. -EFAULT when
 * nothing is mapped at @addr, -EINTR.
 */
long mram_probe(struct mm_struct *mm, unsigned long addr, unsigned long nr,
		unsigned long *absent, unsigned long first)
{
	struct mram_absent to = {
		.map = absent,
		.base = addr - (first << PAGE_SHIFT),
	};

	return mram_probe_to(mm, addr, nr, &to);
}

/**
 * mram_probe_run() - how many pages in a row are absent
 * @mm: the address space
 * @addr: page-aligned
 * @nr: how many pages to ask about, not 0
 *
 * Return: so many from the first one on, or more, are absent; 0 also where it
 * is not known.
 */
unsigned long mram_probe_run(struct mm_struct *mm, unsigned long addr,
			     unsigned long nr)
{
	struct mram_absent to = { .next = addr };

	mram_probe_to(mm, addr, nr, &to);
	return (to.next - addr) >> PAGE_SHIFT;
}

/**
 * mram_probe_tables() - how far page tables are empty
 * @mm: the address space
 * @addr: page-aligned
 * @end: where to stop; a VMA holds all up to there
 *
 * The caller has mmap_lock.
 *
 * Return: the address up to which there is no entry, maybe @addr.
 */
unsigned long mram_probe_tables(struct mm_struct *mm, unsigned long addr,
				unsigned long end)
{
	struct mram_absent to = { .next = addr };

	mram_walk(mm, addr, end, &to);
	return to.next;
}
