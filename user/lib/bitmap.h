/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bitmaps of pages: bit n of a bitmap is bit n % 64 of its word n / 64.
 *
 * Dirty bitmaps are shared: with trackers in other threads, and with the kernel
 * when the module is the engine. Everything that changes one is therefore an
 * atomic read-modify-write of a word.
 */
#ifndef MRAM_BITMAP_H
#define MRAM_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define BITS_PER_WORD	64u

static inline uint64_t bitmap_words(uint64_t bits)
{
	return bits / BITS_PER_WORD + (bits % BITS_PER_WORD != 0);
}

/* The bits of word @word that lie in [@first, @end). */
static inline uint64_t bitmap_mask(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t base = word * BITS_PER_WORD;
	uint64_t mask = ~0ull;

	if (end <= base || first >= base + BITS_PER_WORD)
		return 0;
	if (first > base)
		mask &= ~0ull << (first - base);
	if (end < base + BITS_PER_WORD)
		mask &= ~0ull >> (base + BITS_PER_WORD - end);
	return mask;
}

static inline uint64_t bitmap_read(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void bitmap_or(uint64_t *word, uint64_t bits)
{
	__atomic_fetch_or(word, bits, __ATOMIC_RELEASE);
}

static inline void bitmap_clear(uint64_t *word, uint64_t bits)
{
	__atomic_fetch_and(word, ~bits, __ATOMIC_RELEASE);
}

/*
 * Take the bits of @mask that are set. A full barrier: what is read of the
 * pages afterwards must not be older than the claim.
 */
static inline uint64_t bitmap_claim(uint64_t *word, uint64_t mask)
{
	return __atomic_fetch_and(word, ~mask, __ATOMIC_SEQ_CST) & mask;
}

static inline bool bitmap_test(const uint64_t *words, uint64_t bit)
{
	return bitmap_read(&words[bit / BITS_PER_WORD]) >>
	       bit % BITS_PER_WORD & 1;
}

static inline void bitmap_set(uint64_t *words, uint64_t bit)
{
	bitmap_or(&words[bit / BITS_PER_WORD], 1ull << bit % BITS_PER_WORD);
}

/* How many bits are set in [@first, @end). */
uint64_t bitmap_count(const uint64_t *words, uint64_t first, uint64_t end);

/* Whether a bit is set in [@first, @end). */
bool bitmap_any(const uint64_t *words, uint64_t first, uint64_t end);

static inline void bitmap_or_range(uint64_t *words, uint64_t first,
				   uint64_t end)
{
	uint64_t w;

	if (first >= end)
		return;
	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < end; w++)
		bitmap_or(&words[w], bitmap_mask(w, first, end));
}

static inline void bitmap_clear_range(uint64_t *words, uint64_t first,
				      uint64_t end)
{
	uint64_t w;

	if (first >= end)
		return;
	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < end; w++)
		bitmap_clear(&words[w], bitmap_mask(w, first, end));
}

/* OR the first @count bits of @src into @dst, from bit @first on. */
void bitmap_or_shifted(uint64_t *dst, uint64_t first, const uint64_t *src,
		       uint64_t count);

/* The first bit from @from on, below @end, that is @set; or @end. */
static inline uint64_t bitmap_next(const uint64_t *words, uint64_t from,
				   uint64_t end, int set)
{
	uint64_t word;

	while (from < end) {
		word = words[from / BITS_PER_WORD];
		word = (set ? word : ~word) & bitmap_mask(from / BITS_PER_WORD,
							  from, end);
		if (word)
			return from / BITS_PER_WORD * BITS_PER_WORD +
			       (uint64_t)__builtin_ctzll(word);
		from = (from / BITS_PER_WORD + 1) * BITS_PER_WORD;
	}
	return end;
}

#endif /* MRAM_BITMAP_H */
