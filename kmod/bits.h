/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The bitmaps that userspace has mapped. It may write to them at any time, so
 * every word is read exactly once, every change is atomic, and no bit outside
 * of the range asked for is looked at or changed.
 */
#ifndef MRAM_BITS_H
#define MRAM_BITS_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/minmax.h>

/* The bits of word @w that lie in [@start, @end). */
static inline unsigned long mram_word_mask(unsigned long w,
					   unsigned long start,
					   unsigned long end)
{
	unsigned long first = w * BITS_PER_LONG, next = first + BITS_PER_LONG;
	unsigned long mask = ~0UL;

	if (start >= next || end <= first)
		return 0;
	if (start > first)
		mask &= BITMAP_FIRST_WORD_MASK(start);
	if (end < next)
		mask &= BITMAP_LAST_WORD_MASK(end);
	return mask;
}

static inline atomic_long_t *mram_word(unsigned long *map, unsigned long w)
{
	return (atomic_long_t *)&map[w];
}

/* Set the @nr bits from @start on. Any context. */
static inline void mram_bits_set(unsigned long *map, unsigned long start,
				 unsigned long nr)
{
	unsigned long w, mask, end = start + nr;

	for (w = start / BITS_PER_LONG; w * BITS_PER_LONG < end; w++) {
		mask = mram_word_mask(w, start, end);
		if ((READ_ONCE(map[w]) & mask) != mask)
			atomic_long_or(mask, mram_word(map, w));
	}
}

/*
 * A chunk is a run of pages that a pass works on at a time. Its first page,
 * @base, is a multiple of its length, which is a power of two: it covers whole
 * words, or lies inside one. In the chunk's own bitmaps bit 0 is page @base.
 */
#define mram_chunk_for_each_word(i, nr) \
	for ((i) = 0; (i) < BITS_TO_LONGS(nr); (i)++)

/* Take all bits of a chunk of whole words, the first of which is @map. */
static inline bool mram_chunk_claim_all(unsigned long *dst, unsigned long *map,
					unsigned long nr)
{
	unsigned long i, val, any = 0;

	mram_chunk_for_each_word(i, nr) {
		val = READ_ONCE(map[i]);
		if (val)
			val = xchg(&map[i], 0);
		dst[i] = val;
		any |= val;
	}
	return any;
}

/* Take the chunk's bits that lie in [@start, @end): clear them, say which. */
static inline bool mram_chunk_claim(unsigned long *dst, unsigned long *map,
				    unsigned long base, unsigned long nr,
				    unsigned long start, unsigned long end)
{
	unsigned long i, w, mask, val, any = 0;

	if (start <= base && end >= base + nr && nr >= BITS_PER_LONG)
		return mram_chunk_claim_all(dst, map + base / BITS_PER_LONG,
					    nr);
	start = max(start, base);
	end = min(end, base + nr);
	mram_chunk_for_each_word(i, nr) {
		w = base / BITS_PER_LONG + i;
		mask = mram_word_mask(w, start, end);
		val = READ_ONCE(map[w]) & mask;
		if (val)
			val = atomic_long_fetch_andnot(mask, mram_word(map, w)) &
			      mask;
		dst[i] = val >> (base % BITS_PER_LONG);
		any |= val;
	}
	return any;
}

/* Read the chunk's bits that lie in [@start, @end). */
static inline void mram_chunk_read(unsigned long *dst, unsigned long *map,
				   unsigned long base, unsigned long nr,
				   unsigned long start, unsigned long end)
{
	unsigned long i, w;

	start = max(start, base);
	end = min(end, base + nr);
	mram_chunk_for_each_word(i, nr) {
		w = base / BITS_PER_LONG + i;
		dst[i] = (READ_ONCE(map[w]) & mram_word_mask(w, start, end)) >>
			 (base % BITS_PER_LONG);
	}
}

/* How many of a chunk's own bits in [@start, @end) are set. */
static inline unsigned long mram_chunk_weight(const unsigned long *map,
					      unsigned long start,
					      unsigned long end)
{
	unsigned long w, n = 0;

	for (w = start / BITS_PER_LONG; w * BITS_PER_LONG < end; w++)
		n += hweight_long(map[w] & mram_word_mask(w, start, end));
	return n;
}

/* Set the bits that are set in @src. */
static inline void mram_chunk_set(unsigned long *map, const unsigned long *src,
				  unsigned long base, unsigned long nr)
{
	unsigned long i, w;

	mram_chunk_for_each_word(i, nr) {
		w = base / BITS_PER_LONG + i;
		if (src[i])
			atomic_long_or(src[i] << (base % BITS_PER_LONG),
				       mram_word(map, w));
	}
}

/*
 * Take the bits that are set in @zero out of @need, clear them in @map, and add
 * their number to @count. Return: whether @need has others.
 */
static inline bool mram_chunk_settle(const unsigned long *zero,
				     unsigned long *need, unsigned long *map,
				     unsigned long base, unsigned long nr,
				     u64 *count)
{
	unsigned long i, w, val, left = 0, found = 0;

	mram_chunk_for_each_word(i, nr) {
		val = zero[i];
		if (val) {
			need[i] &= ~val;
			found += hweight_long(val);
			val <<= base % BITS_PER_LONG;
			w = base / BITS_PER_LONG + i;
			if (READ_ONCE(map[w]) & val)
				atomic_long_andnot(val, mram_word(map, w));
		}
		left |= need[i];
	}
	*count += found;
	return left;
}

/*
 * All pages of @need are zero: clear their bits in @map. Return: how many.
 */
static inline unsigned long mram_chunk_forget(const unsigned long *need,
					      unsigned long *map,
					      unsigned long base,
					      unsigned long nr)
{
	unsigned long i, val, found = 0;

	map += base / BITS_PER_LONG;
	mram_chunk_for_each_word(i, nr) {
		val = need[i];
		found += hweight_long(val);
		val <<= base % BITS_PER_LONG;
		if (READ_ONCE(map[i]) & val)
			atomic_long_andnot(val, mram_word(map, i));
	}
	return found;
}

#endif /* MRAM_BITS_H */
