// SPDX-License-Identifier: GPL-2.0 OR LGPL-2.1-or-later
/*
 * How long a bridge may be: what an I/O costs and what a page more in it costs,
 * from trials that are made while a pass runs.
 *
 * n I/Os of p units in all are taken to cost a * n + b * p. A bridge spares one
 * I/O, so it pays up to a length of a / b. To tell a from b, a trial makes some
 * I/Os without bridges and some with long ones, each starting and ending with
 * nothing in flight, with a full window between, and by the clock: so all that
 * a pass pays for is in it, whoever takes the time, device or processor.
 *
 * One trial may be disturbed by anything, so the median of the last ones
 * counts. Between two there is a pause in proportion to what the first took.
 *
 * Pure: no I/O, no locks, no clock, no memory but what is passed in. The
 * library's engines are built with it, too, and a userspace test.
 */
#include "bridge.h"

/* The pause is this many times as long as the trial. */
#define MRAM_BRIDGE_PAUSE	32

/* Where sums stop to grow, so that products of two fit 63 bits. */
#define MRAM_BRIDGE_MAX_IOS	(1ULL << 20)
#define MRAM_BRIDGE_MAX_UNITS	(1ULL << 22)
#define MRAM_BRIDGE_MAX_NSEC	(1ULL << 40)

/* The longest answer; longer than any bridge that a caller can ask for. */
#define MRAM_BRIDGE_MAX		(1U << 24)

static __u64 mram_bridge_sum(__u64 a, __u64 b, __u64 limit)
{
	return b < limit && a < limit - b ? a + b : limit;
}

static void mram_bridge_add(struct mram_bridge_cost *sum,
			    const struct mram_bridge_cost *cost)
{
	sum->ios = mram_bridge_sum(sum->ios, cost->ios, MRAM_BRIDGE_MAX_IOS);
	sum->units = mram_bridge_sum(sum->units, cost->units,
				     MRAM_BRIDGE_MAX_UNITS);
	sum->nsec = mram_bridge_sum(sum->nsec, cost->nsec,
				    MRAM_BRIDGE_MAX_NSEC);
}

/*
 * How many I/Os a part of a trial takes. Those without bridges fill the window
 * twice, as the first of them find it empty; those with long ones are long
 * enough for that not to matter much.
 */
static __u64 mram_bridge_goal(enum mram_bridge_way way, __u32 window)
{
	if (way == MRAM_BRIDGE_APART)
		return window < 16 ? 32 : 2ULL * window;
	if (window < 16)
		return 8;
	return window < 64 ? window / 2 : 32;
}

static bool mram_bridge_full(enum mram_bridge_way way, __u32 window,
			     const struct mram_bridge_cost *cost)
{
	/* A MiB for each long one is enough, however long it is. */
	return cost->ios >= mram_bridge_goal(way, window) ||
	       cost->units >= mram_bridge_goal(MRAM_BRIDGE_JOINED, window) << 8;
}

/* What is to be tried next. */
static enum mram_bridge_way mram_bridge_way(const struct mram_bridge *b,
					    __u32 window)
{
	enum mram_bridge_way way = MRAM_BRIDGE_APART;

	while (way < MRAM_BRIDGE_WAYS &&
	       mram_bridge_full(way, window, &b->cost[way]))
		way++;
	return way;
}

/**
 * mram_bridge_break_even() - up to which length a bridge pays
 * @apart: what I/Os without bridges took
 * @joined: what I/Os with long bridges took
 * @units: the length
 *
 * Return: false when they do not tell, as where both were about as long.
 */
bool mram_bridge_break_even(const struct mram_bridge_cost *apart,
			    const struct mram_bridge_cost *joined,
			    __u32 *units)
{
	struct mram_bridge_cost x = { 0 }, y = { 0 };
	__u64 per_io, per_unit, less;

	mram_bridge_add(&x, apart);
	mram_bridge_add(&y, joined);

	if (!x.ios || !x.nsec || !y.ios || !y.nsec ||
	    y.units * x.ios < 2 * x.units * y.ios)
		return false;

	/* By Cramer's rule, without the determinant, which is the same. */
	per_io = x.nsec * y.units;
	less = y.nsec * x.units;
	per_io -= per_io > less ? less : per_io;
	per_unit = y.nsec * x.ios;
	less = x.nsec * y.ios;
	per_unit -= per_unit > less ? less : per_unit;

	*units = MRAM_BRIDGE_MAX;
	if (!per_unit || per_io / per_unit >= MRAM_BRIDGE_MAX)
		return true;
	*units = per_io / per_unit;
	return true;
}

static __u32 mram_bridge_median(const __u32 *n)
{
	__u32 low = n[0] < n[1] ? n[0] : n[1];
	__u32 high = n[0] < n[1] ? n[1] : n[0];

	if (n[2] < low)
		return low;
	return n[2] < high ? n[2] : high;
}

static void mram_bridge_learn(struct mram_bridge *b, __u32 units)
{
	unsigned int i;

	if (!b->nr_found)
		for (i = 0; i < MRAM_BRIDGE_FOUND; i++)
			b->found[i] = units;
	b->found[b->nr_found % MRAM_BRIDGE_FOUND] = units;
	b->nr_found = b->nr_found % MRAM_BRIDGE_FOUND + 1;
	b->best = mram_bridge_median(b->found);
}

/* The trial is over. */
static void mram_bridge_rest(struct mram_bridge *b, __u64 now)
{
	static const struct mram_bridge_cost none;
	__u64 took = mram_bridge_sum(b->cost[MRAM_BRIDGE_APART].nsec,
				     b->cost[MRAM_BRIDGE_JOINED].nsec,
				     MRAM_BRIDGE_MAX_NSEC);

	b->due = now + took * MRAM_BRIDGE_PAUSE;
	b->cost[MRAM_BRIDGE_APART] = none;
	b->cost[MRAM_BRIDGE_JOINED] = none;
}

/**
 * mram_bridge_start() - start a trial, or go on with one
 * @b: what is known
 * @t: the pass's part; its @way is how to make I/Os now
 * @window: how many I/Os the pass has in flight at most
 * @now: when; nothing is in flight
 */
void mram_bridge_start(const struct mram_bridge *b,
		       struct mram_bridge_trial *t, __u32 window, __u64 now)
{
	static const struct mram_bridge_cost none;

	t->way = mram_bridge_way(b, window);
	/* Some other pass left it at that, with a larger window. */
	if (t->way == MRAM_BRIDGE_WAYS)
		t->way = MRAM_BRIDGE_JOINED;
	t->on = true;
	t->spoiled = false;
	t->window = window;
	t->cost = none;
	t->since = now;
}

/**
 * mram_bridge_count() - an I/O was submitted
 * @t: the trial, which is on
 * @units: how long it is
 *
 * Return: true when it was the last one of this part of the trial: when all of
 * them have ended, mram_bridge_settle() follows.
 */
bool mram_bridge_count(struct mram_bridge_trial *t, __u64 units)
{
	t->cost.ios++;
	t->cost.units += units;
	return mram_bridge_full(t->way, t->window, &t->cost);
}

/**
 * mram_bridge_settle() - see what a part of a trial has brought
 * @b: what is known
 * @t: the trial; when it goes on, the next part starts
 * @failed: an I/O failed
 * @now: when; nothing is in flight and the clock runs
 *
 * A pass may end before its part is done. Then a later one goes on where this
 * one has stopped, or begins anew.
 */
void mram_bridge_settle(struct mram_bridge *b, struct mram_bridge_trial *t,
			bool failed, __u64 now)
{
	struct mram_bridge_cost *sum = &b->cost[t->way];
	struct mram_bridge_cost *cost = &t->cost;
	__u32 units;

	mram_bridge_pause(t, now);
	if (failed || t->spoiled) {
		mram_bridge_add(sum, cost);
		mram_bridge_rest(b, now);
		t->on = false;
		return;
	}
	/* Few that do not fill the window tell more about waiting for one. */
	if (t->way == MRAM_BRIDGE_APART &&
	    2 * cost->ios < mram_bridge_goal(t->way, t->window) &&
	    !mram_bridge_full(t->way, t->window, cost)) {
		b->due = now + mram_bridge_sum(cost->nsec, 0,
					       MRAM_BRIDGE_MAX_NSEC) *
			       MRAM_BRIDGE_PAUSE;
		t->on = false;
		return;
	}
	mram_bridge_add(sum, cost);
	if (mram_bridge_way(b, t->window) < MRAM_BRIDGE_WAYS) {
		mram_bridge_start(b, t, t->window, now);
		return;
	}
	if (mram_bridge_break_even(&b->cost[MRAM_BRIDGE_APART],
				   &b->cost[MRAM_BRIDGE_JOINED], &units))
		mram_bridge_learn(b, units);
	mram_bridge_rest(b, now);
	t->on = false;
}
