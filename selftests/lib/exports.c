// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the library's symbol map and its public header name the same
 * functions, each once, and that the map hides all the rest.
 */
#include <ctype.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"

#include "common.h"

#define NAMES_MAX	256

struct names {
	char *text;		/* the file, without its comments */
	size_t n;
	char *name[NAMES_MAX];	/* point to copies */
};

/* Comments become blanks, so that only what a compiler sees is left. */
static char *read_code(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20), *p, *end;

	if (!f || !text || !fread(text, 1, (1 << 20) - 1, f))
		err(1, "%s", path);
	fclose(f);
	for (p = text; (p = strstr(p, "/*")); p = end) {
		end = strstr(p, "*/");
		if (!end)
			errx(1, "%s: a comment does not end", path);
		memset(p, ' ', (size_t)(end + 2 - p));
	}
	return text;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Words that begin with mram_ and are followed by @mark. */
static void find_names(struct names *names, const char *from, const char *to,
		       char mark)
{
	const char *p = from;
	size_t length;

	while ((p = strstr(p, "mram_")) && p < to) {
		for (length = 0; is_word(p[length]); length++)
			;
		if ((p == from || !is_word(p[-1])) && p[length] == mark) {
			if (names->n == NAMES_MAX)
				errx(1, "more than %d names", NAMES_MAX);
			names->name[names->n++] = strndup(p, length);
		}
		p += length;
	}
}

static size_t count(const struct names *names, const char *name)
{
	size_t i, n = 0;

	for (i = 0; i < names->n; i++)
		n += !strcmp(names->name[i], name);
	return n;
}

static void free_names(struct names *names)
{
	while (names->n)
		free(names->name[--names->n]);
	free(names->text);
}

TEST(map_and_header_agree)
{
	struct names header = { 0 }, map = { 0 };
	char *global, *local;
	size_t i;

	header.text = read_code(PROJECT "/include/mappedram.h");
	find_names(&header, header.text, header.text + strlen(header.text),
		   '(');
	map.text = read_code(PROJECT "/user/lib/libmappedram.map");
	global = strstr(map.text, "global:");
	ASSERT_NE(NULL, global);
	local = strstr(global, "local:");
	ASSERT_NE(NULL, local);
	find_names(&map, global, local, ';');

	EXPECT_LT(20, header.n);
	for (i = 0; i < header.n; i++) {
		EXPECT_EQ(1, count(&header, header.name[i]));
		EXPECT_EQ(1, count(&map, header.name[i])) {
			TH_LOG("%s is not in the map", header.name[i]);
		}
	}
	for (i = 0; i < map.n; i++)
		EXPECT_EQ(1, count(&header, map.name[i])) {
			TH_LOG("%s is not in the header", map.name[i]);
		}
	EXPECT_EQ(header.n, map.n);

	local += strlen("local:");
	local += strspn(local, " \t\n");
	EXPECT_EQ(0, strncmp(local, "*;", 2));

	free_names(&header);
	free_names(&map);
	EXPECT_NO_LEAKS();
}

TEST_HARNESS_MAIN
