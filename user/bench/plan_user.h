/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kmod/plan.c takes from the kernel. */
#ifndef PLAN_USER_H
#define PLAN_USER_H

#include <stdint.h>

#include "../lib/bitmap.h"

#define min(a, b) ((a) < (b) ? (a) : (b))

static inline unsigned long find_next_bit(const unsigned long *map,
					  unsigned long nr, unsigned long pos)
{
	return bitmap_next((const uint64_t *)map, pos, nr, 1);
}

static inline unsigned long find_next_zero_bit(const unsigned long *map,
					       unsigned long nr,
					       unsigned long pos)
{
	return bitmap_next((const uint64_t *)map, pos, nr, 0);
}

#endif /* PLAN_USER_H */
