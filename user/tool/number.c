// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Numbers: as people type them and as they like to read them.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tool.h"

/* Digits only: strtoull() would take blanks, signs and "0x" too. */
static const char *parse_digits(const char *text, uint64_t *out)
{
	uint64_t value = 0;

	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *text - '0', &value))
			return NULL;
	*out = value;
	return text;
}

bool tool_parse_size(const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *rest, *suffix;
	uint64_t value;
	int shift = 0;

	rest = parse_digits(text, &value);
	if (!rest)
		return false;
	if (*rest) {
		suffix = strchr(suffixes, toupper((unsigned char)*rest));
		if (!suffix || rest[1])
			return false;
		shift = 10 * (int)(suffix - suffixes + 1);
	}
	if (value > UINT64_MAX >> shift)
		return false;
	*out = value << shift;
	return true;
}

bool tool_parse_count(const char *text, uint64_t max, uint64_t *out)
{
	const char *rest;
	uint64_t value;

	rest = parse_digits(text, &value);
	if (!rest || *rest || value > max)
		return false;
	*out = value;
	return true;
}

struct tool_size tool_format_size(uint64_t bytes)
{
	static const char * const units[] = {
		"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
	};
	struct tool_size s;
	unsigned int unit = 0;

	while (unit + 1 < sizeof(units) / sizeof(units[0]) &&
	       bytes >> (10 * (unit + 1)))
		unit++;
	if (bytes & ((UINT64_C(1) << (10 * unit)) - 1))
		snprintf(s.text, sizeof(s.text), "%.1f %s",
			 (double)bytes / (double)(UINT64_C(1) << (10 * unit)),
			 units[unit]);
	else
		snprintf(s.text, sizeof(s.text), "%llu %s",
			 (unsigned long long)(bytes >> (10 * unit)),
			 units[unit]);
	return s;
}

uint64_t tool_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}
