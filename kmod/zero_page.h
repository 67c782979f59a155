/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The loops that look at every word of one page, for zero.c. They are two
 * for each place that a page may be read from: a kernel address, which is
 * there, and a user address, which may not be. Without page faults a load from
 * there that fails goes on at a fixup.
 */
#ifndef MRAM_ZERO_PAGE_H
#define MRAM_ZERO_PAGE_H

/* What a look at a page says. */
enum mram_zero {
	MRAM_ZERO,
	MRAM_NOT_ZERO,
	MRAM_NOT_THERE,
};

/* The words that are looked at first, as nearly all pages fail there. */
#define MRAM_WORDS	(PAGE_SIZE / sizeof(u64))
#define MRAM_MIDDLE	(MRAM_WORDS / 2 + 1)
#define MRAM_LAST	(MRAM_WORDS - 1)

static __always_inline enum mram_zero mram_maybe_zero(const u64 *word)
{
	if (READ_ONCE(word[0]))
		return MRAM_NOT_ZERO;
	return READ_ONCE(word[MRAM_MIDDLE]) | READ_ONCE(word[MRAM_LAST]) ?
	       MRAM_NOT_ZERO : MRAM_ZERO;
}

static __always_inline enum mram_zero
mram_maybe_zero_user(const u64 __user *word)
{
	u64 val, last;

	unsafe_get_user(val, &word[0], fault);
	if (val)
		return MRAM_NOT_ZERO;
	unsafe_get_user(val, &word[MRAM_MIDDLE], fault);
	unsafe_get_user(last, &word[MRAM_LAST], fault);
	return val | last ? MRAM_NOT_ZERO : MRAM_ZERO;
fault:
	return MRAM_NOT_THERE;
}

static __always_inline enum mram_zero mram_look_words(const u64 *word)
{
	const u64 *end = word + MRAM_WORDS;

	for (; word < end; word += 16) {
		if (READ_ONCE(word[0]) | READ_ONCE(word[1]) |
		    READ_ONCE(word[2]) | READ_ONCE(word[3]) |
		    READ_ONCE(word[4]) | READ_ONCE(word[5]) |
		    READ_ONCE(word[6]) | READ_ONCE(word[7]) |
		    READ_ONCE(word[8]) | READ_ONCE(word[9]) |
		    READ_ONCE(word[10]) | READ_ONCE(word[11]) |
		    READ_ONCE(word[12]) | READ_ONCE(word[13]) |
		    READ_ONCE(word[14]) | READ_ONCE(word[15]))
			return MRAM_NOT_ZERO;
	}
	return MRAM_ZERO;
}

static __always_inline enum mram_zero mram_look_words_user(const u64 __user *word)
{
	const u64 __user *end = word + MRAM_WORDS;
	u64 val, any;
	int i;

	for (; word < end; word += 8) {
		any = 0;
		for (i = 0; i < 8; i++) {
			unsafe_get_user(val, &word[i], fault);
			any |= val;
		}
		if (any)
			return MRAM_NOT_ZERO;
	}
	return MRAM_ZERO;
fault:
	return MRAM_NOT_THERE;
}

#ifdef CONFIG_X86_64
/*
 * All of a page with 32-byte loads; four sums, as a processor makes more than
 * one at a time. For each load there is a fixup, or "" where none is needed.
 */
#define MRAM_AVX2_PAGE(fixup)						\
	"	.irp	i,0,1,2,3\n"					\
	"1:	vmovdqa	32*\\i(%[page]), %%ymm\\i\n"			\
		fixup							\
	"	.endr\n"						\
	"	.set	mram_zero_at, 128\n"				\
	"	.rept	31\n"						\
	"	.irp	i,0,1,2,3\n"					\
	"1:	vpor	mram_zero_at+32*\\i(%[page]), %%ymm\\i, %%ymm\\i\n" \
		fixup							\
	"	.endr\n"						\
	"	.set	mram_zero_at, mram_zero_at+128\n"		\
	"	.endr\n"						\
	"	vpor	%%ymm1, %%ymm0, %%ymm0\n"			\
	"	vpor	%%ymm3, %%ymm2, %%ymm2\n"			\
	"	vpor	%%ymm2, %%ymm0, %%ymm0\n"			\
	"	vptest	%%ymm0, %%ymm0\n"

/* The kernel is compiled without vector registers and knows of none. */
#ifdef __KERNEL__
#define MRAM_AVX2_CLOBBERS	"cc", "memory"
#else
#define MRAM_AVX2_CLOBBERS	"cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3"
#endif

/* Between kernel_fpu_begin() and kernel_fpu_end(). */
static __always_inline enum mram_zero mram_look_avx2(const void *page)
{
	asm goto(MRAM_AVX2_PAGE("")
		 "	jnz	%l[not_zero]\n"
		 : : [page] "r" (page) : MRAM_AVX2_CLOBBERS : not_zero);
	return MRAM_ZERO;
not_zero:
	return MRAM_NOT_ZERO;
}

static __always_inline enum mram_zero
mram_look_avx2_user(const void __user *page)
{
	asm goto(MRAM_AVX2_PAGE(_ASM_EXTABLE_UA(1b, 2f))
		 "	jz	%l[zero]\n"
		 "	jmp	%l[not_zero]\n"
		 "2:	jmp	%l[fault]\n"
		 : : [page] "r" (page)
		 : MRAM_AVX2_CLOBBERS : zero, not_zero, fault);
not_zero:
	return MRAM_NOT_ZERO;
zero:
	return MRAM_ZERO;
fault:
	return MRAM_NOT_THERE;
}

static inline void mram_avx2_end(void)
{
	asm volatile("vzeroupper" : : : MRAM_AVX2_CLOBBERS);
}
#endif /* CONFIG_X86_64 */

#endif /* MRAM_ZERO_PAGE_H */
