// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that LOAD leaves alone what the caller's memory shares with others
 * without their knowledge (pages merged by KSM, the file behind a private
 * mapping, the page of zeroes), and that what it has loaded is not thrown away
 * as clean.
 */
#include "loader.h"
#include "harness.h"

#define LENGTH	LOADER_LENGTH
#define OLD	LOADER_OLD
#define KSM	"/sys/kernel/mm/ksm/"

FIXTURE(load_shared) {
	struct loader l;
};

FIXTURE_SETUP(load_shared)
{
}

FIXTURE_TEARDOWN(load_shared)
{
	loader_drop(&self->l);
	EXPECT_EQ(self->l.pins, pinned_pages());
}

/* Nothing but the pages' dirty state says that they must not be dropped. */
TEST_F(load_shared, about_to_be_thrown_away)
{
	struct loader *l = &self->l;
	struct mapped_ram_load load;
	size_t half;

	need_loader(l, MEM_ANON);
	need_loader_pinned(l);
	half = l->nr / 2;
	load = load_args(&l->r, 0, half);
	need_loader_full(l);
	ASSERT_EQ(0, madvise(l->mem.addr, LENGTH, MADV_FREE));
	ASSERT_EQ(0, load_pass(&l->r, &load));
	ASSERT_EQ(0, madvise(l->mem.addr, LENGTH, MADV_PAGEOUT));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, HUGE_SIZE));
	/* Else this was no test. */
	EXPECT_FALSE(loader_is_old(region_page(&l->r, half), HUGE_SIZE));
}

/* What a private mapping shares with its file, and pages of zeroes */
TEST_F(load_shared, not_the_files_and_not_the_zero_page)
{
	struct loader *l = &self->l;
	int flags = MAP_FIXED | MAP_PRIVATE;
	const uint8_t *other;
	uint8_t *addr;
	size_t i;

	need_loader(l, MEM_MEMFD);
	need_loader_pinned(l);
	addr = l->mem.addr;
	ASSERT_EQ(addr, mmap(addr, HUGE_SIZE, PROT_READ | PROT_WRITE, flags,
			     l->mem.fd, 0));
	ASSERT_EQ(addr + HUGE_SIZE, mmap(addr + HUGE_SIZE, HUGE_SIZE,
					 PROT_READ | PROT_WRITE,
					 flags | MAP_ANONYMOUS, -1, 0));
	other = mmap(NULL, HUGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, other);
	/* Read, and so mapped. */
	EXPECT_TRUE(loader_is_old(addr, HUGE_SIZE));
	for (i = 0; i < LENGTH; i += page_size())
		ASSERT_EQ(i < HUGE_SIZE ? OLD : 0, addr[i]);
	EXPECT_EQ(0, loader_load(l));
	ASSERT_EQ(addr, mmap(addr, HUGE_SIZE, PROT_READ, flags, l->mem.fd,
			     0));
	EXPECT_TRUE(loader_is_old(addr, HUGE_SIZE));
	EXPECT_TRUE(all_zero(other, HUGE_SIZE));
}

static long ksm_sharing(void)
{
	char line[32];

	shell_line(line, sizeof(line), "cat " KSM "pages_sharing");
	return line[0] ? strtol(line, NULL, 10) : -1;
}

TEST_F(load_shared, merged_by_ksm)
{
	struct loader *l = &self->l;
	struct mem other;
	int tries;

	need_loader(l, MEM_ANON);
	need_loader_pinned(l);
	if (access(KSM "run", W_OK))
		SKIP(return, "no KSM in this kernel");
	ASSERT_EQ(0, mem_map(&other, MEM_ANON, LENGTH));
	memset(other.addr, OLD, LENGTH);
	ASSERT_EQ(0, madvise(l->mem.addr, LENGTH, MADV_MERGEABLE));
	ASSERT_EQ(0, madvise(other.addr, LENGTH, MADV_MERGEABLE));
	write_file(KSM "sleep_millisecs", "0");
	write_file(KSM "pages_to_scan", "4000");
	ASSERT_EQ(0, write_file(KSM "run", "1"));
	for (tries = 0; tries < 300; tries++) {
		if (ksm_sharing() >= 2 * l->nr - 16)
			break;
		usleep(100 * 1000);
	}
	write_file(KSM "run", "0");
	ASSERT_LE(2 * l->nr - 16, ksm_sharing());
	EXPECT_EQ(0, loader_load(l));
	EXPECT_TRUE(loader_is_old(other.addr, LENGTH));
	write_file(KSM "run", "2");
	mem_unmap(&other);
}

TEST_HARNESS_MAIN
