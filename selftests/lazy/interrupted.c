// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that no harm comes of the message of somebody who does not wait any
 * more: a signal has called that thread away, but as long as it has not run again
 * the kernel still tells of its fault, also when the page has been brought
 * meanwhile, or the memory was left out. All share one processor here, and that
 * thread gets it last. The linker puts this program's own pread() and ioctl()
 * before the real ones (see the Makefile): reads are held up, calls are seen.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

/* Reads of the library, in their order: those return whose bit in @free is set. */
static struct {
	bool on;
	unsigned int reads;
	uint64_t free;
} hold;

#define FIRST_READ	1u
#define SECOND_READ	2u

/* The library's userfaultfd, and what was asked of it. */
static struct {
	int fd;
	bool left_out;
	uint64_t woken;
} uffd;

/* What has been read already needs nobody but the library's thread to go on. */
static ssize_t hold_up(ssize_t got)
{
	unsigned int n;

	if (!__atomic_load_n(&hold.on, __ATOMIC_ACQUIRE))
		return got;
	n = __atomic_fetch_add(&hold.reads, 1, __ATOMIC_ACQ_REL);
	while (!(__atomic_load_n(&hold.free, __ATOMIC_ACQUIRE) >> n & 1))
		usleep(200);
	return got;
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	return hold_up(__real_pread(fd, buf, n, offset));
}

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct uffdio_range *r;
	va_list ap;
	int ret;

	va_start(ap, request);
	r = va_arg(ap, void *);
	va_end(ap);
	ret = __real_ioctl(fd, request, r);
	if (request == UFFDIO_REGISTER)
		uffd.fd = fd;
	if (request == UFFDIO_UNREGISTER)
		__atomic_store_n(&uffd.left_out, true, __ATOMIC_RELEASE);
	if (request == UFFDIO_WAKE && r->len == PAGE)
		__atomic_store_n(&uffd.woken, r->start, __ATOMIC_RELEASE);
	return ret;
}

static void let_through(uint64_t reads)
{
	__atomic_fetch_or(&hold.free, reads, __ATOMIC_RELEASE);
}

static void await_reads(unsigned int nr)
{
	while (__atomic_load_n(&hold.reads, __ATOMIC_ACQUIRE) < nr)
		usleep(200);
}

/* Faults that the library has not been told of yet. */
static unsigned int faults_pending(void)
{
	unsigned int nr = 0;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uffd.fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "pending: %u", &nr) == 1)
			break;
	if (f)
		fclose(f);
	return nr;
}

/* This thread, and those that it makes, get the processor before all others. */
static bool first(bool yes)
{
	struct sched_param p = { .sched_priority = yes };

	return !sched_setscheduler(0, yes ? SCHED_FIFO : SCHED_OTHER, &p);
}

/* Who is first does not sleep, or the others would run. */
#define SPIN_UNTIL(condition)						\
	do {								\
		while (!(condition))					\
			sched_yield();					\
	} while (0)

static void interrupt(int signal)
{
	(void)signal;
}

FIXTURE(interrupted) {
	struct model m;
	struct memory mem;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	struct waiter busy, gone;
	int told;
	bool may;
};

FIXTURE_SETUP(interrupted)
{
	struct sigaction action = { .sa_handler = interrupt };
	cpu_set_t one;

	random_seed(1200);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	self->may = first(true);
	first(false);
}

FIXTURE_TEARDOWN(interrupted)
{
	if (self->may)
		model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void failed(void *data, const struct mram_error *err)
{
	(void)err;
	__atomic_add_fetch((int *)data, 1, __ATOMIC_RELAXED);
}

/* The only thread that hears of faults is busy with page 0. */
static void begin(FIXTURE_DATA(interrupted) *self, enum pattern pattern,
		  size_t length)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .fault_threads = 1,
			  .stream_threads = 1, .max_extent = length,
			  .error = failed, .data = &self->told);

	self->m = model_make(pattern, length);
	self->mem = guest_make(MEMORY_PRIVATE, length);
	first(true);
	self->l = started(&self->img, &self->m, self->mem.p, &o);
	first(false);
	__atomic_store_n(&hold.on, true, __ATOMIC_RELEASE);
	waiter_start(&self->busy, self->mem.p);
	await_reads(1);
}

static void await_pending(unsigned int nr)
{
	while (faults_pending() != nr)
		usleep(200);
}

/* It is to run, and does not. */
static void call_away(FIXTURE_DATA(interrupted) *self)
{
	first(true);
	pthread_kill(self->gone.id, SIGUSR1);
}

static void end(struct __test_metadata *_metadata,
		FIXTURE_DATA(interrupted) *self)
{
	first(false);
	let_through(UINT64_MAX);
	waiter_join(&self->busy);
	waiter_join(&self->gone);
	EXPECT_EQ(0, self->busy.signal);
	EXPECT_EQ(0, self->gone.signal);
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(0, self->told);
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	memory_free(&self->mem);
}

TEST_F_TIMEOUT(interrupted, the_page_is_there, 60)
{
	if (!self->may)
		SKIP(return, "no thread may go before others");
	begin(self, PATTERN_FULL, MIB);
	/* All but the first page is on its way. */
	mram_restore_lazy_resume(self->l);
	await_reads(2);
	/* To resume is to make all look again who wait. */
	await_pending(1);
	waiter_start(&self->gone, self->mem.p + 100 * PAGE);
	await_pending(2);
	call_away(self);
	let_through(SECOND_READ);
	SPIN_UNTIL(stats_of(self->l).left == 1);
	let_through(FIRST_READ);
	SPIN_UNTIL(stats_of(self->l).faults == 2);
	EXPECT_FALSE(waiter_through(&self->gone));
	end(_metadata, self);
}

TEST_F_TIMEOUT(interrupted, the_memory_was_left_out, 60)
{
	const unsigned char *p;

	if (!self->may)
		SKIP(return, "no thread may go before others");
	begin(self, PATTERN_ENDS, 32 * MIB);
	p = self->mem.p + 16 * MIB;
	waiter_start(&self->gone, p);
	await_pending(1);
	call_away(self);
	__atomic_store_n(&uffd.left_out, false, __ATOMIC_RELEASE);
	mram_restore_lazy_resume(self->l);
	SPIN_UNTIL(__atomic_load_n(&uffd.left_out, __ATOMIC_ACQUIRE));
	let_through(FIRST_READ);
	SPIN_UNTIL(__atomic_load_n(&uffd.woken, __ATOMIC_ACQUIRE) ==
			   (uintptr_t)p ||
		   __atomic_load_n(&self->told, __ATOMIC_RELAXED));
	EXPECT_FALSE(waiter_through(&self->gone));
	end(_metadata, self);
}

TEST_HARNESS_MAIN
