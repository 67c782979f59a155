/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables for people: the first column stands left, the others right, and each
 * is as wide as it has to be.
 */
#ifndef MRAM_TABLE_H
#define MRAM_TABLE_H

#include <stdbool.h>
#include <stddef.h>

/**
 * struct table - rows of cells
 * @head: the columns' names
 * @columns: how many
 * @cells: one after the other, row by row; owned
 * @count: how many there are
 * @failed: there was no memory for one
 */
struct table {
	const char *const *head;
	size_t columns;
	char **cells;
	size_t count;
	bool failed;
};

/** TABLE - an empty table's initializer; @names is an array */
#define TABLE(names) \
	{ .head = (names), .columns = sizeof(names) / sizeof((names)[0]) }

/** table_add - the next cell of the row */
void table_add(struct table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** table_free - without printing it */
void table_free(struct table *t);

/**
 * table_print - print and free it
 *
 * Return: 0, or TOOL_FAILED after saying why
 */
int table_print(struct table *t);

#endif /* MRAM_TABLE_H */
