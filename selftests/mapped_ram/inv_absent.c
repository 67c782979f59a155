// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 5: pages that were never touched are neither faulted in nor
 * written. All of a large region is dirty, as after the start of tracking, but
 * only a few of its pages exist: after the pass no page more does, by every
 * account that the kernel keeps (resident pages, page tables, blocks of the
 * memfd, free huge pages), and the image holds those few and nothing else.
 * Pages that exist without being mapped here are saved like any other.
 */
#include "rig.h"
#include "harness.h"

#define SMALL_KIND	(1024 * MIB)
#define HUGE_KIND	(32 * HUGE_SIZE)

static const size_t touched[] = { 0, 1, 511, 512, 1000, 5000, 16383 };

FIXTURE(inv_absent) {
	struct memdisk disk;
	struct image img;
	struct mem mem;
	struct region r;
	int dev;
};

FIXTURE_VARIANT(inv_absent) {
	enum mem_kind kind;
	size_t length;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(inv_absent, anon) { MEM_ANON, SMALL_KIND, 0 };
FIXTURE_VARIANT_ADD(inv_absent, anon_pin) {
	MEM_ANON, SMALL_KIND, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_absent, thp) { MEM_THP, SMALL_KIND, 0 };
FIXTURE_VARIANT_ADD(inv_absent, memfd) { MEM_MEMFD, SMALL_KIND, 0 };
FIXTURE_VARIANT_ADD(inv_absent, memfd_pin) {
	MEM_MEMFD, SMALL_KIND, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_absent, hugetlb) { MEM_HUGETLB, HUGE_KIND, 0 };
FIXTURE_VARIANT_ADD(inv_absent, memfd_hugetlb) {
	MEM_MEMFD_HUGETLB, HUGE_KIND, 0
};

FIXTURE_SETUP(inv_absent)
{
	uint64_t size = RIG_HEAD + variant->length;

	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, memdisk_open(&self->disk, size));
	need_image_unfilled(&self->img, self->disk.path, size);
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd, 0, NULL));
	ASSERT_EQ(0, mem_map(&self->mem, variant->kind, variant->length));
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem.addr,
				variant->length, RIG_HEAD, page_size(),
				variant->flags));
	/* This makes the bitmaps resident, which must not be counted below. */
	bits_set(self->r.dirty, 0, self->r.nr_pages);
	bits_clear(self->r.file, 0, self->r.nr_pages);
}

FIXTURE_TEARDOWN(inv_absent)
{
	close(self->dev);
	region_unmap_bitmaps(&self->r);
	image_drop(&self->img);
	mem_unmap(&self->mem);
	memdisk_close(&self->disk);
}

static void same_account(struct __test_metadata *_metadata,
			 const struct account *before, const struct mem *mem)
{
	char why[128] = "";

	EXPECT_EQ(0, account_differs(before, mem, why, sizeof(why)))
		TH_LOG("%s", why);
}

TEST_F(inv_absent, a_pass_touches_nothing)
{
	struct mapped_ram_save save = save_args(&self->r, 0, self->r.nr_pages);
	const size_t size = page_size(), nr = ARRAY_LEN(touched);
	struct account before;
	uint8_t page[4096];
	size_t i;

	for (i = 0; i < nr; i++)
		memset(region_page(&self->r, touched[i]), 0x11 + i, size);
	before = account_now(&self->mem);

	save.bridge = 64;
	ASSERT_EQ(0, save_pass(&self->r, &save));
	same_account(_metadata, &before, &self->mem);
	EXPECT_EQ(nr, save.out_written_pages);
	EXPECT_EQ(self->r.nr_pages - nr, save.out_zero_pages);
	EXPECT_EQ(nr * size, save.out_bytes);
	EXPECT_EQ(0, bits_count(self->r.dirty, 0, self->r.nr_pages));
	EXPECT_EQ(nr, bits_count(self->r.file, 0, self->r.nr_pages));
	for (i = 0; i < nr; i++) {
		EXPECT_TRUE(bit_test(self->r.file, touched[i]));
		ASSERT_EQ(0, image_read(&self->img, page, size, RIG_HEAD +
					touched[i] * size));
		EXPECT_EQ(0, memcmp(page, region_page(&self->r, touched[i]),
				    size));
	}

	/* And once more, now that a pass has been here. */
	bits_set(self->r.dirty, 0, self->r.nr_pages);
	ASSERT_EQ(0, save_pass(&self->r, &save));
	same_account(_metadata, &before, &self->mem);
	EXPECT_EQ(nr, save.out_written_pages);
}

TEST_F(inv_absent, parts_of_large_pages)
{
	const size_t size = 64 * KIB, nr = 3;
	struct mapped_ram_save save;
	uint8_t *page, *want;
	struct account before;
	struct region r;
	size_t i;

	/* One bit is 16 pages, of which one exists: the rest is zero, unmade. */
	region_unmap_bitmaps(&self->r);
	ASSERT_EQ(0, mr_region_remove(self->dev, self->r.id));
	ASSERT_EQ(0, region_add(&r, self->dev, self->mem.addr, variant->length,
				RIG_HEAD, size, variant->flags));
	self->r = r;
	page = malloc(size);
	want = calloc(1, size);
	ASSERT_NE(NULL, page);
	ASSERT_NE(NULL, want);
	for (i = 0; i < nr; i++)
		memset(region_page(&r, 10 * i) + i * 5 * page_size(), 0x41 + i,
		       page_size());
	bits_set(r.dirty, 0, r.nr_pages);
	bits_clear(r.file, 0, r.nr_pages);
	before = account_now(&self->mem);

	save = save_args(&r, 0, r.nr_pages);
	ASSERT_EQ(0, save_pass(&r, &save));
	same_account(_metadata, &before, &self->mem);
	EXPECT_EQ(nr, save.out_written_pages);
	EXPECT_EQ(r.nr_pages - nr, save.out_zero_pages);
	for (i = 0; i < nr; i++) {
		EXPECT_TRUE(bit_test(r.file, 10 * i));
		memset(want, 0, size);
		memset(want + i * 5 * page_size(), 0x41 + i, page_size());
		ASSERT_EQ(0, image_read(&self->img, page, size,
					RIG_HEAD + 10 * i * size));
		EXPECT_EQ(0, memcmp(page, want, size));
	}
	free(page);
	free(want);
}

TEST_F(inv_absent, a_load_of_zeroes_touches_nothing)
{
	struct mapped_ram_load load = load_args(&self->r, 0, self->r.nr_pages);
	struct account before;

	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	before = account_now(&self->mem);
	ASSERT_EQ(0, load_pass(&self->r, &load));
	same_account(_metadata, &before, &self->mem);
	EXPECT_EQ(self->r.nr_pages, load.out_zero_pages);
	EXPECT_EQ(0, load.out_bytes);
}

TEST_F(inv_absent, what_others_wrote_is_saved)
{
	struct mapped_ram_save save = save_args(&self->r, 0, self->r.nr_pages);
	const size_t size = page_size(), nr = ARRAY_LEN(touched);
	const size_t huge = HUGE_SIZE / page_size();
	uint8_t page[4096], want[4096], *other;
	size_t i, exist = 0;
	pid_t child;
	int status;

	if (self->mem.fd < 0)
		SKIP(return, "private memory has no others");

	/* Half of them by another process through a mapping of its own */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		other = mmap(NULL, self->mem.length, PROT_READ | PROT_WRITE,
			     MAP_SHARED, self->mem.fd, 0);
		for (i = 0; i < nr / 2 && other != MAP_FAILED; i++)
			memset(other + touched[i] * size, 0x31 + i, size);
		_exit(other == MAP_FAILED);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* and the others through the fd, which hugetlbfs does not have. */
	for (i = nr / 2; i < nr; i++) {
		memset(page, 0x31 + i, size);
		if (variant->kind == MEM_MEMFD_HUGETLB)
			break;
		ASSERT_EQ(size, pwrite(self->mem.fd, page, size,
				       touched[i] * size));
	}
	exist = i;
	EXPECT_EQ(0, mapping_rss_kb(self->mem.addr));

	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(exist, save.out_written_pages);
	for (i = 0; i < exist; i++) {
		memset(want, 0x31 + i, size);
		EXPECT_TRUE(bit_test(self->r.file, touched[i]));
		ASSERT_EQ(0, image_read(&self->img, page, size, RIG_HEAD +
					touched[i] * size));
		EXPECT_EQ(0, memcmp(page, want, size));
	}
	/* Looking at a page may map it, and its neighbours, but makes none. */
	EXPECT_LE(mapping_rss_kb(self->mem.addr), exist * huge * 4);
}

/* A hole of the file is not all there is to a private mapping of it. */
TEST(private_copies_over_a_hole)
{
	const size_t pages = 64;
	struct rng rng = rng_new(0xab5f);
	struct rig rig = { 0 };
	struct stat st;

	need_rig(&rig, MEM_MEMFD, pages * page_size(), 0);
	ASSERT_EQ(rig.mem.addr, mmap(rig.mem.addr, rig.mem.length,
				     PROT_READ | PROT_WRITE,
				     MAP_FIXED | MAP_PRIVATE, rig.mem.fd, 0));
	model_write_random(&rig.m, &rng, 5);
	model_write_random(&rig.m, &rng, 40);
	model_write_random(&rig.m, &rng, 41);
	/* That leaves the copies. */
	ASSERT_EQ(0, fallocate(rig.mem.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, 0, rig.mem.length));
	bits_set(rig.r.dirty, 0, pages);
	bits_set(rig.m.dirty, 0, pages);
	EXPECT_EQ(0, region_save(&rig.r, NULL));
	/* before the model looks at the memory, which fills the hole */
	ASSERT_EQ(0, fstat(rig.mem.fd, &st));
	EXPECT_EQ(0, st.st_blocks);
	EXPECT_EQ(3, bits_count(rig.r.file, 0, pages));
	model_save(&rig.m, 0, pages, NULL, NULL);
	EXPECT_EQ(0, model_check(&rig.m)) TH_LOG("%s", rig.m.why);
	rig_drop(&rig);
}

/* Four chunks, which is what a pass looks at together, and a part of one */
#define CHUNK		4096
#define CHUNKS_PAGES	(4 * CHUNK + 100)

FIXTURE(inv_absent_chunks) {
	struct rig rig;
};

FIXTURE_VARIANT(inv_absent_chunks) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(inv_absent_chunks, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(inv_absent_chunks, memfd) { MEM_MEMFD };

FIXTURE_SETUP(inv_absent_chunks)
{
	need_rig(&self->rig, variant->kind, CHUNKS_PAGES * page_size(), 0);
}

FIXTURE_TEARDOWN(inv_absent_chunks)
{
	rig_drop(&self->rig);
}

/* Whole chunks that are gone are gone from the image, too. */
TEST_F_TIMEOUT(inv_absent_chunks, discarded, 120)
{
	const size_t there[] = { CHUNK + 900, 3 * CHUNK + 700 };
	struct rng rng = rng_new(0xc4);
	struct rig *rig = &self->rig;
	const size_t size = page_size();
	size_t i, first = 0, end;

	rig_dirty_all(rig, &rng);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	for (i = 0; i < 3; i++, first = end + 1) {
		end = i < 2 ? there[i] : CHUNKS_PAGES;
		ASSERT_EQ(0, madvise(region_page(&rig->r, first),
				     (end - first) * size,
				     variant->kind == MEM_MEMFD ?
				     MADV_REMOVE : MADV_DONTNEED));
		memset(rig->m.mem + first * size, 0, (end - first) * size);
	}
	bits_set(rig->r.dirty, 0, CHUNKS_PAGES);
	bits_set(rig->m.dirty, 0, CHUNKS_PAGES);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(2, bits_count(rig->r.file, 0, CHUNKS_PAGES));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(bit_test(rig->r.file, there[i]));
}

TEST_HARNESS_MAIN
