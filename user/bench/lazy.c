// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loading into memory that is used meanwhile: the library's way, and the way
 * that everybody writes first, in its own few lines: a page that is touched is
 * read with one pread(2) and placed with one UFFDIO_COPY, and so are all others.
 * Ways that are neither are in place.c.
 *
 * What is counted is either streaming, with nobody touching anything, or
 * faults: a thread touches every page, in an order without neighbours, and
 * nothing is streamed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/bitmap.h"
#include "bench.h"

/* One after the other, but no two neighbours; all, as this is odd. */
#define STEP	0x9e3779b1ull

static uint64_t touch(const struct memory *m, const struct pattern *p)
{
	uint64_t i, n, sum = 0;

	if (p->pages & (p->pages - 1))
		fail("pages are touched where there is a power of two of them");
	for (i = 0; i < p->pages; i++) {
		n = i * STEP % p->pages;
		if (bitmap_test(p->dirty, n))
			sum += *(volatile unsigned char *)(m->p + n * PAGE);
	}
	return sum;
}

/* ------------------------------------------------------------ the library */

static void report(void *data, const char *text)
{
	(void)data;
	fail("%s", text);
}

struct job lazy_run(const struct options *o, const struct memory *m,
		    const struct pattern *p)
{
	struct mram_restore_lazy_opts lo =
		MRAM_OPTS(mram_restore_lazy_opts, .max_extent = o->max_extent,
			  .flags = o->faults ? MRAM_LAZY_PAUSED : 0,
			  .fault_around = o->around, .message = report,
			  .fault_threads = strcmp(o->engine, "lazy-1") ? 0 : 1);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct job j = { .stats.size = sizeof(j.stats) };
	uint64_t start, in, pass, end;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	struct mram_error err;
	int ret;

	perf_tell(o, "enable\n");
	start = clock_now();
	if (mram_image_open(&img, o->target, &err) ||
	    mram_restore_lazy_open(&l, img, &lo, &err) ||
	    mram_restore_lazy_add(l, 0, m->p, m->size, NULL, &err) ||
	    mram_restore_lazy_start(l, &err))
		fail("%s", err.message);
	in = clock_now();
	if (o->faults)
		touch(m, p);
	ret = mram_restore_lazy_finish(l, &st, &err);
	pass = clock_now();
	mram_restore_lazy_close(l);
	mram_image_close(img);
	end = clock_now();
	perf_tell(o, "disable\n");
	if (ret)
		fail("%s", err.message);

	job_parts(&j, start, in, pass, end);
	j.stats.written = st.read;
	j.stats.ios = st.ios;
	j.stats.bytes = st.bytes;
	j.faults = st.faults;
	j.calls = st.calls;
	if (st.read != p->dirty_pages)
		fail("%llu pages were read, not %llu",
		     (unsigned long long)st.read,
		     (unsigned long long)p->dirty_pages);
	return j;
}

/* ---------------------------------------------------------- page by page */

void by_hand_open(struct by_hand *h, const struct options *o,
		  const struct memory *m, uint64_t features, uint64_t mode)
{
	struct mram_block_info info = { .size = sizeof(info) };
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register r = {
		.range = { .start = (uintptr_t)m->p, .len = m->size },
		.mode = mode,
	};
	struct mram_error err;

	h->m = m;
	if (mram_image_open(&h->img, o->target, &err) ||
	    mram_image_block(h->img, 0, &info, &err) ||
	    mram_image_bitmap(h->img, 0, &h->bitmap, &err))
		fail("%s", err.message);
	h->pages_offset = info.pages_offset;
	h->fd = open(o->target, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (h->fd < 0)
		fail("%s: %m", o->target);
	h->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (h->uffd < 0 || ioctl(h->uffd, UFFDIO_API, &api) ||
	    ioctl(h->uffd, UFFDIO_REGISTER, &r))
		fail("no userfaultfd for the memory: %m");
}

void by_hand_close(struct by_hand *h)
{
	close(h->uffd);
	close(h->fd);
	mram_image_close(h->img);
}

/* What the thread of copy_run() works on. */
struct copier {
	struct by_hand h;
	unsigned char *page;
	struct job *j;
	uint64_t pages;
};

static void copy_page(struct copier *c, uint64_t page)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)c->h.m->p + page * PAGE,
		.src = (uintptr_t)c->page,
		.len = PAGE,
	};

	if (pread(c->h.fd, c->page, PAGE,
		  c->h.pages_offset + page * PAGE) != PAGE ||
	    ioctl(c->h.uffd, UFFDIO_COPY, &copy))
		fail("page %llu: %m", (unsigned long long)page);
	c->j->calls += 2;
	c->j->stats.ios++;
	c->j->stats.bytes += PAGE;
	c->j->stats.written++;
}

static void *serve(void *copier)
{
	struct copier *c = copier;
	struct pollfd p = { .fd = c->h.uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (c->j->stats.written < c->pages) {
		c->j->calls += 2;
		if (poll(&p, 1, -1) < 0 ||
		    read(c->h.uffd, &msg, sizeof(msg)) != sizeof(msg))
			fail("no fault can be read: %m");
		c->j->faults++;
		copy_page(c, (msg.arg.pagefault.address -
			      (uintptr_t)c->h.m->p) / PAGE);
	}
	return NULL;
}

struct job copy_run(const struct options *o, const struct memory *m,
		    const struct pattern *p)
{
	static unsigned char page[PAGE] __attribute__((aligned(PAGE)));
	struct job j = { .stats.size = sizeof(j.stats) };
	struct copier c = { .page = page, .j = &j, .pages = p->dirty_pages };
	uint64_t start, in, pass, end, i;
	pthread_t id;

	perf_tell(o, "enable\n");
	start = clock_now();
	by_hand_open(&c.h, o, m, 0, UFFDIO_REGISTER_MODE_MISSING);
	if (o->faults && pthread_create(&id, NULL, serve, &c))
		fail("no threads");
	in = clock_now();
	if (o->faults) {
		touch(m, p);
		pthread_join(id, NULL);
	}
	for (i = 0; i < p->pages && !o->faults; i++)
		if (bitmap_test(c.h.bitmap, i))
			copy_page(&c, i);
	pass = clock_now();
	by_hand_close(&c.h);
	end = clock_now();
	perf_tell(o, "disable\n");

	job_parts(&j, start, in, pass, end);
	return j;
}
