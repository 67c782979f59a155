// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Taking apart the stream in which QEMU hands its device state over: the
 * configuration, the list of blocks, and what follows the memory. The pages in
 * between are qemu_records.c's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "format.h"
#include "qemu_records.h"

#define CAP_IGNORE_SHARED	"x-ignore-shared"
#define PAGE_BITS		12

static int bad(const struct qemu_reader *r, struct mram_error *err,
	       const char *what)
{
	return mram_err(err, -EPROTO,
			"QEMU's device state, byte %zu: %s is not as expected",
			r->at, r->cut ? "the end" : what);
}

const uint8_t *qemu_read(struct qemu_reader *r, size_t length)
{
	const uint8_t *p = r->data + r->at;

	if (r->cut || length > r->end - r->at) {
		r->cut = true;
		return NULL;
	}
	r->at += length;
	return p;
}

uint64_t qemu_read_be(struct qemu_reader *r, size_t length)
{
	const uint8_t *p = qemu_read(r, length);
	uint64_t v = 0;

	while (p && length--)
		v = v << 8 | *p++;
	return v;
}

void qemu_read_name(struct qemu_reader *r, char *name)
{
	size_t length = (size_t)qemu_read_be(r, 1);
	const uint8_t *p = qemu_read(r, length);

	if (!p)
		length = 0;
	else
		memcpy(name, p, length);
	name[length] = '\0';
}

static void put_be(struct mram_buf *b, uint64_t v, unsigned int length)
{
	uint8_t byte;

	while (length--) {
		byte = (uint8_t)(v >> 8 * length);
		mram_buf_put(b, &byte, 1);
	}
}

static void put_name(struct mram_buf *b, const char *name)
{
	put_be(b, strlen(name), 1);
	mram_buf_put(b, name, strlen(name));
}

/* ---------------------------------------------------------- configuration */

static int parse_capabilities(struct qemu_stream *s, struct qemu_reader *r,
			      struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint64_t nr = qemu_read_be(r, 4), i;

	for (i = 0; i < nr && !r->cut; i++) {
		qemu_read_name(r, name);
		if (!r->cut && strcmp(name, CAP_IGNORE_SHARED))
			return mram_err(err, -EOPNOTSUPP,
					"QEMU's device state was written with the capability '%s'",
					name);
	}
	if (r->cut || nr != 1)
		return bad(r, err, "the list of capabilities");
	put_name(&s->config, MRAM_SUB_CAPABILITIES);
	put_be(&s->config, 1, 4);
	put_be(&s->config, 1, 4);
	put_name(&s->config, MRAM_CAP_MAPPED_RAM);
	return 0;
}

static int parse_subsection(struct qemu_stream *s, struct qemu_reader *r,
			    bool *mapped_ram, struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	const uint8_t *value;
	size_t length;

	qemu_read_name(r, name);
	if (qemu_read_be(r, 4) != 1)
		return bad(r, err, "the version of a subsection");
	put_be(&s->config, MRAM_VM_SUBSECTION, 1);
	if (!strcmp(name, MRAM_SUB_CAPABILITIES)) {
		*mapped_ram = true;
		return parse_capabilities(s, r, err);
	}
	if (!strcmp(name, MRAM_SUB_PAGE_BITS))
		length = 4;
	else if (!strcmp(name, MRAM_SUB_UUID))
		length = 16;
	else
		return mram_err(err, -EOPNOTSUPP,
				"QEMU's configuration has an unknown subsection '%s'",
				name);
	value = qemu_read(r, length);
	if (!value || (length == 4 && value[3] != PAGE_BITS))
		return bad(r, err, "the page size");
	put_name(&s->config, name);
	put_be(&s->config, 1, 4);
	mram_buf_put(&s->config, value, length);
	return 0;
}

/* Leaves @type at the first byte behind the configuration. */
static int parse_configuration(struct qemu_stream *s, struct qemu_reader *r,
			       uint8_t *type, struct mram_error *err)
{
	bool mapped_ram = false;
	const uint8_t *name;
	uint64_t length;
	int ret;

	if (qemu_read_be(r, 4) != MRAM_MAGIC ||
	    qemu_read_be(r, 4) != MRAM_STREAM_VERSION ||
	    qemu_read_be(r, 1) != MRAM_VM_CONFIGURATION)
		return bad(r, err, "the start");
	length = qemu_read_be(r, 4);
	name = length <= MRAM_NAME_MAX ? qemu_read(r, length) : NULL;
	if (!name)
		return bad(r, err, "the machine's name");
	put_be(&s->config, MRAM_VM_CONFIGURATION, 1);
	put_be(&s->config, length, 4);
	mram_buf_put(&s->config, name, length);
	while ((*type = (uint8_t)qemu_read_be(r, 1)) == MRAM_VM_SUBSECTION) {
		ret = parse_subsection(s, r, &mapped_ram, err);
		if (ret)
			return ret;
	}
	if (!mapped_ram)
		return bad(r, err, "a configuration without capabilities");
	if (s->config.failed)
		return mram_err(err, -ENOMEM, "no memory for a configuration");
	return 0;
}

/* ------------------------------------------------------------------ blocks */

static int add_block(struct qemu_stream *s, const char *name, uint64_t length,
		     struct mram_error *err)
{
	struct qemu_block *grown;
	int ret;

	ret = mram_name_check("block name", name, strlen(name), err);
	if (ret)
		return ret;
	grown = reallocarray(s->blocks, s->nr + 1, sizeof(*grown));
	if (!grown)
		return mram_err(err, -ENOMEM, "no memory for a block");
	s->blocks = grown;
	grown[s->nr] = (struct qemu_block){
		.name = strdup(name),
		.length = length,
	};
	if (!grown[s->nr].name)
		return mram_err(err, -ENOMEM, "no memory for a block");
	s->nr++;
	return 0;
}

static int parse_blocks(struct qemu_stream *s, struct qemu_reader *r,
			struct mram_error *err)
{
	uint64_t total = qemu_read_be(r, 8), length;
	char name[MRAM_NAME_MAX + 1];
	int ret;

	if ((total & (MRAM_PAGE_SIZE_MIN - 1)) != MRAM_RAM_FLAG_MEM_SIZE)
		return bad(r, err, "the start of the memory");
	total -= MRAM_RAM_FLAG_MEM_SIZE;
	while (total) {
		qemu_read_name(r, name);
		length = qemu_read_be(r, 8);
		qemu_read_be(r, 8);	/* the guest's address */
		if (r->cut || !length || length > total ||
		    length % MRAM_PAGE_SIZE_MIN || s->nr >= MRAM_BLOCKS_MAX)
			return bad(r, err, "the list of blocks");
		ret = add_block(s, name, length, err);
		if (ret)
			return ret;
		total -= length;
	}
	return 0;
}

static int parse_ram_start(struct qemu_stream *s, struct qemu_reader *r,
			   uint8_t type, uint32_t *id, struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];

	*id = (uint32_t)qemu_read_be(r, 4);
	qemu_read_name(r, name);
	if (r->cut || (type != MRAM_VM_SECTION_START &&
		       type != MRAM_VM_SECTION_FULL))
		return bad(r, err, "the first section");
	/* An image has nothing but memory there: all else has another place. */
	if (type != MRAM_VM_SECTION_START || strcmp(name, MRAM_RAM_NAME))
		return mram_err(err, -EOPNOTSUPP,
				"QEMU has '%s' to write before the memory, which cannot be in an image",
				name);
	if (qemu_read_be(r, 4) != 0 || qemu_read_be(r, 4) != MRAM_RAM_VERSION)
		return bad(r, err, "the version of the memory");
	return parse_blocks(s, r, err);
}

/* Parts of the memory up to its end; another live section would come between. */
static int parse_parts(struct qemu_stream *s, struct qemu_reader *r,
		       uint32_t id, struct mram_error *err)
{
	uint8_t type = MRAM_VM_SECTION_START;
	int ret;

	for (;;) {
		ret = qemu_parse_records(s, r, err);
		if (ret)
			return ret;
		if (qemu_read_be(r, 1) != MRAM_VM_SECTION_FOOTER ||
		    qemu_read_be(r, 4) != id)
			return bad(r, err, "the end of a part of the memory");
		if (type == MRAM_VM_SECTION_END)
			return 0;
		while ((type = (uint8_t)qemu_read_be(r, 1)) == MRAM_VM_COMMAND)
			if (qemu_read_be(r, 2) != MRAM_CMD_SWITCHOVER_START ||
			    qemu_read_be(r, 2) != 0)
				return bad(r, err, "a command");
		if (r->cut || (type != MRAM_VM_SECTION_PART &&
			       type != MRAM_VM_SECTION_END) ||
		    qemu_read_be(r, 4) != id)
			return bad(r, err, "a part of the memory");
	}
}

int qemu_stream_parse(struct qemu_stream *s, const uint8_t *data,
		      size_t length, struct mram_error *err)
{
	struct qemu_reader r = { .data = data, .end = length };
	uint8_t type = 0;
	uint32_t id = 0;
	int ret;

	ret = parse_configuration(s, &r, &type, err);
	if (!ret)
		ret = parse_ram_start(s, &r, type, &id, err);
	if (!ret)
		ret = parse_parts(s, &r, id, err);
	if (!ret)
		ret = qemu_check_records(s, err);
	if (ret)
		return ret;
	if (r.at >= length || (data[length - 1] != '}' &&
			       data[length - 1] != MRAM_VM_EOF))
		return bad(&r, err, "what follows the memory");
	s->foreign = (struct mram_foreign){
		.config = s->config.data,
		.config_length = s->config.length,
		.state = data + r.at,
		.state_length = length - r.at,
		/* It promises a description. */
		.ram_id = data[length - 1] == '}' ? MRAM_SECTION_ID_RAM : id,
	};
	return 0;
}

void qemu_stream_free(struct qemu_stream *s)
{
	size_t i;

	for (i = 0; i < s->nr; i++) {
		free(s->blocks[i].name);
		if (s->blocks[i].data)
			munmap(s->blocks[i].data, s->blocks[i].length);
		free(s->blocks[i].there);
		free(s->blocks[i].seen);
	}
	free(s->blocks);
	mram_buf_free(&s->config);
	memset(s, 0, sizeof(*s));
}
