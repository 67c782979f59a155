// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The threads that bring what nobody has touched: first what the working set
 * names, then everything else, in the image's order and in large reads.
 */
#include <errno.h>

#include "bitmap.h"
#include "lazy.h"

/* Faults outrank streaming, but somebody who faults all the time does not end it. */
#define YIELD_MSEC	20

void lazy_yield(struct mram_restore_lazy *l)
{
	struct timespec until;

	if (!__atomic_load_n(&l->pending, __ATOMIC_SEQ_CST))
		return;
	until = lazy_until(YIELD_MSEC);
	pthread_mutex_lock(&l->lock);
	__atomic_add_fetch(&l->waiting, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&l->pending, __ATOMIC_SEQ_CST) && !l->stopping)
		if (pthread_cond_timedwait(&l->go, &l->lock, &until) ==
		    ETIMEDOUT)
			break;
	__atomic_sub_fetch(&l->waiting, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&l->lock);
}

/* Units of a word that are to be brought and that nobody has. */
static uint64_t open_word(const struct lazy_chunk *c, uint64_t word,
			  const uint64_t *among)
{
	uint64_t held = c->b->present[word];

	return (c->zero ? ~held : held) & bitmap_read(&among[word]) &
	       ~bitmap_read(&c->b->claimed[word]);
}

static uint64_t next_open(const struct lazy_chunk *c, const uint64_t *among,
			  uint64_t unit, uint64_t end)
{
	uint64_t w, open;

	for (w = unit / BITS_PER_WORD; w * BITS_PER_WORD < end; w++) {
		open = open_word(c, w, among) & bitmap_mask(w, unit, end);
		if (open)
			return w * BITS_PER_WORD +
			       (uint64_t)__builtin_ctzll(open);
	}
	return end;
}

/*
 * From @c->first on: as long as a read may be, and as long as no gap is too
 * wide. Pages between those that the working set names are taken along, but for
 * zero pages, which may have to be made and that nobody asked for.
 */
static void find_end(struct mram_restore_lazy *l, struct lazy_chunk *c,
		     const uint64_t *among)
{
	const struct lazy_block *b = c->b;
	uint64_t most = l->opts.max_extent >> b->unit_shift;
	uint64_t bridge = c->zero ? 0 : LAZY_BRIDGE >> b->unit_shift;
	uint64_t limit, next;

	if (!most)
		most = 1;
	limit = b->units - c->first > most ? c->first + most : b->units;
	c->end = c->first + 1;
	while (c->end < limit) {
		next = next_open(c, among, c->end, limit);
		if (next == limit || next - c->end > bridge)
			break;
		c->end = next + 1;
	}
}

/* With @lock held. Return false when there is nothing left. */
static bool next_chunk(struct mram_restore_lazy *l, struct lazy_chunk *c)
{
	for (; l->next_phase < LAZY_NO_PHASE;
	     l->next_phase++, l->next_block = 0) {
		c->zero = l->next_phase == LAZY_SET_ZERO;
		for (; l->next_block < l->nr_blocks;
		     l->next_block++, l->next_unit = 0) {
			struct lazy_block *b = &l->blocks[l->next_block];
			const uint64_t *among = l->next_phase == LAZY_REST ?
						b->present : b->wanted;

			if (!among)
				continue;
			c->b = b;
			c->first = next_open(c, among, l->next_unit, b->units);
			if (c->first == b->units)
				continue;
			find_end(l, c, among);
			l->next_unit = c->end;
			return true;
		}
	}
	return false;
}

static bool may_stream(const struct mram_restore_lazy *l)
{
	return !l->paused && !l->canceled && !l->error.code && !l->gone &&
	       l->next_phase < LAZY_NO_PHASE;
}

/*
 * What is not there for zero pages, nobody but the working set has asked for: it
 * is the order that this names, and not what must be there.
 */
static bool forgo(struct lazy_worker *w, const struct lazy_chunk *c, int ret)
{
	uint64_t unit;

	if (!c->zero || ret != -ENOMEM)
		return false;
	for (unit = c->first; unit < c->end; unit++)
		if (lazy_own(c, unit))
			lazy_set_placed(w->l, c->b, unit, unit + 1);
	return true;
}

void *lazy_stream_thread(void *worker)
{
	struct lazy_worker *w = worker;
	struct mram_restore_lazy *l = w->l;
	struct lazy_chunk c = { .own = w->own };
	bool have, forgone;
	int ret;

	for (;;) {
		lazy_yield(l);
		pthread_mutex_lock(&l->lock);
		while (!l->stopping && !may_stream(l))
			pthread_cond_wait(&l->go, &l->lock);
		if (l->stopping)
			break;
		if (!l->left_out) {
			l->left_out = true;
			pthread_mutex_unlock(&l->lock);
			lazy_leave_out(l);
			continue;
		}
		w->resumed = lazy_get(&l->resumed);
		have = next_chunk(l, &c) && lazy_claim(&c, LAZY_NO_UNIT);
		pthread_mutex_unlock(&l->lock);
		if (!have)
			continue;
		ret = c.zero ? 0 : lazy_read(w, &c);
		if (!ret)
			ret = lazy_place(w, &c, c.zero ? LAZY_ZERO : LAZY_COPY);
		if (!ret)
			continue;
		forgone = forgo(w, &c, ret);
		/* Who waits for them is served by itself, as far as possible. */
		lazy_give_back(w, &c, true);
		if (!forgone)
			lazy_fail(w, &w->err);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}
