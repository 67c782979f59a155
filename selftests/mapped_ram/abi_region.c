// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what REGION_ADD and REGION_REMOVE take and refuse, with which error,
 * one wrong field at a time; that what they return is what mmap() and the
 * passes take; that a refused region leaves no trace.
 */
#include "abi.h"
#include "harness.h"

FIXTURE(abi_region) {
	struct rig rig;
	struct mapped_ram_info info;
	struct mapped_ram_region_add add;	/* valid */
};

FIXTURE_SETUP(abi_region)
{
	need_abi_rig(&self->rig);
	ASSERT_EQ(0, mr_info(self->rig.dev, &self->info));
	self->add = abi_region_add(&self->rig);
}

FIXTURE_TEARDOWN(abi_region)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);

	/* What every test starts from is valid, so its error was its own. */
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, add.out_region_id));
	EXPECT_EQ(0, abi_still_works(&self->rig));
	rig_drop(&self->rig);
}

#define EXPECT_ADD_REFUSED(err, field, value) do {			\
	struct mapped_ram_region_add _add = self->add;			\
									\
	_add.field = value;						\
	EXPECT_REFUSED(err, MAPPED_RAM_REGION_ADD, &_add)		\
		TH_LOG(#field " = " #value);				\
} while (0)

TEST_F(abi_region, outputs)
{
	static const size_t pages[] = { 1, 63, 64, 65, 100 };
	struct mapped_ram_region_add add;
	uint32_t ids[ARRAY_LEN(pages)];
	uint64_t want;
	size_t i, k;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	for (i = 0; i < ARRAY_LEN(pages); i++) {
		add = self->add;
		add.length = pages[i] * page_size();
		add.pages_offset = i * MIB;
		ASSERT_EQ(0, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
		EXPECT_NE(0, add.out_region_id);
		EXPECT_NE(add.out_dirty_offset, add.out_file_offset);
		EXPECT_EQ(0, add.out_dirty_offset % page_size());
		EXPECT_EQ(0, add.out_file_offset % page_size());
		want = (pages[i] + 7) / 8;
		want = (want + page_size() - 1) / page_size() * page_size();
		EXPECT_EQ(want, add.out_bitmap_size);
		ids[i] = add.out_region_id;
		for (k = 0; k < i; k++)
			EXPECT_NE(ids[k], ids[i]);
	}
	close(dev);
}

/* More than one page of bitmap, all of it mapped and zero */
TEST_F(abi_region, large_bitmap)
{
	size_t length = (8 * page_size() + 1) * page_size();
	struct region r;
	size_t i, bits;
	void *mem;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	mem = mmap(NULL, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, region_add(&r, dev, mem, length, 0, page_size(), 0));
	EXPECT_EQ(2 * page_size(), r.bitmap_size);
	bits = 8 * r.bitmap_size;
	EXPECT_EQ(0, bits_count(r.dirty, 0, bits));
	EXPECT_EQ(0, bits_count(r.file, 0, bits));
	/* They are two, and each is the one that it says. */
	for (i = 0; i < bits; i += 4097)
		bit_set(r.dirty, i);
	EXPECT_EQ(0, bits_count(r.file, 0, bits));
	EXPECT_EQ((bits + 4096) / 4097, bits_count(r.dirty, 0, bits));
	region_unmap_bitmaps(&r);
	munmap(mem, length);
	close(dev);
}

TEST_F(abi_region, alignment)
{
	EXPECT_ADD_REFUSED(EINVAL, user_addr, self->add.user_addr + 1);
	EXPECT_ADD_REFUSED(EINVAL, user_addr, self->add.user_addr + 512);
	EXPECT_ADD_REFUSED(EINVAL, user_addr,
			   self->add.user_addr + page_size() / 2);
	EXPECT_ADD_REFUSED(EINVAL, length, 1);
	EXPECT_ADD_REFUSED(EINVAL, length, page_size() - 1);
	EXPECT_ADD_REFUSED(EINVAL, length, page_size() + 512);
	EXPECT_ADD_REFUSED(EINVAL, length, 0);
	EXPECT_ADD_REFUSED(EINVAL, pages_offset, self->add.pages_offset + 1);
	EXPECT_ADD_REFUSED(EINVAL, pages_offset, self->add.pages_offset + 512);
	EXPECT_ADD_REFUSED(EINVAL, pages_offset,
			   self->add.pages_offset + page_size() / 2);
	/* With larger pages the page is the measure of length and offset. */
	self->add.page_size = 16 * page_size();
	self->add.length = 16 * page_size();
	self->add.pages_offset = 0;
	EXPECT_ADD_REFUSED(EINVAL, length, 8 * page_size());
	EXPECT_ADD_REFUSED(EINVAL, pages_offset, page_size());
	/* Of the address it is not. */
	self->add.user_addr += page_size();
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD,
			      &self->add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev,
				      self->add.out_region_id));
}

TEST_F(abi_region, page_sizes)
{
	static const uint32_t bad[] = { 0, 1, 2, 512, 2048, 4095, 4097, 3 * 4096,
					5 * 4096, 4 * 1024 * 1024, 1U << 31,
					UINT_MAX };
	struct mapped_ram_region_add add = self->add;
	struct mem mem;
	uint32_t size;
	size_t i;

	ASSERT_EQ(0, mem_map(&mem, MEM_ANON, 64 * MIB));
	/* Lengths and offsets that no size of page can complain about */
	add.user_addr = (uintptr_t)mem.addr;
	add.length = 15 * 4 * MIB;
	add.pages_offset = 0;
	/* Another image place than the rig's is none of the test's. */
	ASSERT_EQ(0, mr_region_remove(self->rig.dev, self->rig.r.id));
	ASSERT_EQ(0, mr_image_set(self->rig.dev, open(test_dir(), O_TMPFILE |
						      O_RDWR, 0600), 0, NULL));
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		add.page_size = bad[i];
		EXPECT_REFUSED(EINVAL, MAPPED_RAM_REGION_ADD, &add)
			TH_LOG("page size %u", bad[i]);
	}
	for (size = page_size(); size <= 2 * MIB; size *= 2) {
		add.page_size = size;
		ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD,
				      &add));
		EXPECT_EQ(0, mr_region_remove(self->rig.dev,
					      add.out_region_id));
	}
	mem_unmap(&mem);

	/* Back to what the rig was, with its bitmaps as the model knows them */
	ASSERT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	region_unmap_bitmaps(&self->rig.r);
	ASSERT_EQ(0, region_add(&self->rig.r, self->rig.dev,
				self->rig.mem.addr, self->rig.mem.length,
				RIG_HEAD, page_size(), 0));
	memcpy(self->rig.r.dirty, self->rig.m.dirty, self->rig.r.bitmap_size);
	memcpy(self->rig.r.file, self->rig.m.file, self->rig.r.bitmap_size);
}

TEST_F(abi_region, overflow)
{
	uint64_t top = -(uint64_t)page_size();

	EXPECT_ADD_REFUSED(EOVERFLOW, length,
			   -self->add.user_addr / page_size() * page_size());
	EXPECT_ADD_REFUSED(EOVERFLOW, length, top);
	EXPECT_ADD_REFUSED(EOVERFLOW, user_addr, top);
	EXPECT_ADD_REFUSED(EOVERFLOW, pages_offset, top);
	/* An end that is no file offset any more */
	EXPECT_ADD_REFUSED(EOVERFLOW, pages_offset,
			   INT64_MAX / page_size() * page_size());
	EXPECT_ADD_REFUSED(EOVERFLOW, pages_offset, 1ULL << 63);
}

TEST_F(abi_region, not_mapped)
{
	size_t page = page_size();
	uint8_t *mem = need_guarded(8 * page);
	size_t hole;

	self->add.length = 8 * page;
	self->add.user_addr = (uintptr_t)mem;
	/* The guards are mapped, only not accessible: give them up. */
	munmap(mem - page, page);
	munmap(mem + 8 * page, page);
	EXPECT_ADD_REFUSED(EFAULT, user_addr, (uintptr_t)mem - page);
	EXPECT_ADD_REFUSED(EFAULT, user_addr, (uintptr_t)mem + page);
	for (hole = 0; hole < 8; hole++) {
		munmap(mem + hole * page, page);
		EXPECT_ADD_REFUSED(EFAULT, user_addr, (uintptr_t)mem);
		ASSERT_NE(MAP_FAILED,
			  mmap(mem + hole * page, page, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	}
	EXPECT_ADD_REFUSED(EFAULT, user_addr, 0x800000000000);
	EXPECT_ADD_REFUSED(EFAULT, user_addr, 0xffff888000000000);
	EXPECT_ADD_REFUSED(EFAULT, user_addr, 0xffffffff81000000);
	/* Eight mappings in a row are as good as one. */
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD,
			      &self->add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, self->add.out_region_id));
	munmap(mem, 8 * page);
}

TEST_F(abi_region, too_many_pages)
{
	uint64_t length = (self->info.out_max_region_pages + 1) * page_size();
	int dev = mr_open();
	void *mem;

	ASSERT_LE(0, dev);
	mem = mmap(NULL, length, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		close(dev);
		SKIP(return, "cannot map %llu bytes of nothing",
		     (unsigned long long)length);
	}
	self->add.user_addr = (uintptr_t)mem;
	self->add.length = length;
	self->add.pages_offset = 0;
	EXPECT_EQ(-EINVAL, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &self->add));
	munmap(mem, length);
	close(dev);
}

TEST_F(abi_region, overlap)
{
	const size_t page = page_size();
	const uint64_t start = self->rig.r.offset;
	const uint64_t end = start + self->rig.r.length;

	EXPECT_ADD_REFUSED(EEXIST, pages_offset, start);
	EXPECT_ADD_REFUSED(EEXIST, pages_offset, start + 5 * page);
	EXPECT_ADD_REFUSED(EEXIST, pages_offset, end - page);
	self->add.length = 3 * page;
	EXPECT_ADD_REFUSED(EEXIST, pages_offset, start - 2 * page);
	EXPECT_ADD_REFUSED(EEXIST, pages_offset, end - page);
	self->add.length = self->rig.r.length;
	EXPECT_ADD_REFUSED(EEXIST, pages_offset, start);
	/* Around it on both sides */
	self->add.pages_offset = start - page;
	self->add.length = page;
	EXPECT_ADD_REFUSED(EEXIST, length, self->rig.r.length);
	/* Adjacent is not overlapping, and memory may be in two regions. */
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD,
			      &self->add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, self->add.out_region_id));
	self->add.pages_offset = end;
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD,
			      &self->add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, self->add.out_region_id));
}

TEST_F(abi_region, beyond_the_disk)
{
	const uint64_t end = self->rig.img.size;

	/* The rig's disk is as long as its image, in whole pages. */
	ASSERT_EQ(0, end % page_size());
	EXPECT_ADD_REFUSED(EFBIG, pages_offset, end);
	EXPECT_ADD_REFUSED(EFBIG, pages_offset, 1ULL << 50);
	self->add.pages_offset = end - page_size();
	EXPECT_ADD_REFUSED(EFBIG, length, 2 * page_size());
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD,
			      &self->add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, self->add.out_region_id));
}

/* What a file system can hold, whatever the file's length is now */
TEST_F(abi_region, beyond_the_file_system)
{
	struct mapped_ram_region_add add = self->add;
	struct image img;
	uint64_t most;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	need_image_sparse(&img, NULL, MIB);
	ASSERT_EQ(0, mr_image_set(dev, img.fd, 0, NULL));
	/* The largest length that ftruncate() takes, by bisection */
	for (most = 0; most < INT64_MAX;) {
		uint64_t gap = INT64_MAX - most, step = 1;

		while (step * 2 <= gap && step * 2 > step &&
		       !ftruncate(img.fd, most + step * 2))
			step *= 2;
		if (ftruncate(img.fd, most + step))
			break;
		most += step;
	}
	ASSERT_EQ(0, ftruncate(img.fd, MIB));
	most = most / page_size() * page_size();
	ASSERT_LT(MIB, most);
	add.pages_offset = most - page_size();
	EXPECT_EQ(0, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add))
		TH_LOG("at %#llx", (unsigned long long)add.pages_offset);
	add.pages_offset = most;
	/* Where the file system has no limit of its own there is no offset. */
	EXPECT_EQ(most > INT64_MAX - 2 * page_size() ? -EOVERFLOW : -EFBIG,
		  mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	close(dev);
	image_drop(&img);
}

TEST_F(abi_region, too_many_regions)
{
	struct mapped_ram_region_add add;
	uint32_t i, some = 0;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	for (i = 0; i < self->info.out_max_regions; i++) {
		add = self->add;
		add.pages_offset = (uint64_t)i * page_size();
		ASSERT_EQ(0, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
		if (i == 5)
			some = add.out_region_id;
	}
	add = self->add;
	add.pages_offset = (uint64_t)i * page_size();
	EXPECT_EQ(-ENOSPC, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(POISON32, add.out_region_id);
	EXPECT_EQ(0, mr_region_remove(dev, some));
	EXPECT_EQ(0, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	close(dev);
}

TEST_F(abi_region, removal)
{
	struct mapped_ram_region_add add = self->add;
	static const uint32_t unknown[] = { 0, 1000, INT_MAX, 1U << 31,
					    UINT_MAX };
	struct mapped_ram_save save = abi_save(&self->rig);
	size_t i;

	for (i = 0; i < ARRAY_LEN(unknown); i++)
		EXPECT_EQ(-ENOENT, mr_region_remove(self->rig.dev, unknown[i]));
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, add.out_region_id));
	EXPECT_EQ(-ENOENT, mr_region_remove(self->rig.dev, add.out_region_id));
	save.region_id = add.out_region_id;
	save.first_page = 0;
	EXPECT_REFUSED(ENOENT, MAPPED_RAM_SAVE, &save);
}

/* An id means nothing in another session. */
TEST_F(abi_region, ids_are_the_session_s)
{
	int dev = mr_open();

	ASSERT_LE(0, dev);
	EXPECT_EQ(-ENOENT, mr_region_remove(dev, self->rig.r.id));
	close(dev);
}

TEST_HARNESS_MAIN
