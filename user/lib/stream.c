// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The stream's bytes around bitmaps and pages: see stream.h.
 */
#include <endian.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format.h"
#include "stream.h"

void mram_buf_put(struct mram_buf *b, const void *data, size_t length)
{
	size_t need, capacity;
	uint8_t *p;

	if (b->failed || !length)
		return;
	if (__builtin_add_overflow(b->length, length, &need)) {
		b->failed = true;
		return;
	}
	if (need > b->capacity) {
		capacity = b->capacity ? b->capacity : 256;
		while (capacity < need)
			if (__builtin_mul_overflow(capacity, 2, &capacity))
				capacity = need;
		p = realloc(b->data, capacity);
		if (!p) {
			b->failed = true;
			return;
		}
		b->data = p;
		b->capacity = capacity;
	}
	memcpy(b->data + b->length, data, length);
	b->length = need;
}

void mram_buf_free(struct mram_buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

static void put_u8(struct mram_buf *b, uint8_t v)
{
	mram_buf_put(b, &v, sizeof(v));
}

static void put_be32(struct mram_buf *b, uint32_t v)
{
	v = htobe32(v);
	mram_buf_put(b, &v, sizeof(v));
}

static void put_be64(struct mram_buf *b, uint64_t v)
{
	v = htobe64(v);
	mram_buf_put(b, &v, sizeof(v));
}

/* Callers have checked that a name is at most 255 bytes long. */
static void put_name(struct mram_buf *b, const char *name)
{
	size_t length = strlen(name);

	put_u8(b, (uint8_t)length);
	mram_buf_put(b, name, length);
}

static void put_section(struct mram_buf *b, uint8_t type, uint32_t id,
			const char *name, uint32_t instance, uint32_t version)
{
	put_u8(b, type);
	put_be32(b, id);
	put_name(b, name);
	put_be32(b, instance);
	put_be32(b, version);
}

static void put_footer(struct mram_buf *b, uint32_t id)
{
	put_u8(b, MRAM_VM_SECTION_FOOTER);
	put_be32(b, id);
}

static int buf_done(const struct mram_buf *b, const char *what,
		    struct mram_error *err)
{
	if (b->failed)
		return mram_err(err, -ENOMEM, "no memory for %s", what);
	return 0;
}

static void put_configuration(struct mram_buf *b, const struct mram_layout *l)
{
	put_u8(b, MRAM_VM_CONFIGURATION);
	put_be32(b, (uint32_t)strlen(l->machine));
	mram_buf_put(b, l->machine, strlen(l->machine));
	put_u8(b, MRAM_VM_SUBSECTION);
	put_name(b, MRAM_SUB_CAPABILITIES);
	put_be32(b, 1);
	put_be32(b, 1);
	put_name(b, MRAM_CAP_MAPPED_RAM);
}

static uint32_t ram_id(const struct mram_layout *l)
{
	return l->foreign ? l->foreign->ram_id : MRAM_SECTION_ID_RAM;
}

int mram_stream_head(struct mram_buf *b, const struct mram_layout *l,
		     struct mram_error *err)
{
	put_be32(b, MRAM_MAGIC);
	put_be32(b, MRAM_STREAM_VERSION);
	if (l->foreign)
		mram_buf_put(b, l->foreign->config, l->foreign->config_length);
	else
		put_configuration(b, l);
	put_section(b, MRAM_VM_SECTION_START, ram_id(l), MRAM_RAM_NAME, 0,
		    MRAM_RAM_VERSION);
	put_be64(b, l->total | MRAM_RAM_FLAG_MEM_SIZE);
	return buf_done(b, "the stream's head", err);
}

int mram_stream_record(struct mram_buf *b, const struct mram_layout_block *blk,
		       struct mram_error *err)
{
	put_name(b, blk->name);
	put_be64(b, blk->length);
	put_be32(b, MRAM_HEADER_VERSION);
	put_be64(b, blk->page_size);
	put_be64(b, blk->bitmap_offset);
	put_be64(b, blk->pages_offset);
	return buf_done(b, "a block's record", err);
}

static void put_sections(struct mram_buf *b, const struct mram_section *s,
			 size_t nr)
{
	uint32_t id = 0;
	size_t i;

	for (i = 0; i < nr; i++, s++, id++) {
		put_section(b, MRAM_VM_SECTION_FULL, id, s->name, s->instance,
			    s->version);
		mram_buf_put(b, s->data, s->length);
		put_footer(b, id);
	}
}

/*
 * json-c takes ownership of @value, and a NULL one would come out as null:
 * both kinds of lack of memory end here.
 */
static bool json_set(struct json_object *o, const char *key,
		     struct json_object *value)
{
	if (!value)
		return false;
	if (json_object_object_add(o, key, value)) {
		json_object_put(value);
		return false;
	}
	return true;
}

static bool json_append(struct json_object *array, struct json_object *value)
{
	if (json_object_array_add(array, value)) {
		json_object_put(value);
		return false;
	}
	return true;
}

static bool json_set_int(struct json_object *o, const char *key, uint64_t v)
{
	return json_set(o, key, json_object_new_int64((int64_t)v));
}

static bool json_set_str(struct json_object *o, const char *key, const char *s)
{
	return json_set(o, key, json_object_new_string(s));
}

/* A new container that is already in @o, which owns it. */
static struct json_object *json_add_array(struct json_object *o,
					  const char *key)
{
	struct json_object *a = json_object_new_array();

	return json_set(o, key, a) ? a : NULL;
}

static struct json_object *json_add_object(struct json_object *array)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	return json_append(array, o) ? o : NULL;
}

static bool describe_field(struct json_object *fields, const char *name,
			   const char *type, uint64_t size)
{
	struct json_object *f = json_add_object(fields);

	return f && json_set_str(f, "name", name) &&
	       json_set_str(f, "type", type) && json_set_int(f, "size", size);
}

/* Without it analyze-migration.py would not see the capabilities. */
static bool describe_configuration(struct json_object *c,
				   const struct mram_layout *l)
{
	struct json_object *fields, *subs, *caps;

	if (!json_set_str(c, "vmsd_name", "configuration") ||
	    !json_set_int(c, "version", 1))
		return false;
	fields = json_add_array(c, "fields");
	if (!fields || !describe_field(fields, "len", "uint32", 4) ||
	    !describe_field(fields, "name", "buffer", strlen(l->machine)))
		return false;

	subs = json_add_array(c, "subsections");
	caps = subs ? json_add_object(subs) : NULL;
	if (!caps || !json_set_str(caps, "vmsd_name", MRAM_SUB_CAPABILITIES) ||
	    !json_set_int(caps, "version", 1))
		return false;
	fields = json_add_array(caps, "fields");
	return fields && describe_field(fields, "caps_count", "uint32", 4) &&
	       describe_field(fields, "capabilities", "capability",
			      1 + strlen(MRAM_CAP_MAPPED_RAM));
}

static bool describe_sections(struct json_object *devices,
			      const struct mram_section *s, size_t nr)
{
	struct json_object *d, *fields;
	size_t i;

	for (i = 0; i < nr; i++, s++) {
		d = json_add_object(devices);
		if (!d || !json_set_str(d, "name", s->name) ||
		    !json_set_int(d, "instance_id", s->instance) ||
		    !json_set_str(d, "vmsd_name", s->name) ||
		    !json_set_int(d, "version", s->version))
			return false;
		fields = json_add_array(d, "fields");
		if (!fields ||
		    !describe_field(fields, "data", "buffer", s->length))
			return false;
	}
	return true;
}

static int put_description(struct mram_buf *b, const struct mram_layout *l,
			   const struct mram_section *s, size_t nr,
			   struct mram_error *err)
{
	struct json_object *top = json_object_new_object(), *c, *devices;
	const char *text = NULL;
	size_t length = 0;
	int ret = 0;

	if (!top)
		goto no_memory;
	c = json_object_new_object();
	if (!json_set(top, "configuration", c) ||
	    !describe_configuration(c, l) ||
	    !json_set_int(top, "page_size", l->blocks[0].page_size))
		goto no_memory;
	devices = json_add_array(top, "devices");
	if (!devices || !describe_sections(devices, s, nr))
		goto no_memory;
	text = json_object_to_json_string_length(top, JSON_C_TO_STRING_PLAIN |
						 JSON_C_TO_STRING_NOSLASHESCAPE,
						 &length);
	if (!text)
		goto no_memory;
	if (length > MRAM_DESCRIPTION_MAX) {
		ret = mram_err(err, -EFBIG,
			       "%zu sections are too many to describe", nr);
		goto out;
	}
	put_u8(b, MRAM_VM_DESCRIPTION);
	put_be32(b, (uint32_t)length);
	mram_buf_put(b, text, length);
	goto out;

no_memory:
	ret = mram_err(err, -ENOMEM, "no memory for the JSON description");
out:
	json_object_put(top);
	return ret;
}

static int check_sections(const struct mram_section *s, size_t nr,
			  struct mram_error *err)
{
	uint64_t sum = 0;
	size_t i;
	int ret;

	for (i = 0; i < nr; i++, s++) {
		ret = mram_name_check("section name", s->name, strlen(s->name),
				      err);
		if (ret)
			return ret;
		if (s->length > MRAM_STATE_MAX || sum > MRAM_STATE_MAX - s->length)
			return mram_err(err, -EFBIG,
					"section '%s': with its %zu bytes the device state is longer than %u",
					s->name, s->length, MRAM_STATE_MAX);
		sum += s->length;
	}
	return 0;
}

int mram_stream_tail(struct mram_buf *b, const struct mram_layout *l,
		     const struct mram_section *sections, size_t nr,
		     struct mram_error *err)
{
	int ret;

	ret = check_sections(sections, nr, err);
	if (ret)
		return ret;

	put_be64(b, MRAM_RAM_FLAG_EOS);
	put_footer(b, ram_id(l));
	put_u8(b, MRAM_VM_SECTION_END);
	put_be32(b, ram_id(l));
	put_be64(b, MRAM_RAM_FLAG_EOS);
	put_footer(b, ram_id(l));
	if (l->foreign) {
		mram_buf_put(b, l->foreign->state, l->foreign->state_length);
		return buf_done(b, "the stream's tail", err);
	}
	put_sections(b, sections, nr);
	put_u8(b, MRAM_VM_EOF);
	ret = put_description(b, l, sections, nr, err);
	if (ret)
		return ret;
	return buf_done(b, "the stream's tail", err);
}
