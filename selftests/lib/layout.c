// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that blocks are placed exactly where QEMU places them, with offsets
 * worked out by hand, and that every block and sum of blocks that has no place
 * in a file is refused with its errno, its name, and no effect.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "layout.h"

FIXTURE(layout) {
	struct mram_layout l;
	struct mram_error e;
};

FIXTURE_SETUP(layout)
{
	ASSERT_EQ(0, mram_layout_init(&self->l, NULL, &self->e));
	memset(&self->e, 0xa5, sizeof(self->e));
}

FIXTURE_TEARDOWN(layout)
{
	mram_layout_free(&self->l);
	EXPECT_NO_LEAKS();
}

TEST_F(layout, two_small_blocks)
{
	struct mram_layout_block *b;

	ASSERT_EQ(0, mram_layout_add_block(&self->l, "pc.ram", 0x4000, 4096,
					   &self->e));
	ASSERT_EQ(1, mram_layout_add_block(&self->l, "rom", 0x2000, 4096,
					   &self->e));
	ASSERT_EQ(0, mram_layout_finish(&self->l, &self->e));
	EXPECT_STREQ("none", self->l.machine);
	EXPECT_EQ(SMALL_RECORD_A, self->l.head_size);
	EXPECT_EQ(0x6000, self->l.total);

	b = &self->l.blocks[0];
	EXPECT_STREQ("pc.ram", b->name);
	EXPECT_EQ(4, b->pages);
	EXPECT_EQ(SMALL_RECORD_A, b->record_offset);
	EXPECT_EQ(0x2b, b->record_size);
	EXPECT_EQ(SMALL_BITMAP_A, b->bitmap_offset);
	EXPECT_EQ(8, b->bitmap_size);
	EXPECT_EQ(SMALL_PAGES_A, b->pages_offset);

	b = &self->l.blocks[1];
	EXPECT_EQ(SMALL_RECORD_B, b->record_offset);
	EXPECT_EQ(SMALL_BITMAP_B, b->bitmap_offset);
	EXPECT_EQ(SMALL_PAGES_B, b->pages_offset);
	EXPECT_EQ(SMALL_TAIL, self->l.tail_offset);
}

/* What QEMU 10.0.2 wrote for q35 with 32 MiB and a VGA card. */
TEST_F(layout, as_qemu_did)
{
	static const struct {
		const char *name;
		uint64_t length, bitmap, pages;
	} q[] = {
		{ "pc.ram", 0x2000000, 0x8b, 0x100000 },
		{ "0000:00:01.0/vga.vram", 0x1000000, 0x210003a, 0x2200000 },
		{ "/rom@etc/acpi/tables", 0x20000, 0x3200039, 0x3300000 },
		{ "pc.bios", 0x40000, 0x332002c, 0x3400000 },
		{ "pc.rom", 0x20000, 0x344002b, 0x3500000 },
		{ "0000:00:01.0/vga.rom", 0x10000, 0x3520039, 0x3600000 },
		{ "/rom@etc/table-loader", 0x1000, 0x361003a, 0x3700000 },
		{ "/rom@etc/acpi/rsdp", 0x1000, 0x3701037, 0x3800000 },
	};
	struct mram_layout l;
	size_t i;

	ASSERT_EQ(0, mram_layout_init(&l, "pc-q35-10.0", &self->e));
	for (i = 0; i < ARRAY_SIZE(q); i++)
		ASSERT_EQ(i, mram_layout_add_block(&l, q[i].name, q[i].length,
						   4096, &self->e));
	ASSERT_EQ(0, mram_layout_finish(&l, &self->e));
	for (i = 0; i < ARRAY_SIZE(q); i++) {
		EXPECT_EQ(q[i].bitmap, l.blocks[i].bitmap_offset);
		EXPECT_EQ(q[i].pages, l.blocks[i].pages_offset);
	}
	EXPECT_EQ(0x3801000, l.tail_offset);
	mram_layout_free(&l);
}

/* 64 pages fill a word, the 65th begins another. */
TEST_F(layout, bitmap_sizes)
{
	static const struct { uint64_t pages, size; } c[] = {
		{ 1, 8 }, { 63, 8 }, { 64, 8 }, { 65, 16 }, { 128, 16 },
		{ 129, 24 },
	};
	char name[] = "a";
	size_t i;

	for (i = 0; i < ARRAY_SIZE(c); i++, name[0]++)
		ASSERT_EQ(i, mram_layout_add_block(&self->l, name,
						   c[i].pages * 4096, 4096,
						   &self->e));
	ASSERT_EQ(0, mram_layout_finish(&self->l, &self->e));
	for (i = 0; i < ARRAY_SIZE(c); i++)
		EXPECT_EQ(c[i].size, self->l.blocks[i].bitmap_size);
}

/* A bitmap that ends exactly at 1 MiB leaves no gap; one word more makes one. */
TEST_F(layout, pages_follow_at_once)
{
	/* 0x59 + 1 + 1 + 8 + 28 = 0x7f; 0x100000 - 0x7f is no multiple of 8. */
	struct mram_layout l;
	uint64_t words;
	int i;

	/* A machine name of 5 and a block name of 1: the bitmap is at 0x80. */
	words = (0x100000 - 0x80) / 8;
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, mram_layout_init(&l, "12345", &self->e));
		ASSERT_EQ(0, mram_layout_add_block(&l, "a",
						   (words + i) * 64 * 4096,
						   4096, &self->e));
		ASSERT_EQ(0, mram_layout_finish(&l, &self->e));
		EXPECT_EQ(0x80, l.blocks[0].bitmap_offset);
		EXPECT_EQ(i ? 0x200000 : 0x100000, l.blocks[0].pages_offset);
		mram_layout_free(&l);
	}
}

/* Pages of 2 MiB must be aligned to 2 MiB, or nobody could read them. */
TEST_F(layout, large_pages)
{
	ASSERT_EQ(0, mram_layout_add_block(&self->l, "a", 0x400000, 0x200000,
					   &self->e));
	ASSERT_EQ(1, mram_layout_add_block(&self->l, "b", 0x10000, 0x10000,
					   &self->e));
	ASSERT_EQ(0, mram_layout_finish(&self->l, &self->e));
	EXPECT_EQ(2, self->l.blocks[0].pages);
	EXPECT_EQ(0x200000, self->l.blocks[0].pages_offset);
	EXPECT_EQ(0x700000, self->l.blocks[1].pages_offset);
}

TEST_F(layout, nothing_to_lay_out)
{
	EXPECT_EQ(-EINVAL, mram_layout_finish(&self->l, &self->e));
	EXPECT_EQ(-EINVAL, self->e.code);
	EXPECT_TRUE(contains(self->e.message, "no block"));
}

TEST_F(layout, refused_blocks)
{
	static char long_name[257];
	const struct {
		const char *name;
		uint64_t length, page_size;
		int code;
		const char *words;
	} c[] = {
		{ "", 4096, 4096, -EINVAL, "block name|empty" },
		{ long_name, 4096, 4096, -EINVAL, "256 bytes|at most 255" },
		{ "a\nb", 4096, 4096, -EINVAL, "0x0a|position 1" },
		{ "a\x7f", 4096, 4096, -EINVAL, "0x7f" },
		{ "there", 4096, 4096, -EEXIST, "'there'|twice" },
		{ "x", 0, 4096, -EINVAL, "'x'|length 0x0|4096" },
		{ "x", 4095, 4096, -EINVAL, "'x'|0xfff|4096" },
		{ "x", 4096, 8192, -EINVAL, "'x'|0x1000|8192" },
		{ "x", 4096, 0, -EINVAL, "'x'|page size 0" },
		{ "x", 4096, 2048, -EINVAL, "'x'|page size 2048" },
		{ "x", 12288, 12288, -EINVAL, "'x'|page size 12288" },
		{ "x", 0x400000, 0x400000, -EINVAL, "'x'|4194304|2097152" },
		{ "x", 1ULL << 63, 4096, -EFBIG, "'x'|0x8000000000000000" },
		{ "x", UINT64_MAX & ~4095ULL, 4096, -EFBIG, "'x'" },
		{ "x", INT64_MAX & ~4095ULL, 4096, -EFBIG, "'x'" },
	};
	size_t i;

	memset(long_name, 'n', 256);
	ASSERT_EQ(0, mram_layout_add_block(&self->l, "there", 4096, 4096,
					   &self->e));
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		memset(&self->e, 0xa5, sizeof(self->e));
		EXPECT_EQ(c[i].code,
			  mram_layout_add_block(&self->l, c[i].name,
						c[i].length, c[i].page_size,
						&self->e)) {
			TH_LOG("case %zu", i);
		}
		EXPECT_EQ(c[i].code, self->e.code);
		EXPECT_TRUE(contains(self->e.message, c[i].words));
		EXPECT_EQ(c[i].code,
			  mram_layout_add_block(&self->l, c[i].name,
						c[i].length, c[i].page_size,
						NULL));
		EXPECT_EQ(1, self->l.nr_blocks);
		EXPECT_EQ(4096, self->l.total);
	}
	/* The longest name that there is, and the layout still works. */
	long_name[255] = '\0';
	EXPECT_EQ(1, mram_layout_add_block(&self->l, long_name, 4096, 4096,
					   &self->e));
	EXPECT_EQ(0, mram_layout_finish(&self->l, &self->e));
}

/* Lengths that fit, but not with what stands between them. */
TEST_F(layout, end_of_offsets)
{
	ASSERT_EQ(0, mram_layout_add_block(&self->l, "huge",
					   INT64_MAX & ~4095ULL, 4096,
					   &self->e));
	EXPECT_EQ(-EFBIG, mram_layout_finish(&self->l, &self->e));
	EXPECT_TRUE(contains(self->e.message, "'huge'|offset 0x8"));
}

TEST_F(layout, too_many_blocks)
{
	char name[16];
	int i;

	for (i = 0; i < 4096; i++) {
		snprintf(name, sizeof(name), "b%d", i);
		ASSERT_EQ(i, mram_layout_add_block(&self->l, name, 4096, 4096,
						   &self->e));
	}
	EXPECT_EQ(-ENOSPC, mram_layout_add_block(&self->l, "more", 4096, 4096,
						 &self->e));
	EXPECT_TRUE(contains(self->e.message, "'more'|4096"));
	EXPECT_EQ(0, mram_layout_finish(&self->l, &self->e));
}

TEST_F(layout, machine_names)
{
	static char long_name[257];
	struct mram_layout l;

	memset(long_name, 'm', 256);
	EXPECT_EQ(-EINVAL, mram_layout_init(&l, "", &self->e));
	EXPECT_TRUE(contains(self->e.message, "machine name|empty"));
	EXPECT_EQ(-EINVAL, mram_layout_init(&l, long_name, &self->e));
	EXPECT_EQ(-EINVAL, mram_layout_init(&l, "a\x01", &self->e));
	mram_layout_free(&l);
}

TEST_HARNESS_MAIN
