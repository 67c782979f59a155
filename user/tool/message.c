// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the tool says to people when something is wrong: always one line on
 * stderr, always beginning with the tool's name. Warnings come when the job is
 * done, and where it fails the error stands alone, unless they were said before.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "tool.h"

char *tool_printable(char *text)
{
	char *p;

	for (p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return text;
}

/* Two paths of full length and a library's message fit. */
#define TEXT_SIZE	10240

struct warning {
	struct warning *next;
	bool said;
	char text[];
};

static struct warning *warnings;

static char *format(char *text, const char *fmt, va_list ap)
{
	if (vsnprintf(text, TEXT_SIZE, fmt, ap) < 0)
		text[0] = '\0';
	return tool_printable(text);
}

static void say(const char *prefix, const char *fmt, va_list ap,
		const char *suffix)
{
	char text[TEXT_SIZE];

	progress_end();
	fprintf(stderr, "mapped-ram%s: %s%s\n", prefix, format(text, fmt, ap),
		suffix);
}

int tool_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap, "");
	va_end(ap);
	return TOOL_FAILED;
}

void tool_warn(const char *fmt, ...)
{
	struct warning **end = &warnings, *w;
	char text[TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	format(text, fmt, ap);
	va_end(ap);
	for (; *end; end = &(*end)->next)
		if (!strcmp((*end)->text, text))
			return;
	/* Without memory the job fails soon enough. */
	w = malloc(sizeof(*w) + strlen(text) + 1);
	if (!w)
		return;
	w->next = NULL;
	w->said = false;
	strcpy(w->text, text);
	*end = w;
}

void tool_say_warnings(void)
{
	struct warning *w;

	for (w = warnings; w; w = w->next) {
		if (w->said)
			continue;
		progress_erase();
		fprintf(stderr, "mapped-ram: warning: %s\n", w->text);
		w->said = true;
	}
}

static void end_warnings(bool show)
{
	struct warning *w;

	if (show)
		tool_say_warnings();
	while ((w = warnings)) {
		warnings = w->next;
		free(w);
	}
}

int tool_usage(const char *command, const char *fmt, ...)
{
	char prefix[64] = "", suffix[96];
	va_list ap;

	if (command)
		snprintf(prefix, sizeof(prefix), " %s", command);
	snprintf(suffix, sizeof(suffix), "; try 'mapped-ram%s --help'", prefix);
	va_start(ap, fmt);
	say(prefix, fmt, ap, suffix);
	va_end(ap);
	return TOOL_USAGE;
}

bool tool_names(const char *message, const char *path)
{
	size_t length = strlen(path);
	const char *p;

	/* Any word may be a file's name. */
	for (p = strstr(message, path); p && *p; p = strstr(p + 1, path))
		if ((p == message || p[-1] == ' ') && p[length] == ':')
			return true;
	return false;
}

int tool_fail_library(const char *path, int code, const struct mram_error *err)
{
	if (!err->message[0])
		return tool_fail("%s: %s", path, strerror(-code));
	if (tool_names(err->message, path))
		return tool_fail("%s", err->message);
	return tool_fail("%s: %s", path, err->message);
}

int tool_finish_output(int status)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout))
		failed = true;
	end_warnings(!failed && !status);
	if (!failed || status)
		return status;
	return tool_fail("cannot write the output: %s",
			 strerror(errno ? errno : EIO));
}
