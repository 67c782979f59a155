// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is done to whole bitmaps, many words at a time: a region of 16 GiB has
 * 65536 of them, and what is done for each adds up.
 */
#include "bitmap.h"

/* Inlined, it counts with what its caller is compiled for. */
static inline __attribute__((always_inline)) uint64_t
count_words(const uint64_t *words, uint64_t nr)
{
	uint64_t count = 0, i;

	for (i = 0; i + 4 <= nr; i += 4)
		count += __builtin_popcountll(bitmap_read(&words[i])) +
			 __builtin_popcountll(bitmap_read(&words[i + 1])) +
			 __builtin_popcountll(bitmap_read(&words[i + 2])) +
			 __builtin_popcountll(bitmap_read(&words[i + 3]));
	for (; i < nr; i++)
		count += __builtin_popcountll(bitmap_read(&words[i]));
	return count;
}

#if defined(__x86_64__)
/* Nearly every processor has the instruction; compilers may not assume so. */
__attribute__((target("popcnt")))
static uint64_t count_popcnt(const uint64_t *words, uint64_t nr)
{
	return count_words(words, nr);
}
#endif

static uint64_t count_any(const uint64_t *words, uint64_t nr)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("popcnt"))
		return count_popcnt(words, nr);
#endif
	return count_words(words, nr);
}

uint64_t bitmap_count(const uint64_t *words, uint64_t first, uint64_t end)
{
	uint64_t w = first / BITS_PER_WORD, last = end / BITS_PER_WORD;
	uint64_t count = 0;

	if (first >= end)
		return 0;
	if (first % BITS_PER_WORD) {
		count = __builtin_popcountll(bitmap_read(&words[w]) &
					     bitmap_mask(w, first, end));
		w++;
	}
	if (w < last)
		count += count_any(words + w, last - w);
	if (last >= w && end % BITS_PER_WORD)
		count += __builtin_popcountll(bitmap_read(&words[last]) &
					      bitmap_mask(last, first, end));
	return count;
}

bool bitmap_any(const uint64_t *words, uint64_t first, uint64_t end)
{
	uint64_t w = first / BITS_PER_WORD, last = end / BITS_PER_WORD;

	if (first >= end)
		return false;
	if (bitmap_read(&words[w]) & bitmap_mask(w, first, end))
		return true;
	for (w++; w + 4 <= last; w += 4)
		if (bitmap_read(&words[w]) | bitmap_read(&words[w + 1]) |
		    bitmap_read(&words[w + 2]) | bitmap_read(&words[w + 3]))
			return true;
	for (; w < last; w++)
		if (bitmap_read(&words[w]))
			return true;
	return w == last && end % BITS_PER_WORD &&
	       bitmap_read(&words[w]) & bitmap_mask(w, first, end);
}

static inline void or_word(uint64_t *to, uint64_t bits)
{
	if (bits)
		bitmap_or(to, bits);
}

/* OR most of @nr words. Return: how many. */
static uint64_t or_words(uint64_t *to, const uint64_t *src, uint64_t nr)
{
	uint64_t w;

	for (w = 0; w + 4 <= nr; w += 4) {
		or_word(&to[w], src[w]);
		or_word(&to[w + 1], src[w + 1]);
		or_word(&to[w + 2], src[w + 2]);
		or_word(&to[w + 3], src[w + 3]);
	}
	return w;
}

void bitmap_or_shifted(uint64_t *dst, uint64_t first, const uint64_t *src,
		       uint64_t count)
{
	unsigned int shift = first % BITS_PER_WORD;
	uint64_t *to = dst + first / BITS_PER_WORD;
	uint64_t full = count / BITS_PER_WORD, w = 0, bits;

	if (!shift)
		w = or_words(to, src, full);
	for (; w < bitmap_words(count); w++) {
		bits = src[w] & bitmap_mask(w, 0, count);
		if (!bits)
			continue;
		if (bits << shift)
			bitmap_or(&to[w], bits << shift);
		if (shift && bits >> (BITS_PER_WORD - shift))
			bitmap_or(&to[w + 1], bits >> (BITS_PER_WORD - shift));
	}
}
