// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that LOAD makes no memory for zeroes: pages of clear bits that are not
 * present stay so, by the kernel's own account of each kind of memory, and a
 * few pages with data bring in themselves (or the huge page they are in) and
 * nothing else; but what is present behind a mapping, unseen so far, becomes
 * zero like everything else.
 */
#include "rig.h"
#include "harness.h"

/* The pages with data, all of them in one huge page */
#define FIRST	100
#define NR	7

FIXTURE(load_absent) {
	struct memdisk disk;
	struct image img;
	struct mem mem;
	struct region r;
	uint8_t *data;
	int dev;
};

FIXTURE_VARIANT(load_absent) {
	enum mem_kind kind;
	size_t length;
};

FIXTURE_VARIANT_ADD(load_absent, anon) { MEM_ANON, MIB };
FIXTURE_VARIANT_ADD(load_absent, thp) { MEM_THP, 3 * HUGE_SIZE };
FIXTURE_VARIANT_ADD(load_absent, memfd) { MEM_MEMFD, MIB };
FIXTURE_VARIANT_ADD(load_absent, hugetlb) { MEM_HUGETLB, 3 * HUGE_SIZE };
FIXTURE_VARIANT_ADD(load_absent, memfd_hugetlb) {
	MEM_MEMFD_HUGETLB, 3 * HUGE_SIZE
};

FIXTURE_SETUP(load_absent)
{
	struct rng rng = rng_new(0xab5e);
	uint64_t size = RIG_HEAD + variant->length;

	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, memdisk_open(&self->disk, size));
	need_image_blkdev(&self->img, self->disk.path, size);
	self->data = malloc(NR * page_size());
	ASSERT_NE(NULL, self->data);
	rng_fill(&rng, self->data, NR * page_size());
	ASSERT_EQ(0, image_write(&self->img, self->data, NR * page_size(),
				 RIG_HEAD + FIRST * page_size()));
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	ASSERT_EQ(0, mem_map(&self->mem, variant->kind, variant->length));
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem.addr,
				variant->length, RIG_HEAD, page_size(), 0));
}

FIXTURE_TEARDOWN(load_absent)
{
	close(self->dev);
	region_unmap_bitmaps(&self->r);
	image_drop(&self->img);
	mem_unmap(&self->mem);
	memdisk_close(&self->disk);
	free(self->data);
}

/* Pages of the memory's own size that exist */
static long present(const struct mem *mem)
{
	unsigned char vec[3 * HUGE_SIZE / (4 * KIB)];
	size_t nr = mem->length / page_size(), i;
	struct stat st;
	long pages = 0;

	switch (mem->kind) {
	case MEM_HUGETLB:
	case MEM_MEMFD_HUGETLB:
		return -meminfo_kb("HugePages_Free");
	case MEM_MEMFD:
		return fstat(mem->fd, &st) ? -errno : st.st_blocks / 8;
	default:
		if (mincore(mem->addr, mem->length, vec))
			return -errno;
		for (i = 0; i < nr; i++)
			pages += vec[i] & 1;
		return pages;
	}
}

TEST_F(load_absent, zero_pages_stay_absent)
{
	struct mapped_ram_load load = load_args(&self->r, 0, self->r.nr_pages);
	const size_t end = (FIRST + NR) * page_size();
	long before = present(&self->mem), grown;

	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(self->r.nr_pages, load.out_zero_pages);
	EXPECT_EQ(0, load.out_ios);
	EXPECT_EQ(before, present(&self->mem));

	bits_set(self->r.file, FIRST, NR);
	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(NR, load.out_read_pages);
	EXPECT_EQ(1, load.out_ios);
	grown = present(&self->mem) - before;
	switch (variant->kind) {
	case MEM_HUGETLB:
	case MEM_MEMFD_HUGETLB:
		EXPECT_EQ(1, grown);
		break;
	case MEM_THP:
		EXPECT_LE(NR, grown);
		EXPECT_LE(grown, 512);
		break;
	default:
		EXPECT_EQ(NR, grown);
	}
	EXPECT_EQ(0, memcmp(self->mem.addr + FIRST * page_size(), self->data,
			    NR * page_size()));
	EXPECT_TRUE(all_zero(self->mem.addr, FIRST * page_size()));
	EXPECT_TRUE(all_zero(self->mem.addr + end, self->mem.length - end));
}

TEST_F(load_absent, pages_between_stay_absent)
{
	struct mapped_ram_load load = load_args(&self->r, 0, self->r.nr_pages);
	const size_t lone = self->r.nr_pages / 4;
	long before = present(&self->mem), grown;
	uint64_t i;

	for (i = 0; i < self->r.nr_pages; i += 4)
		bits_set(self->r.file, i, 1);
	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(lone, load.out_read_pages);
	EXPECT_EQ(self->r.nr_pages - lone, load.out_zero_pages);
	grown = present(&self->mem) - before;
	switch (variant->kind) {
	case MEM_HUGETLB:
	case MEM_MEMFD_HUGETLB:
		EXPECT_EQ(self->mem.length / HUGE_SIZE, grown);
		break;
	case MEM_THP:
		EXPECT_LE(lone, grown);
		break;
	default:
		EXPECT_EQ(lone, grown);
	}
	/* Of the pages with data it has those whose numbers 4 divides. */
	for (i = FIRST; i < FIRST + NR; i++) {
		const uint8_t *p = self->mem.addr + i * page_size();

		if (i % 4) {
			EXPECT_TRUE(all_zero(p, page_size()));
			continue;
		}
		EXPECT_EQ(0, memcmp(p, self->data +
				    (i - FIRST) * page_size(), page_size()));
	}
}

TEST_F(load_absent, unseen_pages_become_zero)
{
	struct mapped_ram_load load = load_args(&self->r, 10, 20);
	const size_t size = page_size();
	uint8_t *other = MAP_FAILED;
	size_t i;

	if (self->mem.fd < 0)
		SKIP(return, "private memory is seen by its owner only");
	/* Somebody else wrote it; nothing is mapped here yet. */
	other = mmap(NULL, self->mem.length, PROT_READ | PROT_WRITE,
		     MAP_SHARED, self->mem.fd, 0);
	ASSERT_NE(MAP_FAILED, other);
	memset(other, 0x5a, 50 * size);

	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(20, load.out_zero_pages);
	for (i = 0; i < 50; i++) {
		if (i >= 10 && i < 30) {
			EXPECT_TRUE(all_zero(other + i * size, size));
		} else {
			EXPECT_EQ(0x5a, self->mem.addr[i * size]);
			EXPECT_EQ(0x5a, self->mem.addr[(i + 1) * size - 1]);
		}
	}
	munmap(other, self->mem.length);
}

TEST_HARNESS_MAIN
