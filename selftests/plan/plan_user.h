/* SPDX-License-Identifier: GPL-2.0 */
/* What kmod/plan.c takes from the kernel, for userspace: slow and obvious. */
#ifndef PLAN_USER_H
#define PLAN_USER_H

#include <stdbool.h>

#define min(a, b) ((a) < (b) ? (a) : (b))

static inline bool plan_bit(const unsigned long *map, unsigned long n)
{
	return map[n / (8 * sizeof(long))] >> n % (8 * sizeof(long)) & 1;
}

static inline unsigned long find_next_bit(const unsigned long *map,
					  unsigned long nr, unsigned long pos)
{
	while (pos < nr && !plan_bit(map, pos))
		pos++;
	return min(pos, nr);
}

static inline unsigned long find_next_zero_bit(const unsigned long *map,
					       unsigned long nr,
					       unsigned long pos)
{
	while (pos < nr && plan_bit(map, pos))
		pos++;
	return min(pos, nr);
}

#endif /* PLAN_USER_H */
