// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the module's plan (kmod/plan.c) covers every needed page exactly
 * once, moves no page along that may not be, bridges no further than asked,
 * keeps to the longest extent, starts and ends extents with needed pages, and
 * joins all that it may: for every bitmap of 12 pages there is, and for random
 * long ones.
 */
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"

#include "plan.h"
#include "plan_user.h"

#define LONG_BITS	4096

/* Whether runs that end before @end and start at @next may be one extent. */
static bool may_join(const struct mram_plan *plan, unsigned long start,
		     unsigned long end, unsigned long next)
{
	unsigned long i;

	if (next - end > plan->bridge || next + 1 - start > plan->max)
		return false;
	for (i = end; i < next; i++)
		if (!plan_bit(plan->join, i))
			return false;
	return true;
}

/* Return: NULL, or what is wrong with the extents of a plan. */
static const char *check(const struct mram_plan *plan)
{
	unsigned long pos = 0, i, gap, next;
	struct mram_extent ext;

	while (mram_plan_next(plan, pos, &ext)) {
		if (ext.start < pos || !ext.nr || ext.nr > plan->max ||
		    ext.start + ext.nr > plan->nr)
			return "an extent out of bounds";
		for (i = pos; i < ext.start; i++)
			if (plan_bit(plan->need, i))
				return "a needed page left out";
		if (!plan_bit(plan->need, ext.start) ||
		    !plan_bit(plan->need, ext.start + ext.nr - 1))
			return "an extent that starts or ends with a bridge";
		for (gap = 0, i = ext.start; i < ext.start + ext.nr; i++) {
			if (plan_bit(plan->need, i)) {
				gap = 0;
				continue;
			}
			if (!plan_bit(plan->join, i))
				return "a page that may not be moved along";
			if (++gap > plan->bridge)
				return "a bridge that is too long";
		}
		pos = ext.start + ext.nr;
		next = find_next_bit(plan->need, plan->nr, pos);
		if (next < plan->nr && may_join(plan, ext.start, pos, next))
			return "an extent that could go on";
	}
	if (find_next_bit(plan->need, plan->nr, pos) < plan->nr)
		return "needed pages left at the end";
	return NULL;
}

TEST(every_small_bitmap)
{
	unsigned long need, join;
	struct mram_plan plan = { .need = &need, .join = &join, .nr = 12 };
	const char *why;

	for (need = 0; need < 1UL << plan.nr; need++) {
		for (join = 0; join < 1UL << plan.nr; join = (join | need) + 1) {
			unsigned long saved = join;

			join &= ~need;
			for (plan.bridge = 0; plan.bridge < 4; plan.bridge++) {
				for (plan.max = 1; plan.max <= 12; plan.max += 3) {
					why = check(&plan);
					ASSERT_EQ(NULL, why)
						TH_LOG("%s: need %lx join %lx bridge %lu max %lu",
						       why, need, join,
						       plan.bridge, plan.max);
				}
			}
			join = saved;
		}
	}
}

TEST(random_long_bitmaps)
{
	static unsigned long need[LONG_BITS / 64], join[LONG_BITS / 64];
	struct mram_plan plan = { .need = need, .join = join };
	const char *why;
	int round;
	size_t i;

	srandom(1);
	for (round = 0; round < 300; round++) {
		int dense = random() % 100;

		memset(need, 0, sizeof(need));
		memset(join, 0, sizeof(join));
		for (i = 0; i < LONG_BITS; i++) {
			if (random() % 100 < dense)
				need[i / 64] |= 1UL << i % 64;
			else if (random() % 100 < 90)
				join[i / 64] |= 1UL << i % 64;
		}
		plan.nr = 1 + random() % LONG_BITS;
		plan.max = 1 + random() % LONG_BITS;
		plan.bridge = random() % 3 ? random() % 16 : random() % LONG_BITS;
		why = check(&plan);
		ASSERT_EQ(NULL, why)
			TH_LOG("%s: round %d nr %lu bridge %lu max %lu", why,
			       round, plan.nr, plan.bridge, plan.max);
	}
}

TEST_HARNESS_MAIN
