// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what a full file system does to a pass over an image with holes:
 * ENOSPC, every page either in the image or still dirty, zero pages and pages
 * that have their blocks already saved as ever, and a pass that completes once
 * there is room.
 */
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "rig.h"
#include "harness.h"

#define LENGTH	(4 * MIB)
#define ROOM	(MIB)		/* what is left of the file system, about */

FIXTURE(fail_space) {
	struct place place;
	struct rig rig;
	struct rng rng;
	char filler[PATH_MAX + 8];
};

FIXTURE_VARIANT(fail_space) {
	const char *fstype;
};

FIXTURE_VARIANT_ADD(fail_space, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(fail_space, xfs) { "xfs" };
FIXTURE_VARIANT_ADD(fail_space, btrfs) { "btrfs" };

static bool is_btrfs(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == BTRFS_SUPER_MAGIC;
}

static int fill_up(const char *path, uint64_t room)
{
	uint64_t free_blocks;
	struct statvfs st;
	off_t length = 0, step;
	int fd, err = 0;

	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* In steps: the last free blocks are not in one piece. */
	for (step = 64 * MIB; step >= (off_t)(64 * KIB) && !err;) {
		if (fstatvfs(fd, &st)) {
			err = -errno;
			break;
		}
		/* Root may use what is reserved, but btrfs counts it all. */
		free_blocks = st.f_bfree;
		if (is_btrfs(fd))
			free_blocks = st.f_bavail;
		if (free_blocks * st.f_frsize < room + step) {
			step /= 2;
		} else if (!fallocate(fd, 0, length, step)) {
			length += step;
		} else if (errno == ENOSPC) {
			step /= 2;
		} else {
			err = -errno;
		}
	}
	fsync(fd);
	close(fd);
	return err;
}

FIXTURE_SETUP(fail_space)
{
	int err = place_open(&self->place, variant->fstype);

	if (err == -EOPNOTSUPP)
		SKIP(return, "no %s here", variant->fstype);
	ASSERT_EQ(0, err);
	self->rng = rng_new(0xe205);
	need_rig_sparse(&self->rig, MEM_ANON, LENGTH, self->place.fs.dir);
	snprintf(self->filler, sizeof(self->filler), "%s/filler",
		 self->place.fs.dir);
}

FIXTURE_TEARDOWN(fail_space)
{
	unlink(self->filler);
	rig_drop(&self->rig);
	place_close(&self->place);
}

static void make_room(struct __test_metadata *_metadata,
		      FIXTURE_DATA(fail_space) *self)
{
	ASSERT_EQ(0, unlink(self->filler));
	/* It comes back late. */
	ASSERT_EQ(0, shell("sync -f %s", self->place.fs.dir));
}

static void holes_without_room(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_space) *self)
{
	struct rig *rig = &self->rig;
	size_t pages = rig->r.nr_pages, left;
	struct mapped_ram_save save = save_args(&rig->r, 0, pages);

	rig_dirty_all(rig, &self->rng);
	ASSERT_EQ(0, fill_up(self->filler, ROOM));
	save.max_extent = 8 * page_size();
	EXPECT_EQ(-ENOSPC, save_pass(&rig->r, &save));
	left = bits_count(rig->r.dirty, 0, pages);
	EXPECT_LT(0, left);
	EXPECT_EQ(pages - left, save.out_written_pages);
	EXPECT_EQ(pages - left, bits_count(rig->r.file, 0, pages));
	ASSERT_LT(save.out_error_page, pages);
	EXPECT_TRUE(bit_test(rig->r.dirty, save.out_error_page));
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, save.out_error_page));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);

	/* As often as one likes */
	save = save_args(&rig->r, 0, pages);
	EXPECT_EQ(-ENOSPC, save_pass(&rig->r, &save));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);

	make_room(_metadata, self);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(pages, bits_count(rig->r.file, 0, pages));
}

static void blocks_that_are_there_need_no_room(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_space) *self)
{
	struct rig *rig = &self->rig;
	size_t i, pages = rig->r.nr_pages;

	rig_dirty_all(rig, &self->rng);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, fill_up(self->filler, 0));
	for (i = 0; i < pages; i += 5)
		model_write_random(&rig->m, &self->rng, i);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	make_room(_metadata, self);
}

static void zero_pages_need_no_room(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_space) *self)
{
	struct rig *rig = &self->rig;
	size_t i, pages = rig->r.nr_pages;
	struct stat before, after;

	ASSERT_EQ(0, fill_up(self->filler, 0));
	ASSERT_EQ(0, fstat(rig->img.fd, &before));
	for (i = 0; i < pages; i++)
		model_write_zero(&rig->m, i);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, fstat(rig->img.fd, &after));
	EXPECT_EQ(before.st_blocks, after.st_blocks);
	make_room(_metadata, self);
}

TEST_F(fail_space, full)
{
	STEP(holes_without_room);
	/* btrfs copies on every write. */
	if (strcmp(variant->fstype, "btrfs"))
		STEP(blocks_that_are_there_need_no_room);
	STEP(zero_pages_need_no_room);
}

TEST_HARNESS_MAIN
