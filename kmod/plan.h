/* SPDX-License-Identifier: GPL-2.0 */
/* See plan.c. */
#ifndef MRAM_PLAN_H
#define MRAM_PLAN_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#endif

/**
 * struct mram_plan - what to make extents of
 * @need: pages to move
 * @join: pages that may be moved along; none of them is in @need
 * @nr: how many bits the bitmaps have
 * @bridge: longest run of @join pages that may join two runs of @need pages
 * @max: longest extent in pages, not 0
 */
struct mram_plan {
	const unsigned long *need;
	const unsigned long *join;
	unsigned long nr;
	unsigned long bridge;
	unsigned long max;
};

/**
 * struct mram_extent - a run of pages moved by one I/O
 * @start: its first page
 * @nr: its length
 */
struct mram_extent {
	unsigned long start;
	unsigned long nr;
};

bool mram_plan_next(const struct mram_plan *plan, unsigned long pos,
		    struct mram_extent *ext);

#endif /* MRAM_PLAN_H */
