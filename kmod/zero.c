// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages hold nothing but zeroes.
 *
 * Nearly all pages show with their first word that they are not zero, or with
 * two more; that costs some instructions inline. Who passes is a candidate and
 * is read to its end, or to where it is not zero, with the widest loads that
 * the kernel may use: on x86-64 AVX2, else words. The kernel may use vector
 * registers only in a section in which it is not preempted; so candidates are
 * collected first, and at most MRAM_ZERO_BATCH of them are looked at in one.
 *
 * The answer holds for the moment of the look. Whoever claims a dirty bit
 * before may rely on it: a page written to since is dirty again.
 *
 * Compiled into a userspace test, too (selftests/zero).
 */
#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/uaccess.h>
#ifdef CONFIG_X86_64
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#endif
#endif

#include "zero.h"
#include "zero_page.h"

/* Pages read with preemption off: as many as a word has bits. */
#define MRAM_ZERO_BATCH		64UL

/* What the candidates are read with. */
static __always_inline bool mram_zero_begin(void)
{
#ifdef CONFIG_X86_64
	if (boot_cpu_has(X86_FEATURE_AVX2) && irq_fpu_usable()) {
		kernel_fpu_begin();
		return true;
	}
#endif
	return false;
}

static __always_inline void mram_zero_end(bool wide)
{
#ifdef CONFIG_X86_64
	if (wide) {
		mram_avx2_end();
		kernel_fpu_end();
	}
#endif
}

static __always_inline enum mram_zero mram_look(const void *page, bool wide)
{
#ifdef CONFIG_X86_64
	if (wide)
		return mram_look_avx2(page);
#endif
	return mram_look_words(page);
}

static __always_inline enum mram_zero
mram_look_user(const void __user *page, bool wide)
{
#ifdef CONFIG_X86_64
	if (wide)
		return mram_look_avx2_user(page);
#endif
	return mram_look_words_user(page);
}

/* Set the bits of @mask in the bitmap, of which bit 0 is number @first. */
static void mram_zero_note(unsigned long *zero, unsigned long first, u64 mask)
{
	unsigned int shift = first % 64;

	zero += first / 64;
	zero[0] |= mask << shift;
	/* What is left is behind the end when there is nothing left. */
	if (shift && mask >> (64 - shift))
		zero[1] |= mask >> (64 - shift);
}

/**
 * mram_zero_scan_range() - find zero pages in physically contiguous memory
 * @addr: its kernel address
 * @nr: how many pages
 * @zero: bitmap; the bits of pages that are zero get set, others stay
 * @first: the bit of the first page
 *
 * Return: how many pages are zero.
 */
unsigned long mram_zero_scan_range(const void *addr, unsigned long nr,
				   unsigned long *zero, unsigned long first)
{
	unsigned long n, i, found = 0;
	u64 maybe, mask;
	bool wide;

	for (; nr; nr -= n, first += n, addr += n * PAGE_SIZE) {
		n = min(nr, MRAM_ZERO_BATCH);
		maybe = 0;
		for (i = 0; i < n; i++)
			if (unlikely(mram_maybe_zero(addr + i * PAGE_SIZE)))
				maybe |= 1ULL << i;
		if (!maybe)
			continue;

		mask = maybe;
		wide = mram_zero_begin();
		for (; maybe; maybe &= maybe - 1) {
			i = __ffs(maybe);
			if (mram_look(addr + i * PAGE_SIZE, wide) != MRAM_ZERO)
				mask &= ~(1ULL << i);
		}
		mram_zero_end(wide);
		mram_zero_note(zero, first, mask);
		found += hweight64(mask);
	}
	return found;
}

/**
 * mram_zero_scan_pages() - find zero pages
 * @pages: the pages; NULL stands for one that is absent and reads as zero
 * @nr: how many
 * @zero: bitmap; the bits of pages that are zero get set, others stay
 * @first: the bit of the first page
 *
 * Return: how many pages are zero.
 */
unsigned long mram_zero_scan_pages(struct page **pages, unsigned long nr,
				   unsigned long *zero, unsigned long first)
{
	unsigned long n, i, found = 0;
	u64 maybe, mask;
	bool wide;

	for (; nr; nr -= n, first += n, pages += n) {
		n = min(nr, MRAM_ZERO_BATCH);
		maybe = 0;
		/* A 64-bit kernel has no page without an address. */
		for (i = 0; i < n; i++)
			if (!pages[i] || mram_maybe_zero(page_address(pages[i])))
				maybe |= 1ULL << i;
		if (!maybe)
			continue;

		mask = maybe;
		wide = mram_zero_begin();
		for (; maybe; maybe &= maybe - 1) {
			i = __ffs(maybe);
			if (!pages[i] || is_zero_pfn(page_to_pfn(pages[i])))
				continue;
			if (mram_look(page_address(pages[i]), wide) != MRAM_ZERO)
				mask &= ~(1ULL << i);
		}
		mram_zero_end(wide);
		mram_zero_note(zero, first, mask);
		found += hweight64(mask);
	}
	return found;
}

/* Which of at most MRAM_ZERO_BATCH pages may be zero; *@nr: how many are there. */
static u64 mram_zero_maybe_user(unsigned long addr, unsigned long *nr)
{
	const u64 __user *page = (const u64 __user *)addr;
	enum mram_zero look;
	u64 maybe = 0;
	unsigned long i;

	if (!user_access_begin(page, *nr * PAGE_SIZE)) {
		*nr = 0;
		return 0;
	}
	for (i = 0; i < *nr; i++, page += MRAM_WORDS) {
		look = mram_maybe_zero_user(page);
		if (look == MRAM_NOT_THERE)
			break;
		if (look == MRAM_ZERO)
			maybe |= 1ULL << i;
	}
	user_access_end();
	*nr = i;
	return maybe;
}

/* Which of the pages @maybe are zero; *@nr becomes less where one is gone. */
static u64 mram_zero_look_user(unsigned long addr, unsigned long *nr, u64 maybe)
{
	const u64 __user *page = (const u64 __user *)addr;
	enum mram_zero look;
	u64 mask = 0;
	unsigned long i;
	bool wide;

	wide = mram_zero_begin();
	if (!user_access_begin(page, *nr * PAGE_SIZE)) {
		mram_zero_end(wide);
		*nr = 0;
		return 0;
	}
	for (; maybe; maybe &= maybe - 1) {
		i = __ffs(maybe);
		look = mram_look_user(page + i * MRAM_WORDS, wide);
		if (look == MRAM_NOT_THERE) {
			*nr = i;
			break;
		}
		if (look == MRAM_ZERO)
			mask |= 1ULL << i;
	}
	user_access_end();
	mram_zero_end(wide);
	return mask;
}

/**
 * mram_zero_scan_user() - find zero pages where the caller has them mapped
 * @addr: page-aligned, in the current address space
 * @nr: how many pages
 * @zero: bitmap; the bits of pages that are zero get set, others stay
 * @first: the bit of the first page
 *
 * No page is faulted in, and no reference taken: what is zero is not needed
 * any more. A page whose bit stays clear may have been replaced since.
 *
 * Return: how many pages were looked at: less than @nr when the next one is
 * not mapped, or not readable.
 */
unsigned long mram_zero_scan_user(unsigned long addr, unsigned long nr,
				  unsigned long *zero, unsigned long first)
{
	unsigned long want, n, done = 0;
	u64 mask;

	pagefault_disable();
	do {
		want = min(nr - done, MRAM_ZERO_BATCH);
		n = want;
		mask = mram_zero_maybe_user(addr + done * PAGE_SIZE, &n);
		if (mask)
			mask = mram_zero_look_user(addr + done * PAGE_SIZE, &n,
						   mask);
		if (mask)
			mram_zero_note(zero, first + done, mask);
		done += n;
	} while (n == want && done < nr);
	pagefault_enable();
	return done;
}
