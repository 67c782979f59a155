// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an image says about itself, for programs. The keys are an interface:
 * they are described in mapped-ram(1), and more may come.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"
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

/* JSON is UTF-8, names and paths are bytes: what is no text becomes '?'. */
static json_object *text(const char *bytes)
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

/* Frees the value when it cannot be added. */
static bool add(json_object *o, const char *key, json_object *value)
{
	if (value && !json_object_object_add(o, key, value))
		return true;
	json_object_put(value);
	return false;
}

static bool add_number(json_object *o, const char *key, uint64_t value)
{
	return add(o, key, json_object_new_uint64(value));
}

static json_object *block(const struct mram_block_info *b)
{
	json_object *o = json_object_new_object();

	if (o && add(o, "name", text(b->name)) &&
	    add_number(o, "length", b->length) &&
	    add_number(o, "page_size", b->page_size) &&
	    add_number(o, "pages", b->pages) &&
	    add_number(o, "set_pages", b->set_pages) &&
	    add_number(o, "zero_pages", b->pages - b->set_pages) &&
	    add_number(o, "bitmap_offset", b->bitmap_offset) &&
	    add_number(o, "pages_offset", b->pages_offset))
		return o;
	json_object_put(o);
	return NULL;
}

static json_object *section(const struct mram_section_info *s)
{
	json_object *o = json_object_new_object();

	if (o && add(o, "name", text(s->name)) &&
	    add_number(o, "instance", s->instance) &&
	    add_number(o, "version", s->version) &&
	    add_number(o, "length", s->length) &&
	    add_number(o, "data_offset", s->data_offset))
		return o;
	json_object_put(o);
	return NULL;
}

/* Frees both when the object cannot be appended; then there is no list. */
static json_object *append(json_object *list, json_object *o)
{
	if (list && o && !json_object_array_add(list, o))
		return list;
	json_object_put(o);
	json_object_put(list);
	return NULL;
}

static json_object *blocks(const struct facts *f)
{
	json_object *list = json_object_new_array();
	int i;

	for (i = 0; list && i < f->count; i++)
		list = append(list, block(&f->blocks[i]));
	return list;
}

/* Sections that nobody can tell apart are null, not an empty list. */
static bool add_sections(json_object *o, const struct facts *f)
{
	json_object *list;
	int i;

	if (f->nr_sections < 0)
		return !json_object_object_add(o, "sections", NULL);
	list = json_object_new_array();
	for (i = 0; list && i < f->nr_sections; i++)
		list = append(list, section(&f->sections[i]));
	return add(o, "sections", list);
}

json_object *facts_json(const struct facts *f)
{
	json_object *o = json_object_new_object();

	if (o && add(o, "image", text(f->path)) &&
	    add(o, "machine", text(mram_image_machine(f->image))) &&
	    add_number(o, "image_size", mram_image_size(f->image)) &&
	    add_number(o, "length", f->length) &&
	    add_number(o, "pages", f->pages) &&
	    add_number(o, "set_pages", f->set_pages) &&
	    add_number(o, "zero_pages", f->pages - f->set_pages) &&
	    add(o, "blocks", blocks(f)) &&
	    add_number(o, "state_offset", mram_image_state_offset(f->image)) &&
	    add_sections(o, f))
		return o;
	json_object_put(o);
	return NULL;
}

int facts_print_json(json_object *o)
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
