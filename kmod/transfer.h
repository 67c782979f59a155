/* SPDX-License-Identifier: GPL-2.0 */
/* A pass and its window of I/Os in flight, see transfer.c. */
#ifndef MRAM_TRANSFER_H
#define MRAM_TRANSFER_H

#include <linux/blk_types.h>
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/rcupdate.h>

#include "bridge.h"
#include "look.h"
#include "mapped_ram.h"

struct mram_pass;

/**
 * struct mram_io - a slot of the window: one extent that is read or written
 * @iocb: for the file system
 * @bio: for the block device
 * @node: in &mram_pass.done or &mram_pass.free
 * @pass: whose slot
 * @result: what it ended with
 * @start: first page of the extent, in the region
 * @nr: pages of the extent
 * @bridged: how many of them are clean
 * @len: bytes of the extent
 * @done: of these, how many have been moved
 * @bvec: the memory
 * @nr_bvecs: how many are in use
 * @bounce: pages to copy to first, or NULL
 */
struct mram_io {
	union {
		struct kiocb iocb;
		struct bio bio;
	};
	struct llist_node node;
	struct mram_pass *pass;
	ssize_t result;
	unsigned long start;
	unsigned long nr;
	unsigned long bridged;
	size_t len;
	size_t done;
	struct bio_vec *bvec;
	unsigned int nr_bvecs;
	struct page **bounce;
};

#define MRAM_CHUNK_WORDS	BITS_TO_LONGS(MRAM_CHUNK_PAGES)

/**
 * struct mram_window - the memory that a pass works in, see &struct mram_pass
 * @node: in &mram_session.windows, when no pass has it
 * @nr_ios: how many slots
 * @per_io: kernel pages of the longest extent
 * @ios: the slots
 * @bvecs: of all slots
 * @batch: see there
 * @need: see there
 * @zero: see there
 * @join: see there
 * @look: see there
 * @runs: see there
 */
struct mram_window {
	struct list_head node;
	unsigned int nr_ios;
	unsigned long per_io;
	struct mram_io *ios;
	struct bio_vec *bvecs;
	struct page *batch[MRAM_BATCH];
	unsigned long need[MRAM_CHUNK_WORDS];
	unsigned long zero[MRAM_CHUNK_WORDS];
	unsigned long join[MRAM_CHUNK_WORDS];
	unsigned long look[MRAM_CHUNK_WORDS];
	struct mram_run runs[MRAM_CHUNK_PAGES];
};

/**
 * struct mram_pass_args - what SAVE and LOAD have in common
 * @region_id: which region
 * @window: I/Os in flight, 0 for the default
 * @first_page: of the range
 * @nr_pages: of the range
 * @max_extent: bytes of one I/O, 0 for the default
 * @bridge: clean pages between two runs that make one I/O of them, at most
 * @choose: how many of these it is, is found out
 * @load: LOAD, else SAVE
 * @stopped: nothing writes to the memory meanwhile
 * @io_done: called by the pass's own thread for each I/O that ended: the first
 *           @good pages were moved, the others were not
 */
struct mram_pass_args {
	u32 region_id;
	u32 window;
	u64 first_page;
	u64 nr_pages;
	u32 max_extent;
	u32 bridge;
	bool choose;
	bool load;
	bool stopped;
	void (*io_done)(struct mram_pass *pass, struct mram_io *io,
			unsigned long good);
};

/**
 * struct mram_pass - a SAVE or LOAD that runs
 * @session: whose
 * @region: counted as in use
 * @image: kept in place by &mram_session.passes
 * @range: pages that it has for itself
 * @size: how long the image was when it began
 * @cut: the image was seen shorter than that
 * @cuts: &mram_session.cuts when it began
 * @args: what was asked for
 * @sub_shift: log2 of kernel pages in a format page
 * @max_pages: longest extent, in format pages
 * @chunk_pages: pages worked on at a time, in format pages
 * @bounce: pages are copied before they are written
 * @nr_ios: slots of the window
 * @window: the slots, and the memory of what follows
 * @bounce_pages: memory of &mram_io.bounce of all slots
 * @runs: the chunk's kernel pages, see runs.h
 * @batch: room for MRAM_BATCH kernel pages
 * @need: the chunk's pages to move, in format pages; then @zero and @join,
 *        see save.c
 * @zero: see save.c
 * @join: see save.c and mram_load_find_zero()
 * @look: in kernel pages, where a format page is several: which are zero
 * @doubt: see mram_look()
 * @not_taken: see mram_pages_take()
 * @in_vain: see mram_load_take()
 * @free: slots not in use
 * @plug: what was submitted and the driver does not know yet
 * @ahead: I/Os for which the block layer was asked to make requests at once
 * @in_flight: slots that were submitted and not yet seen to end
 * @done: slots whose I/O has ended; added to in any context
 * @task: whose pass it is
 * @waiting: it waits for @done not to be empty
 * @iocb: what that of a slot starts as
 * @check: the next I/O is checked like a write(2); once for each chunk
 * @best: with &mram_pass_args.choose: longest bridge that pays, in format pages
 * @trial: see choose.c
 * @rcu: what a completion looks at last outlives the pass
 * @error: why the pass ends early, or 0
 * @error_page: first page that failed, or MAPPED_RAM_NO_PAGE
 * @moved: pages read or written, without bridged ones
 * @zeroes: pages found or made zero
 * @bridged: clean pages written along
 * @submitted: I/Os made
 * @bytes: bytes moved
 * @out_flags: MAPPED_RAM_PASS_OUT_*
 */
struct mram_pass {
	struct mram_session *session;
	struct mram_region *region;
	const struct mram_image *image;
	struct mram_range range;
	loff_t size;
	bool cut;
	int cuts;
	struct mram_pass_args args;
	unsigned int sub_shift;
	unsigned long max_pages;
	unsigned long chunk_pages;
	bool bounce;

	unsigned int nr_ios;
	struct mram_window *window;
	struct page **bounce_pages;
	struct mram_run *runs;
	struct page **batch;
	unsigned long *need;
	unsigned long *zero;
	unsigned long *join;
	unsigned long *look;
	struct mram_doubt doubt;
	unsigned long not_taken;
	unsigned int in_vain;

	struct llist_node *free;
	struct blk_plug plug;
	unsigned int ahead;
	unsigned int in_flight;
	struct llist_head done;
	struct task_struct *task;
	bool waiting;
	struct kiocb iocb;
	bool check;
	u32 best;
	struct mram_bridge_trial trial;
	struct rcu_head rcu;

	int error;
	u64 error_page;
	u64 moved;
	u64 zeroes;
	u64 bridged;
	u64 submitted;
	u64 bytes;
	u32 out_flags;
};

static inline loff_t mram_pass_pos(const struct mram_pass *pass,
				   unsigned long page)
{
	return pass->region->pages_offset +
	       ((loff_t)page << pass->region->page_shift);
}

static inline unsigned long mram_pass_addr(const struct mram_pass *pass,
					   unsigned long page)
{
	return pass->region->addr + (page << pass->region->page_shift);
}

/* pass.c */
struct mram_pass *mram_pass_begin(struct mram_session *s,
				  const struct mram_pass_args *args);
void mram_pass_finish(struct mram_pass *pass);
int mram_pass_end(struct mram_pass *pass);

/* window.c */
void mram_window_take(struct mram_pass *pass);
void mram_window_keep(struct mram_pass *pass);
int mram_window_open(struct mram_pass *pass);
void mram_bounce_free(struct mram_pass *pass);

/* transfer.c */
void mram_pass_fail(struct mram_pass *pass, int error, u64 page);
bool mram_pass_stopped(struct mram_pass *pass);
void mram_pass_plug(struct mram_pass *pass);
void mram_pass_unplug(struct mram_pass *pass);
struct mram_io *mram_io_get(struct mram_pass *pass);
void mram_io_unget(struct mram_io *io);
void mram_io_submit(struct mram_io *io, struct mram_run *runs);
void mram_pass_drain(struct mram_pass *pass);

#endif /* MRAM_TRANSFER_H */
