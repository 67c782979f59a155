/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing onto an older image of the same memory: what is equal stays.
 */
#ifndef MRAM_SESSION_COMPARE_H
#define MRAM_SESSION_COMPARE_H

#include "session.h"

/**
 * struct session_compare - how a comparison goes
 * @progress: called with the pages that were dealt with, in all regions; not 0
 *            cancels
 * @data: handed to it
 * @done: pages dealt with
 * @compared: pages of the old image that were read
 * @same: of these, pages that are equal
 */
struct session_compare {
	int (*progress)(void *data, uint64_t done);
	void *data;
	uint64_t done;
	uint64_t compared;
	uint64_t same;
};

/**
 * session_compare - mark dirty what a region's old pages do not hold
 * @index: the region; with MRAM_REGION_HAS_FD. Nothing of it is dirty yet.
 * @old: the image as it was, opened before mram_session_begin()
 * @block: of @old, which lies where the region will lie
 *
 * Pages that are equal are in the image; pages that the old image did not hold
 * are dirty, for the pass to find out whether they are still zero.
 */
int session_compare(struct mram_session *s, size_t index,
		    struct mram_image *old, int block,
		    struct session_compare *c, struct mram_error *err);

#endif /* MRAM_SESSION_COMPARE_H */
