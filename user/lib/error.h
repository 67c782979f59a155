/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the library's functions fail: a negative errno, and one line of words in
 * the caller's struct mram_error, if it gave one.
 */
#ifndef MRAM_ERROR_H
#define MRAM_ERROR_H

#include <mappedram.h>

/**
 * mram_err - say what went wrong
 * @err: where to; may be NULL
 * @code: a negative errno
 * @fmt: one line, no newline; name the region or block, offset and cause
 *
 * A message that does not fit is cut. Control characters are replaced, since
 * names in it may come from a file.
 *
 * Return: @code, so that callers can write return mram_err(...).
 */
int mram_err(struct mram_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* MRAM_ERROR_H */
