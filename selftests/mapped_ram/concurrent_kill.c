// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a pass may be cut short by anything: signals, SIGKILL, the exit
 * of its process, close() of the session. It stops within one window, every
 * page is then in the image or still dirty, the next pass completes it, and
 * everything that was held comes back.
 */
#include <sched.h>

#include "inflight.h"
#include "harness.h"

#define PAGES	64

FIXTURE(concurrent_kill) {
	struct slow_rig slow;
	struct rig *rig;
	long pins;
};

FIXTURE_SETUP(concurrent_kill)
{
	self->pins = pinned_pages();
	need_slow_rig(&self->slow, MEM_ANON, PAGES, 0);
	self->rig = &self->slow.rig;
}

FIXTURE_TEARDOWN(concurrent_kill)
{
	struct frames *frames = need_frames(self->rig->mem.addr,
					    self->rig->mem.length);

	ASSERT_EQ(PAGES, frames->nr);
	slow_rig_drop(&self->slow);
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(0, frames_held(frames));
}

static void on_signal(int number)
{
	(void)number;
}

static void need_handler(int flags)
{
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = flags,
	};

	if (sigaction(SIGUSR1, &action, NULL))
		need_failed("sigaction: %m");
}

/* Page by page, two at a time: many windows until the end */
static void need_long_save_started(struct pass *p, const struct region *r)
{
	*p = (struct pass){ .r = r, .cmd = MAPPED_RAM_SAVE };
	p->save = save_args(r, 0, r->nr_pages);
	p->save.window = 2;
	p->save.max_extent = r->page_size;
	need_pass_started(p);
}

static void interrupted_until_done(struct __test_metadata *_metadata,
				   struct slow_rig *slow, int flags)
{
	struct rig *rig = &slow->rig;
	size_t dirty = PAGES, now;
	int interrupted = 0, idle = 0;
	struct pass p;
	long start;

	need_handler(flags);
	need_delay(slow, 300);
	while (dirty) {
		need_long_save_started(&p, &rig->r);
		usleep(700 * 1000);
		start = now_msec();
		pthread_kill(p.thread, SIGUSR1);
		if (pass_wait(&p)) {
			ASSERT_EQ(-EINTR, p.ret);
			interrupted++;
			/* One window is one delay here. */
			EXPECT_GT(300 + 1500, now_msec() - start);
		}
		ASSERT_EQ(0, model_check_union(&rig->m));
		now = bits_count(rig->r.dirty, 0, PAGES);
		EXPECT_EQ(dirty - now, p.save.out_written_pages +
			  p.save.out_zero_pages);
		idle = now < dirty ? 0 : idle + 1;
		ASSERT_GT(5, idle);
		dirty = now;
		/* It has been seen often enough. */
		if (interrupted == 6)
			need_delay(slow, 0);
	}
	EXPECT_LT(0, interrupted);
	need_delay(slow, 0);
	EXPECT_TRUE(region_is_saved(&rig->r, &rig->img));
}

TEST_F(concurrent_kill, signals)
{
	interrupted_until_done(_metadata, &self->slow, 0);
}

/* With restarted system calls the caller wants the result all the same. */
TEST_F(concurrent_kill, signals_with_restart)
{
	interrupted_until_done(_metadata, &self->slow, SA_RESTART);
}

/* A signal that nobody handles interrupts nothing. */
TEST_F(concurrent_kill, ignored_signal)
{
	struct pass p;

	signal(SIGUSR1, SIG_IGN);
	need_delay(&self->slow, 100);
	model_save(&self->rig->m, 0, PAGES, NULL, NULL);
	need_long_save_started(&p, &self->rig->r);
	usleep(300 * 1000);
	pthread_kill(p.thread, SIGUSR1);
	EXPECT_EQ(0, pass_wait(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, model_check(&self->rig->m));
}

/* Also while waiting for another pass's range */
TEST_F(concurrent_kill, signal_while_waiting)
{
	struct pass first, second;

	need_handler(0);
	need_delay(&self->slow, 3000);
	need_save_started(&first, &self->rig->r, 0, PAGES);
	ASSERT_TRUE(wait_claimed(&self->rig->r, PAGES - 1));
	bit_set(self->rig->r.dirty, 5);
	need_save_started(&second, &self->rig->r, 0, PAGES);
	usleep(300 * 1000);
	pthread_kill(second.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, pass_wait(&second));
	EXPECT_FALSE(pass_done(&first));
	EXPECT_TRUE(bit_test(self->rig->r.dirty, 5));
	EXPECT_EQ(0, pass_wait(&first));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, model_check_union(&self->rig->m));
	EXPECT_EQ(0, rig_save(self->rig, NULL));
}

/* The same for LOAD: what is not loaded yet is loaded by the next. */
TEST_F(concurrent_kill, signal_during_load)
{
	struct rig *rig = self->rig;
	struct pass p = { .r = &rig->r, .cmd = MAPPED_RAM_LOAD };

	need_handler(0);
	ASSERT_EQ(0, rig_save(rig, NULL));
	memset(rig->r.mem, 0xee, rig->r.length);
	need_delay(&self->slow, 300);
	p.load = load_args(&rig->r, 0, PAGES);
	p.load.window = 2;
	p.load.max_extent = page_size();
	need_pass_started(&p);
	usleep(1000 * 1000);
	pthread_kill(p.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, pass_wait(&p));
	need_delay(&self->slow, 0);
	ASSERT_GT(PAGES, p.load.out_error_page);
	/* What it says is loaded is loaded. */
	EXPECT_EQ(0, memcmp(rig->r.mem, rig->m.mem,
			    p.load.out_error_page * page_size()));
	EXPECT_EQ(0, region_load(&rig->r, NULL));
	EXPECT_EQ(0, model_check(&rig->m));
}

/* A process of its own that shares our memory, so that we see what it left */
struct victim {
	struct rig *rig;
	uint8_t *stack;
	pid_t pid;
};

#define STACK	(256 * KIB)

static int victim_main(void *arg)
{
	struct victim *v = arg;
	struct mapped_ram_save save = save_args(&v->rig->r, 0, PAGES);

	save.window = 2;
	save.max_extent = page_size();
	ioctl(v->rig->dev, MAPPED_RAM_SAVE, &save);
	return 0;
}

TEST_F(concurrent_kill, sigkill)
{
	struct victim v = { .rig = self->rig, .stack = need_guarded(STACK) };
	size_t dirty;
	int status;
	long start;

	need_delay(&self->slow, 300);
	v.pid = clone(victim_main, v.stack + STACK, CLONE_VM | CLONE_FILES |
		      SIGCHLD, &v);
	ASSERT_LT(0, v.pid);
	usleep(1500 * 1000);
	start = now_msec();
	kill(v.pid, SIGKILL);
	ASSERT_EQ(v.pid, waitpid(v.pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(300 + 1500, now_msec() - start);
	need_delay(&self->slow, 0);

	EXPECT_EQ(0, model_check_union(&self->rig->m));
	dirty = bits_count(self->rig->r.dirty, 0, PAGES);
	EXPECT_LT(0, dirty);
	EXPECT_GT(PAGES, dirty);
	/* The session is usable, and completes it. */
	EXPECT_EQ(0, mr_image_set(self->rig->dev, self->rig->img.fd, 0, NULL));
	EXPECT_EQ(0, rig_save(self->rig, NULL)) TH_LOG("%s", self->rig->m.why);
	EXPECT_TRUE(region_is_saved(&self->rig->r, &self->rig->img));
	guarded_free(v.stack, STACK);
}

/*
 * A whole process that ends while a thread of it is in a pass: by SIGKILL, or
 * because another thread calls exit. Nothing of it is left.
 */
static void process_ends(struct __test_metadata *_metadata,
			 struct slow_rig *slow, bool killed)
{
	int status, pipes[2];
	pid_t child;
	char byte = 0;

	ASSERT_EQ(0, pipe(pipes));
	need_delay(slow, 300);
	child = fork();
	if (!child) {
		struct pass p;
		struct region r;
		struct mem mem;
		int dev = mr_open();

		if (dev < 0 || mem_map(&mem, MEM_ANON, PAGES * page_size()) ||
		    mr_image_set(dev, slow->rig.img.fd, 0, NULL) ||
		    region_add(&r, dev, mem.addr, mem.length, RIG_HEAD,
			       page_size(), MAPPED_RAM_REGION_PIN))
			_exit(1);
		memset(mem.addr, 0x44, mem.length);
		bits_set(r.dirty, 0, r.nr_pages);
		need_long_save_started(&p, &r);
		usleep(1000 * 1000);
		if (pass_done(&p) || write(pipes[1], &byte, 1) != 1)
			_exit(2);
		if (!killed)
			_exit(0);
		pause();
	}
	ASSERT_LT(0, child);
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	if (killed)
		kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(killed ? SIGKILL : 0, status);
	close(pipes[0]);
	need_delay(slow, 0);
}

TEST_F(concurrent_kill, process_killed)
{
	process_ends(_metadata, &self->slow, true);
	EXPECT_TRUE(pins_return_to(self->pins));
}

TEST_F(concurrent_kill, process_exits)
{
	process_ends(_metadata, &self->slow, false);
	EXPECT_TRUE(pins_return_to(self->pins));
}

/* The pass keeps the session until it returns; its result is as ever. */
TEST_F(concurrent_kill, closed_in_flight)
{
	struct rig *rig = self->rig;
	struct mapped_ram_info info;
	struct pass p;
	int dev = rig->dev;

	need_delay(&self->slow, 1500);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_claimed(&rig->r, PAGES - 1));
	EXPECT_EQ(0, close(dev));
	EXPECT_EQ(-EBADF, mr_info(dev, &info));
	EXPECT_FALSE(pass_done(&p));
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(PAGES, p.save.out_written_pages + p.save.out_zero_pages);
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, model_check(&rig->m));
	EXPECT_TRUE(pins_return_to(self->pins));
	/* For the teardown, which closes it */
	rig->dev = open("/dev/null", O_RDONLY);
}

/* Closed, and not even the bitmaps are mapped any more */
TEST_F(concurrent_kill, unmapped_and_closed_in_flight)
{
	struct rig *rig = self->rig;
	struct pass p;

	need_delay(&self->slow, 1500);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_claimed(&rig->r, PAGES - 1));
	region_unmap_bitmaps(&rig->r);
	close(rig->dev);
	rig->dev = open("/dev/null", O_RDONLY);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(PAGES, p.save.out_written_pages + p.save.out_zero_pages);
	need_delay(&self->slow, 0);
}

TEST_HARNESS_MAIN
