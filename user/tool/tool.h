/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the subcommands of mapped-ram share: messages, exit statuses, numbers
 * on the command line, and numbers for people.
 */
#ifndef MRAM_TOOL_H
#define MRAM_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

/** TOOL_FAILED - exit status: the job could not be done */
#define TOOL_FAILED	1
/** TOOL_USAGE - exit status: the command line is wrong */
#define TOOL_USAGE	2

/* One function a subcommand; argv[0] is its name. They return exit statuses. */
int cmd_save(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_extract(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* --------------------------------------------------------------- message.c */

/**
 * tool_fail - say on one line of stderr what went wrong
 *
 * Takes the progress bar away first. Control characters, which names and paths
 * may hold, are replaced.
 *
 * Return: TOOL_FAILED
 */
int tool_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * tool_warn - the same for what does not end the job
 *
 * Said at its end, and once, unless the job fails: an error stands alone.
 */
void tool_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** tool_say_warnings - now, where somebody may wait long for the job's end */
void tool_say_warnings(void);

/**
 * tool_usage - say what is wrong with the command line
 * @command: the subcommand, or NULL
 *
 * Return: TOOL_USAGE
 */
int tool_usage(const char *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * tool_names - whether a message of the library is about a file
 * @message: says which with its path and a colon, if at all
 * @path: of the file
 */
bool tool_names(const char *message, const char *path);

/**
 * tool_fail_library - pass on what the library says
 * @path: the image
 * @code: what its call returned
 *
 * Return: TOOL_FAILED
 */
int tool_fail_library(const char *path, int code, const struct mram_error *err);

/**
 * tool_finish_output - was everything that was printed written?
 * @status: unless it is 0, what is wrong has been said
 *
 * Also says the warnings that there were.
 *
 * Return: @status, or TOOL_FAILED when stdout took not all of it
 */
int tool_finish_output(int status);

/** tool_printable - replace control characters in place; returns @text */
char *tool_printable(char *text);

/* --------------------------------------------------------------- options.c */

struct option;

/**
 * tool_take_options - the options of a subcommand
 * @options: as for getopt_long(); --help returns 'h'
 * @take: called for each of the others with what it returns; gives back 0, or
 *        an exit status that ends it
 * @shown: @help was printed, and that was all
 *
 * Return: 0, or an exit status after saying what is wrong
 */
int tool_take_options(const char *command, const char *help,
		      const struct option *options, int argc, char **argv,
		      int (*take)(void *data, int c), void *data, bool *shown);

/**
 * tool_one_image - the one argument behind the options
 *
 * Return: 0, or TOOL_USAGE after saying what is wrong
 */
int tool_one_image(const char *command, int argc, char **argv,
		   const char **image);

/* Values of options that several subcommands have; they return the same. */
int tool_take_engine(const char *command, const char *arg, const char **out);
int tool_take_window(const char *command, const char *arg, uint32_t *out);
int tool_take_bridge(const char *command, const char *arg, uint32_t *out);
int tool_take_extent(const char *command, const char *arg, uint32_t *out);
int tool_take_offset(const char *command, const char *option, const char *arg,
		     uint64_t *out);

/**
 * struct tool_reading - the command line of what only looks at an image
 * @command: which one
 * @json: print JSON
 * @offset: where in the file the image lies
 * @image: the file
 */
struct tool_reading {
	const char *command;
	bool json;
	uint64_t offset;
	const char *image;
};

/** tool_take_reading - --json, --offset and one image; as tool_take_options() */
int tool_take_reading(struct tool_reading *r, const char *help, int argc,
		      char **argv, bool *shown);

/* ---------------------------------------------------------------- number.c */

/** tool_parse_size - bytes, with K, M, G or T behind them for powers of 1024 */
bool tool_parse_size(const char *text, uint64_t *out);

/** tool_parse_count - a plain decimal number, at most @max */
bool tool_parse_count(const char *text, uint64_t max, uint64_t *out);

/** struct tool_size - room for the text of a size */
struct tool_size {
	char text[32];
};

/** tool_format_size - "64 MiB", "1.5 GiB", "512 B" */
struct tool_size tool_format_size(uint64_t bytes);

/** tool_seconds - nanoseconds as seconds */
static inline double tool_seconds(uint64_t nsec)
{
	return (double)nsec / 1e9;
}

/** tool_now - a clock that only goes forward, in nanoseconds */
uint64_t tool_now(void);

#endif /* MRAM_TOOL_H */
