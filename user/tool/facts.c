// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an image says about itself: gathering it, and telling people.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"
#include "table.h"
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

static int gather_block(struct facts *f, int i)
{
	struct mram_block_info *b = &f->blocks[i];
	struct mram_error err = { 0 };
	int ret;

	b->size = sizeof(*b);
	ret = mram_image_block(f->image, i, b, &err);
	if (!ret)
		ret = mram_image_bitmap(f->image, i, &f->bitmaps[i], &err);
	if (ret)
		return tool_fail_library(f->path, ret, &err);
	if (check_bitmap(f, i))
		return TOOL_FAILED;
	f->pages += b->pages;
	f->set_pages += b->set_pages;
	f->length += b->length;
	f->set_bytes += b->set_pages * b->page_size;
	return 0;
}

static int gather_sections(struct facts *f)
{
	struct mram_error err = { 0 };
	int i, ret;

	f->nr_sections = mram_image_sections(f->image);
	if (f->nr_sections < 0)
		return 0;
	f->sections = calloc((size_t)f->nr_sections + 1, sizeof(*f->sections));
	if (!f->sections)
		return tool_fail("out of memory");
	for (i = 0; i < f->nr_sections; i++) {
		f->sections[i].size = sizeof(f->sections[i]);
		ret = mram_image_section_info(f->image, i, &f->sections[i],
					      &err);
		if (ret)
			return tool_fail_library(f->path, ret, &err);
	}
	return 0;
}

int facts_gather(struct facts *f, const char *path, uint64_t offset)
{
	struct mram_image_opts opts = MRAM_OPTS(mram_image_opts,
						.offset = offset);
	struct mram_error err = { 0 };
	int i, ret;

	memset(f, 0, sizeof(*f));
	f->path = path;
	ret = mram_image_open_with(&f->image, path, &opts, &err);
	if (ret)
		return tool_fail_library(path, ret, &err);
	f->count = mram_image_blocks(f->image);
	f->blocks = calloc((size_t)f->count + 1, sizeof(*f->blocks));
	f->bitmaps = calloc((size_t)f->count + 1, sizeof(*f->bitmaps));
	if (!f->blocks || !f->bitmaps)
		return tool_fail("out of memory");
	for (i = 0; i < f->count; i++)
		if (gather_block(f, i))
			return TOOL_FAILED;
	return gather_sections(f);
}

void facts_free(struct facts *f)
{
	free(f->blocks);
	free(f->bitmaps);
	free(f->sections);
	mram_image_close(f->image);
	memset(f, 0, sizeof(*f));
}

/* ------------------------------------------------------------- for people */

static const char * const block_head[] = {
	"BLOCK", "SIZE", "PAGE", "PAGES", "SET", "ZERO", "BITMAP AT",
	"PAGES AT",
};

static void add_block(struct table *t, const struct mram_block_info *b)
{
	table_add(t, "%s", b->name);
	table_add(t, "%s", tool_format_size(b->length).text);
	table_add(t, "%s", tool_format_size(b->page_size).text);
	table_add(t, "%" PRIu64, b->pages);
	table_add(t, "%" PRIu64, b->set_pages);
	table_add(t, "%" PRIu64, b->pages - b->set_pages);
	table_add(t, "%#" PRIx64, b->bitmap_offset);
	table_add(t, "%#" PRIx64, b->pages_offset);
}

static const char * const section_head[] = {
	"STATE", "INSTANCE", "VERSION", "SIZE", "AT",
};

static void add_section(struct table *t, const struct mram_section_info *s)
{
	table_add(t, "%s", s->name);
	table_add(t, "%" PRIu32, s->instance);
	table_add(t, "%" PRIu32, s->version);
	table_add(t, "%s", tool_format_size(s->length).text);
	table_add(t, "%#" PRIx64, s->data_offset);
}

static int print_blocks(const struct facts *f)
{
	struct table t = TABLE(block_head);
	int i;

	for (i = 0; i < f->count; i++)
		add_block(&t, &f->blocks[i]);
	return table_print(&t);
}

static int print_sections(const struct facts *f)
{
	struct table t = TABLE(section_head);
	int i;

	for (i = 0; i < f->nr_sections; i++)
		add_section(&t, &f->sections[i]);
	return table_print(&t);
}

int facts_print(const struct facts *f)
{
	uint64_t state = mram_image_state_offset(f->image);
	char *machine = strdup(mram_image_machine(f->image));

	if (!machine)
		return tool_fail("out of memory");
	printf("machine  %s\n", tool_printable(machine));
	free(machine);
	printf("image    %s\n",
	       tool_format_size(mram_image_size(f->image)).text);
	printf("memory   %s, of which the image holds %s\n\n",
	       tool_format_size(f->length).text,
	       tool_format_size(f->set_bytes).text);
	if (print_blocks(f))
		return TOOL_FAILED;
	if (f->nr_sections < 0)
		printf("\ndevice state of another program: %s at %#" PRIx64 "\n",
		       tool_format_size(mram_image_size(f->image) -
					state).text, state);
	else if (f->nr_sections)
		putchar('\n');
	return f->nr_sections > 0 ? print_sections(f) : 0;
}
