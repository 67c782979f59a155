/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image says about itself, gathered before anything is printed, so
 * that a damaged image never leads to half an answer.
 */
#ifndef MRAM_FACTS_H
#define MRAM_FACTS_H

#include <json-c/json.h>

#include <mappedram.h>

/**
 * struct facts - an open image and its blocks
 * @path: as given
 * @image: the image
 * @blocks: @count of them
 * @bitmaps: and their bitmaps
 * @sections: the device state, @nr_sections of them
 * @nr_sections: negative when they cannot be told apart
 * @pages: in all blocks together
 * @set_pages: of these, pages that the image holds
 * @length: bytes of memory in all blocks together
 * @set_bytes: of these, bytes that the image holds
 */
struct facts {
	const char *path;
	struct mram_image *image;
	struct mram_block_info *blocks;
	const uint64_t **bitmaps;
	int count;
	struct mram_section_info *sections;
	int nr_sections;
	uint64_t pages;
	uint64_t set_pages;
	uint64_t length;
	uint64_t set_bytes;
};

/**
 * facts_gather - open an image, check it, read all bitmaps
 * @offset: where in the file it lies
 *
 * Return: 0, or TOOL_FAILED after saying what is wrong with the image. In both
 * cases facts_free() is due.
 */
int facts_gather(struct facts *f, const char *path, uint64_t offset);

/** facts_free - close the image */
void facts_free(struct facts *f);

/**
 * facts_print - for people
 *
 * Return: 0, or TOOL_FAILED after saying why
 */
int facts_print(const struct facts *f);

/** facts_json - for programs; NULL without memory */
json_object *facts_json(const struct facts *f);

#endif /* MRAM_FACTS_H */
