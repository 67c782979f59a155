// SPDX-License-Identifier: GPL-2.0
/*
 * From bitmaps to extents: which pages one I/O moves.
 *
 * Pure: no I/O, no locks, no memory but what is passed in. It is compiled into
 * a userspace test too, which provides the two bit searches.
 */
#ifdef __KERNEL__
#include <linux/bitmap.h>
#include <linux/minmax.h>
#else
#include "plan_user.h"
#endif

#include "plan.h"

/**
 * mram_plan_next() - find the next extent
 * @plan: the bitmaps and limits
 * @pos: where to start looking
 * @ext: the extent
 *
 * An extent starts and ends with a needed page. Runs of needed pages that are
 * at most @plan->bridge pages apart become one extent when every page between
 * them may be moved along and at least one page behind the bridge still fits.
 *
 * Return: false when no page from @pos on is needed.
 */
bool mram_plan_next(const struct mram_plan *plan, unsigned long pos,
		    struct mram_extent *ext)
{
	unsigned long limit, end, next;

	ext->start = find_next_bit(plan->need, plan->nr, pos);
	if (ext->start >= plan->nr)
		return false;

	limit = min(plan->nr - ext->start, plan->max) + ext->start;
	end = find_next_zero_bit(plan->need, limit, ext->start);
	while (plan->bridge && end < limit) {
		next = find_next_bit(plan->need, limit, end);
		if (next >= limit || next - end > plan->bridge)
			break;
		if (find_next_zero_bit(plan->join, next, end) < next)
			break;
		end = find_next_zero_bit(plan->need, limit, next);
	}
	ext->nr = end - ext->start;
	return true;
}
