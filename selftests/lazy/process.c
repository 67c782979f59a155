// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that another process' memory is restored through its userfaultfd, the
 * way virtual machine monitors hand it to a page fault handler: what that
 * process sees is what the image holds, also when it discards memory; wrong
 * addresses and its sudden death are errors and not hangs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(24 * MIB)
#define PAGES		(LENGTH / PAGE)
#define TOUCHERS	3

/* What the other process does with its memory. */
enum job {
	JOB_TOUCH,	/* some of it from several threads, then all */
	JOB_DISCARD,	/* now and then some of it is given back */
	JOB_HALVES,	/* the first half is touched, and when told so all of it */
	JOB_WAIT,	/* reads a few pages until it is killed */
	JOB_WRITTEN,	/* the same, and has written to it before */
};

static uint64_t discard_some(const struct model *m, struct memory *mem,
			     uint64_t unit)
{
	bool *gone = calloc(PAGES, sizeof(*gone));
	uint64_t i, k, first, wrong = 0;

	for (i = 0; i < 200; i++) {
		first = random_below(PAGES / unit) * unit;
		memory_discard(mem, first, unit);
		for (k = first; k < first + unit; k++) {
			gone[k] = true;
			/* A look brings zeros, before old content could come. */
			if (i % 2)
				wrong += !page_is_zero(mem->p + k * PAGE, PAGE);
		}
		k = random_below(PAGES);
		if (!gone[k])
			wrong += memcmp(mem->p + k * PAGE, m->p + k * PAGE,
					PAGE) != 0;
	}
	wrong += wrong_pages(m->p, mem->p, PAGES, gone);
	free(gone);
	return wrong;
}

static uint64_t touch_all(const struct model *m, struct memory *mem)
{
	struct toucher t[TOUCHERS];
	pthread_t id[TOUCHERS];
	uint64_t wrong = 0, i;

	for (i = 0; i < TOUCHERS; i++) {
		t[i] = (struct toucher){ .m = m, .p = mem->p, .seed = i,
					 .count = 2000 };
		if (pthread_create(&id[i], NULL, toucher_run, &t[i]))
			_exit(101);
	}
	for (i = 0; i < TOUCHERS; i++) {
		pthread_join(id[i], NULL);
		wrong += t[i].wrong;
	}
	return wrong + (differing_page(m, mem->p) >= 0);
}

/* Never returns. */
static void other(int sock, const struct model *m, int kind, enum job job)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_REMOVE };
	struct memory mem = guest_make(kind, LENGTH);
	struct uffdio_register r = {
		.range = { (uintptr_t)mem.p, LENGTH },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct model half = *m;
	uint64_t wrong = 0, i;
	char go;
	int fd;

	if (job == JOB_WRITTEN)
		mem.p[7 * PAGE] = 1;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &r))
		_exit(102);
	hand_over(sock, fd, (uintptr_t)mem.p);
	/* As such monitors do; the handler's copy is what is left. */
	close(fd);
	if (read(sock, &go, 1) != 1)
		_exit(103);
	switch (job) {
	case JOB_TOUCH:
		wrong = touch_all(m, &mem);
		break;
	case JOB_HALVES:
		half.length /= 2;
		wrong = touch_all(&half, &mem);
		if (read(sock, &go, 1) != 1)
			_exit(103);
		wrong += touch_all(m, &mem);
		/* What it has seen may still be looked for. */
		if (read(sock, &go, 1) != 1)
			_exit(103);
		break;
	case JOB_DISCARD:
		wrong = discard_some(m, &mem, kind == MEMORY_HUGE ? 512 : 1);
		break;
	case JOB_WAIT:
	case JOB_WRITTEN:
		for (i = 0; ; i++) {
			touch(mem.p + i % 64 * PAGE);
			usleep(1000);
		}
	}
	_exit(wrong ? 1 : 0);
}

FIXTURE(process) {
	struct model m;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	int threads;
	int fds;
	int sock;
	int uffd;
	uint64_t addr;
	pid_t pid;
};

FIXTURE_SETUP(process)
{
	random_seed(500);
	self->m = model_make(PATTERN_RUNS, LENGTH);
	self->threads = threads_now();
	self->fds = fds_now();
}

FIXTURE_TEARDOWN(process)
{
	EXPECT_EQ(self->threads, threads_left(self->threads));
	EXPECT_EQ(self->fds, fds_now());
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void begin(struct __test_metadata *_metadata, FIXTURE_DATA(process) *self,
		  int kind, enum job job)
{
	int socks[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (!self->pid)
		other(socks[1], &self->m, kind, job);
	close(socks[1]);
	self->sock = socks[0];
	self->uffd = take_over(self->sock, &self->addr);
	ASSERT_LE(0, self->uffd);
}

static int start(FIXTURE_DATA(process) *self, int kind, uint64_t addr,
		 const struct mram_restore_lazy_opts *o)
{
	struct mram_restore_lazy_block_opts bo =
		MRAM_OPTS(mram_restore_lazy_block_opts);
	int ret;

	if (kind == MEMORY_HUGE)
		bo.page_size = 512 * PAGE;
	ret = mram_image_open(&self->img, self->m.path, &error);
	if (!ret)
		ret = mram_restore_lazy_open(&self->l, self->img, o, &error);
	if (!ret)
		ret = mram_restore_lazy_add_uffd(self->l, 0, self->uffd, addr,
						 LENGTH, &bo, &error);
	if (!ret)
		ret = mram_restore_lazy_start(self->l, &error);
	return ret;
}

static void go(struct __test_metadata *_metadata, FIXTURE_DATA(process) *self)
{
	ASSERT_EQ(1, write(self->sock, "", 1));
}

static int end(FIXTURE_DATA(process) *self)
{
	int status;

	if (waitpid(self->pid, &status, 0) != self->pid)
		return -1;
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	close(self->uffd);
	close(self->sock);
	return status;
}

static bool have(int kind)
{
	struct memory mem;

	if (kind != MEMORY_HUGE)
		return true;
	mem = guest_make(kind, LENGTH);
	if (!mem.p)
		return false;
	memory_free(&mem);
	return true;
}

TEST_F_TIMEOUT(process, sees_the_image, 300)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++) {
		if (!have(guest_kinds[kind]))
			continue;
		begin(_metadata, self, guest_kinds[kind], JOB_TOUCH);
		ASSERT_OK(start(self, guest_kinds[kind], self->addr, NULL));
		go(_metadata, self);
		ASSERT_OK(mram_restore_lazy_finish(self->l, &st, &error));
		EXPECT_EQ(self->m.set, st.read);
		EXPECT_EQ(0, st.existed);
		EXPECT_EQ(0, end(self)) {
			TH_LOG("%s", guest_names[kind]);
		}
	}
}

TEST_F_TIMEOUT(process, discards_memory, 300)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .max_extent = 16 * PAGE);
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++) {
		if (!have(guest_kinds[kind]))
			continue;
		begin(_metadata, self, guest_kinds[kind], JOB_DISCARD);
		ASSERT_OK(start(self, guest_kinds[kind], self->addr, &o));
		go(_metadata, self);
		ASSERT_OK(mram_restore_lazy_finish(self->l, &st, &error));
		EXPECT_EQ(self->m.set, st.read + st.discarded);
		EXPECT_EQ(0, end(self)) {
			TH_LOG("%s", guest_names[kind]);
		}
	}
}

TEST_F_TIMEOUT(process, is_killed, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++) {
		if (!have(guest_kinds[kind]))
			continue;
		begin(_metadata, self, guest_kinds[kind], JOB_WAIT);
		ASSERT_OK(start(self, guest_kinds[kind], self->addr, &o));
		go(_metadata, self);
		while (!stats_of(self->l).faults)
			usleep(1000);
		ASSERT_EQ(0, kill(self->pid, SIGKILL));
		/* It is a zombie until end(): its memory is gone all the same. */
		waitid(P_PID, self->pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
		ASSERT_FAILS(-ESRCH, "has ended",
			     mram_restore_lazy_finish(self->l, &st, &error));
		EXPECT_LT(0, st.left);
		mram_restore_lazy_resume(self->l);
		ASSERT_FAILS(-ESRCH, "has ended",
			     mram_restore_lazy_finish(self->l, &st, &error));
		EXPECT_EQ(SIGKILL, end(self));
	}
}

TEST_F_TIMEOUT(process, address_is_wrong, 180)
{
	begin(_metadata, self, MEMORY_PRIVATE, JOB_WAIT);
	/* Where no program has anything. */
	ASSERT_OK(start(self, MEMORY_PRIVATE, 64 * MIB, NULL));
	ASSERT_FAILS(-ENOENT, "nothing is mapped there",
		     mram_restore_lazy_finish(self->l, NULL, &error));
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	EXPECT_EQ(SIGKILL, end(self));
}

/* What was there before stays, which is wrong: that must not go unnoticed. */
TEST_F_TIMEOUT(process, has_written_to_its_memory, 180)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };

	model_free(&self->m);
	self->m = model_make(PATTERN_FULL, LENGTH);
	begin(_metadata, self, MEMORY_PRIVATE, JOB_WRITTEN);
	ASSERT_OK(start(self, MEMORY_PRIVATE, self->addr, NULL));
	ASSERT_FAILS(-EEXIST, "page 7 was in memory already",
		     mram_restore_lazy_finish(self->l, &st, &error));
	EXPECT_EQ(1, st.existed);
	EXPECT_EQ(PAGES - 1, st.read);
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	EXPECT_EQ(SIGKILL, end(self));
}

/* Not the process, but whoever restores it, gives up. */
TEST_F_TIMEOUT(process, waits_when_it_is_given_up, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct mram_restore_lazy *l;
	struct mram_image *img;

	begin(_metadata, self, MEMORY_PRIVATE, JOB_HALVES);
	ASSERT_OK(start(self, MEMORY_PRIVATE, self->addr, &o));
	go(_metadata, self);
	while (stats_of(self->l).faults < 20)
		usleep(1000);
	l = self->l;
	img = self->img;
	mram_restore_lazy_close(l);
	mram_image_close(img);
	go(_metadata, self);
	/* Another one takes over: what was placed is found. */
	o.flags = MRAM_LAZY_TAKE_OVER;
	ASSERT_OK(start(self, MEMORY_PRIVATE, self->addr, &o));
	ASSERT_OK(mram_restore_lazy_finish(self->l, &st, &error));
	go(_metadata, self);
	EXPECT_LT(0, st.existed);
	EXPECT_EQ(self->m.set, st.read + st.existed);
	EXPECT_EQ(0, end(self));
}

TEST_HARNESS_MAIN
