// SPDX-License-Identifier: GPL-2.0
/*
 * A registered range of memory: what is accepted as one, its two bitmaps and
 * their mapping, and which pages of it a pass has for itself.
 */
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bits.h"
#include "compat.h"
#include "mapped_ram.h"

/* Whether all of [addr, end) is mapped now. It may change at any time. */
static int mram_check_mapped(unsigned long addr, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int ret = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	while (addr < end) {
		vma = find_vma(mm, addr);
		if (!vma || vma->vm_start > addr) {
			ret = -EFAULT;
			break;
		}
		addr = vma->vm_end;
	}
	mmap_read_unlock(mm);
	return ret;
}

/**
 * mram_region_check() - whether a range is fit for a region
 * @arg: what REGION_ADD got
 *
 * Everything that does not need to know the session.
 */
int mram_region_check(const struct mapped_ram_region_add *arg)
{
	u64 page_size = arg->page_size;
	unsigned long end;
	loff_t file_end;

	if (!is_power_of_2(page_size) || page_size < PAGE_SIZE ||
	    page_size > 1UL << MRAM_MAX_PAGE_SHIFT)
		return -EINVAL;
	if (!PAGE_ALIGNED(arg->user_addr) || !arg->length ||
	    arg->length & (page_size - 1) || arg->pages_offset & (page_size - 1))
		return -EINVAL;
	if (check_add_overflow(arg->user_addr, arg->length, &end) ||
	    arg->pages_offset > S64_MAX ||
	    check_add_overflow((loff_t)arg->pages_offset, arg->length, &file_end))
		return -EOVERFLOW;
	if (arg->length >> ilog2(page_size) > MRAM_MAX_REGION_PAGES)
		return -EINVAL;
	if (!access_ok((void __user *)arg->user_addr, arg->length))
		return -EFAULT;
	return mram_check_mapped(arg->user_addr, end);
}

static unsigned long *mram_bitmap_alloc(unsigned long size)
{
	return __vmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}

/**
 * mram_region_new() - make a region
 * @arg: what REGION_ADD got, checked
 *
 * Return: a region that no session knows yet, or an ERR_PTR.
 */
struct mram_region *mram_region_new(const struct mapped_ram_region_add *arg)
{
	struct mram_region *region;
	int ret = -ENOMEM;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&region->range_lock);
	INIT_LIST_HEAD(&region->ranges);
	init_waitqueue_head(&region->range_wait);
	region->page_shift = ilog2(arg->page_size);
	region->addr = arg->user_addr;
	region->nr_pages = arg->length >> region->page_shift;
	region->pages_offset = arg->pages_offset;
	region->bitmap_size = PAGE_ALIGN(DIV_ROUND_UP(region->nr_pages, 8));

	region->dirty = mram_bitmap_alloc(region->bitmap_size);
	region->file = mram_bitmap_alloc(region->bitmap_size);
	if (!region->dirty || !region->file)
		goto out_free;

	if (arg->flags & MAPPED_RAM_REGION_PIN) {
		region->pins = mram_pins_new(current->mm, region->addr,
					     arg->length >> PAGE_SHIFT);
		if (IS_ERR(region->pins)) {
			ret = PTR_ERR(region->pins);
			region->pins = NULL;
			goto out_free;
		}
	}
	return region;

out_free:
	mram_region_free(region);
	return ERR_PTR(ret);
}

/* Free a region that no session knows (any more). */
void mram_region_free(struct mram_region *region)
{
	WARN_ON_ONCE(region->users || !list_empty(&region->ranges));
	if (region->pins)
		mram_pins_free(region->pins);
	/* Where userspace still has the bitmaps mapped, it keeps their pages. */
	vfree(region->file);
	vfree(region->dirty);
	kfree(region);
}

/**
 * mram_region_mmap() - map a bitmap
 * @region: whose
 * @file: the file bitmap, else the dirty bitmap
 * @vma: where; must be shared and of the bitmap's whole size
 *
 * The pages are put in at once: the mapping needs no fault handler and, since
 * each page is referenced by it, may outlive the region.
 */
int mram_region_mmap(struct mram_region *region, bool file,
		     struct vm_area_struct *vma)
{
	unsigned char *map = (unsigned char *)(file ? region->file :
					       region->dirty);
	unsigned long offset;
	int ret;

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_EXEC ||
	    vma->vm_end - vma->vm_start != region->bitmap_size)
		return -EINVAL;

	/*
	 * Not for the child of a fork: it has another address space, to which
	 * the region does not belong, and would keep the session alive.
	 */
	mram_vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP,
			  VM_MAYEXEC);
	for (offset = 0; offset < region->bitmap_size; offset += PAGE_SIZE) {
		ret = vm_insert_page(vma, vma->vm_start + offset,
				     vmalloc_to_page(map + offset));
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/**
 * mram_region_lose() - the image does not hold what it was said to
 * @region: whose pages
 * @start: first page
 * @end: page behind the last
 *
 * Pages whose file bit is set become dirty, and the bit is cleared.
 */
void mram_region_lose(struct mram_region *region, unsigned long start,
		      unsigned long end)
{
	unsigned long w, bits;

	for (w = start / BITS_PER_LONG; w * BITS_PER_LONG < end; w++) {
		cond_resched();
		bits = READ_ONCE(region->file[w]) &
		       mram_word_mask(w, start, end);
		if (!bits)
			continue;
		/* Dirty first: at no time is the page neither. */
		atomic_long_or(bits, mram_word(region->dirty, w));
		atomic_long_andnot(bits, mram_word(region->file, w));
	}
}

/* Whether no range that came earlier overlaps. */
static bool mram_range_free(struct mram_region *region,
			    struct mram_range *range)
{
	struct mram_range *other;
	bool free = true;

	spin_lock(&region->range_lock);
	list_for_each_entry(other, &region->ranges, node) {
		if (other == range)
			break;
		if (range->first <= other->last && other->first <= range->last)
			free = false;
	}
	spin_unlock(&region->range_lock);
	return free;
}

/**
 * mram_range_lock() - have a range of pages for oneself
 * @region: whose
 * @range: @first and @last are filled in
 *
 * Two writes to one offset in flight at a time could land in either order, so
 * a page is in one pass at a time. First come, first served.
 *
 * Return: 0, or mram_interrupted().
 */
int mram_range_lock(struct mram_region *region, struct mram_range *range)
{
	spin_lock(&region->range_lock);
	list_add_tail(&range->node, &region->ranges);
	spin_unlock(&region->range_lock);
	if (wait_event_interruptible(region->range_wait,
				     mram_range_free(region, range))) {
		mram_range_unlock(region, range);
		return mram_interrupted();
	}
	return 0;
}

void mram_range_unlock(struct mram_region *region, struct mram_range *range)
{
	spin_lock(&region->range_lock);
	list_del(&range->node);
	spin_unlock(&region->range_lock);
	wake_up_all(&region->range_wait);
}
