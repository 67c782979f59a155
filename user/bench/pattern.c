// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cases: what memory holds, and which pages of it are dirty.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* Pages of a cluster of the case `hot`. */
#define CLUSTER		16
/* Pages of a run of the case `load-sparse`. */
#define RUN		1024
/* `untouched` touches this many pieces, evenly spread. */
#define PIECES		8

static void mark(struct pattern *p, uint64_t page)
{
	p->dirty[page / 64] |= 1ull << page % 64;
	p->dirty_pages++;
}

/* The same numbers in every run. */
static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void mark_every(struct pattern *p, uint64_t step)
{
	uint64_t page;

	for (page = 0; page < p->pages; page += step)
		mark(p, page);
}

/* Runs of @length pages, the first of every @one_in. */
static void mark_runs(struct pattern *p, uint64_t length, uint64_t one_in)
{
	uint64_t page;

	for (page = 0; page < p->pages; page++)
		if (page / length % one_in == 0)
			mark(p, page);
}

/* Runs of @length pages, aligned to it, one in @one_in of all. */
static void mark_random(struct pattern *p, uint64_t length, uint64_t one_in)
{
	uint64_t state = 88172645463325252ull, page, i;

	for (page = 0; page + length <= p->pages; page += length) {
		if ((random_next(&state) >> 11) % one_in)
			continue;
		for (i = 0; i < length; i++)
			mark(p, page + i);
	}
}

static void touch_pieces(struct pattern *p, const struct memory *m,
			 uint64_t touched)
{
	uint64_t piece = touched / PIECES / HUGE * HUGE;
	uint64_t step = m->size / PIECES / HUGE * HUGE;
	int i;

	if (!piece || piece > step)
		fail("cannot touch %llu bytes of %llu in %d pieces",
		     (unsigned long long)touched, (unsigned long long)m->size,
		     PIECES);
	for (i = 0; i < PIECES; i++)
		memory_touch(m, i * step, i * step + piece, false);
	p->touched = PIECES * piece;
}

struct pattern pattern_make(const struct options *o, const struct memory *m)
{
	struct pattern p = {
		.pages = o->size / PAGE,
		.touched = o->size,
	};
	const char *name = o->case_name;

	p.dirty = calloc((p.pages + 63) / 64, sizeof(*p.dirty));
	if (!p.dirty)
		fail("out of memory");
	if (!strcmp(name, "full") || !strcmp(name, "zero") ||
	    !strcmp(name, "untouched") || !strcmp(name, "load-full") ||
	    !strcmp(name, "lazy-full") || !strcmp(name, "lazy-faults"))
		mark_every(&p, 1);
	else if (!strcmp(name, "scatter25") ||
		 !strcmp(name, "load-scattered") ||
		 !strcmp(name, "lazy-scattered"))
		mark_every(&p, 4);
	else if (!strcmp(name, "load-sparse") || !strcmp(name, "lazy-sparse"))
		mark_runs(&p, RUN, 4);
	else if (!strcmp(name, "random1"))
		mark_random(&p, 1, 100);
	else if (!strcmp(name, "hot"))
		mark_random(&p, CLUSTER, 10);
	else
		fail("no case is called %s", name);

	if (!strcmp(name, "untouched"))
		touch_pieces(&p, m, o->touched);
	else
		memory_touch(m, 0, m->size, !strcmp(name, "zero"));
	return p;
}
