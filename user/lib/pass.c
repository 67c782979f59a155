// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Passes of the engines in user space: from bitmap words to runs of pages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitmap.h"
#include "choose.h"
#include "error.h"
#include "zero.h"

/* A batch ends at this many words without a dirty bit. */
#define GAP_WORDS	8

int mover_open(struct mover *m, const struct engine_ops *ops,
	       const struct mover_ops *mover_ops, const struct mram_io *io,
	       bool load, struct mram_error *err)
{
	int ret;

	m->base.ops = ops;
	m->base.io = io;
	m->ops = mover_ops;
	m->load = load;
	ret = presence_open(&m->presence);
	if (ret)
		return mram_err(err, ret, "%s: out of memory", io->path);
	return 0;
}

void mover_close(struct mover *m)
{
	presence_close(&m->presence);
}

int mover_add_region(struct engine *e, struct engine_region *r,
		     struct mram_error *err)
{
	size_t size = bitmap_words(r->pages) * sizeof(uint64_t);
	size_t page = sysconf(_SC_PAGESIZE);
	uint64_t *maps;

	(void)e;
	size = (size + page - 1) / page * page;
	maps = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (maps == MAP_FAILED)
		return mram_err(err, -ENOMEM,
				"no memory for the bitmaps of region '%s' (%zu bytes)",
				r->name, 2 * size);
	r->dirty = maps;
	r->file = maps + size / sizeof(*maps);
	r->bitmap_size = size;
	return 0;
}

void mover_remove_region(struct engine *e, struct engine_region *r)
{
	(void)e;
	munmap(r->dirty, 2 * r->bitmap_size);
	r->dirty = NULL;
	r->file = NULL;
}

void mover_stop(struct mover *m, int error, uint64_t page)
{
	if (!m->error)
		m->error = error;
	if (page < m->error_page)
		m->error_page = page;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void start_pass(struct mover *m, struct engine_region *r,
		       struct engine_pass *p)
{
	uint64_t extent = p->max_extent ? p->max_extent :
			  m->ops->default_extent;

	m->r = r;
	m->p = p;
	m->error = 0;
	m->error_page = ENGINE_NO_PAGE;
	m->open.pages = 0;
	m->max_pages = extent >> r->page_shift;
	if (!m->max_pages)
		m->max_pages = 1;
	m->window = min(p->window ? p->window : m->ops->default_window,
			m->ops->max_window);
	choose_start(m);
	if (!m->base.io->direct)
		p->flags |= MRAM_STATS_BUFFERED;
}

static int end_pass(struct mover *m, const char *verb, struct mram_error *err)
{
	m->ops->drain(m);
	if (!m->error)
		return 0;
	return engine_failed(err, verb, m->base.io, m->r, m->error_page,
			     m->error);
}

static uint64_t batch_words(const struct engine_region *r)
{
	uint64_t words = (ENGINE_PROGRESS_BYTES >> r->page_shift) /
			 BITS_PER_WORD;

	/* One word of the largest pages is PRESENCE_BYTES. */
	return words ? words : 1;
}

/*
 * Claim a batch: the next dirty word from *@next on, and what follows up to a
 * gap. Return its length in words, 0 at the end.
 */
static uint64_t claim_batch(struct mover *m, uint64_t *next)
{
	const struct engine_region *r = m->r;
	uint64_t words = bitmap_words(r->pages);
	uint64_t w = *next, i, end = 0;

	while (w < words && !(bitmap_read(&r->dirty[w]) &
			      bitmap_mask(w, 0, r->pages)))
		w++;
	m->base_word = w;
	for (i = 0; w < words && i < batch_words(r); w++, i++) {
		m->claimed[i] = bitmap_read(&r->dirty[w]) ?
				bitmap_claim(&r->dirty[w],
					     bitmap_mask(w, 0, r->pages)) : 0;
		if (m->claimed[i])
			end = i + 1;
		else if (i - end >= GAP_WORDS)
			break;
	}
	*next = m->base_word + end;
	return end;
}

static void give_back(struct mover *m, uint64_t words)
{
	uint64_t i;

	for (i = 0; i < words; i++)
		if (m->claimed[i])
			bitmap_or(&m->r->dirty[m->base_word + i],
				  m->claimed[i]);
}

/* Which of the pages of @bits in word @w are zero? */
static uint64_t find_zero(const struct engine_region *r, uint64_t w,
			  uint64_t bits)
{
	const unsigned char *base = r->addr +
				    (w * BITS_PER_WORD << r->page_shift);
	uint64_t zero = 0;

	for (; bits; bits &= bits - 1) {
		uint64_t n = __builtin_ctzll(bits);

		if (zero_is(base + (n << r->page_shift), 1ull << r->page_shift))
			zero |= 1ull << n;
	}
	return zero;
}

static void add_runs(struct mover *m, uint64_t w, uint64_t bits)
{
	uint64_t start, length;

	while (bits && !m->error) {
		start = __builtin_ctzll(bits);
		length = ~(bits >> start) ?
			 (uint64_t)__builtin_ctzll(~(bits >> start)) :
			 BITS_PER_WORD;
		extent_add_run(m, w * BITS_PER_WORD + start, length);
		bits &= ~bitmap_mask(0, start, start + length);
	}
}

/* Find out about presence: fills m->none, and @absent for claimed pages. */
static int ask_presence(struct mover *m, uint64_t words, uint64_t *absent)
{
	const struct engine_region *r = m->r;
	uint64_t page, i;
	int ret;

	if (r->resident) {
		memset(m->none, 0, words * sizeof(*m->none));
		memset(absent, 0, words * sizeof(*absent));
		return 0;
	}
	for (i = 0; i < words; i++) {
		m->want[i] = m->claimed[i];
		/* Bridges may only be built of pages that are there. */
		if (m->p->bridge)
			m->want[i] |= bitmap_read(&r->file[m->base_word + i]) &
				      bitmap_mask(m->base_word + i, 0,
						  r->pages);
	}
	if (!presence_unmapped(&m->presence, r, m->base_word, words, m->want,
			       m->none)) {
		memset(absent, 0, words * sizeof(*absent));
		return 0;
	}
	for (i = 0; i < words; i++)
		absent[i] = m->none[i] & m->claimed[i];
	ret = presence_absent(&m->presence, r, m->base_word, words, absent,
			      &page);
	if (ret)
		mover_stop(m, ret, ret == -EFAULT ? page : ENGINE_NO_PAGE);
	return ret;
}

static void save_batch(struct mover *m, uint64_t words)
{
	struct engine_region *r = m->r;
	uint64_t absent[PASS_BATCH_WORDS];
	uint64_t i, w, zero;

	if (ask_presence(m, words, absent))
		return;
	choose_batch(m, words);
	for (i = 0; i < words && !m->error; i++) {
		if (!m->claimed[i])
			continue;
		w = m->base_word + i;
		choose_pause(m);
		zero = absent[i] | find_zero(r, w, m->claimed[i] & ~absent[i]);
		choose_resume(m);
		if (zero) {
			bitmap_clear(&r->file[w], zero);
			m->claimed[i] &= ~zero;
			m->p->zero += __builtin_popcountll(zero);
		}
		add_runs(m, w, m->claimed[i]);
	}
	if (!m->error) {
		extent_flush(m);
		m->ops->kick(m);
	}
	choose_pause(m);
}

static void check_length(struct mover *m)
{
	uint64_t page;
	int ret = engine_check_length(m->base.io, m->r, &page);

	if (ret)
		mover_stop(m, ret, page);
}

int mover_save(struct engine *e, struct engine_region *r,
	       struct engine_pass *p, struct mram_error *err)
{
	struct mover *m = to_mover(e);
	uint64_t next = 0, words, pages;
	int ret;

	start_pass(m, r, p);
	check_length(m);
	if (!m->error && presence_check(&m->presence, r, r->dirty, false, &pages))
		mover_stop(m, -EFAULT, pages);
	while (!m->error && (words = claim_batch(m, &next))) {
		pages = bitmap_count(m->claimed, 0, words * BITS_PER_WORD);
		save_batch(m, words);
		if (m->error) {
			m->open.pages = 0;
			give_back(m, words);
			break;
		}
		ret = engine_progress(p, r, pages);
		if (ret)
			mover_stop(m, ret, ENGINE_NO_PAGE);
	}
	choose_end(m);
	p->best = m->bridge;
	m->ops->drain(m);
	check_length(m);
	return end_pass(m, "saving", err);
}

static void load_batch(struct mover *m, uint64_t words)
{
	const struct engine_region *r = m->r;
	uint64_t clear[PASS_BATCH_WORDS];
	uint64_t page = ENGINE_NO_PAGE, zero = 0;
	uint64_t i, w, set, mask;
	int ret;

	for (i = 0; i < words && !m->error; i++) {
		w = m->base_word + i;
		mask = bitmap_mask(w, 0, r->pages);
		set = bitmap_read(&r->file[w]) & mask;
		clear[i] = mask & ~set;
		zero += __builtin_popcountll(clear[i]);
		add_runs(m, w, set);
	}
	if (m->error)
		return;
	extent_flush(m);
	m->ops->kick(m);
	if (!zero)
		return;
	ret = presence_zero(&m->presence, r, m->base_word, words, clear, &page);
	if (ret)
		mover_stop(m, ret, page);
	else
		m->p->zero += zero;
}

int mover_load(struct engine *e, struct engine_region *r,
	       struct engine_pass *p, struct mram_error *err)
{
	struct mover *m = to_mover(e);
	uint64_t all = bitmap_words(r->pages);
	uint64_t words, page;
	int ret;

	start_pass(m, r, p);
	/* Dirty here means: still to be loaded. Nobody else uses it. */
	bitmap_or_range(r->dirty, 0, r->pages);
	if (presence_check(&m->presence, r, r->dirty, true, &page))
		mover_stop(m, -EFAULT, page);
	for (m->base_word = 0; m->base_word < all && !m->error;
	     m->base_word += words) {
		words = min(batch_words(r), all - m->base_word);
		load_batch(m, words);
		ret = engine_progress(p, r, words * BITS_PER_WORD);
		if (ret)
			mover_stop(m, ret, ENGINE_NO_PAGE);
	}
	return end_pass(m, "loading", err);
}
