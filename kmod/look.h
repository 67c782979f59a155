/* SPDX-License-Identifier: GPL-2.0 */
/* What the caller's memory holds: zeroes, nothing at all, or data. */
#ifndef MRAM_LOOK_H
#define MRAM_LOOK_H

#include <linux/types.h>

struct mm_struct;
struct vm_area_struct;

/* probe.c */
long mram_probe(struct mm_struct *mm, unsigned long addr, unsigned long nr,
		unsigned long *absent, unsigned long first);
unsigned long mram_probe_run(struct mm_struct *mm, unsigned long addr,
			     unsigned long nr);
bool mram_is_memory_file(struct vm_area_struct *vma);

/* look.c */
long mram_look(unsigned long addr, unsigned long nr, unsigned long *zero,
	       unsigned long first, unsigned long *doubt);
bool mram_look_absent(unsigned long addr, unsigned long nr,
		      unsigned long *doubt);

#endif /* MRAM_LOOK_H */
