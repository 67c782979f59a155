// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that every field from an image's start to its last bitmap that can be
 * wrong is found to be wrong: one field a case, each with its errno and a
 * message that names the block or part, the offset in the file, what was found
 * and what was expected; and that a failed open leaves the output alone and
 * nothing behind.
 */
#include "damage.h"

TEST_F(damage, prologue)
{
	static const struct damage d[] = {
		{ 0x0, "00", -EINVAL, "offset 0x0|0x0045564d|0x5145564d" },
		{ 0x0, "7f454c46", -EINVAL, "offset 0x0|0x7f454c46" },
		{ 0x4, "00000002", -EINVAL, "offset 0x4|version|2, expected 3" },
		{ 0x4, "00000004", -EINVAL, "offset 0x4|version|4, expected 3" },
		{ 0x8, "01", -EINVAL, "configuration|offset 0x8|0x01|0x07" },
		{ 0x9, "00000100", -EINVAL, "configuration|offset 0x9|256" },
		{ 0x9, "ffffffff", -EINVAL, "offset 0x9|4294967295|255" },
		{ 0x9, "00000000", -EINVAL, "offset 0x9|machine name|empty" },
		{ 0xd, "1b", -EINVAL, "machine name|0x1b|position 0" },
		{ 0x11, "01", -EINVAL, "'mapped-ram'|not a mapped-ram image" },
		{ 0x11, "06", -EINVAL, "'mapped-ram'|not a mapped-ram image" },
	};

	TRY(d);
}

TEST_F(damage, subsections)
{
	static const struct damage d[] = {
		{ 0x12, "00", -EINVAL, "offset 0x12|subsection|empty" },
		{ 0x13, "'C'", -EOPNOTSUPP,
		  "offset 0x12|unknown|'Configuration/capabilities'" },
		{ 0x2d, "00000002", -EINVAL, "offset 0x2d|2, expected 1" },
		{ 0x31, "00000041", -EINVAL, "offset 0x31|65 cap|at most 64" },
		{ 0x31, "00000000", -EINVAL, "not a mapped-ram image" },
		{ 0x35, "00", -EINVAL, "offset 0x35|capability|empty" },
		{ 0x36, "'M'", -EOPNOTSUPP,
		  "offset 0x35|'Mapped-ram'|expected only 'mapped-ram'" },
		/* One long enough, in place of all that follows. */
		{ 0x31, "00000001 0f 'x-ignore-shared'", -EOPNOTSUPP,
		  "configuration|offset 0x35|'x-ignore-shared'" },
		{ 0x31, "00000002 0a 'mapped-ram' 0f 'x-ignore-shared'",
		  -EOPNOTSUPP, "offset 0x40|'x-ignore-shared'" },
		{ 0x31, "00000002 0a 'mapped-ram' 0a 'mapped-ram'", -EINVAL,
		  "offset 0x40|'mapped-ram'|twice" },
		{ 0x40, "05 1a 'configuration/capabilities'", -EINVAL,
		  "offset 0x41|twice" },
		{ 0x40, "05 1e 'configuration/target-page-bits' 00000001"
		  "0000000b", -EINVAL, "offset 0x64|bits is 11|12 to 21" },
		{ 0x40, "05 1e 'configuration/target-page-bits' 00000001"
		  "00000016", -EINVAL, "offset 0x64|bits is 22" },
		{ 0x40, "05 1e 'configuration/target-page-bits' 00000001"
		  "00000020", -EINVAL, "offset 0x64|bits is 32" },
		{ 0x40, "05 1e 'configuration/target-page-bits' 00000001"
		  "ffffffff", -EINVAL, "offset 0x64|bits is 4294967295" },
		{ 0x40, "05 19 'configuration/postcopying'", -EOPNOTSUPP,
		  "offset 0x41|unknown|'configuration/postcopying'" },
	};

	TRY(d);
}

TEST_F(damage, ram_section)
{
	static const struct damage d[] = {
		{ 0x40, "02", -EINVAL, "RAM|offset 0x40|0x02|0x01" },
		{ 0x40, "04", -EOPNOTSUPP, "RAM|offset 0x40|'ram'" },
		{ 0x40, "08", -EINVAL, "RAM|offset 0x40|0x08|0x01" },
		{ 0x45, "00", -EINVAL, "offset 0x45|section name|empty" },
		{ 0x46, "'rom'", -EOPNOTSUPP, "offset 0x40|'rom'|'ram'" },
		{ 0x49, "00000001", -EINVAL, "offset 0x49|1, expected 0" },
		{ 0x4d, "00000003", -EINVAL, "offset 0x4d|3, expected 4" },
		{ 0x4d, "00000005", -EINVAL, "offset 0x4d|5, expected 4" },
		{ 0x51, "0000000000006000", -EINVAL, "offset 0x51|0x6000|0x004" },
		{ 0x51, "0000000000006014", -EINVAL, "offset 0x51|0x6014" },
		{ 0x51, "0000000000006804", -EINVAL, "offset 0x51|0x6804" },
		/* Less than the blocks have, and more. */
		{ 0x51, "0000000000003004", -EINVAL,
		  "'pc.ram'|offset 0x60|0x4000|0x3000" },
		{ 0x51, "0000000000004004", -EINVAL, "RAM|offset 0x104000" },
		{ 0x51, "0000000000005004", -EINVAL,
		  "'rom'|offset 0x104004|0x2000|0x1000" },
		{ 0x51, "0000000000007004", -EINVAL, "block 2|offset 0x202000" },
		{ 0x51, "fffffffffffff004", -EINVAL, "block 2|offset 0x202000" },
	};

	TRY(d);
}

TEST_F(damage, block)
{
	static const struct damage d[] = {
		{ 0x59, "00", -EINVAL, "block 0|offset 0x59|empty" },
		{ 0x5a, "00", -EINVAL, "block 0|offset 0x59|0x00|position 0" },
		{ 0x5c, "0a", -EINVAL, "block 0|offset 0x59|0x0a|position 2" },
		{ 0x104001, "'pc.ram'", -EINVAL, "'pc.'|offset 0x104004" },
		/* Then the next record would be where the pages are. */
		{ 0x60, "0000000000000000", -EINVAL, "block 'AAA|offset 0x100042" },
		{ 0x60, "0000000000004001", -EINVAL,
		  "'pc.ram'|offset 0x6c|0x4001|4096" },
		{ 0x60, "0000000000006001", -EINVAL,
		  "'pc.ram'|offset 0x60|0x6001|0x6000" },
		{ 0x60, "ffffffffffffffff", -EINVAL,
		  "'pc.ram'|offset 0x60|0xffffffffffffffff" },
		{ 0x68, "00000000", -EINVAL, "'pc.ram'|offset 0x68|0, expected 1" },
		{ 0x68, "00000002", -EINVAL, "'pc.ram'|offset 0x68|2, expected 1" },
		{ 0x6c, "0000000000000000", -EINVAL, "'pc.ram'|offset 0x6c|size 0" },
		{ 0x6c, "0000000000000800", -EINVAL, "'pc.ram'|offset 0x6c|2048" },
		{ 0x6c, "0000000000001800", -EINVAL, "'pc.ram'|offset 0x6c|6144" },
		{ 0x6c, "0000000000400000", -EINVAL, "'pc.ram'|offset 0x6c|4194304" },
		{ 0x6c, "8000000000000000", -EINVAL, "'pc.ram'|offset 0x6c|power" },
		{ 0x6c, "0000000000008000", -EINVAL,
		  "'pc.ram'|offset 0x6c|0x4000|32768" },
	};

	TRY(d);
}

/* This one needs a name as long as the other's. */
TEST_F(damage, block_twice)
{
	small_image(self->fd);
	put_text(self->fd, 0x104000, "06 'pc.ram' 0000000000002000 00000001"
		 "0000000000001000 0000000000104030 0000000000200000");
	EXPECT_EQ(-EINVAL, check(self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message,
			     "'pc.ram'|offset 0x104000|twice|unique"));
}

TEST_F(damage, places)
{
	static const struct damage d[] = {
		/* Bitmap: in the head, in its record, behind the end, and wrapped. */
		{ 0x74, "0000000000000000", -EINVAL,
		  "'pc.ram'|offset 0x74|bitmap at 0x0|0x84" },
		{ 0x74, "0000000000000083", -EINVAL,
		  "'pc.ram'|offset 0x74|bitmap at 0x83|0x84" },
		{ 0x74, "0000000000202213", -EINVAL,
		  "'pc.ram'|offset 0x74|0x202213|0x8 bytes|0x20221a" },
		{ 0x74, "000000000020221b", -EINVAL, "'pc.ram'|offset 0x74" },
		{ 0x74, "ffffffffffffffff", -EINVAL,
		  "'pc.ram'|offset 0x74|0xffffffffffffffff|0x20221a" },
		{ 0x74, "fffffffffffffff8", -EINVAL, "'pc.ram'|offset 0x74" },
		/* In the pages. */
		{ 0x74, "00000000000ffff9", -EINVAL,
		  "'pc.ram'|offset 0x7c|pages at 0x100000|0x100001" },
		/* Pages: in the bitmap, unaligned, behind the end, wrapped. */
		{ 0x7c, "0000000000000000", -EINVAL,
		  "'pc.ram'|offset 0x7c|pages at 0x0|0x8c" },
		{ 0x7c, "0000000000100001", -EINVAL,
		  "'pc.ram'|offset 0x7c|0x100001|4096" },
		{ 0x7c, "0000000000100800", -EINVAL,
		  "'pc.ram'|offset 0x7c|0x100800|4096" },
		{ 0x7c, "00000000001fe000", -EINVAL, "block 1|offset 0x202000" },
		{ 0x7c, "0000000000200000", -EINVAL,
		  "'pc.ram'|offset 0x7c|0x200000|0x4000 bytes|0x20221a" },
		{ 0x7c, "fffffffffffff000", -EINVAL,
		  "'pc.ram'|offset 0x7c|0xfffffffffffff000" },
		{ 0x7c, "ffffffffffffc000", -EINVAL, "'pc.ram'|offset 0x7c" },
		/* The second block's must lie behind the first's. */
		{ 0x104018, "0000000000000084", -EINVAL,
		  "'rom'|offset 0x104018|bitmap at 0x84|0x104028" },
		{ 0x104020, "0000000000100000", -EINVAL,
		  "'rom'|offset 0x104020|pages at 0x100000|0x104030" },
		{ 0x104020, "0000000000104000", -EINVAL,
		  "'rom'|offset 0x104020|pages at 0x104000|0x104030" },
	};

	TRY(d);
}

TEST_F(damage, bitmaps)
{
	static const struct damage d[] = {
		{ 0x84, "1f", -EINVAL,
		  "'pc.ram'|offset 0x84|bit 4|from 4 on" },
		{ 0x8b, "80", -EINVAL,
		  "'pc.ram'|offset 0x84|bit 63|from 4 on" },
		{ 0x104028, "04", -EINVAL,
		  "'rom'|offset 0x104028|bit 2|from 2 on" },
	};

	TRY(d);
}

TEST_HARNESS_MAIN
