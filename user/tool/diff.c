// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram diff: which pages of which blocks differ between two images?
 *
 * Everything is gathered before anything is printed, as elsewhere: a failure
 * never leads to half an answer.
 */
#include <getopt.h>
#include <stdio.h>

#include "cleanup.h"
#include "compare.h"
#include "json.h"
#include "lock.h"
#include "progress.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram diff [OPTION]... IMAGE1 IMAGE2\n"
"\n"
"Tell which pages of which blocks differ. A page that an image does not hold\n"
"is zero. Device state is not compared. The exit status is 0 if all memory is\n"
"the same, 1 if not, and 2 if that could not be found out.\n"
"\n"
"  --json          print JSON\n"
"  --offset1 SIZE  the image does not begin at the start of IMAGE1 but here\n"
"  --offset2 SIZE  the same for IMAGE2\n"
"  --help, -h      this text\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

static const struct option options[] = {
	{ "json",	no_argument,		NULL, 'j' },
	{ "offset1",	required_argument,	NULL, '1' },
	{ "offset2",	required_argument,	NULL, '2' },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

struct diff {
	const char *path[2];
	uint64_t offset[2];
	bool json;
	struct comparison c;
};

static int take_option(void *data, int c)
{
	struct diff *d = data;

	switch (c) {
	case '1':
		return tool_take_offset("diff", "--offset1", optarg,
					&d->offset[0]);
	case '2':
		return tool_take_offset("diff", "--offset2", optarg,
					&d->offset[1]);
	}
	d->json = true;
	return 0;
}

static int take_arguments(struct diff *d, int argc, char **argv)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (optind + i >= argc || !argv[optind + i][0])
			return tool_usage("diff", "the %s image is missing",
					  i ? "second" : "first");
		d->path[i] = argv[optind + i];
	}
	if (optind + 2 < argc)
		return tool_usage("diff", "unexpected argument '%s'",
				  argv[optind + 2]);
	return 0;
}

/* Two times the pages: each may be read from either image. */
static int run(struct diff *d)
{
	int i;

	for (i = 0; i < 2; i++)
		if (lock_image(d->path[i], IMAGE_READ) ||
		    facts_gather(&d->c.side[i], d->path[i], d->offset[i]))
			return TOOL_FAILED;
	progress_start("comparing",
		       d->c.side[0].set_pages + d->c.side[1].set_pages,
		       d->c.side[0].set_bytes + d->c.side[1].set_bytes);
	if (comparison_make(&d->c))
		return TOOL_FAILED;
	progress_end();
	return d->json ? json_print(comparison_json(&d->c)) :
			 comparison_print(&d->c);
}

int cmd_diff(int argc, char **argv)
{
	struct diff d = { 0 };
	bool shown, same;
	int status;

	status = tool_take_options("diff", help, options, argc, argv,
				   take_option, &d, &shown);
	if (shown)
		return tool_finish_output(0);
	if (!status)
		status = take_arguments(&d, argc, argv);
	if (!status) {
		cleanup_start();
		status = run(&d);
	}
	same = comparison_same(&d.c);
	comparison_free(&d.c);
	status = tool_finish_output(cleanup_end(status));
	/* As diff(1) has it: trouble is not a difference. */
	return status ? TOOL_USAGE : !same;
}
