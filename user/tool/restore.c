// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram restore: its command line. The ways to restore have files of their
 * own.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "lock.h"
#include "restore.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram restore --region NAME=PATH [OPTION]... IMAGE\n"
"       mapped-ram restore --qmp SOCKET [OPTION]... IMAGE\n"
"\n"
"Fill the files or shared memory in PATH from IMAGE. A missing file is made;\n"
"one that exists must have the block's size. Nothing is written before all is\n"
"checked. Or restore the virtual machine of IMAGE into a QEMU that was started\n"
"with -incoming defer, and whose monitor listens on SOCKET.\n"
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
"with --qmp, and without --region and --skip:\n"
"  --stop              leave the virtual machine paused\n"
"  --json              tell what was done as JSON\n"
"\n"
"SIZE is in bytes, or with K, M or G behind it.\n";

enum {
	OPT_REGION = 256,
	OPT_SKIP,
	OPT_ENGINE,
	OPT_WINDOW,
	OPT_MAX_EXTENT,
	OPT_OFFSET,
	OPT_QMP,
	OPT_STOP,
	OPT_JSON,
};

static const struct option options[] = {
	{ "region",	required_argument,	NULL, OPT_REGION },
	{ "skip",	required_argument,	NULL, OPT_SKIP },
	{ "engine",	required_argument,	NULL, OPT_ENGINE },
	{ "window",	required_argument,	NULL, OPT_WINDOW },
	{ "max-extent",	required_argument,	NULL, OPT_MAX_EXTENT },
	{ "offset",	required_argument,	NULL, OPT_OFFSET },
	{ "qmp",	required_argument,	NULL, OPT_QMP },
	{ "stop",	no_argument,		NULL, OPT_STOP },
	{ "json",	no_argument,		NULL, OPT_JSON },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

static int take_option(void *data, int c)
{
	struct restore *r = data;

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
	case OPT_QMP:
		r->qmp = optarg;
		return 0;
	case OPT_STOP:
		r->stop = true;
		return 0;
	case OPT_JSON:
		r->json = true;
		return 0;
	}
	return TOOL_USAGE;
}

static int check_options(const struct restore *r)
{
	int i;

	if (r->qmp && (r->regions.count || r->nr_skip))
		return tool_usage("restore",
				  "--qmp finds the memory itself: no --region, no --skip");
	if (r->qmp)
		return 0;
	if (r->stop || r->json)
		return tool_usage("restore", "--stop and --json want --qmp");
	if (!r->regions.count)
		return tool_usage("restore",
				  "no --region is given, and no --qmp");
	for (i = 0; i < r->nr_skip; i++)
		if (regions_find(&r->regions, r->skip[i]))
			return tool_usage("restore",
					  "'%s' is a --region and a --skip",
					  r->skip[i]);
	return 0;
}

static int run(struct restore *r)
{
	if (lock_image(r->image, IMAGE_READ) ||
	    facts_gather(&r->facts, r->image, r->offset))
		return TOOL_FAILED;
	return r->qmp ? restore_qmp(r) : restore_files(r);
}

int cmd_restore(int argc, char **argv)
{
	struct restore r = { .opts = MRAM_OPTS(mram_restore_opts) };
	bool shown;
	int status;

	/* As many --skip as there are arguments at most. */
	r.skip = calloc((size_t)argc, sizeof(*r.skip));
	if (!r.skip)
		return tool_fail("out of memory");
	status = tool_take_options("restore", help, options, argc, argv,
				   take_option, &r, &shown);
	if (shown)
		goto out;
	if (!status)
		status = tool_one_image("restore", argc, argv, &r.image);
	if (!status)
		status = check_options(&r);
	if (!status) {
		cleanup_start();
		status = run(&r);
	}
out:
	facts_free(&r.facts);
	regions_close(&r.regions);
	free(r.skip);
	return tool_finish_output(cleanup_end(status));
}
