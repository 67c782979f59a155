/* SPDX-License-Identifier: GPL-2.0 */
/* Which pages hold nothing but zeroes, see zero.c. */
#ifndef MRAM_ZERO_H
#define MRAM_ZERO_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include "zero_user.h"
#endif

struct page;

unsigned int mram_zero_scan_user_mask(unsigned long addr, u64 want, u64 *zero);
void mram_zero_scan_pages(struct page **pages, unsigned long nr,
			  unsigned long *zero, unsigned long first);
unsigned long mram_zero_scan_user(unsigned long addr, unsigned long nr,
				  unsigned long *zero, unsigned long first);

#endif /* MRAM_ZERO_H */
