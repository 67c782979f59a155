// SPDX-License-Identifier: GPL-2.0
/*
 * The bridge length of a pass: the caller's, or with
 * MAPPED_RAM_SAVE_BRIDGE_AUTO what bridge.c finds out about the image's device.
 * This file owns the clock, the lock and the waiting that bridge.c must not
 * know.
 *
 * What is known is the session's; one of its passes at a time makes a trial.
 * The clock runs while I/Os are submitted and waited for, not while pages are
 * looked at: what a device does meanwhile costs the pass nothing.
 */
#include <linux/ktime.h>
#include <linux/spinlock.h>

#include "choose.h"

static u32 mram_choose_pages(struct mram_pass *pass, u32 units)
{
	return min(pass->args.bridge,
		   units >> (pass->region->page_shift - MRAM_BRIDGE_SHIFT));
}

/* What to bridge now. */
static u32 mram_choose_length(struct mram_pass *pass)
{
	if (!pass->trial.on)
		return pass->best;
	return pass->trial.way == MRAM_BRIDGE_JOINED ? pass->args.bridge : 0;
}

/* Whether it is this pass's turn to make a trial. */
static bool mram_choose_take_turn(struct mram_pass *pass)
{
	struct mram_session *s = pass->session;
	bool mine;

	spin_lock(&s->bridge_lock);
	pass->best = mram_choose_pages(pass, s->bridge.best);
	mine = !s->trying && mram_bridge_due(&s->bridge, ktime_get_ns());
	if (mine)
		s->trying = true;
	spin_unlock(&s->bridge_lock);
	return mine;
}

/* A part of a trial is over: wait for its I/Os and see what it has brought. */
static void mram_choose_settle(struct mram_pass *pass, bool leave)
{
	struct mram_bridge_trial *trial = &pass->trial;
	struct mram_session *s = pass->session;

	mram_pass_drain(pass);
	spin_lock(&s->bridge_lock);
	mram_bridge_settle(&s->bridge, trial, pass->error, ktime_get_ns());
	if (leave)
		trial->on = false;
	if (!trial->on)
		s->trying = false;
	pass->best = mram_choose_pages(pass, s->bridge.best);
	spin_unlock(&s->bridge_lock);
}

/**
 * mram_choose_begin() - pages that may be bridged are about to be written
 * @pass: the pass
 *
 * Return: the longest bridge for what follows, in format pages. With
 * @pass->trial.on mram_choose_count() is to be told of every I/O.
 */
u32 mram_choose_begin(struct mram_pass *pass)
{
	struct mram_bridge_trial *trial = &pass->trial;
	struct mram_session *s = pass->session;

	if (!pass->args.choose)
		return pass->args.bridge;
	if (trial->on) {
		mram_bridge_resume(trial, ktime_get_ns());
	} else if (mram_choose_take_turn(pass)) {
		mram_pass_drain(pass);
		spin_lock(&s->bridge_lock);
		mram_bridge_start(&s->bridge, trial, pass->nr_ios,
				  ktime_get_ns());
		spin_unlock(&s->bridge_lock);
	}
	return mram_choose_length(pass);
}

/**
 * mram_choose_count() - an I/O of a trial was submitted
 * @pass: the pass
 * @pages: its length, in format pages
 *
 * Return: the longest bridge for what follows.
 */
u32 mram_choose_count(struct mram_pass *pass, unsigned long pages)
{
	if (mram_bridge_count(&pass->trial, (u64)pages <<
			      (pass->region->page_shift - MRAM_BRIDGE_SHIFT)))
		mram_choose_settle(pass, false);
	return mram_choose_length(pass);
}

/* What was submitted is all for now; it need not have ended. */
void mram_choose_pause(struct mram_pass *pass)
{
	if (pass->trial.on)
		mram_bridge_pause(&pass->trial, ktime_get_ns());
}

/* What follows is not for a trial, or nothing follows. */
void mram_choose_end(struct mram_pass *pass)
{
	if (!pass->trial.on)
		return;
	mram_bridge_resume(&pass->trial, ktime_get_ns());
	mram_choose_settle(pass, true);
}

/* The longest bridge that a pass would build now, in format pages. */
u32 mram_choose_best(struct mram_pass *pass)
{
	struct mram_session *s = pass->session;
	u32 units;

	if (!pass->args.choose)
		return pass->args.bridge;
	spin_lock(&s->bridge_lock);
	units = s->bridge.best;
	spin_unlock(&s->bridge_lock);
	return mram_choose_pages(pass, units);
}
