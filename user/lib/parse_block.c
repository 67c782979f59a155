// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading the blocks' records, believing nothing: every number is checked
 * against the file and against what was read before, and memory is taken only
 * for what has really been read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "error.h"
#include "format.h"
#include "image_priv.h"

static int parse_name(struct mram_image *img, struct mram_cursor *c,
		      struct mram_image_block *blk, struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint64_t at = c->pos;
	size_t i;
	int ret;

	mram_cursor_where(c, "block %zu", img->nr_blocks);
	ret = mram_cursor_name(c, name, "block name", err);
	if (ret)
		return ret;
	mram_cursor_where(c, "block '%s'", name);
	for (i = 0; i < img->nr_blocks; i++)
		if (!strcmp(img->blocks[i].name, name))
			return mram_cursor_err(c, err, -EINVAL, at,
					       "the name is there twice, expected unique names");
	blk->name = strdup(name);
	if (!blk->name)
		return mram_err(err, -ENOMEM, "no memory for a name");
	return 0;
}

static int parse_length(struct mram_cursor *c, struct mram_image_block *blk,
			uint64_t left, struct mram_error *err)
{
	uint64_t at = c->pos;
	int ret;

	ret = mram_cursor_be64(c, &blk->length, "length", err);
	if (!ret && blk->length > left)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "length 0x%llx, expected at most 0x%llx, the rest of the total",
				      (unsigned long long)blk->length,
				      (unsigned long long)left);
	return ret;
}

static int parse_page_size(const struct mram_image *img, struct mram_cursor *c,
			   struct mram_image_block *blk, struct mram_error *err)
{
	uint64_t at = c->pos;
	int ret;

	ret = mram_cursor_be64(c, &blk->page_size, "page size", err);
	if (ret)
		return ret;
	if (blk->page_size < MRAM_PAGE_SIZE_MIN ||
	    blk->page_size > MRAM_PAGE_SIZE_MAX ||
	    blk->page_size & (blk->page_size - 1))
		return mram_cursor_err(c, err, -EINVAL, at,
				       "page size %llu, expected a power of two from %u to %u",
				       (unsigned long long)blk->page_size,
				       MRAM_PAGE_SIZE_MIN, MRAM_PAGE_SIZE_MAX);
	if (img->target_page_size && blk->page_size != img->target_page_size)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "page size %llu, expected %llu as in the configuration",
				       (unsigned long long)blk->page_size,
				       (unsigned long long)img->target_page_size);
	if (blk->length % blk->page_size)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "length 0x%llx, expected a multiple of the page size %llu",
				       (unsigned long long)blk->length,
				       (unsigned long long)blk->page_size);
	blk->pages = blk->length / blk->page_size;
	blk->bitmap_size = (blk->pages / 64 + !!(blk->pages % 64)) * 8;
	return 0;
}

/*
 * Where [offset, offset + size) may lie: behind what came before, in the file.
 * As this holds for each part in turn, no two parts overlap.
 */
static int check_place(const struct mram_cursor *c, uint64_t at,
		       const char *what, uint64_t offset, uint64_t size,
		       uint64_t after, struct mram_error *err)
{
	if (offset < after)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "%s at 0x%llx, expected at 0x%llx or behind it, where nothing else is",
				       what, (unsigned long long)offset,
				       (unsigned long long)after);
	if (offset > c->end || size > c->end - offset)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "%s at 0x%llx with 0x%llx bytes, expected to end before the file's end at 0x%llx",
				       what, (unsigned long long)offset,
				       (unsigned long long)size,
				       (unsigned long long)c->end);
	return 0;
}

static int parse_offsets(struct mram_cursor *c, struct mram_image_block *blk,
			 struct mram_error *err)
{
	uint64_t at = c->pos, record_end;
	int ret;

	ret = mram_cursor_be64(c, &blk->bitmap_offset, "bitmap offset", err);
	if (!ret)
		ret = mram_cursor_be64(c, &blk->pages_offset, "pages offset",
				       err);
	if (ret)
		return ret;
	record_end = c->pos;
	ret = check_place(c, at, "bitmap", blk->bitmap_offset,
			  blk->bitmap_size, record_end, err);
	if (ret)
		return ret;
	at += 8;
	ret = check_place(c, at, "pages", blk->pages_offset, blk->length,
			  blk->bitmap_offset + blk->bitmap_size, err);
	if (!ret && blk->pages_offset % blk->page_size)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "pages at 0x%llx, expected a multiple of the page size %llu",
				      (unsigned long long)blk->pages_offset,
				      (unsigned long long)blk->page_size);
	return ret;
}

static int parse_block(struct mram_image *img, struct mram_cursor *c,
		       struct mram_image_block *blk, uint64_t left,
		       struct mram_error *err)
{
	int ret;

	ret = parse_name(img, c, blk, err);
	if (!ret)
		ret = parse_length(c, blk, left, err);
	if (!ret)
		ret = mram_cursor_expect(c, MRAM_HEADER_VERSION,
					 "version of the mapped-ram header",
					 err);
	if (!ret)
		ret = parse_page_size(img, c, blk, err);
	if (!ret)
		ret = parse_offsets(c, blk, err);
	if (!ret)
		c->pos = blk->pages_offset + blk->length;
	return ret;
}

int mram_parse_blocks(struct mram_image *img, struct mram_cursor *c,
		      uint64_t left, struct mram_error *err)
{
	struct mram_image_block *blocks, *blk;
	int ret;

	while (left) {
		if (img->nr_blocks >= MRAM_BLOCKS_MAX)
			return mram_cursor_err(c, err, -EINVAL, c->pos,
					       "another block, expected at most %u of them",
					       MRAM_BLOCKS_MAX);
		blocks = reallocarray(img->blocks, img->nr_blocks + 1,
				      sizeof(*blocks));
		if (!blocks)
			return mram_err(err, -ENOMEM, "no memory for a block");
		img->blocks = blocks;
		blk = &blocks[img->nr_blocks];
		memset(blk, 0, sizeof(*blk));
		ret = parse_block(img, c, blk, left, err);
		if (ret) {
			free(blk->name);
			return ret;
		}
		left -= blk->length;
		img->nr_blocks++;
	}
	return 0;
}
