// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What differs between two images.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "compare.h"
#include "json.h"
#include "progress.h"
#include "table.h"
#include "tool.h"

/* What a block that is being compared has to know. */
struct job {
	struct comparison *c;
	struct compared_block *block;
	bool no_memory;
};

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	const struct job *job = data;

	(void)total;
	progress_update(job->c->read + done);
	return cleanup_interrupted();
}

static int on_difference(void *data, uint64_t first, uint64_t count)
{
	struct job *job = data;
	struct compared_block *b = job->block;
	struct compared_run *runs = b->runs;

	/* Powers of two: room is made when there are so many. */
	if (!(b->nr_runs & (b->nr_runs - 1))) {
		runs = reallocarray(runs, b->nr_runs ? 2 * b->nr_runs : 1,
				    sizeof(*runs));
		if (!runs) {
			job->no_memory = true;
			return 1;
		}
		b->runs = runs;
	}
	runs[b->nr_runs++] = (struct compared_run){ first, count };
	b->differ += count;
	return 0;
}

static int compare_block(struct comparison *c, struct compared_block *block)
{
	struct job job = { .c = c, .block = block };
	struct mram_scan_opts opts = MRAM_OPTS(mram_scan_opts,
					       .progress = on_progress,
					       .differ = on_difference,
					       .data = &job);
	struct mram_scan_stats stats = { .size = sizeof(stats) };
	const char *name = block->info[0]->name;
	struct mram_error err = { 0 };
	int64_t ret;

	ret = mram_image_diff(c->side[0].image,
			      mram_image_find(c->side[0].image, name),
			      c->side[1].image,
			      mram_image_find(c->side[1].image, name),
			      &opts, &stats, &err);
	if (job.no_memory)
		return tool_fail("out of memory");
	if (ret < 0 && cleanup_interrupted())
		return tool_fail("interrupted");
	if (ret < 0)
		return tool_fail_library(c->side[tool_names(err.message,
							    c->side[1].path)].path,
					 (int)ret, &err);
	c->read += stats.read;
	c->differ += block->differ;
	c->pages += block->info[0]->pages > block->info[1]->pages ?
		    block->info[0]->pages : block->info[1]->pages;
	return 0;
}

/* The blocks of one image that were not met in the other before. */
static void add_blocks(struct comparison *c, int side)
{
	const struct facts *f = &c->side[side], *other = &c->side[!side];
	struct compared_block *b;
	int i, k;

	for (i = 0; i < f->count; i++) {
		k = mram_image_find(other->image, f->blocks[i].name);
		if (side && k >= 0)
			continue;
		b = &c->blocks[c->nr_blocks++];
		b->info[side] = &f->blocks[i];
		if (k >= 0)
			b->info[!side] = &other->blocks[k];
		else
			c->alone++;
	}
}

int comparison_make(struct comparison *c)
{
	size_t i;

	c->blocks = calloc((size_t)c->side[0].count + (size_t)c->side[1].count +
			   1, sizeof(*c->blocks));
	if (!c->blocks)
		return tool_fail("out of memory");
	add_blocks(c, 0);
	add_blocks(c, 1);
	for (i = 0; i < c->nr_blocks; i++)
		if (c->blocks[i].info[0] && c->blocks[i].info[1] &&
		    compare_block(c, &c->blocks[i]))
			return TOOL_FAILED;
	return 0;
}

bool comparison_same(const struct comparison *c)
{
	return !c->alone && !c->differ;
}

void comparison_free(struct comparison *c)
{
	size_t i;

	for (i = 0; i < c->nr_blocks; i++)
		free(c->blocks[i].runs);
	free(c->blocks);
	c->blocks = NULL;
	c->nr_blocks = 0;
	facts_free(&c->side[0]);
	facts_free(&c->side[1]);
}

/* ------------------------------------------------------------- for people */

static int print_alone(const struct comparison *c, const struct compared_block *b)
{
	int side = !b->info[0];
	char *name = strdup(b->info[side]->name);

	if (!name)
		return tool_fail("out of memory");
	printf("only in %s: block '%s', %s\n", c->side[side].path,
	       tool_printable(name),
	       tool_format_size(b->info[side]->length).text);
	free(name);
	return 0;
}

int comparison_print(const struct comparison *c)
{
	static const char * const head[] = { "BLOCK", "PAGE", "PAGES", "AT" };
	struct table t = TABLE(head);
	const struct compared_block *b;
	size_t i, k;

	for (b = c->blocks; b < c->blocks + c->nr_blocks; b++)
		if ((!b->info[0] || !b->info[1]) && print_alone(c, b))
			return TOOL_FAILED;
	for (i = 0; i < c->nr_blocks; i++) {
		b = &c->blocks[i];
		for (k = 0; k < b->nr_runs; k++) {
			table_add(&t, "%s", b->info[0]->name);
			table_add(&t, "%" PRIu64, b->runs[k].first);
			table_add(&t, "%" PRIu64, b->runs[k].count);
			table_add(&t, "%#" PRIx64, b->runs[k].first *
						   b->info[0]->page_size);
		}
	}
	if (c->differ && table_print(&t))
		return TOOL_FAILED;
	if (c->differ)
		printf("\n%" PRIu64 " of %" PRIu64 " pages differ\n", c->differ,
		       c->pages);
	else
		printf("all %" PRIu64 " pages are the same\n", c->pages);
	return 0;
}

/* ----------------------------------------------------------- for programs */

static json_object *json_run(const struct compared_run *run)
{
	json_object *o = json_object_new_object();

	if (o && json_add_number(o, "first", run->first) &&
	    json_add_number(o, "count", run->count))
		return o;
	json_object_put(o);
	return NULL;
}

/* The length in an image that does not have the block is null. */
static bool add_length(json_object *o, const char *key,
		       const struct mram_block_info *b)
{
	if (!b)
		return !json_object_object_add(o, key, NULL);
	return json_add_number(o, key, b->length);
}

static json_object *json_runs(const struct compared_block *b)
{
	json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; list && i < b->nr_runs; i++)
		list = json_append(list, json_run(&b->runs[i]));
	return list;
}

static json_object *json_block(const struct compared_block *b)
{
	const struct mram_block_info *any = b->info[0] ? b->info[0] : b->info[1];
	json_object *o = json_object_new_object();

	if (o && json_add(o, "name", json_text(any->name)) &&
	    json_add_number(o, "page_size", any->page_size) &&
	    add_length(o, "length1", b->info[0]) &&
	    add_length(o, "length2", b->info[1]) &&
	    json_add_number(o, "differ_pages", b->differ) &&
	    json_add(o, "differ", json_runs(b)))
		return o;
	json_object_put(o);
	return NULL;
}

static json_object *json_blocks(const struct comparison *c)
{
	json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; list && i < c->nr_blocks; i++)
		list = json_append(list, json_block(&c->blocks[i]));
	return list;
}

json_object *comparison_json(const struct comparison *c)
{
	json_object *o = json_object_new_object();

	if (o && json_add(o, "image1", json_text(c->side[0].path)) &&
	    json_add(o, "image2", json_text(c->side[1].path)) &&
	    json_add(o, "same", json_object_new_boolean(comparison_same(c))) &&
	    json_add_number(o, "pages", c->pages) &&
	    json_add_number(o, "differ_pages", c->differ) &&
	    json_add(o, "blocks", json_blocks(c)))
		return o;
	json_object_put(o);
	return NULL;
}
