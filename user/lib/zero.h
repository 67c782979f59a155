/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MRAM_ZERO_H
#define MRAM_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/**
 * zero_is - are @length bytes at @p all zero?
 * @p: a multiple of 64
 * @length: a multiple of 4096, not 0
 */
bool zero_is(const void *p, size_t length);

#endif /* MRAM_ZERO_H */
