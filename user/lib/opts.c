// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Structs of the API that start with their size.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "opts.h"

/* No such struct has ever been shorter. */
#define MIN_SIZE	(sizeof(size_t) + 2 * sizeof(uint32_t))
/* A size beyond this was never set. */
#define MAX_SIZE	4096

int opts_get(void *to, size_t size, const void *from, const char *what,
	     struct mram_error *err)
{
	const unsigned char *bytes = from;
	size_t given, i;

	memset(to, 0, size);
	if (!from) {
		memcpy(to, &size, sizeof(size));
		return 0;
	}
	memcpy(&given, from, sizeof(given));
	if (given < MIN_SIZE || given > MAX_SIZE)
		return mram_err(err, -EINVAL,
				"%s: the options' size is %zu: use MRAM_OPTS()",
				what, given);
	for (i = size; i < given; i++)
		if (bytes[i])
			return mram_err(err, -E2BIG,
					"%s: an option that library version %s does not know",
					what, mram_version());
	memcpy(to, from, given < size ? given : size);
	memcpy(to, &size, sizeof(size));
	return 0;
}

void opts_put(void *to, const void *from, size_t size)
{
	size_t given;

	if (!to)
		return;
	memcpy(&given, to, sizeof(given));
	if (given < sizeof(given) || given > MAX_SIZE)
		return;
	memcpy((char *)to + sizeof(given), (const char *)from + sizeof(given),
	       (given < size ? given : size) - sizeof(given));
	if (given > size)
		memset((char *)to + size, 0, given - size);
}
