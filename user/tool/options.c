// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the command lines of the subcommands have in common.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "region.h"
#include "tool.h"

static int bad_option(const char *command, char **argv, int c)
{
	const char *given = argv[optind - 1];

	if (c == ':')
		return tool_usage(command, "option '%s' needs a value", given);
	/*
	 * A short option may stand in the middle of an argument that getopt
	 * has not left yet; a long one may have been given a value it does
	 * not take, then optopt is not 0 and not a short option either.
	 */
	if (optopt && strncmp(given, "--", 2))
		return tool_usage(command, "unknown option '-%c'", optopt);
	if (optopt)
		return tool_usage(command, "option '%.*s' takes no value",
				  (int)strcspn(given, "="), given);
	return tool_usage(command, "unknown option '%s'", given);
}

int tool_take_options(const char *command, const char *help,
		      const struct option *options, int argc, char **argv,
		      int (*take)(void *data, int c), void *data, bool *shown)
{
	int c, status = 0;

	*shown = false;
	opterr = 0;
	while (!status &&
	       (c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			*shown = true;
			return 0;
		}
		status = c == '?' || c == ':' ? bad_option(command, argv, c) :
						take(data, c);
	}
	return status;
}

int tool_one_image(const char *command, int argc, char **argv,
		   const char **image)
{
	if (optind >= argc || !argv[optind][0])
		return tool_usage(command, "the image is missing");
	if (optind + 1 < argc)
		return tool_usage(command, "unexpected argument '%s'",
				  argv[optind + 1]);
	*image = argv[optind];
	return 0;
}

static int take_reading(void *data, int c)
{
	struct tool_reading *r = data;

	if (c == 'o')
		return tool_take_offset(r->command, "--offset", optarg,
					&r->offset);
	r->json = true;
	return 0;
}

int tool_take_reading(struct tool_reading *r, const char *help, int argc,
		      char **argv, bool *shown)
{
	static const struct option options[] = {
		{ "json",	no_argument,		NULL, 'j' },
		{ "offset",	required_argument,	NULL, 'o' },
		{ "help",	no_argument,		NULL, 'h' },
		{ }
	};
	int status;

	status = tool_take_options(r->command, help, options, argc, argv,
				   take_reading, r, shown);
	if (status || *shown)
		return status;
	return tool_one_image(r->command, argc, argv, &r->image);
}

int tool_take_engine(const char *command, const char *arg, const char **out)
{
	if (strcmp(arg, "module") && strcmp(arg, "uring") &&
	    strcmp(arg, "pwrite"))
		return tool_usage(command,
				  "unknown engine '%s'; there are module, uring and pwrite",
				  arg);
	*out = arg;
	return 0;
}

int tool_take_window(const char *command, const char *arg, uint32_t *out)
{
	uint64_t value;

	if (!tool_parse_count(arg, UINT32_MAX, &value) || !value)
		return tool_usage(command,
				  "--window wants a number of I/Os from 1, not '%s'",
				  arg);
	*out = (uint32_t)value;
	return 0;
}

int tool_take_bridge(const char *command, const char *arg, uint32_t *out)
{
	uint64_t value;

	if (!strcmp(arg, "auto")) {
		*out = MRAM_BRIDGE_AUTO;
		return 0;
	}
	if (!tool_parse_count(arg, UINT32_MAX, &value) ||
	    value == MRAM_BRIDGE_AUTO)
		return tool_usage(command,
				  "--bridge wants a number of pages or auto, not '%s'",
				  arg);
	*out = (uint32_t)value;
	return 0;
}

int tool_take_extent(const char *command, const char *arg, uint32_t *out)
{
	uint64_t value;

	if (!tool_parse_size(arg, &value) || !value || value > UINT32_MAX ||
	    value % REGION_PAGE_SIZE)
		return tool_usage(command,
				  "--max-extent wants a multiple of %d bytes below 4G, not '%s'",
				  REGION_PAGE_SIZE, arg);
	*out = (uint32_t)value;
	return 0;
}

int tool_take_offset(const char *command, const char *option, const char *arg,
		     uint64_t *out)
{
	if (!tool_parse_size(arg, out))
		return tool_usage(command, "%s wants a number of bytes, not '%s'",
				  option, arg);
	return 0;
}
