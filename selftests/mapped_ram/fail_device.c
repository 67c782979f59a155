// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what a failing device does to a pass: EIO, the first page that failed
 * by number, its dirty bit and those of all pages that did not reach the image
 * set again, all others in the image; and that the next pass completes it once
 * the device works again. On the raw device and below a file system, with
 * writes of one page and of many, with bridges, with a table that is exchanged
 * all the time. LOAD reports the page likewise and loads all before it.
 */
#include <linux/fs.h>
#include <pthread.h>

#include "rig.h"
#include "harness.h"

#define PAGES	256
#define BAD	100	/* the page that cannot be written */
#define NR_BAD	3

struct failing {
	struct flaky disk;
	struct scratch fs;
	struct rig rig;
	struct rng rng;
	bool stop;
};

static bool failing_open(struct failing *self, const char *fstype,
			 uint32_t flags)
{
	self->rng = rng_new(0xfa11);
	if (flaky_open(&self->disk, fstype ? 320 * MIB : 16 * MIB))
		return false;
	if (fstype) {
		need_private_mounts();
		snprintf(self->fs.dev, sizeof(self->fs.dev), "%s",
			 self->disk.path);
		if (scratch_mount(&self->fs, fstype, NULL))
			return false;
	}
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), flags,
		    fstype ? self->fs.dir : self->disk.path);
	fsync(self->rig.img.fd);
	rig_dirty_all(&self->rig, &self->rng);
	return true;
}

static void failing_close(struct failing *self)
{
	flaky_set_all(&self->disk, FLAKY_PASS, 0);
	rig_drop(&self->rig);
	scratch_umount(&self->fs);
	flaky_close(&self->disk);
}

/* Where a page of the region lies on the device */
static uint64_t on_device(struct __test_metadata *_metadata,
			  const struct rig *rig, size_t page)
{
	uint64_t at = RIG_HEAD + page * page_size();
	int block_size, block;

	if (rig->img.blkdev)
		return at;
	if (ioctl(rig->img.fd, FIGETBSZ, &block_size))
		return 0;
	block = at / block_size;
	if (ioctl(rig->img.fd, FIBMAP, &block))
		return 0;
	return (uint64_t)block * block_size;
}

static void break_pages(struct __test_metadata *_metadata,
			struct failing *self, size_t page, size_t nr,
			enum flaky_what what)
{
	struct flaky_part part = { .what = what, .length = nr * page_size() };

	part.offset = on_device(_metadata, &self->rig, page);
	ASSERT_NE(0, part.offset);
	/* in one piece, or other pages would break too */
	ASSERT_EQ(part.offset + (nr - 1) * page_size(),
		  on_device(_metadata, &self->rig, page + nr - 1));
	ASSERT_EQ(0, flaky_set(&self->disk, &part, 1));
}

static void repair(struct __test_metadata *_metadata,
		   struct failing *self)
{
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
}

/* After a failed pass: nothing lost, and the next pass completes it. */
static void completes(struct __test_metadata *_metadata,
		      struct failing *self)
{
	struct rig *rig = &self->rig;

	repair(_metadata, self);
	ASSERT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(0, cached_pages(rig->img.fd));
}

static void a_page_a_write(struct __test_metadata *_metadata,
		struct failing *self)
{
	static const uint32_t windows[] = { 1, 2, 16 };
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	size_t i, left;

	for (i = 0; i < ARRAY_LEN(windows); i++) {
		break_pages(_metadata, self, BAD, NR_BAD, FLAKY_ERROR_WRITES);
		save = save_args(&rig->r, 0, PAGES);
		save.window = windows[i];
		save.max_extent = page_size();
		EXPECT_EQ(-EIO, save_pass(&rig->r, &save));
		EXPECT_EQ(BAD, save.out_error_page);
		EXPECT_EQ(0, bits_count(rig->r.dirty, 0, BAD));
		EXPECT_EQ(NR_BAD, bits_count(rig->r.dirty, BAD, NR_BAD));
		EXPECT_EQ(0, bits_count(rig->r.file, BAD, NR_BAD));
		left = bits_count(rig->r.dirty, 0, PAGES);
		EXPECT_EQ(PAGES - left, save.out_written_pages);
		/* It stops, within a window. */
		EXPECT_LE(save.out_ios, BAD + NR_BAD + windows[i]);
		completes(_metadata, self);

		rig_dirty_all(rig, &self->rng);
		bits_clear(rig->r.file, 0, PAGES);
		bits_clear(rig->m.file, 0, PAGES);
	}
}

static void many_pages_a_write(struct __test_metadata *_metadata,
		struct failing *self)
{
	static const uint32_t extents[] = { 0, 7, 64 };
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	size_t i, left, bad;

	for (i = 0; i < ARRAY_LEN(extents); i++) {
		break_pages(_metadata, self, BAD, NR_BAD, FLAKY_ERROR);
		save = save_args(&rig->r, 0, PAGES);
		save.max_extent = extents[i] * page_size();
		EXPECT_EQ(-EIO, save_pass(&rig->r, &save));
		/* Of a write that failed, everything counts as failed. */
		bad = save.out_error_page;
		ASSERT_LE(bad, BAD);
		if (extents[i]) {
			EXPECT_LT(BAD - bad, extents[i]);
		}
		EXPECT_EQ(0, bits_count(rig->r.dirty, 0, bad));
		EXPECT_EQ(BAD + NR_BAD - bad,
			  bits_count(rig->r.dirty, bad, BAD + NR_BAD - bad));
		left = bits_count(rig->r.dirty, 0, PAGES);
		EXPECT_EQ(PAGES - left, save.out_written_pages);
		completes(_metadata, self);
		rig_dirty_all(rig, &self->rng);
	}
}

static void bridges_over_what_breaks(struct __test_metadata *_metadata,
		struct failing *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	size_t i;

	completes(_metadata, self);
	/* Every other page is dirty, and the clean ones are written along. */
	for (i = 0; i < PAGES; i += 2)
		model_write_random(&rig->m, &self->rng, i);
	break_pages(_metadata, self, BAD + 1, 1, FLAKY_ERROR_WRITES);
	save.bridge = 4;
	save.max_extent = 16 * page_size();
	EXPECT_EQ(-EIO, save_pass(&rig->r, &save));
	EXPECT_LE(save.out_error_page, BAD + 1);
	/*
	 * Whether the image still holds the clean page, nobody knows: it is
	 * dirty now, or it was never touched.
	 */
	completes(_metadata, self);
}

static void nothing_works(struct __test_metadata *_metadata,
		struct failing *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_ERROR, 0));
	EXPECT_EQ(-EIO, save_pass(&rig->r, &save));
	EXPECT_EQ(0, save.out_error_page);
	EXPECT_EQ(0, save.out_written_pages);
	EXPECT_EQ(PAGES, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(0, bits_count(rig->r.file, 0, PAGES));
	completes(_metadata, self);
}

static void *exchange_tables(void *arg)
{
	struct failing *self = arg;
	struct flaky_part part = {
		.offset = RIG_HEAD + BAD * page_size(),
		.length = 20 * page_size(),
		.what = FLAKY_ERROR_WRITES,
	};

	while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
		flaky_set(&self->disk, &part, 1);
		usleep(20000);
		flaky_set_all(&self->disk, FLAKY_PASS, 0);
		usleep(20000);
	}
	return NULL;
}

static void now_and_then(struct __test_metadata *_metadata,
		struct failing *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	int failed = 0, i, err;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, exchange_tables, self));
	for (i = 0; i < 20; i++) {
		save = save_args(&rig->r, 0, PAGES);
		save.max_extent = (1 + i % 5) * 3 * page_size();
		save.bridge = i % 4;
		err = save_pass(&rig->r, &save);
		ASSERT_TRUE(!err || err == -EIO);
		failed += !!err;
		ASSERT_EQ(0, model_check_union(&rig->m))
			TH_LOG("%s", rig->m.why);
		model_dirty_some(&rig->m, &self->rng, 40);
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	TH_LOG("%d of 20 passes failed", failed);
	completes(_metadata, self);
}

static void a_load(struct __test_metadata *_metadata,
		struct failing *self)
{
	static const uint32_t extents[] = { 1, 16, 0 };
	struct rig *rig = &self->rig;
	struct mapped_ram_load load;
	size_t i, bad;

	completes(_metadata, self);
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	for (i = 0; i < ARRAY_LEN(extents); i++) {
		memset(rig->mem.addr, 0, rig->mem.length);
		break_pages(_metadata, self, BAD, NR_BAD, FLAKY_ERROR);
		load = load_args(&rig->r, 0, PAGES);
		load.max_extent = extents[i] * page_size();
		load.window = 8;
		EXPECT_EQ(-EIO, load_pass(&rig->r, &load));
		bad = load.out_error_page;
		ASSERT_LE(bad, BAD);
		if (extents[i]) {
			EXPECT_LT(BAD - bad, extents[i]);
		}
		EXPECT_EQ(0, memcmp(rig->mem.addr, rig->m.mem,
				    bad * page_size()));
		repair(_metadata, self);
		load = load_args(&rig->r, 0, PAGES);
		EXPECT_EQ(0, load_pass(&rig->r, &load));
		EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
	}
}

/* ---- the raw device ---- */

FIXTURE(fail_device) {
	struct failing failing;
};

FIXTURE_VARIANT(fail_device) {
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(fail_device, plain) { 0 };
FIXTURE_VARIANT_ADD(fail_device, pin) { MAPPED_RAM_REGION_PIN };

FIXTURE_SETUP(fail_device)
{
	if (!failing_open(&self->failing, NULL, variant->flags))
		SKIP(return, "no device-mapper");
}

FIXTURE_TEARDOWN(fail_device)
{
	failing_close(&self->failing);
}

TEST_F(fail_device, a_page_a_write)
{
	a_page_a_write(_metadata, &self->failing);
}

TEST_F(fail_device, many_pages_a_write)
{
	many_pages_a_write(_metadata, &self->failing);
}

TEST_F(fail_device, bridges_over_what_breaks)
{
	bridges_over_what_breaks(_metadata, &self->failing);
}

TEST_F(fail_device, nothing_works)
{
	nothing_works(_metadata, &self->failing);
}

TEST_F(fail_device, now_and_then)
{
	now_and_then(_metadata, &self->failing);
}

TEST_F(fail_device, a_load)
{
	a_load(_metadata, &self->failing);
}

/* ---- below a file system ---- */

FIXTURE(fail_fs_device) {
	struct failing failing;
};

FIXTURE_VARIANT(fail_fs_device) {
	const char *fstype;
};

FIXTURE_VARIANT_ADD(fail_fs_device, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(fail_fs_device, xfs) { "xfs" };

FIXTURE_SETUP(fail_fs_device)
{
	if (!failing_open(&self->failing, variant->fstype, 0))
		SKIP(return, "no device-mapper, or no %s", variant->fstype);
}

FIXTURE_TEARDOWN(fail_fs_device)
{
	failing_close(&self->failing);
}

static void all_parts(struct __test_metadata *_metadata, struct failing *self)
{
	STEP(a_page_a_write);
	STEP(many_pages_a_write);
	STEP(bridges_over_what_breaks);
	STEP(a_load);
}

TEST_F(fail_fs_device, data_blocks)
{
	all_parts(_metadata, &self->failing);
}

TEST_HARNESS_MAIN
