// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what pausing, resuming, waiting, canceling and closing do to a lazy
 * restore, in any order and from any thread.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(32 * MIB)
#define PAGES		(LENGTH / PAGE)

FIXTURE(control) {
	struct model m;
	struct memory mem;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	int threads;
	int fds;
};

FIXTURE_SETUP(control)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);

	random_seed(400);
	self->m = model_make(PATTERN_FULL, LENGTH);
	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	self->threads = threads_now();
	self->fds = fds_now();
	self->l = started(&self->img, &self->m, self->mem.p, &o);
}

FIXTURE_TEARDOWN(control)
{
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	EXPECT_EQ(self->threads, threads_left(self->threads));
	EXPECT_EQ(self->fds, fds_now());
	memory_free(&self->mem);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

TEST_F(control, paused_reads_what_is_touched)
{
	struct mram_restore_lazy_stats st = stats_of(self->l);

	EXPECT_EQ(MRAM_LAZY_STATS_PAUSED, st.flags & MRAM_LAZY_STATS_PAUSED);
	EXPECT_EQ(0, st.read);
	EXPECT_EQ(PAGES, st.left);
	ASSERT_FAILS(-ETIMEDOUT, "still to be read",
		     mram_restore_lazy_wait(self->l, 50, &error));
	EXPECT_EQ(0, stats_of(self->l).read);
	EXPECT_EQ(0, touch(self->mem.p + 100 * PAGE));
	EXPECT_EQ(0, touch(self->mem.p + 101 * PAGE));
	STATS_WHEN(st, self->l, st.left <= PAGES - 16);
	EXPECT_EQ(1, st.faults);
	/* 64 KiB, aligned. */
	EXPECT_EQ(16, st.read);
	EXPECT_EQ(16, st.fault_pages);
	EXPECT_EQ(1, st.ios);
	EXPECT_EQ(16 * PAGE, st.bytes);
	EXPECT_EQ(PAGES - 16, st.left);
	EXPECT_EQ(0, st.stream_calls);
	mram_restore_lazy_resume(self->l);
	ASSERT_OK(mram_restore_lazy_wait(self->l, -1, &error));
	st = stats_of(self->l);
	EXPECT_EQ(0, st.flags & MRAM_LAZY_STATS_PAUSED);
	EXPECT_EQ(PAGES, st.read);
	EXPECT_STREQ("copy", st.method);
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
}

static void *pause_and_resume(void *data)
{
	struct mram_restore_lazy *l = data;
	int i;

	for (i = 0; i < 200; i++) {
		mram_restore_lazy_pause(l);
		stats_of(l);
		mram_restore_lazy_resume(l);
	}
	return NULL;
}

TEST_F_TIMEOUT(control, from_many_threads, 180)
{
	pthread_t id[3];
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&id[i], NULL, pause_and_resume,
					    self->l));
	/* Whoever pauses last must not have the last word. */
	while (mram_restore_lazy_wait(self->l, 20, &error) == -ETIMEDOUT)
		mram_restore_lazy_resume(self->l);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_join(id[i], NULL));
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(PAGES, stats_of(self->l).read);
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
}

static void *cancel(void *data)
{
	usleep(30000);
	mram_restore_lazy_cancel(data);
	return NULL;
}

TEST_F(control, canceled)
{
	struct waiter w;
	pthread_t id;
	uint64_t i;

	EXPECT_EQ(0, touch(self->mem.p));
	ASSERT_EQ(0, pthread_create(&id, NULL, cancel, self->l));
	ASSERT_FAILS(-ECANCELED, "canceled",
		     mram_restore_lazy_wait(self->l, -1, &error));
	ASSERT_EQ(0, pthread_join(id, NULL));
	ASSERT_FAILS(-ECANCELED, "canceled",
		     mram_restore_lazy_finish(self->l, NULL, &error));
	/* What is there may be used, what is not gets nobody anywhere. */
	EXPECT_EQ(self->m.p[0], self->mem.p[0]);
	waiter_start(&w, self->mem.p + LENGTH - 1);
	if (can_poison()) {
		waiter_join(&w);
		EXPECT_EQ(SIGBUS, w.signal);
	} else {
		usleep(50000);
		EXPECT_FALSE(waiter_through(&w));
	}
	/* Also when nothing is left, since all was touched. */
	for (i = 0; can_poison() && i < PAGES; i++)
		touch(self->mem.p + i * PAGE);
	ASSERT_FAILS(-ECANCELED, "canceled",
		     mram_restore_lazy_finish(self->l, NULL, &error));
	mram_restore_lazy_close(self->l);
	self->l = NULL;
	if (!can_poison()) {
		waiter_join(&w);
		EXPECT_EQ(SIGSEGV, w.signal);
	}
	EXPECT_EQ(can_poison() ? SIGBUS : SIGSEGV,
		  touch(self->mem.p + PAGES / 2 * PAGE));
}

static int caught;

static void catch(int sig)
{
	__atomic_store_n(&caught, sig, __ATOMIC_RELAXED);
}

/* The library's threads take none of what the program's own are to get. */
TEST_F(control, signals_are_the_callers)
{
	struct sigaction sa = { .sa_handler = catch };
	sigset_t one, old;

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	ASSERT_EQ(0, pthread_sigmask(SIG_BLOCK, &one, &old));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_EQ(0, touch(self->mem.p));
	usleep(20000);
	EXPECT_EQ(0, __atomic_load_n(&caught, __ATOMIC_RELAXED));
	ASSERT_EQ(0, pthread_sigmask(SIG_SETMASK, &old, NULL));
	EXPECT_EQ(SIGUSR1, __atomic_load_n(&caught, __ATOMIC_RELAXED));
}

TEST_F(control, closed_before_the_end)
{
	mram_restore_lazy_resume(self->l);
	mram_restore_lazy_close(self->l);
	self->l = NULL;
}

TEST_F(control, closed_without_a_start)
{
	struct mram_restore_lazy *l;

	ASSERT_OK(mram_restore_lazy_open(&l, self->img, NULL, &error));
	mram_restore_lazy_close(l);
	ASSERT_OK(mram_restore_lazy_open(&l, self->img, NULL, &error));
	ASSERT_OK(mram_restore_lazy_add(l, 0, self->m.p, LENGTH, NULL, &error));
	mram_restore_lazy_close(l);
}

/* The end of all threads is closing; all is there then. */
TEST_F(control, closed_when_all_is_there)
{
	mram_restore_lazy_resume(self->l);
	ASSERT_OK(mram_restore_lazy_wait(self->l, -1, &error));
	mram_restore_lazy_close(self->l);
	self->l = NULL;
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
}

/* A child that only runs a program does no harm. */
TEST_F_TIMEOUT(control, programs_may_be_run, 180)
{
	int i;

	mram_restore_lazy_resume(self->l);
	for (i = 0; i < 10; i++)
		EXPECT_EQ(0, system("true"));
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
}

/* Faults that come all the time do not keep the rest from being read. */
TEST_F_TIMEOUT(control, streaming_goes_on_under_faults, 180)
{
	struct toucher t[3];
	pthread_t id[3];
	int i;

	for (i = 0; i < 3; i++) {
		t[i] = (struct toucher){ .m = &self->m, .p = self->mem.p,
					 .seed = i, .count = UINT64_MAX };
		ASSERT_EQ(0, pthread_create(&id[i], NULL, toucher_run, &t[i]));
	}
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	for (i = 0; i < 3; i++) {
		__atomic_store_n(&t[i].stop, true, __ATOMIC_RELAXED);
		ASSERT_EQ(0, pthread_join(id[i], NULL));
		EXPECT_EQ(0, t[i].wrong);
	}
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
}

TEST_HARNESS_MAIN
