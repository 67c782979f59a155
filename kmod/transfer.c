// SPDX-License-Identifier: GPL-2.0
/*
 * The window: a bounded set of direct I/Os in flight.
 *
 * All its memory is there before the first one is submitted (window.c). Only the
 * pass's own thread submits, looks at what has ended, and gives pages back;
 * the completion, which runs in any context, just puts the slot on a list.
 *
 * To a file goes a kiocb. To a block device, too, once for each chunk, which
 * does all that a write to the device's node does; the others are bios, which
 * are in the slot and need nothing allocated.
 *
 * A pass does not return before everything in flight has ended, signal or not:
 * the slots are its own.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/sched.h>
#include <linux/task_io_accounting_ops.h>
#include <linux/uio.h>

#include "compat.h"
#include "transfer.h"

/* Requests that are made at a time, at most. */
#define MRAM_REQUESTS		8U

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

	io->result = result;
	/* Once the slot is on the list the pass may end: RCU keeps the rest. */
	rcu_read_lock();
	llist_add(&io->node, &pass->done);
	/* llist_add() orders this behind it, mram_pass_wait() the reverse. */
	if (READ_ONCE(pass->waiting))
		wake_up_process(pass->task);
	rcu_read_unlock();
}

static void mram_io_complete(struct kiocb *iocb, long ret)
{
	struct mram_io *io = container_of(iocb, struct mram_io, iocb);

	if (!io->pass->args.load)
		mram_write_end(iocb);
	mram_io_ended(io, ret);
}

static void mram_io_bio_end(struct bio *bio)
{
	struct mram_io *io = bio->bi_private;
	int error = blk_status_to_errno(bio->bi_status);

	bio_uninit(bio);
	mram_io_ended(io, error ? error : io->len - io->done);
}

/* Send what a slot still has to move to the block device itself. */
static ssize_t mram_io_start_bio(struct mram_io *io)
{
	struct mram_pass *pass = io->pass;
	struct bio *bio = &io->bio;

	bio_init(bio, I_BDEV(pass->image->inode), io->bvec, io->nr_bvecs,
		 pass->args.load ? REQ_OP_READ :
				   REQ_OP_WRITE | REQ_SYNC | REQ_IDLE);
	bio->bi_vcnt = io->nr_bvecs;
	bio->bi_iter.bi_sector = mram_pass_pos(pass, io->start) >> SECTOR_SHIFT;
	bio->bi_iter.bi_size = io->len;
	/* Moves the sector on, too. */
	if (io->done)
		bio_advance(bio, io->done);
	bio->bi_ioprio = pass->iocb.ki_ioprio;
	bio->bi_private = io;
	bio->bi_end_io = mram_io_bio_end;
	if (!pass->args.load)
		task_io_account_write(io->len - io->done);
	submit_bio(bio);
	return -EIOCBQUEUED;
}

/* Send what a slot still has to move to the file. */
static ssize_t mram_io_start_iocb(struct mram_io *io, loff_t pos)
{
	struct mram_pass *pass = io->pass;
	int dirtied = current->nr_dirtied;
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, pass->args.load ? ITER_DEST : ITER_SOURCE,
		      io->bvec, io->nr_bvecs, io->len);
	if (io->done)
		iov_iter_advance(&iter, io->done);
	io->iocb = pass->iocb;
	io->iocb.ki_complete = mram_io_complete;
	io->iocb.ki_pos = pos;
	ret = mram_image_rw(pass->image, &io->iocb, &iter, pass->check);
	/*
	 * A file system that went through the page cache (btrfs, for its
	 * checksums) has ended it, too, and may have dropped the pages again,
	 * but they count as dirtied by us.
	 */
	if (ret > 0 && !pass->args.load && current->nr_dirtied != dirtied)
		pass->out_flags |= MAPPED_RAM_PASS_OUT_BUFFERED;
	return ret;
}

/*
 * Submit what a slot still has to move.
 *
 * Return: -EIOCBQUEUED when mram_io_ended() will be called, else what it ended
 * with.
 */
static ssize_t mram_io_start(struct mram_io *io)
{
	struct mram_pass *pass = io->pass;
	loff_t pos = mram_pass_pos(pass, io->start) + io->done;
	ssize_t ret;

	/* A file that somebody cut short is not to be made longer again. */
	if (!pass->args.load &&
	    mram_image_ends_before(pass->image, pass->size)) {
		pass->cut = true;
		return -ENODATA;
	}
	pass->submitted++;
	if (!pass->check &&
	    mram_image_takes_bio(pass->image, pos, io->len - io->done))
		return mram_io_start_bio(io);
	ret = mram_io_start_iocb(io, pos);
	pass->check = false;
	return ret;
}

/* Copy the pages of an extent, for a target that wants them not to change. */
static void mram_io_bounce(struct mram_io *io, struct mram_run *runs,
			   unsigned long nr)
{
	unsigned long i, n, k;

	for (i = 0; i < nr; i += n) {
		n = mram_run_cut(&runs[i], nr - i);
		for (k = 0; k < n; k++) {
			copy_highpage(io->bounce[i + k], runs[i].page + k);
			bvec_set_page(&io->bvec[i + k], io->bounce[i + k],
				      PAGE_SIZE, 0);
		}
		mram_page_run_put(runs[i].page, n);
	}
	io->nr_bvecs = nr;
	io->pass->out_flags |= MAPPED_RAM_PASS_OUT_BOUNCED;
}

/* Put the pages of an extent into the slot. */
static void mram_io_fill(struct mram_io *io, struct mram_run *runs,
			 unsigned long nr)
{
	struct bio_vec *bvec = io->bvec;
	unsigned long i, n;

	for (i = 0; i < nr; i += n) {
		n = mram_run_cut(&runs[i], nr - i);
		bvec_set_page(bvec++, runs[i].page, n << PAGE_SHIFT, 0);
	}
	io->nr_bvecs = bvec - io->bvec;
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

/* Give a slot back. */
void mram_io_unget(struct mram_io *io)
{
	io->node.next = io->pass->free;
	io->pass->free = &io->node;
}

/*
 * Look at a slot whose I/O has ended: if it was short, and there is more to
 * move, say so. Else give its pages back and settle them.
 */
static bool mram_io_settle(struct mram_io *io, ssize_t ret)
{
	struct mram_pass *pass = io->pass;
	size_t before = io->done;
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
			return true;
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
	mram_io_unget(io);
	return false;
}

static bool mram_pass_plugs(const struct mram_pass *pass)
{
	return pass->image->bios || pass->args.load;
}

/**
 * mram_pass_plug() - what is submitted from here on goes to the driver in batches
 * @pass: the pass
 *
 * Not writes to a file: a file system plugs for itself, and the completions of
 * writes cost more when they come in batches from another context.
 *
 * Nothing may stay behind for long: mram_pass_unplug() is due before anything
 * else is done.
 */
void mram_pass_plug(struct mram_pass *pass)
{
	if (!mram_pass_plugs(pass))
		return;
	pass->ahead = 0;
	blk_start_plug(&pass->plug);
}

void mram_pass_unplug(struct mram_pass *pass)
{
	blk_finish_plug(&pass->plug);
}

/* Have requests made for as many I/Os as probably follow now. */
static void mram_io_ahead(struct mram_pass *pass)
{
	if (!mram_pass_plugs(pass))
		return;
	if (!pass->ahead) {
		/* In groups, so that the device works while we do. */
		mram_pass_unplug(pass);
		mram_pass_plug(pass);
		pass->ahead = min(pass->nr_ios - pass->in_flight,
				  MRAM_REQUESTS);
		pass->plug.nr_ios = pass->ahead;
	}
	pass->ahead--;
}

/* Move what a slot has to move, as far as that goes without waiting. */
static void mram_io_run(struct mram_io *io)
{
	ssize_t ret;

	do {
		ret = mram_io_start(io);
		if (ret == -EIOCBQUEUED) {
			io->pass->in_flight++;
			return;
		}
	} while (mram_io_settle(io, ret));
}

/**
 * mram_io_submit() - read or write an extent
 * @io: a slot, with @start, @nr and @bridged filled in
 * @runs: its pages; the slot takes them over
 */
void mram_io_submit(struct mram_io *io, struct mram_run *runs)
{
	unsigned long nr = io->nr << io->pass->sub_shift;

	io->len = nr << PAGE_SHIFT;
	io->done = 0;
	if (io->bounce)
		mram_io_bounce(io, runs, nr);
	else
		mram_io_fill(io, runs, nr);
	mram_io_ahead(io->pass);
	mram_io_run(io);
}

/* Settle what has ended. */
static void mram_pass_reap(struct mram_pass *pass)
{
	struct mram_io *io, *next;

	llist_for_each_entry_safe(io, next, llist_del_all(&pass->done),
				  node) {
		pass->in_flight--;
		if (mram_io_settle(io, io->result))
			mram_io_run(io);
	}
}

/* Wait until something has ended. */
static void mram_pass_wait(struct mram_pass *pass)
{
	bool plugged = current->plug == &pass->plug;

	/* What the driver has not got does not end. */
	if (plugged)
		mram_pass_unplug(pass);
	WRITE_ONCE(pass->waiting, true);
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (!llist_empty(&pass->done))
			break;
		io_schedule();
	}
	__set_current_state(TASK_RUNNING);
	WRITE_ONCE(pass->waiting, false);
	if (plugged)
		mram_pass_plug(pass);
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

	for (;;) {
		if (!llist_empty(&pass->done))
			mram_pass_reap(pass);
		if (mram_pass_stopped(pass))
			return NULL;
		if (pass->free) {
			io = llist_entry(pass->free, struct mram_io, node);
			pass->free = io->node.next;
			return io;
		}
		mram_pass_wait(pass);
	}
}

/* Wait until nothing is in flight. */
void mram_pass_drain(struct mram_pass *pass)
{
	while (pass->in_flight) {
		mram_pass_wait(pass);
		mram_pass_reap(pass);
	}
}
