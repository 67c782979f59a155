// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram info: what an image holds.
 */
#include <getopt.h>
#include <stdio.h>

#include "facts.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram info [--json] IMAGE\n"
"\n"
"Check the structure of IMAGE and show what it holds. What is wrong with a\n"
"damaged image is said on stderr, and the exit status is 1.\n"
"\n"
"  --json      print JSON\n"
"  --help, -h  this text\n";

static const struct option options[] = {
	{ "json",	no_argument,	NULL, 'j' },
	{ "help",	no_argument,	NULL, 'h' },
	{ }
};

int cmd_info(int argc, char **argv)
{
	const char *image;
	bool json = false;
	struct facts f;
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			fputs(help, stdout);
			return tool_finish_output(0);
		case 'j':
			json = true;
			break;
		default:
			return tool_bad_option("info", argv, c);
		}
	}
	status = tool_one_image("info", argc, argv, &image);
	if (status)
		return status;

	status = facts_gather(&f, image);
	if (!status)
		status = json ? facts_print_json(facts_json(&f)) :
				facts_print(&f);
	facts_free(&f);
	return tool_finish_output(status);
}
