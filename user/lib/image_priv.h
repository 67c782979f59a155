/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An open image, shared by the files that read one: parse.c fills in what
 * stands before the device state, state.c the device state, image.c answers
 * questions.
 */
#ifndef MRAM_IMAGE_PRIV_H
#define MRAM_IMAGE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#include "cursor.h"
#include "io.h"

/**
 * struct mram_image_block - a block that was checked
 * @name: owned
 * @length: in bytes, a multiple of @page_size
 * @page_size: in bytes
 * @pages: @length / @page_size
 * @bitmap_offset: in the file; the bitmap lies inside it
 * @bitmap_size: ceil(@pages / 64) * 8
 * @pages_offset: in the file; all @length bytes lie inside it
 * @bitmap: NULL until somebody asked for it; owned
 * @set_pages: bits set in @bitmap
 */
struct mram_image_block {
	char *name;
	uint64_t length;
	uint64_t page_size;
	uint64_t pages;
	uint64_t bitmap_offset;
	uint64_t bitmap_size;
	uint64_t pages_offset;
	uint64_t *bitmap;
	uint64_t set_pages;
};

/**
 * struct mram_image_section - a section of the device state
 * @name: owned
 * @instance: tells sections of one name apart
 * @version: the writer's own
 * @data_offset: in the file
 * @length: of the data, which lies inside the file
 * @plain: described as one buffer, as mram_session_add_section() does
 */
struct mram_image_section {
	char *name;
	uint32_t instance;
	uint32_t version;
	uint64_t data_offset;
	uint64_t length;
	bool plain;
};

/**
 * struct mram_image - an open image
 * @io: owned
 * @file_size: when it was opened; nothing behind it is looked at
 * @start: where in the file the stream begins; offsets in it count from the
 *         file's start all the same
 * @machine: owned
 * @target_page_size: as the configuration says, 0 if it does not
 * @ram_id: section id of RAM
 * @blocks: @nr_blocks of them
 * @state_offset: first byte behind the end of the RAM section
 * @end: first byte behind the stream
 * @sections_known: @sections are all there are
 * @sections: @nr_sections of them
 */
struct mram_image {
	struct mram_io *io;
	uint64_t file_size;
	uint64_t start;
	char *machine;
	uint64_t target_page_size;
	uint32_t ram_id;
	struct mram_image_block *blocks;
	size_t nr_blocks;
	uint64_t state_offset;
	uint64_t end;
	bool sections_known;
	struct mram_image_section *sections;
	size_t nr_sections;
};

/** mram_parse - everything up to the end of the RAM section */
int mram_parse(struct mram_image *img, struct mram_error *err);

/**
 * mram_parse_blocks - the blocks' records, as many as @left bytes of memory need
 *
 * Leaves @c behind the last block's pages.
 */
int mram_parse_blocks(struct mram_image *img, struct mram_cursor *c,
		      uint64_t left, struct mram_error *err);

/** mram_parse_state - the device state, from @state_offset on */
int mram_parse_state(struct mram_image *img, struct mram_error *err);

/** mram_free_sections - forget the sections that were found */
void mram_free_sections(struct mram_image *img);

#endif /* MRAM_IMAGE_PRIV_H */
