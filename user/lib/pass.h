/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Passes of the engines in user space.
 *
 * pass.c walks the bitmaps: claims dirty bits, tells zero pages from data,
 * strings data pages together into extents. A mover (engine_pwrite.c,
 * engine_uring.c) moves an extent between memory and image, now or later.
 * extent.c says what follows when it is through: file bits, or dirty bits back.
 */
#ifndef MRAM_PASS_H
#define MRAM_PASS_H

#include "../../kmod/bridge.h"
#include "engine.h"
#include "presence.h"

/* Words that are claimed at once, at most; between batches there is progress. */
#define PASS_BATCH_WORDS	(ENGINE_PROGRESS_BYTES / 4096 / 64)

/**
 * struct extent - a run of pages that one I/O moves
 * @first: index into the region
 * @pages: how many
 * @bridged: how many of them are clean, only written along
 * @moved: bytes that are through already
 */
struct extent {
	uint64_t first;
	uint64_t pages;
	uint64_t bridged;
	uint64_t moved;
};

struct mover;

/**
 * struct mover_ops - how an engine moves extents
 * @start: move @x; extent_advance() is called when something came of it, before
 *         or after this returns. Waits when the window is full.
 * @kick: what was started shall really be under way: no more may come for a
 *        while
 * @drain: wait until all extents are through
 */
struct mover_ops {
	void (*start)(struct mover *m, const struct extent *x);
	void (*kick)(struct mover *m);
	void (*drain)(struct mover *m);
	uint32_t default_extent;
	uint32_t default_window;
	uint32_t max_window;
};

/**
 * struct mover - an engine in user space
 * @base: what all engines have
 * @ops: who moves
 * @load: image to memory
 * @presence: for asking what is there
 * @r: region of the pass that runs
 * @p: the pass that runs
 * @known: what was found out about the image's device
 * @trial: finding out more, see choose.c
 * @bridge: clean pages between two runs that make one extent of them, at most
 * @window: I/Os in flight, at most
 * @max_pages: pages of an extent, at most
 * @error: what stops the pass, or 0
 * @error_page: the first page that could not be moved
 * @open: extent that still grows
 * @base_word: first word of the batch
 * @claimed: of the batch: bits whose fate is not decided yet
 * @want: of the batch: pages whose presence is asked for
 * @none: of the batch: of these, pages that this process does not have
 */
struct mover {
	struct engine base;
	const struct mover_ops *ops;
	bool load;
	struct presence presence;

	struct mram_bridge known;

	struct engine_region *r;
	struct engine_pass *p;
	struct mram_bridge_trial trial;
	uint32_t bridge;
	uint32_t window;
	uint64_t max_pages;
	int error;
	uint64_t error_page;
	struct extent open;
	uint64_t base_word;
	uint64_t claimed[PASS_BATCH_WORDS];
	uint64_t want[PASS_BATCH_WORDS];
	uint64_t none[PASS_BATCH_WORDS];
};

static inline struct mover *to_mover(struct engine *e)
{
	return (struct mover *)e;
}

/** mover_open - set up what all movers have */
int mover_open(struct mover *m, const struct engine_ops *ops,
	       const struct mover_ops *mover_ops, const struct mram_io *io,
	       bool load, struct mram_error *err);

/** mover_close - undo mover_open() */
void mover_close(struct mover *m);

/* Of struct engine_ops, for all movers. */
int mover_add_region(struct engine *e, struct engine_region *r,
		     struct mram_error *err);
void mover_remove_region(struct engine *e, struct engine_region *r);
int mover_save(struct engine *e, struct engine_region *r,
	       struct engine_pass *p, struct mram_error *err);
int mover_load(struct engine *e, struct engine_region *r,
	       struct engine_pass *p, struct mram_error *err);

/** mover_stop - let the pass end with an error; the first one counts */
void mover_stop(struct mover *m, int error, uint64_t page);

/* Where the rest of an extent lies. */
static inline void *extent_addr(const struct mover *m, const struct extent *x)
{
	return m->r->addr + (x->first << m->r->page_shift) + x->moved;
}

static inline uint64_t extent_offset(const struct mover *m,
				     const struct extent *x)
{
	return m->r->pages_offset + (x->first << m->r->page_shift) + x->moved;
}

static inline size_t extent_rest(const struct mover *m, const struct extent *x)
{
	return (x->pages << m->r->page_shift) - x->moved;
}

/**
 * extent_advance - an I/O on an extent ended
 * @res: bytes that it moved, or a negative errno
 *
 * Return: whether the rest of the extent has to be moved by another I/O. If
 * not, the extent is through.
 */
bool extent_advance(struct mover *m, struct extent *x, int64_t res);

/**
 * extent_add_run - let a run of pages be moved
 *
 * Joins it with what the open extent has, over a bridge if need be.
 */
void extent_add_run(struct mover *m, uint64_t first, uint64_t pages);

/** extent_flush - start the open extent, if there is one */
void extent_flush(struct mover *m);

#endif /* MRAM_PASS_H */
