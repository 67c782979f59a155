/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that exists in places only, of every kind and at every scale, and
 * what a pass must make of it: see sparse.c.
 */
#ifndef MAPPED_RAM_SPARSE_H
#define MAPPED_RAM_SPARSE_H

#include "rig.h"

#define SPARSE_PRIVATE	1	/* a private mapping of the memfd */
#define SPARSE_SWAP	2	/* some of it is swapped out, now and then */

struct sparse {
	struct memdisk disk;
	struct image img;
	struct mem mem;
	struct region r;	/* starts somewhere in @mem */
	struct scratch swap;
	unsigned int how;
	size_t nr;		/* pages of the machine in the region */
	uint16_t *byte;		/* the only byte of a page that is not 0 */
	uint8_t *value;		/* and what it is; 0: the page is zero */
	bool *own;		/* written to through the mapping */
	uint64_t *there;	/* pages that existed before a pass */
	int dev;
};

/* A region of about @length with pages of @page_size in the bitmap. */
void need_sparse(struct sparse *s, struct rng *rng, enum mem_kind kind,
		 size_t length, uint32_t page_size, uint32_t region_flags,
		 unsigned int how);
void sparse_drop(struct sparse *s);

/*
 * Change pages in [@first, @first + @nr), at one of several scales: write data
 * or zeroes, read, discard. Then report them as dirty. 0 or -errno.
 */
int sparse_change(struct sparse *s, struct rng *rng, size_t first, size_t nr);
/* Bring out some of it, if that is asked for. */
void sparse_swap_out(struct sparse *s, struct rng *rng);

/* Pages of anonymous memory that exist, before a pass and after it */
int sparse_note_there(struct sparse *s);
/* How many more exist now; or -errno */
long sparse_grown(struct sparse *s);

/* Format pages of the range that are dirty, with data and without */
void sparse_count(struct sparse *s, size_t first, size_t nr, size_t *data,
		  size_t *zero);
/*
 * Whether format pages [@first, @first + @nr), @all of them or those that are
 * clean, are in the image as they are in memory, the zero ones not at all: NULL
 * or what is wrong.
 */
const char *sparse_check(struct sparse *s, size_t first, size_t nr, bool all,
			 size_t *where);

#endif
