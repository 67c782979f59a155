// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a recorded working set saves the next restore all faults on what it
 * names, those on zero pages among them; that one can wait until all of it is
 * there; that its file is what user/lib/lazy_set.c says; and that a file which is
 * damaged, of another image or of bad will is not used, is told about, and changes
 * nothing of what is restored. The linker puts this program's own pread() before
 * the real one (see the Makefile): it can be held up.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(32 * MIB)
#define PAGES		(LENGTH / PAGE)
#define HEAD		64
#define RUN		24

/* While it is on, all reads but so many wait. */
static struct {
	bool on;
	uint64_t most;
	uint64_t reads;
} hold;

static void hold_up(void)
{
	if (!__atomic_load_n(&hold.on, __ATOMIC_ACQUIRE) ||
	    __atomic_add_fetch(&hold.reads, 1, __ATOMIC_RELAXED) <= hold.most)
		return;
	while (__atomic_load_n(&hold.on, __ATOMIC_ACQUIRE))
		usleep(200);
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	hold_up();
	return __real_pread(fd, buf, n, offset);
}

FIXTURE(set) {
	struct model m;
	struct memory mem;
	char *path;
	int messages;
	char last[600];
};

FIXTURE_SETUP(set)
{
	random_seed(700);
	self->m = model_make(PATTERN_FULL, LENGTH);
	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	self->path = image_path();
}

FIXTURE_TEARDOWN(set)
{
	image_remove(self->path);
	memory_free(&self->mem);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void message(void *data, const char *text)
{
	FIXTURE_DATA(set) *self = data;

	self->messages++;
	snprintf(self->last, sizeof(self->last), "%s", text);
}

static struct mram_restore_lazy *begin(FIXTURE_DATA(set) *self,
				       struct mram_image **img, bool record,
				       uint32_t flags)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = flags,
			  .stream_threads = 1, .max_extent = 64 << 10,
			  .message = message, .data = self);

	self->messages = 0;
	if (record)
		o.record = self->path;
	else
		o.working_set = self->path;
	return started(img, &self->m, self->mem.p, &o);
}

/* What the guest does: the same every time. */
static uint64_t run(const FIXTURE_DATA(set) *self)
{
	uint64_t i, wrong = 0, page, seed = 77;

	for (i = 0; i < 100; i++) {
		seed = seed * 6364136223846793005ull + 1;
		page = (seed >> 33) % PAGES;
		wrong += self->mem.p[page * PAGE] != self->m.p[page * PAGE];
	}
	return wrong;
}

/* Read and written anew with each run: it must not be lost by its own success. */
static int same_file_for_both(FIXTURE_DATA(set) *self, uint64_t pages)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .message = message,
			  .data = self, .record = self->path,
			  .working_set = self->path);
	struct mram_restore_lazy *l;
	struct mram_image *img;
	int i, bad = 0;

	for (i = 0; i < 2; i++) {
		l = started(&img, &self->m, self->mem.p, &o);
		bad += mram_restore_lazy_finish(l, NULL, &error) != 0;
		bad += stats_of(l).working_set < pages;
		mram_restore_lazy_close(l);
		mram_image_close(img);
	}
	return bad + self->messages;
}

TEST_F(set, second_run_has_few_faults)
{
	struct mram_restore_lazy_stats first, second;
	struct mram_restore_lazy *l;
	struct mram_image *img;

	l = begin(self, &img, true, MRAM_LAZY_PAUSED);
	EXPECT_EQ(0, run(self));
	/* 64 KiB, aligned, for each. */
	STATS_WHEN(first, l, first.read >= 16 * first.faults);
	EXPECT_LE(50, first.faults);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(0, self->messages);

	l = begin(self, &img, false, MRAM_LAZY_PAUSED);
	/* Its pages come first: as many reads, none of which is the rest's. */
	hold.most = first.read / 16;
	__atomic_store_n(&hold.on, true, __ATOMIC_RELEASE);
	mram_restore_lazy_resume(l);
	STATS_WHEN(second, l, !second.set_left);
	EXPECT_EQ(0, run(self));
	second = stats_of(l);
	__atomic_store_n(&hold.on, false, __ATOMIC_RELEASE);
	EXPECT_EQ(MRAM_LAZY_STATS_WORKING_SET,
		  second.flags & MRAM_LAZY_STATS_WORKING_SET);
	EXPECT_EQ(first.read, second.working_set);
	EXPECT_EQ(0, second.faults);
	EXPECT_EQ(first.read, second.read);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(0, self->messages);
	EXPECT_EQ(0, same_file_for_both(self, first.read));
}

/*
 * Every fourth page is in the image; these are 64, one in four of them, too. They
 * are pairs, and nobody asks for what lies between the two.
 */
static void touch_some(struct __test_metadata *_metadata, const struct model *m,
		       const unsigned char *p)
{
	size_t i, at;

	for (i = 0; i < 64; i++) {
		at = (i / 2 * (PAGES / 32 + 1) + i % 2 * 2) * PAGE;
		EXPECT_EQ(m->p[at], *(const volatile unsigned char *)(p + at));
	}
}

/* No image holds them, and no read brings them, but they are waited for. */
TEST_F(set, zero_pages_are_known)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .stream_threads = 1,
			  .max_extent = 64 << 10, .message = message,
			  .data = self, .record = self->path);
	static const int kinds[] = { MEMORY_PRIVATE, MEMORY_MEMFD };
	struct model m = model_make(PATTERN_SCATTERED, LENGTH);
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	struct memory mem;
	size_t i;

	for (i = 0; i < 2 * 2; i++) {
		mem = guest_make(kinds[i / 2], LENGTH);
		o.flags = i % 2 ? 0 : MRAM_LAZY_PAUSED;
		o.record = i % 2 ? NULL : self->path;
		o.working_set = i % 2 ? self->path : NULL;
		l = started(&img, &m, mem.p, &o);
		if (i % 2) {
			/* They come before anything that has to be read. */
			STATS_WHEN(st, l, st.read);
			EXPECT_EQ(48, st.zero);
			EXPECT_EQ(64, st.working_set);
			STATS_WHEN(st, l, !st.set_left);
			mram_restore_lazy_pause(l);
		}
		touch_some(_metadata, &m, mem.p);
		STATS_WHEN(st, l, st.zero == 48);
		EXPECT_EQ(i % 2 ? 0 : 64, st.faults);
		ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
		EXPECT_EQ(48, stats_of(l).zero);
		mram_restore_lazy_close(l);
		mram_image_close(img);
		EXPECT_EQ(-1, differing_page(&m, mem.p));
		memory_free(&mem);
	}
	EXPECT_EQ(0, self->messages);
	model_free(&m);
}

/* A file on a tmpfs of its own, which goes with it; -1 if that is not allowed. */
static int small_file(size_t length, size_t room)
{
	char dir[] = "/tmp/mram.XXXXXX", path[64], size[32];
	int fd = -1;

	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/memory", dir);
	snprintf(size, sizeof(size), "size=%zu", room);
	if (!mount("tmpfs", dir, "tmpfs", 0, size)) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	if (fd >= 0 && ftruncate(fd, (off_t)length))
		exit(1);
	return fd;
}

static void count_error(void *data, const struct mram_error *err)
{
	message(data, err->message);
}

/* Where the image fits and zero pages do not, nobody hears of those. */
TEST_F(set, zero_pages_without_room)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .error = count_error,
			  .message = message, .data = self,
			  .record = self->path);
	struct model m = model_make(PATTERN_SCATTERED, LENGTH);
	int fd = small_file(LENGTH, m.set * PAGE);
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	unsigned char *p;
	size_t at;

	if (fd < 0) {
		model_free(&m);
		SKIP(return, "no tmpfs may be mounted");
	}
	l = started(&img, &m, self->mem.p, &o);
	touch_some(_metadata, &m, self->mem.p);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	mram_restore_lazy_close(l);
	mram_image_close(img);

	p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	o.record = NULL;
	o.working_set = self->path;
	l = started(&img, &m, p, &o);
	EXPECT_EQ(64, stats_of(l).set_left);
	for (at = 0; at < LENGTH; at += 4 * PAGE)
		EXPECT_EQ(0, touch(p + at));
	STATS_WHEN(st, l, !st.left);
	EXPECT_EQ(48, st.set_left);
	mram_restore_lazy_resume(l);
	STATS_WHEN(st, l, !st.set_left || self->messages);
	EXPECT_EQ(0, self->messages);
	EXPECT_EQ(0, st.zero);
	/* With room for one more, whoever touches one gets it. */
	ASSERT_EQ(0, madvise(p, PAGE, MADV_REMOVE));
	EXPECT_EQ(0, touch(p + 2 * PAGE));
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(1, st.zero);
	EXPECT_EQ(0, st.set_left);
	EXPECT_EQ(64, st.working_set);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(0, self->messages);
	munmap(p, LENGTH);
	close(fd);
	model_free(&m);
}

/* ------------------------------------------------------ files made by hand */

static uint64_t fnv(const void *data, size_t length)
{
	uint64_t sum = 0xcbf29ce484222325ull;
	const unsigned char *p = data;

	while (length--)
		sum = (sum ^ *p++) * 0x100000001b3ull;
	return sum;
}

struct file {
	unsigned char bytes[4096];
	size_t size;
};

static void put(struct file *f, size_t at, uint64_t v, size_t size)
{
	v = htole64(v);
	memcpy(f->bytes + at, &v, size);
}

static void seal(struct file *f)
{
	put(f, f->size - 8, fnv(f->bytes, f->size - 8), 8);
}

/* Two runs: pages 100 to 119 and page 5. */
static struct file make_file(const struct model *m)
{
	struct file f = { .size = HEAD + 2 * RUN + 8 };
	struct mram_image *img;
	const uint64_t *bitmap;

	if (mram_image_open(&img, m->path, &error) ||
	    mram_image_bitmap(img, 0, &bitmap, &error))
		exit(1);
	memcpy(f.bytes, "MRAMWSET", 8);
	put(&f, 8, 1, 4);
	put(&f, 12, 1, 4);
	put(&f, 16, mram_image_size(img), 8);
	put(&f, 24, 2, 8);
	put(&f, 32, LENGTH, 8);
	put(&f, 40, PAGE, 8);
	put(&f, 48, fnv("ram", 3), 8);
	put(&f, 56, fnv(bitmap, PAGES / 8), 8);
	put(&f, HEAD + 8, 100 * PAGE, 8);
	put(&f, HEAD + 16, 20 * PAGE, 8);
	put(&f, HEAD + RUN + 8, 5 * PAGE, 8);
	put(&f, HEAD + RUN + 16, PAGE, 8);
	seal(&f);
	mram_image_close(img);
	return f;
}

static void store(const char *path, const struct file *f, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, f->bytes, size) != (ssize_t)size)
		exit(1);
	close(fd);
}

/* How many pages are taken from the file that stands there now. */
static uint64_t taken(FIXTURE_DATA(set) *self)
{
	struct mram_restore_lazy *l;
	struct mram_image *img;
	uint64_t pages;

	l = begin(self, &img, false, MRAM_LAZY_PAUSED);
	pages = stats_of(l).working_set;
	if (!!(stats_of(l).flags & MRAM_LAZY_STATS_WORKING_SET) ==
	    !!self->messages)
		exit(1);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	/* It was made inaccessible, as it was not whole. */
	memory_free(&self->mem);
	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	return pages;
}

/* What is recorded when these pages are touched; @set: with a working set. */
static struct file recorded(FIXTURE_DATA(set) *self, const char *set,
			    const uint64_t *pages, size_t nr)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .record = self->path,
			  .working_set = set, .message = message, .data = self);
	struct file found = { .size = 0 };
	struct mram_restore_lazy *l;
	struct mram_image *img;
	ssize_t n;
	size_t i;
	int fd;

	self->messages = 0;
	l = started(&img, &self->m, self->mem.p, &o);
	for (i = 0; i < nr; i++)
		if (touch(self->mem.p + pages[i] * PAGE))
			exit(1);
	if (mram_restore_lazy_finish(l, NULL, &error))
		exit(1);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	fd = open(self->path, O_RDONLY | O_CLOEXEC);
	n = read(fd, found.bytes, sizeof(found.bytes));
	if (fd < 0 || n < 0)
		exit(1);
	close(fd);
	found.size = (size_t)n;
	return found;
}

TEST_F(set, format_is_as_documented)
{
	struct file f = make_file(&self->m), found;
	uint64_t pages[22], i;

	store(self->path, &f, f.size);
	EXPECT_EQ(21, taken(self));
	EXPECT_EQ(0, self->messages);

	/* And the library writes the same. */
	unlink(self->path);
	for (i = 0; i < 20; i++)
		pages[i] = 100 + i;
	pages[20] = 5;
	pages[21] = 110;
	found = recorded(self, NULL, pages, 22);
	ASSERT_EQ(f.size, found.size);
	EXPECT_EQ(0, memcmp(f.bytes, found.bytes, f.size));
}

/* What a working set names is recorded as it is read, and touched later. */
TEST_F(set, names_no_page_twice)
{
	static const uint64_t pages[] = { 110, 5 };
	struct file f = make_file(&self->m), found;

	store(self->path, &f, f.size);
	found = recorded(self, self->path, pages, 2);
	EXPECT_EQ(0, self->messages);
	ASSERT_EQ(f.size, found.size);
	EXPECT_EQ(0, memcmp(f.bytes, found.bytes, f.size));
}

/* One that is bad further on leaves nothing of what was good in it. */
TEST_F(set, bad_ones_are_not_recorded)
{
	static const uint64_t pages[] = { 100 };
	struct file f = make_file(&self->m), found;

	put(&f, HEAD + RUN + 8, LENGTH, 8);
	seal(&f);
	store(self->path, &f, f.size);
	found = recorded(self, self->path, pages, 1);
	EXPECT_EQ(1, self->messages);
	/* One run, of the page that was touched. */
	f.size = HEAD + RUN + 8;
	put(&f, 24, 1, 8);
	put(&f, HEAD + 16, PAGE, 8);
	seal(&f);
	ASSERT_EQ(f.size, found.size);
	EXPECT_EQ(0, memcmp(f.bytes, found.bytes, f.size));
}

/* However a page is dealt with, nobody waits for it any more. */
TEST_F(set, what_is_left_of_it)
{
	struct file f = make_file(&self->m);
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct mram_image *img;

	store(self->path, &f, f.size);
	l = begin(self, &img, false, MRAM_LAZY_PAUSED);
	EXPECT_EQ(21, stats_of(l).set_left);
	ASSERT_EQ(0, madvise(self->mem.p + 98 * PAGE, 6 * PAGE,
			     MADV_DONTNEED));
	STATS_WHEN(st, l, st.set_left <= 17);
	EXPECT_EQ(17, st.set_left);
	/* With all around it, from 0 to 15. */
	EXPECT_EQ(0, touch(self->mem.p + 9 * PAGE));
	STATS_WHEN(st, l, st.read >= 16);
	STATS_WHEN(st, l, st.set_left <= 16);
	EXPECT_EQ(16, st.set_left);
	EXPECT_EQ(21, st.working_set);
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(0, st.set_left);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(0, self->messages);
}

TEST_F_TIMEOUT(set, damaged, 180)
{
	struct file good = make_file(&self->m), f;
	size_t i;

	for (i = 0; i < good.size; i++) {
		f = good;
		f.bytes[i] ^= (unsigned char)(1u << random_below(8));
		store(self->path, &f, f.size);
		EXPECT_EQ(0, taken(self));
		EXPECT_EQ(1, self->messages);
		store(self->path, &good, i);
		EXPECT_EQ(0, taken(self));
		EXPECT_EQ(1, self->messages);
	}
	store(self->path, &good, good.size + 1);
	EXPECT_EQ(0, taken(self));
	EXPECT_EQ(1, self->messages);
}

/* Everything is right but one field. */
TEST_F_TIMEOUT(set, of_bad_will, 180)
{
	static const struct {
		size_t at, size;
		uint64_t value;
		const char *words;
	} bad[] = {
		{ 8, 4, 2, "version" },
		{ 12, 4, 0, "another image" },
		{ 12, 4, 2, "another image" },
		{ 12, 4, UINT32_MAX, "another image" },
		{ 16, 8, 4096, "another image" },
		{ 24, 8, 0, "length" },
		{ 24, 8, 1, "length" },
		{ 24, 8, 3, "length" },
		{ 24, 8, UINT64_MAX, "length" },
		/* Multiplied by the size of a run, it is what it should be. */
		{ 24, 8, 2 + (1ull << 61), "length" },
		{ 32, 8, LENGTH + PAGE, "another image" },
		{ 40, 8, 65536, "another image" },
		{ 48, 8, 1, "another image" },
		{ 56, 8, 1, "another image" },
		{ HEAD, 4, 1, "outside" },
		{ HEAD, 4, UINT32_MAX, "outside" },
		{ HEAD + 4, 4, 1, "outside" },
		{ HEAD + 8, 8, LENGTH, "outside" },
		{ HEAD + 8, 8, UINT64_MAX - PAGE + 1, "outside" },
		{ HEAD + 16, 8, 0, "outside" },
		{ HEAD + 16, 8, LENGTH, "outside" },
		{ HEAD + RUN + 16, 8, UINT64_MAX, "more than there is" },
		{ HEAD + RUN + 16, 8, LENGTH - 19 * PAGE, "more than there is" },
		{ HEAD + RUN + 8, 8, LENGTH, "outside" },
	};
	struct file f;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		f = make_file(&self->m);
		put(&f, bad[i].at, bad[i].value, bad[i].size);
		seal(&f);
		store(self->path, &f, f.size);
		EXPECT_EQ(0, taken(self));
		EXPECT_EQ(1, self->messages);
		EXPECT_NE(NULL, strstr(self->last, bad[i].words)) {
			TH_LOG("%zu: no '%s' in: %s", i, bad[i].words,
			       self->last);
		}
	}
}

TEST_F(set, that_is_no_file)
{
	EXPECT_EQ(0, taken(self));
	EXPECT_NE(NULL, strstr(self->last, "No such file"));
	ASSERT_EQ(0, mkfifo(self->path, 0600));
	EXPECT_EQ(0, taken(self));
	EXPECT_NE(NULL, strstr(self->last, "not a regular file"));
	ASSERT_EQ(0, unlink(self->path));
	ASSERT_EQ(0, mkdir(self->path, 0700));
	EXPECT_EQ(0, taken(self));
	EXPECT_EQ(1, self->messages);
	ASSERT_EQ(0, rmdir(self->path));
}

/* The restore is through all the same; nothing half is left. */
TEST_F(set, that_cannot_be_written)
{
	struct mram_restore_lazy *l;
	struct mram_image *img;

	ASSERT_EQ(0, mkdir(self->path, 0700));
	l = begin(self, &img, true, 0);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(1, self->messages);
	EXPECT_NE(NULL, strstr(self->last, "cannot write the working set"));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	ASSERT_EQ(0, rmdir(self->path));
}

TEST_HARNESS_MAIN
