// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading a stream of unknown goodness: see cursor.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "be.h"
#include "cursor.h"
#include "error.h"
#include "layout.h"

void mram_cursor_init(struct mram_cursor *c, struct mram_io *io, uint64_t end,
		      uint64_t pos)
{
	c->io = io;
	c->end = end;
	c->pos = pos;
	c->where[0] = '\0';
	c->start = 0;
	c->filled = 0;
}

void mram_cursor_where(struct mram_cursor *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->where, sizeof(c->where), fmt, ap);
	va_end(ap);
}

int mram_cursor_err(const struct mram_cursor *c, struct mram_error *err,
		    int code, uint64_t offset, const char *fmt, ...)
{
	char text[sizeof(err->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return mram_err(err, code, "%s, offset 0x%llx: %s", c->where,
			(unsigned long long)offset, text);
}

/* Makes [c->pos, c->pos + length) part of the window; both were checked. */
static int fill(struct mram_cursor *c, size_t length, struct mram_error *err)
{
	size_t n = MRAM_CURSOR_WINDOW;
	int ret;

	if (c->pos >= c->start && c->pos - c->start <= c->filled &&
	    length <= c->filled - (size_t)(c->pos - c->start))
		return 0;
	if (n > c->end - c->pos)
		n = (size_t)(c->end - c->pos);
	c->filled = 0;
	ret = mram_io_read(c->io, c->pos, c->window, n, err);
	/* It was longer when it was opened. */
	if (ret == -ENODATA)
		return mram_cursor_err(c, err, -EINVAL, c->pos,
				       "the file became shorter meanwhile");
	if (ret)
		return ret;
	c->start = c->pos;
	c->filled = n;
	return 0;
}

int mram_cursor_get(struct mram_cursor *c, void *to, size_t length,
		    const char *what, struct mram_error *err)
{
	uint8_t *p = to;
	size_t part;
	int ret;

	if (c->pos > c->end || length > c->end - c->pos)
		return mram_cursor_err(c, err, -EINVAL, c->pos,
				       "expected %zu bytes (%s), found the file's end at 0x%llx",
				       length, what,
				       (unsigned long long)c->end);
	for (; length; p += part, length -= part, c->pos += part) {
		part = length < MRAM_CURSOR_WINDOW ? length :
						     MRAM_CURSOR_WINDOW;
		ret = fill(c, part, err);
		if (ret)
			return ret;
		memcpy(p, c->window + (c->pos - c->start), part);
	}
	return 0;
}

int mram_cursor_u8(struct mram_cursor *c, uint8_t *v, const char *what,
		   struct mram_error *err)
{
	return mram_cursor_get(c, v, sizeof(*v), what, err);
}

int mram_cursor_be16(struct mram_cursor *c, uint16_t *v, const char *what,
		     struct mram_error *err)
{
	int ret = mram_cursor_get(c, v, sizeof(*v), what, err);

	if (!ret)
		*v = mram_get_be16(v);
	return ret;
}

int mram_cursor_be32(struct mram_cursor *c, uint32_t *v, const char *what,
		     struct mram_error *err)
{
	int ret = mram_cursor_get(c, v, sizeof(*v), what, err);

	if (!ret)
		*v = mram_get_be32(v);
	return ret;
}

int mram_cursor_be64(struct mram_cursor *c, uint64_t *v, const char *what,
		     struct mram_error *err)
{
	int ret = mram_cursor_get(c, v, sizeof(*v), what, err);

	if (!ret)
		*v = mram_get_be64(v);
	return ret;
}

int mram_cursor_expect(struct mram_cursor *c, uint32_t want, const char *what,
		       struct mram_error *err)
{
	uint64_t at = c->pos;
	uint32_t v;
	int ret;

	ret = mram_cursor_be32(c, &v, what, err);
	if (!ret && v != want)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "%s is %u, expected %u", what, v, want);
	return ret;
}

int mram_cursor_name(struct mram_cursor *c, char name[MRAM_NAME_MAX + 1],
		     const char *what, struct mram_error *err)
{
	struct mram_error why;
	uint64_t at = c->pos;
	uint8_t length;
	int ret;

	ret = mram_cursor_u8(c, &length, what, err);
	if (!ret)
		ret = mram_cursor_get(c, name, length, what, err);
	if (ret)
		return ret;
	name[length] = '\0';
	ret = mram_name_check(what, name, length, &why);
	if (ret)
		ret = mram_cursor_err(c, err, ret, at, "%s", why.message);
	return ret;
}

int mram_cursor_footer(struct mram_cursor *c, uint32_t id,
		       struct mram_error *err)
{
	uint64_t at = c->pos;
	uint8_t type;
	int ret;

	ret = mram_cursor_u8(c, &type, "section footer", err);
	if (!ret && type != MRAM_VM_SECTION_FOOTER)
		ret = mram_cursor_err(c, err, -EINVAL, at,
				      "found byte 0x%02x, expected a section footer (0x%02x)",
				      type, MRAM_VM_SECTION_FOOTER);
	if (!ret)
		ret = mram_cursor_expect(c, id, "section id of the footer",
					 err);
	return ret;
}

int mram_cursor_command(struct mram_cursor *c, struct mram_error *err)
{
	uint64_t at = c->pos;
	uint16_t command, length;
	int ret;

	ret = mram_cursor_be16(c, &command, "command", err);
	if (!ret)
		ret = mram_cursor_be16(c, &length, "length of a command", err);
	if (!ret && (command != MRAM_CMD_SWITCHOVER_START || length))
		ret = mram_cursor_err(c, err, -EOPNOTSUPP, at,
				      "command %u with %u bytes, expected none but %u with 0",
				      command, length,
				      MRAM_CMD_SWITCHOVER_START);
	return ret;
}
