// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loading: an image is made once, and loaded as often as asked for.
 *
 * The devices that cost nothing keep nothing either. So what stands before and
 * behind the pages is remembered here as it is written, and read from there:
 * of every engine's job, that many system calls are missing. The pages
 * themselves are read from the device, which leaves the memory as it is. What a
 * job waits until io_uring lets go of the image is found out, and left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/bitmap.h"
#include "bench.h"

/* As much as the region's record and bitmap need, or device state and end. */
#define KEPT	(1ull << 20)

/*
 * struct kept - the ends of the image
 * @on: they are kept
 * @tail: where in the image the second one starts
 */
static struct {
	bool on;
	uint64_t tail;
	unsigned char ends[2][KEPT];
} kept;

/* Where a range of the image is kept, or NULL. */
static unsigned char *kept_at(uint64_t offset, size_t length)
{
	if (!kept.on)
		return NULL;
	if (offset + length <= KEPT)
		return kept.ends[0] + offset;
	if (offset >= kept.tail && offset - kept.tail + length <= KEPT)
		return kept.ends[1] + (offset - kept.tail);
	return NULL;
}

/* The library's calls end here, and not in libc. */
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
	unsigned char *to = kept_at(offset, length);

	if (to)
		memcpy(to, data, length);
	return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset)
{
	unsigned char *from = kept_at(offset, length);
	struct stat st;

	if (!from)
		return syscall(SYS_pread64, fd, data, length, offset);
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		if (offset >= st.st_size)
			return 0;
		if ((off_t)length > st.st_size - offset)
			length = st.st_size - offset;
	}
	memcpy(data, from, length);
	return length;
}

/* The job that is measured, and for how long it has waited for what follows. */
static const struct options *running;
static uint64_t let_go;

/*
 * Before it lets go of a registered file, the kernel waits for ticks of its
 * clock in which nothing runs: no instructions, though this clock counts them.
 */
int io_uring_unregister_files(struct io_uring *ring)
{
	uint64_t start = clock_now();
	int ret;

	if (running)
		perf_tell(running, "disable\n");
	ret = syscall(SYS_io_uring_register, ring->ring_fd,
		      IORING_UNREGISTER_FILES, NULL, 0) < 0 ? -errno : 0;
	if (running)
		perf_tell(running, "enable\n");
	let_go += clock_now() - start;
	return ret;
}

/* An image that holds the pages of the case. */
static void make_image(const struct options *o, const struct memory *m,
		       const struct pattern *p)
{
	struct mram_session_opts so = MRAM_OPTS(mram_session_opts,
						.engine = "pwrite");
	struct mram_session *s;
	struct mram_error err;

	kept.on = true;
	kept.tail = KEPT + m->size;
	if (mram_session_open(&s, o->target, &so, &err) ||
	    mram_session_add_region(s, "pc.ram", m->p, m->size, NULL,
				    &err) < 0 ||
	    mram_session_begin(s, &err) ||
	    mram_session_or_dirty(s, 0, 0, p->dirty, p->pages, &err) ||
	    mram_session_pass(s, NULL, NULL, &err) ||
	    mram_session_commit(s, &err))
		fail("%s", err.message);
	mram_session_close(s);
}

/* As if nobody had touched it. */
static void forget(const struct memory *m)
{
	if (m->fd >= 0 ? fallocate(m->fd, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE, 0, m->size) :
			 madvise(m->p, m->size, MADV_DONTNEED))
		fail("cannot discard memory: %m");
}

/* As most programs read: through the page cache. */
static int read_buffered(struct mram_image *img, const struct memory *m,
			 const char *path, struct mram_restore_stats *st,
			 struct mram_error *err)
{
	struct mram_block_info info = { .size = sizeof(info) };
	const uint64_t step = 1ull << 20;
	uint64_t at;
	int fd;

	if (mram_image_block(img, 0, &info, err))
		return err->code;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("%s: %m", path);
	for (at = 0; at < m->size; at += step) {
		if (pread(fd, m->p + at, step, info.pages_offset + at) !=
		    (ssize_t)step)
			fail("%s: cannot be read: %m", path);
		st->ios++;
		st->bytes += step;
		st->read += step / PAGE;
	}
	close(fd);
	return 0;
}

/* Make the memory that the pages are read into, or map what is there already. */
static void populate(const struct memory *m, const struct pattern *p)
{
	uint64_t page, end;

	for (page = 0; (page = bitmap_next(p->dirty, page, p->pages, 1)) <
		       p->pages; page = end) {
		end = bitmap_next(p->dirty, page, p->pages, 0);
		if (madvise(m->p + page * PAGE, (end - page) * PAGE,
			    MADV_POPULATE_WRITE))
			fail("cannot make memory: %m");
	}
}

static struct job eager(const struct options *o, const struct memory *m,
			const struct pattern *p)
{
	struct mram_restore_stats st = MRAM_OPTS(mram_restore_stats);
	struct mram_restore_opts ro = MRAM_OPTS(mram_restore_opts,
						.engine = o->engine,
						.window = o->window,
						.max_extent = o->max_extent);
	struct job j = { .stats.size = sizeof(j.stats) };
	uint64_t start, in, pass, end;
	struct mram_image *img;
	struct mram_error err;
	int ret;

	if (!strcmp(o->engine, "pread"))
		ro.engine = "pwrite";

	running = o;
	let_go = 0;
	perf_tell(o, "enable\n");
	start = clock_now();
	ret = mram_image_open(&img, o->target, &err);
	in = clock_now();
	if (!ret && !strcmp(o->engine, "buffered"))
		ret = read_buffered(img, m, o->target, &st, &err);
	else if (!ret && !strcmp(o->engine, "populate"))
		st.read = p->dirty_pages;
	else if (!ret)
		ret = mram_image_restore(img, 0, m->p, m->size, &ro, &st, &err);
	if (!ret && (o->mapped || !strcmp(o->engine, "populate")))
		populate(m, p);
	pass = clock_now();
	if (!ret)
		mram_image_close(img);
	end = clock_now();
	running = NULL;
	perf_tell(o, "disable\n");
	if (ret)
		fail("%s", err.message);

	job_parts(&j, start, in, pass - let_go, end - let_go);
	j.stats.written = st.read;
	j.stats.zero = st.zero;
	j.stats.ios = st.ios;
	j.stats.bytes = st.bytes;
	if (st.read != p->dirty_pages)
		fail("%llu pages were read, not %llu",
		     (unsigned long long)st.read,
		     (unsigned long long)p->dirty_pages);
	return j;
}

struct job load_run(const struct options *o, const struct memory *m,
		    const struct pattern *p)
{
	struct job j;

	if (!kept.on)
		make_image(o, m, p);
	if (!o->used)
		forget(m);
	if (o->cache)
		cache_set(o);
	if (o->beside)
		beside_start();
	if (!strncmp(o->engine, "lazy", 4))
		j = lazy_run(o, m, p);
	else if (!strcmp(o->engine, "copy"))
		j = copy_run(o, m, p);
	else if (place_is(o->engine))
		j = place_run(o, m, p);
	else
		j = eager(o, m, p);
	if (o->beside)
		j.flushes = beside_stop();
	if (o->cache)
		j.cached = cache_count(o);
	return j;
}
