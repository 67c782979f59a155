// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that every field of an image that can be wrong is found to be wrong:
 * one field a case, each with its errno and a message that names the block or
 * part, the offset in the file, what was found and what was expected; and that
 * a failed open leaves the output alone and nothing behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

struct damage {
	uint64_t at;
	const char *put;
	int code;
	const char *words;	/* all of them must be in the message */
};

FIXTURE(damage) {
	int fd;
	char *path;
	struct mram_error e;
};

FIXTURE_SETUP(damage)
{
	self->path = mem_file(&self->fd);
}

FIXTURE_TEARDOWN(damage)
{
	close(self->fd);
	free(self->path);
	EXPECT_NO_LEAKS();
}

#if defined(__SANITIZE_ADDRESS__)
/* More memory than there is gives NULL also under ASan. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}
#endif

/* Opens, and asks for what is read only then. */
static int check(const char *path, struct mram_error *e)
{
	struct mram_block_info b = { .size = sizeof(b) };
	struct mram_image *img = (void *)77;
	int i, ret;

	if (e)
		memset(e, 0xa5, sizeof(*e));
	ret = mram_image_open(&img, path, e);
	if (ret)
		return img == (void *)77 ? ret : 1;
	for (i = 0; !ret && i < mram_image_blocks(img); i++)
		ret = mram_image_block(img, i, &b, e);
	mram_image_close(img);
	return ret;
}

static void try_all(struct __test_metadata *_metadata,
		    FIXTURE_DATA(damage) *self, const struct damage *d,
		    size_t n)
{
	size_t i;

	for (i = 0; i < n; i++, d++) {
		ASSERT_EQ(0, ftruncate(self->fd, 0));
		small_image(self->fd);
		ASSERT_EQ(0, check(self->path, &self->e));
		put_text(self->fd, d->at, d->put);
		EXPECT_EQ(d->code, check(self->path, &self->e)) {
			TH_LOG("case %zu: %s", i, self->e.message);
		}
		EXPECT_EQ(d->code, self->e.code);
		EXPECT_TRUE(contains(self->e.message, d->words)) {
			TH_LOG("case %zu", i);
		}
		EXPECT_EQ(d->code, check(self->path, NULL));
	}
}

#define TRY(cases) try_all(_metadata, self, cases, ARRAY_SIZE(cases))

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

TEST_F(damage, end_of_ram)
{
	static const struct damage d[] = {
		{ 0x202000, "0000000000000008", -EINVAL,
		  "RAM|offset 0x202000|0x8|0x10" },
		{ 0x202000, "0000000000001010", -EINVAL,
		  "RAM|offset 0x202000|0x1010" },
		{ 0x202008, "7f", -EINVAL, "RAM|offset 0x202008|0x7f|0x7e" },
		{ 0x202009, "00000000", -EINVAL,
		  "RAM|offset 0x202009|0, expected 1297236301" },
		{ 0x20200d, "04", -EINVAL, "RAM|offset 0x20200d|0x04|0x03" },
		{ 0x20200d, "00", -EINVAL, "RAM|offset 0x20200d|0x00|0x03" },
		{ 0x20200e, "00000001", -EINVAL, "RAM|offset 0x20200e|1, exp" },
		{ 0x202012, "0000000000000000", -EINVAL, "RAM|offset 0x202012" },
		{ 0x20201a, "00", -EINVAL, "RAM|offset 0x20201a|0x00|0x7e" },
		{ 0x20201b, "ffffffff", -EINVAL, "RAM|offset 0x20201b|4294967295" },
		/* Commands: another one, and one with data. */
		{ 0x20200d, "08 0001 0000", -EOPNOTSUPP,
		  "RAM|offset 0x20200e|command 1 with 0 bytes|11" },
		{ 0x20200d, "08 000b 0001", -EOPNOTSUPP,
		  "RAM|offset 0x20200e|command 11 with 1 bytes" },
		/* An iteration where nothing follows any more. */
		{ 0x20200d, "02", -EINVAL, "RAM|offset 0x20201f|0x04|0x03" },
	};

	TRY(d);
}

TEST_F(damage, device_state)
{
	static const struct damage d[] = {
		{ 0x20201f, "03", -EINVAL, "device state|offset 0x20201f|0x03" },
		{ 0x20201f, "00", -EINVAL,
		  "device state|offset 0x20201f|0x202038" },
		{ 0x202020, "00000001", -EINVAL,
		  "'cpu'|offset 0x202034|0, expected 1" },
		{ 0x202024, "00", -EINVAL, "device state|offset 0x202024|empty" },
		{ 0x202025, "'gpu'", -EINVAL,
		  "'gpu'|offset 0x20201f|instance 0|not in the description" },
		{ 0x202028, "00000001", -EINVAL,
		  "'cpu'|offset 0x20201f|instance 1|not in the description" },
		{ 0x202033, "7d", -EINVAL, "'cpu'|offset 0x202033|0x7d|0x7e" },
		{ 0x202034, "00000007", -EINVAL,
		  "'cpu'|offset 0x202034|7, expected 0" },
		{ 0x202038, "01", -EINVAL, "device state|offset 0x20201f|cut" },
		{ 0x202039, "07", -EINVAL, "device state|offset 0x20201f|cut" },
		{ 0x20203a, "000001db", -EINVAL, "description|offset 0x20203e|475" },
		{ 0x20203a, "000001dd", -EINVAL,
		  "description|offset 0x20203a|477|0x20221a" },
		{ 0x20203a, "ffffffff", -EINVAL,
		  "description|offset 0x20203a|4294967295|16777216" },
		{ 0x20203a, "00000000", -EINVAL, "description|offset 0x20203e" },
		{ 0x20203e, "'['", -EINVAL, "device state|offset 0x20201f|cut" },
		{ 0x20203f, "'x'", -EINVAL, "description|offset 0x20203e|JSON" },
		{ 0x202219, "']'", -EINVAL, "description|offset 0x20203e|JSON" },
		/* "devices", "fields", and "size":3 changed. */
		{ 0x20219e, "'D'", -EINVAL,
		  "description|offset 0x20203e|'devices'" },
		{ 0x202214, "'4'", -EINVAL, "'cpu'|offset 0x202034|0x00|0x7e" },
		{ 0x202214, "'0'", -EINVAL, "'cpu'|offset 0x202030|0x61|0x7e" },
		{ 0x202213, "'-'", -EINVAL, "description|offset 0x20203e|JSON" },
	};

	TRY(d);
}

TEST_F(damage, not_committed)
{
	static const uint8_t zero[4096];

	/* Empty; short and zero; the first block zero and all the rest there. */
	EXPECT_EQ(-ENODATA, check(self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message, "empty"));
	ASSERT_EQ(0, ftruncate(self->fd, 100));
	EXPECT_EQ(-ENODATA, check(self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message, "first 100 bytes|zero"));
	small_image(self->fd);
	put_at(self->fd, 0, zero, sizeof(zero));
	EXPECT_EQ(-ENODATA, check(self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message, "4096|zero|committed"));
	/* One byte more is another matter. */
	put_text(self->fd, 4095, "01");
	EXPECT_EQ(-EINVAL, check(self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message, "magic|0x00000000"));
}

TEST_F(damage, cut)
{
	static const struct { uint64_t size; const char *words; } c[] = {
		{ 1, "offset 0x0|4 bytes (magic)|0x1" },
		{ 3, "offset 0x0|4 bytes (magic)|0x3" },
		{ 0xf, "configuration|offset 0xd|4 bytes (machine name)|0xf" },
		{ 0x59, "block 0|offset 0x59|1 bytes (block name)|0x59" },
		{ 0x84, "'pc.ram'|offset 0x74|bitmap at 0x84|0x84" },
		{ 0x103fff, "'pc.ram'|offset 0x7c|0x100000|0x103fff" },
		{ 0x104000, "block 1|offset 0x104000" },
		{ 0x201fff, "'rom'|offset 0x104020|0x200000|0x201fff" },
		{ 0x202000, "RAM|offset 0x202000" },
		{ 0x20201f, "device state|offset 0x20201f|cut" },
		{ 0x202030, "device state|offset 0x20201f|cut" },
		/* Behind the end mark, and in the description. */
		{ 0x202039, "device state|offset 0x20201f|cut" },
		{ 0x202219, "description|offset 0x20203a|476|0x202219" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		small_image(self->fd);
		ASSERT_EQ(0, ftruncate(self->fd, (off_t)c[i].size));
		EXPECT_EQ(-EINVAL, check(self->path, &self->e));
		EXPECT_TRUE(contains(self->e.message, c[i].words));
	}
}

/* Blocks without a page cost nothing to write, so there may be many. */
TEST_F(damage, too_many_blocks)
{
	char text[160];
	uint64_t at;
	int i;

	small_image(self->fd);
	put_text(self->fd, SMALL_TOTAL, "0000000000001004");
	for (i = 0, at = SMALL_RECORD_A; i <= 4096; i++, at += 0x1000) {
		snprintf(text, sizeof(text),
			 "04 '%04x' 0000000000000000 00000001 "
			 "0000000000001000 %016llx %016llx", i,
			 (unsigned long long)at + 41,
			 ((unsigned long long)at + 41 + 4095) & ~4095ULL);
		put_text(self->fd, at, text);
		at = (at + 41 + 4095) & ~4095ULL;
		at -= 0x1000;
	}
	EXPECT_EQ(-EINVAL, check(self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message, "'0fff'|at most 4096"));
}

/*
 * A hole of an exabyte is a file, too: nothing may be allocated, or read to
 * its end, because a header says so.
 */
TEST_F(damage, huge_hole)
{
	struct mram_block_info b = { .size = sizeof(b) };
	struct mram_image *img;
	int ret;

	small_image(self->fd);
	put_text(self->fd, SMALL_TOTAL, "0400000000000004");
	put_text(self->fd, 0x60, "0400000000000000");
	put_text(self->fd, 0x7c, "0000200000000000");
	ASSERT_EQ(0, ftruncate(self->fd, 0x0500000000000000));
	put_text(self->fd, 0x0400200000000000,
		 "0000000000000010 7e 4d52414d 03 4d52414d 0000000000000010"
		 "7e 4d52414d 00");
	EXPECT_EQ(-EINVAL, mram_image_open(&img, self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message,
			     "device state|0x40020000000001f|cut"));

	/* The same without a description that must be there, by QEMU. */
	put_text(self->fd, 0x41, "00000002");
	put_text(self->fd, 0x0400200000000000,
		 "0000000000000010 7e 00000002 03 00000002 0000000000000010"
		 "7e 00000002 00");
	ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e)) {
		TH_LOG("%s", self->e.message);
	}
	/* Where memory is promised freely, 8 TiB of it that nobody touches. */
	ret = mram_image_block(img, 0, &b, &self->e);
	if (ret) {
		EXPECT_EQ(-ENOMEM, ret);
		EXPECT_TRUE(contains(self->e.message, "'pc.ram'|memory"));
	} else {
		EXPECT_EQ(0, b.set_pages);
	}
	mram_image_close(img);
}

TEST_HARNESS_MAIN
