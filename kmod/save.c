// SPDX-License-Identifier: GPL-2.0
/*
 * SAVE: one pass over the dirty pages of a range.
 *
 * A chunk at a time: claim the dirty bits, get the pages, sort out the zero
 * ones, plan extents, write them through the window. A claim ends in exactly
 * one of three ways: the page is written and its file bit set (io_done), it is
 * zero and its file bit clear (mram_save_get), or the dirty bit is set again
 * (io_done, mram_save_give_back).
 *
 * While a chunk is worked on, of its pages
 *   @need  are claimed and not known to be zero,
 *   @zero  are claimed and zero,
 *   @join  are clean and in the image, so that they may bridge.
 */
#include <linux/highmem.h>

#include "bits.h"
#include "plan.h"
#include "transfer.h"

static void mram_save_io_done(struct mram_pass *pass, struct mram_io *io,
			      unsigned long good)
{
	struct mram_region *region = pass->region;

	if (good) {
		mram_bits_set(region->file, io->start, good);
		pass->moved += good - io->bridged;
		pass->bridged += io->bridged;
	}
	/*
	 * A write that failed may have written anything: of a bridge, too, the
	 * image now holds who knows what.
	 */
	if (good < io->nr)
		mram_bits_set(region->dirty, io->start + good, io->nr - good);
}

/* The dirty bits of pages from @page of the chunk on were claimed in vain. */
static void mram_save_give_back(struct mram_pass *pass, unsigned long base,
				unsigned long page)
{
	unsigned long *back = pass->join;

	bitmap_copy(back, pass->need, pass->chunk_pages);
	bitmap_clear(back, 0, page);
	mram_chunk_set(pass->region->dirty, back, base, pass->chunk_pages);
	bitmap_clear(pass->need, page, pass->chunk_pages - page);
}

/*
 * Sort out a format page that was got: put its pages back if they are zero,
 * else fill its absent parts in.
 */
static void mram_save_classify(struct mram_pass *pass, unsigned long page)
{
	struct page **pages = pass->pages + (page << pass->sub_shift);
	unsigned long i, nr = 1UL << pass->sub_shift;

	for (i = 0; i < nr; i++)
		if (pages[i] && !mram_page_is_zero(pages[i]))
			break;
	if (i == nr) {
		mram_pages_put(pages, nr);
		__set_bit(page, pass->zero);
		return;
	}
	for (i = 0; i < nr; i++) {
		if (pages[i])
			continue;
		pages[i] = ZERO_PAGE(0);
		get_page(pages[i]);
	}
}

/* Get the pages of a run of needed pages, [@page, @end) of the chunk. */
static int mram_save_get_run(struct mram_pass *pass, unsigned long base,
			     unsigned long page, unsigned long end)
{
	unsigned int shift = pass->sub_shift;
	unsigned long i = page << shift, last = end << shift;
	unsigned long addr = mram_pass_addr(pass, base);
	long got;

	while (i < last) {
		got = 0;
		if (pass->region->pins)
			got = mram_pins_get(pass->region->pins,
					    addr + (i << PAGE_SHIFT), last - i,
					    pass->pages + i);
		if (!got)
			got = mram_pages_get(addr + (i << PAGE_SHIFT), last - i,
					     pass->pages + i);
		if (got < 0) {
			page = i >> shift;
			mram_pages_put(pass->pages + (page << shift),
				       i - (page << shift));
			mram_pass_fail(pass, got, got == -EINTR ?
				       MAPPED_RAM_NO_PAGE : base + page);
			mram_save_give_back(pass, base, page);
			return got;
		}
		for (; page < (i + got) >> shift; page++)
			mram_save_classify(pass, page);
		i += got;
		cond_resched();
	}
	return 0;
}

/* Get the pages of the chunk's claimed pages and sort them out. */
static void mram_save_get(struct mram_pass *pass, unsigned long base)
{
	unsigned long nr = pass->chunk_pages, page, end;

	bitmap_zero(pass->zero, nr);
	for (page = find_first_bit(pass->need, nr); page < nr;
	     page = find_next_bit(pass->need, nr, end)) {
		end = find_next_zero_bit(pass->need, nr, page);
		if (mram_save_get_run(pass, base, page, end))
			break;
	}
	bitmap_andnot(pass->need, pass->need, pass->zero, nr);
	mram_chunk_clear(pass->region->file, pass->zero, base, nr);
	pass->zeroes += bitmap_weight(pass->zero, nr);
}

/* Which pages of the chunk may be written along. */
static void mram_save_find_join(struct mram_pass *pass, unsigned long base)
{
	unsigned long nr = pass->chunk_pages;

	/*
	 * Only what the image holds already: clean pages that it does not hold
	 * are zero or were never touched, and are not written. And nothing
	 * outside of the range: there, another pass may be writing.
	 */
	mram_chunk_read(pass->join, pass->region->file, base, nr,
			pass->range.first, pass->range.last + 1);
	bitmap_andnot(pass->join, pass->join, pass->need, nr);
	bitmap_andnot(pass->join, pass->join, pass->zero, nr);
}

/*
 * Get the pages of an extent's bridges. Where one is not in memory the extent
 * ends before that bridge.
 *
 * Return: how many pages of the extent are bridges.
 */
static unsigned long mram_save_bridge(struct mram_pass *pass,
				      unsigned long base,
				      struct mram_extent *ext)
{
	unsigned int shift = pass->sub_shift;
	unsigned long end = ext->start + ext->nr;
	unsigned long page, next, want, got, bridged = 0;

	page = find_next_zero_bit(pass->need, end, ext->start);
	while (page < end) {
		next = find_next_bit(pass->need, end, page);
		want = (next - page) << shift;
		got = mram_pages_get_present(mram_pass_addr(pass, base + page),
					     want,
					     pass->pages + (page << shift));
		if (got < want) {
			mram_pages_put(pass->pages + (page << shift), got);
			ext->nr = page - ext->start;
			break;
		}
		bridged += next - page;
		page = find_next_zero_bit(pass->need, end, next);
	}
	return bridged;
}

/* Write the chunk's needed pages, whose pages we have. */
static void mram_save_write(struct mram_pass *pass, unsigned long base,
			    u32 bridge)
{
	unsigned int shift = pass->sub_shift;
	struct mram_plan plan = {
		.need = pass->need,
		.join = pass->join,
		.nr = pass->chunk_pages,
		.bridge = bridge,
		.max = pass->max_pages,
	};
	struct mram_extent ext;
	unsigned long pos = 0;
	struct mram_io *io;

	if (bridge)
		mram_save_find_join(pass, base);
	for (; mram_plan_next(&plan, pos, &ext); pos = ext.start + ext.nr) {
		io = mram_io_get(pass);
		if (!io)
			break;
		io->bridged = bridge ? mram_save_bridge(pass, base, &ext) : 0;
		io->start = base + ext.start;
		io->nr = ext.nr;
		mram_io_submit(io, pass->pages + (ext.start << shift));
	}

	/* What was claimed and not submitted. */
	plan.bridge = 0;
	for (ext.start = pos, ext.nr = 0;
	     mram_plan_next(&plan, ext.start + ext.nr, &ext);)
		mram_pages_put(pass->pages + (ext.start << shift),
			       ext.nr << shift);
	mram_save_give_back(pass, base, pos);
}

/*
 * Where the file is too short already, nothing that the image is said to hold
 * behind its end is there.
 */
static bool mram_save_long_enough(struct mram_pass *pass)
{
	struct mram_region *region = pass->region;
	unsigned long start, end = pass->range.last + 1;

	if (pass->image->block || pass->size >= mram_pass_pos(pass, end))
		return true;
	start = pass->size <= region->pages_offset ? 0 :
		(pass->size - region->pages_offset) >> region->page_shift;
	start = max(start, pass->range.first);
	mram_pass_fail(pass, -ENODATA, start);
	mram_region_lose(region, start, end);
	return false;
}

/*
 * Where the file was cut short meanwhile, writes of ours may have made it
 * longer again, so nobody knows where it was cut and what is now a hole. Who
 * notices it tells the passes that run beside it, and may have noted pages as
 * saved since.
 */
static void mram_save_check_end(struct mram_pass *pass)
{
	struct mram_session *s = pass->session;

	if (pass->cut || mram_image_ends_before(pass->image, pass->size)) {
		atomic_inc(&s->cuts);
		mram_session_lose(s);
	} else if (atomic_read(&s->cuts) != pass->cuts) {
		mram_region_lose(pass->region, pass->range.first,
				 pass->range.last + 1);
	} else {
		return;
	}
	mram_pass_fail(pass, -ENODATA, pass->range.first);
}

static void mram_save_run(struct mram_pass *pass, u32 bridge)
{
	unsigned long start = pass->range.first, end = pass->range.last + 1;
	unsigned long base, nr = pass->chunk_pages;

	for (base = round_down(start, nr); base < end; base += nr) {
		if (mram_pass_stopped(pass))
			break;
		cond_resched();
		if (!mram_chunk_claim(pass->need, pass->region->dirty, base,
				      nr, start, end))
			continue;
		mram_save_get(pass, base);
		mram_save_write(pass, base, bridge);
	}
	mram_pass_finish(pass);
	mram_save_check_end(pass);
}

int mram_ioctl_save(struct mram_session *s, void *_arg)
{
	struct mapped_ram_save *arg = _arg;
	struct mram_pass_args args = {
		.region_id = arg->region_id,
		.window = arg->window,
		.first_page = arg->first_page,
		.nr_pages = arg->nr_pages,
		.max_extent = arg->max_extent,
		.stopped = arg->flags & MAPPED_RAM_SAVE_STOPPED,
		.io_done = mram_save_io_done,
	};
	struct mram_pass *pass;

	if (arg->flags & ~MAPPED_RAM_SAVE_STOPPED)
		return -EOPNOTSUPP;
	if (arg->bridge > MRAM_MAX_BRIDGE)
		return -EINVAL;
	pass = mram_pass_begin(s, &args);
	if (IS_ERR(pass))
		return PTR_ERR(pass);

	if (mram_save_long_enough(pass))
		mram_save_run(pass, arg->bridge);

	arg->out_written_pages = pass->moved;
	arg->out_zero_pages = pass->zeroes;
	arg->out_bridged_pages = pass->bridged;
	arg->out_ios = pass->submitted;
	arg->out_bytes = pass->bytes;
	arg->out_error_page = pass->error_page;
	arg->out_flags = pass->out_flags;
	arg->out_pad = 0;
	/* The outputs go back also when the pass failed. */
	arg->size = 0;
	return mram_pass_end(pass);
}
