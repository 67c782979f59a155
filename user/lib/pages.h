/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the pages of a block where they stand in the image: for those who
 * look at them and have no memory to fill.
 */
#ifndef MRAM_PAGES_H
#define MRAM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#include "io.h"

/** PAGES_BUFFER - bytes read at a time; holds a page of any size */
#define PAGES_BUFFER	0x400000U

/**
 * struct pages - a block that is being read
 * @io: the image's
 * @info: the block
 * @bitmap: which pages the image holds
 * @buffer: of PAGES_BUFFER bytes
 */
struct pages {
	struct mram_io *io;
	struct mram_block_info info;
	const uint64_t *bitmap;
	uint8_t *buffer;
};

/** pages_open - get ready; pages_close() is due in any case */
int pages_open(struct pages *p, struct mram_image *img, int index,
	       struct mram_error *err);

/** pages_close - free the buffer */
void pages_close(struct pages *p);

/** pages_chunk - how many of @count pages can be read at once */
uint64_t pages_chunk(const struct pages *p, uint64_t count);

/**
 * pages_read - read pages that the image holds into the buffer
 * @count: at most pages_chunk()
 *
 * The error names the page that cannot be read.
 */
int pages_read(const struct pages *p, uint64_t first, uint64_t count,
	       struct mram_error *err);

/**
 * struct scan - one job on pages, from opts_get() to opts_put()
 * @opts: what the caller asked for
 * @stats: what was done so far
 * @total: pages to read, for the progress
 * @start: when it began
 */
struct scan {
	struct mram_scan_opts opts;
	struct mram_scan_stats stats;
	uint64_t total;
	uint64_t start;
};

/** scan_begin - check the options; @what is the job's name, for the message */
int scan_begin(struct scan *s, const struct mram_scan_opts *opts,
	       const char *what, struct mram_error *err);

/** scan_read - pages_read(), counted */
int scan_read(struct scan *s, const struct pages *p, uint64_t first,
	      uint64_t count, struct mram_error *err);

/** scan_progress - tell how far it is; -ECANCELED if that was enough */
int scan_progress(struct scan *s, struct mram_error *err);

/** scan_end - hand the statistics out; returns @ret */
int scan_end(struct scan *s, struct mram_scan_stats *stats, int ret);

#endif /* MRAM_PAGES_H */
