/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Structs of the API that start with their size, so that they can grow: what a
 * caller does not know is zero, what the library does not know must be zero.
 */
#ifndef MRAM_OPTS_H
#define MRAM_OPTS_H

#include <stddef.h>

#include <mappedram.h>

/**
 * opts_get - take in a caller's option struct
 * @to: the library's struct
 * @size: of it
 * @from: the caller's struct, or NULL for the defaults
 * @what: the call, for the message
 *
 * Return: 0; -EINVAL when the caller's size cannot be; -E2BIG when it sets
 * something that is newer than this library.
 */
int opts_get(void *to, size_t size, const void *from, const char *what,
	     struct mram_error *err);

/**
 * opts_put - hand out a struct
 * @to: the caller's struct; its size field says how much fits. May be NULL.
 * @size: of the library's struct, @from
 */
void opts_put(void *to, const void *from, size_t size);

#endif /* MRAM_OPTS_H */
