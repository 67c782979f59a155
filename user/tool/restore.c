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

#define AROUND_MAX	(64 << 20)

static const char help[] =
"usage: mapped-ram restore --region NAME=PATH [OPTION]... IMAGE\n"
"       mapped-ram restore --qmp SOCKET [OPTION]... IMAGE\n"
"       mapped-ram restore --lazy SOCKET [OPTION]... IMAGE\n"
"\n"
"Fill the files or shared memory in PATH from IMAGE. A missing file is made;\n"
"one that exists must have the block's size. Nothing is written before all is\n"
"checked. Or restore the virtual machine of IMAGE into a QEMU that was started\n"
"with -incoming defer, and whose monitor listens on SOCKET. Or serve the page\n"
"faults of a virtual machine that runs already, and fill the rest of its memory\n"
"meanwhile: its monitor connects to SOCKET, and hands over a userfaultfd.\n"
"\n"
"  --region NAME=PATH  a block of the image, and where it goes; may be given\n"
"                      more than once\n"
"  --skip NAME         a block that is not wanted; may be given more than once.\n"
"                      Each block needs one of the two\n"
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
"with --lazy, and without --region, --skip, --engine and --window:\n"
"  --fault-around SIZE  read so much around a page that is touched (64K)\n"
"  --record FILE       write there which pages were touched first\n"
"  --working-set FILE  bring first what was recorded there\n"
"  --json              tell what was done as JSON\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

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
	OPT_LAZY,
	OPT_FAULT_AROUND,
	OPT_RECORD,
	OPT_WORKING_SET,
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
	{ "lazy",	required_argument,	NULL, OPT_LAZY },
	{ "fault-around", required_argument,	NULL, OPT_FAULT_AROUND },
	{ "record",	required_argument,	NULL, OPT_RECORD },
	{ "working-set", required_argument,	NULL, OPT_WORKING_SET },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

static int take_around(struct restore *r, const char *arg)
{
	uint64_t size;

	if (!tool_parse_size(arg, &size) || !size || size > AROUND_MAX ||
	    (size != 1 && size % REGION_PAGE_SIZE))
		return tool_usage("restore",
				  "--fault-around wants 1, for the page alone, or a multiple of %d up to %d, not '%s'",
				  REGION_PAGE_SIZE, AROUND_MAX, arg);
	r->fault_around = (uint32_t)size;
	return 0;
}

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
	case OPT_LAZY:
		r->lazy = optarg;
		return 0;
	case OPT_FAULT_AROUND:
		return take_around(r, optarg);
	case OPT_RECORD:
		r->record = optarg;
		return 0;
	case OPT_WORKING_SET:
		r->working_set = optarg;
		return 0;
	}
	return TOOL_USAGE;
}

static int check_options(const struct restore *r)
{
	const char *way = r->qmp ? "--qmp" : r->lazy ? "--lazy" : NULL;
	int i;

	if (r->qmp && r->lazy)
		return tool_usage("restore",
				  "--qmp and --lazy exclude each other");
	if (way && (r->regions.count || r->nr_skip))
		return tool_usage("restore",
				  "%s finds the memory itself: no --region, no --skip",
				  way);
	if (r->stop && !r->qmp)
		return tool_usage("restore", "--stop wants --qmp");
	if (!r->lazy && (r->record || r->working_set || r->fault_around))
		return tool_usage("restore",
				  "--fault-around, --record and --working-set want --lazy");
	if (r->lazy && (r->opts.engine || r->opts.window))
		return tool_usage("restore",
				  "--lazy has no --engine and no --window");
	if (way)
		return 0;
	if (r->json)
		return tool_usage("restore", "--json wants --qmp or --lazy");
	if (!r->regions.count)
		return tool_usage("restore",
				  "no --region is given, and no --qmp or --lazy");
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
	if (r->qmp)
		return restore_qmp(r);
	return r->lazy ? restore_lazy(r) : restore_files(r);
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
