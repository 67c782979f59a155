// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Is this page zero?
 *
 * Most pages are not, and show it in their first, middle or last word; those
 * that are have to be read to the end, as wide as the processor can.
 */
#include <stdint.h>

#include "zero.h"

typedef uint64_t vec __attribute__((vector_size(32), may_alias));
typedef uint64_t word __attribute__((may_alias));

/* Eight vectors are tested together: folding one costs more than reading it. */
#define ZERO_LOOP(p, length)						\
	for (; (length); (p) += 8, (length) -= 8 * sizeof(vec)) {	\
		vec v = ((p)[0] | (p)[1]) | ((p)[2] | (p)[3]) |		\
			((p)[4] | (p)[5]) | ((p)[6] | (p)[7]);		\
									\
		if (v[0] | v[1] | v[2] | v[3])				\
			return false;					\
	}								\
	return true

static bool zero_plain(const vec *p, size_t length)
{
	ZERO_LOOP(p, length);
}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static bool zero_avx2(const vec *p, size_t length)
{
	ZERO_LOOP(p, length);
}
#endif

bool zero_is(const void *p, size_t length)
{
	const word *w = p;
	size_t words = length / sizeof(*w);

	if (w[0] | w[words / 2] | w[words - 1])
		return false;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return zero_avx2(p, length);
#endif
	return zero_plain(p, length);
}
