// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Claims: who fills which units. See lazy.h.
 */
#include <string.h>

#include "bitmap.h"
#include "lazy.h"

/* Draw first and end close around what is ours. */
static void trim(struct lazy_chunk *c)
{
	while (c->first < c->end && !lazy_own(c, c->first))
		c->first++;
	while (c->first < c->end && !lazy_own(c, c->end - 1))
		c->end--;
}

uint64_t lazy_claim(struct lazy_chunk *c, uint64_t mine)
{
	uint64_t nr = 0, w, want, old, *own;

	c->base = c->first / BITS_PER_WORD;
	for (w = c->base; w * BITS_PER_WORD < c->end; w++) {
		own = &c->own[w - c->base];
		want = bitmap_mask(w, c->first, c->end);
		want &= c->zero ? ~c->b->present[w] : c->b->present[w];
		want &= ~bitmap_read(&c->b->claimed[w]);
		old = want ? __atomic_fetch_or(&c->b->claimed[w], want,
					       __ATOMIC_SEQ_CST) : 0;
		*own = want & ~old;
		if (mine / BITS_PER_WORD == w)
			*own |= UINT64_C(1) << mine % BITS_PER_WORD;
		nr += (unsigned int)__builtin_popcountll(*own);
	}
	trim(c);
	return nr;
}

void lazy_only(struct lazy_chunk *c, uint64_t unit)
{
	c->base = unit / BITS_PER_WORD;
	c->first = unit;
	c->end = unit + 1;
	c->own[0] = UINT64_C(1) << unit % BITS_PER_WORD;
}

void lazy_wake(struct mram_restore_lazy *l, const struct lazy_block *b,
	       uint64_t first, uint64_t end)
{
	uint64_t addr, units;

	for (; first < end; first += units) {
		addr = lazy_block_where(b, first, &units);
		if (units > end - first)
			units = end - first;
		if (addr)
			lazy_uffd_wake(l->fds[b->fd].fd, addr,
				       units << b->unit_shift);
	}
}

void lazy_give_back(struct lazy_worker *w, const struct lazy_chunk *c,
		    bool wake)
{
	struct mram_restore_lazy *l = w->l;
	uint64_t i, bits;

	if (c->first >= c->end)
		return;
	pthread_rwlock_rdlock(&l->place);
	for (i = c->first / BITS_PER_WORD; i * BITS_PER_WORD < c->end; i++) {
		bits = c->own[i - c->base] &
		       bitmap_mask(i, c->first, c->end) &
		       ~bitmap_read(&c->b->placed[i]);
		bitmap_clear(&c->b->claimed[i], bits);
	}
	if (wake)
		lazy_wake(l, c->b, c->first, c->end);
	pthread_rwlock_unlock(&l->place);
}
