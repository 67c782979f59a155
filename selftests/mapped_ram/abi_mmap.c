// SPDX-License-Identifier: GPL-2.0
/*
 * Proves how the bitmaps can be mapped and how not, that a mapping stays valid
 * memory whatever happens to its region and session, and that nothing written
 * into the bitmaps makes the module touch what is not the region's: bits behind
 * the last page are ignored and kept, and words that change at random while
 * passes run lead to no write outside the region's range of the image.
 */
#include <pthread.h>

#include "abi.h"
#include "harness.h"

FIXTURE(abi_mmap) {
	struct rig rig;
};

FIXTURE_SETUP(abi_mmap)
{
	need_abi_rig(&self->rig);
}

FIXTURE_TEARDOWN(abi_mmap)
{
	EXPECT_EQ(0, abi_still_works(&self->rig));
	rig_drop(&self->rig);
}

static int try_map(struct rig *rig, size_t length, int prot, int flags,
		   uint64_t offset)
{
	void *map = mmap(NULL, length, prot, flags, rig->dev, offset);

	if (map == MAP_FAILED)
		return -errno;
	munmap(map, length);
	return 0;
}

#define RW	(PROT_READ | PROT_WRITE)

TEST_F(abi_mmap, offsets)
{
	struct rig *rig = &self->rig;
	const uint64_t both[] = { rig->r.dirty_offset, rig->r.file_offset };
	size_t size = rig->r.bitmap_size, i, bit;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, try_map(rig, size, RW, MAP_SHARED, both[i]));
		EXPECT_EQ(0, try_map(rig, size, PROT_READ, MAP_SHARED,
				     both[i]));
		/* One bit off is another region's place, or nobody's. */
		for (bit = 12; bit < 63; bit++) {
			uint64_t offset = both[i] ^ 1ULL << bit;

			if (offset == both[!i])
				continue;
			EXPECT_NE(0, try_map(rig, size, RW, MAP_SHARED,
					     offset))
				TH_LOG("offset %#llx",
				       (unsigned long long)offset);
		}
	}
	EXPECT_NE(0, try_map(rig, size, RW, MAP_SHARED, 0));
}

TEST_F(abi_mmap, lengths)
{
	size_t pages = 8 * page_size() * 3;	/* three pages of bitmap */
	size_t length = pages * page_size(), size, k;
	struct region r;
	struct rig two = self->rig;
	void *mem;

	mem = mmap(NULL, length, RW,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	two.dev = mr_open();
	ASSERT_LE(0, two.dev);
	ASSERT_EQ(0, region_add(&r, two.dev, mem, length, 0, page_size(), 0));
	ASSERT_EQ(3 * page_size(), r.bitmap_size);
	for (k = 1; k <= 5; k++) {
		size = k * page_size();
		EXPECT_EQ(k == 3 ? 0 : -EINVAL,
			  try_map(&two, size, RW, MAP_SHARED, r.dirty_offset));
		EXPECT_EQ(k == 3 ? 0 : -EINVAL,
			  try_map(&two, size, RW, MAP_SHARED, r.file_offset));
	}
	/* Not a page further either, which would lead out of the bitmap. */
	for (k = 1; k <= 4; k++)
		EXPECT_NE(0, try_map(&two, r.bitmap_size, RW, MAP_SHARED,
				     r.dirty_offset + k * page_size()));
	/* Nor may a mapping grow; moving it is all right. */
	EXPECT_EQ(MAP_FAILED, mremap(r.dirty, r.bitmap_size,
				     r.bitmap_size + page_size(),
				     MREMAP_MAYMOVE));
	bit_set(r.dirty, pages - 1);
	r.dirty = mremap(r.dirty, r.bitmap_size, r.bitmap_size,
			 MREMAP_MAYMOVE | MREMAP_FIXED,
			 mmap(NULL, r.bitmap_size, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ASSERT_NE(MAP_FAILED, (void *)r.dirty);
	EXPECT_TRUE(bit_test(r.dirty, pages - 1));
	/* A part of it may go, the rest stays. */
	EXPECT_EQ(0, munmap(r.dirty, page_size()));
	EXPECT_TRUE(bit_test(r.dirty, pages - 1));
	munmap((uint8_t *)r.dirty + page_size(), 2 * page_size());
	r.dirty = NULL;
	region_unmap_bitmaps(&r);
	munmap(mem, length);
	close(two.dev);
}

TEST_F(abi_mmap, kinds)
{
	struct rig *rig = &self->rig;
	size_t size = rig->r.bitmap_size;
	uint64_t offset = rig->r.dirty_offset;

	EXPECT_EQ(-EINVAL, try_map(rig, size, RW, MAP_PRIVATE, offset));
	EXPECT_EQ(-EINVAL, try_map(rig, size, PROT_READ, MAP_PRIVATE, offset));
	EXPECT_NE(0, try_map(rig, size, RW | PROT_EXEC, MAP_SHARED, offset));
	EXPECT_NE(0, try_map(rig, size, PROT_READ | PROT_EXEC, MAP_SHARED,
			     offset));
	/* Nor afterwards. */
	EXPECT_NE(0, mprotect(rig->r.dirty, size, RW | PROT_EXEC));
	EXPECT_NE(0, mprotect(rig->r.dirty, size, PROT_READ | PROT_EXEC));
	/* Less is fine. */
	EXPECT_EQ(0, mprotect(rig->r.dirty, size, PROT_READ));
	EXPECT_EQ(0, mprotect(rig->r.dirty, size, RW));
	bit_set(rig->r.dirty, 0);
	bit_set(rig->m.dirty, 0);
}

/* Two mappings of one bitmap are one bitmap; discarding loses nothing. */
TEST_F(abi_mmap, one_bitmap)
{
	struct rig *rig = &self->rig;
	size_t size = rig->r.bitmap_size;
	uint64_t *again = mmap(NULL, size, RW, MAP_SHARED, rig->dev,
			       rig->r.dirty_offset);

	ASSERT_NE(MAP_FAILED, (void *)again);
	EXPECT_EQ(0, memcmp(again, rig->m.dirty, size));
	bit_set(again, 3);
	bit_set(rig->m.dirty, 3);
	EXPECT_EQ(0, memcmp(rig->r.dirty, rig->m.dirty, size));
	munmap(again, size);
}

/* As valid as any memory, but it means nothing any more. */
TEST_F(abi_mmap, after_remove)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	struct region r, other;

	ASSERT_EQ(0, region_add(&r, self->rig.dev, (void *)add.user_addr,
				add.length, add.pages_offset, add.page_size,
				0));
	bit_set(r.dirty, 0);
	ASSERT_EQ(0, mr_region_remove(self->rig.dev, r.id));
	EXPECT_TRUE(bit_test(r.dirty, 0));
	memset(r.dirty, 0xff, r.bitmap_size);
	memset(r.file, 0xff, r.bitmap_size);
	/* A new region has new bitmaps, also if it gets the old one's id. */
	ASSERT_EQ(0, region_add(&other, self->rig.dev, (void *)add.user_addr,
				add.length, add.pages_offset, add.page_size,
				0));
	EXPECT_EQ(0, bits_count(other.dirty, 0, 8 * other.bitmap_size));
	EXPECT_EQ(0, bits_count(other.file, 0, 8 * other.bitmap_size));
	memset(r.dirty, 0xff, r.bitmap_size);
	EXPECT_EQ(0, bits_count(other.dirty, 0, 8 * other.bitmap_size));
	ASSERT_EQ(0, mr_region_remove(self->rig.dev, other.id));
	region_unmap_bitmaps(&other);
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, other.id) + ENOENT);
	region_unmap_bitmaps(&r);
}

TEST_F(abi_mmap, after_close)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	int dev = mr_open();
	struct region r;

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, region_add(&r, dev, (void *)add.user_addr, add.length, 0,
				add.page_size, 0));
	close(dev);
	memset(r.dirty, 0xff, r.bitmap_size);
	EXPECT_EQ(8 * r.bitmap_size,
		  bits_count(r.dirty, 0, 8 * r.bitmap_size));
	region_unmap_bitmaps(&r);
}

/* Not a multiple of 64: there are bits in the last word that are no page's. */
TEST_F(abi_mmap, bits_behind_the_last_page)
{
	struct rig *rig = &self->rig;
	size_t all = 8 * rig->r.bitmap_size;
	struct mapped_ram_load load;

	bits_set(rig->r.dirty, ABI_PAGES, all - ABI_PAGES);
	bits_set(rig->m.dirty, ABI_PAGES, all - ABI_PAGES);
	bits_set(rig->r.file, ABI_PAGES, all - ABI_PAGES);
	bits_set(rig->m.file, ABI_PAGES, all - ABI_PAGES);
	EXPECT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, region_load(&rig->r, &load));
	EXPECT_EQ(ABI_PAGES, load.out_read_pages + load.out_zero_pages);
	EXPECT_EQ(0, model_check(&rig->m));
}

struct scribbler {
	struct rig *rig;
	struct rng rng;
	bool stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	struct region *r = &s->rig->r;
	size_t words = r->bitmap_size / 8;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		uint64_t *map = rng_percent(&s->rng, 50) ? r->dirty : r->file;
		/* Mostly where the pages are, else anywhere */
		size_t word = rng_below(&s->rng, rng_percent(&s->rng, 80) ?
					bits_words(ABI_PAGES) : words);

		__atomic_store_n(&map[word], rng_u64(&s->rng),
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

TEST_F(abi_mmap, scribbled_during_passes)
{
	struct rig *rig = &self->rig;
	struct scribbler s = { .rig = rig, .rng = rng_new(0x5c1b) };
	struct rng rng = rng_new(0x5c1c);
	struct mapped_ram_save save;
	struct mapped_ram_info info;
	uint8_t *now = malloc(rig->img.size);
	uint64_t end = rig->r.offset + rig->r.length;
	pthread_t thread;
	int i;

	ASSERT_NE(NULL, now);
	ASSERT_EQ(0, mr_info(rig->dev, &info));
	ASSERT_EQ(0, pthread_create(&thread, NULL, scribble, &s));
	for (i = 0; i < 300; i++) {
		save = save_args(&rig->r, 0, ABI_PAGES);
		save.bridge = rng_below(&rng, 2) * rng_below(&rng, ABI_PAGES);
		save.window = 1 + rng_below(&rng, info.out_max_window);
		save.max_extent = page_size() * rng_below(&rng, 9);
		EXPECT_EQ(0, mr_ioctl(rig->dev, MAPPED_RAM_SAVE, &save));
		EXPECT_GE(ABI_PAGES, save.out_written_pages +
			  save.out_zero_pages);
	}
	/* SAVE only reads memory, whatever the bitmaps say. */
	EXPECT_EQ(0, memcmp(rig->r.mem, rig->m.mem, rig->r.length));
	for (i = 0; i < 100; i++)
		EXPECT_EQ(0, region_load(&rig->r, NULL));
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);

	ASSERT_EQ(0, image_read(&rig->img, now, rig->img.size, 0));
	EXPECT_EQ(0, memcmp(now, rig->m.image, rig->r.offset));
	EXPECT_EQ(0, memcmp(now + end, rig->m.image + end,
			    rig->img.size - end));
	free(now);

	/* Whatever there is now, one honest pass makes it right. */
	memset(rig->r.dirty, 0xff, rig->r.bitmap_size);
	memset(rig->r.file, 0, rig->r.bitmap_size);
	model_free(&rig->m);
	need_model(&rig->m, &rig->r, &rig->img);
	EXPECT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

TEST_HARNESS_MAIN
