// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what LOAD does with images that are too short, bitmaps that lie, and
 * memory that cannot be written: the documented error, the exact first page
 * that could not be loaded, everything before it loaded, nothing outside of
 * the region touched, and a pass that works once the cause is gone.
 */
#include "rig.h"
#include "harness.h"

#define PAGES	150

FIXTURE(load_bad) {
	struct rng rng;
	struct image img;
	struct region r;
	uint8_t *mem;
	uint8_t *data;		/* what the image holds for the region */
	int dev;
};

FIXTURE_SETUP(load_bad)
{
	size_t length = PAGES * page_size();

	self->rng = rng_new(0xbad);
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	need_image_file(&self->img, NULL, RIG_HEAD + length);
	self->data = malloc(length);
	ASSERT_NE(NULL, self->data);
	rng_fill(&self->rng, self->data, length);
	ASSERT_EQ(0, image_write(&self->img, self->data, length, RIG_HEAD));
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	self->mem = need_guarded(length);
	memset(self->mem, 0x5a, length);
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem, length,
				RIG_HEAD, page_size(), 0));
}

FIXTURE_TEARDOWN(load_bad)
{
	close(self->dev);
	region_unmap_bitmaps(&self->r);
	image_drop(&self->img);
	guarded_free(self->mem, PAGES * page_size());
	free(self->data);
}

static bool is_loaded(const struct region *r, const uint8_t *data, size_t page)
{
	return !memcmp(region_page(r, page), data + page * r->page_size,
		       r->page_size);
}

static bool is_all(const struct region *r, size_t page, uint8_t byte)
{
	return all_bytes(region_page(r, page), r->page_size, byte);
}

/* The first page that differs from the image, of @first to @last */
static size_t not_loaded(const struct region *r, const uint8_t *data,
			 size_t first, size_t last)
{
	while (first < last && is_loaded(r, data, first))
		first++;
	return first;
}

/* One pass over all that fails with @err at @page, with small and big reads */
static void fails_at(struct __test_metadata *_metadata,
		     FIXTURE_DATA(load_bad) *self, int err, size_t page)
{
	static const uint32_t extents[] = { 0, 1, 7, 64 };
	struct mapped_ram_load load;
	size_t i;

	for (i = 0; i < ARRAY_LEN(extents); i++) {
		load = load_args(&self->r, 0, PAGES);
		load.max_extent = extents[i] * page_size();
		load.window = extents[i];
		EXPECT_EQ(-err, load_pass(&self->r, &load));
		EXPECT_EQ(page, load.out_error_page)
			TH_LOG("with extents of %u pages", extents[i]);
		EXPECT_EQ(page, not_loaded(&self->r, self->data, 0, page));
		EXPECT_LE(page, load.out_read_pages);
	}
}

TEST_F(load_bad, image_ends_before_a_page)
{
	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, ftruncate(self->img.fd, RIG_HEAD + 77 * page_size()));
	fails_at(_metadata, self, ENODATA, 77);
}

TEST_F(load_bad, image_ends_inside_a_page)
{
	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, ftruncate(self->img.fd,
			       RIG_HEAD + 77 * page_size() + 512));
	fails_at(_metadata, self, ENODATA, 77);
	ASSERT_EQ(0, ftruncate(self->img.fd,
			       RIG_HEAD + 78 * page_size() - 1));
	fails_at(_metadata, self, ENODATA, 77);
}

TEST_F(load_bad, image_is_empty)
{
	struct mapped_ram_load load = load_args(&self->r, 5, PAGES - 5);

	bits_set(self->r.file, 9, 30);
	ASSERT_EQ(0, ftruncate(self->img.fd, 0));
	EXPECT_EQ(-ENODATA, load_pass(&self->r, &load));
	EXPECT_EQ(9, load.out_error_page);
	EXPECT_EQ(0, load.out_read_pages);
	EXPECT_TRUE(is_all(&self->r, 4, 0x5a));
}

/* An image may end behind its last page with data. */
TEST_F(load_bad, image_need_not_hold_zero_pages)
{
	struct mapped_ram_load load = load_args(&self->r, 0, PAGES);
	size_t i;

	bits_set(self->r.file, 0, 77);
	ASSERT_EQ(0, ftruncate(self->img.fd, RIG_HEAD + 77 * page_size()));
	EXPECT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(77, load.out_read_pages);
	EXPECT_EQ(PAGES - 77, load.out_zero_pages);
	EXPECT_EQ(77, not_loaded(&self->r, self->data, 0, 77));
	for (i = 77; i < PAGES; i++)
		EXPECT_TRUE(is_all(&self->r, i, 0));
}

TEST_F(load_bad, image_grows_again)
{
	struct mapped_ram_load load = load_args(&self->r, 0, PAGES);
	size_t length = PAGES * page_size();

	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, ftruncate(self->img.fd, RIG_HEAD + 20 * page_size()));
	fails_at(_metadata, self, ENODATA, 20);
	ASSERT_EQ(0, ftruncate(self->img.fd, RIG_HEAD + length));
	ASSERT_EQ(0, image_write(&self->img, self->data, length, RIG_HEAD));
	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(PAGES, not_loaded(&self->r, self->data, 0, PAGES));
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, load.out_error_page);
}

TEST_F(load_bad, bits_behind_the_last_page)
{
	struct mapped_ram_load load = load_args(&self->r, 0, PAGES);
	size_t bits = self->r.bitmap_size * 8;

	/* The guard behind the memory would catch who believes them. */
	bits_set(self->r.file, 0, bits);
	bits_set(self->r.dirty, 0, bits);
	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(PAGES, load.out_read_pages);
	EXPECT_EQ(PAGES, not_loaded(&self->r, self->data, 0, PAGES));
	EXPECT_EQ(bits, bits_count(self->r.file, 0, bits));
	EXPECT_EQ(bits, bits_count(self->r.dirty, 0, bits));
}

TEST_F(load_bad, memory_is_read_only)
{
	struct mapped_ram_load load = load_args(&self->r, 0, PAGES);

	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, mprotect(region_page(&self->r, 40), 10 * page_size(),
			      PROT_READ));
	fails_at(_metadata, self, EFAULT, 40);
	EXPECT_TRUE(is_all(&self->r, 40, 0x5a));
	EXPECT_TRUE(is_all(&self->r, 49, 0x5a));

	ASSERT_EQ(0, mprotect(region_page(&self->r, 40), 10 * page_size(),
			      PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(PAGES, not_loaded(&self->r, self->data, 0, PAGES));
}

TEST_F(load_bad, zero_into_read_only_memory)
{
	struct mapped_ram_load load = load_args(&self->r, 0, PAGES);

	/* Clear bits want zeroes there, and there are none. */
	bits_set(self->r.file, 0, 30);
	ASSERT_EQ(0, mprotect(region_page(&self->r, 40), 10 * page_size(),
			      PROT_READ));
	EXPECT_EQ(-EFAULT, load_pass(&self->r, &load));
	EXPECT_EQ(40, load.out_error_page);
	EXPECT_EQ(30, not_loaded(&self->r, self->data, 0, 30));
	EXPECT_TRUE(is_all(&self->r, 39, 0));
	EXPECT_TRUE(is_all(&self->r, 40, 0x5a));
}

TEST_F(load_bad, memory_has_no_access)
{
	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, mprotect(region_page(&self->r, 65), page_size(),
			      PROT_NONE));
	fails_at(_metadata, self, EFAULT, 65);
	ASSERT_EQ(0, mprotect(region_page(&self->r, 65), page_size(),
			      PROT_READ | PROT_WRITE));
	EXPECT_TRUE(is_all(&self->r, 65, 0x5a));
}

TEST_F(load_bad, memory_is_not_mapped)
{
	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, munmap(region_page(&self->r, 100), 3 * page_size()));
	fails_at(_metadata, self, EFAULT, 100);
}

TEST_F(load_bad, a_hole_that_the_range_spares)
{
	struct mapped_ram_load load = load_args(&self->r, 0, 100);

	bits_set(self->r.file, 0, PAGES);
	ASSERT_EQ(0, munmap(region_page(&self->r, 100), 3 * page_size()));
	EXPECT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(100, not_loaded(&self->r, self->data, 0, 100));
	load = load_args(&self->r, 103, PAGES - 103);
	EXPECT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(PAGES, not_loaded(&self->r, self->data, 103, PAGES));
}

TEST_HARNESS_MAIN
