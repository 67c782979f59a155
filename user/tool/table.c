// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tables for people.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "tool.h"

void table_add(struct table *t, const char *fmt, ...)
{
	char *cell = NULL, **cells;
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = vasprintf(&cell, fmt, ap);
	va_end(ap);
	cells = realloc(t->cells, (t->count + 1) * sizeof(*cells));
	if (cells)
		t->cells = cells;
	if (ret < 0 || !cells) {
		if (ret >= 0)
			free(cell);
		t->failed = true;
		return;
	}
	t->cells[t->count++] = tool_printable(cell);
}

static int *widths(const struct table *t)
{
	int *width = calloc(t->columns, sizeof(*width));
	size_t i;
	int n;

	for (i = 0; width && i < t->columns; i++)
		width[i] = (int)strlen(t->head[i]);
	for (i = 0; width && i < t->count; i++) {
		n = (int)strlen(t->cells[i]);
		if (n > width[i % t->columns])
			width[i % t->columns] = n;
	}
	return width;
}

static void print_cell(const struct table *t, const int *width, size_t i,
		       const char *text)
{
	size_t column = i % t->columns;

	if (column)
		printf("  %*s", width[column], text);
	else
		printf("%-*s", width[column], text);
	if (column + 1 == t->columns)
		putchar('\n');
}

void table_free(struct table *t)
{
	size_t i;

	for (i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->count = 0;
}

int table_print(struct table *t)
{
	int *width = t->failed ? NULL : widths(t);
	int ret = width ? 0 : tool_fail("out of memory");
	size_t i;

	for (i = 0; width && i < t->columns; i++)
		print_cell(t, width, i, t->head[i]);
	for (i = 0; width && i < t->count; i++)
		print_cell(t, width, i, t->cells[i]);
	free(width);
	table_free(t);
	return ret;
}
