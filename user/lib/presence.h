/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pages of a region were never touched?
 *
 * Reading a page that is not there would make it: that costs memory (in shared
 * memory) or page tables (in private memory). So the engines in user space ask
 * before they look. Answers are about a span of pages at a time, and hold for
 * the moment of asking: pages must be claimed before.
 */
#ifndef MRAM_PRESENCE_H
#define MRAM_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"
#include "vma.h"

/* Most bytes of a span. */
#define PRESENCE_BYTES	(128ull << 20)

struct presence {
	int pagemap;
	uint64_t *entries;
	unsigned char *core;
	struct vma_list vmas;
};

/**
 * presence_open - get ready to ask
 *
 * Without /proc everything will be taken for present.
 */
int presence_open(struct presence *p);

/** presence_close - free what presence_open() got */
void presence_close(struct presence *p);

/**
 * presence_check - a pass begins: is everything that it will touch mapped?
 * @want: bitmap of the pages in question, for the whole region
 * @write: they will be written to
 * @error_page: on -EFAULT the first page of @want that is not
 *
 * Spares the caller's process a fault where the kernel would return an error.
 * What is unmapped afterwards is not noticed.
 */
int presence_check(struct presence *p, const struct engine_region *r,
		   const uint64_t *want, bool write, uint64_t *error_page);

/**
 * presence_unmapped - find pages that this process does not have
 * @first_word: first word of the bitmap
 * @nr_words: at most PRESENCE_BYTES worth of pages
 * @want: the pages in question, in the region; word 0 is @first_word's
 * @none: set on return: the pages of @want that are neither in memory nor
 *        swapped out. None when there is no way to find out.
 *
 * Return: whether there are any.
 */
bool presence_unmapped(struct presence *p, const struct engine_region *r,
		       uint64_t first_word, uint64_t nr_words,
		       const uint64_t *want, uint64_t *none);

/**
 * presence_absent - of unmapped pages, which are zero because nothing is there?
 * @absent: what presence_unmapped() found; on return without those that have to
 *          be looked at
 * @error_page: on -EFAULT the first page that cannot be read at all
 *
 * Return: 0 or a negative errno.
 */
int presence_absent(struct presence *p, const struct engine_region *r,
		    uint64_t first_word, uint64_t nr_words, uint64_t *absent,
		    uint64_t *error_page);

/**
 * presence_zero - make pages zero; those that are not there stay so
 * @want: the pages, in the region
 * @error_page: on -EFAULT the first page that cannot be written
 *
 * Return: 0 or a negative errno.
 */
int presence_zero(struct presence *p, const struct engine_region *r,
		  uint64_t first_word, uint64_t nr_words, const uint64_t *want,
		  uint64_t *error_page);

#endif /* MRAM_PRESENCE_H */
