// SPDX-License-Identifier: GPL-2.0
/*
 * Proves the same of what stands behind the pages, the end of the RAM section
 * and the device state, and of the file as a whole: not committed, cut, more
 * blocks than there can be, a hole of an exabyte.
 */
#include "damage.h"

#if defined(__SANITIZE_ADDRESS__)
/* More memory than there is gives NULL also under ASan. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}
#endif

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
		{ 0x20203e, "'{}'", -EINVAL, "description|offset 0x20203e|JSON" },
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

/*
 * Descriptions whose lengths lead out of the file, or wrap around to what
 * would be the right one.
 */
TEST_F(damage, lying_descriptions)
{
	static const struct { const char *fields, *words; } c[] = {
		{ "{\"size\":9999}", "'cpu'|offset 0x202030|9999 bytes|file's end" },
		{ "{\"size\":9223372036854775807}",
		  "'cpu'|offset 0x202030|9223372036854775807 bytes" },
		{ "{\"size\":9223372036854775807},"
		  "{\"size\":9223372036854775807},{\"size\":5}",
		  "'cpu'|offset 0x20201f|does not tell its length" },
		{ "{\"size\":6148914691236517206,\"array_len\":3},{\"size\":1}",
		  "'cpu'|offset 0x20201f|does not tell its length" },
		{ "{\"size\":-1},{\"size\":4}", "'cpu'|does not tell" },
		{ "{\"size\":-3,\"array_len\":-1}", "'cpu'|does not tell" },
		{ "{\"size\":3,\"array_len\":-1}", "'cpu'|does not tell" },
		{ "{\"size\":\"3\"}", "'cpu'|does not tell" },
		{ "{\"size\":3.0}", "'cpu'|does not tell" },
		{ "{}", "'cpu'|does not tell" },
		{ "[3]", "'cpu'|does not tell" },
		{ "", "'cpu'|offset 0x202030|0x61|0x7e" },
	};
	char text[512], put[600];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		small_image(self->fd);
		snprintf(text, sizeof(text),
			 "{\"devices\":[{\"name\":\"cpu\",\"instance_id\":0,"
			 "\"fields\":[%s]}]}", c[i].fields);
		snprintf(put, sizeof(put), "00 06 %08zx '%s'", strlen(text),
			 text);
		ASSERT_EQ(0, ftruncate(self->fd, SMALL_EOF));
		put_text(self->fd, SMALL_EOF, put);
		EXPECT_EQ(-EINVAL, check(self->path, &self->e));
		EXPECT_TRUE(contains(self->e.message, c[i].words));
	}
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
