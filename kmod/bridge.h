/* SPDX-License-Identifier: GPL-2.0 OR LGPL-2.1-or-later */
/* See bridge.c. */
#ifndef MRAM_BRIDGE_H
#define MRAM_BRIDGE_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <stdbool.h>
#endif

/* Lengths are in units of 4 KiB, whatever the page of a region is. */
#define MRAM_BRIDGE_SHIFT	12

/**
 * enum mram_bridge_way - how the I/Os of a trial are made
 * @MRAM_BRIDGE_APART: without bridges
 * @MRAM_BRIDGE_JOINED: with the longest bridges that the caller allows
 * @MRAM_BRIDGE_WAYS: how many ways there are
 */
enum mram_bridge_way {
	MRAM_BRIDGE_APART,
	MRAM_BRIDGE_JOINED,
	MRAM_BRIDGE_WAYS
};

/**
 * struct mram_bridge_cost - what some I/Os took together
 * @ios: how many they were
 * @units: what they moved
 * @nsec: how long that took
 */
struct mram_bridge_cost {
	__u64 ios;
	__u64 units;
	__u64 nsec;
};

/* How many of the last trials are asked. */
#define MRAM_BRIDGE_FOUND	3

/**
 * struct mram_bridge - what is known about a target
 * @cost: of the trial that is under way, so far
 * @found: what the last trials said, in units
 * @nr_found: how many have said something
 * @best: longest bridge that pays, in units; 0 until a trial has said something
 * @due: no trial begins before this time
 *
 * All zero at first. The caller sees to it that no two change it at once.
 */
struct mram_bridge {
	struct mram_bridge_cost cost[MRAM_BRIDGE_WAYS];
	__u32 found[MRAM_BRIDGE_FOUND];
	unsigned int nr_found;
	__u32 best;
	__u64 due;
};

/**
 * struct mram_bridge_trial - a pass's part in a trial
 * @on: the pass's I/Os are measured
 * @spoiled: something else than the I/Os took time
 * @way: how the I/Os are made
 * @window: how many of them are in flight at most
 * @cost: since nothing was in flight
 * @since: when the clock was started last
 */
struct mram_bridge_trial {
	bool on;
	bool spoiled;
	enum mram_bridge_way way;
	__u32 window;
	struct mram_bridge_cost cost;
	__u64 since;
};

bool mram_bridge_break_even(const struct mram_bridge_cost *apart,
			    const struct mram_bridge_cost *joined,
			    __u32 *units);
void mram_bridge_start(const struct mram_bridge *b,
		       struct mram_bridge_trial *t, __u32 window, __u64 now);
bool mram_bridge_count(struct mram_bridge_trial *t, __u64 units);
void mram_bridge_settle(struct mram_bridge *b, struct mram_bridge_trial *t,
			bool failed, __u64 now);

/* Whether a trial should begin. */
static inline bool mram_bridge_due(const struct mram_bridge *b, __u64 now)
{
	return now >= b->due;
}

/* Stop the clock while a pass does something else, I/Os in flight or not. */
static inline void mram_bridge_pause(struct mram_bridge_trial *t, __u64 now)
{
	t->cost.nsec += now - t->since;
	t->since = now;
}

static inline void mram_bridge_resume(struct mram_bridge_trial *t, __u64 now)
{
	t->since = now;
}

#endif /* MRAM_BRIDGE_H */
