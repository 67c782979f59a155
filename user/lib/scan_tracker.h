/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tracker of memory that this process maps, for its own two files:
 * scan_tracker.c has the userfaultfd and what is tracked, scan_fetch.c asks what
 * was written. And what of the kernel's ABI older headers do not have.
 */
#ifndef MRAM_SCAN_TRACKER_H
#define MRAM_SCAN_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include <mappedram.h>

/* <linux/fs.h>, from Linux 6.7 on; under names that do not clash. */
struct scan_range {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};

#define SCAN_IOCTL		_IOWR('f', 16, struct scan_arg)
#define SCAN_WRITTEN		(1u << 1)
#define SCAN_PRESENT		(1u << 3)
#define SCAN_SWAPPED		(1u << 4)
#define SCAN_PROTECT		(1u << 0)
#define SCAN_CHECK_ASYNC	(1u << 1)

/*
 * Ranges that the kernel hands out at once, at most: no more than it collects
 * (a table of page table entries), as it says wrongly how far it came when it
 * has to collect twice.
 */
#define SCAN_RANGES	512u

/*
 * What a page is that has no entry in the page tables.
 *
 * SCAN_ANON: zero; an entry that is not present is a swapped-out page
 * SCAN_HUGE: zero, and so is one with an entry that is not present
 * SCAN_FILE: what is in the file, which can be asked for holes
 * SCAN_UNKNOWN: what is in a file that cannot be asked
 */
enum scan_kind {
	SCAN_ANON,
	SCAN_HUGE,
	SCAN_FILE,
	SCAN_UNKNOWN,
};

/**
 * struct scan_piece - a part of a region, of one kind
 * @region: index of the session's region
 * @start: address, a multiple of @page
 * @end: likewise; both may lie outside of the region
 * @page: size of the mapping's pages
 * @kind: what is not there, what is it?
 * @copy: written pages are copies, the file has what was there before
 */
struct scan_piece {
	int region;
	uint64_t start;
	uint64_t end;
	uint64_t page;
	enum scan_kind kind;
	bool copy;
};

/**
 * struct mram_scan_tracker - see <mappedram.h>
 * @session: whose regions it feeds
 * @pid: of the process whose memory it is; a child that inherits all of this
 *       has no part in it
 * @uffd: protects
 * @pagemap: tells what was written
 * @ranges: room for SCAN_RANGES
 * @pieces: what is tracked
 * @nr_pieces: how many
 */
struct mram_scan_tracker {
	struct mram_session *session;
	pid_t pid;
	int uffd;
	int pagemap;
	struct scan_range *ranges;
	struct scan_piece *pieces;
	size_t nr_pieces;
};

/** scan_protect - pages without an entry get one: protected, or none again */
void scan_protect(const struct mram_scan_tracker *t, uint64_t start,
		  uint64_t end, bool protect);

#endif /* MRAM_SCAN_TRACKER_H */
