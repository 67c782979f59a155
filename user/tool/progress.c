// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The progress bar. Drawn at most ten times a second, one write() each, as
 * wide as the terminal is at that moment; what does not fit is left out, the
 * least interesting first.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "progress.h"
#include "tool.h"

#define DRAW_NSEC	100000000u
#define BAR_MIN		10
#define BAR_MAX		40
#define LINE_MAX_BYTES	256

static struct {
	bool on;
	const char *verb;
	uint64_t total;
	uint64_t bytes;
	uint64_t done;
	uint64_t start;
	uint64_t drawn;
	/* Smoothed, in pages a second; 0 as long as it is not known. */
	double rate;
	uint64_t rate_done;
	uint64_t rate_time;
} bar;

/* Something stands on the terminal's line. Read by signal handlers. */
static volatile sig_atomic_t visible;

static const char erase[] = "\r\033[K";

static void put(const char *text, size_t length)
{
	/* If the terminal is gone there is nobody to tell. */
	ssize_t ret = write(STDERR_FILENO, text, length);

	(void)ret;
}

static bool in_foreground(void)
{
	/* Fails on a terminal that is not ours, where drawing stops nobody. */
	pid_t group = tcgetpgrp(STDERR_FILENO);

	return group < 0 || group == getpgrp();
}

static size_t columns(void)
{
	struct winsize ws;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) || ws.ws_col == 0)
		return 80;
	return ws.ws_col;
}

/*
 * The rate of the last seconds counts more than that of the first ones: runs
 * of zero pages go by much faster than pages that are written.
 */
static void measure(uint64_t now)
{
	double seconds = tool_seconds(now - bar.rate_time), rate, weight;

	if (seconds < 0.2 || bar.done < bar.rate_done)
		return;
	rate = (double)(bar.done - bar.rate_done) / seconds;
	weight = bar.rate > 0 ? seconds / (seconds + 2) : 1;
	bar.rate += (rate - bar.rate) * weight;
	bar.rate_done = bar.done;
	bar.rate_time = now;
}

static void format_left(char *out, size_t size)
{
	double seconds = (double)(bar.total - bar.done) / bar.rate;
	unsigned long s;

	if (seconds > 359999) {
		snprintf(out, size, "  over 99 h left");
		return;
	}
	s = (unsigned long)(seconds + 0.5);
	if (s >= 3600)
		snprintf(out, size, "  %lu:%02lu:%02lu left", s / 3600,
			 s / 60 % 60, s % 60);
	else
		snprintf(out, size, "  %lu:%02lu left", s / 60, s % 60);
}

static void draw(uint64_t now)
{
	char line[LINE_MAX_BYTES], part[4][64] = { "", "", "", "" };
	/* In this order they stand on the line, in that one they get room. */
	static const int order[] = { 3, 2, 1, 0 };
	bool use[4] = { false };
	double page = (double)bar.bytes / (double)bar.total;
	size_t room, length, fill, i;
	int n;

	room = columns();
	if (room > sizeof(line) - sizeof(erase))
		room = sizeof(line) - sizeof(erase);
	room--;		/* a full last column would wrap on some terminals */

	snprintf(part[0], sizeof(part[0]), "  %llu/%llu pages",
		 (unsigned long long)bar.done, (unsigned long long)bar.total);
	snprintf(part[1], sizeof(part[1]), "  %s",
		 tool_format_size((uint64_t)((double)bar.done * page)).text);
	if (bar.rate > 0) {
		snprintf(part[2], sizeof(part[2]), "  %s/s",
			 tool_format_size((uint64_t)(bar.rate * page)).text);
		format_left(part[3], sizeof(part[3]));
	}

	n = snprintf(line, sizeof(line), "%s%s %3u%%", erase, bar.verb,
		     (unsigned int)((double)bar.done * 100 / (double)bar.total));
	length = (size_t)n - (sizeof(erase) - 1);
	if (length > room)
		return;
	for (i = 0; i < 4; i++)
		if (length + strlen(part[order[i]]) <= room) {
			use[order[i]] = true;
			length += strlen(part[order[i]]);
		}
	if (length + BAR_MIN + 3 <= room) {
		size_t width = room - length - 3;

		if (width > BAR_MAX)
			width = BAR_MAX;
		fill = (size_t)((double)width * (double)bar.done /
				(double)bar.total);
		line[n++] = ' ';
		line[n++] = '[';
		for (i = 0; i < width; i++)
			line[n++] = i < fill ? '#' : '-';
		line[n++] = ']';
	}
	for (i = 0; i < 4; i++)
		if (use[i]) {
			memcpy(line + n, part[i], strlen(part[i]));
			n += (int)strlen(part[i]);
		}
	visible = 1;
	put(line, (size_t)n);
	bar.drawn = now;
}

void progress_start(const char *verb, uint64_t total, uint64_t bytes)
{
	const char *term = getenv("TERM");

	memset(&bar, 0, sizeof(bar));
	if (!total || !isatty(STDERR_FILENO) || !term || !*term ||
	    !strcmp(term, "dumb"))
		return;
	bar.on = true;
	bar.verb = verb;
	bar.total = total;
	bar.bytes = bytes;
	bar.start = tool_now();
	bar.rate_time = bar.start;
	if (in_foreground())
		draw(bar.start);
}

void progress_update(uint64_t done)
{
	uint64_t now;

	if (!bar.on)
		return;
	now = tool_now();
	if (now - bar.drawn < DRAW_NSEC)
		return;
	bar.done = done < bar.total ? done : bar.total;
	measure(now);
	if (in_foreground())
		draw(now);
}

void progress_erase(void)
{
	if (visible)
		put(erase, sizeof(erase) - 1);
	visible = 0;
}

void progress_end(void)
{
	bar.on = false;
	progress_erase();
}
