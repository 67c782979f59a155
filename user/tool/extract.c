// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram extract: a block of an image to a file of raw memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "facts.h"
#include "lock.h"
#include "progress.h"
#include "region.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram extract [--offset SIZE] IMAGE BLOCK FILE\n"
"\n"
"Write BLOCK of IMAGE to FILE, as raw memory: byte N of the block is byte N of\n"
"the file, zero pages are holes. A missing FILE is made; one that exists must\n"
"have the block's size. Nothing is written before all is checked.\n"
"\n"
"  --offset SIZE  the image does not begin at the start of IMAGE but here\n"
"  --help, -h     this text\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

static const struct option options[] = {
	{ "offset",	required_argument,	NULL, 'o' },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

struct extract {
	const char *image;
	const char *block;
	const char *path;
	uint64_t offset;
	struct facts facts;
	struct regions regions;
};

static int take_option(void *data, int c)
{
	struct extract *x = data;

	(void)c;
	return tool_take_offset("extract", "--offset", optarg, &x->offset);
}

static int take_arguments(struct extract *x, int argc, char **argv)
{
	static const char * const what[] = { "image", "block", "file" };
	int i;

	for (i = 0; i < 3; i++)
		if (optind + i >= argc || !argv[optind + i][0])
			return tool_usage("extract", "the %s is missing",
					  what[i]);
	if (optind + 3 < argc)
		return tool_usage("extract", "unexpected argument '%s'",
				  argv[optind + 3]);
	x->image = argv[optind];
	x->block = argv[optind + 1];
	x->path = argv[optind + 2];
	return 0;
}

/* The rules for the file are those for the files of restore. */
static int open_file(struct extract *x, int index)
{
	struct region *r;
	struct stat st;

	if (stat(x->image, &st))
		return tool_fail("%s: %s", x->image, strerror(errno));
	if (regions_add_pair(&x->regions, x->block, x->path))
		return TOOL_FAILED;
	r = &x->regions.list[0];
	r->block = index;
	r->length = x->facts.blocks[index].length;
	if (regions_open_targets(&x->regions, st.st_dev, st.st_ino))
		return TOOL_FAILED;
	/* Memory files and some file systems cannot, and need not. */
	if (fcntl(r->fd, F_SETFL, fcntl(r->fd, F_GETFL) | O_DIRECT))
		errno = 0;
	return 0;
}

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	(void)data;
	(void)total;
	progress_update(done);
	return cleanup_interrupted();
}

static int run(struct extract *x)
{
	struct mram_scan_opts opts = MRAM_OPTS(mram_scan_opts,
					       .progress = on_progress);
	struct mram_scan_stats stats = { .size = sizeof(stats) };
	const struct mram_block_info *b;
	struct mram_error err = { 0 };
	int index, ret;

	if (lock_image(x->image, IMAGE_READ) ||
	    facts_gather(&x->facts, x->image, x->offset))
		return TOOL_FAILED;
	index = mram_image_find(x->facts.image, x->block);
	if (index < 0)
		return tool_fail("%s has no block '%s'; 'mapped-ram info' lists what it has",
				 x->image, x->block);
	if (open_file(x, index))
		return TOOL_FAILED;

	b = &x->facts.blocks[index];
	progress_start("extracting", b->set_pages, b->set_pages * b->page_size);
	ret = mram_image_extract(x->facts.image, index, x->regions.list[0].fd,
				 &opts, &stats, &err);
	if (ret && cleanup_interrupted())
		return tool_fail("interrupted; %s is incomplete", x->path);
	if (ret)
		return tool_fail_library(x->image, ret, &err);
	progress_end();
	printf("%s extracted: %llu pages read, %llu written, %llu zero, %s, %.2f s\n",
	       tool_format_size(b->length).text,
	       (unsigned long long)stats.read,
	       (unsigned long long)stats.written,
	       (unsigned long long)(b->pages - stats.written),
	       tool_format_size(stats.bytes).text, tool_seconds(stats.nsec));
	return 0;
}

int cmd_extract(int argc, char **argv)
{
	struct extract x = { 0 };
	bool shown;
	int status;

	status = tool_take_options("extract", help, options, argc, argv,
				   take_option, &x, &shown);
	if (shown)
		return tool_finish_output(0);
	if (!status)
		status = take_arguments(&x, argc, argv);
	if (!status) {
		cleanup_start();
		status = run(&x);
	}
	facts_free(&x.facts);
	regions_close(&x.regions);
	return tool_finish_output(cleanup_end(status));
}
