// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The stream's bytes around bitmaps and pages: see stream.h.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format.h"
#include "stream.h"

/* Enough for the ends of most images, so that they are not moved around. */
#define BUF_MIN		1024

static bool grow(struct mram_buf *b, size_t length)
{
	size_t need, capacity = b->capacity ? b->capacity : BUF_MIN;
	void *p = NULL;

	if (__builtin_add_overflow(b->length, length, &need))
		return false;
	while (capacity < need)
		if (__builtin_mul_overflow(capacity, 2, &capacity))
			capacity = need;
	if (b->align <= sizeof(void *)) {
		p = realloc(b->data, capacity);
	} else if (!posix_memalign(&p, b->align, capacity)) {
		if (b->length)
			memcpy(p, b->data, b->length);
		free(b->data);
	}
	if (!p)
		return false;
	b->data = p;
	b->capacity = capacity;
	return true;
}

uint8_t *mram_buf_room(struct mram_buf *b, size_t length)
{
	if (b->failed)
		return NULL;
	if (length > b->capacity - b->length && !grow(b, length)) {
		b->failed = true;
		return NULL;
	}
	return b->data + b->length;
}

void mram_buf_put(struct mram_buf *b, const void *data, size_t length)
{
	uint8_t *to = length ? mram_buf_room(b, length) : NULL;

	if (!to)
		return;
	memcpy(to, data, length);
	b->length += length;
}

void mram_buf_pad(struct mram_buf *b, size_t size)
{
	size_t rest = -b->length & (size - 1);
	uint8_t *to = rest ? mram_buf_room(b, rest) : NULL;

	if (!to)
		return;
	memset(to, 0, rest);
	b->length += rest;
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

/* ------------------------------------- the description, which is JSON text */

static void put_text(struct mram_buf *b, const char *text)
{
	mram_buf_put(b, text, strlen(text));
}

/* There are no control characters in names, see mram_name_check(). */
static void put_string(struct mram_buf *b, const char *s)
{
	size_t plain;

	put_u8(b, '"');
	while (*s) {
		for (plain = 0; s[plain]; plain++)
			if (s[plain] == '"' || s[plain] == '\\')
				break;
		mram_buf_put(b, s, plain);
		s += plain;
		if (*s) {
			put_u8(b, '\\');
			put_u8(b, (uint8_t)*s++);
		}
	}
	put_u8(b, '"');
}

static void put_number(struct mram_buf *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	mram_buf_put(b, text + at, sizeof(text) - at);
}

/* Without it analyze-migration.py would not see the capabilities. */
static void describe_configuration(struct mram_buf *b,
				   const struct mram_layout *l)
{
	put_text(b, "\"configuration\":{\"vmsd_name\":\"configuration\",\"version\":1,\"fields\":["
		    "{\"name\":\"len\",\"type\":\"uint32\",\"size\":4},"
		    "{\"name\":\"name\",\"type\":\"buffer\",\"size\":");
	put_number(b, strlen(l->machine));
	put_text(b, "}],\"subsections\":[{\"vmsd_name\":\"" MRAM_SUB_CAPABILITIES
		    "\",\"version\":1,\"fields\":["
		    "{\"name\":\"caps_count\",\"type\":\"uint32\",\"size\":4},"
		    "{\"name\":\"capabilities\",\"type\":\"capability\",\"size\":");
	put_number(b, 1 + strlen(MRAM_CAP_MAPPED_RAM));
	put_text(b, "}]}]}");
}

static void describe_section(struct mram_buf *b, const struct mram_section *s)
{
	put_text(b, "{\"name\":");
	put_string(b, s->name);
	put_text(b, ",\"instance_id\":");
	put_number(b, s->instance);
	put_text(b, ",\"vmsd_name\":");
	put_string(b, s->name);
	put_text(b, ",\"version\":");
	put_number(b, s->version);
	put_text(b, ",\"fields\":[{\"name\":\"data\",\"type\":\"buffer\",\"size\":");
	put_number(b, s->length);
	put_text(b, "}]}");
}

static int put_description(struct mram_buf *b, const struct mram_layout *l,
			   const struct mram_section *s, size_t nr,
			   struct mram_error *err)
{
	size_t start, length, i;
	uint32_t be;

	put_u8(b, MRAM_VM_DESCRIPTION);
	put_be32(b, 0);
	start = b->length;
	put_text(b, "{");
	describe_configuration(b, l);
	put_text(b, ",\"page_size\":");
	put_number(b, l->blocks[0].page_size);
	put_text(b, ",\"devices\":[");
	for (i = 0; i < nr; i++) {
		if (i)
			put_text(b, ",");
		describe_section(b, &s[i]);
	}
	put_text(b, "]}");
	if (b->failed)
		return 0;
	length = b->length - start;
	if (length > MRAM_DESCRIPTION_MAX)
		return mram_err(err, -EFBIG,
				"%zu sections are too many to describe", nr);
	be = htobe32((uint32_t)length);
	memcpy(b->data + start - sizeof(be), &be, sizeof(be));
	return 0;
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
