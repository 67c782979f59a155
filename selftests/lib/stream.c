// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the stream's bytes are those of QEMU's format: head, record and
 * tail are compared with bytes written out by hand, and what cannot be written
 * is refused with its errno and its name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "stream.h"

FIXTURE(stream) {
	struct mram_layout l;
	struct mram_buf b;
	struct mram_error e;
};

FIXTURE_SETUP(stream)
{
	ASSERT_EQ(0, mram_layout_init(&self->l, "none", &self->e));
	ASSERT_EQ(0, mram_layout_add_block(&self->l, "pc.ram", 0x4000, 4096,
					   &self->e));
	ASSERT_EQ(1, mram_layout_add_block(&self->l, "rom", 0x2000, 4096,
					   &self->e));
	ASSERT_EQ(0, mram_layout_finish(&self->l, &self->e));
}

FIXTURE_TEARDOWN(stream)
{
	mram_buf_free(&self->b);
	mram_layout_free(&self->l);
	EXPECT_NO_LEAKS();
}

static bool is(const struct mram_buf *b, const char *text)
{
	struct bytes want = bytes(text);
	bool equal = bytes_equal(b->data, b->length, want);

	free(want.data);
	return equal;
}

TEST_F(stream, head)
{
	ASSERT_EQ(0, mram_stream_head(&self->b, &self->l, &self->e));
	EXPECT_TRUE(is(&self->b, small_head));
	EXPECT_EQ(self->l.head_size, self->b.length);
}

TEST_F(stream, records)
{
	ASSERT_EQ(0, mram_stream_record(&self->b, &self->l.blocks[0],
					&self->e));
	EXPECT_TRUE(is(&self->b, small_record_a));
	EXPECT_EQ(self->l.blocks[0].record_size, self->b.length);
	mram_buf_free(&self->b);
	ASSERT_EQ(0, mram_stream_record(&self->b, &self->l.blocks[1],
					&self->e));
	EXPECT_TRUE(is(&self->b, small_record_b));
}

TEST_F(stream, tail)
{
	static const struct mram_section s = {
		.name = "cpu", .version = 1, .data = "abc", .length = 3,
	};

	ASSERT_EQ(0, mram_stream_tail(&self->b, &self->l, &s, 1, &self->e));
	EXPECT_TRUE(is(&self->b, small_tail));
	EXPECT_EQ(SMALL_END - SMALL_TAIL, self->b.length);
}

/* Ids count up; all bits of instance and version; quotes in JSON. */
TEST_F(stream, more_sections)
{
	static const struct mram_section s[] = {
		{ .name = "a/\"b\"", .instance = 0xffffffff,
		  .version = 0x80000000, .data = "\0\x06", .length = 2 },
		{ .name = "a/\"b\"", .instance = 1 },
	};
	static const char want[] =
		"04 00000000 05 'a/\"b\"' ffffffff 80000000 0006 7e 00000000"
		"04 00000001 05 'a/\"b\"' 00000001 00000000 7e 00000001"
		"00 06 0000026f";
	static const char devices[] =
		"\"devices\":["
		"{\"name\":\"a/\\\"b\\\"\",\"instance_id\":4294967295,"
		"\"vmsd_name\":\"a/\\\"b\\\"\",\"version\":2147483648,"
		"\"fields\":[{\"name\":\"data\",\"type\":\"buffer\","
		"\"size\":2}]},"
		"{\"name\":\"a/\\\"b\\\"\",\"instance_id\":1,"
		"\"vmsd_name\":\"a/\\\"b\\\"\",\"version\":0,"
		"\"fields\":[{\"name\":\"data\",\"type\":\"buffer\","
		"\"size\":0}]}]}";
	size_t ram_end = SMALL_STATE - SMALL_TAIL;
	struct bytes w = bytes(want);

	ASSERT_EQ(0, mram_stream_tail(&self->b, &self->l, s, 2, &self->e));
	ASSERT_EQ(ram_end + w.length + 0x26f, self->b.length);
	EXPECT_TRUE(bytes_equal(self->b.data + ram_end, w.length, w));
	EXPECT_EQ(0, memcmp(self->b.data + self->b.length -
			    (sizeof(devices) - 1), devices,
			    sizeof(devices) - 1));
	free(w.data);
}

TEST_F(stream, no_sections)
{
	static const char end[] = "\"page_size\":4096,\"devices\":[]}";

	ASSERT_EQ(0, mram_stream_tail(&self->b, &self->l, NULL, 0, &self->e));
	ASSERT_GT(self->b.length, sizeof(end));
	EXPECT_EQ(0, self->b.data[SMALL_STATE - SMALL_TAIL]);
	EXPECT_EQ(0, memcmp(self->b.data + self->b.length - (sizeof(end) - 1),
			    end, sizeof(end) - 1));
}

TEST_F(stream, refused_sections)
{
	static char long_name[257];
	const struct {
		struct mram_section s;
		int code;
		const char *words;
	} c[] = {
		{ { .name = "" }, -EINVAL, "section name|empty" },
		{ { .name = long_name }, -EINVAL, "section name|256" },
		{ { .name = "a\tb" }, -EINVAL, "section name|0x09" },
		{ { .name = "big", .length = 0x40000001 }, -EFBIG,
		  "'big'|1073741825" },
		{ { .name = "big", .length = SIZE_MAX }, -EFBIG, "'big'" },
	};
	size_t i;

	memset(long_name, 'n', 256);
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		memset(&self->e, 0xa5, sizeof(self->e));
		EXPECT_EQ(c[i].code, mram_stream_tail(&self->b, &self->l,
						      &c[i].s, 1, &self->e));
		EXPECT_EQ(c[i].code, self->e.code);
		EXPECT_TRUE(contains(self->e.message, c[i].words));
		EXPECT_EQ(0, self->b.length);
	}
}

/* Puts do not fail on the spot, so the end has to remember. */
TEST_F(stream, no_memory_is_reported)
{
	self->b.failed = true;
	EXPECT_EQ(-ENOMEM, mram_stream_head(&self->b, &self->l, &self->e));
	EXPECT_EQ(-ENOMEM, self->e.code);
	EXPECT_EQ(-ENOMEM, mram_stream_record(&self->b, &self->l.blocks[0],
					      &self->e));
	EXPECT_EQ(-ENOMEM, mram_stream_tail(&self->b, &self->l, NULL, 0,
					    &self->e));
	EXPECT_EQ(0, self->b.length);
}

TEST_HARNESS_MAIN
