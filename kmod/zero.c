// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages hold nothing but zeroes.
 *
 * Nearly all pages show with their first word that they are not zero, or with
 * two more; that costs some instructions inline. Who passes is a candidate and
 * is read to its end, or to where it is not zero, with the widest loads that
 * the kernel may use: on x86-64 AVX2, else words. The kernel may use vector
 * registers only in a section in which it is not preempted; the first candidate
 * opens one, and it ends after MRAM_ZERO_BATCH pages at the latest.
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

/* What candidates are read with. */
enum mram_zero_with {
	MRAM_WITH_UNDECIDED,
	MRAM_WITH_WORDS,
	MRAM_WITH_AVX2,
};

static enum mram_zero_with mram_zero_begin(void)
{
#ifdef CONFIG_X86_64
	if (boot_cpu_has(X86_FEATURE_AVX2) && irq_fpu_usable()) {
		kernel_fpu_begin();
		return MRAM_WITH_AVX2;
	}
#endif
	return MRAM_WITH_WORDS;
}

static void mram_zero_end(enum mram_zero_with with)
{
#ifdef CONFIG_X86_64
	if (with == MRAM_WITH_AVX2) {
		mram_avx2_end();
		kernel_fpu_end();
	}
#endif
}

static __always_inline enum mram_zero
mram_zero_maybe(unsigned long page, bool user)
{
	if (user)
		return mram_maybe_zero_user((const u64 __user *)page);
	return mram_maybe_zero((const u64 *)page);
}

static __always_inline enum mram_zero
mram_zero_look(unsigned long page, bool user, enum mram_zero_with with)
{
#ifdef CONFIG_X86_64
	if (likely(with == MRAM_WITH_AVX2)) {
		if (user)
			return mram_look_avx2_user((const void __user *)page);
		return mram_look_avx2((const void *)page);
	}
#endif
	if (user)
		return mram_look_words_user((const u64 __user *)page);
	return mram_look_words((const u64 *)page);
}

/* The first @nr bits, at least one. */
static __always_inline u64 mram_zero_first(unsigned long nr)
{
	return ~0ULL >> (64 - nr);
}

/*
 * Look at those of MRAM_ZERO_BATCH pages, at @addr of the caller or of @pages,
 * that @want names. Return: the first one that is not there, or
 * MRAM_ZERO_BATCH; which of those before are zero in *@zero, the first in bit 0.
 */
static __always_inline unsigned long
mram_zero_batch(unsigned long addr, struct page **pages, u64 want,
		bool user, u64 *zero)
{
	enum mram_zero_with with = MRAM_WITH_UNDECIDED;
	const void __user *start = (const void __user *)addr;
	unsigned long size = fls64(want) * PAGE_SIZE, page;
	unsigned long i = 0;
	u64 mask = 0;

	if (user && !user_access_begin(start, size))
		goto out;
	for (; want; want &= want - 1) {
		enum mram_zero look;

		i = __ffs(want);
		/* A 64-bit kernel has no page without an address. */
		page = user ? addr + i * PAGE_SIZE :
			      (unsigned long)page_address(pages[i]);
		look = mram_zero_maybe(page, user);
		if (look == MRAM_NOT_ZERO)
			continue;
		if (look == MRAM_NOT_THERE)
			break;
		if (!user && is_zero_pfn(page_to_pfn(pages[i]))) {
			mask |= 1ULL << i;
			continue;
		}
		if (unlikely(with == MRAM_WITH_UNDECIDED)) {
			if (user)
				user_access_end();
			with = mram_zero_begin();
			if (user && !user_access_begin(start, size))
				goto out;
		}
		look = mram_zero_look(page, user, with);
		if (look == MRAM_ZERO)
			mask |= 1ULL << i;
		else if (look == MRAM_NOT_THERE)
			break;
	}
	if (user)
		user_access_end();
	if (!want)
		i = MRAM_ZERO_BATCH;
out:
	mram_zero_end(with);
	*zero = mask;
	return i;
}

/* Set the bits of @mask in the bitmap, of which bit 0 is number @first. */
static void mram_zero_note(unsigned long *zero, unsigned long first, u64 mask)
{
	unsigned int shift = first % 64;

	if (!mask)
		return;
	zero += first / 64;
	zero[0] |= mask << shift;
	/* Behind the end there is no word, and nothing left to note. */
	if (shift && mask >> (64 - shift))
		zero[1] |= mask >> (64 - shift);
}

/**
 * mram_zero_scan_pages() - find zero pages
 * @pages: the pages
 * @nr: how many
 * @zero: bitmap; the bits of pages that are zero get set, others stay
 * @first: the bit of the first page
 */
void mram_zero_scan_pages(struct page **pages, unsigned long nr,
			  unsigned long *zero, unsigned long first)
{
	unsigned long n, done;
	u64 mask;

	for (done = 0; done < nr; done += n) {
		n = min(nr - done, MRAM_ZERO_BATCH);
		mram_zero_batch(0, pages + done, mram_zero_first(n),
				false, &mask);
		mram_zero_note(zero, first + done, mask);
	}
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
		n = mram_zero_batch(addr + done * PAGE_SIZE, NULL,
				    mram_zero_first(want), true, &mask);
		mram_zero_note(zero, first + done, mask);
		done += min(n, want);
	} while (n >= want && done < nr);
	pagefault_enable();
	return done;
}

/**
 * mram_zero_scan_user_mask() - the same for some of 64 pages
 * @addr: page-aligned, in the current address space
 * @want: which to look at; bit 0 is the page at @addr
 * @zero: those of them that are zero
 *
 * Return: the first page of @want that is not mapped, or not readable, or 64;
 * those before were looked at.
 */
unsigned int mram_zero_scan_user_mask(unsigned long addr, u64 want, u64 *zero)
{
	unsigned long n;

	pagefault_disable();
	n = mram_zero_batch(addr, NULL, want, true, zero);
	pagefault_enable();
	return n;
}
