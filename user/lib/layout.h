/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where everything lies in an image. Pure arithmetic: no file, no I/O.
 *
 * QEMU's own placing: head, then for each block its record, right behind it
 * the bitmap, then at the next multiple of 1 MiB (of the page size, if that is
 * more) the pages, right behind them the next block's record. The tail starts
 * behind the last block's pages.
 */
#ifndef MRAM_LAYOUT_H
#define MRAM_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

/**
 * struct mram_layout_block - one block's place; read only for users
 * @name: the layout's own copy
 * @length: in bytes
 * @page_size: in bytes
 * @pages: length in pages
 * @record_offset: name, length and mapped-ram header
 * @record_size: of these, in bytes
 * @bitmap_offset: directly behind the record
 * @bitmap_size: ceil(@pages / 64) * 8
 * @pages_offset: page 0
 *
 * The offsets are valid after mram_layout_finish().
 */
struct mram_layout_block {
	char *name;
	uint64_t length;
	uint64_t page_size;
	uint64_t pages;
	uint64_t record_offset;
	uint64_t record_size;
	uint64_t bitmap_offset;
	uint64_t bitmap_size;
	uint64_t pages_offset;
};

/**
 * struct mram_foreign - what another program's stream says around the memory
 * @config: the configuration with its type byte, as it shall stand in the image
 * @config_length: in bytes
 * @state: everything behind the end of the RAM section
 * @state_length: in bytes
 * @ram_id: section id for the RAM section
 */
struct mram_foreign {
	const uint8_t *config;
	size_t config_length;
	const uint8_t *state;
	size_t state_length;
	uint32_t ram_id;
};

/**
 * struct mram_layout - an image's places; read only for users
 * @machine: QEMU's machine type name
 * @blocks: in the order of mram_layout_add_block()
 * @nr_blocks: how many
 * @head_size: bytes before the first record
 * @total: sum of the blocks' lengths
 * @tail_offset: end of the last block's pages
 * @roomy: to be set before mram_layout_finish(): pages lie where they lie
 *         whatever the blocks are called and however long the configuration is,
 *         so that both may become known after the pages were written
 * @foreign: takes the place of @machine and of sections; NULL for none
 */
struct mram_layout {
	char *machine;
	struct mram_layout_block *blocks;
	size_t nr_blocks;
	uint64_t head_size;
	uint64_t total;
	uint64_t tail_offset;
	bool roomy;
	const struct mram_foreign *foreign;
};

/**
 * mram_layout_init - start an empty layout
 * @machine: NULL for "none"
 *
 * On failure there is nothing to free (mram_layout_free() is harmless).
 */
int mram_layout_init(struct mram_layout *l, const char *machine,
		     struct mram_error *err);

/**
 * mram_layout_add_block - append a block
 *
 * -EINVAL: name empty, too long or with control characters, length 0 or not a
 * multiple of the page size, a page size that the format cannot have. -EEXIST:
 * there is a block of this name. -EFBIG: too much for file offsets.
 *
 * Return: the block's index.
 */
int mram_layout_add_block(struct mram_layout *l, const char *name,
			  uint64_t length, uint64_t page_size,
			  struct mram_error *err);

/**
 * mram_layout_finish - compute all offsets
 *
 * -EINVAL without a block, -EFBIG when offsets would not fit into off_t. With
 * @roomy it may be called again when names, blocks or @foreign have come in.
 */
int mram_layout_finish(struct mram_layout *l, struct mram_error *err);

/** mram_layout_rename - give a block another name; needs @roomy */
int mram_layout_rename(struct mram_layout *l, size_t index, const char *name,
		       struct mram_error *err);

/** mram_layout_free - free what the layout holds, make it empty */
void mram_layout_free(struct mram_layout *l);

/**
 * mram_name_check - may this be a block's, section's or machine's name?
 * @what: "block name", "section name", for the message
 *
 * 1 to 255 bytes, no control characters (names end up on terminals).
 */
int mram_name_check(const char *what, const char *name, size_t length,
		    struct mram_error *err);

#endif /* MRAM_LAYOUT_H */
