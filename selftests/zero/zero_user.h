/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kmod/zero.c takes from the kernel, for userspace. Pages that are not
 * there are pages without access; as in the kernel a table says where a load
 * from there that fails goes on, and a signal handler looks it up.
 */
#ifndef ZERO_USER_H
#define ZERO_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE		4096UL
#define CONFIG_X86_64
#define __user
#define likely(x)		(x)
#define unlikely(x)		(x)
#define min(a, b)		((a) < (b) ? (a) : (b))
#define __ffs(x)		((unsigned long)__builtin_ctzll(x))
#define fls64(x)		((x) ? 64 - __builtin_clzll(x) : 0)
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))

/* From where a load that fails goes on where; see zero_test.c. */
struct zero_fixup {
	int from;
	int to;
};

#define _ASM_EXTABLE_UA(from, to)					\
	"	.pushsection zero_fixups, \"a\"\n"			\
	"	.balign	4\n"						\
	"	.long	" #from " - .\n"				\
	"	.long	" #to " - .\n"					\
	"	.popsection\n"

#define unsafe_get_user(x, p, label)					\
	do {								\
		int bad_ = 0;						\
									\
		asm volatile("3:	movq	%[mem], %[val]\n"	\
			     "	jmp	5f\n"				\
			     "4:	movl	$1, %[bad]\n"		\
			     "5:\n"					\
			     _ASM_EXTABLE_UA(3b, 4b)			\
			     : [val] "=&r" (x), [bad] "+r" (bad_)	\
			     : [mem] "m" (*(p)) : "memory");		\
		if (bad_)						\
			goto label;					\
	} while (0)

/* A page of the test, which may be the page of zeroes. */
struct page {
	void *addr;
	bool zero_pfn;
};

#define page_address(page)	((const void *)(page)->addr)
#define page_to_pfn(page)	(page)
#define is_zero_pfn(pfn)	((pfn)->zero_pfn)

#define X86_FEATURE_AVX2	0

extern bool zero_avx2, zero_fpu_usable;

bool boot_cpu_has(int feature);
bool irq_fpu_usable(void);
void kernel_fpu_begin(void);
void kernel_fpu_end(void);
bool user_access_begin(const void *addr, unsigned long len);
void user_access_end(void);
void pagefault_disable(void);
void pagefault_enable(void);

#endif /* ZERO_USER_H */
