// SPDX-License-Identifier: GPL-2.0
/*
 * LOAD: the mirror of SAVE. Pages whose file bit is set are read from the
 * image straight into the caller's pages, the others are made zero; those of
 * them that are absent are zero already and stay absent.
 */
#include <linux/highmem.h>

#include "bits.h"
#include "look.h"
#include "plan.h"
#include "transfer.h"

/* Up to 2 to the power of so many pages the quick way is not tried again. */
#define MRAM_LOAD_VAIN	9U

static void mram_load_io_done(struct mram_pass *pass, struct mram_io *io,
			      unsigned long good)
{
	pass->moved += good;
}

/* Unpin the first @nr pages, which nothing was written to. */
static void mram_load_unpin(struct mram_run *runs, unsigned long nr)
{
	unsigned long i, n;

	for (i = 0; i < nr; i += n) {
		n = mram_run_cut(&runs[i], nr - i);
		unpin_user_page_range_dirty_lock(runs[i].page, n, false);
	}
}

/*
 * Pin those of the chunk's needed kernel pages from @i on, which is one, that
 * are mapped, or of a file that is not mapped, or quickly made; where a format
 * page is several, up to @end. Where that was in vain it is tried again further
 * on, the more often the farther.
 *
 * Return: a page before which the needed ones were pinned, maybe @i.
 */
static unsigned long mram_load_take(struct mram_pass *pass, unsigned long base,
				    unsigned long i, unsigned long end)
{
	const unsigned long *need = pass->sub_shift ? NULL : pass->need;
	unsigned long addr = mram_pass_addr(pass, base), next;
	unsigned long at = addr + (i << PAGE_SHIFT);

	if (at < pass->not_taken)
		return i;
	if (need)
		end = pass->chunk_pages;
	next = mram_pages_take(true, addr, need, i, end, pass->runs,
			       &pass->not_taken);
	if (next == i && at >= pass->not_taken) {
		next = mram_pages_fill(addr, need, i, end, pass->runs);
		if (next == i && mram_pages_populate(addr, need, i, end))
			next = mram_pages_take(true, addr, need, i, end,
					       pass->runs, &pass->not_taken);
	}
	if (next > i) {
		pass->in_vain = 0;
		return next;
	}
	pass->not_taken = max(pass->not_taken,
			      at + (PAGE_SIZE << pass->in_vain));
	pass->in_vain = min(pass->in_vain + 1, MRAM_LOAD_VAIN);
	return i;
}

/*
 * Pin pages, at most @nr, the slow way. A huge page that is not there yet comes
 * in with its first page; the others are then found in one walk, where to get all
 * at once would go this way for each.
 */
static int mram_load_fault(struct mram_pass *pass, unsigned long addr,
			   unsigned long nr, struct mram_run *runs)
{
	unsigned long place = (addr >> PAGE_SHIFT) % MRAM_BATCH;
	int got;

	nr = place ? min(nr, MRAM_BATCH - place) : 1;
	got = pin_user_pages_fast(addr, nr, FOLL_WRITE, pass->batch);
	if (got > 0)
		mram_runs_make(runs, pass->batch, got);
	return got;
}

/*
 * Pin the pages of an extent for writing. Fewer than asked for shorten it, by
 * whole format pages. Of the pages before *@taken the needed ones are pinned.
 */
static int mram_load_pin(struct mram_pass *pass, unsigned long base,
			 struct mram_extent *ext, unsigned long *taken)
{
	unsigned int shift = pass->sub_shift;
	unsigned long addr = mram_pass_addr(pass, base);
	unsigned long first = ext->start << shift;
	unsigned long end = first + (ext->nr << shift), i, next;
	int got = 0;

	for (i = max(first, min(*taken, end)); i < end; i = min(next, end)) {
		next = mram_load_take(pass, base, i, end);
		*taken = next;
		if (next > i)
			continue;
		got = mram_load_fault(pass, addr + (i << PAGE_SHIFT), end - i,
				      &pass->runs[i]);
		if (got <= 0)
			break;
		next = i + got;
	}
	ext->nr = (i - first) >> shift;
	first += ext->nr << shift;
	/* Of a format page, a part was pinned. */
	if (first < i) {
		mram_pages_split(&pass->runs[ext->start << shift],
				 ext->nr << shift);
		mram_load_unpin(&pass->runs[first], i - first);
		*taken = first;
	}
	return ext->nr ? 0 : mram_gup_result(got);
}

/* Unpin what was pinned of the pages from @pos on: the needed ones up to @taken. */
static void mram_load_give_back(struct mram_pass *pass,
				const struct mram_plan *plan,
				unsigned long pos, unsigned long taken)
{
	struct mram_extent ext = { .start = pos };
	unsigned long first;

	while (mram_plan_next(plan, ext.start + ext.nr, &ext)) {
		first = ext.start << pass->sub_shift;
		if (first >= taken)
			break;
		mram_load_unpin(&pass->runs[first],
				min(ext.nr << pass->sub_shift, taken - first));
	}
}

/* Read the chunk's pages that the image holds. */
static void mram_load_read(struct mram_pass *pass, unsigned long base)
{
	unsigned int shift = pass->sub_shift;
	struct mram_plan plan = {
		.need = pass->need,
		.nr = pass->chunk_pages,
		.max = pass->max_pages,
	};
	unsigned long pos = 0, taken = 0;
	struct mram_extent ext;
	struct mram_io *io;
	int ret;

	mram_pass_plug(pass);
	for (; mram_plan_next(&plan, pos, &ext); pos = ext.start + ext.nr) {
		io = mram_io_get(pass);
		if (!io) {
			mram_pass_fail(pass, pass->error, base + ext.start);
			mram_load_give_back(pass, &plan, pos, taken);
			break;
		}
		ret = mram_load_pin(pass, base, &ext, &taken);
		if (ret) {
			mram_io_unget(io);
			mram_pass_fail(pass, ret, base + ext.start);
			break;
		}
		io->bridged = 0;
		io->start = base + ext.start;
		io->nr = ext.nr;
		mram_io_submit(io, &pass->runs[ext.start << shift]);
	}
	mram_pass_unplug(pass);
}

/*
 * Make some of the first of @nr pages zero.
 *
 * Return: how many, at least 1, or an errno.
 */
static int mram_load_clear(unsigned long addr, unsigned long nr,
			   struct page **pages)
{
	int i, got = pin_user_pages_fast(addr, nr, FOLL_WRITE, pages);

	if (got <= 0)
		return mram_gup_result(got);
	for (i = 0; i < got; i++)
		clear_highpage(pages[i]);
	unpin_user_pages_dirty_lock(pages, got, true);
	return got;
}

/* Make @nr kernel pages at @addr zero; absent ones are. */
static int mram_load_zero_run(struct mram_pass *pass, unsigned long addr,
			      unsigned long nr, unsigned long *done)
{
	unsigned long *zero = pass->sub_shift ? pass->look : pass->zero;
	unsigned long i, end;
	long got;
	int ret;

	for (*done = 0; *done < nr; *done += got, addr += got << PAGE_SHIFT) {
		if (task_sigpending(current))
			return -EINTR;
		bitmap_zero(zero, nr - *done);
		got = mram_look(addr, nr - *done, zero, 0, &pass->doubt);
		if (got < 0)
			return got;
		for (i = find_first_zero_bit(zero, got); i < got;
		     i = find_next_zero_bit(zero, got, i + ret)) {
			end = min_t(unsigned long, i + MRAM_BATCH,
				    find_next_bit(zero, got, i));
			ret = mram_load_clear(addr + (i << PAGE_SHIFT), end - i,
					      pass->batch);
			if (ret < 0) {
				*done += i;
				return ret;
			}
			cond_resched();
		}
		cond_resched();
	}
	return 0;
}

/*
 * Which of the pages from @first on are not to be made zero, into @join: those
 * that were read, and those that are zero as they are absent.
 */
static void mram_load_find_zero(struct mram_pass *pass, unsigned long base,
				unsigned long first, unsigned long last)
{
	bitmap_zero(pass->join, pass->chunk_pages);
	if (!pass->sub_shift)
		mram_look_ahead(mram_pass_addr(pass, base + first),
				last - first, pass->join, first, &pass->doubt);
	bitmap_or(pass->join, pass->join, pass->need, pass->chunk_pages);
}

/*
 * Make the chunk's pages zero that the image does not hold; also when reading
 * failed, up to the page that did.
 */
static void mram_load_zero(struct mram_pass *pass, unsigned long base)
{
	unsigned long start = max(pass->range.first, base) - base;
	unsigned long last = min(pass->range.last + 1 - base,
				 pass->chunk_pages);
	unsigned long first, page, end, done;
	int ret = 0;

	if (pass->error_page < base + last)
		last = max_t(u64, pass->error_page, base) - base;
	first = find_next_zero_bit(pass->need, last, start);
	if (first >= last)
		return;
	mram_load_find_zero(pass, base, first, last);
	for (page = first; page < last && !ret; page = end) {
		page = find_next_zero_bit(pass->join, last, page);
		end = find_next_bit(pass->join, last, page);
		if (page == end)
			break;
		ret = mram_load_zero_run(pass, mram_pass_addr(pass, base + page),
					 (end - page) << pass->sub_shift,
					 &done);
		if (ret) {
			last = page + (done >> pass->sub_shift);
			mram_pass_fail(pass, ret, base + last);
		}
	}
	pass->zeroes += last - start -
			mram_chunk_weight(pass->need, start, last);
}

static void mram_load_run(struct mram_pass *pass)
{
	unsigned long start = pass->range.first, end = pass->range.last + 1;
	unsigned long base, nr = pass->chunk_pages;

	for (base = round_down(start, nr); base < end; base += nr) {
		if (mram_pass_stopped(pass)) {
			mram_pass_fail(pass, pass->error, max(base, start));
			break;
		}
		pass->check = true;
		mram_chunk_read(pass->need, pass->region->file, base, nr,
				start, end);
		mram_load_read(pass, base);
		mram_load_zero(pass, base);
		cond_resched();
	}
	mram_pass_finish(pass);
}

int mram_ioctl_load(struct mram_session *s, void *_arg)
{
	struct mapped_ram_load *arg = _arg;
	struct mram_pass_args args = {
		.region_id = arg->region_id,
		.window = arg->window,
		.first_page = arg->first_page,
		.nr_pages = arg->nr_pages,
		.max_extent = arg->max_extent,
		.load = true,
		.io_done = mram_load_io_done,
	};
	struct mram_pass *pass;

	if (arg->flags || arg->pad)
		return -EOPNOTSUPP;
	pass = mram_pass_begin(s, &args);
	if (IS_ERR(pass))
		return PTR_ERR(pass);

	mram_load_run(pass);

	arg->out_read_pages = pass->moved;
	arg->out_zero_pages = pass->zeroes;
	arg->out_ios = pass->submitted;
	arg->out_bytes = pass->bytes;
	arg->out_error_page = pass->error_page;
	arg->out_flags = pass->out_flags;
	arg->out_pad = 0;
	arg->size = 0;
	return mram_pass_end(pass);
}
