// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram: whole jobs on images of virtual machines' memory. This file only
 * finds the subcommand.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "save",	cmd_save },
	{ "restore",	cmd_restore },
	{ "info",	cmd_info },
	{ "verify",	cmd_verify },
	{ "extract",	cmd_extract },
	{ "diff",	cmd_diff },
	{ "bench",	cmd_bench },
};

static const char help[] =
"usage: mapped-ram COMMAND [OPTION]... IMAGE\n"
"\n"
"Put a virtual machine's memory on disk, and back. The image is QEMU's\n"
"mapped-ram format.\n"
"\n"
"commands:\n"
"  save      write memory from files or shared memory to an image\n"
"  restore   fill files or shared memory from an image\n"
"  info      show what an image holds\n"
"  verify    check an image, and that every page in it can be read\n"
"  extract   write a block of an image to a file of raw memory\n"
"  diff      tell which pages differ between two images\n"
"  bench     measure how fast memory is saved here\n"
"\n"
"  --help, -h      this text; 'mapped-ram COMMAND --help' tells more\n"
"  --version, -V   show the version\n"
"\n"
"Exit status: 0 done, 1 failed, 2 the command line is wrong. Of diff: 0 the\n"
"same, 1 different, 2 failed.\n";

/*
 * Without these three open, the first files of a job would take their numbers,
 * and what is printed would end up in an image or in memory.
 */
static int open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	const char *name;
	size_t i;

	if (open_standard_files())
		return TOOL_FAILED;
	/*
	 * A limit on file sizes and a reader that has gone away are errors,
	 * not ways to die without cleaning up.
	 */
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);

	if (argc < 2)
		return tool_usage(NULL, "a command is missing");
	name = argv[1];
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		fputs(help, stdout);
		return tool_finish_output(0);
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("mapped-ram %s\n", mram_version());
		return tool_finish_output(0);
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (name[0] == '-')
		return tool_usage(NULL, "unknown option '%s'", name);
	return tool_usage(NULL, "unknown command '%s'", name);
}
