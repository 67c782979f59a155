// SPDX-License-Identifier: GPL-2.0
/*
 * The window: a bounded set of direct I/Os in flight.
 *
 * All its memory is allocated before the first one is submitted. Only the
 * pass's own thread submits, looks at what has ended, and gives pages back;
 * the completion, which runs in any context, just puts the slot on a list.
 * A pass does not return before everything in flight has ended, signal or not:
 * the slots are its own.
 */
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "transfer.h"

/* Copies made for a target with stable pages, at most, for all slots. */
#define MRAM_MAX_BOUNCE		(64UL << 20)

static int mram_bounce_alloc(struct mram_pass *pass, unsigned long per_io)
{
	unsigned long i, nr = pass->nr_ios * per_io;

	pass->bounce_pages = kvcalloc(nr, sizeof(*pass->bounce_pages),
				      GFP_KERNEL_ACCOUNT);
	if (!pass->bounce_pages)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		pass->bounce_pages[i] = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!pass->bounce_pages[i])
			return -ENOMEM;
		cond_resched();
	}
	for (i = 0; i < pass->nr_ios; i++)
		pass->ios[i].bounce = pass->bounce_pages + i * per_io;
	return 0;
}

static unsigned long mram_extent_kernel_pages(const struct mram_pass *pass)
{
	return pass->max_pages << pass->sub_shift;
}

/**
 * mram_window_alloc() - allocate all that a pass needs until it ends
 * @pass: with the limits filled in
 *
 * After a failure mram_window_free() frees what there is.
 */
int mram_window_alloc(struct mram_pass *pass)
{
	unsigned long per_io = mram_extent_kernel_pages(pass);
	unsigned long words = BITS_TO_LONGS(pass->chunk_pages);
	unsigned int i;

	if (pass->bounce)
		pass->nr_ios = clamp(MRAM_MAX_BOUNCE / PAGE_SIZE / per_io, 1UL,
				     (unsigned long)pass->nr_ios);

	pass->ios = kvcalloc(pass->nr_ios, sizeof(*pass->ios),
			     GFP_KERNEL_ACCOUNT);
	pass->bvecs = kvcalloc(pass->nr_ios, per_io * sizeof(*pass->bvecs),
			       GFP_KERNEL_ACCOUNT);
	pass->pages = kvcalloc(MRAM_CHUNK_PAGES, sizeof(*pass->pages),
			       GFP_KERNEL_ACCOUNT);
	pass->need = kvcalloc(3 * words, sizeof(*pass->need),
			      GFP_KERNEL_ACCOUNT);
	if (!pass->ios || !pass->bvecs || !pass->pages || !pass->need)
		return -ENOMEM;
	pass->zero = pass->need + words;
	pass->join = pass->zero + words;

	for (i = 0; i < pass->nr_ios; i++) {
		pass->ios[i].pass = pass;
		pass->ios[i].bvec = pass->bvecs + i * per_io;
		list_add_tail(&pass->ios[i].node, &pass->free);
	}
	return pass->bounce ? mram_bounce_alloc(pass, per_io) : 0;
}

void mram_window_free(struct mram_pass *pass)
{
	unsigned long i, nr = pass->nr_ios * mram_extent_kernel_pages(pass);

	if (pass->bounce_pages)
		for (i = 0; i < nr && pass->bounce_pages[i]; i++)
			__free_page(pass->bounce_pages[i]);
	kvfree(pass->bounce_pages);
	kvfree(pass->need);
	kvfree(pass->pages);
	kvfree(pass->bvecs);
	kvfree(pass->ios);
}

/**
 * mram_pass_fail() - note that a pass cannot do all it was asked for
 * @pass: the pass
 * @error: why; the first one counts
 * @page: the page that failed, or MAPPED_RAM_NO_PAGE; the lowest one counts
 */
void mram_pass_fail(struct mram_pass *pass, int error, u64 page)
{
	if (!pass->error)
		pass->error = error;
	pass->error_page = min(pass->error_page, page);
}

/* The I/O of a slot has ended, in whatever context. */
static void mram_io_ended(struct mram_io *io, ssize_t result)
{
	struct mram_pass *pass = io->pass;
	unsigned long flags;

	io->result = result;
	/*
	 * All under the lock: once the slot is on the list and the lock free,
	 * the pass may end and be freed.
	 */
	spin_lock_irqsave(&pass->lock, flags);
	list_add_tail(&io->node, &pass->done);
	wake_up(&pass->wait);
	spin_unlock_irqrestore(&pass->lock, flags);
}

static void mram_io_complete(struct kiocb *iocb, long ret)
{
	struct mram_io *io = container_of(iocb, struct mram_io, iocb);

	if (!io->pass->args.load)
		mram_image_rw_done(iocb);
	mram_io_ended(io, ret);
}

/* Submit what a slot still has to move. */
static void mram_io_start(struct mram_io *io)
{
	struct mram_pass *pass = io->pass;
	int dirtied = current->nr_dirtied;
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, pass->args.load ? ITER_DEST : ITER_SOURCE,
		      io->bvec, io->nr_bvecs, io->len);
	iov_iter_advance(&iter, io->done);
	io->iocb.ki_complete = mram_io_complete;
	pass->in_flight++;
	/* A file that somebody cut short is not to be made longer again. */
	if (!pass->args.load &&
	    mram_image_ends_before(pass->image, pass->size)) {
		pass->cut = true;
		mram_io_ended(io, -ENODATA);
		return;
	}
	pass->submitted++;
	ret = mram_image_rw(pass->image, &io->iocb, &iter,
			    mram_pass_pos(pass, io->start) + io->done);
	if (ret == -EIOCBQUEUED)
		return;
	/*
	 * It has ended, and no completion will come. A file system that went
	 * through the page cache (btrfs, for its checksums) ends so, too, and
	 * may have dropped the pages again, but they count as dirtied by us.
	 */
	if (ret > 0 && !pass->args.load && current->nr_dirtied != dirtied)
		pass->out_flags |= MAPPED_RAM_PASS_OUT_BUFFERED;
	mram_io_ended(io, ret);
}

/* Put the pages of an extent into the slot; neighbours share a bvec. */
static void mram_io_fill(struct mram_io *io, struct page **pages)
{
	struct bio_vec *bvec = io->bvec;
	unsigned long i, nr = io->len >> PAGE_SHIFT;

	bvec_set_page(bvec, pages[0], PAGE_SIZE, 0);
	for (i = 1; i < nr; i++) {
		/* Device memory of different owners must not be mixed. */
		if (pages[i] == pages[i - 1] + 1 &&
		    !is_zone_device_page(pages[i]))
			bvec->bv_len += PAGE_SIZE;
		else
			bvec_set_page(++bvec, pages[i], PAGE_SIZE, 0);
	}
	io->nr_bvecs = bvec - io->bvec + 1;
}

/**
 * mram_io_submit() - read or write an extent
 * @io: a slot, with @start, @nr and @bridged filled in
 * @pages: its pages, in kernel pages; the slot takes them over
 */
void mram_io_submit(struct mram_io *io, struct page **pages)
{
	struct mram_pass *pass = io->pass;
	unsigned long i, nr = io->nr << pass->sub_shift;

	io->len = nr << PAGE_SHIFT;
	io->done = 0;
	if (io->bounce) {
		for (i = 0; i < nr; i++)
			copy_highpage(io->bounce[i], pages[i]);
		mram_pages_put(pages, nr);
		pages = io->bounce;
		pass->out_flags |= MAPPED_RAM_PASS_OUT_BOUNCED;
	}
	mram_io_fill(io, pages);
	mram_io_start(io);
}

/* Give the pages of a slot back. */
static void mram_io_release(struct mram_io *io)
{
	unsigned long nr;
	unsigned int i;

	if (io->bounce)
		return;
	for (i = 0; i < io->nr_bvecs; i++) {
		nr = io->bvec[i].bv_len >> PAGE_SHIFT;
		if (io->pass->args.load)
			unpin_user_page_range_dirty_lock(io->bvec[i].bv_page,
							 nr, true);
		else
			mram_page_run_put(io->bvec[i].bv_page, nr);
	}
}

/*
 * Look at a slot whose I/O has ended: move on if it was short, else give its
 * pages back and settle them.
 */
static void mram_io_settle(struct mram_io *io)
{
	struct mram_pass *pass = io->pass;
	size_t before = io->done;
	ssize_t ret = io->result;
	unsigned long good;

	if (ret == -ERESTARTSYS || ret == -ERESTARTNOINTR ||
	    ret == -ERESTARTNOHAND || ret == -ERESTART_RESTARTBLOCK)
		ret = -EINTR;
	/* To the block layer it means a medium error, to our callers not. */
	if (ret == -ENODATA && !pass->cut)
		ret = -EIO;
	if (ret >= 0) {
		/* Go on at a whole block; a file may end inside of one. */
		io->done = round_down(io->done + ret,
				      pass->image->offset_align);
		pass->bytes += io->done - before;
		ret = 0;
		if (io->done == before)
			ret = pass->args.load ? -ENODATA : -EIO;
		else if (io->done < io->len && !pass->error)
			return mram_io_start(io);
	}

	mram_io_release(io);
	good = io->done >> pass->region->page_shift;
	if (good < io->nr) {
		/* Which of them are bridges is not known any more. */
		if (io->bridged)
			good = 0;
		mram_pass_fail(pass, ret, io->start + good);
	}
	pass->args.io_done(pass, io, good);
	list_add_tail(&io->node, &pass->free);
}

/* Settle what has ended; with @wait at least one slot, if any is in flight. */
static void mram_pass_reap(struct mram_pass *pass, bool wait)
{
	struct mram_io *io, *next;
	LIST_HEAD(done);

	if (!pass->in_flight || (!wait && list_empty_careful(&pass->done)))
		return;
	spin_lock_irq(&pass->lock);
	if (wait)
		wait_event_lock_irq(pass->wait, !list_empty(&pass->done),
				    pass->lock);
	list_splice_init(&pass->done, &done);
	spin_unlock_irq(&pass->lock);

	list_for_each_entry_safe(io, next, &done, node) {
		list_del(&io->node);
		pass->in_flight--;
		mram_io_settle(io);
	}
}

/* Whether a pass must end: something failed, or a signal came. */
bool mram_pass_stopped(struct mram_pass *pass)
{
	/* Not signal_pending(), which is true for task work, too. */
	if (!pass->error && task_sigpending(current))
		mram_pass_fail(pass, -EINTR, MAPPED_RAM_NO_PAGE);
	return pass->error;
}

/**
 * mram_io_get() - get a free slot, waiting for one if need be
 * @pass: the pass
 *
 * Return: the slot, or NULL when the pass must end.
 */
struct mram_io *mram_io_get(struct mram_pass *pass)
{
	struct mram_io *io;
	bool wait = false;

	for (;;) {
		mram_pass_reap(pass, wait);
		if (mram_pass_stopped(pass))
			return NULL;
		io = list_first_entry_or_null(&pass->free, struct mram_io,
					      node);
		if (io) {
			list_del(&io->node);
			return io;
		}
		wait = true;
	}
}

/* Wait until nothing is in flight. */
void mram_pass_drain(struct mram_pass *pass)
{
	while (pass->in_flight)
		mram_pass_reap(pass, true);
}
