/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pages in a row. The pages of a chunk are an array of runs with an entry for
 * each page, of which only the first one of a run says something: so a run is
 * found by its place, a gap can be filled in later, a run can be cut anywhere,
 * and a huge page is one entry.
 */
#ifndef MRAM_RUNS_H
#define MRAM_RUNS_H

#include <linux/mm_types.h>

/* Pages that are got at a time: those of a huge page. */
#define MRAM_BATCH	512U

/**
 * struct mram_run - pages in a row
 * @page: the first; the others are next to it in physical memory. NULL: the
 *        pages are absent and read as zero.
 * @nr: how many
 */
struct mram_run {
	struct page *page;
	unsigned long nr;
};

/*
 * The run at the start of @run, at most @max pages of it; what is longer
 * becomes a run of its own.
 */
static inline unsigned long mram_run_cut(struct mram_run *run,
					 unsigned long max)
{
	if (unlikely(run->nr > max)) {
		run[max].page = run->page ? run->page + max : NULL;
		run[max].nr = run->nr - max;
		run->nr = max;
	}
	return run->nr;
}

#endif /* MRAM_RUNS_H */
