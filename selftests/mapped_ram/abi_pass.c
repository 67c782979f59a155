// SPDX-License-Identifier: GPL-2.0
/*
 * Proves which arguments of SAVE and LOAD are refused before the pass, with
 * which error, one wrong field at a time, with outputs untouched and no bit or
 * byte changed; and that the limits which INFO names are themselves allowed.
 */
#include "abi.h"
#include "harness.h"

FIXTURE(abi_pass) {
	struct rig rig;
	struct mapped_ram_info info;
};

FIXTURE_SETUP(abi_pass)
{
	need_abi_rig(&self->rig);
	ASSERT_EQ(0, mr_info(self->rig.dev, &self->info));
}

FIXTURE_TEARDOWN(abi_pass)
{
	EXPECT_EQ(0, abi_still_works(&self->rig));
	rig_drop(&self->rig);
}

/*
 * Over the whole region, where there is a lot that a pass could do: a call that
 * should be refused and is not changes bitmaps or memory, and is found out.
 */
#define EXPECT_SAVE_REFUSED(err, field, value) do {			\
	struct mapped_ram_save _save = abi_save(&self->rig);		\
									\
	_save.first_page = 0;						\
	_save.nr_pages = ABI_PAGES;					\
	_save.field = value;						\
	EXPECT_REFUSED(err, MAPPED_RAM_SAVE, &_save)			\
		TH_LOG("SAVE " #field " = " #value);			\
} while (0)

#define EXPECT_LOAD_REFUSED(err, field, value) do {			\
	struct mapped_ram_load _load = abi_load(&self->rig);		\
									\
	_load.first_page = 0;						\
	_load.nr_pages = ABI_PAGES;					\
	_load.field = value;						\
	EXPECT_REFUSED(err, MAPPED_RAM_LOAD, &_load)			\
		TH_LOG("LOAD " #field " = " #value);			\
} while (0)

#define EXPECT_BOTH_REFUSED(err, field, value) do {			\
	EXPECT_SAVE_REFUSED(err, field, value);				\
	EXPECT_LOAD_REFUSED(err, field, value);				\
} while (0)

TEST_F(abi_pass, no_such_region)
{
	EXPECT_BOTH_REFUSED(ENOENT, region_id, 0);
	EXPECT_BOTH_REFUSED(ENOENT, region_id, self->rig.r.id + 1);
	EXPECT_BOTH_REFUSED(ENOENT, region_id, self->rig.r.id + (1U << 16));
	EXPECT_BOTH_REFUSED(ENOENT, region_id, INT_MAX);
	EXPECT_BOTH_REFUSED(ENOENT, region_id, UINT_MAX);
}

TEST_F(abi_pass, range)
{
	EXPECT_BOTH_REFUSED(EINVAL, nr_pages, 0);
	EXPECT_BOTH_REFUSED(ERANGE, nr_pages, ABI_PAGES + 1);
	EXPECT_BOTH_REFUSED(ERANGE, nr_pages, 1ULL << 32);
	EXPECT_BOTH_REFUSED(ERANGE, nr_pages, 1ULL << 63);
	EXPECT_BOTH_REFUSED(ERANGE, nr_pages, UINT64_MAX);
	/* In the whole region the first page can only be page 0. */
	EXPECT_BOTH_REFUSED(ERANGE, first_page, 1);
	EXPECT_BOTH_REFUSED(ERANGE, first_page, ABI_PAGES);
	EXPECT_BOTH_REFUSED(ERANGE, first_page, 1ULL << 32);
	EXPECT_BOTH_REFUSED(ERANGE, first_page, 1ULL << 52);
	EXPECT_BOTH_REFUSED(ERANGE, first_page, 1ULL << 63);
	/* First plus number is a small number again. */
	EXPECT_BOTH_REFUSED(ERANGE, first_page, -(uint64_t)ABI_PAGES);
	EXPECT_BOTH_REFUSED(ERANGE, first_page, 1 - (uint64_t)ABI_PAGES);
	EXPECT_BOTH_REFUSED(ERANGE, first_page, UINT64_MAX);
}

/* One page, but behind the end, and where its number overflows in bytes */
TEST_F(abi_pass, page_behind_the_end)
{
	static const uint64_t first[] = {
		ABI_PAGES, 1ULL << 32, 1ULL << 52, 1ULL << 63, UINT64_MAX,
	};
	struct mapped_ram_save save = abi_save(&self->rig);
	struct mapped_ram_load load = abi_load(&self->rig);
	size_t i;

	for (i = 0; i < ARRAY_LEN(first); i++) {
		save.first_page = first[i];
		load.first_page = first[i];
		EXPECT_REFUSED(ERANGE, MAPPED_RAM_SAVE, &save);
		EXPECT_REFUSED(ERANGE, MAPPED_RAM_LOAD, &load);
	}
}

TEST_F(abi_pass, limits)
{
	const uint32_t page = page_size();

	EXPECT_BOTH_REFUSED(EINVAL, window, self->info.out_max_window + 1);
	EXPECT_BOTH_REFUSED(EINVAL, window, UINT_MAX);
	EXPECT_SAVE_REFUSED(EINVAL, bridge, self->info.out_max_bridge + 1);
	EXPECT_SAVE_REFUSED(EINVAL, bridge, UINT_MAX);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, 1);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, 512);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, page - 1);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, page + 1);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, page + 512);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent,
			    self->info.out_max_extent + page);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, UINT_MAX);
	EXPECT_BOTH_REFUSED(EINVAL, max_extent, UINT_MAX - page + 1);
}

/* The most that may be chosen has the same limit. */
TEST_F(abi_pass, limit_of_a_choice)
{
	const uint32_t bad[] = { self->info.out_max_bridge + 1, UINT_MAX };
	struct mapped_ram_save save = abi_save(&self->rig);
	size_t i;

	save.first_page = 0;
	save.nr_pages = ABI_PAGES;
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		save.bridge = bad[i];
		EXPECT_REFUSED(EINVAL, MAPPED_RAM_SAVE, &save);
	}
}

/* Of a region with larger pages these are the measure. */
TEST_F(abi_pass, extent_of_large_pages)
{
	const uint32_t large = 16 * page_size();
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	struct mapped_ram_save save = abi_save(&self->rig);
	struct mapped_ram_load load = abi_load(&self->rig);
	size_t i;
	const uint32_t bad[] = { page_size(), large - page_size(),
				 large + page_size(), large / 2 };

	add.page_size = large;
	add.length = large;
	add.pages_offset = 0;
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD, &add));
	save.region_id = add.out_region_id;
	load.region_id = add.out_region_id;
	save.first_page = 0;
	load.first_page = 0;
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		save.max_extent = bad[i];
		load.max_extent = bad[i];
		EXPECT_REFUSED(EINVAL, MAPPED_RAM_SAVE, &save);
		EXPECT_REFUSED(EINVAL, MAPPED_RAM_LOAD, &load);
	}
	save.max_extent = large;
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_SAVE, &save));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, add.out_region_id));
}

TEST_F(abi_pass, limits_are_allowed)
{
	const uint32_t page = page_size();
	struct mapped_ram_save save = abi_save(&self->rig);
	struct mapped_ram_load load = abi_load(&self->rig);

	save.window = self->info.out_max_window;
	save.bridge = self->info.out_max_bridge;
	save.max_extent = self->info.out_max_extent / page * page;
	EXPECT_EQ(0, abi_call(&self->rig, MAPPED_RAM_SAVE, &save,
			      sizeof(save)));
	load.window = self->info.out_max_window;
	load.max_extent = self->info.out_max_extent / page * page;
	EXPECT_EQ(0, abi_call(&self->rig, MAPPED_RAM_LOAD, &load,
			      sizeof(load)));
	save.window = 1;
	save.bridge = 1;
	save.max_extent = page;
	EXPECT_EQ(0, abi_call(&self->rig, MAPPED_RAM_SAVE, &save,
			      sizeof(save)));
	EXPECT_EQ(1, save.out_bridge);
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	EXPECT_EQ(0, abi_call(&self->rig, MAPPED_RAM_SAVE, &save,
			      sizeof(save)));
	save.bridge = self->info.out_max_bridge;
	EXPECT_EQ(0, abi_call(&self->rig, MAPPED_RAM_SAVE, &save,
			      sizeof(save)));
	/* Nothing was written that it could choose by. */
	EXPECT_EQ(0, save.out_bridge);
	load.window = 1;
	load.max_extent = page;
	EXPECT_EQ(0, abi_call(&self->rig, MAPPED_RAM_LOAD, &load,
			      sizeof(load)));
}

/* What passes that had nothing to do say */
TEST_F(abi_pass, outputs_of_nothing)
{
	struct mapped_ram_save save = abi_save(&self->rig);
	struct mapped_ram_load load = abi_load(&self->rig);

	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_SAVE, &save));
	EXPECT_EQ(0, save.out_written_pages);
	EXPECT_EQ(0, save.out_zero_pages);
	EXPECT_EQ(0, save.out_bridged_pages);
	EXPECT_EQ(0, save.out_ios);
	EXPECT_EQ(0, save.out_bytes);
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, save.out_error_page);
	EXPECT_EQ(0, save.out_flags);
	EXPECT_EQ(0, save.out_bridge);
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_LOAD, &load));
	EXPECT_EQ(0, load.out_read_pages);
	EXPECT_EQ(1, load.out_zero_pages);
	EXPECT_EQ(0, load.out_ios);
	EXPECT_EQ(0, load.out_bytes);
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, load.out_error_page);
	EXPECT_EQ(0, load.out_flags);
	EXPECT_EQ(0, load.out_pad);
}

TEST_F(abi_pass, no_image)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	struct mapped_ram_save save = abi_save(&self->rig);
	struct mapped_ram_load load = abi_load(&self->rig);
	struct mapped_ram_save save_before;
	struct mapped_ram_load load_before;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	save.region_id = add.out_region_id;
	load.region_id = add.out_region_id;
	save.first_page = 0;
	load.first_page = 0;
	save_before = save;
	load_before = load;
	EXPECT_EQ(-ENXIO, mr_ioctl(dev, MAPPED_RAM_SAVE, &save));
	EXPECT_EQ(-ENXIO, mr_ioctl(dev, MAPPED_RAM_LOAD, &load));
	EXPECT_EQ(0, memcmp(&save, &save_before, sizeof(save)));
	EXPECT_EQ(0, memcmp(&load, &load_before, sizeof(load)));
	/* With an image both are fine. */
	ASSERT_EQ(0, mr_image_set(dev, self->rig.img.fd, 0, NULL));
	EXPECT_EQ(0, mr_ioctl(dev, MAPPED_RAM_SAVE, &save));
	close(dev);
}

TEST_F(abi_pass, wrong_direction)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = abi_save(rig);
	struct mapped_ram_load load = abi_load(rig);
	int writing = open(rig->img.path, O_WRONLY);
	int reading = open(rig->img.path, O_RDONLY);

	ASSERT_LE(0, writing);
	ASSERT_LE(0, reading);
	ASSERT_EQ(0, mr_image_set(rig->dev, reading, MAPPED_RAM_IMAGE_LOAD,
				  NULL));
	EXPECT_SAVE_REFUSED(EBADF, flags, 0);
	EXPECT_EQ(0, mr_ioctl(rig->dev, MAPPED_RAM_LOAD, &load));
	/* Attached for loading is not for saving, even if it could be. */
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd, MAPPED_RAM_IMAGE_LOAD,
				  NULL));
	EXPECT_SAVE_REFUSED(EBADF, flags, 0);
	EXPECT_EQ(0, mr_ioctl(rig->dev, MAPPED_RAM_LOAD, &load));

	ASSERT_EQ(0, mr_image_set(rig->dev, writing, 0, NULL));
	EXPECT_LOAD_REFUSED(EBADF, flags, 0);
	EXPECT_EQ(0, mr_ioctl(rig->dev, MAPPED_RAM_SAVE, &save));
	/* The file is open for reading, so what was saved can be loaded. */
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd, 0, NULL));
	EXPECT_EQ(0, mr_ioctl(rig->dev, MAPPED_RAM_LOAD, &load));
	close(writing);
	close(reading);
}

TEST_HARNESS_MAIN
