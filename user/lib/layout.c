// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Where everything lies in an image: see layout.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "error.h"
#include "format.h"
#include "layout.h"

/* Offsets are handed to pwrite(), so they end where off_t does. */
#define OFFSET_MAX	((uint64_t)INT64_MAX)

_Static_assert(sizeof(off_t) == 8, "image offsets need a 64-bit off_t");

/* Magic and version; start of the RAM section. */
#define HEAD_AROUND							\
	(4 + 4 +							\
	 1 + 4 + 1 + sizeof(MRAM_RAM_NAME) - 1 + 4 + 4 + 8)

/* The configuration: everything but the machine's name. */
#define HEAD_CONFIG							\
	(1 + 4 +							\
	 1 + 1 + sizeof(MRAM_SUB_CAPABILITIES) - 1 + 4 + 4 +		\
	 1 + sizeof(MRAM_CAP_MAPPED_RAM) - 1)

/* Far more than any head needs, and little beside MRAM_PAGES_ALIGN. */
#define HEAD_ROOM	4096U

int mram_name_check(const char *what, const char *name, size_t length,
		    struct mram_error *err)
{
	size_t i;

	if (!length)
		return mram_err(err, -EINVAL, "%s is empty", what);
	if (length > MRAM_NAME_MAX)
		return mram_err(err, -EINVAL,
				"%s is %zu bytes long, expected at most %u",
				what, length, MRAM_NAME_MAX);
	for (i = 0; i < length; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return mram_err(err, -EINVAL,
					"%s has byte 0x%02x at position %zu, expected no control characters",
					what, (unsigned char)name[i], i);
	return 0;
}

int mram_layout_init(struct mram_layout *l, const char *machine,
		     struct mram_error *err)
{
	int ret;

	memset(l, 0, sizeof(*l));
	if (!machine)
		machine = "none";
	ret = mram_name_check("machine name", machine, strlen(machine), err);
	if (ret)
		return ret;

	l->machine = strdup(machine);
	if (!l->machine)
		return mram_err(err, -ENOMEM, "no memory for the layout");
	return 0;
}

void mram_layout_free(struct mram_layout *l)
{
	size_t i;

	for (i = 0; i < l->nr_blocks; i++)
		free(l->blocks[i].name);
	free(l->blocks);
	free(l->machine);
	memset(l, 0, sizeof(*l));
}

/* Whether the block of this index, which may be a new one, may have this name. */
static int check_block_name(const struct mram_layout *l, size_t index,
			    const char *name, struct mram_error *err)
{
	size_t i;
	int ret;

	ret = mram_name_check("block name", name, strlen(name), err);
	if (ret)
		return ret;
	for (i = 0; i < l->nr_blocks; i++)
		if (i != index && !strcmp(l->blocks[i].name, name))
			return mram_err(err, -EEXIST,
					"block '%s' is there twice", name);
	return 0;
}

static int check_block(const struct mram_layout *l, const char *name,
		       uint64_t length, uint64_t page_size,
		       struct mram_error *err)
{
	int ret;

	ret = check_block_name(l, l->nr_blocks, name, err);
	if (ret)
		return ret;
	if (page_size < MRAM_PAGE_SIZE_MIN || page_size > MRAM_PAGE_SIZE_MAX ||
	    page_size & (page_size - 1))
		return mram_err(err, -EINVAL,
				"block '%s': page size %llu, expected a power of two from %u to %u",
				name, (unsigned long long)page_size,
				MRAM_PAGE_SIZE_MIN, MRAM_PAGE_SIZE_MAX);
	if (!length || length % page_size)
		return mram_err(err, -EINVAL,
				"block '%s': length 0x%llx, expected a multiple of the page size %llu",
				name, (unsigned long long)length,
				(unsigned long long)page_size);
	if (length > OFFSET_MAX - l->total)
		return mram_err(err, -EFBIG,
				"block '%s': length 0x%llx is too much for a file",
				name, (unsigned long long)length);
	if (l->nr_blocks >= MRAM_BLOCKS_MAX)
		return mram_err(err, -ENOSPC,
				"block '%s': there are %u blocks already",
				name, MRAM_BLOCKS_MAX);
	return 0;
}

int mram_layout_add_block(struct mram_layout *l, const char *name,
			  uint64_t length, uint64_t page_size,
			  struct mram_error *err)
{
	struct mram_layout_block *blocks, *blk;
	char *copy;
	int ret;

	ret = check_block(l, name, length, page_size, err);
	if (ret)
		return ret;

	blocks = reallocarray(l->blocks, l->nr_blocks + 1, sizeof(*blocks));
	if (!blocks)
		return mram_err(err, -ENOMEM, "block '%s': no memory", name);
	l->blocks = blocks;
	copy = strdup(name);
	if (!copy)
		return mram_err(err, -ENOMEM, "block '%s': no memory", name);

	blk = &blocks[l->nr_blocks];
	memset(blk, 0, sizeof(*blk));
	blk->name = copy;
	blk->length = length;
	blk->page_size = page_size;
	blk->pages = length / page_size;
	l->total += length;
	return (int)l->nr_blocks++;
}

int mram_layout_rename(struct mram_layout *l, size_t index, const char *name,
		       struct mram_error *err)
{
	char *copy;
	int ret;

	ret = check_block_name(l, index, name, err);
	if (ret)
		return ret;
	copy = strdup(name);
	if (!copy)
		return mram_err(err, -ENOMEM, "block '%s': no memory", name);
	free(l->blocks[index].name);
	l->blocks[index].name = copy;
	return 0;
}

/*
 * Cannot overflow: at is at most OFFSET_MAX, record and bitmap are small
 * beside the length they belong to, and all lengths together fit into
 * OFFSET_MAX, so the sum stays far below 2^64. Only off_t's end is left to
 * check.
 */
static uint64_t place_block(struct mram_layout_block *blk, uint64_t at,
			    uint64_t room)
{
	uint64_t align = MRAM_PAGES_ALIGN;

	if (blk->page_size > align)
		align = blk->page_size;
	blk->record_offset = at;
	blk->record_size = 1 + strlen(blk->name) + 8 + MRAM_HEADER_SIZE;
	blk->bitmap_offset = blk->record_offset + blk->record_size;
	blk->bitmap_size = (blk->pages + 63) / 64 * 8;
	blk->pages_offset = blk->bitmap_offset + blk->bitmap_size + room;
	blk->pages_offset = (blk->pages_offset + align - 1) & ~(align - 1);
	return blk->pages_offset + blk->length;
}

int mram_layout_finish(struct mram_layout *l, struct mram_error *err)
{
	uint64_t at, room = 0;
	size_t i;

	if (!l->nr_blocks)
		return mram_err(err, -EINVAL, "there is no block to lay out");

	l->head_size = HEAD_AROUND + (l->foreign ? l->foreign->config_length :
				      HEAD_CONFIG + strlen(l->machine));
	if (l->roomy && l->head_size > HEAD_ROOM)
		return mram_err(err, -EFBIG,
				"the stream's head has %llu bytes, expected at most %u",
				(unsigned long long)l->head_size, HEAD_ROOM);
	at = l->head_size;
	for (i = 0; i < l->nr_blocks; i++) {
		if (l->roomy)
			room = MRAM_NAME_MAX - strlen(l->blocks[i].name) +
			       (i ? 0 : HEAD_ROOM - l->head_size);
		at = place_block(&l->blocks[i], at, room);
		if (at > OFFSET_MAX)
			return mram_err(err, -EFBIG,
					"block '%s' would end at offset 0x%llx, no file is that long",
					l->blocks[i].name,
					(unsigned long long)at);
	}
	l->tail_offset = at;
	return 0;
}
