// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that shared memory which is not mapped here, as that of another
 * process at first, is saved from the page cache of its file without being
 * mapped, and that nothing is read there which a look through the mapping would
 * not show: not what lies behind the end of the file, was never filled, may not
 * be read, or is another's to supply (userfaultfd).
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "rig.h"
#include "harness.h"

#define PAGES	1024
#define HUGE	(HUGE_SIZE / page_size())

FIXTURE(inv_unmapped) {
	struct memdisk disk;
	struct image img;
	struct mem mem;
	struct region r;
	uint8_t *data;		/* what the file holds */
	int dev;
};

FIXTURE_VARIANT(inv_unmapped) {
	bool huge;
};

FIXTURE_VARIANT_ADD(inv_unmapped, small) { false };
FIXTURE_VARIANT_ADD(inv_unmapped, huge) { true };

/* A file on a tmpfs of its own, mapped read-only and never read. */
static int map_file(struct mem *mem, bool huge, size_t length)
{
	char dir[PATH_MAX], path[PATH_MAX + 8];
	int fd;

	snprintf(dir, sizeof(dir), "%s/tmpfs-XXXXXX", test_dir());
	if (!mkdtemp(dir))
		return -errno;
	if (mount("none", dir, "tmpfs", 0,
		  huge ? "huge=always" : "huge=never"))
		return -errno;
	snprintf(path, sizeof(path), "%s/memory", dir);
	mem->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (mem->fd < 0 || ftruncate(mem->fd, length))
		return -errno;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	mem->kind = MEM_MEMFD;
	mem->length = length;
	mem->addr = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return mem->addr == MAP_FAILED ? -errno : 0;
}

FIXTURE_SETUP(inv_unmapped)
{
	const size_t length = PAGES * page_size();

	need_private_mounts();
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, memdisk_open(&self->disk, RIG_HEAD + length));
	need_image_blkdev(&self->img, self->disk.path, RIG_HEAD + length);
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd, 0, NULL));
	ASSERT_EQ(0, map_file(&self->mem, variant->huge, length));
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem.addr, length,
				RIG_HEAD, page_size(), 0));
	self->data = calloc(1, length);
	ASSERT_NE(NULL, self->data);
}

FIXTURE_TEARDOWN(inv_unmapped)
{
	close(self->dev);
	region_unmap_bitmaps(&self->r);
	image_drop(&self->img);
	mem_unmap(&self->mem);
	memdisk_close(&self->disk);
	free(self->data);
}

/* Through the file, so that it is mapped nowhere. */
static int fill(const struct mem *mem, const uint8_t *data, size_t first,
		size_t nr)
{
	const size_t size = page_size();
	ssize_t done;

	done = pwrite(mem->fd, data + first * size, nr * size, first * size);
	return done == nr * size ? 0 : -1;
}

static void same_image(struct __test_metadata *_metadata,
		       const struct region *r, const struct image *img,
		       const uint8_t *data)
{
	const size_t size = page_size();
	size_t i, wrong = 0;
	uint8_t page[4096];

	for (i = 0; i < r->nr_pages; i++) {
		if (!bit_test(r->file, i)) {
			memset(page, 0, size);
		} else {
			ASSERT_EQ(0, image_read(img, page, size,
						RIG_HEAD + i * size));
		}
		wrong += !!memcmp(page, data + i * size, size);
	}
	EXPECT_EQ(0, wrong);
}

TEST_F(inv_unmapped, is_saved_and_stays_unmapped)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);
	const size_t size = page_size(), hole = 700;
	struct rng rng = rng_new(0xca5e);
	long huge = meminfo_kb("ShmemHugePages");
	size_t i, zeroes = 0;

	for (i = 0; i < PAGES; i++) {
		/* In the first two MiB there are no holes: a huge page */
		if (i % 5 && i < hole)
			rng_fill(&rng, self->data + i * size, size);
		else
			zeroes++;
	}
	ASSERT_EQ(0, fill(&self->mem, self->data, 0, hole));
	if (variant->huge) {
		ASSERT_LT(huge, meminfo_kb("ShmemHugePages"));
	}
	bits_set(self->r.dirty, 0, PAGES);
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(zeroes, save.out_zero_pages);
	EXPECT_EQ(PAGES - zeroes, save.out_written_pages);
	same_image(_metadata, &self->r, &self->img, self->data);
	EXPECT_EQ(0, mapping_rss_kb(self->mem.addr));

	/* Bridges are of clean pages, which are no more mapped than others. */
	for (i = 1; i < hole; i += 5) {
		rng_fill(&rng, self->data + i * size, size);
		ASSERT_EQ(0, fill(&self->mem, self->data, i, 1));
		bit_set(self->r.dirty, i);
	}
	save = save_args(&self->r, 0, PAGES);
	save.bridge = 3;
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(hole / 5, save.out_written_pages);
	EXPECT_EQ(0, save.out_bridged_pages);
	for (i = 2; i < hole; i += 5)
		bits_set(self->r.dirty, i, 1);
	for (i = 4; i < hole; i += 5)
		bits_set(self->r.dirty, i, 1);
	save = save_args(&self->r, 0, PAGES);
	save.bridge = 3;
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(2 * hole / 5, save.out_written_pages);
	EXPECT_EQ(hole / 5, save.out_bridged_pages);
	EXPECT_EQ(hole / 5, save.out_ios);
	same_image(_metadata, &self->r, &self->img, self->data);
	EXPECT_EQ(0, mapping_rss_kb(self->mem.addr));
}

/*
 * Pages that look zero at first, many in a row, with holes in between: some are
 * so, of others one byte is not.
 */
TEST_F(inv_unmapped, what_looks_zero_is_read_to_its_end)
{
	const size_t size = page_size(), hole = 600, after = 650;
	struct rng rng = rng_new(0x2e40);
	struct mapped_ram_save save;
	size_t i, data = 0;

	for (i = 0; i < PAGES; i++) {
		if ((i >= hole && i < after) || i % 3)
			continue;
		/* Not where nearly all pages show that they are not zero. */
		self->data[i * size + 16 + rng_below(&rng, size / 4)] = 1;
		data++;
	}
	ASSERT_EQ(0, fill(&self->mem, self->data, 0, hole));
	ASSERT_EQ(0, fill(&self->mem, self->data, after, PAGES - after));
	/* From different pages on, as the cache is asked in pieces. */
	for (i = 0; i < 150; i += 37) {
		save = save_args(&self->r, i, PAGES - i);
		bits_set(self->r.dirty, i, PAGES - i);
		ASSERT_EQ(0, save_pass(&self->r, &save));
		EXPECT_EQ(PAGES - i, save.out_zero_pages +
				     save.out_written_pages);
		if (!i) {
			EXPECT_EQ(data, save.out_written_pages);
		}
		same_image(_metadata, &self->r, &self->img, self->data);
	}
	EXPECT_EQ(0, mapping_rss_kb(self->mem.addr));
}

/* A huge page may reach further than the file. */
TEST_F(inv_unmapped, nothing_behind_the_end_is_read)
{
	struct mapped_ram_save save = save_args(&self->r, 0, HUGE);
	const size_t nr = HUGE / 2;

	ASSERT_EQ(0, ftruncate(self->mem.fd, nr * page_size()));
	memset(self->data, 0x5a, nr * page_size());
	ASSERT_EQ(0, fill(&self->mem, self->data, 0, nr));
	bits_set(self->r.dirty, 0, HUGE);
	EXPECT_EQ(-EFAULT, save_pass(&self->r, &save));
	EXPECT_EQ(nr, save.out_error_page);
	EXPECT_EQ(HUGE - nr, bits_count(self->r.dirty, nr, HUGE - nr));
	EXPECT_EQ(0, bits_count(self->r.file, nr, HUGE - nr));
}

TEST_F(inv_unmapped, what_was_never_filled_is_zero)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);

	/*
	 * What the file gets has been used, and is not cleared before a look:
	 * where the kernel was not booted with init_on_alloc=0, perhaps it is.
	 */
	memset(self->data, 0x5a, PAGES * page_size());
	ASSERT_EQ(0, fill(&self->mem, self->data, 0, PAGES));
	ASSERT_EQ(0, ftruncate(self->mem.fd, 0));
	ASSERT_EQ(0, ftruncate(self->mem.fd, PAGES * page_size()));
	ASSERT_EQ(0, fallocate(self->mem.fd, 0, 0, PAGES * page_size()));
	bits_set(self->r.dirty, 0, PAGES);
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(PAGES, save.out_zero_pages);
}

TEST_F(inv_unmapped, what_may_not_be_read_is_not)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);

	memset(self->data, 0x5a, PAGES * page_size());
	ASSERT_EQ(0, fill(&self->mem, self->data, 0, PAGES));
	ASSERT_EQ(0, mprotect(self->mem.addr + 10 * page_size(), page_size(),
			      PROT_NONE));
	bits_set(self->r.dirty, 0, PAGES);
	EXPECT_EQ(-EFAULT, save_pass(&self->r, &save));
	EXPECT_EQ(10, save.out_error_page);
	EXPECT_FALSE(bit_test(self->r.file, 10));
}

struct handler {
	int uffd;
	const struct mem *mem;
	const uint8_t *data;
	size_t nr;	/* faults to serve */
};

/* Changes a page when it is asked for, and only then lets it be seen. */
static void *handle(void *arg)
{
	struct handler *h = arg;
	struct uffdio_continue more;
	struct uffd_msg msg;
	size_t page;

	for (; h->nr && read(h->uffd, &msg, sizeof(msg)) == sizeof(msg);
	     h->nr--) {
		page = (msg.arg.pagefault.address -
			(uintptr_t)h->mem->addr) / page_size();
		fill(h->mem, h->data, page, 1);
		more = (struct uffdio_continue){
			.range.start = (uintptr_t)h->mem->addr +
				       page * page_size(),
			.range.len = page_size(),
		};
		ioctl(h->uffd, UFFDIO_CONTINUE, &more);
	}
	return NULL;
}

TEST_F(inv_unmapped, a_handler_of_minor_faults_is_asked)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MINOR };
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MINOR_SHMEM,
	};
	struct handler h = { .mem = &self->mem, .nr = 20 };
	pthread_t thread;

	h.uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, h.uffd);
	ASSERT_EQ(0, ioctl(h.uffd, UFFDIO_API, &api));
	/* What may not be written to cannot be registered. */
	ASSERT_EQ(self->mem.addr, mmap(self->mem.addr, self->mem.length,
				       PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_FIXED, self->mem.fd,
				       0));
	memset(self->data, 0x11, 20 * page_size());
	ASSERT_EQ(0, fill(&self->mem, self->data, 0, 20));
	memset(self->data, 0x22, 20 * page_size());
	h.data = self->data;
	reg.range.start = (uintptr_t)self->mem.addr;
	reg.range.len = self->mem.length;
	ASSERT_EQ(0, ioctl(h.uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, pthread_create(&thread, NULL, handle, &h));
	bits_set(self->r.dirty, 0, 20);
	ASSERT_EQ(0, region_save(&self->r, NULL));
	EXPECT_EQ(20, bits_count(self->r.file, 0, PAGES));
	same_image(_metadata, &self->r, &self->img, self->data);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, h.nr);
	close(h.uffd);
}

TEST_HARNESS_MAIN
