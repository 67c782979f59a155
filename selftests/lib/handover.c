// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the stream in which QEMU hands its device state over is taken
 * apart byte by byte: what becomes of configuration, blocks, pages and device
 * state, and that one that is cut anywhere, or has what an image cannot have,
 * is an error and nothing worse.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"

#include "qemu_stream.h"

#define PAGE	4096

static const char state[] =
	"\004\0\0\0\005\003dev\0\0\0\0\0\0\0\001data\176\0\0\0\005"
	"\0\006\0\0\0\002{}";

static void put(struct mram_buf *b, uint64_t v, unsigned int length)
{
	uint64_t be = htobe64(v);

	mram_buf_put(b, (uint8_t *)&be + 8 - length, length);
}

static void name(struct mram_buf *b, const char *text)
{
	put(b, strlen(text), 1);
	mram_buf_put(b, text, strlen(text));
}

static void configuration(struct mram_buf *b, const char *capability)
{
	put(b, 0x5145564d, 4);
	put(b, 3, 4);
	put(b, 7, 1);
	put(b, 6, 4);
	mram_buf_put(b, "pc-q35", 6);
	put(b, 5, 1);
	name(b, "configuration/capabilities");
	put(b, 1, 4);
	put(b, 1, 4);
	name(b, capability);
	put(b, 5, 1);
	name(b, "configuration/uuid");
	put(b, 1, 4);
	mram_buf_put(b, "0123456789abcdef", 16);
}

static void section(struct mram_buf *b, unsigned int type, const char *text,
		    uint32_t version)
{
	put(b, type, 1);
	put(b, 2, 4);
	name(b, text);
	put(b, 0, 4);
	put(b, version, 4);
}

static void block(struct mram_buf *b, const char *text, uint64_t length)
{
	name(b, text);
	put(b, length, 8);
	put(b, 0x12345000, 8);
}

static void stop(struct mram_buf *b)
{
	put(b, 0x10, 8);
	put(b, 0x7e, 1);
	put(b, 2, 4);
}

static void page(struct mram_buf *b, uint64_t word, const char *text, int fill)
{
	uint8_t data[PAGE];

	put(b, word, 8);
	if (text)
		name(b, text);
	memset(data, fill, sizeof(data));
	mram_buf_put(b, data, word & 8 ? PAGE : 1);
}

/* Two blocks; "rom" has three pages, of which the second comes twice. */
static void stream(struct mram_buf *b)
{
	configuration(b, "x-ignore-shared");
	section(b, 1, "ram", 4);
	put(b, (7 * PAGE) | 4, 8);
	block(b, "/objects/mem", 4 * PAGE);
	block(b, "0000:00:01.0/rom", 3 * PAGE);
	stop(b);
	put(b, 2, 1);
	put(b, 2, 4);
	page(b, 0x08, "0000:00:01.0/rom", 0x11);
	page(b, PAGE | 0x28, NULL, 0x22);
	stop(b);
	put(b, 8, 1);
	put(b, 11, 2);
	put(b, 0, 2);
	put(b, 3, 1);
	put(b, 2, 4);
	/* The block is remembered from one part to the next. */
	page(b, 2 * PAGE | 0x22, NULL, 0);
	page(b, PAGE | 0x28, NULL, 0x33);
	put(b, 0x200, 8);
	stop(b);
	mram_buf_put(b, state, sizeof(state) - 1);
}

TEST(everything_is_found)
{
	struct mram_buf b = { 0 }, want = { 0 };
	struct qemu_stream s = { 0 };
	struct mram_error err = { 0 };

	stream(&b);
	ASSERT_EQ(0, qemu_stream_parse(&s, b.data, b.length, &err))
		TH_LOG("%s", err.message);
	ASSERT_EQ(2, s.nr);
	EXPECT_STREQ("/objects/mem", s.blocks[0].name);
	EXPECT_EQ(4 * PAGE, s.blocks[0].length);
	EXPECT_TRUE(s.blocks[0].elsewhere);
	EXPECT_STREQ("0000:00:01.0/rom", s.blocks[1].name);
	EXPECT_FALSE(s.blocks[1].elsewhere);
	EXPECT_EQ(3, s.blocks[1].there[0]);
	EXPECT_EQ(0x11, s.blocks[1].data[PAGE - 1]);
	EXPECT_EQ(0x33, s.blocks[1].data[PAGE]);
	EXPECT_EQ(0, s.blocks[1].data[2 * PAGE]);

	configuration(&want, "mapped-ram");
	ASSERT_EQ(want.length - 8, s.foreign.config_length);
	EXPECT_EQ(0, memcmp(want.data + 8, s.foreign.config,
			    s.foreign.config_length));
	ASSERT_EQ(sizeof(state) - 1, s.foreign.state_length);
	EXPECT_EQ(0, memcmp(state, s.foreign.state, sizeof(state) - 1));
	/* There is a description, so the id may say so. */
	EXPECT_EQ(0x4d52414d, s.foreign.ram_id);
	qemu_stream_free(&s);
	mram_buf_free(&want);
	mram_buf_free(&b);
}

TEST(without_a_description_the_id_stays)
{
	struct mram_buf b = { 0 };
	struct qemu_stream s = { 0 };

	stream(&b);
	ASSERT_EQ(0, qemu_stream_parse(&s, b.data, b.length - 7, NULL));
	EXPECT_EQ(2, s.foreign.ram_id);
	qemu_stream_free(&s);
	mram_buf_free(&b);
}

/* Copies of the exact length: ASan sees a read behind the end. */
TEST(cut_anywhere)
{
	size_t length, whole, good = 0;
	struct mram_buf b = { 0 };

	stream(&b);
	whole = b.length - (sizeof(state) - 1);
	for (length = 0; length < b.length; length++) {
		uint8_t *copy = malloc(length + !length);
		struct qemu_stream s = { 0 };
		struct mram_error err = { 0 };

		memcpy(copy, b.data, length);
		if (qemu_stream_parse(&s, copy, length, &err)) {
			EXPECT_NE('\0', err.message[0]);
		} else {
			/* Device state is opaque, but for its last byte. */
			EXPECT_GT(length, whole);
			good++;
		}
		qemu_stream_free(&s);
		free(copy);
	}
	EXPECT_LT(good, sizeof(state) - 1);
	mram_buf_free(&b);
}

/* Each byte in front of the state wrong in turn: no crash, and no leak. */
TEST(damaged_anywhere)
{
	struct mram_buf b = { 0 };
	size_t at, errors = 0;

	stream(&b);
	for (at = 0; at < b.length - (sizeof(state) - 1); at++) {
		static const uint8_t flip[] = { 0x01, 0x80, 0xff };
		size_t i;

		for (i = 0; i < sizeof(flip); i++) {
			struct qemu_stream s = { 0 };

			b.data[at] ^= flip[i];
			errors += qemu_stream_parse(&s, b.data, b.length,
						    NULL) != 0;
			qemu_stream_free(&s);
			b.data[at] ^= flip[i];
		}
	}
	EXPECT_GT(errors, 300);
	mram_buf_free(&b);
}

struct bad {
	const char *what;
	int code;
	void (*build)(struct mram_buf *b);
};

static void other_capability(struct mram_buf *b)
{
	configuration(b, "xbzrle");
}

static void early_device(struct mram_buf *b)
{
	configuration(b, "x-ignore-shared");
	section(b, 4, "virtio-mem-device-early", 1);
}

static void dirty_bitmaps(struct mram_buf *b)
{
	configuration(b, "x-ignore-shared");
	section(b, 1, "dirty-bitmap", 1);
}

static void one_page(struct mram_buf *b, uint64_t length, uint64_t word,
		     const char *text)
{
	configuration(b, "x-ignore-shared");
	section(b, 1, "ram", 4);
	put(b, length | 4, 8);
	block(b, "rom", length);
	page(b, word, text, 1);
	stop(b);
	put(b, 3, 1);
	put(b, 2, 4);
	stop(b);
	mram_buf_put(b, state, sizeof(state) - 1);
}

static void half_a_block(struct mram_buf *b)
{
	one_page(b, 2 * PAGE, 0x08, "rom");
}

static void page_behind_the_end(struct mram_buf *b)
{
	one_page(b, PAGE, PAGE | 0x08, "rom");
}

static void page_of_no_block(struct mram_buf *b)
{
	one_page(b, PAGE, 0x08, "rum");
}

static void page_of_the_last_block(struct mram_buf *b)
{
	one_page(b, PAGE, 0x28, NULL);
}

static void compressed_page(struct mram_buf *b)
{
	one_page(b, PAGE, 0x100, "rom");
}

static void vast_private_block(struct mram_buf *b)
{
	one_page(b, 1ull << 40, 0x08, "rom");
}

TEST(what_cannot_be)
{
	static const struct bad bad[] = {
		{ "capability 'xbzrle'", -EOPNOTSUPP, other_capability },
		{ "'virtio-mem-device-early'", -EOPNOTSUPP, early_device },
		{ "'dirty-bitmap'", -EOPNOTSUPP, dirty_bitmaps },
		{ "'rom': QEMU sent 1 of its 2", -EPROTO, half_a_block },
		{ "place of a page", -EPROTO, page_behind_the_end },
		{ "place of a page", -EPROTO, page_of_no_block },
		{ "place of a page", -EPROTO, page_of_the_last_block },
		{ "kind of a page", -EPROTO, compressed_page },
		{ "private memory", -EOPNOTSUPP, vast_private_block },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mram_buf b = { 0 };
		struct qemu_stream s = { 0 };
		struct mram_error err = { 0 };

		bad[i].build(&b);
		EXPECT_EQ(bad[i].code,
			  qemu_stream_parse(&s, b.data, b.length, &err))
			TH_LOG("%s: %s", bad[i].what, err.message);
		EXPECT_NE(NULL, strstr(err.message, bad[i].what))
			TH_LOG("%s: %s", bad[i].what, err.message);
		qemu_stream_free(&s);
		mram_buf_free(&b);
	}
}

TEST_HARNESS_MAIN
