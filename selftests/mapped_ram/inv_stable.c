// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 7: where the target computes checksums of what is written,
 * IMAGE_SET says so and a pass writes copies, except when the caller promises
 * that nothing changes; elsewhere nothing is copied. And that it matters: on
 * btrfs, on a slow device, memory that changes while it is written leaves an
 * image that can be read back.
 */
#include <pthread.h>

#include "rig.h"
#include "harness.h"

#define PAGES	120

FIXTURE(inv_stable) {
	struct memdisk disk;
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(inv_stable) {
	bool stable;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(inv_stable, plain) { false, 0 };
FIXTURE_VARIANT_ADD(inv_stable, stable) { true, 0 };
FIXTURE_VARIANT_ADD(inv_stable, stable_pin) { true, MAPPED_RAM_REGION_PIN };

FIXTURE_SETUP(inv_stable)
{
	self->rng = rng_new(0x57ab);
	ASSERT_EQ(0, memdisk_open(&self->disk, 16 * MIB));
	if (variant->stable && blkdev_sysfs_set(self->disk.path,
						"queue/stable_writes", "1"))
		SKIP(return, "stable_writes cannot be set");
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), variant->flags,
		    self->disk.path);
	rig_dirty_all(&self->rig, &self->rng);
}

FIXTURE_TEARDOWN(inv_stable)
{
	rig_drop(&self->rig);
	memdisk_close(&self->disk);
}

TEST_F(inv_stable, flags_say_so)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_image_set set;
	struct mapped_ram_save save;

	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd, 0, &set));
	EXPECT_EQ(variant->stable,
		  !!(set.out_flags & MAPPED_RAM_IMAGE_OUT_STABLE_PAGES));

	save = save_args(&rig->r, 0, PAGES);
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(variant->stable,
		  !!(save.out_flags & MAPPED_RAM_PASS_OUT_BOUNCED));
	EXPECT_EQ(0, cached_pages(rig->img.fd));

	rig_dirty_all(rig, &self->rng);
	save = save_args(&rig->r, 0, PAGES);
	save.flags = MAPPED_RAM_SAVE_STOPPED;
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, save.out_flags & MAPPED_RAM_PASS_OUT_BOUNCED);
}

TEST_F(inv_stable, copies_are_of_any_shape)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	int pass;

	/* runs, zero pages and bridges through the same copies */
	for (pass = 0; pass < 6; pass++) {
		save = save_args(&rig->r, pass, PAGES - 2 * pass);
		save.bridge = 3 * pass;
		save.window = 1 + pass;
		save.max_extent = pass * 7 * page_size();
		ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
		model_dirty_some(&rig->m, &self->rng, 40);
	}
}

/* ---- on a file system with checksums ---- */

FIXTURE(inv_checksum) {
	struct flaky disk;
	struct scratch fs;
	struct rig rig;
	struct rng rng;
	bool stop;
};

FIXTURE_SETUP(inv_checksum)
{
	self->rng = rng_new(0xc5);
	if (!have_program("mkfs.btrfs"))
		SKIP(return, "no mkfs.btrfs");
	need_private_mounts();
	ASSERT_EQ(0, flaky_open(&self->disk, 256 * MIB));
	snprintf(self->fs.dev, sizeof(self->fs.dev), "%s", self->disk.path);
	if (scratch_mount(&self->fs, "btrfs", NULL))
		SKIP(return, "cannot mount btrfs");
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), 0,
		    self->fs.dir);
	rig_dirty_all(&self->rig, &self->rng);
	ASSERT_EQ(0, fsync(self->rig.img.fd));
}

FIXTURE_TEARDOWN(inv_checksum)
{
	rig_drop(&self->rig);
	scratch_umount(&self->fs);
	flaky_close(&self->disk);
}

static void *keep_writing(void *arg)
{
	FIXTURE_DATA(inv_checksum) *self = arg;
	const struct region *r = &self->rig.r;
	uint8_t value = 1;
	size_t i;

	/* A byte in every page, over and over; reported after it is done */
	while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
		for (i = 0; i < PAGES; i++)
			region_page(r, i)[100] = value;
		value++;
		bits_set(r->dirty, 0, PAGES);
	}
	return NULL;
}

TEST_F(inv_checksum, memory_that_changes_can_be_read_back)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_image_set set;
	struct mapped_ram_save save;
	pthread_t writer;
	uint8_t *buf;
	int pass;

	buf = malloc(rig->img.size);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd, 0, &set));
	EXPECT_NE(0, set.out_flags & MAPPED_RAM_IMAGE_OUT_STABLE_PAGES);
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, 50));
	ASSERT_EQ(0, pthread_create(&writer, NULL, keep_writing, self));
	for (pass = 0; pass < 3; pass++) {
		save = save_args(&rig->r, 0, PAGES);
		EXPECT_EQ(0, save_pass(&rig->r, &save));
		EXPECT_NE(0, save.out_flags & (MAPPED_RAM_PASS_OUT_BOUNCED |
					       MAPPED_RAM_PASS_OUT_BUFFERED));
		if (!(save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED)) {
			EXPECT_EQ(0, cached_region_pages(&rig->r, &rig->img));
		}
		EXPECT_EQ(0, image_read(&rig->img, buf, rig->img.size, 0));
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	pthread_join(writer, NULL);
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));

	save = save_args(&rig->r, 0, PAGES);
	save.flags = MAPPED_RAM_SAVE_STOPPED;
	ASSERT_EQ(0, save_pass(&rig->r, &save));
	memcpy(rig->m.mem, rig->mem.addr, rig->mem.length);
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	free(buf);
}

TEST_F(inv_checksum, the_copies_are_what_helps)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	pthread_t writer;
	uint8_t *buf;
	int pass, err = 0;

	/*
	 * A broken promise: shows that the test above can fail. It need not
	 * fail where the file system itself makes copies.
	 */
	buf = malloc(rig->img.size);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, 50));
	ASSERT_EQ(0, pthread_create(&writer, NULL, keep_writing, self));
	for (pass = 0; pass < 3 && !err; pass++) {
		save = save_args(&rig->r, 0, PAGES);
		save.flags = MAPPED_RAM_SAVE_STOPPED;
		EXPECT_EQ(0, save_pass(&rig->r, &save));
		if (save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED)
			break;
		err = image_read(&rig->img, buf, rig->img.size, 0);
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	pthread_join(writer, NULL);
	free(buf);
	if (save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED)
		SKIP(return, "this btrfs makes copies by itself");
	EXPECT_EQ(-EIO, err);

	/* Even then nothing is lost: dirty again, and written again. */
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
	save = save_args(&rig->r, 0, PAGES);
	bits_set(rig->r.dirty, 0, PAGES);
	ASSERT_EQ(0, save_pass(&rig->r, &save));
	memcpy(rig->m.mem, rig->mem.addr, rig->mem.length);
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_HARNESS_MAIN
