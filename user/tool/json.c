// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Building JSON: see json.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "tool.h"

/* How many bytes of valid UTF-8 start here; 0 when it is none. */
static size_t utf8_length(const unsigned char *p)
{
	uint32_t min, code;
	size_t length, i;

	if (p[0] < 0x80)
		return 1;
	if ((p[0] & 0xe0) == 0xc0) {
		length = 2;
		min = 0x80;
		code = p[0] & 0x1f;
	} else if ((p[0] & 0xf0) == 0xe0) {
		length = 3;
		min = 0x800;
		code = p[0] & 0x0f;
	} else if ((p[0] & 0xf8) == 0xf0) {
		length = 4;
		min = 0x10000;
		code = p[0] & 0x07;
	} else {
		return 0;
	}
	for (i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < min || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return length;
}

json_object *json_text(const char *bytes)
{
	json_object *o = NULL;
	char *copy, *p;
	size_t length;

	copy = strdup(bytes);
	if (!copy)
		return NULL;
	for (p = copy; *p; p += length) {
		length = utf8_length((unsigned char *)p);
		if (!length) {
			*p = '?';
			length = 1;
		}
	}
	o = json_object_new_string(copy);
	free(copy);
	return o;
}

bool json_add(json_object *o, const char *key, json_object *value)
{
	if (value && !json_object_object_add(o, key, value))
		return true;
	json_object_put(value);
	return false;
}

bool json_add_number(json_object *o, const char *key, uint64_t value)
{
	return json_add(o, key, json_object_new_uint64(value));
}

json_object *json_append(json_object *list, json_object *o)
{
	if (list && o && !json_object_array_add(list, o))
		return list;
	json_object_put(o);
	json_object_put(list);
	return NULL;
}

int json_print(json_object *o)
{
	const char *s = NULL;

	if (o)
		s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						   JSON_C_TO_STRING_SPACED |
						   JSON_C_TO_STRING_NOSLASHESCAPE);
	if (s)
		puts(s);
	json_object_put(o);
	return s ? 0 : tool_fail("out of memory");
}
