/* SPDX-License-Identifier: GPL-2.0 */
/* What the caller's memory holds: zeroes, nothing at all, or data. */
#ifndef MRAM_LOOK_H
#define MRAM_LOOK_H

#include <linux/types.h>

struct mm_struct;
struct page;
struct vm_area_struct;

/**
 * struct mram_doubt - what is remembered from look to look, zeroes before the
 *                     first
 * @absent: so many pages are asked about before they are read
 * @cached: if not 0, pages are looked for in the page cache before they are
 *          read, and after so many one is read again
 */
struct mram_doubt {
	unsigned long absent;
	unsigned long cached;
};

/* probe.c */
long mram_probe(struct mm_struct *mm, unsigned long addr, unsigned long nr,
		unsigned long *absent, unsigned long first);
unsigned long mram_probe_run(struct mm_struct *mm, unsigned long addr,
			     unsigned long nr);
unsigned long mram_probe_tables(struct mm_struct *mm, unsigned long addr,
				unsigned long end);
bool mram_is_memory_file(struct vm_area_struct *vma);

/* cache.c */
unsigned long mram_cache_get(unsigned long addr, unsigned long nr,
			     struct page **pages);
unsigned long mram_cache_look(unsigned long addr, unsigned long nr,
			      unsigned long *zero, unsigned long first);

/* look.c */
long mram_look(unsigned long addr, unsigned long nr, unsigned long *zero,
	       unsigned long first, struct mram_doubt *doubt);
void mram_look_ahead(unsigned long addr, unsigned long nr, unsigned long *zero,
		     unsigned long first, struct mram_doubt *doubt);
bool mram_look_absent(unsigned long addr, unsigned long nr,
		      struct mram_doubt *doubt);

#endif /* MRAM_LOOK_H */
