/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a stream of unknown goodness: a position that moves over an image,
 * never behind its end, and errors that say where.
 */
#ifndef MRAM_CURSOR_H
#define MRAM_CURSOR_H

#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#include "format.h"
#include "io.h"

/* A small window: in an image of many blocks, records lie far apart. */
#define MRAM_CURSOR_WINDOW	4096U

/**
 * struct mram_cursor - where the reader stands
 * @io: the file
 * @end: its size
 * @pos: offset of the next byte
 * @where: what is being read, "block 'pc.ram'", for messages
 * @start: offset of @window's first byte
 * @filled: bytes of @window that are valid
 */
struct mram_cursor {
	struct mram_io *io;
	uint64_t end;
	uint64_t pos;
	char where[MRAM_NAME_MAX + 16];
	uint64_t start;
	size_t filled;
	uint8_t window[MRAM_CURSOR_WINDOW];
};

/** mram_cursor_init - start at @pos */
void mram_cursor_init(struct mram_cursor *c, struct mram_io *io, uint64_t end,
		      uint64_t pos);

/** mram_cursor_where - say what is read from here on */
void mram_cursor_where(struct mram_cursor *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * mram_cursor_err - say what is wrong
 * @offset: of the wrong thing
 *
 * Return: @code.
 */
int mram_cursor_err(const struct mram_cursor *c, struct mram_error *err,
		    int code, uint64_t offset, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/**
 * mram_cursor_get - the next @length bytes
 * @what: their name, for the message
 *
 * -EINVAL when the file ends before.
 */
int mram_cursor_get(struct mram_cursor *c, void *to, size_t length,
		    const char *what, struct mram_error *err);

int mram_cursor_u8(struct mram_cursor *c, uint8_t *v, const char *what,
		   struct mram_error *err);
int mram_cursor_be16(struct mram_cursor *c, uint16_t *v, const char *what,
		     struct mram_error *err);
int mram_cursor_be32(struct mram_cursor *c, uint32_t *v, const char *what,
		     struct mram_error *err);
int mram_cursor_be64(struct mram_cursor *c, uint64_t *v, const char *what,
		     struct mram_error *err);

/** mram_cursor_expect - a be32 that can only be @want */
int mram_cursor_expect(struct mram_cursor *c, uint32_t want, const char *what,
		       struct mram_error *err);

/** mram_cursor_name - a u8 length and that many bytes, checked as a name */
int mram_cursor_name(struct mram_cursor *c, char name[MRAM_NAME_MAX + 1],
		     const char *what, struct mram_error *err);

/** mram_cursor_footer - the end of section @id */
int mram_cursor_footer(struct mram_cursor *c, uint32_t id,
		       struct mram_error *err);

/** mram_cursor_command - behind its type byte; only start of switchover */
int mram_cursor_command(struct mram_cursor *c, struct mram_error *err);

#endif /* MRAM_CURSOR_H */
