// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Streaming with one system call for all pages of a read, however they lie, where
 * UFFDIO_COPY takes one for each run of them: ways that the library does not go,
 * written by hand to see what they would take.
 *
 * move		the pages are read straight into memory of our own, what lies
 *		between them elsewhere; one UFFDIO_MOVE passes by what is missing
 * move-copied	all is read to where lazy restores read to; the pages are copied
 *		from there, and moved. Neither is for shared memory.
 * minor	only for shared memory: they are read into a second mapping of it;
 *		then the range is let go of, which makes them appear
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../lib/bitmap.h"
#include "bench.h"

/* Headers may be older than the kernel. */
#ifndef UFFDIO_MOVE
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES	(1ull << 1)
#define UFFD_FEATURE_MOVE	(1 << 16)
#endif

/* A read has two pieces a page at most, and the kernel takes 1024. */
#define MOST_PAGES	512

/* Of an ioctl that gets nowhere: seconds, where it takes a few. */
#define MOST_TRIES	1000000

/**
 * struct place - what place_run() works on
 * @stage: memory of our own that pages are moved out of
 * @between: where what nobody wants is read to, or all of it
 * @second: the memory, mapped once more
 */
struct place {
	struct by_hand h;
	unsigned char *stage;
	unsigned char *between;
	unsigned char *second;
	uint64_t most;
	struct job *j;
};

bool place_is(const char *engine)
{
	return !strcmp(engine, "move") || !strcmp(engine, "move-copied") ||
	       !strcmp(engine, "minor");
}

static unsigned char *map(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Neither is moved: huge pages, and what a child has, too. */
	if (p == MAP_FAILED || madvise(p, size, MADV_NOHUGEPAGE) ||
	    madvise(p, size, MADV_DONTFORK))
		fail("no memory: %m");
	return p;
}

static void count_read(struct place *c, ssize_t got, uint64_t length)
{
	if (got != (ssize_t)length)
		fail("a read ended early: %m");
	c->j->calls++;
	c->j->stats.ios++;
	c->j->stats.bytes += length;
}

/* Pages of the image to where they belong in @to, and not what lies between. */
static void read_pages(struct place *c, uint64_t first, uint64_t end,
		       unsigned char *to)
{
	struct iovec v[2 * MOST_PAGES];
	uint64_t page = first, next;
	int n = 0;

	for (; page < end; page = next) {
		bool wanted = bitmap_test(c->h.bitmap, page);

		next = bitmap_next(c->h.bitmap, page, end, !wanted);
		v[n++] = (struct iovec){
			wanted ? to + (page - first) * PAGE : c->between,
			(next - page) * PAGE,
		};
	}
	count_read(c, preadv(c->h.fd, v, n, c->h.pages_offset + first * PAGE),
		   (end - first) * PAGE);
}

static void read_all(struct place *c, uint64_t first, uint64_t end)
{
	count_read(c, pread(c->h.fd, c->between, (end - first) * PAGE,
			    c->h.pages_offset + first * PAGE),
		   (end - first) * PAGE);
}

static void copy_out(struct place *c, uint64_t first, uint64_t end)
{
	uint64_t page, next;

	for (page = first; page < end; page = next) {
		page = bitmap_next(c->h.bitmap, page, end, 1);
		next = bitmap_next(c->h.bitmap, page, end, 0);
		memcpy(c->stage + (page - first) * PAGE,
		       c->between + (page - first) * PAGE, (next - page) * PAGE);
	}
}

static void move(struct place *c, uint64_t first, uint64_t end)
{
	struct uffdio_move m;
	uint64_t done = 0, length = (end - first) * PAGE, tries = 0;

	while (done < length) {
		m = (struct uffdio_move){
			.dst = (uintptr_t)c->h.m->p + first * PAGE + done,
			.src = (uintptr_t)c->stage + done,
			.len = length - done,
			.mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
		};
		c->j->calls++;
		if (!ioctl(c->h.uffd, UFFDIO_MOVE, &m) || m.move > 0) {
			done += m.move;
			tries = 0;
			continue;
		}
		/* Busy is what the kernel has not let go of since the read. */
		if ((errno != EBUSY && errno != EAGAIN) || ++tries == MOST_TRIES)
			fail("UFFDIO_MOVE: page %llu: %m, after %llu tries",
			     (unsigned long long)(first + done / PAGE),
			     (unsigned long long)tries);
	}
}

/* Nobody may touch the range any more but by the kernel's own hand. */
static void let_go(struct place *c, uint64_t first, uint64_t end)
{
	struct uffdio_range r = {
		.start = (uintptr_t)c->h.m->p + first * PAGE,
		.len = (end - first) * PAGE,
	};

	c->j->calls += 2;
	if (ioctl(c->h.uffd, UFFDIO_UNREGISTER, &r) ||
	    madvise(c->second + first * PAGE, r.len, MADV_DONTNEED))
		fail("UFFDIO_UNREGISTER: %m");
}

static void bring(struct place *c, const struct options *o, uint64_t first,
		  uint64_t end)
{
	if (c->second) {
		read_pages(c, first, end, c->second + first * PAGE);
		let_go(c, first, end);
	} else if (!strcmp(o->engine, "move")) {
		read_pages(c, first, end, c->stage);
		move(c, first, end);
	} else {
		read_all(c, first, end);
		copy_out(c, first, end);
		move(c, first, end);
	}
}

static void stream(struct place *c, const struct options *o, uint64_t pages)
{
	uint64_t first, next, end;

	for (first = 0; first < pages; first = end) {
		first = bitmap_next(c->h.bitmap, first, pages, 1);
		end = pages - first > c->most ? first + c->most : pages;
		next = end;
		/* Not beyond the last page that is wanted. */
		while (next > first && !bitmap_test(c->h.bitmap, next - 1))
			next--;
		if (next > first)
			bring(c, o, first, next);
	}
}

struct job place_run(const struct options *o, const struct memory *m,
		     const struct pattern *p)
{
	bool minor = !strcmp(o->engine, "minor");
	struct job j = { .stats.size = sizeof(j.stats) };
	uint64_t start, in, pass, end, size;
	struct place c = { .j = &j };

	c.most = o->max_extent / PAGE;
	if (!c.most || c.most > MOST_PAGES)
		c.most = MOST_PAGES;
	size = c.most * PAGE;
	perf_tell(o, "enable\n");
	start = clock_now();
	by_hand_open(&c.h, o, m, minor ? UFFD_FEATURE_MISSING_SHMEM |
		     UFFD_FEATURE_MINOR_SHMEM : UFFD_FEATURE_MOVE,
		     UFFDIO_REGISTER_MODE_MISSING |
		     (minor ? UFFDIO_REGISTER_MODE_MINOR : 0));
	c.between = map(size);
	c.stage = minor ? NULL : map(size);
	if (minor) {
		c.second = mmap(NULL, m->size, PROT_READ | PROT_WRITE,
				MAP_SHARED, m->fd, 0);
		if (c.second == MAP_FAILED)
			fail("no memory: %m");
	}
	in = clock_now();
	stream(&c, o, p->pages);
	pass = clock_now();
	munmap(c.between, size);
	if (minor)
		munmap(c.second, m->size);
	else
		munmap(c.stage, size);
	by_hand_close(&c.h);
	end = clock_now();
	perf_tell(o, "disable\n");

	job_parts(&j, start, in, pass, end);
	j.stats.written = p->dirty_pages;
	return j;
}
