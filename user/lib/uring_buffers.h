/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that is registered with an io_uring (fixed buffers): its pages are
 * pinned once, and not looked up for each I/O.
 *
 * A region becomes several buffers, each a full URING_BUFFER long but the last,
 * which stand in the ring's table side by side.
 */
#ifndef MRAM_URING_BUFFERS_H
#define MRAM_URING_BUFFERS_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

/* The longest buffer that the kernel takes. */
#define URING_BUFFER	(1ull << 30)

/* &engine_region.id of a region that is not registered. */
#define URING_NO_BUFFERS	UINT32_MAX

/**
 * struct uring_buffers - a ring's table of them
 * @made: the table exists
 * @used: entries in use
 */
struct uring_buffers {
	struct io_uring *ring;
	bool made;
	uint32_t used;
};

/**
 * uring_buffers_add - register all memory of a region
 *
 * Sets @r->id, and @r->resident: the pages are in memory from here on, those
 * that were never touched, too.
 */
int uring_buffers_add(struct uring_buffers *b, struct engine_region *r,
		      struct mram_error *err);

/** uring_buffers_release - unpin everything; cannot fail */
void uring_buffers_release(struct uring_buffers *b);

#endif /* MRAM_URING_BUFFERS_H */
