// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram restore: an image to files or shared memory.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "facts.h"
#include "lock.h"
#include "progress.h"
#include "region.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram restore --region NAME=PATH [OPTION]... IMAGE\n"
"\n"
"Fill the files or shared memory in PATH from IMAGE. A missing file is made;\n"
"one that exists must have the block's size. Nothing is written before all is\n"
"checked.\n"
"\n"
"  --region NAME=PATH  a block of the image, and where it goes; may be given\n"
"                      more than once\n"
"  --skip NAME         a block that is not wanted; may be given more than once\n"
"  --engine NAME       module, uring or pwrite; default: the first that works\n"
"  --window N          most I/Os in flight\n"
"  --max-extent SIZE   most bytes of one I/O\n"
"  --offset SIZE       the image does not begin at the start of IMAGE but here\n"
"  --help, -h          this text\n"
"\n"
"SIZE is in bytes, or with K, M or G behind it.\n";

struct restore {
	struct regions regions;
	const char **skip;
	int nr_skip;
	struct mram_restore_opts opts;
	struct mram_restore_stats total;
	struct facts facts;
	const char *image;
	uint64_t offset;
};

enum {
	OPT_REGION = 256,
	OPT_SKIP,
	OPT_ENGINE,
	OPT_WINDOW,
	OPT_MAX_EXTENT,
	OPT_OFFSET,
};

static const struct option options[] = {
	{ "region",	required_argument,	NULL, OPT_REGION },
	{ "skip",	required_argument,	NULL, OPT_SKIP },
	{ "engine",	required_argument,	NULL, OPT_ENGINE },
	{ "window",	required_argument,	NULL, OPT_WINDOW },
	{ "max-extent",	required_argument,	NULL, OPT_MAX_EXTENT },
	{ "offset",	required_argument,	NULL, OPT_OFFSET },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

static int take_option(struct restore *r, int c)
{
	switch (c) {
	case OPT_REGION:
		return regions_add(&r->regions, "restore", optarg);
	case OPT_SKIP:
		r->skip[r->nr_skip++] = optarg;
		return 0;
	case OPT_ENGINE:
		return tool_take_engine("restore", optarg, &r->opts.engine);
	case OPT_WINDOW:
		return tool_take_window("restore", optarg, &r->opts.window);
	case OPT_MAX_EXTENT:
		return tool_take_extent("restore", optarg, &r->opts.max_extent);
	case OPT_OFFSET:
		return tool_take_offset("restore", "--offset", optarg,
					&r->offset);
	}
	return TOOL_USAGE;
}

static int check_options(const struct restore *r)
{
	int i;

	if (!r->regions.count)
		return tool_usage("restore", "no --region is given");
	for (i = 0; i < r->nr_skip; i++)
		if (regions_find(&r->regions, r->skip[i]))
			return tool_usage("restore",
					  "'%s' is a --region and a --skip",
					  r->skip[i]);
	return 0;
}

static bool skipped(const struct restore *r, const char *name)
{
	int i;

	for (i = 0; i < r->nr_skip; i++)
		if (!strcmp(r->skip[i], name))
			return true;
	return false;
}

/* Names that the image does not know are mistakes, also those to skip. */
static int check_names(const struct restore *r)
{
	size_t i;
	int k;

	for (i = 0; i < r->regions.count; i++)
		if (mram_image_find(r->facts.image,
				    r->regions.list[i].name) < 0)
			return tool_fail("%s has no block '%s'; 'mapped-ram info' lists what it has",
					 r->image, r->regions.list[i].name);
	for (k = 0; k < r->nr_skip; k++)
		if (mram_image_find(r->facts.image, r->skip[k]) < 0)
			return tool_fail("%s has no block '%s' to skip; 'mapped-ram info' lists what it has",
					 r->image, r->skip[k]);
	return 0;
}

static int match_blocks(struct restore *r)
{
	int i;

	for (i = 0; i < r->facts.count; i++) {
		const struct mram_block_info *b = &r->facts.blocks[i];
		struct region *region = regions_find(&r->regions, b->name);

		if (region) {
			region->block = i;
			region->length = b->length;
		} else if (!skipped(r, b->name)) {
			return tool_fail("block '%s' of %s has no --region; give it one, or --skip it",
					 b->name, r->image);
		}
	}
	return 0;
}

static int open_targets(struct restore *r)
{
	struct stat st;

	if (stat(r->image, &st))
		return tool_fail("%s: %s", r->image, strerror(errno));
	return regions_open_targets(&r->regions, st.st_dev, st.st_ino);
}

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	const struct restore *r = data;

	(void)total;
	progress_update(r->total.read + r->total.zero + done);
	return cleanup_interrupted();
}

static void start_progress(struct restore *r)
{
	uint64_t pages = 0, bytes = 0;
	size_t i;

	for (i = 0; i < r->regions.count; i++) {
		pages += r->facts.blocks[r->regions.list[i].block].pages;
		bytes += r->regions.list[i].length;
	}
	r->opts.progress = on_progress;
	r->opts.progress_data = r;
	progress_start("restoring", pages, bytes);
}

/*
 * More than one try only when a signal that means nothing to us, as being
 * stopped and continued does, ended the one before.
 */
static int restore_region(struct restore *r, const struct region *region)
{
	struct mram_restore_stats stats = { .size = sizeof(stats) };
	struct mram_error err = { 0 };
	int ret;

	/* QEMU has blocks that are empty, and nobody can map those. */
	if (!region->length)
		return 0;
	do
		ret = mram_image_restore(r->facts.image, region->block,
					 region->addr, region->length,
					 &r->opts, &stats, &err);
	while (ret == -EINTR && !cleanup_interrupted());
	if (ret && cleanup_interrupted())
		return tool_fail("interrupted; the memory is incomplete");
	if (ret)
		return tool_fail_library(r->image, ret, &err);
	r->total.read += stats.read;
	r->total.zero += stats.zero;
	r->total.ios += stats.ios;
	r->total.bytes += stats.bytes;
	r->total.engine = stats.engine;
	return 0;
}

static int run(struct restore *r)
{
	uint64_t start = tool_now();
	size_t i;

	if (lock_image(r->image, IMAGE_READ) ||
	    facts_gather(&r->facts, r->image, r->offset) ||
	    check_names(r) || match_blocks(r) || open_targets(r))
		return TOOL_FAILED;
	start_progress(r);
	for (i = 0; i < r->regions.count; i++)
		if (restore_region(r, &r->regions.list[i]))
			return TOOL_FAILED;
	progress_end();
	printf("%zu %s restored: %llu pages read, %llu zero, %llu I/Os, %s, engine %s, %.2f s\n",
	       r->regions.count, r->regions.count == 1 ? "block" : "blocks",
	       (unsigned long long)r->total.read,
	       (unsigned long long)r->total.zero,
	       (unsigned long long)r->total.ios,
	       tool_format_size(r->total.bytes).text,
	       r->total.engine ? r->total.engine : "none",
	       tool_seconds(tool_now() - start));
	return 0;
}

int cmd_restore(int argc, char **argv)
{
	struct restore r = { .opts = MRAM_OPTS(mram_restore_opts) };
	int c, status = 0;

	/* As many --skip as there are arguments at most. */
	r.skip = calloc((size_t)argc, sizeof(*r.skip));
	if (!r.skip)
		return tool_fail("out of memory");
	opterr = 0;
	while (!status &&
	       (c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			free(r.skip);
			regions_close(&r.regions);
			fputs(help, stdout);
			return tool_finish_output(0);
		}
		status = c == '?' || c == ':' ? tool_bad_option("restore",
								argv, c)
					      : take_option(&r, c);
	}
	if (!status)
		status = tool_one_image("restore", argc, argv, &r.image);
	if (!status)
		status = check_options(&r);
	if (!status) {
		cleanup_start();
		status = run(&r);
	}
	facts_free(&r.facts);
	regions_close(&r.regions);
	free(r.skip);
	return tool_finish_output(cleanup_end(status));
}
