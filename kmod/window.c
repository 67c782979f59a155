// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of a window: all that a pass needs until it ends. A session keeps
 * it from pass to pass, so that a short pass does not cost what making and
 * clearing it does.
 */
#include <linux/slab.h>

#include "transfer.h"

/* Copies made for a target with stable pages, at most, for all slots. */
#define MRAM_MAX_BOUNCE		(64UL << 20)

/* Windows that a session keeps: as many as threads are likely to save at once. */
#define MRAM_KEEP_WINDOWS	8

/* Pages that the extents of a window may have for it to be kept: a MiB of them. */
#define MRAM_KEEP_PAGES		(1UL << 16)

static unsigned long mram_extent_kernel_pages(const struct mram_pass *pass)
{
	return pass->max_pages << pass->sub_shift;
}

static void mram_window_free(struct mram_window *window)
{
	if (!window)
		return;
	kvfree(window->bvecs);
	kvfree(window->ios);
	kvfree(window);
}

static struct mram_window *mram_window_new(unsigned int nr_ios,
					   unsigned long per_io)
{
	struct mram_window *window;

	window = kvmalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	if (!window)
		return NULL;
	window->nr_ios = nr_ios;
	window->per_io = per_io;
	window->ios = kvcalloc(nr_ios, sizeof(*window->ios),
			       GFP_KERNEL_ACCOUNT);
	/* These are written before they are read. */
	window->bvecs = kvmalloc_array(nr_ios, per_io * sizeof(*window->bvecs),
				       GFP_KERNEL_ACCOUNT);
	if (!window->ios || !window->bvecs) {
		mram_window_free(window);
		return NULL;
	}
	return window;
}

/*
 * Take one of the session's windows if it is of the right size. Under the
 * session's lock, like mram_window_keep().
 */
void mram_window_take(struct mram_pass *pass)
{
	unsigned long per_io = mram_extent_kernel_pages(pass);
	struct mram_window *window;

	if (pass->bounce)
		pass->nr_ios = clamp(MRAM_MAX_BOUNCE / PAGE_SIZE / per_io, 1UL,
				     (unsigned long)pass->nr_ios);
	list_for_each_entry(window, &pass->session->windows, node) {
		if (window->nr_ios != pass->nr_ios || window->per_io != per_io)
			continue;
		list_del(&window->node);
		pass->session->nr_windows--;
		pass->window = window;
		return;
	}
}

/* Leave a pass's window to the next ones; of too many the oldest goes. */
void mram_window_keep(struct mram_pass *pass)
{
	struct mram_session *s = pass->session;
	struct mram_window *window = pass->window;

	if (!window)
		return;
	if (window->nr_ios * window->per_io > MRAM_KEEP_PAGES) {
		mram_window_free(window);
		return;
	}
	list_add(&window->node, &s->windows);
	if (++s->nr_windows <= MRAM_KEEP_WINDOWS)
		return;
	window = list_last_entry(&s->windows, struct mram_window, node);
	list_del(&window->node);
	s->nr_windows--;
	mram_window_free(window);
}

/* The session ends. */
void mram_windows_free(struct mram_session *s)
{
	struct mram_window *window, *next;

	list_for_each_entry_safe(window, next, &s->windows, node)
		mram_window_free(window);
}

static int mram_bounce_alloc(struct mram_pass *pass)
{
	unsigned long per_io = mram_extent_kernel_pages(pass);
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
		pass->window->ios[i].bounce = pass->bounce_pages + i * per_io;
	return 0;
}

/* Free the copies, which are too much memory to keep. */
void mram_bounce_free(struct mram_pass *pass)
{
	unsigned long i, nr = pass->nr_ios * mram_extent_kernel_pages(pass);

	if (!pass->bounce_pages)
		return;
	for (i = 0; i < nr && pass->bounce_pages[i]; i++)
		__free_page(pass->bounce_pages[i]);
	kvfree(pass->bounce_pages);
}

/**
 * mram_window_open() - have all that a pass needs until it ends
 * @pass: with the limits filled in, after mram_window_take()
 *
 * After a failure, too, mram_bounce_free() and mram_window_keep() are due.
 */
int mram_window_open(struct mram_pass *pass)
{
	unsigned long per_io = mram_extent_kernel_pages(pass);
	struct mram_window *window = pass->window;
	struct mram_io *io;
	unsigned int i;

	if (!window)
		window = mram_window_new(pass->nr_ios, per_io);
	if (!window)
		return -ENOMEM;
	pass->window = window;
	pass->runs = window->runs;
	pass->batch = window->batch;
	pass->need = window->need;
	pass->zero = window->zero;
	pass->join = window->join;
	pass->look = window->look;
	for (i = 0; i < window->nr_ios; i++) {
		io = &window->ios[i];
		io->pass = pass;
		io->bvec = window->bvecs + i * per_io;
		io->bounce = NULL;
		mram_io_unget(io);
	}
	mram_image_iocb(pass->image, pass->args.load, &pass->iocb);
	return pass->bounce ? mram_bounce_alloc(pass) : 0;
}
