/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the scan tracker share: memory of every kind that is
 * tracked, in a session that has begun.
 */
#ifndef SELFTESTS_ENGINES_TRACKED_H
#define SELFTESTS_ENGINES_TRACKED_H

#include "common.h"

enum tracked_kind {
	TRACKED_PRIVATE = MEMORY_PRIVATE,
	TRACKED_SHARED = MEMORY_SHARED,
	TRACKED_MEMFD = MEMORY_MEMFD,
	TRACKED_FILE = MEMORY_FILE,
	TRACKED_COPY = MEMORY_COPY,
	TRACKED_THP,		/* private, of transparent huge pages */
	TRACKED_HUGE,		/* private, of hugetlbfs */
	TRACKED_HUGE_SHARED,	/* a memfd of hugetlbfs */
};

#define HUGE_PAGES	512ul

/**
 * struct tracked - memory, its session, its tracker
 * @pages: length in pages of 4 KiB
 * @unit: how many the kernel can only protect together
 * @t: NULL until tracked_start() could make one
 */
struct tracked {
	enum tracked_kind kind;
	struct memory m;
	unsigned long pages;
	unsigned long unit;
	char *path;
	struct mram_session *s;
	struct mram_scan_tracker *t;
};

/**
 * tracked_start - make all of it, nothing fetched yet
 * @fd: the session may know the file
 *
 * Return: 0, or why not: -EOPNOTSUPP when the kernel cannot.
 */
int tracked_start(struct tracked *k, enum tracked_kind kind, bool fd);
void tracked_stop(struct tracked *k);

/** tracked_page - where page @i is */
unsigned char *tracked_page(const struct tracked *k, unsigned long i);

/** tracked_save - a fetch and a pass. Return: pages that were fetched */
int64_t tracked_save(struct tracked *k);

/** tracked_discard - give pages back; with DONTNEED shared ones keep content */
void tracked_discard(struct tracked *k, unsigned long first,
		     unsigned long count, bool dontneed);

/** tracked_same - commit; is the image what the memory is? */
bool tracked_same(struct tracked *k);

#endif /* SELFTESTS_ENGINES_TRACKED_H */
