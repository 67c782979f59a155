// SPDX-License-Identifier: GPL-2.0
/*
 * Begin and end of a pass, of whichever direction: what it is refused for, and
 * what keeps its region, its image and its pages in place while it runs
 * without a lock.
 */
#include <linux/slab.h>

#include "transfer.h"

/* The limits that a pass keeps, from what the caller asked for. */
static int mram_pass_limits(struct mram_pass *pass)
{
	const struct mram_pass_args *args = &pass->args;
	const struct mram_region *region = pass->region;
	u32 page_size = 1U << region->page_shift;
	u32 extent = args->max_extent ? args->max_extent :
					max(MRAM_DEFAULT_EXTENT, page_size);

	if (args->window > MRAM_MAX_WINDOW || !args->nr_pages ||
	    extent > MRAM_MAX_EXTENT || extent & (page_size - 1))
		return -EINVAL;
	if (args->first_page >= region->nr_pages ||
	    args->nr_pages > region->nr_pages - args->first_page)
		return -ERANGE;

	pass->nr_ios = args->window ? args->window : MRAM_DEFAULT_WINDOW;
	pass->sub_shift = region->page_shift - PAGE_SHIFT;
	pass->max_pages = extent >> region->page_shift;
	pass->chunk_pages = MRAM_CHUNK_PAGES >> pass->sub_shift;
	pass->range.first = args->first_page;
	pass->range.last = args->first_page + args->nr_pages - 1;
	return 0;
}

/* Find region and image and keep them in place. */
static int mram_pass_attach(struct mram_pass *pass)
{
	struct mram_session *s = pass->session;
	int ret;

	ret = mram_session_lock(s);
	if (ret)
		return ret;
	ret = -ENOENT;
	pass->region = xa_load(&s->regions, pass->args.region_id);
	if (!pass->region)
		goto out_unlock;
	ret = mram_pass_limits(pass);
	if (ret)
		goto out_unlock;
	ret = -ENXIO;
	pass->image = s->image;
	if (!pass->image)
		goto out_unlock;
	ret = -EBADF;
	if (pass->args.load ? !(pass->image->file->f_mode & FMODE_READ) :
			      pass->image->load)
		goto out_unlock;

	pass->bounce = pass->image->stable && !pass->args.load &&
		       !pass->args.stopped;
	mram_window_take(pass);
	pass->region->users++;
	s->passes++;
	ret = 0;
out_unlock:
	mutex_unlock(&s->lock);
	return ret;
}

static void mram_pass_detach(struct mram_pass *pass)
{
	mram_bounce_free(pass);
	mutex_lock(&pass->session->lock);
	mram_window_keep(pass);
	pass->region->users--;
	pass->session->passes--;
	mutex_unlock(&pass->session->lock);
}

static void mram_pass_uncache(struct mram_pass *pass, bool after)
{
	loff_t pos = mram_pass_pos(pass, pass->range.first);
	loff_t end = mram_pass_pos(pass, pass->range.last + 1);

	if (mram_image_uncache(pass->image, pos, end) && after)
		pass->out_flags |= MAPPED_RAM_PASS_OUT_BUFFERED;
}

/**
 * mram_pass_begin() - begin a pass
 * @s: the session
 * @args: what the caller asked for
 *
 * Everything that can fail for want of memory fails here.
 *
 * Return: the pass, for mram_pass_end(), or an ERR_PTR.
 */
struct mram_pass *mram_pass_begin(struct mram_session *s,
				  const struct mram_pass_args *args)
{
	struct mram_pass *pass;
	int ret;

	pass = kzalloc(sizeof(*pass), GFP_KERNEL_ACCOUNT);
	if (!pass)
		return ERR_PTR(-ENOMEM);
	pass->session = s;
	pass->args = *args;
	pass->error_page = MAPPED_RAM_NO_PAGE;
	init_llist_head(&pass->done);
	pass->task = current;

	ret = mram_pass_attach(pass);
	if (ret)
		goto out_free;
	ret = mram_range_lock(pass->region, &pass->range);
	if (ret)
		goto out_detach;
	ret = mram_window_open(pass);
	if (ret)
		goto out_unlock;
	pass->cuts = atomic_read(&s->cuts);
	pass->size = i_size_read(pass->image->inode);
	mram_pass_uncache(pass, false);
	return pass;

out_unlock:
	mram_range_unlock(pass->region, &pass->range);
out_detach:
	mram_pass_detach(pass);
out_free:
	kfree(pass);
	return ERR_PTR(ret);
}

/**
 * mram_pass_end() - end a pass
 * @pass: nothing is in flight any more
 *
 * Return: why it ended early, or 0.
 */
int mram_pass_end(struct mram_pass *pass)
{
	int ret = pass->error;

	WARN_ON_ONCE(pass->in_flight);
	mram_range_unlock(pass->region, &pass->range);
	mram_pass_detach(pass);
	kfree_rcu(pass, rcu);
	return ret;
}

/* Nothing is in flight any more, and nothing will be; before the counts go out. */
void mram_pass_finish(struct mram_pass *pass)
{
	mram_pass_drain(pass);
	mram_pass_uncache(pass, true);
}
