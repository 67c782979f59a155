// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram info: what an image holds.
 */
#include "facts.h"
#include "json.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram info [--json] [--offset SIZE] IMAGE\n"
"\n"
"Check the structure of IMAGE and show what it holds. What is wrong with a\n"
"damaged image is said on stderr, and the exit status is 1.\n"
"\n"
"  --json         print JSON\n"
"  --offset SIZE  the image does not begin at the start of IMAGE but here\n"
"  --help, -h     this text\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

int cmd_info(int argc, char **argv)
{
	struct tool_reading args = { .command = "info" };
	struct facts f;
	bool shown;
	int status;

	status = tool_take_reading(&args, help, argc, argv, &shown);
	if (status || shown)
		return tool_finish_output(status);

	status = facts_gather(&f, args.image, args.offset);
	if (!status)
		status = args.json ? json_print(facts_json(&f)) :
				     facts_print(&f);
	facts_free(&f);
	return tool_finish_output(status);
}
