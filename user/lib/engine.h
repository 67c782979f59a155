/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Engines: who moves pages between memory and the image.
 *
 * All engines do the same pass, the one that <linux/mapped_ram.h> describes:
 * a dirty bit is claimed before its page is read, and the claim ends in exactly
 * one of: page written and file bit set; page zero and file bit clear; bit
 * given back. They differ in who does it and how many I/Os are in flight.
 */
#ifndef MRAM_ENGINE_H
#define MRAM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#include "io.h"

#define ENGINE_NO_PAGE	UINT64_MAX

/* progress() is called when about this many bytes were dealt with. */
#define ENGINE_PROGRESS_BYTES	(64ull << 20)

/**
 * struct engine_region - a range of memory as engines see it
 * @name: for messages
 * @addr: page-aligned
 * @pages: length in pages
 * @pages_offset: where page 0 lies in the image, in bytes
 * @page_shift: log2 of the page size
 * @flags: MRAM_REGION_*
 * @fd: the file behind the mapping, with MRAM_REGION_HAS_FD
 * @fd_offset: where in @fd the region starts
 * @dirty: dirty bitmap, made by the engine, all clear
 * @file: file bitmap, made by the engine, all clear
 * @bitmap_size: of each, in bytes; at least up to the end of the last word
 * @id: the engine's own
 * @resident: set by the engine: every page is in memory and stays there
 */
struct engine_region {
	const char *name;
	unsigned char *addr;
	uint64_t pages;
	uint64_t pages_offset;
	unsigned int page_shift;
	uint32_t flags;
	int fd;
	uint64_t fd_offset;

	uint64_t *dirty;
	uint64_t *file;
	size_t bitmap_size;
	uint32_t id;
	bool resident;
};

/**
 * struct engine_pass - one pass over a region: how, and what came of it
 * @window: most I/Os in flight; 0 for the engine's choice
 * @bridge: clean pages written along to join two dirty runs, at most
 * @choose: how many of these it is, is for the engine to find out
 * @max_extent: most bytes of one I/O; 0 for the engine's choice
 * @stopped: nothing writes to the memory meanwhile
 * @done: pages dealt with so far, in all regions of the pass
 * @reported: @done at the last call of @progress
 * @progress: called with @done now and then; not 0 cancels. May be NULL.
 * @progress_data: handed to @progress
 * @moved: pages written or read that had to be
 * @zero: pages that are zero
 * @bridged: clean pages written along
 * @ios: writes or reads
 * @bytes: that they moved
 * @best: what @bridge was at the end
 * @flags: MRAM_STATS_*
 *
 * The outputs are added to, but for @best, so that one struct serves several
 * regions.
 */
struct engine_pass {
	uint32_t window;
	uint32_t bridge;
	uint32_t max_extent;
	bool choose;
	bool stopped;

	uint64_t done;
	uint64_t reported;
	int (*progress)(void *data, uint64_t done);
	void *progress_data;

	uint64_t moved;
	uint64_t zero;
	uint64_t bridged;
	uint64_t ios;
	uint64_t bytes;
	uint32_t best;
	uint32_t flags;
};

struct engine_ops;

/* What every engine starts with. */
struct engine {
	const struct engine_ops *ops;
	const struct mram_io *io;
};

/**
 * struct engine_ops - what an engine can do
 * @name: as in struct mram_session_opts
 * @probe: 0 if the engine works here; an error says why it does not
 * @open: get ready to move pages to or from the image, which outlives the
 *        engine
 * @add_region: register a region, make its bitmaps
 * @remove_region: forget it, free its bitmaps; cannot fail
 * @save: write the dirty pages of a region
 * @load: read the pages that the file bitmap names, make the others zero
 * @close: free the rest; all regions are removed
 */
struct engine_ops {
	const char *name;
	int (*probe)(struct mram_error *err);
	int (*open)(struct engine **out, const struct mram_io *io, bool load,
		    struct mram_error *err);
	int (*add_region)(struct engine *e, struct engine_region *r,
			  struct mram_error *err);
	void (*remove_region)(struct engine *e, struct engine_region *r);
	int (*save)(struct engine *e, struct engine_region *r,
		    struct engine_pass *p, struct mram_error *err);
	int (*load)(struct engine *e, struct engine_region *r,
		    struct engine_pass *p, struct mram_error *err);
	void (*close)(struct engine *e);
};

extern const struct engine_ops engine_module;
extern const struct engine_ops engine_uring;
extern const struct engine_ops engine_pwrite;

/**
 * engine_find - the engine of this name, or the first one that works here
 * @name: NULL for any
 * @io: the image it shall work on
 *
 * Return: 0; -EINVAL for an unknown name; what the engine's probe says.
 */
int engine_find(const struct engine_ops **out, const char *name,
		const struct mram_io *io, struct mram_error *err);

/**
 * engine_progress - pages were dealt with
 *
 * Return: 0, or -ECANCELED when the caller wants no more.
 */
int engine_progress(struct engine_pass *p, const struct engine_region *r,
		    uint64_t pages);

/**
 * engine_check_length - does the image still reach to the region's end?
 *
 * A file that was cut short must be noticed: writing would silently make it
 * longer again, with holes. If it was, the pages beyond its end are marked
 * dirty and their file bits cleared.
 *
 * Return: 0, or -ENODATA with the first such page in @page.
 */
int engine_check_length(const struct mram_io *io,
			const struct engine_region *r, uint64_t *page);

/**
 * engine_failed - say how moving a page failed
 * @verb: "saving" or "loading"
 * @page: index into the region, or ENGINE_NO_PAGE
 * @code: negative errno
 *
 * Return: @code.
 */
int engine_failed(struct mram_error *err, const char *verb,
		  const struct mram_io *io, const struct engine_region *r,
		  uint64_t page, int code);

/** engine_clock - nanoseconds, for measuring */
uint64_t engine_clock(void);

#endif /* MRAM_ENGINE_H */
