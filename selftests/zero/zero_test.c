// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the module's zero test (kmod/zero.c) says of every page exactly
 * what a loop over its bytes says: with a single byte that is not zero at
 * every place of a page, with runs of pages of every length up to more than
 * three batches at every place in a word of the bitmap, with vector loads and
 * with words; that it stops at the first page that is not there and keeps what
 * it found before; that it sets no bit but those of zero pages; and that it
 * opens a section for vector loads only for candidates, closes it, and never
 * touches user memory with page faults on.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "../kselftest_harness.h"

#include "zero.h"
#include "zero_page.h"

#define PAGES		200UL
#define FIRST_MAX	130UL
#define MAP_WORDS	((PAGES + FIRST_MAX) / 64 + 2)

extern const struct zero_fixup __start_zero_fixups[], __stop_zero_fixups[];

bool zero_avx2, zero_fpu_usable;
static bool in_fpu, in_user, no_faults;
static unsigned long sections;
/* A page that goes away when the look at its first words is over. */
static void *goes_away;

bool boot_cpu_has(int feature)
{
	return zero_avx2;
}

bool irq_fpu_usable(void)
{
	return zero_fpu_usable;
}

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "# %s\n", what);
		abort();
	}
}

void kernel_fpu_begin(void)
{
	expect(!in_fpu && !in_user, "kernel_fpu_begin() inside of something");
	in_fpu = true;
	sections++;
}

void kernel_fpu_end(void)
{
	expect(in_fpu && !in_user, "kernel_fpu_end() without a beginning");
	in_fpu = false;
}

bool user_access_begin(const void *addr, unsigned long len)
{
	expect(no_faults && !in_user, "user memory with page faults on");
	in_user = true;
	/* The top half of the address space is the kernel's. */
	if ((long)addr < 0) {
		in_user = false;
		return false;
	}
	return true;
}

void user_access_end(void)
{
	expect(in_user, "user_access_end() without a beginning");
	in_user = false;
	if (goes_away)
		expect(!mprotect(goes_away, PAGE_SIZE, PROT_NONE), "mprotect");
	goes_away = NULL;
}

void pagefault_disable(void)
{
	expect(!no_faults, "pagefault_disable() twice");
	no_faults = true;
}

void pagefault_enable(void)
{
	expect(no_faults && !in_user && !in_fpu, "something left open");
	no_faults = false;
}

static void fix_up(int sig, siginfo_t *info, void *_context)
{
	greg_t *rip = &((ucontext_t *)_context)->uc_mcontext.gregs[REG_RIP];
	const struct zero_fixup *fixup;

	for (fixup = __start_zero_fixups; fixup < __stop_zero_fixups; fixup++) {
		if ((greg_t)&fixup->from + fixup->from != *rip)
			continue;
		expect(in_user, "a fault outside of user access");
		*rip = (greg_t)&fixup->to + fixup->to;
		return;
	}
	/* Ours no more: the same fault ends the program. */
	signal(sig, SIG_DFL);
}

/* Which function is tested; all see the same memory. */
enum how { ARRAY, USER };

struct memory {
	unsigned char *mem;
	struct page pages[PAGES];
	struct page *array[PAGES];
	unsigned long map[MAP_WORDS];
};

static bool memory_new(struct memory *self, bool avx2, bool usable)
{
	struct sigaction act = { .sa_sigaction = fix_up,
				 .sa_flags = SA_SIGINFO };
	unsigned long i;

	zero_avx2 = avx2;
	zero_fpu_usable = usable;
	self->mem = mmap(NULL, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < PAGES; i++) {
		self->pages[i].addr = self->mem + i * PAGE_SIZE;
		self->array[i] = &self->pages[i];
	}
	return self->mem != MAP_FAILED && !sigaction(SIGSEGV, &act, NULL);
}

FIXTURE(zero)
{
	struct memory m;
};

FIXTURE_VARIANT(zero)
{
	enum how how;
	bool avx2;
	bool usable;
};

FIXTURE_VARIANT_ADD(zero, array_avx2) { ARRAY, true, true };
FIXTURE_VARIANT_ADD(zero, array_words) { ARRAY, false, true };
FIXTURE_VARIANT_ADD(zero, array_busy) { ARRAY, true, false };
FIXTURE_VARIANT_ADD(zero, user_avx2) { USER, true, true };
FIXTURE_VARIANT_ADD(zero, user_words) { USER, false, true };

FIXTURE_SETUP(zero)
{
	if (variant->avx2 && !__builtin_cpu_supports("avx2"))
		SKIP(return, "this processor has no AVX2");
	ASSERT_TRUE(memory_new(&self->m, variant->avx2, variant->usable));
}

FIXTURE_TEARDOWN(zero)
{
	EXPECT_FALSE(in_fpu || in_user || no_faults);
}

/* Return: at how many pages it looked. */
static unsigned long scan(enum how how, unsigned char *mem,
			  struct page **array, unsigned long nr,
			  unsigned long *map, unsigned long first)
{
	if (how == USER)
		return mram_zero_scan_user((unsigned long)mem, nr, map, first);
	mram_zero_scan_pages(array, nr, map, first);
	return nr;
}

static bool is_zero(const unsigned char *page)
{
	unsigned long i;

	for (i = 0; i < PAGE_SIZE; i++)
		if (page[i])
			return false;
	return true;
}

static bool bit(const unsigned long *map, unsigned long n)
{
	return map[n / 64] >> n % 64 & 1;
}

TEST_F(zero, one_byte_anywhere)
{
	unsigned long at;

	/* Three pages, so that a look beyond the page shows, too. */
	for (at = 0; at < PAGE_SIZE; at++) {
		self->m.map[0] = 0;
		self->m.mem[PAGE_SIZE + at] = 1 << at % 8;
		ASSERT_EQ(3, scan(variant->how, self->m.mem, self->m.array, 3,
				     self->m.map, 0));
		ASSERT_EQ(5, self->m.map[0])
			TH_LOG("the byte at %lu", at);
		self->m.mem[PAGE_SIZE + at] = 0;
	}
	/* And that nothing of the page after the run counts. */
	memset(self->m.mem + 3 * PAGE_SIZE, 0xff, PAGE_SIZE);
	self->m.map[0] = 0;
	scan(variant->how, self->m.mem, self->m.array, 3, self->m.map, 0);
	EXPECT_EQ(7, self->m.map[0]);
}

/* Pages that are not zero somewhere, at a random place each. */
static void fill(unsigned char *mem, int percent)
{
	unsigned long i;

	memset(mem, 0, PAGES * PAGE_SIZE);
	for (i = 0; i < PAGES; i++)
		if (random() % 100 < percent)
			mem[i * PAGE_SIZE + random() % PAGE_SIZE] =
				1 + random() % 255;
}

TEST_F(zero, runs)
{
	unsigned long nr, first, i, ret, was[MAP_WORDS];
	int round;

	srandom(1);
	for (round = 0; round < 600; round++) {
		fill(self->m.mem, random() % 101);
		nr = 1 + random() % PAGES;
		first = random() % FIRST_MAX;
		for (i = 0; i < MAP_WORDS; i++) {
			self->m.map[i] = (unsigned long)random() << 32 ^ random();
			/* Few bits: a bit too many shall show, too. */
			self->m.map[i] &= (unsigned long)random() << 33 ^ random();
		}
		memcpy(was, self->m.map, sizeof(was));
		ret = scan(variant->how, self->m.mem, self->m.array, nr, self->m.map,
			   first);

		for (i = 0; i < MAP_WORDS * 64; i++) {
			bool zero = i >= first && i < first + nr &&
				is_zero(self->m.mem + (i - first) * PAGE_SIZE);

			ASSERT_EQ(bit(was, i) || zero, bit(self->m.map, i))
				TH_LOG("round %d: bit %lu of %lu from %lu on",
				       round, i, nr, first);
		}
		ASSERT_EQ(nr, ret);
	}
}

TEST_F(zero, sections)
{
	static const int looked_at[] = { 0, MRAM_MIDDLE, MRAM_LAST };
	unsigned long i, wide = variant->avx2 && variant->usable;

	for (i = 0; i < PAGES; i++)
		self->m.mem[i * PAGE_SIZE + looked_at[i % 3] * 8] = 1;
	sections = 0;
	scan(variant->how, self->m.mem, self->m.array, PAGES, self->m.map, 0);
	EXPECT_EQ(0, sections);

	memset(self->m.mem, 0, PAGES * PAGE_SIZE);
	scan(variant->how, self->m.mem, self->m.array, PAGES, self->m.map, 0);
	EXPECT_EQ(wide * (PAGES + 63) / 64, sections);

	/* Where the bitmap ends with the last page nothing is written. */
	self->m.map[1] = 0x55;
	scan(variant->how, self->m.mem, self->m.array, 64, self->m.map, 0);
	scan(variant->how, self->m.mem, self->m.array, 1, self->m.map, 63);
	EXPECT_EQ(0x55, self->m.map[1]);
}

/* What only one of the functions knows. */
FIXTURE(single)
{
	struct memory m;
};

FIXTURE_VARIANT(single)
{
	bool avx2;
};

FIXTURE_VARIANT_ADD(single, avx2) { true };
FIXTURE_VARIANT_ADD(single, words) { false };

FIXTURE_SETUP(single)
{
	if (variant->avx2 && !__builtin_cpu_supports("avx2"))
		SKIP(return, "this processor has no AVX2");
	ASSERT_TRUE(memory_new(&self->m, variant->avx2, true));
}

FIXTURE_TEARDOWN(single)
{
	EXPECT_FALSE(in_fpu || in_user || no_faults);
}

TEST_F(single, zero_pfn)
{
	/* That says zero without a look at all the data. */
	self->m.pages[69].zero_pfn = true;
	self->m.mem[69 * PAGE_SIZE + 64] = 1;
	memset(self->m.mem + PAGE_SIZE, 1, PAGE_SIZE);
	scan(ARRAY, self->m.mem, self->m.array, 70, self->m.map, 0);
	EXPECT_EQ(~2UL, self->m.map[0]);
	EXPECT_EQ(0x3f, self->m.map[1]);
}

TEST_F(single, not_there)
{
	unsigned long hole, end, i, start;

	/* Every hole, before it zero pages and others. */
	for (hole = 0; hole < 140; hole++) {
		srandom(hole);
		fill(self->m.mem, 30);
		ASSERT_EQ(0, mprotect(self->m.mem + hole * PAGE_SIZE, PAGE_SIZE,
				      PROT_NONE));
		start = hole > 70 ? hole - 70 : 0;
		memset(self->m.map, 0, sizeof(self->m.map));
		ASSERT_EQ(hole - start,
			  scan(USER, self->m.mem + start * PAGE_SIZE, NULL,
			       PAGES - start, self->m.map, start));
		ASSERT_EQ(0, mprotect(self->m.mem + hole * PAGE_SIZE, PAGE_SIZE,
				      PROT_READ | PROT_WRITE));
		for (i = 0; i < MAP_WORDS * 64; i++)
			ASSERT_EQ(i >= start && i < hole &&
				  is_zero(self->m.mem + i * PAGE_SIZE),
				  bit(self->m.map, i));
	}
	/* Not user memory at all. */
	end = 1UL << 63;
	EXPECT_EQ(0, scan(USER, (unsigned char *)end, NULL, 4, self->m.map, 0));
}

/* Some of 64 pages: no other is looked at, there or not. */
TEST_F(single, some_of_a_word)
{
	unsigned long i, hole;
	unsigned int first;
	u64 want, zero;

	for (hole = 0; hole < 64; hole++) {
		srandom(hole);
		fill(self->m.mem, 50);
		want = (u64)random() << 33 ^ (u64)random() << 11 ^ random();
		if (!want)
			continue;
		ASSERT_EQ(0, mprotect(self->m.mem + hole * PAGE_SIZE, PAGE_SIZE,
				      PROT_NONE));
		first = mram_zero_scan_user_mask((unsigned long)self->m.mem,
						 want, &zero);
		ASSERT_EQ(want >> hole & 1 ? hole : 64, first);
		ASSERT_EQ(0, mprotect(self->m.mem + hole * PAGE_SIZE, PAGE_SIZE,
				      PROT_READ | PROT_WRITE));
		for (i = 0; i < 64; i++)
			ASSERT_EQ(i < first && want >> i & 1 &&
				  is_zero(self->m.mem + i * PAGE_SIZE),
				  zero >> i & 1);
	}
}

/* Pages that go away between the look at their first words and the other. */
TEST_F(single, gone_meanwhile)
{
	unsigned long gone;

	memset(self->m.mem, 1, 5 * PAGE_SIZE);
	for (gone = 5; gone < 8; gone++) {
		goes_away = self->m.mem + gone * PAGE_SIZE;
		self->m.map[0] = 0;
		EXPECT_EQ(gone, scan(USER, self->m.mem, NULL, 20, self->m.map, 0));
		EXPECT_EQ((1UL << gone) - (1UL << 5), self->m.map[0]);
		ASSERT_EQ(0, mprotect(self->m.mem + gone * PAGE_SIZE, PAGE_SIZE,
				      PROT_READ | PROT_WRITE));
	}
}

/*
 * And at every place within a page: what stands in for the page are the ends of
 * one that is there and of one that is not. Only the loops themselves take that.
 */
TEST_F(single, gone_within)
{
	enum mram_zero look;
	const u64 *page;
	unsigned long in;

	ASSERT_EQ(0, mprotect(self->m.mem + PAGE_SIZE, PAGE_SIZE, PROT_NONE));
	in_user = true;
	for (in = 32; in < PAGE_SIZE; in += 32) {
		page = (const u64 *)(self->m.mem + PAGE_SIZE - in);
		look = variant->avx2 ? mram_look_avx2_user(page) :
				       mram_look_words_user(page);
		ASSERT_EQ(MRAM_NOT_THERE, look)
			TH_LOG("%lu bytes are there", in);
	}
	in_user = false;
}

TEST_HARNESS_MAIN
