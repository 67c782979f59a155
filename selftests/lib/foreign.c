// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that an image takes another program's configuration and device state
 * as they are: pages lie where they lie whatever names and configuration come
 * later, blocks that come last are there with their pages, and what is read
 * again is what was handed in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "image.h"
#include "session.h"

#define PAGE	4096

/* A configuration with a subsection that this library writes nowhere. */
static const char config[] =
	"\007\0\0\0\006pc-q35"
	"\005\032configuration/capabilities\0\0\0\001\0\0\0\001\012mapped-ram"
	"\005\022configuration/uuid\0\0\0\0010123456789abcdef";

/* Sections, the end, a description that does not fit: opaque to the reader. */
static const char state[] =
	"\004\0\0\0\005\003dev\0\0\0\0\0\0\0\001data\176\0\0\0\005"
	"\0\006\0\0\0\016{\"devices\":[]}";

static const struct mram_foreign foreign = {
	.config = (const uint8_t *)config,
	.config_length = sizeof(config) - 1,
	.state = (const uint8_t *)state,
	.state_length = sizeof(state) - 1,
	.ram_id = 7,
};

static uint64_t place(const char *name, const struct mram_foreign *f, int late)
{
	struct mram_layout l;
	uint64_t offset;

	/* So large a bitmap that it ends just before a multiple of 1 MiB. */
	if (mram_layout_init(&l, NULL, NULL) ||
	    mram_layout_add_block(&l, "a", 0x3ffc00ull * 2 * PAGE, PAGE,
				  NULL) < 0 ||
	    mram_layout_add_block(&l, "b", 16 * PAGE, PAGE, NULL) < 0)
		abort();
	l.roomy = true;
	if (mram_layout_finish(&l, NULL) ||
	    mram_layout_rename(&l, 0, name, NULL) ||
	    (late && mram_layout_add_block(&l, "late", PAGE, PAGE, NULL) < 0))
		abort();
	l.foreign = f;
	if (mram_layout_finish(&l, NULL))
		abort();
	if (l.blocks[0].bitmap_offset + l.blocks[0].bitmap_size >
	    l.blocks[0].pages_offset)
		abort();
	offset = l.blocks[0].pages_offset + l.blocks[1].pages_offset;
	mram_layout_free(&l);
	return offset;
}

TEST(pages_stay_where_they_are)
{
	char longest[256];
	uint64_t want = place("a", NULL, 0);

	memset(longest, 'n', 255);
	longest[255] = '\0';
	EXPECT_EQ(want, place(longest, NULL, 0));
	EXPECT_EQ(want, place("a", &foreign, 0));
	EXPECT_EQ(want, place(longest, &foreign, 1));
}

static struct mram_session *begin(const char *path, unsigned char *ram)
{
	struct mram_session_opts o = MRAM_OPTS(mram_session_opts,
					       .engine = "pwrite");
	struct mram_session *s;

	if (mram_session_open(&s, path, &o, NULL))
		abort();
	s->layout.roomy = true;
	if (mram_session_add_region(s, "mem", ram, 64 * PAGE, NULL, NULL) < 0 ||
	    mram_session_begin(s, NULL) ||
	    mram_session_mark_dirty(s, -1, 0, MRAM_ALL, NULL))
		abort();
	return s;
}

TEST(what_goes_in_comes_out)
{
	static const char *const names[] = { "0000:00:01.0/mem" };
	static uint8_t rom[3 * PAGE], got[3 * PAGE]
		__attribute__((aligned(PAGE)));
	static const uint64_t there[] = { 5 };
	const struct session_late late = { "rom", rom, 3, there };
	struct mram_block_info info = { .size = sizeof(info) };
	char path[] = "/tmp/mapped-ram-foreign.XXXXXX", buf[sizeof(state)];
	struct mram_error err = { 0 };
	struct mram_session *s;
	struct mram_image *img;
	unsigned char *ram;

	close(mkstemp(path));
	ram = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(ram + 5 * PAGE, 0x77, PAGE);
	memset(rom, 0x11, PAGE);
	memset(rom + 2 * PAGE, 0x33, PAGE);
	s = begin(path, ram);
	/* Dirty pages are no image yet. */
	EXPECT_EQ(-EBUSY, session_commit_foreign(s, &foreign, names, &late, 1,
						 &err));
	ASSERT_EQ(0, mram_session_pass(s, NULL, NULL, &err));
	ASSERT_EQ(0, session_commit_foreign(s, &foreign, names, &late, 1, &err))
		TH_LOG("%s", err.message);
	EXPECT_EQ(-EINVAL, mram_session_commit(s, &err));
	mram_session_close(s);

	ASSERT_EQ(0, mram_image_open(&img, path, &err))
		TH_LOG("%s", err.message);
	EXPECT_STREQ("pc-q35", mram_image_machine(img));
	ASSERT_EQ(2, mram_image_blocks(img));
	EXPECT_EQ(0, mram_image_find(img, names[0]));
	ASSERT_EQ(1, mram_image_find(img, "rom"));
	ASSERT_EQ(0, mram_image_block(img, 0, &info, &err));
	EXPECT_EQ(1, info.set_pages);
	ASSERT_EQ(0, mram_image_block(img, 1, &info, &err));
	EXPECT_EQ(2, info.set_pages);
	memset(got, 0xff, sizeof(got));
	ASSERT_EQ(0, mram_image_restore(img, 1, got, sizeof(got), NULL, NULL,
					&err));
	EXPECT_EQ(0, memcmp(got, rom, sizeof(rom)));
	ASSERT_EQ(0, mram_io_read(mram_image_io(img),
				  mram_image_state_offset(img), buf,
				  sizeof(state) - 1, &err));
	EXPECT_EQ(0, memcmp(buf, state, sizeof(state) - 1));
	EXPECT_EQ(mram_image_state_offset(img) + sizeof(state) - 1,
		  mram_image_size(img));
	mram_image_close(img);
	munmap(ram, 64 * PAGE);
	unlink(path);
}

/* A name twice, a configuration as long as nothing: an error, and no image. */
TEST(what_does_not_fit)
{
	static const char *const names[] = { "rom" };
	static const uint64_t there[] = { 0 };
	static uint8_t rom[PAGE];
	const struct session_late late = { "rom", rom, 1, there };
	struct mram_foreign vast = foreign;
	char path[] = "/tmp/mapped-ram-foreign.XXXXXX";
	struct mram_error err = { 0 };
	struct mram_session *s;
	struct mram_image *img;
	unsigned char *ram;
	int i;

	close(mkstemp(path));
	ram = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	vast.config_length = 5000;
	for (i = 0; i < 2; i++) {
		s = begin(path, ram);
		ASSERT_EQ(0, mram_session_pass(s, NULL, NULL, &err));
		EXPECT_EQ(i ? -EFBIG : -EEXIST,
			  session_commit_foreign(s, i ? &vast : &foreign, names,
						 &late, !i, &err));
		mram_session_close(s);
		EXPECT_EQ(-ENODATA, mram_image_open(&img, path, &err));
	}
	munmap(ram, 64 * PAGE);
	unlink(path);
}

TEST_HARNESS_MAIN
