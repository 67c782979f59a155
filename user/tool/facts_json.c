// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an image says about itself, for programs. The keys are an interface:
 * they are described in mapped-ram(1), and more may come.
 */
#include "facts.h"
#include "json.h"
#include "tool.h"

static json_object *block(const struct mram_block_info *b)
{
	json_object *o = json_object_new_object();

	if (o && json_add(o, "name", json_text(b->name)) &&
	    json_add_number(o, "length", b->length) &&
	    json_add_number(o, "page_size", b->page_size) &&
	    json_add_number(o, "pages", b->pages) &&
	    json_add_number(o, "set_pages", b->set_pages) &&
	    json_add_number(o, "zero_pages", b->pages - b->set_pages) &&
	    json_add_number(o, "bitmap_offset", b->bitmap_offset) &&
	    json_add_number(o, "pages_offset", b->pages_offset))
		return o;
	json_object_put(o);
	return NULL;
}

static json_object *section(const struct mram_section_info *s)
{
	json_object *o = json_object_new_object();

	if (o && json_add(o, "name", json_text(s->name)) &&
	    json_add_number(o, "instance", s->instance) &&
	    json_add_number(o, "version", s->version) &&
	    json_add_number(o, "length", s->length) &&
	    json_add_number(o, "data_offset", s->data_offset))
		return o;
	json_object_put(o);
	return NULL;
}

static json_object *blocks(const struct facts *f)
{
	json_object *list = json_object_new_array();
	int i;

	for (i = 0; list && i < f->count; i++)
		list = json_append(list, block(&f->blocks[i]));
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
		list = json_append(list, section(&f->sections[i]));
	return json_add(o, "sections", list);
}

json_object *facts_json(const struct facts *f)
{
	json_object *o = json_object_new_object();

	if (o && json_add(o, "image", json_text(f->path)) &&
	    json_add(o, "machine", json_text(mram_image_machine(f->image))) &&
	    json_add_number(o, "image_size", mram_image_size(f->image)) &&
	    json_add_number(o, "length", f->length) &&
	    json_add_number(o, "pages", f->pages) &&
	    json_add_number(o, "set_pages", f->set_pages) &&
	    json_add_number(o, "zero_pages", f->pages - f->set_pages) &&
	    json_add(o, "blocks", blocks(f)) &&
	    json_add_number(o, "state_offset", mram_image_state_offset(f->image)) &&
	    add_sections(o, f))
		return o;
	json_object_put(o);
	return NULL;
}
