// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading the device state. A section does not say how long it is; only the
 * JSON description behind the stream's end does, and where that begins nobody
 * says either (a block device has no end of file that would tell). So it is
 * searched: wherever an end mark and a description seem to be, sections are
 * walked by that description, and it is the right one if the walk ends exactly
 * there.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "be.h"
#include "cursor.h"
#include "describe.h"
#include "error.h"
#include "format.h"
#include "image_priv.h"

/* End mark, description's mark, its length, its first character. */
#define MARK_SIZE	7U

/* A device's data may look like a mark by chance, but not often. */
#define CANDIDATES_MAX	64U

/*
 * Read at first, as a state is small more often than not, and at most. Twice as
 * much each time.
 */
#define SCAN_FIRST	0x10000U
#define SCAN_CHUNK	0x100000U

void mram_free_sections(struct mram_image *img)
{
	size_t i;

	for (i = 0; i < img->nr_sections; i++)
		free(img->sections[i].name);
	free(img->sections);
	img->sections = NULL;
	img->nr_sections = 0;
}

static struct mram_image_section *new_section(struct mram_image *img,
					      const char *name)
{
	struct mram_image_section *s;

	s = reallocarray(img->sections, img->nr_sections + 1, sizeof(*s));
	if (!s)
		return NULL;
	img->sections = s;
	s += img->nr_sections;
	memset(s, 0, sizeof(*s));
	s->name = strdup(name);
	if (!s->name)
		return NULL;
	img->nr_sections++;
	return s;
}

/*
 * One full section. Descriptions stand in the stream's order; @next is the
 * first one that was not used yet.
 */
static int walk_section(struct mram_image *img, struct mram_cursor *c,
			struct json_object *devices, size_t *next,
			struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	struct mram_image_section *s;
	struct json_object *device;
	uint64_t at = c->pos - 1;
	uint32_t id, instance, version;
	int ret;

	mram_cursor_where(c, "device state");
	ret = mram_cursor_be32(c, &id, "section id", err);
	if (!ret)
		ret = mram_cursor_name(c, name, "section name", err);
	if (ret)
		return ret;
	mram_cursor_where(c, "section '%s'", name);
	ret = mram_cursor_be32(c, &instance, "instance", err);
	if (!ret)
		ret = mram_cursor_be32(c, &version, "version", err);
	if (ret)
		return ret;

	device = mram_describe_find(devices, name, instance, next);
	if (!device)
		return mram_cursor_err(c, err, -EINVAL, at,
				       "instance %u is not in the description",
				       instance);
	s = new_section(img, name);
	if (!s)
		return mram_err(err, -ENOMEM, "no memory for a section");
	s->instance = instance;
	s->version = version;
	s->data_offset = c->pos;
	s->plain = mram_describe_plain(device);
	if (mram_describe_length(device, &s->length))
		return mram_cursor_err(c, err, -EINVAL, at,
				       "the description does not tell its length");
	if (s->length > c->end - c->pos)
		return mram_cursor_err(c, err, -EINVAL, c->pos,
				       "%llu bytes by the description, expected to end before the file's end at 0x%llx",
				       (unsigned long long)s->length,
				       (unsigned long long)c->end);
	c->pos += s->length;
	return mram_cursor_footer(c, id, err);
}

/* From the state's beginning to an end mark, which must be the one at @mark. */
static int walk(struct mram_image *img, struct json_object *devices,
		uint64_t mark, struct mram_error *err)
{
	struct mram_cursor c;
	size_t next = 0;
	uint64_t at;
	uint8_t type;
	int ret;

	mram_cursor_init(&c, img->io, img->file_size, img->state_offset);
	for (;;) {
		mram_cursor_where(&c, "device state");
		at = c.pos;
		ret = mram_cursor_u8(&c, &type, "next section", err);
		if (ret)
			return ret;
		switch (type) {
		case MRAM_VM_EOF:
			if (at == mark)
				return 0;
			return mram_cursor_err(&c, err, -EINVAL, at,
					       "an end mark, expected at 0x%llx before the description",
					       (unsigned long long)mark);
		case MRAM_VM_SECTION_FULL:
			ret = walk_section(img, &c, devices, &next, err);
			break;
		case MRAM_VM_COMMAND:
			ret = mram_cursor_command(&c, err);
			break;
		default:
			return mram_cursor_err(&c, err, -EINVAL, at,
					       "found byte 0x%02x, expected a full section (0x%02x) or the end (0x%02x)",
					       type, MRAM_VM_SECTION_FULL,
					       MRAM_VM_EOF);
		}
		if (ret)
			return ret;
	}
}

static int read_description(struct mram_image *img, uint64_t offset,
			    uint32_t length, struct json_object **top,
			    struct mram_error *err)
{
	char *text;
	int ret;

	*top = NULL;
	if (length > MRAM_DESCRIPTION_MAX ||
	    length > img->file_size - offset)
		return mram_err(err, -EINVAL,
				"description, offset 0x%llx: length %u, expected at most %u and to end before the file's end at 0x%llx",
				(unsigned long long)offset - 4, length,
				MRAM_DESCRIPTION_MAX,
				(unsigned long long)img->file_size);
	text = malloc(length);
	if (!text)
		return mram_err(err, -ENOMEM, "no memory for the description");
	ret = mram_io_read(img->io, offset, text, length, err);
	if (!ret) {
		*top = mram_describe_parse(text, length);
		if (!*top)
			ret = mram_err(err, -EINVAL,
				       "description, offset 0x%llx: not a JSON description of %u bytes",
				       (unsigned long long)offset, length);
	}
	free(text);
	return ret;
}

/*
 * Is the end mark at @mark the right one? -EINVAL and the like when not;
 * then nothing has changed but that @whole tells of a description that does
 * not fit, but ends where the file ends.
 */
static int try_mark(struct mram_image *img, uint64_t mark, uint32_t length,
		    bool *whole, struct mram_error *err)
{
	uint64_t text = mark + MARK_SIZE - 1;
	struct json_object *top, *devices;
	int ret;

	ret = read_description(img, text, length, &top, err);
	if (ret)
		return ret;
	if (text + length == img->file_size)
		*whole = true;
	devices = mram_describe_devices(top);
	if (devices)
		ret = walk(img, devices, mark, err);
	else
		ret = mram_err(err, -EINVAL,
			       "description, offset 0x%llx: no array 'devices'",
			       (unsigned long long)text);
	json_object_put(top);
	if (ret) {
		mram_free_sections(img);
		return ret;
	}
	img->end = text + length;
	img->sections_known = true;
	return 0;
}

/* The first mark in @n bytes from @at on, or @n when there is none. */
static size_t find_mark(const uint8_t *p, size_t at, size_t n)
{
	const uint8_t *hit;

	while (n - at >= MARK_SIZE) {
		hit = memchr(p + at + 1, MRAM_VM_DESCRIPTION,
			     n - at - (MARK_SIZE - 1));
		if (!hit)
			break;
		at = (size_t)(hit - 1 - p);
		if (p[at] == MRAM_VM_EOF && p[at + MARK_SIZE - 1] == '{')
			return at;
		at++;
	}
	return n;
}

/* Damage here may only mean that a place was the wrong one. */
static bool is_fatal(int ret)
{
	return ret && ret != -EINVAL && ret != -EOPNOTSUPP;
}

/* @why tells what was wrong with the first place that seemed to be the one. */
static int search(struct mram_image *img, uint64_t *stop, bool *whole,
		  struct mram_error *why)
{
	uint64_t at = img->state_offset, end = img->file_size, data;
	unsigned int candidates = 0;
	struct mram_error later;
	size_t n, i, step = SCAN_FIRST;
	uint8_t *chunk;
	int ret = -EINVAL;

	if (end - at > MRAM_STATE_MAX + (uint64_t)MRAM_DESCRIPTION_MAX)
		end = at + MRAM_STATE_MAX + MRAM_DESCRIPTION_MAX;
	*stop = end;
	chunk = malloc(SCAN_CHUNK);
	if (!chunk)
		return mram_err(why, -ENOMEM, "no memory to search the state");
	while (ret == -EINVAL && end - at >= MARK_SIZE) {
		/* A mark's first byte is zero, as a hole's last one. */
		data = mram_io_next_data(img->io, at, end);
		if (data - at > MARK_SIZE)
			at = data - MARK_SIZE;
		n = end - at < step ? (size_t)(end - at) : step;
		ret = mram_io_read(img->io, at, chunk, n, why);
		if (ret)
			break;
		ret = -EINVAL;
		for (i = find_mark(chunk, 0, n); i < n && ret == -EINVAL;
		     i = find_mark(chunk, i + 1, n)) {
			if (candidates++ >= CANDIDATES_MAX)
				goto out;
			ret = try_mark(img, at + i, mram_get_be32(chunk + i + 2),
				       whole, candidates == 1 ? why : &later);
			if (is_fatal(ret) && candidates > 1)
				*why = later;
			else if (ret && !is_fatal(ret))
				ret = -EINVAL;
		}
		at += n - (MARK_SIZE - 1);
		if (step < SCAN_CHUNK)
			step *= 2;
	}
out:
	free(chunk);
	return ret;
}

/* Does the file end with the footer of a section, and then the end mark? */
static bool ends_with_footer(const struct mram_image *img)
{
	uint8_t end[MRAM_FOOTER_SIZE + 1];

	return img->file_size - img->state_offset >= sizeof(end) &&
	       !mram_io_read(img->io, img->file_size - sizeof(end), end,
			     sizeof(end), NULL) &&
	       end[0] == MRAM_VM_SECTION_FOOTER &&
	       end[MRAM_FOOTER_SIZE] == MRAM_VM_EOF;
}

/*
 * Device state of another program, which is opaque without a description that
 * fits. Of a file we can still say whether it was cut: it ends with a whole
 * description, or, where QEMU was told to write none (suppress-vmdesc), with
 * the end mark.
 */
static int accept_opaque(struct mram_image *img, bool whole,
			 struct mram_error *err)
{
	uint64_t at = img->state_offset;
	uint8_t first;
	int ret;

	if (at >= img->file_size)
		return mram_err(err, -EINVAL,
				"device state, offset 0x%llx: the file ends here, expected at least an end mark",
				(unsigned long long)at);
	ret = mram_io_read(img->io, at, &first, 1, err);
	if (ret)
		return ret;
	img->end = img->file_size;
	if (first == MRAM_VM_EOF) {
		img->end = at + 1;
		img->sections_known = true;
		return 0;
	}
	if (first > MRAM_VM_SECTION_FULL && first != MRAM_VM_COMMAND)
		return mram_err(err, -EINVAL,
				"device state, offset 0x%llx: found byte 0x%02x, expected a section or the end",
				(unsigned long long)at, first);
	if (!img->io->is_block && !whole && !ends_with_footer(img))
		return mram_err(err, -EINVAL,
				"device state, offset 0x%llx: the file ends at 0x%llx, expected the end of a section or a whole description there: the file was cut",
				(unsigned long long)at,
				(unsigned long long)img->file_size);
	return 0;
}

int mram_parse_state(struct mram_image *img, struct mram_error *err)
{
	struct mram_error why = {0};
	bool whole = false;
	uint64_t stop;
	int ret;

	ret = search(img, &stop, &whole, &why);
	if (ret != -EINVAL) {
		if (ret && err)
			*err = why;
		return ret;
	}
	if (img->ram_id != MRAM_SECTION_ID_RAM)
		return accept_opaque(img, whole, err);
	if (!why.code)
		return mram_err(err, -EINVAL,
				"device state, offset 0x%llx: no end mark with a description up to 0x%llx: the image was cut",
				(unsigned long long)img->state_offset,
				(unsigned long long)stop);
	return mram_err(err, -EINVAL, "%s", why.message);
}
