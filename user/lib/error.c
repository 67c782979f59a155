// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Error messages, and the library's version.
 */
#include <stdarg.h>
#include <stdio.h>

#include "error.h"

#define MRAM_VERSION	"0.1.0"

const char *mram_version(void)
{
	return MRAM_VERSION;
}

int mram_err(struct mram_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	char *p;

	if (!err)
		return code;

	err->code = code;
	va_start(ap, fmt);
	if (vsnprintf(err->message, sizeof(err->message), fmt, ap) < 0)
		err->message[0] = '\0';
	va_end(ap);

	/* A name out of a damaged file must not play with the terminal. */
	for (p = err->message; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return code;
}
