// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 4: whatever of the image lay in the page cache before a
 * pass, clean, dirty or mapped, nothing of the pass's range does afterwards,
 * and whoever then looks through the page cache sees what the pass wrote. The
 * other way round, LOAD reads what somebody wrote into the page cache. A file
 * system that writes through the cache all the same is told of.
 */
#include <linux/fs.h>

#include "rig.h"
#include "harness.h"

#define PAGES	200

FIXTURE(inv_cache) {
	struct place place;
	struct rig rig;
	struct rng rng;
	uint8_t *buf;
};

FIXTURE_VARIANT(inv_cache) {
	const char *fstype;
};

FIXTURE_VARIANT_ADD(inv_cache, blkdev) { NULL };
FIXTURE_VARIANT_ADD(inv_cache, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(inv_cache, xfs) { "xfs" };

FIXTURE_SETUP(inv_cache)
{
	int err = place_open(&self->place, variant->fstype);
	const char *where = self->place.fs.dir;

	if (err == -EOPNOTSUPP)
		SKIP(return, "no %s here", variant->fstype);
	ASSERT_EQ(0, err);
	if (!variant->fstype)
		where = test_blkdev() ?: self->place.disk.path;
	self->rng = rng_new(0xcac4e);
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), 0, where);
	rig_dirty_all(&self->rig, &self->rng);
	self->buf = malloc(PAGES * page_size());
	ASSERT_NE(NULL, self->buf);
	/* No read-ahead: only what is asked for gets into the cache. */
	ASSERT_EQ(0, posix_fadvise(self->rig.img.fd, 0, 0, POSIX_FADV_RANDOM));
}

FIXTURE_TEARDOWN(inv_cache)
{
	rig_drop(&self->rig);
	place_close(&self->place);
	free(self->buf);
}

/* Through the page cache */
static ssize_t read_pages(const struct rig *rig, void *buf)
{
	return pread(rig->img.fd, buf, PAGES * page_size(), RIG_HEAD);
}

static void read_before(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_cache) *self)
{
	struct rig *rig = &self->rig;
	ssize_t length = PAGES * page_size();

	ASSERT_EQ(length, read_pages(rig, self->buf));
	ASSERT_LE(PAGES, cached_pages(rig->img.fd));
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, cached_pages(rig->img.fd));

	ASSERT_EQ(length, read_pages(rig, self->buf));
	EXPECT_EQ(0, memcmp(self->buf, rig->m.mem, length));
}

static void written_before(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_cache) *self)
{
	struct rig *rig = &self->rig;
	ssize_t length = PAGES * page_size();

	/* Dirty in the cache: if it came out later, it would bury the pass. */
	memset(self->buf, 0xdd, length);
	ASSERT_EQ(length, pwrite(rig->img.fd, self->buf, length, RIG_HEAD));
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, cached_pages(rig->img.fd));
	ASSERT_EQ(0, fsync(rig->img.fd));
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
}

static void mapped(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_cache) *self)
{
	struct rig *rig = &self->rig;
	size_t length = PAGES * page_size(), i;
	volatile uint8_t *map;
	unsigned int sum = 0;

	map = mmap(NULL, length, PROT_READ, MAP_SHARED, rig->img.fd, RIG_HEAD);
	ASSERT_NE(MAP_FAILED, map);
	/* Its faults read ahead too, beyond the range, unless told not to. */
	ASSERT_EQ(0, madvise((void *)map, length, MADV_RANDOM));
	for (i = 0; i < PAGES; i++)
		sum += map[i * page_size()];
	EXPECT_LT(0, sum);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, cached_pages(rig->img.fd));
	EXPECT_EQ(0, memcmp((void *)map, rig->m.mem, length));
	munmap((void *)map, length);
}

static void around_the_range(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_cache) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 50, 100);
	ssize_t length = PAGES * page_size();

	ASSERT_EQ(length, read_pages(rig, self->buf));
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	EXPECT_LE(cached_pages(rig->img.fd), PAGES - 100);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, cached_pages(rig->img.fd));

	/* What somebody read into the cache is not a write of the pass. */
	ASSERT_EQ(length, read_pages(rig, self->buf));
	save = save_args(&rig->r, 0, PAGES);
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, cached_pages(rig->img.fd));
	EXPECT_EQ(0, save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED);
}

static void load_reads_what_was_just_written(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_cache) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_load load = load_args(&rig->r, 0, PAGES);
	ssize_t length = PAGES * page_size();

	rng_fill(&self->rng, self->buf, length);
	ASSERT_EQ(length, pwrite(rig->img.fd, self->buf, length, RIG_HEAD));
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	bits_set(rig->r.file, 0, PAGES);
	ASSERT_EQ(0, load_pass(&rig->r, &load));
	EXPECT_EQ(0, memcmp(rig->mem.addr, self->buf, length));
	EXPECT_EQ(0, cached_pages(rig->img.fd));
}

TEST_F(inv_cache, stays_empty)
{
	STEP(read_before);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(written_before);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(mapped);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(around_the_range);
	STEP(load_reads_what_was_just_written);
}

/*
 * Where the file system does not write directly, the pass says so. ext4 without
 * delayed allocation sends the data of such a file through its journal.
 */
TEST(writing_through_the_cache_is_told)
{
	struct rng rng = rng_new(0xcac4f);
	struct mapped_ram_save save;
	struct rig rig = { 0 };
	struct scratch fs;
	int flags;

	need_private_mounts();
	ASSERT_EQ(0, scratch_open(&fs, 64 * MIB));
	ASSERT_EQ(0, scratch_mount(&fs, "ext4", "nodelalloc"));
	need_rig_on(&rig, MEM_ANON, PAGES * page_size(), 0, fs.dir);
	rig_dirty_all(&rig, &rng);
	save = save_args(&rig.r, 0, PAGES);
	EXPECT_EQ(0, rig_save(&rig, &save)) TH_LOG("%s", rig.m.why);
	EXPECT_EQ(0, save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED);

	/* Nobody asks the file again whether it can do direct I/O. */
	EXPECT_EQ(0, ioctl(rig.img.fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_JOURNAL_DATA_FL;
	EXPECT_EQ(0, ioctl(rig.img.fd, FS_IOC_SETFLAGS, &flags));
	rig_dirty_all(&rig, &rng);
	save = save_args(&rig.r, 0, PAGES);
	EXPECT_EQ(0, rig_save(&rig, &save)) TH_LOG("%s", rig.m.why);
	EXPECT_NE(0, save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED);
	rig_drop(&rig);
	scratch_close(&fs);
}

TEST_HARNESS_MAIN
