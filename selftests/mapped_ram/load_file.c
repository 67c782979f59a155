// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what LOAD does with shared memory that nobody has mapped here: it fills
 * the file and maps nothing, it makes neither file nor holes larger, it shows
 * nobody what free memory held before, and where the file may only be written to
 * through the mapping, it is.
 */
#include <pthread.h>
#include <sys/mount.h>

#include "loader.h"
#include "harness.h"

#define LENGTH	LOADER_LENGTH

FIXTURE(load_file) {
	struct loader l;
	struct mapped_ram_load load;
};

/* A memfd that holds nothing, of which nothing is mapped */
FIXTURE_SETUP(load_file)
{
	struct loader *l = &self->l;

	need_loader(l, MEM_MEMFD);
	need_loader_pinned(l);
	self->load = load_args(&l->r, 0, l->nr);
	/* Takes its pages out of all page tables. */
	ASSERT_EQ(0, ftruncate(l->mem.fd, 0));
	ASSERT_EQ(0, ftruncate(l->mem.fd, LENGTH));
	ASSERT_EQ(0, mapping_rss_kb(l->mem.addr));
}

FIXTURE_TEARDOWN(load_file)
{
	loader_drop(&self->l);
	EXPECT_EQ(self->l.pins, pinned_pages());
}

static size_t file_pages(const struct loader *l)
{
	struct stat st;

	if (fstat(l->mem.fd, &st))
		need_failed("fstat: %m");
	return st.st_blocks * 512 / page_size();
}

static long mapped_pages(const struct loader *l)
{
	return mapping_rss_kb(l->mem.addr) / (page_size() / KIB);
}

TEST_F(load_file, filled_and_not_mapped)
{
	struct loader *l = &self->l;
	uint8_t *other;

	ASSERT_EQ(0, load_pass(&l->r, &self->load));
	EXPECT_EQ(0, mapped_pages(l));
	EXPECT_EQ(bits_count(l->r.file, 0, l->nr), file_pages(l));
	other = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, l->mem.fd, 0);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_EQ(0, memcmp(other, l->want, LENGTH));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LENGTH));
	munmap(other, LENGTH);
}

/* Mapped, filled, held but never written to, or not there: one after the other */
TEST_F(load_file, pages_of_every_sort)
{
	struct loader *l = &self->l;
	uint8_t old[4096];
	size_t i, sort;
	int err;

	memset(old, LOADER_OLD, sizeof(old));
	for (i = 0; i < l->nr; i++) {
		/* Runs of 1 to 7 pages */
		sort = i * 2 / 7 % 4;
		err = 0;
		if (sort == 0)
			region_page(&l->r, i)[0] = 1;
		else if (sort == 1)
			err = pwrite(l->mem.fd, old, sizeof(old),
				     i * page_size()) != sizeof(old);
		else if (sort == 2)
			err = fallocate(l->mem.fd, 0, i * page_size(),
					page_size());
		ASSERT_EQ(0, err);
	}
	EXPECT_EQ(0, loader_load(l));
}

TEST_F(load_file, more_than_the_file_holds)
{
	struct loader *l = &self->l;
	size_t most = l->nr / 2;
	off_t size = most * page_size() - 100;
	struct stat st;

	need_loader_full(l);
	ASSERT_EQ(0, ftruncate(l->mem.fd, size));
	EXPECT_EQ(-EFAULT, load_pass(&l->r, &self->load));
	EXPECT_EQ(most, self->load.out_error_page);
	ASSERT_EQ(0, fstat(l->mem.fd, &st));
	EXPECT_EQ(size, st.st_size);
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, size));
	EXPECT_EQ(most, file_pages(l));
}

/* A second mapping in the middle of the region, of another part of the file */
TEST_F(load_file, another_place_in_the_file)
{
	struct loader *l = &self->l;
	size_t half = LENGTH / 2, start = 3 * page_size();
	uint8_t *addr = l->mem.addr;

	ASSERT_EQ(0, ftruncate(l->mem.fd, 2 * LENGTH));
	ASSERT_EQ(addr + start,
		  mmap(addr + start, half, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, l->mem.fd, LENGTH));
	ASSERT_EQ(0, load_pass(&l->r, &self->load));
	EXPECT_EQ(bits_count(l->r.file, 0, l->nr), file_pages(l));
	EXPECT_EQ(0, memcmp(addr, l->want, LENGTH));
}

/* What the file gets has been used: with init_on_alloc=0 it is as it was left. */
TEST_F(load_file, nothing_that_was_in_memory)
{
	struct loader *l = &self->l;
	struct flaky_part bad = {
		.offset = RIG_HEAD, .length = LENGTH, .what = FLAKY_ERROR,
	};

	need_loader_full(l);
	memset(l->mem.addr, LOADER_OLD, LENGTH);
	ASSERT_EQ(0, ftruncate(l->mem.fd, 0));
	ASSERT_EQ(0, ftruncate(l->mem.fd, LENGTH));
	ASSERT_EQ(0, flaky_set(&l->disk, &bad, 1));
	EXPECT_EQ(-EIO, load_pass(&l->r, &self->load));
	EXPECT_LT(0, file_pages(l));
	EXPECT_TRUE(all_zero(l->mem.addr, LENGTH));
}

/* The same pages into another file of the same length: 0 or -errno. */
static int load_into(const struct loader *l, int fd, int seals)
{
	struct region r;
	uint8_t *addr;
	int err;

	addr = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (addr == MAP_FAILED)
		return -errno;
	if (seals && fcntl(fd, F_ADD_SEALS, seals))
		return -errno;
	err = mr_region_remove(l->dev, l->r.id);
	if (!err)
		err = region_add(&r, l->dev, addr, LENGTH, RIG_HEAD,
				 page_size(), 0);
	if (err)
		return err;
	memcpy(r.file, l->r.file, bits_words(l->nr) * sizeof(uint64_t));
	err = region_load(&r, NULL);
	if (!err && memcmp(addr, l->want, LENGTH))
		err = -EBADMSG;
	region_unmap_bitmaps(&r);
	munmap(addr, LENGTH);
	return err;
}

/* Only through mappings that are there already */
TEST_F(load_file, sealed)
{
	struct loader *l = &self->l;
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, LENGTH));
	EXPECT_EQ(0, load_into(l, fd, F_SEAL_GROW | F_SEAL_SHRINK |
			       F_SEAL_FUTURE_WRITE));
	close(fd);
}

/* New huge pages of the file, of which the image holds some small ones */
TEST_F(load_file, huge_pages)
{
	struct loader *l = &self->l;
	struct stat st;
	int fd;

	need_private_mounts();
	if (mount("tmpfs", test_dir(), "tmpfs", 0, "huge=always"))
		SKIP(return, "no huge pages in tmpfs: %s", strerror(errno));
	fd = open(test_dir(), O_TMPFILE | O_RDWR, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, LENGTH));
	bits_clear(l->r.file, 0, 3);
	bits_clear(l->r.file, l->nr / 2 + 2, l->nr / 2 - 2);
	memset(l->want, 0, 3 * page_size());
	memset(l->want + LENGTH / 2 + 2 * page_size(), 0,
	       LENGTH / 2 - 2 * page_size());
	EXPECT_EQ(0, load_into(l, fd, 0));
	ASSERT_EQ(0, fstat(fd, &st));
	/* Else they were no huge pages. */
	EXPECT_EQ(LENGTH / 512, st.st_blocks);
	close(fd);
}

/* Who wants it in memory gets what a fault gives. */
TEST_F(load_file, locked)
{
	struct loader *l = &self->l;

	need_loader_full(l);
	ASSERT_EQ(0, mlock2(l->mem.addr, LENGTH, MLOCK_ONFAULT));
	ASSERT_EQ(0, load_pass(&l->r, &self->load));
	EXPECT_EQ(l->nr, mapped_pages(l));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LENGTH));
}

/* Who looks at what was written to, or when, sees it. */
TEST_F(load_file, soft_dirty)
{
	struct loader *l = &self->l;
	size_t i, seen = 0;

	need_loader_full(l);
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "4"));
	ASSERT_EQ(0, load_pass(&l->r, &self->load));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LENGTH));
	for (i = 0; i < l->nr; i++)
		seen += soft_dirty(region_page(&l->r, i));
	EXPECT_EQ(l->nr, seen);
}

TEST_F(load_file, time_of_the_file)
{
	struct loader *l = &self->l;
	const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct stat st;

	ASSERT_EQ(0, futimens(l->mem.fd, old));
	ASSERT_EQ(0, load_pass(&l->r, &self->load));
	ASSERT_EQ(0, fstat(l->mem.fd, &st));
	EXPECT_LT(1, st.st_mtim.tv_sec);
	EXPECT_EQ(0, mapped_pages(l));
}

struct other {
	const struct loader *l;
	bool stop;
	int failed;
};

/* Whoever has the file may also take out of it what was just put in. */
static void *take_out(void *arg)
{
	struct other *o = arg;
	struct rng rng = rng_new(0x70);
	size_t at;

	while (!__atomic_load_n(&o->stop, __ATOMIC_RELAXED)) {
		at = rng_below(&rng, o->l->nr) * page_size();
		if (fallocate(o->l->mem.fd, FALLOC_FL_PUNCH_HOLE |
			      FALLOC_FL_KEEP_SIZE, at, LENGTH - at) ||
		    ftruncate(o->l->mem.fd, at) ||
		    ftruncate(o->l->mem.fd, LENGTH))
			o->failed = errno;
	}
	return NULL;
}

TEST_F(load_file, while_it_is_cut)
{
	struct loader *l = &self->l;
	struct other o = { .l = l };
	pthread_t thread;
	struct stat st;
	int i, ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, take_out, &o));
	for (i = 0; i < 30; i++) {
		self->load = load_args(&l->r, 0, l->nr);
		ret = load_pass(&l->r, &self->load);
		if (ret != -EFAULT)
			EXPECT_EQ(0, ret);
	}
	__atomic_store_n(&o.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, o.failed);
	ASSERT_EQ(0, fstat(l->mem.fd, &st));
	EXPECT_EQ(LENGTH, st.st_size);
	EXPECT_EQ(0, loader_load(l));
}

TEST_HARNESS_MAIN
