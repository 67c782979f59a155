// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that an image which cannot be read in the middle of a lazy restore never
 * shows as wrong memory: the call says which page, whoever touches one gets
 * SIGBUS or waits, a later try brings it. And that memory which cannot be
 * restored so, or is being restored already, is refused before it is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(16 * MIB)
#define PAGES		(LENGTH / PAGE)
/* Cut here, and not where a read of any size begins. */
#define CUT		(PAGES / 2 + 5)

FIXTURE(fail) {
	struct model m;
	struct memory mem;
	struct mram_image *img;
	int errors;
	int messages;
	int threads;
	int fds;
};

FIXTURE_SETUP(fail)
{
	random_seed(300);
	self->m = model_make(PATTERN_FULL, LENGTH);
	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	self->threads = threads_now();
	self->fds = fds_now();
}

FIXTURE_TEARDOWN(fail)
{
	EXPECT_EQ(self->threads, threads_left(self->threads));
	EXPECT_EQ(self->fds, fds_now());
	memory_free(&self->mem);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void count_error(void *data, const struct mram_error *e)
{
	int *errors = data;

	__atomic_add_fetch(errors, e->code ? 1 : 1000, __ATOMIC_RELAXED);
}

static int errors_of(const FIXTURE_DATA(fail) *self)
{
	return __atomic_load_n(&self->errors, __ATOMIC_RELAXED);
}

/* Makes the image end at page CUT; @tail keeps what was behind. */
static off_t cut_image(const struct model *m, unsigned char **tail, size_t *size)
{
	struct mram_block_info i = { .size = sizeof(i) };
	struct mram_image *img;
	off_t end, at;
	int fd = open(m->path, O_RDWR | O_CLOEXEC);

	if (mram_image_open(&img, m->path, &error) ||
	    mram_image_block(img, 0, &i, &error))
		exit(1);
	mram_image_close(img);
	at = (off_t)(i.pages_offset + CUT * PAGE);
	end = lseek(fd, 0, SEEK_END);
	*size = (size_t)(end - at);
	*tail = malloc(*size);
	if (pread(fd, *tail, *size, at) != (ssize_t)*size || ftruncate(fd, at))
		exit(1);
	close(fd);
	return at;
}

static void mend_image(const struct model *m, unsigned char *tail, size_t size,
		       off_t at)
{
	int fd = open(m->path, O_WRONLY | O_CLOEXEC);

	if (pwrite(fd, tail, size, at) != (ssize_t)size || fsync(fd))
		exit(1);
	close(fd);
	free(tail);
}

/* Streaming stops, what is there is right, what is not gets nobody anywhere. */
TEST_F_TIMEOUT(fail, image_cut_short, 180)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .error = count_error, .data = &self->errors);
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	unsigned char *tail;
	uint64_t i;
	size_t size;

	l = started(&self->img, &self->m, self->mem.p, &o);
	cut_image(&self->m, &tail, &size);
	ASSERT_FAILS(-ENODATA, "the file ends before it",
		     mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_NE(NULL, strstr(error.message, "'ram'"));
	EXPECT_LT(0, errors_of(self));
	EXPECT_GT(1000, errors_of(self));
	/* It stays so. */
	ASSERT_FAILS(-ENODATA, "the file ends before it",
		     mram_restore_lazy_wait(l, 0, &error));
	for (i = 0; i < CUT; i++)
		EXPECT_EQ(0, memcmp(self->mem.p + i * PAGE,
				    self->m.p + i * PAGE, PAGE));
	STATS_WHEN(st, l, st.left <= PAGES - CUT);
	EXPECT_EQ(CUT, st.read);
	EXPECT_EQ(PAGES - CUT, st.left);
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	/* Not zeros. */
	EXPECT_EQ(SIGSEGV, touch(self->mem.p + CUT * PAGE));
	EXPECT_EQ(SIGSEGV, touch(self->mem.p + LENGTH - 1));
	free(tail);
}

TEST_F_TIMEOUT(fail, touched_page_is_poisoned, 180)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .error = count_error, .data = &self->errors);
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct waiter w[2];
	unsigned char *tail;
	char name[32];
	size_t size;
	off_t at;

	if (!can_poison())
		SKIP(return, "this kernel cannot poison pages");
	snprintf(name, sizeof(name), ": page %u at", (unsigned int)CUT);
	l = started(&self->img, &self->m, self->mem.p, &o);
	at = cut_image(&self->m, &tail, &size);
	waiter_start(&w[0], self->mem.p + CUT * PAGE);
	waiter_start(&w[1], self->mem.p + (CUT - 1) * PAGE);
	waiter_join(&w[0]);
	waiter_join(&w[1]);
	EXPECT_EQ(SIGBUS, w[0].signal);
	EXPECT_EQ(0, w[1].signal);
	EXPECT_EQ(self->m.p[(CUT - 1) * PAGE], w[1].byte);
	EXPECT_EQ(SIGBUS, touch(self->mem.p + CUT * PAGE));
	STATS_WHEN(st, l, st.failed);
	EXPECT_EQ(1, st.failed);
	/* It is told when it has happened. */
	while (!errors_of(self))
		usleep(1000);
	/* All the rest can be had, but that it was lost is not forgotten. */
	mend_image(&self->m, tail, size, at);
	/* Two threads may have failed, and one of them may tell so only now. */
	mram_restore_lazy_resume(l);
	ASSERT_FAILS(-ENODATA, name, mram_restore_lazy_wait(l, -1, &error));
	EXPECT_EQ(0, stats_of(l).left);
	EXPECT_EQ(PAGES - 1, stats_of(l).read);
	EXPECT_EQ(0, memcmp(self->mem.p + (CUT + 1) * PAGE,
			    self->m.p + (CUT + 1) * PAGE,
			    (PAGES - CUT - 1) * PAGE));
	EXPECT_EQ(SIGBUS, touch(self->mem.p + CUT * PAGE));
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
}

struct discarder {
	unsigned char *p;
	bool stop;
};

static void *discard(void *data)
{
	struct discarder *d = data;

	while (!__atomic_load_n(&d->stop, __ATOMIC_RELAXED))
		madvise(d->p, PAGE, MADV_DONTNEED);
	return NULL;
}

/* Nothing can be placed nor poisoned while memory is being discarded. */
static void lose_while_discarding(struct __test_metadata *_metadata,
				  FIXTURE_DATA(fail) *self, uint32_t faulters)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_threads = faulters, .fault_around = 1,
			  .error = count_error, .data = &self->errors);
	struct discarder d = { .p = self->mem.p };
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct waiter w[30];
	unsigned char *tail;
	pthread_t id;
	size_t size;
	off_t at;
	int i;

	l = started(&self->img, &self->m, self->mem.p, &o);
	at = cut_image(&self->m, &tail, &size);
	ASSERT_EQ(0, pthread_create(&id, NULL, discard, &d));
	for (i = 0; i < 30; i++)
		waiter_start(&w[i], self->mem.p + (CUT + i) * PAGE);
	for (i = 0; i < 30; i++) {
		waiter_join(&w[i]);
		EXPECT_EQ(SIGBUS, w[i].signal);
	}
	__atomic_store_n(&d.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(id, NULL));
	STATS_WHEN(st, l, st.failed >= 30);
	EXPECT_EQ(30, st.failed);
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	mend_image(&self->m, tail, size, at);
}

TEST_F_TIMEOUT(fail, touched_page_is_poisoned_while_discarding, 180)
{
	if (!can_poison())
		SKIP(return, "this kernel cannot poison pages");
	lose_while_discarding(_metadata, self, 1);
	memory_free(&self->mem);
	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	lose_while_discarding(_metadata, self, 2);
}

/* Of memory that is left alone, as the image does not hold it, parts may go. */
TEST_F_TIMEOUT(fail, closed_with_a_hole, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	const size_t length = 32 * MIB, hole = 16 * MIB;
	struct mram_restore_lazy *l;
	struct memory mem;
	struct model m;
	int fd;

	m = model_make(PATTERN_ENDS, length);
	mem = guest_make(MEMORY_PRIVATE, length);
	l = started(&self->img, &m, mem.p, &o);
	/* What userfaultfd does not serve is mapped there instead. */
	fd = open(m.path, O_RDONLY | O_CLOEXEC);
	ASSERT_NE(MAP_FAILED, mmap(mem.p + hole, PAGE, PROT_READ,
				   MAP_SHARED | MAP_FIXED, fd, 0));
	ASSERT_EQ(0, munmap(mem.p + hole + PAGE, PAGE));
	close(fd);
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	EXPECT_EQ(SIGSEGV, touch(mem.p));
	EXPECT_EQ(SIGSEGV, touch(mem.p + length - 1));
	EXPECT_EQ(0, touch(mem.p + hole));
	memory_free(&mem);

	mem = guest_make(MEMORY_PRIVATE, length);
	l = started(&self->img, &m, mem.p, NULL);
	fd = open(m.path, O_RDONLY | O_CLOEXEC);
	ASSERT_NE(MAP_FAILED, mmap(mem.p + hole, PAGE, PROT_READ,
				   MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	/* Nobody would read the event any more. */
	EXPECT_EQ(0, madvise(mem.p, PAGE, MADV_DONTNEED));
	EXPECT_EQ(0, touch(mem.p));
	EXPECT_EQ(0, memcmp(mem.p + PAGE, m.p + PAGE, 15 * PAGE));
	EXPECT_EQ(0, memcmp(mem.p + length - 16 * PAGE,
			    m.p + length - 16 * PAGE, 16 * PAGE));
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	memory_free(&mem);
	model_free(&m);
}

TEST_F_TIMEOUT(fail, touched_page_waits, 180)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts,
			  .flags = MRAM_LAZY_PAUSED | MRAM_LAZY_WAIT,
			  .error = count_error, .data = &self->errors);
	struct mram_restore_lazy *l;
	struct waiter w[3];
	unsigned char *tail;
	size_t size;
	off_t at;
	int i;

	l = started(&self->img, &self->m, self->mem.p, &o);
	at = cut_image(&self->m, &tail, &size);
	waiter_start(&w[0], self->mem.p + CUT * PAGE);
	waiter_start(&w[1], self->mem.p + (PAGES - 1) * PAGE);
	while (errors_of(self) < 2)
		usleep(1000);
	/* Streaming meets the same, which lets nobody through. */
	ASSERT_FAILS(-ENODATA, "page ", mram_restore_lazy_finish(l, NULL, &error));
	mram_restore_lazy_resume(l);
	ASSERT_FAILS(-ENODATA, "page ", mram_restore_lazy_finish(l, NULL, &error));
	waiter_start(&w[2], self->mem.p + CUT * PAGE);
	usleep(100000);
	for (i = 0; i < 3; i++)
		EXPECT_FALSE(waiter_through(&w[i]));
	mend_image(&self->m, tail, size, at);
	mram_restore_lazy_resume(l);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	for (i = 0; i < 3; i++) {
		waiter_join(&w[i]);
		EXPECT_EQ(0, w[i].signal);
		EXPECT_EQ(self->m.p[w[i].p - self->mem.p], w[i].byte);
	}
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
}

/* Who still waits when it is closed does not get zeros either. */
TEST_F_TIMEOUT(fail, closed_under_a_waiter, 180)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts,
			  .flags = MRAM_LAZY_PAUSED | MRAM_LAZY_WAIT,
			  .error = count_error, .data = &self->errors);
	struct mram_restore_lazy *l;
	unsigned char *tail;
	struct waiter w;
	size_t size;

	l = started(&self->img, &self->m, self->mem.p, &o);
	cut_image(&self->m, &tail, &size);
	waiter_start(&w, self->mem.p + CUT * PAGE);
	while (!errors_of(self))
		usleep(1000);
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	waiter_join(&w);
	EXPECT_EQ(SIGSEGV, w.signal);
	free(tail);
}

TEST_F_TIMEOUT(fail, twice, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct mram_restore_lazy *l, *second;

	l = started(&self->img, &self->m, self->mem.p, &o);
	EXPECT_EQ(0, touch(self->mem.p + 7 * PAGE));
	ASSERT_FAILS(-EBUSY, "started", mram_restore_lazy_start(l, &error));
	/* Before any other word on it, so before anything is changed. */
	ASSERT_FAILS(-EBUSY, "started",
		     mram_restore_lazy_add_uffd(l, 0, STDIN_FILENO, 4096,
						LENGTH, NULL, &error));
	ASSERT_OK(mram_restore_lazy_open(&second, self->img, NULL, &error));
	ASSERT_OK(mram_restore_lazy_add(second, 0, self->mem.p, LENGTH, NULL,
					&error));
	ASSERT_FAILS(-EEXIST, "already",
		     mram_restore_lazy_add(second, 0, self->mem.p, LENGTH, NULL,
					   &error));
	ASSERT_FAILS(-EBUSY, "being restored already",
		     mram_restore_lazy_start(second, &error));
	mram_restore_lazy_close(second);
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	EXPECT_EQ(PAGES, st.read);
	EXPECT_EQ(0, st.existed);
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	/* Now it is free again. */
	l = started(&self->img, &self->m, self->mem.p, NULL);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
}

static int start_at(struct mram_image *img, void *p, size_t length)
{
	struct mram_restore_lazy *l;
	int ret;

	ret = mram_restore_lazy_open(&l, img, NULL, &error);
	if (ret)
		return ret;
	ret = mram_restore_lazy_add(l, 0, p, length, NULL, &error);
	if (!ret)
		ret = mram_restore_lazy_start(l, &error);
	mram_restore_lazy_close(l);
	return ret;
}

TEST_F(fail, memory_that_will_not_do)
{
	struct memory other;
	unsigned char *p = self->mem.p;

	memset(p, 0x55, LENGTH);
	ASSERT_OK(mram_image_open(&self->img, self->m.path, &error));
	ASSERT_FAILS(-EINVAL, "the memory for it",
		     start_at(self->img, p, LENGTH - PAGE));
	ASSERT_FAILS(-EINVAL, "multiple of the page size",
		     start_at(self->img, p + 8, LENGTH));
	ASSERT_FAILS(-EINVAL, "multiple of the page size",
		     start_at(self->img, NULL, LENGTH));
	ASSERT_FAILS(-EOVERFLOW, "overflows",
		     start_at(self->img, (void *)(-(uintptr_t)LENGTH), LENGTH));
	ASSERT_EQ(0, mprotect(p + 4 * MIB, PAGE, PROT_READ));
	ASSERT_FAILS(-EFAULT, "not writable", start_at(self->img, p, LENGTH));
	ASSERT_EQ(0, mprotect(p + 4 * MIB, PAGE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, munmap(p + LENGTH - PAGE, PAGE));
	ASSERT_FAILS(-EFAULT, "not mapped", start_at(self->img, p, LENGTH));
	EXPECT_EQ(0x55, p[0]);
	EXPECT_EQ(0x55, p[LENGTH - PAGE - 1]);

	other = guest_make(MEMORY_FILE, LENGTH);
	ASSERT_FAILS(-EOPNOTSUPP, "userfaultfd cannot serve",
		     start_at(self->img, other.p, LENGTH));
	memory_free(&other);
	other = guest_make(MEMORY_COPY, LENGTH);
	ASSERT_FAILS(-EOPNOTSUPP, "private copy of a file",
		     start_at(self->img, other.p, LENGTH));
	EXPECT_EQ('b', other.p[0]);
	memory_free(&other);
	mram_image_close(self->img);
}

TEST_F(fail, options_that_will_not_do)
{
	struct mram_restore_lazy_block_opts bo =
		MRAM_OPTS(mram_restore_lazy_block_opts);
	struct mram_restore_lazy_opts o;
	struct mram_restore_lazy *l;
	int fd;

#define REFUSED(code, words, ...) do {					\
	o = MRAM_OPTS(mram_restore_lazy_opts, __VA_ARGS__);		\
	ASSERT_FAILS(code, words,					\
		     mram_restore_lazy_open(&l, self->img, &o, &error));\
} while (0)

	ASSERT_OK(mram_image_open(&self->img, self->m.path, &error));
	REFUSED(-EOPNOTSUPP, "flags", .flags = 1u << 31);
	REFUSED(-EOPNOTSUPP, "flags", .reserved = 1);
	REFUSED(-EINVAL, "threads", .fault_threads = 65);
	REFUSED(-EINVAL, "threads", .stream_threads = 65);
	REFUSED(-EINVAL, "max_extent", .max_extent = 100);
	REFUSED(-EINVAL, "max_extent", .max_extent = 128 * MIB);
	REFUSED(-EINVAL, "fault_around", .fault_around = 5000);
	o = (struct mram_restore_lazy_opts){ .size = 3 };
	ASSERT_FAILS(-EINVAL, "MRAM_OPTS",
		     mram_restore_lazy_open(&l, self->img, &o, &error));

	ASSERT_OK(mram_restore_lazy_open(&l, self->img, NULL, &error));
	ASSERT_FAILS(-EINVAL, "no block", mram_restore_lazy_start(l, &error));
	ASSERT_FAILS(-EINVAL, "not started",
		     mram_restore_lazy_finish(l, NULL, &error));
	ASSERT_FAILS(-ENOENT, "no block 1",
		     mram_restore_lazy_add(l, 1, self->mem.p, LENGTH, NULL,
					   &error));
	bo.flags = 1u << 30;
	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_restore_lazy_add(l, 0, self->mem.p, LENGTH, &bo,
					   &error));
	bo.flags = 0;
	ASSERT_FAILS(-EBADF, "userfaultfd",
		     mram_restore_lazy_add_uffd(l, 0, -1, 4096, LENGTH, NULL,
						&error));
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ASSERT_FAILS(-EINVAL, "not a userfaultfd",
		     mram_restore_lazy_add_uffd(l, 0, fd, 4096, LENGTH, NULL,
						&error));
	bo.page_size = 5000;
	ASSERT_FAILS(-EINVAL, "5000",
		     mram_restore_lazy_add_uffd(l, 0, fd, 4096, LENGTH, &bo,
						&error));
	close(fd);
	mram_restore_lazy_close(l);
	mram_restore_lazy_close(NULL);
	mram_image_close(self->img);
}

TEST_HARNESS_MAIN
