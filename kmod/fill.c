// SPDX-License-Identifier: GPL-2.0
/*
 * Shared memory that LOAD is going to write to and that is not mapped here, as
 * that of a file which another process is going to run a guest in: its pages are
 * put into the page cache of the file, as write(2) does, and not mapped. A fault
 * would clear each new page, which most kernels have cleared when it was
 * allocated (init_on_alloc), and map it; who touches it later does that anyway.
 *
 * What a fault would refuse, or would do more for than to map a page of the
 * cache, is left to it: userfaultfd, protection keys, locked memory, memory of
 * which soft-dirty bits are looked at, memory with an madvise() about huge pages,
 * seals, the last page of a file that ends inside of it. Else huge pages come as
 * write(2) gets them, where only the file system is asked.
 */
#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>
#include <asm/mmu_context.h>

#include "compat.h"
#include "look.h"
#include "mapped_ram.h"
#include "take.h"

/*
 * Where in a file the memory is.
 * @file: with a reference
 * @index: of page 0, may be negative
 */
struct mram_fill {
	struct file *file;
	pgoff_t index;
};

static bool mram_fill_may(struct vm_area_struct *vma)
{
	/* VM_SOFTDIRTY: all of it counts as dirty anyway. */
	const vm_flags_t want = VM_WRITE | VM_SHARED | VM_SOFTDIRTY;
	const vm_flags_t not = VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_LOCKED |
			       VM_HUGEPAGE | VM_NOHUGEPAGE;

	return (vma->vm_flags & (want | not)) == want && vma->vm_file &&
	       !is_vm_hugetlb_page(vma) && mram_is_memory_file(vma) &&
	       !userfaultfd_armed(vma) &&
	       vma->vm_file->f_mapping->a_ops->write_begin &&
	       arch_vma_access_permitted(vma, true, false, false);
}

/*
 * Find the file of the page @index of the memory at @addr.
 *
 * Return: the page behind the last one, at most @end, that is of the same file
 * and not mapped here, nor has anything else in the page tables; @index, and no
 * file, when there is none.
 */
static unsigned long mram_fill_find(struct mram_fill *fill, unsigned long addr,
				    unsigned long index, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	unsigned long at = addr + (index << PAGE_SHIFT);
	struct vm_area_struct *vma;

	if (!mram_mm_may_pin(mm) || !mmap_read_trylock(mm))
		return index;
	vma = find_vma(mm, at);
	if (!vma || vma->vm_start > at || !mram_fill_may(vma)) {
		end = index;
	} else {
		end = min(addr + (end << PAGE_SHIFT), vma->vm_end);
		end = (mram_probe_tables(mm, at, end) - addr) >> PAGE_SHIFT;
	}
	if (end > index) {
		fill->index = linear_page_index(vma, at) - index;
		fill->file = get_file(vma->vm_file);
	}
	mmap_read_unlock(mm);
	return end;
}

/*
 * Have a page in the page cache and pin it, and those of up to @nr that are in the
 * same folio. Return: how many.
 */
static unsigned long mram_fill_page(const struct mram_fill *fill,
				    struct mram_take *take, unsigned long page,
				    unsigned long nr)
{
	pgoff_t index = fill->index + page;
	loff_t pos = (loff_t)index << PAGE_SHIFT;
	unsigned long want = nr, skip;
	struct folio *folio;
	struct page *first;

	folio = mram_file_write_begin(fill->file, pos, want);
	if (!folio)
		return 0;
	first = folio_file_page(folio, index);
	if (!folio_test_uptodate(folio)) {
		/* As user_alloc_needs_zeroing() says since 6.13. */
		if (!want_init_on_alloc(mapping_gfp_mask(folio->mapping)))
			clear_highpage(first);
		flush_dcache_page(first);
	}
	skip = index - folio->index;
	nr = min(nr, folio_nr_pages(folio) - skip);
	if (folio_test_large(folio) && folio_test_has_hwpoisoned(folio))
		nr = 0;
	else if (mram_take_ref(take, first, nr))
		mram_take_add(take, page, first, nr);
	else
		nr = 0;
	/* Makes the other pages of a new large folio zero. */
	mram_file_write_end(fill->file, pos, want, folio);
	return nr;
}

/* The same for the needed pages from @index on, as far as the file goes. */
static unsigned long mram_fill_pages(const struct mram_fill *fill,
				     struct mram_take *take,
				     unsigned long index, unsigned long end)
{
	unsigned long size, nr, stop;

	size = i_size_read(fill->file->f_mapping->host) >> PAGE_SHIFT;
	if (fill->index + index >= size)
		return index;
	end = min(fill->index + end, size) - fill->index;
	while (index < end && !fatal_signal_pending(current)) {
		stop = take->need ? find_next_zero_bit(take->need, end, index) :
				    end;
		nr = mram_fill_page(fill, take, index, stop - index);
		if (!nr)
			break;
		index = mram_take_next(take, index + nr, end);
		cond_resched();
	}
	return index;
}

/**
 * mram_pages_fill() - pin pages of shared memory that is not mapped here
 * @addr: page-aligned, in the current address space: where page 0 is
 * @need: bitmap of the pages to pin, NULL for all
 * @index: the first one, which is needed
 * @end: the page behind the last one
 * @runs: filled in, from that of page 0 on
 *
 * A batch at most, as it may sleep while I/O waits to be sent.
 *
 * Return: a page before which the needed ones, if there are any, were pinned.
 */
unsigned long mram_pages_fill(unsigned long addr, const unsigned long *need,
			      unsigned long index, unsigned long end,
			      struct mram_run *runs)
{
	struct mram_take take = {
		.need = need,
		.runs = runs,
		.next = ULONG_MAX,
		.pin = true,
		.node = NUMA_NO_NODE,
	};
	unsigned long first = index;
	struct mram_fill fill;
	struct inode *inode;

	end = mram_fill_find(&fill, addr, index, min(end, first + MRAM_BATCH));
	if (end == index)
		return index;
	inode = fill.file->f_mapping->host;
	/*
	 * Not waited for: somebody who writes to the file may wait meanwhile for
	 * memory that only a userfaultfd brings.
	 */
	if (inode_trylock(inode)) {
		index = mram_fill_pages(&fill, &take, index, end);
		inode_unlock(inode);
		/* As the fault of a mapped file, and write(2), do. */
		if (index > first)
			file_update_time(fill.file);
	}
	fput(fill.file);
	mram_take_count(&take);
	return index;
}
