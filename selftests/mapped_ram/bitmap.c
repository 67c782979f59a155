// SPDX-License-Identifier: GPL-2.0
/*
 * Bitmaps of 64-bit words that the module and other threads change while we
 * look: every access is one atomic word.
 */
#include "common.h"

bool bit_test(const uint64_t *map, size_t bit)
{
	return __atomic_load_n(&map[bit / 64], __ATOMIC_ACQUIRE) >>
	       (bit % 64) & 1;
}

void bit_set(uint64_t *map, size_t bit)
{
	__atomic_fetch_or(&map[bit / 64], 1ULL << bit % 64, __ATOMIC_ACQ_REL);
}

void bit_clear(uint64_t *map, size_t bit)
{
	__atomic_fetch_and(&map[bit / 64], ~(1ULL << bit % 64),
			   __ATOMIC_ACQ_REL);
}

void bits_set(uint64_t *map, size_t first, size_t nr)
{
	size_t i;

	for (i = first; i < first + nr; i++)
		bit_set(map, i);
}

void bits_clear(uint64_t *map, size_t first, size_t nr)
{
	size_t i;

	for (i = first; i < first + nr; i++)
		bit_clear(map, i);
}

size_t bits_count(const uint64_t *map, size_t first, size_t nr)
{
	size_t i, count = 0;

	for (i = first; i < first + nr; i++)
		count += bit_test(map, i);
	return count;
}

size_t bits_words(size_t nr)
{
	return (nr + 63) / 64;
}

size_t bits_differ(const uint64_t *a, const uint64_t *b, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (bit_test(a, i) != bit_test(b, i))
			break;
	return i;
}
