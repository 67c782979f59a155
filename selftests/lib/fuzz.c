// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that no file makes the reader crash, hang, or believe something that
 * is not so: each byte of the small image's metadata is changed in every of
 * its 255 ways (of the description in some of them), the file is cut at every
 * length, random ranges of it are mixed up. Each time either opening fails, with one of its documented errors
 * and a message, or everything that the image then says about itself holds
 * against the file. Bytes whose change cannot go unnoticed are known, and none
 * of them does. Meant to be run under ASan and UBSan, too.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

FIXTURE(fuzz) {
	int fd;
	char *path;
	uint8_t *file;		/* the same file, mapped */
	struct mram_error e;
};

FIXTURE_SETUP(fuzz)
{
	self->path = mem_file(&self->fd);
	small_image(self->fd);
	self->file = mmap(NULL, SMALL_END, PROT_READ | PROT_WRITE, MAP_SHARED,
			  self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->file);
	srandom(1);
}

FIXTURE_TEARDOWN(fuzz)
{
	munmap(self->file, SMALL_END);
	close(self->fd);
	free(self->path);
	EXPECT_NO_LEAKS();
}

static bool printable(const char *name)
{
	if (!*name || strlen(name) > 255)
		return false;
	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			return false;
	return true;
}

/* Does the error say what it should? */
static bool good_error(int ret, const struct mram_error *e)
{
	size_t length = strnlen(e->message, sizeof(e->message));

	return (ret == -EINVAL || ret == -ENODATA || ret == -EOPNOTSUPP) &&
	       e->code == ret && length && length < sizeof(e->message) &&
	       printable(e->message) &&
	       (ret == -ENODATA || strstr(e->message, "offset 0x"));
}

static bool good_bitmap(struct mram_image *img, int i,
			const struct mram_block_info *b, struct mram_error *e)
{
	uint64_t page, set = 0;
	const uint64_t *words;

	if (mram_image_bitmap(img, i, &words, e))
		return false;
	for (page = 0; page < (b->pages + 63) / 64 * 64; page++) {
		if (!(words[page / 64] >> page % 64 & 1))
			continue;
		if (page >= b->pages)
			return false;
		set++;
	}
	return set == b->set_pages;
}

/* 0, a documented error, or 1 when something does not hold. */
static int good_block(struct mram_image *img, int i, uint64_t *end,
		      uint64_t size, struct mram_error *e)
{
	struct mram_block_info b = { .size = sizeof(b) };
	int ret;

	ret = mram_image_block(img, i, &b, e);
	if (ret)
		return good_error(ret, e) ? ret : 1;
	if (!printable(b.name) || mram_image_find(img, b.name) != i ||
	    b.length != b.pages * b.page_size || b.page_size < 4096 ||
	    b.page_size & (b.page_size - 1) || b.pages_offset % b.page_size ||
	    b.bitmap_offset < *end + 38 ||
	    b.pages_offset < b.bitmap_offset + (b.pages + 63) / 64 * 8 ||
	    b.pages_offset > size || b.length > size - b.pages_offset)
		return 1;
	*end = b.pages_offset + b.length;
	return good_bitmap(img, i, &b, e) ? 0 : 1;
}

static int good_sections(struct mram_image *img, struct mram_error *e)
{
	struct mram_section_info s = { .size = sizeof(s) };
	uint64_t at = mram_image_state_offset(img);
	int n = mram_image_sections(img), i, ret;
	uint32_t version;
	size_t length;
	void *data;

	for (i = 0; i < n; i++) {
		if (mram_image_section_info(img, i, &s, e))
			return 1;
		if (!printable(s.name) || s.data_offset < at ||
		    s.data_offset > mram_image_size(img) ||
		    s.length > mram_image_size(img) - s.data_offset)
			return 1;
		at = s.data_offset + s.length;
		ret = mram_image_section(img, s.name, s.instance, &version,
					 &data, &length, e);
		if (ret == -ENOENT)
			continue;
		if (ret)
			return 1;
		free(data);
	}
	return n >= 0 || n == -EOPNOTSUPP ? 0 : 1;
}

static int check(FIXTURE_DATA(fuzz) *self)
{
	uint64_t end = 60, size;
	struct mram_image *img;
	struct stat st;
	int ret, i;

	memset(&self->e, 0xa5, sizeof(self->e));
	ret = mram_image_open(&img, self->path, &self->e);
	if (ret)
		return good_error(ret, &self->e) ? ret : 1;
	if (fstat(self->fd, &st))
		abort();
	size = (uint64_t)st.st_size;
	if (mram_image_size(img) > size || !printable(mram_image_machine(img)))
		ret = 1;
	for (i = 0; !ret && i < mram_image_blocks(img); i++)
		ret = good_block(img, i, &end, size, &self->e);
	if (!ret && mram_image_state_offset(img) < end)
		ret = 1;
	if (!ret)
		ret = good_sections(img, &self->e);
	mram_image_close(img);
	return ret;
}

/*
 * Bytes that may have another value in a sound image: names, where bitmaps
 * lie, how many pages there are of which size, which are set, a section's
 * version and data, what the description says beside names and lengths.
 */
static bool may_differ(uint64_t at)
{
	static const struct { uint64_t from, to; } free_ranges[] = {
		{ SMALL_MACHINE, SMALL_MACHINE + 4 },
		{ SMALL_RECORD_A + 1, SMALL_RECORD_A + 7 },
		{ SMALL_RECORD_A + 19, SMALL_RECORD_A + 35 },
		{ SMALL_BITMAP_A, SMALL_BITMAP_A + 8 },
		{ SMALL_RECORD_B + 1, SMALL_RECORD_B + 4 },
		{ SMALL_RECORD_B + 16, SMALL_RECORD_B + 32 },
		{ SMALL_BITMAP_B, SMALL_BITMAP_B + 8 },
		{ SMALL_STATE + 13, SMALL_STATE + 20 },
		{ SMALL_JSON + 1, SMALL_END - 1 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(free_ranges); i++)
		if (at >= free_ranges[i].from && at < free_ranges[i].to)
			return true;
	return false;
}

static const struct { uint64_t from, to; } metadata[] = {
	{ SMALL_HEAD, SMALL_BITMAP_A + 8 },
	{ SMALL_RECORD_B, SMALL_BITMAP_B + 8 },
	{ SMALL_TAIL, SMALL_END },
};

/* What may matter to JSON: its own characters, one bit, no text at all. */
static bool in_text(unsigned int value, unsigned int was)
{
	unsigned int bits = value ^ was;

	return !(bits & (bits - 1)) || !value || value == 0xff ||
	       strchr("\"\\{}[],:-1", (int)value);
}

TEST_F_TIMEOUT(fuzz, every_byte, 600)
{
	unsigned int accepted = 0, refused = 0, value;
	uint64_t at;
	uint8_t was;
	size_t i;
	int ret;

	ASSERT_EQ(0, check(self));
	for (i = 0; i < ARRAY_SIZE(metadata); i++)
		for (at = metadata[i].from; at < metadata[i].to; at++) {
			was = self->file[at];
			for (value = 0; value < 256; value++) {
				if (value == was ||
				    (at > SMALL_JSON && !in_text(value, was)))
					continue;
				self->file[at] = (uint8_t)value;
				ret = check(self);
				ASSERT_GE(0, ret) {
					TH_LOG("0x%02x at 0x%llx: %s", value,
					       (unsigned long long)at,
					       self->e.message);
				}
				if (ret)
					refused++;
				else
					accepted++;
				if (!ret && !may_differ(at))
					ASSERT_EQ(0, 1) {
						TH_LOG("0x%02x at 0x%llx went unnoticed",
						       value,
						       (unsigned long long)at);
					}
			}
			self->file[at] = was;
		}
	ASSERT_EQ(0, check(self));
	TH_LOG("%u changes refused, %u accepted", refused, accepted);
	/* Both happen, or the test tests nothing. */
	EXPECT_LT(40000, refused);
	EXPECT_LT(1000, accepted);
}

TEST_F_TIMEOUT(fuzz, every_length, 300)
{
	uint64_t size = SMALL_END;
	size_t i;
	int ret;

	/* From the end on, so that nothing is lost that comes again. */
	for (i = ARRAY_SIZE(metadata); i--;)
		for (size = metadata[i].to - 1; size + 1 > metadata[i].from;
		     size--) {
			ASSERT_EQ(0, ftruncate(self->fd, (off_t)size));
			ret = check(self);
			EXPECT_EQ(size ? -EINVAL : -ENODATA, ret) {
				TH_LOG("0x%llx bytes: %s",
				       (unsigned long long)size,
				       self->e.message);
			}
		}
}

/* Longer and wilder damage, the same each time. */
TEST_F_TIMEOUT(fuzz, random_ranges, 300)
{
	uint8_t *was = malloc(SMALL_END);
	unsigned int round, n, kind;
	uint64_t at, from, length;
	size_t part;
	int ret;

	memcpy(was, self->file, SMALL_END);
	for (round = 0; round < 20000; round++) {
		for (n = 1 + (unsigned int)random() % 3; n; n--) {
			part = (size_t)random() % ARRAY_SIZE(metadata);
			length = metadata[part].to - metadata[part].from;
			at = metadata[part].from + (uint64_t)random() % length;
			length = metadata[part].to - at;
			length = 1 + (uint64_t)random() %
				 (length < 9 ? length : 9);
			kind = (unsigned int)random() % 4;
			from = metadata[part].from;
			if (kind == 0)
				memset(self->file + at, 0, length);
			else if (kind == 1)
				memset(self->file + at, 0xff, length);
			else if (kind == 2)
				memmove(self->file + at, self->file + from,
					length);
			else
				for (; length; length--)
					self->file[at++] = (uint8_t)random();
		}
		ret = check(self);
		ASSERT_GE(0, ret) {
			TH_LOG("round %u: %s", round, self->e.message);
		}
		for (part = 0; part < ARRAY_SIZE(metadata); part++)
			memcpy(self->file + metadata[part].from,
			       was + metadata[part].from,
			       metadata[part].to - metadata[part].from);
	}
	ASSERT_EQ(0, check(self));
	free(was);
}

TEST_HARNESS_MAIN
