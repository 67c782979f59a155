// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that of memory which the image does not hold only so much is taken out
 * of the userfaultfd as is worth it: the largest ranges, and no more than 8,
 * however many there are; that the start does not wait for that, and whoever
 * touches or moves that memory meanwhile does not notice; and that all of it is
 * zero. The linker puts this program's own pread() before the real one (see the
 * Makefile): it can be held up.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "common.h"

#define SMALL		63
#define LARGE		7
#define MOST		8
#define SMALL_GAP	(4 * MIB)
#define LARGE_GAP	(16 * MIB)
#define LENGTH		(SMALL * SMALL_GAP + LARGE * LARGE_GAP)

FIXTURE(gaps) {
	struct model m;
	unsigned char *p;
};

/* Where a gap begins, with the one page before it that is not zero. */
static size_t gap_at(int i)
{
	/* The large ones stand among the others. */
	int large = i / 10 < LARGE ? i / 10 : LARGE;

	return (i - large) * SMALL_GAP + large * LARGE_GAP;
}

static size_t gap_size(int i)
{
	return gap_at(i + 1) - gap_at(i);
}

FIXTURE_SETUP(gaps)
{
	int i;

	random_seed(900);
	self->m = model_make(PATTERN_EMPTY, LENGTH);
	/* A few single pages of it are touched: not 2 MiB for each. */
	madvise(self->m.p, LENGTH, MADV_NOHUGEPAGE);
	for (i = 0; i < SMALL + LARGE; i++)
		random_fill(self->m.p + gap_at(i), PAGE);
	self->m.set = SMALL + LARGE;
	model_save(&self->m);
	self->p = mmap(NULL, LENGTH + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->p);
}

FIXTURE_TEARDOWN(gaps)
{
	munmap(self->p, LENGTH + 2 * MIB);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* Mappings that a range consists of. */
static int mappings(const unsigned char *p, size_t length)
{
	uintptr_t from = (uintptr_t)p, to = from + length;
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512];
	int nr = 0;

	if (!f)
		exit(1);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			nr += start < to && end > from;
	fclose(f);
	return nr;
}

TEST_F_TIMEOUT(gaps, the_largest_are_left_out, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	unsigned char *p = self->p + (-(uintptr_t)self->p & (2 * MIB - 1));
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	int i;

	l = started(&img, &self->m, p, &o);
	/* Whoever were to do it now would have by then. */
	usleep(20000);
	EXPECT_EQ(1, mappings(p, LENGTH));
	mram_restore_lazy_resume(l);
	/* Each with one that is registered before it, and one at the end. */
	while (mappings(p, LENGTH) < 2 * MOST)
		usleep(200);
	STATS_WHEN(st, l, !st.left);
	EXPECT_GE(2 * MOST + 1, mappings(p, LENGTH));
	for (i = 0; i < SMALL + LARGE; i++)
		if (gap_size(i) == LARGE_GAP)
			EXPECT_EQ(0, p[gap_at(i) + LARGE_GAP / 2]);
	EXPECT_EQ(0, stats_of(l).faults);
	/* The second half, which is aligned. */
	for (i = 0; i < SMALL + LARGE; i++)
		if (gap_size(i) == SMALL_GAP)
			EXPECT_EQ(0, p[gap_at(i) + 3 * MIB]);
	STATS_WHEN(st, l, st.faults >= SMALL + LARGE - MOST);
	EXPECT_EQ(SMALL + LARGE - MOST, st.faults);
	EXPECT_EQ(0, st.fault_pages);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(SMALL + LARGE, stats_of(l).read);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(-1, differing_page(&self->m, p));
}

static void message(void *data, const char *text)
{
	(void)text;
	__atomic_fetch_add((int *)data, 1, __ATOMIC_RELAXED);
}

static void failed(void *data, const struct mram_error *err)
{
	message(data, err->message);
}

static void interrupt(int signal)
{
	(void)signal;
}

/*
 * Threads wait in all of it, find it zero, and never hear of what happens; nor
 * does it matter if they are called away from their wait.
 */
TEST_F_TIMEOUT(gaps, while_they_are_touched, 180)
{
	unsigned char *p = self->p + (-(uintptr_t)self->p & (2 * MIB - 1));
	int told = 0, round, i;
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .error = failed,
			  .message = message, .data = &told);
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct sigaction action = { .sa_handler = interrupt };
	struct toucher t[4];
	struct mram_image *img;
	pthread_t id[4];

	sigaction(SIGUSR1, &action, NULL);
	madvise(p, LENGTH, MADV_NOHUGEPAGE);
	for (round = 0; round < 5; round++) {
		l = started(&img, &self->m, p, &o);
		for (i = 0; i < 4; i++) {
			t[i] = (struct toucher){
				.m = &self->m, .p = p, .count = 3000,
				.seed = random_below(1 << 30),
			};
			ASSERT_EQ(0, pthread_create(&id[i], NULL, toucher_run,
						    &t[i]));
		}
		STATS_WHEN(st, l, st.faults >= 100);
		mram_restore_lazy_resume(l);
		for (i = 0; i < 4000; i++)
			pthread_kill(id[i % 4], SIGUSR1);
		for (i = 0; i < 4; i++) {
			ASSERT_EQ(0, pthread_join(id[i], NULL));
			EXPECT_EQ(0, t[i].wrong);
		}
		ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
		EXPECT_EQ(SMALL + LARGE, stats_of(l).read);
		mram_restore_lazy_close(l);
		mram_image_close(img);
	}
	EXPECT_EQ(0, told);
}

/* They are where the machine has moved them to, if all of one is there. */
TEST_F_TIMEOUT(gaps, that_were_moved, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	unsigned char *p = self->p + (-(uintptr_t)self->p & (2 * MIB - 1));
	/* Into the first large one. */
	size_t at = gap_at(9) + LARGE_GAP / 2;
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	unsigned char *q;

	ASSERT_EQ(LARGE_GAP, gap_size(9));
	q = mmap(NULL, LENGTH, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, q);
	l = started(&img, &self->m, p, &o);
	ASSERT_EQ(q, mremap(p, at, at, MREMAP_MAYMOVE | MREMAP_FIXED, q));
	mram_restore_lazy_resume(l);
	STATS_WHEN(st, l, !st.left);
	EXPECT_EQ(SMALL + LARGE, st.read);
	/* Of 8 one is here, and one is cut in two, which is left as it is. */
	while (mappings(q, at) < 3 ||
	       mappings(p + at, LENGTH - at) < 2 * (MOST - 2))
		usleep(200);
	EXPECT_EQ(3, mappings(q, at));
	EXPECT_GE(2 * (MOST - 2) + 1, mappings(p + at, LENGTH - at));
	EXPECT_EQ(0, q[at - PAGE]);
	EXPECT_EQ(0, p[at]);
	STATS_WHEN(st, l, st.faults >= 2);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(0, memcmp(q, self->m.p, at));
	EXPECT_EQ(0, memcmp(p + at, self->m.p + at, LENGTH - at));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	munmap(q, LENGTH);
}

static struct {
	bool on;
	bool reached;
} hold;

static void hold_up(void)
{
	while (__atomic_load_n(&hold.on, __ATOMIC_ACQUIRE)) {
		__atomic_store_n(&hold.reached, true, __ATOMIC_RELEASE);
		usleep(200);
	}
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	hold_up();
	return __real_pread(fd, buf, n, offset);
}

struct move {
	unsigned char *from, *to;
	size_t length;
	bool good, done;
};

static void *move_run(void *move)
{
	struct move *m = move;

	m->good = mremap(m->from, m->length, m->length,
			 MREMAP_MAYMOVE | MREMAP_FIXED, m->to) == m->to;
	__atomic_store_n(&m->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * Memory is moved, and the only thread that could hear of it is busy until the
 * gaps have been left out. The first large one is moved in part; or all of it,
 * and something else is mapped where it was.
 */
static void moved_unheard(struct __test_metadata *_metadata,
			  FIXTURE_DATA(gaps) *self, bool all)
{
	unsigned char *p = self->p + (-(uintptr_t)self->p & (2 * MIB - 1)), *q;
	size_t gap = gap_at(9), at = all ? gap_at(10) : gap + LARGE_GAP / 2;
	int told = 0;
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_threads = 1, .stream_threads = 1,
			  .error = failed, .data = &told);
	struct mram_restore_lazy *l;
	struct mram_image *img;
	struct waiter busy, late;
	struct move m;
	pthread_t id;

	q = mmap(NULL, LENGTH, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, q);
	l = started(&img, &self->m, p, &o);
	__atomic_store_n(&hold.on, true, __ATOMIC_RELEASE);
	waiter_start(&busy, p + gap_at(SMALL + LARGE - 1));
	while (!__atomic_load_n(&hold.reached, __ATOMIC_ACQUIRE))
		usleep(200);
	m = (struct move){ .from = p, .to = q, .length = at };
	ASSERT_EQ(0, pthread_create(&id, NULL, move_run, &m));
	/* It is there, and the event waits to be read. */
	while (mappings(q, LENGTH) < 2)
		usleep(200);
	if (all)
		ASSERT_EQ(p + gap, mmap(p + gap, LARGE_GAP,
					PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS |
					MAP_NORESERVE | MAP_FIXED, -1, 0));
	mram_restore_lazy_resume(l);
	/* The other six large ones, and the half that is still here. */
	while (mappings(p + at, LENGTH - at) < 2 * (MOST - 2) + !all)
		usleep(200);
	EXPECT_FALSE(__atomic_load_n(&m.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(1, mappings(q, at));
	__atomic_store_n(&hold.on, false, __ATOMIC_RELEASE);
	pthread_join(id, NULL);
	ASSERT_TRUE(m.good);

	waiter_start(&late, q + at - PAGE);
	while (!waiter_through(&late)) {
		/* There is nobody who could still bring it. */
		ASSERT_EQ(0, __atomic_load_n(&told, __ATOMIC_RELAXED));
		usleep(200);
	}
	waiter_join(&late);
	waiter_join(&busy);
	EXPECT_EQ(0, late.signal);
	EXPECT_EQ(0, busy.signal);
	EXPECT_EQ(0, memcmp(q, self->m.p, at));
	EXPECT_EQ(0, memcmp(p + at, self->m.p + at, LENGTH - at));
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(SMALL + LARGE, stats_of(l).read);
	EXPECT_EQ(0, told);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	munmap(q, LENGTH);
}

TEST_F_TIMEOUT(gaps, moved_in_part_unheard, 180)
{
	moved_unheard(_metadata, self, false);
}

TEST_F_TIMEOUT(gaps, moved_as_a_whole_unheard, 180)
{
	moved_unheard(_metadata, self, true);
}

/* What is named there needs nobody to bring it, nor to wait for it. */
TEST_F_TIMEOUT(gaps, in_a_working_set, 180)
{
	unsigned char *p = self->p + (-(uintptr_t)self->p & (2 * MIB - 1));
	char *path = image_path();
	int told = 0, round;
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .stream_threads = 1,
			  .record = path, .error = failed,
			  .message = message, .data = &told);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct mram_restore_lazy *l;
	struct mram_image *img;

	for (round = 0; round < 2; round++) {
		l = started(&img, &self->m, p, &o);
		if (!round) {
			EXPECT_EQ(0, p[gap_at(9) + LARGE_GAP / 2]);
		} else {
			STATS_WHEN(st, l, !st.set_left || told);
			EXPECT_EQ(1, st.working_set);
		}
		ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
		EXPECT_EQ(!round, st.faults);
		mram_restore_lazy_close(l);
		mram_image_close(img);
		o.flags = 0;
		o.record = NULL;
		o.working_set = path;
	}
	EXPECT_EQ(0, told);
	image_remove(path);
}

TEST_HARNESS_MAIN
