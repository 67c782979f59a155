// SPDX-License-Identifier: GPL-2.0
/*
 * SAVE: one pass over the dirty pages of a range.
 *
 * A chunk at a time: claim the dirty bits, sort out the zero pages, get the
 * others, plan extents, write them through the window. A claim ends in exactly
 * one of three ways: the page is written and its file bit set (io_done), it is
 * zero and its file bit clear (mram_save_look), or the dirty bit is set again
 * (io_done, mram_save_give_back).
 *
 * While a chunk is worked on, of its pages
 *   @need  are claimed and not known to be zero,
 *   @zero  are claimed and zero,
 *   @join  are clean and in the image, so that they may bridge.
 */
#include "bits.h"
#include "choose.h"
#include "look.h"
#include "plan.h"
#include "transfer.h"
#include "zero.h"

/*
 * From how many needed pages among 64 on all are got: a page more costs tens
 * of instructions, another call to get one hundreds.
 */
#define MRAM_SAVE_MANY	10

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

	/* As a rule there are none. */
	if (find_next_bit(pass->need, pass->chunk_pages, page) >=
	    pass->chunk_pages)
		return;
	bitmap_copy(back, pass->need, pass->chunk_pages);
	bitmap_clear(back, 0, page);
	mram_chunk_set(pass->region->dirty, back, base, pass->chunk_pages);
	bitmap_clear(pass->need, page, pass->chunk_pages - page);
}

/* Page @page of the chunk cannot be saved, and what follows is not tried. */
static int mram_save_fail(struct mram_pass *pass, unsigned long base,
			  unsigned long page, int error)
{
	mram_pass_fail(pass, error, error == -EINTR ?
		       MAPPED_RAM_NO_PAGE : base + page);
	mram_save_give_back(pass, base, page);
	return error;
}

/* What came out of a look at format pages of several kernel pages each. */
static void mram_save_look_done(struct mram_pass *pass, unsigned long page,
				unsigned long end)
{
	unsigned int shift = pass->sub_shift;
	unsigned long next = (page + 1) << shift;

	for (; page < end; page++, next += 1UL << shift)
		if (find_next_zero_bit(pass->look, next, page << shift) >= next)
			__set_bit(page, pass->zero);
}

/* Find the zero pages of a run of needed pages, [@page, @end) of the chunk. */
static int mram_save_look_run(struct mram_pass *pass, unsigned long base,
			      unsigned long page, unsigned long end)
{
	unsigned int shift = pass->sub_shift;
	unsigned long *zero = shift ? pass->look : pass->zero;
	unsigned long addr = mram_pass_addr(pass, base);
	unsigned long i = page << shift, last = end << shift;
	int ret = 0;
	long got;

	while (i < last) {
		got = mram_look(addr + (i << PAGE_SHIFT), last - i, zero, i,
				&pass->doubt);
		if (got < 0) {
			end = i >> shift;
			ret = mram_save_fail(pass, base, end, got);
			break;
		}
		i += got;
		cond_resched();
	}
	if (shift)
		mram_save_look_done(pass, page, end);
	return ret;
}

/*
 * Where needed pages are scattered, they are looked at a word of the bitmap at
 * a time, as long as all are there. Return: the first page not looked at.
 */
static unsigned long mram_save_look_word(struct mram_pass *pass,
					 unsigned long base, unsigned long page)
{
	unsigned long w = page / BITS_PER_LONG, addr;
	unsigned long need = pass->need[w] & BITMAP_FIRST_WORD_MASK(page);
	unsigned int n;
	u64 zero;

	if (pass->doubt.absent || pass->sub_shift || need == ~0UL)
		return page;
	addr = mram_pass_addr(pass, base + w * BITS_PER_LONG);
	n = mram_zero_scan_user_mask(addr, need, &zero);
	pass->zero[w] |= zero;
	return w * BITS_PER_LONG + n;
}

/*
 * Sort the zero pages out of the chunk's claimed pages.
 *
 * Return: whether others are left.
 */
static bool mram_save_look(struct mram_pass *pass, unsigned long base)
{
	unsigned long nr = pass->chunk_pages, page, end;

	bitmap_zero(pass->zero, nr);
	if (pass->sub_shift)
		bitmap_zero(pass->look, MRAM_CHUNK_PAGES);
	for (page = find_first_bit(pass->need, nr); page < nr;
	     page = find_next_bit(pass->need, nr, end)) {
		end = mram_save_look_word(pass, base, page);
		if (end > page)
			continue;
		end = find_next_zero_bit(pass->need, nr, page);
		if (mram_save_look_run(pass, base, page, end))
			break;
	}
	return mram_chunk_settle(pass->zero, pass->need, pass->region->file,
				 base, nr, &pass->zeroes);
}

/* Whether nothing is there of the chunk: then its claimed pages are zero. */
static bool mram_save_absent(struct mram_pass *pass, unsigned long base)
{
	unsigned long nr = pass->chunk_pages;
	unsigned long start = max(base, pass->range.first);
	unsigned long end = min(base + nr, pass->range.last + 1);

	if (!mram_look_absent(mram_pass_addr(pass, start),
			      (end - start) << pass->sub_shift, &pass->doubt))
		return false;
	pass->zeroes += mram_chunk_forget(pass->need, pass->region->file, base,
					  nr);
	return true;
}

/* Absent parts of larger pages, or gone since the look: written as zeroes. */
static void mram_save_fill(struct mram_run *runs, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i += runs[i].nr) {
		if (runs[i].page)
			continue;
		mram_run_cut(&runs[i], 1);
		runs[i].page = ZERO_PAGE(0);
		get_page(runs[i].page);
	}
}

/*
 * Get those of the chunk's kernel pages [@i, @end) that are in memory. Return:
 * how many from the first on.
 */
static unsigned long mram_save_get_present(struct mram_pass *pass,
					   unsigned long base, unsigned long i,
					   unsigned long end)
{
	unsigned long addr = mram_pass_addr(pass, base) + (i << PAGE_SHIFT);
	struct mram_run *runs = &pass->runs[i];
	unsigned long nr = end - i, done, got;

	if (!pass->region->pins) {
		done = mram_pages_take(false, addr, NULL, 0, nr, runs,
				       &pass->not_taken);
		return done + mram_pages_get_present(addr +
						     (done << PAGE_SHIFT),
						     nr - done, runs + done,
						     pass->batch);
	}
	for (done = 0; done < nr; done += got) {
		got = mram_pins_get(pass->region->pins,
				    addr + (done << PAGE_SHIFT), nr - done,
				    &runs[done], pass->batch);
		if (!got)
			break;
	}
	return done;
}

/*
 * Get the pages of a run of needed pages, [*@page, @end) of the chunk. On
 * failure *@page is the one that could not be got.
 */
static int mram_save_get_run(struct mram_pass *pass, unsigned long base,
			     unsigned long *page, unsigned long end)
{
	unsigned int shift = pass->sub_shift;
	unsigned long first = *page << shift, last = end << shift, i;
	unsigned long addr = mram_pass_addr(pass, base);
	long got;

	for (i = first; i < last; i += got) {
		got = mram_save_get_present(pass, base, i, last);
		if (got)
			continue;
		got = mram_pages_get_other(addr + (i << PAGE_SHIFT), last - i,
					   &pass->runs[i], pass->batch);
		if (got < 0) {
			/* Of the page that failed, a part was got. */
			*page = i >> shift;
			last = *page << shift;
			mram_pages_split(&pass->runs[first], last - first);
			mram_pages_put(&pass->runs[last], i - last);
			return got;
		}
		/* Which may have taken any time, if there was one to fault in. */
		if (pass->runs[i].page)
			pass->trial.spoiled = true;
		mram_save_fill(&pass->runs[i], got);
	}
	*page = end;
	return 0;
}

/*
 * Get as many of the needed pages as can be got at once. Return: the first one
 * that must be got otherwise, which may be @page.
 */
static unsigned long mram_save_get_many(struct mram_pass *pass,
					unsigned long base, unsigned long page)
{
	unsigned long w = page / BITS_PER_LONG, got, end;
	unsigned long need = pass->need[w] & BITMAP_FIRST_WORD_MASK(page);

	if (pass->sub_shift || pass->region->pins)
		return page;
	end = mram_pages_take(false, mram_pass_addr(pass, base), pass->need,
			      page, pass->chunk_pages, pass->runs,
			      &pass->not_taken);
	if (end > page)
		return end;
	/*
	 * Where many pages of a word of the bitmap are needed, but not all, it
	 * is cheaper to get all that lie between and to give the others back
	 * at once.
	 */
	if (mram_pass_addr(pass, base + page) >= pass->not_taken ||
	    need == ~0UL ||
	    hweight_long(need) < MRAM_SAVE_MANY)
		return page;
	end = w * BITS_PER_LONG + __fls(need) + 1;
	got = mram_save_get_present(pass, base, page, end);
	if (got < end - page) {
		mram_pages_put(&pass->runs[page], got);
		return page;
	}
	mram_pages_keep(&pass->runs[page], end - page, pass->need, page);
	return end;
}

/* Get the pages of the chunk's needed pages. */
static void mram_save_get(struct mram_pass *pass, unsigned long base)
{
	unsigned long nr = pass->chunk_pages, page, end;
	int ret;

	for (page = find_first_bit(pass->need, nr); page < nr;
	     page = find_next_bit(pass->need, nr, page)) {
		end = mram_save_get_many(pass, base, page);
		if (end > page) {
			page = end;
			continue;
		}
		end = find_next_zero_bit(pass->need, nr, page);
		ret = mram_save_get_run(pass, base, &page, end);
		if (ret) {
			mram_save_fail(pass, base, page, ret);
			break;
		}
		cond_resched();
	}
}

/* Which pages of the chunk may be written along. Return: whether any. */
static bool mram_save_find_join(struct mram_pass *pass, unsigned long base)
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
	return bitmap_andnot(pass->join, pass->join, pass->zero, nr);
}

/*
 * Get the pages of an extent with bridges. Where a page of a bridge is not in
 * memory the extent ends before that bridge.
 *
 * Return: how many pages of the extent are bridges, or an errno.
 */
static long mram_save_get_extent(struct mram_pass *pass, unsigned long base,
				 struct mram_extent *ext)
{
	unsigned int shift = pass->sub_shift;
	unsigned long end = ext->start + ext->nr;
	unsigned long page, next, got, bridged;
	int ret;

	got = mram_save_get_present(pass, base, ext->start << shift,
				    end << shift);
	if (got == ext->nr << shift)
		return ext->nr - mram_chunk_weight(pass->need, ext->start, end);
	mram_pages_put(&pass->runs[ext->start << shift], got);

	for (page = ext->start, bridged = 0; ; page = next) {
		next = find_next_zero_bit(pass->need, end, page);
		ret = mram_save_get_run(pass, base, &page, next);
		if (ret) {
			mram_pages_put(&pass->runs[ext->start << shift],
				       (page - ext->start) << shift);
			return mram_save_fail(pass, base, page, ret);
		}
		/* An extent ends with a needed page. */
		if (page == end)
			break;
		next = find_next_bit(pass->need, end, page);
		got = mram_save_get_present(pass, base, page << shift,
					    next << shift);
		if (got < (next - page) << shift) {
			mram_pages_put(&pass->runs[page << shift], got);
			ext->nr = page - ext->start;
			break;
		}
		bridged += next - page;
	}
	return bridged;
}

/* Write the chunk's needed pages, and clean ones with them. */
static void mram_save_write(struct mram_pass *pass, unsigned long base)
{
	unsigned int shift = pass->sub_shift;
	struct mram_plan plan = {
		.need = pass->need,
		.join = pass->join,
		.nr = pass->chunk_pages,
		.max = pass->max_pages,
	};
	struct mram_extent ext;
	unsigned long pos = 0;
	struct mram_io *io;
	long bridged = 0;
	bool each;

	if (pass->args.bridge && mram_save_find_join(pass, base))
		plan.bridge = mram_choose_begin(pass);
	else
		mram_choose_end(pass);
	/* Bridges are got with what they join. */
	each = plan.bridge || pass->trial.on;
	if (!each)
		mram_save_get(pass, base);
	mram_pass_plug(pass);
	for (; mram_plan_next(&plan, pos, &ext); pos = ext.start + ext.nr) {
		io = mram_io_get(pass);
		if (!io)
			break;
		if (each)
			bridged = mram_save_get_extent(pass, base, &ext);
		if (bridged < 0) {
			mram_io_unget(io);
			break;
		}
		io->bridged = bridged;
		io->start = base + ext.start;
		io->nr = ext.nr;
		mram_io_submit(io, &pass->runs[ext.start << shift]);
		if (pass->trial.on)
			plan.bridge = mram_choose_count(pass, ext.nr);
	}
	mram_pass_unplug(pass);
	mram_choose_pause(pass);

	/* What was claimed and not submitted. */
	for (ext.start = pos, ext.nr = 0; !each &&
	     mram_plan_next(&plan, ext.start + ext.nr, &ext);)
		mram_pages_put(&pass->runs[ext.start << shift],
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

static void mram_save_run(struct mram_pass *pass)
{
	unsigned long start = pass->range.first, end = pass->range.last + 1;
	unsigned long base, nr = pass->chunk_pages;

	for (base = round_down(start, nr); base < end; base += nr) {
		if (mram_pass_stopped(pass))
			break;
		cond_resched();
		pass->check = true;
		if (!mram_chunk_claim(pass->need, pass->region->dirty, base,
				      nr, start, end))
			continue;
		if (mram_save_absent(pass, base))
			continue;
		if (!mram_save_look(pass, base))
			continue;
		mram_save_write(pass, base);
	}
	mram_choose_end(pass);
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
		.bridge = arg->bridge,
		.choose = arg->flags & MAPPED_RAM_SAVE_BRIDGE_AUTO,
		.stopped = arg->flags & MAPPED_RAM_SAVE_STOPPED,
		.io_done = mram_save_io_done,
	};
	struct mram_pass *pass;

	if (arg->flags & ~(MAPPED_RAM_SAVE_STOPPED |
			   MAPPED_RAM_SAVE_BRIDGE_AUTO))
		return -EOPNOTSUPP;
	if (arg->bridge > MRAM_MAX_BRIDGE)
		return -EINVAL;
	if (args.choose && !args.bridge)
		args.bridge = MRAM_MAX_BRIDGE;
	pass = mram_pass_begin(s, &args);
	if (IS_ERR(pass))
		return PTR_ERR(pass);

	if (mram_save_long_enough(pass))
		mram_save_run(pass);

	arg->out_written_pages = pass->moved;
	arg->out_zero_pages = pass->zeroes;
	arg->out_bridged_pages = pass->bridged;
	arg->out_ios = pass->submitted;
	arg->out_bytes = pass->bytes;
	arg->out_error_page = pass->error_page;
	arg->out_flags = pass->out_flags;
	arg->out_bridge = mram_choose_best(pass);
	/* The outputs go back also when the pass failed. */
	arg->size = 0;
	return mram_pass_end(pass);
}
