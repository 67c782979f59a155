// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an image says about itself: gathering it, and the table for people.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"
#include "tool.h"

/* The page count is known to fit the file; the last word may be a part. */
static int check_bitmap(const struct facts *f, int i)
{
	const struct mram_block_info *b = &f->blocks[i];
	unsigned int rest = b->pages % 64;

	if (rest && f->bitmaps[i][b->pages / 64] >> rest)
		return tool_fail("%s: block '%s': the bitmap at offset %llu has bits behind the last page",
				 f->path, b->name,
				 (unsigned long long)b->bitmap_offset);
	return 0;
}

int facts_gather(struct facts *f, const char *path)
{
	struct mram_error err = { 0 };
	int i, ret;

	memset(f, 0, sizeof(*f));
	f->path = path;
	ret = mram_image_open(&f->image, path, &err);
	if (ret)
		return tool_fail_library(path, ret, &err);
	f->count = mram_image_blocks(f->image);
	f->blocks = calloc((size_t)f->count + 1, sizeof(*f->blocks));
	f->bitmaps = calloc((size_t)f->count + 1, sizeof(*f->bitmaps));
	if (!f->blocks || !f->bitmaps)
		return tool_fail("out of memory");
	for (i = 0; i < f->count; i++) {
		struct mram_block_info *b = &f->blocks[i];

		b->size = sizeof(*b);
		ret = mram_image_block(f->image, i, b, &err);
		if (!ret)
			ret = mram_image_bitmap(f->image, i, &f->bitmaps[i],
						&err);
		if (ret)
			return tool_fail_library(path, ret, &err);
		if (check_bitmap(f, i))
			return TOOL_FAILED;
		f->pages += b->pages;
		f->set_pages += b->set_pages;
		f->length += b->length;
		f->set_bytes += b->set_pages * b->page_size;
	}
	return 0;
}

void facts_free(struct facts *f)
{
	free(f->blocks);
	free(f->bitmaps);
	mram_image_close(f->image);
	memset(f, 0, sizeof(*f));
}

/* ------------------------------------------------------------- the table */

#define COLUMNS	8

struct row {
	char cell[COLUMNS][264];
};

static void fill_row(struct row *row, const struct mram_block_info *b)
{
	size_t size = sizeof(row->cell[0]);

	snprintf(row->cell[0], size, "%s", b->name);
	tool_printable(row->cell[0]);
	snprintf(row->cell[1], size, "%s", tool_format_size(b->length).text);
	snprintf(row->cell[2], size, "%s", tool_format_size(b->page_size).text);
	snprintf(row->cell[3], size, "%llu", (unsigned long long)b->pages);
	snprintf(row->cell[4], size, "%llu", (unsigned long long)b->set_pages);
	snprintf(row->cell[5], size, "%llu",
		 (unsigned long long)(b->pages - b->set_pages));
	snprintf(row->cell[6], size, "%#llx",
		 (unsigned long long)b->bitmap_offset);
	snprintf(row->cell[7], size, "%#llx",
		 (unsigned long long)b->pages_offset);
}

static void print_row(const struct row *row, const int *width)
{
	int c;

	/* The name stands left, numbers stand right. */
	printf("%-*s", width[0], row->cell[0]);
	for (c = 1; c < COLUMNS; c++)
		printf("  %*s", width[c], row->cell[c]);
	putchar('\n');
}

static void widen(int *width, const struct row *row)
{
	int c, n;

	for (c = 0; c < COLUMNS; c++) {
		n = (int)strlen(row->cell[c]);
		if (n > width[c])
			width[c] = n;
	}
}

void facts_print(const struct facts *f)
{
	static const struct row head = { {
		"BLOCK", "SIZE", "PAGE", "PAGES", "SET", "ZERO", "BITMAP AT",
		"PAGES AT",
	} };
	int width[COLUMNS] = { 0 };
	struct row row;
	char *machine;
	int i;

	machine = strdup(mram_image_machine(f->image));
	printf("machine  %s\n", machine ? tool_printable(machine) : "");
	free(machine);
	printf("image    %s\n",
	       tool_format_size(mram_image_size(f->image)).text);
	printf("memory   %s, of which the image holds %s\n\n",
	       tool_format_size(f->length).text,
	       tool_format_size(f->set_bytes).text);
	widen(width, &head);
	for (i = 0; i < f->count; i++) {
		fill_row(&row, &f->blocks[i]);
		widen(width, &row);
	}
	print_row(&head, width);
	for (i = 0; i < f->count; i++) {
		fill_row(&row, &f->blocks[i]);
		print_row(&row, width);
	}
}
