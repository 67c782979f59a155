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
#define WINDOW	2
#define BEFORE	7	/* pages that a pass has done when it is cut short */

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

/*
 * Page by page, WINDOW at a time: many windows until the end. The disk holds
 * what comes from page @held on: when this returns, what comes before is saved,
 * and one window is in flight.
 */
static void need_save_held(struct slow_rig *slow, size_t held, struct pass *p,
			   const struct region *r)
{
	need_held(slow, held);
	*p = (struct pass){ .r = r, .cmd = MAPPED_RAM_SAVE };
	p->save = save_args(r, 0, r->nr_pages);
	p->save.window = WINDOW;
	p->save.max_extent = r->page_size;
	need_pass_started(p);
	if (!wait_held(&slow->disk, WINDOW, p))
		need_failed("the pass has ended");
}

static void interrupted_until_done(struct __test_metadata *_metadata,
				   struct slow_rig *slow, int flags)
{
	static const size_t before[] = { 0, 1, BEFORE, 20 };
	struct rig *rig = &slow->rig;
	size_t saved = 0, i;
	struct pass p;

	need_handler(flags);
	for (i = 0; i < ARRAY_LEN(before); i++) {
		need_save_held(slow, saved + before[i], &p, &rig->r);
		EXPECT_EQ(saved + before[i],
			  bits_count(rig->r.file, 0, PAGES));
		pthread_kill(p.thread, SIGUSR1);
		need_delay(slow, 0);
		ASSERT_EQ(-EINTR, pass_wait(&p));
		/* What was in flight when the signal came, and no more */
		EXPECT_EQ(before[i] + WINDOW, p.save.out_written_pages);
		saved += before[i] + WINDOW;
		ASSERT_EQ(0, model_check_union(&rig->m));
		EXPECT_EQ(PAGES - saved, bits_count(rig->r.dirty, 0, PAGES));
	}
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
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
	model_save(&self->rig->m, 0, PAGES, NULL, NULL);
	need_save_held(&self->slow, BEFORE, &p, &self->rig->r);
	pthread_kill(p.thread, SIGUSR1);
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(0, model_check(&self->rig->m));
}

/* Also while waiting for another pass's range */
TEST_F(concurrent_kill, signal_while_waiting)
{
	struct pass first, second;

	need_handler(0);
	need_held(&self->slow, 0);
	need_save_started(&first, &self->rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &first));
	bit_set(self->rig->r.dirty, 5);
	need_save_started(&second, &self->rig->r, 0, PAGES);
	wait_asleep(&second);
	EXPECT_FALSE(pass_done(&second));
	pthread_kill(second.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, pass_wait(&second));
	EXPECT_FALSE(pass_done(&first));
	EXPECT_TRUE(bit_test(self->rig->r.dirty, 5));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&first));
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
	need_held(&self->slow, BEFORE);
	p.load = load_args(&rig->r, 0, PAGES);
	p.load.window = WINDOW;
	p.load.max_extent = page_size();
	need_pass_started(&p);
	ASSERT_TRUE(wait_held(&self->slow.disk, WINDOW, &p));
	pthread_kill(p.thread, SIGUSR1);
	need_delay(&self->slow, 0);
	EXPECT_EQ(-EINTR, pass_wait(&p));
	EXPECT_EQ(BEFORE + WINDOW, p.load.out_read_pages);
	ASSERT_EQ(BEFORE + WINDOW, p.load.out_error_page);
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

	save.window = WINDOW;
	save.max_extent = page_size();
	ioctl(v->rig->dev, MAPPED_RAM_SAVE, &save);
	return 0;
}

TEST_F(concurrent_kill, sigkill)
{
	struct victim v = { .rig = self->rig, .stack = need_guarded(STACK) };
	int status;

	need_held(&self->slow, BEFORE);
	v.pid = clone(victim_main, v.stack + STACK, CLONE_VM | CLONE_FILES |
		      SIGCHLD, &v);
	ASSERT_LT(0, v.pid);
	wait_held(&self->slow.disk, WINDOW, NULL);
	kill(v.pid, SIGKILL);
	need_delay(&self->slow, 0);
	ASSERT_EQ(v.pid, waitpid(v.pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));

	EXPECT_EQ(0, model_check_union(&self->rig->m));
	EXPECT_EQ(PAGES - BEFORE - WINDOW,
		  bits_count(self->rig->r.dirty, 0, PAGES));
	/* The session is usable, and completes it. */
	EXPECT_EQ(0, mr_image_set(self->rig->dev, self->rig->img.fd, 0, NULL));
	EXPECT_EQ(0, rig_save(self->rig, NULL)) TH_LOG("%s", self->rig->m.why);
	EXPECT_TRUE(region_is_saved(&self->rig->r, &self->rig->img));
	guarded_free(v.stack, STACK);
}

/* Until the first thread of a process has ended, whatever the others do */
static void wait_ending(pid_t pid)
{
	char path[32], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (state != 'Z') {
		usleep(1000);
		f = fopen(path, "re");
		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			need_failed("%s: %m", path);
		fclose(f);
	}
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
		need_save_held(slow, BEFORE, &p, &r);
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
	/* Its pass waits for what is in flight, and so for us. */
	wait_ending(child);
	need_delay(slow, 0);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(killed ? SIGKILL : 0, status);
	close(pipes[0]);
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

	need_held(&self->slow, 0);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &p));
	EXPECT_EQ(0, close(dev));
	EXPECT_EQ(-EBADF, mr_info(dev, &info));
	EXPECT_FALSE(pass_done(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(PAGES, p.save.out_written_pages + p.save.out_zero_pages);
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

	need_held(&self->slow, 0);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &p));
	region_unmap_bitmaps(&rig->r);
	close(rig->dev);
	rig->dev = open("/dev/null", O_RDONLY);
	EXPECT_FALSE(pass_done(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(PAGES, p.save.out_written_pages + p.save.out_zero_pages);
}

TEST_HARNESS_MAIN
