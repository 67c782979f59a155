/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Big-endian integers in byte buffers of any alignment.
 */
#ifndef MRAM_BE_H
#define MRAM_BE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t mram_get_be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t mram_get_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t mram_get_be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

#endif /* MRAM_BE_H */
