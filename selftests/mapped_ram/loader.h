/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An image of random pages, memory that is in use, and what it must hold when it
 * was loaded: for tests of what else LOAD does to memory.
 */
#ifndef MAPPED_RAM_LOADER_H
#define MAPPED_RAM_LOADER_H

#include "inflight.h"

#define LOADER_LENGTH	(2 * HUGE_SIZE)
#define LOADER_OLD	0x3c	/* what the memory holds before */

struct loader {
	struct flaky disk;
	struct image img;
	struct mem mem;
	struct region r;
	uint8_t *want;		/* what it must hold afterwards */
	size_t nr;		/* pages */
	long pins;		/* pinned_pages() before */
	int dev;
};

/* Of its pages every fifth is zero, and not in the image. */
void need_loader(struct loader *l, enum mem_kind kind);
void loader_drop(struct loader *l);

/* All pages are in the image from here on. */
void need_loader_full(struct loader *l);

/*
 * A whole pass, after which the memory is the old one: the first over an address
 * space pins pages in another way.
 */
void need_loader_pinned(struct loader *l);

/* A pass over all: 0, -errno, or -EBADMSG when the memory is not what it must be */
int loader_load(struct loader *l);

/* Nothing was written to it. */
bool loader_is_old(const uint8_t *p, size_t length);

#endif
