// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading an image up to the end of its RAM section, believing nothing: what
 * stands around the blocks' records.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "error.h"
#include "format.h"
#include "image_priv.h"
#include "layout.h"

/* More than QEMU has, so that a bad number is told from a long list. */
#define CAPABILITIES_MAX	64U

/* Subsections of the configuration that were seen. */
enum { CAPABILITIES = 1, PAGE_BITS = 2, UUID = 4 };

static int check_committed(struct mram_cursor *c, struct mram_error *err)
{
	uint8_t first[MRAM_FIRST_BLOCK];
	size_t n = sizeof(first), i;
	uint64_t start = c->pos;
	int ret;

	if (!c->end)
		return mram_err(err, -ENODATA,
				"the file is empty: no image was committed to it");
	if (start >= c->end)
		return mram_err(err, -ENODATA,
				"the file ends at 0x%llx: no image was committed at offset 0x%llx",
				(unsigned long long)c->end,
				(unsigned long long)start);
	if (n > c->end - start)
		n = (size_t)(c->end - start);
	ret = mram_cursor_get(c, first, n, "first block", err);
	if (ret)
		return ret;
	c->pos = start;
	for (i = 0; i < n; i++)
		if (first[i])
			return 0;
	if (start)
		return mram_err(err, -ENODATA,
				"%zu bytes at offset 0x%llx are zero: no image was committed",
				n, (unsigned long long)start);
	return mram_err(err, -ENODATA,
			"the first %zu bytes are zero: no image was committed", n);
}

static int parse_magic(struct mram_cursor *c, struct mram_error *err)
{
	uint64_t at = c->pos;
	uint32_t magic;
	int ret;

	mram_cursor_where(c, "start of the stream");
	ret = check_committed(c, err);
	if (!ret)
		ret = mram_cursor_be32(c, &magic, "magic", err);
	if (!ret && magic != MRAM_MAGIC)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "magic is 0x%08x, expected 0x%08x: not an image",
				      magic, MRAM_MAGIC);
	if (!ret)
		ret = mram_cursor_expect(c, MRAM_STREAM_VERSION,
					 "version of the stream", err);
	return ret;
}

/* ---------------------------------------------------------- configuration */

static int parse_capabilities(struct mram_cursor *c, bool *mapped_ram,
			      struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint64_t at = c->pos;
	uint32_t nr;
	int ret;

	ret = mram_cursor_be32(c, &nr, "number of capabilities", err);
	if (!ret && nr > CAPABILITIES_MAX)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "%u capabilities, expected at most %u",
				      nr, CAPABILITIES_MAX);
	for (; !ret && nr; nr--) {
		at = c->pos;
		ret = mram_cursor_name(c, name, "capability", err);
		if (ret)
			break;
		if (strcmp(name, MRAM_CAP_MAPPED_RAM))
			ret = mram_cursor_err(c, err, -EOPNOTSUPP, at,
					      "capability '%s' is on, expected only '%s'",
					      name, MRAM_CAP_MAPPED_RAM);
		else if (*mapped_ram)
			ret = mram_cursor_err(c, err, -EINVAL, at,
					      "capability '%s' is there twice",
					      name);
		*mapped_ram = true;
	}
	return ret;
}

static int parse_page_bits(struct mram_image *img, struct mram_cursor *c,
			   struct mram_error *err)
{
	uint64_t at = c->pos;
	uint32_t bits;
	int ret;

	ret = mram_cursor_be32(c, &bits, "target page bits", err);
	if (ret)
		return ret;
	if (bits >= 32 || (1U << bits) < MRAM_PAGE_SIZE_MIN ||
	    (1U << bits) > MRAM_PAGE_SIZE_MAX)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "target page bits is %u, expected 12 to 21",
				       bits);
	img->target_page_size = UINT64_C(1) << bits;
	return 0;
}

static int parse_subsection(struct mram_image *img, struct mram_cursor *c,
			    unsigned int *seen, struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint64_t at = c->pos;
	bool mapped_ram = false;
	unsigned int which;
	uint8_t uuid[16];
	int ret;

	ret = mram_cursor_name(c, name, "name of a subsection", err);
	if (ret)
		return ret;
	if (!strcmp(name, MRAM_SUB_CAPABILITIES))
		which = CAPABILITIES;
	else if (!strcmp(name, MRAM_SUB_PAGE_BITS))
		which = PAGE_BITS;
	else if (!strcmp(name, MRAM_SUB_UUID))
		which = UUID;
	else
		return mram_cursor_err(c, err, -EOPNOTSUPP, at,
				       "unknown subsection '%s'", name);
	if (*seen & which)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "subsection '%s' is there twice", name);

	ret = mram_cursor_expect(c, 1, "version of the subsection", err);
	if (ret)
		return ret;
	*seen |= which;
	if (which == PAGE_BITS)
		return parse_page_bits(img, c, err);
	if (which == UUID)
		return mram_cursor_get(c, uuid, sizeof(uuid), "uuid", err);
	ret = parse_capabilities(c, &mapped_ram, err);
	/* One with none in it is as good as none. */
	if (!ret && !mapped_ram)
		*seen &= ~(unsigned int)CAPABILITIES;
	return ret;
}

/* Leaves @c behind the type byte that ends the configuration, and tells it. */
static int parse_configuration(struct mram_image *img, struct mram_cursor *c,
			       uint8_t *next, struct mram_error *err)
{
	char machine[MRAM_NAME_MAX + 1];
	unsigned int seen = 0;
	struct mram_error why;
	uint64_t at = c->pos;
	uint32_t length;
	int ret;

	mram_cursor_where(c, "configuration");
	ret = mram_cursor_u8(c, next, "configuration", err);
	if (ret)
		return ret;
	if (*next != MRAM_VM_CONFIGURATION)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "found byte 0x%02x, expected the configuration (0x%02x): not a mapped-ram image",
				       *next, MRAM_VM_CONFIGURATION);
	at = c->pos;
	ret = mram_cursor_be32(c, &length, "length of the machine name", err);
	if (!ret && length > MRAM_NAME_MAX)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "machine name of %u bytes, expected at most %u",
				      length, MRAM_NAME_MAX);
	if (!ret)
		ret = mram_cursor_get(c, machine, length, "machine name", err);
	if (ret)
		return ret;
	machine[length] = '\0';
	ret = mram_name_check("machine name", machine, length, &why);
	if (ret)
		return mram_cursor_err(c, err, ret, at, "%s", why.message);
	img->machine = strdup(machine);
	if (!img->machine)
		return mram_err(err, -ENOMEM, "no memory for a name");

	for (;;) {
		at = c->pos;
		ret = mram_cursor_u8(c, next, "next section", err);
		if (ret || *next != MRAM_VM_SUBSECTION)
			break;
		ret = parse_subsection(img, c, &seen, err);
		if (ret)
			break;
	}
	if (!ret && !(seen & CAPABILITIES))
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "capability '%s' is not on: not a mapped-ram image",
				      MRAM_CAP_MAPPED_RAM);
	return ret;
}

/* ------------------------------------------------------------- RAM section */

static int parse_ram_start(struct mram_image *img, struct mram_cursor *c,
			   uint8_t type, uint64_t *total,
			   struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint64_t at = c->pos - 1;
	int ret;

	mram_cursor_where(c, "start of the RAM section");
	if (type != MRAM_VM_SECTION_START && type != MRAM_VM_SECTION_FULL)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "found byte 0x%02x, expected the start of a section (0x%02x)",
				       type, MRAM_VM_SECTION_START);
	ret = mram_cursor_be32(c, &img->ram_id, "section id", err);
	if (!ret)
		ret = mram_cursor_name(c, name, "section name", err);
	if (ret)
		return ret;
	if (type != MRAM_VM_SECTION_START || strcmp(name, MRAM_RAM_NAME))
		return mram_cursor_err(c, err, -EOPNOTSUPP, at,
				       "section '%s' stands before the memory, expected the start of '%s'",
				       name, MRAM_RAM_NAME);
	ret = mram_cursor_expect(c, 0, "instance of the RAM section", err);
	if (!ret)
		ret = mram_cursor_expect(c, MRAM_RAM_VERSION,
					 "version of the RAM section", err);
	at = c->pos;
	if (!ret)
		ret = mram_cursor_be64(c, total, "total length", err);
	if (ret)
		return ret;
	if ((*total & (MRAM_PAGE_SIZE_MIN - 1)) != MRAM_RAM_FLAG_MEM_SIZE)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "total length and flags are 0x%llx, expected flags 0x%03x",
				       (unsigned long long)*total,
				       MRAM_RAM_FLAG_MEM_SIZE);
	*total &= ~(uint64_t)(MRAM_PAGE_SIZE_MIN - 1);
	return 0;
}

/* What ends the start, each iteration and the end of the RAM section. */
static int parse_ram_stop(struct mram_image *img, struct mram_cursor *c,
			  struct mram_error *err)
{
	uint64_t at = c->pos, word;
	int ret;

	ret = mram_cursor_be64(c, &word, "end of the memory", err);
	if (!ret && word != MRAM_RAM_FLAG_EOS)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "found 0x%llx, expected 0x%02x: nothing but pages at fixed offsets",
				      (unsigned long long)word,
				      MRAM_RAM_FLAG_EOS);
	if (!ret)
		ret = mram_cursor_footer(c, img->ram_id, err);
	return ret;
}

static int parse_ram_end(struct mram_image *img, struct mram_cursor *c,
			 struct mram_error *err)
{
	uint64_t at;
	uint8_t type;
	int ret;

	mram_cursor_where(c, "RAM section");
	ret = parse_ram_stop(img, c, err);
	while (!ret) {
		at = c->pos;
		ret = mram_cursor_u8(c, &type, "end of the RAM section", err);
		if (ret)
			break;
		if (type == MRAM_VM_COMMAND) {
			ret = mram_cursor_command(c, err);
			continue;
		}
		if (type != MRAM_VM_SECTION_PART &&
		    type != MRAM_VM_SECTION_END)
			return mram_cursor_err(c, err, -EINVAL, at,
					       "found byte 0x%02x, expected the end of the RAM section (0x%02x)",
					       type, MRAM_VM_SECTION_END);
		ret = mram_cursor_expect(c, img->ram_id, "section id", err);
		if (!ret)
			ret = parse_ram_stop(img, c, err);
		if (type == MRAM_VM_SECTION_END)
			break;
	}
	return ret;
}

int mram_parse(struct mram_image *img, struct mram_error *err)
{
	struct mram_cursor c;
	uint64_t total;
	uint8_t type;
	int ret;

	mram_cursor_init(&c, img->io, img->file_size, img->start);
	ret = parse_magic(&c, err);
	if (!ret)
		ret = parse_configuration(img, &c, &type, err);
	if (!ret)
		ret = parse_ram_start(img, &c, type, &total, err);
	if (!ret)
		ret = mram_parse_blocks(img, &c, total, err);
	if (!ret)
		ret = parse_ram_end(img, &c, err);
	img->state_offset = c.pos;
	return ret;
}
