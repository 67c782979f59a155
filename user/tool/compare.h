/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between two images: found out, and told to people and programs.
 */
#ifndef MRAM_COMPARE_H
#define MRAM_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facts.h"

/** struct compared_run - pages of a block that differ */
struct compared_run {
	uint64_t first;
	uint64_t count;
};

/**
 * struct compared_block - a block of one image or of both
 * @info: in each image; NULL where it is not there
 * @runs: @nr_runs of them; owned
 * @differ: pages in them
 */
struct compared_block {
	const struct mram_block_info *info[2];
	struct compared_run *runs;
	size_t nr_runs;
	uint64_t differ;
};

/**
 * struct comparison - two images
 * @side: the images
 * @blocks: @nr_blocks of them, those of the first image first
 * @read: pages read so far, for the progress bar
 * @alone: blocks that only one image has
 * @pages: in all blocks that both have together, of each the longer one
 * @differ: of these, pages that differ
 */
struct comparison {
	struct facts side[2];
	struct compared_block *blocks;
	size_t nr_blocks;
	uint64_t read;
	size_t alone;
	uint64_t pages;
	uint64_t differ;
};

/**
 * comparison_make - compare; both sides are gathered
 *
 * Return: 0, or TOOL_FAILED after saying why. In both cases comparison_free()
 * is due.
 */
int comparison_make(struct comparison *c);

/** comparison_same - is all memory the same? */
bool comparison_same(const struct comparison *c);

/** comparison_print - for people; returns 0, or TOOL_FAILED after saying why */
int comparison_print(const struct comparison *c);

/** comparison_json - for programs; NULL without memory */
json_object *comparison_json(const struct comparison *c);

/** comparison_free - close both images */
void comparison_free(struct comparison *c);

#endif /* MRAM_COMPARE_H */
