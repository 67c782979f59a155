// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the small image, written out by hand, is read as what it is:
 * blocks, bitmaps, pages' places, sections; and that questions it has no
 * answer to get their errno and leave the outputs alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

FIXTURE(image) {
	int fd;
	char *path;
	struct mram_image *img;
	struct mram_error e;
};

FIXTURE_SETUP(image)
{
	self->path = mem_file(&self->fd);
	small_image(self->fd);
	ASSERT_EQ(0, mram_image_open(&self->img, self->path, &self->e)) {
		TH_LOG("%s", self->e.message);
	}
	memset(&self->e, 0xa5, sizeof(self->e));
}

FIXTURE_TEARDOWN(image)
{
	mram_image_close(self->img);
	close(self->fd);
	free(self->path);
	EXPECT_NO_LEAKS();
}

TEST_F(image, as_a_whole)
{
	EXPECT_STREQ("none", mram_image_machine(self->img));
	EXPECT_EQ(SMALL_END, mram_image_size(self->img));
	EXPECT_EQ(SMALL_STATE, mram_image_state_offset(self->img));
	EXPECT_EQ(2, mram_image_blocks(self->img));
	EXPECT_EQ(0, mram_image_find(self->img, "pc.ram"));
	EXPECT_EQ(1, mram_image_find(self->img, "rom"));
	EXPECT_EQ(-ENOENT, mram_image_find(self->img, "ro"));
	EXPECT_EQ(-ENOENT, mram_image_find(self->img, ""));
	EXPECT_EQ(1, mram_image_sections(self->img));
}

TEST_F(image, blocks)
{
	struct mram_block_info i = { .size = sizeof(i) };

	ASSERT_EQ(0, mram_image_block(self->img, 0, &i, &self->e));
	EXPECT_EQ(sizeof(i), i.size);
	EXPECT_STREQ("pc.ram", i.name);
	EXPECT_EQ(0x4000, i.length);
	EXPECT_EQ(4096, i.page_size);
	EXPECT_EQ(SMALL_BITMAP_A, i.bitmap_offset);
	EXPECT_EQ(SMALL_PAGES_A, i.pages_offset);
	EXPECT_EQ(4, i.pages);
	EXPECT_EQ(2, i.set_pages);
	ASSERT_EQ(0, mram_image_block(self->img, 1, &i, &self->e));
	EXPECT_STREQ("rom", i.name);
	EXPECT_EQ(SMALL_BITMAP_B, i.bitmap_offset);
	EXPECT_EQ(SMALL_PAGES_B, i.pages_offset);
	EXPECT_EQ(2, i.pages);
	EXPECT_EQ(1, i.set_pages);
}

TEST_F(image, bitmaps)
{
	const uint64_t *words, *again;

	ASSERT_EQ(0, mram_image_bitmap(self->img, 0, &words, &self->e));
	EXPECT_EQ(5, words[0]);
	ASSERT_EQ(0, mram_image_bitmap(self->img, 0, &again, &self->e));
	EXPECT_EQ(words, again);
	ASSERT_EQ(0, mram_image_bitmap(self->img, 1, &words, &self->e));
	EXPECT_EQ(2, words[0]);
}

TEST_F(image, sections)
{
	struct mram_section_info i = { .size = sizeof(i) };
	uint32_t version;
	size_t length;
	void *data;

	ASSERT_EQ(0, mram_image_section_info(self->img, 0, &i, &self->e));
	EXPECT_STREQ("cpu", i.name);
	EXPECT_EQ(0, i.instance);
	EXPECT_EQ(1, i.version);
	EXPECT_EQ(SMALL_STATE + 17, i.data_offset);
	EXPECT_EQ(3, i.length);
	ASSERT_EQ(0, mram_image_section(self->img, "cpu", 0, &version, &data,
					&length, &self->e));
	EXPECT_EQ(1, version);
	ASSERT_EQ(3, length);
	EXPECT_EQ(0, memcmp(data, "abc", 3));
	free(data);
}

TEST_F(image, what_is_not_there)
{
	struct mram_section_info s = { .size = sizeof(s), .version = 77 };
	struct mram_block_info b = { .size = sizeof(b), .pages = 77 };
	const uint64_t *words = (void *)77;
	static const int bad[] = { -1, 2, INT32_MAX, INT32_MIN };
	uint32_t version = 77;
	size_t length = 77, i;
	void *data = (void *)77;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ENOENT, mram_image_block(self->img, bad[i], &b,
						    &self->e));
		EXPECT_EQ(-ENOENT, self->e.code);
		EXPECT_EQ(-ENOENT, mram_image_bitmap(self->img, bad[i], &words,
						     &self->e));
		EXPECT_EQ(-ENOENT, mram_image_section_info(self->img, bad[i],
							   &s, &self->e));
	}
	EXPECT_EQ(-ENOENT, mram_image_section(self->img, "cpu", 1, &version,
					      &data, &length, &self->e));
	EXPECT_TRUE(contains(self->e.message, "'cpu'|instance 1"));
	EXPECT_EQ(-ENOENT, mram_image_section(self->img, "cp", 0, &version,
					      &data, &length, NULL));
	EXPECT_EQ(77, b.pages);
	EXPECT_EQ(77, s.version);
	EXPECT_EQ((void *)77, words);
	EXPECT_EQ(77, version);
	EXPECT_EQ((void *)77, data);
	EXPECT_EQ(77, length);
}

/* A caller that knows more gets zeroes, one that knows less is refused. */
TEST_F(image, sizes_of_info)
{
	struct { struct mram_block_info i; uint8_t more[24]; } b;
	struct { struct mram_section_info i; uint8_t more[24]; } s;
	size_t i;

	memset(&b, 0xa5, sizeof(b));
	memset(&s, 0xa5, sizeof(s));
	b.i.size = sizeof(b);
	s.i.size = sizeof(s);
	ASSERT_EQ(0, mram_image_block(self->img, 0, &b.i, &self->e));
	ASSERT_EQ(0, mram_image_section_info(self->img, 0, &s.i, &self->e));
	EXPECT_EQ(sizeof(b), b.i.size);
	EXPECT_EQ(4, b.i.pages);
	EXPECT_EQ(3, s.i.length);
	for (i = 0; i < sizeof(b.more); i++)
		EXPECT_EQ(0, b.more[i] | s.more[i]);

	b.i.size = sizeof(b.i) - 1;
	s.i.size = sizeof(s.i) - 1;
	b.i.pages = s.i.length = 77;
	EXPECT_EQ(-EINVAL, mram_image_block(self->img, 0, &b.i, &self->e));
	EXPECT_EQ(-EINVAL, mram_image_section_info(self->img, 0, &s.i,
						   &self->e));
	EXPECT_EQ(77, b.i.pages);
	EXPECT_EQ(77, s.i.length);
}

TEST_F(image, no_such_file)
{
	struct mram_image *img = (void *)77;

	EXPECT_EQ(-ENOENT, mram_image_open(&img, "/nowhere/image", &self->e));
	EXPECT_TRUE(contains(self->e.message, "/nowhere/image|No such file"));
	EXPECT_EQ(-ENODEV, mram_image_open(&img, "/tmp", &self->e));
	/* What comes from outside must not play with a terminal. */
	EXPECT_EQ(-ENOENT, mram_image_open(&img, "/nowhere/\033[2J\n\x7f",
					   &self->e));
	EXPECT_TRUE(contains(self->e.message, "/nowhere/?[2J??: "));
	EXPECT_EQ((void *)77, img);
	mram_image_close(NULL);
}

/* Bytes behind the stream are not the image's business. */
TEST_F(image, longer_file)
{
	struct mram_image *img;

	put_text(self->fd, SMALL_END, "00 06 00000002 '{}' 00 ff");
	ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e));
	EXPECT_EQ(SMALL_END, mram_image_size(img));
	EXPECT_EQ(1, mram_image_sections(img));
	mram_image_close(img);
}

/* A description in a device's data must not be taken for the real one. */
TEST_F(image, misleading_data)
{
	static const char tail[] =
		"04 00000000 03 'cpu' 00000000 00000001"
		"00 06 00000042"
		"'{\"devices\":[{\"name\":\"cpu\",\"instance_id\":0,'"
		"'\"fields\":[{\"size\":1}]}]}'"
		"7e 00000000 00 06 0000007f"
		"'{\"devices\":[{\"name\":\"cpu\",\"instance_id\":0,'"
		"'\"vmsd_name\":\"cpu\",\"version\":1,'"
		"'\"fields\":[{\"name\":\"data\",\"type\":\"buffer\",\"size\":72}]}]}'";
	struct bytes b = bytes(tail);
	struct mram_image *img;
	uint32_t version;
	size_t length;
	void *data;

	ASSERT_EQ(0, ftruncate(self->fd, SMALL_STATE));
	put_at(self->fd, SMALL_STATE, b.data, b.length);
	ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e)) {
		TH_LOG("%s", self->e.message);
	}
	EXPECT_EQ(SMALL_STATE + b.length, mram_image_size(img));
	ASSERT_EQ(1, mram_image_sections(img));
	ASSERT_EQ(0, mram_image_section(img, "cpu", 0, &version, &data,
					&length, &self->e));
	EXPECT_EQ(72, length);
	free(data);
	free(b.data);
	mram_image_close(img);
}

/* The state is searched piece by piece, and the description begins anywhere. */
TEST_F(image, description_between_two_pieces)
{
	static const size_t ends[] = { 0x10000, 0x10000 - 6 + 0x20000 };
	static const uint8_t head[] = {
		4, 0, 0, 0, 0, 3, 'c', 'p', 'u', 0, 0, 0, 0, 0, 0, 0, 1
	};
	struct mram_section_info s = { .size = sizeof(s) };
	size_t i, mark, length, text;
	struct mram_image *img;
	uint8_t *state, *p;

	state = malloc(0x40000);
	ASSERT_NE(NULL, state);
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		for (mark = ends[i] - 9; mark < ends[i] + 3; mark++) {
			length = mark - 5 - sizeof(head);
			memset(state, 0x55, mark);
			memcpy(state, head, sizeof(head));
			p = state + mark - 5;
			memcpy(p, "\x7e\0\0\0\0\0\6\0\0\0", 10);
			text = sprintf((char *)p + 11,
				       "{\"devices\":[{\"name\":\"cpu\",\"instance_id\":0,"
				       "\"vmsd_name\":\"cpu\",\"version\":1,\"fields\":"
				       "[{\"name\":\"data\",\"type\":\"buffer\",\"size\":%zu}]}]}",
				       length);
			p[10] = text;
			ASSERT_EQ(0, ftruncate(self->fd, SMALL_STATE));
			put_at(self->fd, SMALL_STATE, state, mark + 6 + text);
			ASSERT_EQ(0, mram_image_open(&img, self->path,
						     &self->e)) {
				TH_LOG("%zx: %s", mark, self->e.message);
			}
			ASSERT_EQ(1, mram_image_sections(img));
			ASSERT_EQ(0, mram_image_section_info(img, 0, &s,
							     &self->e));
			EXPECT_EQ(length, s.length);
			mram_image_close(img);
		}
	}
	free(state);
}

TEST_HARNESS_MAIN
