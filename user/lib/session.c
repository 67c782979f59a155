// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The life of a saving session: open, regions, begin, passes, close.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "image.h"
#include "opts.h"
#include "session.h"

int mram_session_open(struct mram_session **out, const char *path,
		      const struct mram_session_opts *opts,
		      struct mram_error *err)
{
	struct mram_session_opts o;
	struct mram_session *s;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "open session", err);
	if (ret)
		return ret;
	if (o.flags || o.reserved)
		return mram_err(err, -EOPNOTSUPP,
				"%s: unknown session flags %#x", path, o.flags);
	s = calloc(1, sizeof(*s));
	if (!s)
		return mram_err(err, -ENOMEM, "%s: out of memory", path);
	ret = mram_layout_init(&s->layout, o.machine, err);
	if (!ret)
		ret = mram_io_open(&s->io, path, MRAM_IO_WRITE, err);
	if (!ret)
		ret = engine_find(&s->ops, o.engine, s->io, err);
	if (ret) {
		if (s->io && s->io->created)
			unlink(path);
		mram_session_close(s);
		return ret;
	}
	*out = s;
	return 0;
}

static void close_engine(struct mram_session *s)
{
	size_t i;

	if (!s->engine)
		return;
	for (i = 0; i < s->nr_regions; i++)
		if (s->regions[i].dirty)
			s->ops->remove_region(s->engine, &s->regions[i]);
	s->ops->close(s->engine);
	s->engine = NULL;
}

void mram_session_close(struct mram_session *s)
{
	size_t i;

	if (!s)
		return;
	close_engine(s);
	for (i = 0; i < s->nr_regions; i++) {
		free((void *)s->regions[i].name);
		if (s->regions[i].flags & MRAM_REGION_HAS_FD)
			close(s->regions[i].fd);
	}
	session_free_sections(s);
	free(s->regions);
	mram_layout_free(&s->layout);
	mram_io_close(s->io);
	free(s);
}

const char *mram_session_engine(const struct mram_session *s)
{
	return s->ops->name;
}

/*
 * Asking a file for holes moves its offset, and the caller may close its fd:
 * so the region gets an open file of its own, where that can be had.
 */
static int own_fd(int fd)
{
	char path[64];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDONLY | O_CLOEXEC);
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int check_region(const struct mram_session *s, const char *name,
			const void *addr, uint64_t length,
			const struct mram_region_opts *o,
			struct mram_error *err)
{
	uint64_t system_page = sysconf(_SC_PAGESIZE);

	if (s->begun)
		return mram_err(err, -EINVAL,
				"region '%s': regions are added before mram_session_begin()",
				name);
	if (o->flags & ~(MRAM_REGION_PIN | MRAM_REGION_HAS_FD) || o->reserved)
		return mram_err(err, -EOPNOTSUPP,
				"region '%s': unknown flags %#x", name,
				o->flags);
	if (o->page_size & (o->page_size - 1) || o->page_size < system_page)
		return mram_err(err, -EINVAL,
				"region '%s': page size %u is not a power of two from %" PRIu64 " on",
				name, o->page_size, system_page);
	if ((uintptr_t)addr % system_page)
		return mram_err(err, -EINVAL,
				"region '%s': address %p is not a multiple of the page size %" PRIu64,
				name, addr, system_page);
	if ((uintptr_t)addr + length < (uintptr_t)addr)
		return mram_err(err, -EOVERFLOW,
				"region '%s': address %p plus length %" PRIu64 " overflows",
				name, addr, length);
	if (o->page_size % s->io->align || system_page % s->io->mem_align)
		return mram_err(err, -EINVAL,
				"region '%s': %s wants I/O in multiples of %u bytes from memory aligned to %u: use larger pages",
				name, s->io->path, s->io->align,
				s->io->mem_align);
	return 0;
}

int mram_session_add_region(struct mram_session *s, const char *name,
			    void *addr, uint64_t length,
			    const struct mram_region_opts *opts,
			    struct mram_error *err)
{
	struct engine_region *grown, *r;
	struct mram_region_opts o;
	int ret, fd = -1;
	char *copy;

	ret = opts_get(&o, sizeof(o), opts, "add region", err);
	if (ret)
		return ret;
	if (!o.page_size)
		o.page_size = 4096;
	ret = check_region(s, name, addr, length, &o, err);
	if (ret)
		return ret;

	grown = realloc(s->regions, (s->nr_regions + 1) * sizeof(*grown));
	if (!grown)
		return mram_err(err, -ENOMEM, "region '%s': out of memory",
				name);
	s->regions = grown;
	copy = strdup(name);
	if (!copy)
		return mram_err(err, -ENOMEM, "region '%s': out of memory",
				name);
	if (o.flags & MRAM_REGION_HAS_FD) {
		fd = own_fd(o.fd);
		if (fd < 0) {
			ret = mram_err(err, -errno, "region '%s': fd %d: %s",
				       name, o.fd, strerror(errno));
			free(copy);
			return ret;
		}
	}
	ret = mram_layout_add_block(&s->layout, name, length, o.page_size, err);
	if (ret < 0) {
		free(copy);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	r = &s->regions[s->nr_regions];
	*r = (struct engine_region){
		.name = copy,
		.addr = addr,
		.pages = length / o.page_size,
		.page_shift = __builtin_ctz(o.page_size),
		.flags = o.flags,
		.fd = fd,
		.fd_offset = o.fd_offset,
	};
	return s->nr_regions++;
}

/* What can be known to fail is said before the old image loses its magic. */
static int check_room(struct mram_session *s, struct mram_error *err)
{
	struct mram_buf tail = { 0 };
	struct rlimit limit;
	uint64_t need, have;
	int ret;

	ret = mram_stream_tail(&tail, &s->layout, s->sections, s->nr_sections,
			       err);
	need = s->layout.tail_offset + tail.length;
	mram_buf_free(&tail);
	if (ret)
		return ret;
	if (s->io->is_block) {
		ret = mram_io_size(s->io, &have, err);
		if (!ret && have < need)
			ret = mram_err(err, -ENOSPC,
				       "%s: the device has %" PRIu64 " bytes, the image needs %" PRIu64,
				       s->io->path, have, need);
		return ret;
	}
	/* Trying would raise SIGXFSZ. */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < need)
		return mram_err(err, -EFBIG,
				"%s: the image needs %" PRIu64 " bytes, RLIMIT_FSIZE allows %" PRIu64 ": raise it",
				s->io->path, need, (uint64_t)limit.rlim_cur);
	return 0;
}

int mram_session_begin(struct mram_session *s, struct mram_error *err)
{
	size_t i;
	int ret;

	if (s->begun)
		return mram_err(err, -EINVAL, "%s: the session has begun already",
				s->io->path);
	if (!s->nr_regions)
		return mram_err(err, -EINVAL,
				"%s: nothing to save: add regions first",
				s->io->path);
	ret = mram_layout_finish(&s->layout, err);
	if (!ret)
		ret = check_room(s, err);
	if (!ret)
		ret = mram_io_invalidate(s->io, err);
	if (!ret)
		ret = mram_io_resize(s->io, s->layout.tail_offset, err);
	if (!ret)
		ret = s->ops->open(&s->engine, s->io, false, err);
	for (i = 0; !ret && i < s->nr_regions; i++) {
		s->regions[i].pages_offset = s->layout.blocks[i].pages_offset;
		ret = s->ops->add_region(s->engine, &s->regions[i], err);
	}
	if (ret) {
		close_engine(s);
		return ret;
	}
	s->begun = true;
	return 0;
}

struct progress {
	int (*call)(void *data, uint64_t done, uint64_t total);
	void *data;
	uint64_t total;
};

static int progress(void *data, uint64_t done)
{
	struct progress *p = data;

	/* Pages that became dirty meanwhile may have come along. */
	return p->call(p->data, done < p->total ? done : p->total, p->total);
}

static int check_pass(const struct mram_session *s,
		      const struct mram_pass_opts *o, struct mram_error *err)
{
	size_t i;

	if (!s->begun)
		return mram_err(err, -EINVAL,
				"%s: no pass before mram_session_begin()",
				s->io->path);
	if (o->flags & ~MRAM_PASS_STOPPED)
		return mram_err(err, -EOPNOTSUPP, "pass: unknown flags %#x",
				o->flags);
	for (i = 0; i < s->nr_regions; i++)
		if (o->max_extent & ((1ull << s->regions[i].page_shift) - 1))
			return mram_err(err, -EINVAL,
					"pass: max_extent %u is not a multiple of region '%s''s page size %llu",
					o->max_extent, s->regions[i].name,
					1ull << s->regions[i].page_shift);
	return 0;
}

int mram_session_pass(struct mram_session *s, const struct mram_pass_opts *opts,
		      struct mram_pass_stats *stats, struct mram_error *err)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct mram_pass_opts o;
	struct engine_pass p;
	struct progress pr;
	uint64_t start;
	size_t i;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "pass", err);
	if (!ret)
		ret = check_pass(s, &o, err);
	if (!ret)
		ret = session_invalidate(s, err);
	if (ret) {
		opts_put(stats, &st, sizeof(st));
		return ret;
	}

	start = engine_clock();
	st.dirty = mram_session_count_dirty(s, -1);
	pr = (struct progress){ o.progress, o.progress_data, st.dirty };
	p = (struct engine_pass){
		.window = o.window,
		.bridge = o.bridge,
		.choose = o.bridge == MRAM_BRIDGE_AUTO,
		.max_extent = o.max_extent,
		.stopped = o.flags & MRAM_PASS_STOPPED,
		.progress = o.progress ? progress : NULL,
		.progress_data = &pr,
	};
	for (i = 0; !ret && i < s->nr_regions; i++)
		ret = s->ops->save(s->engine, &s->regions[i], &p, err);
	if (ret == -ECANCELED)
		mram_err(err, ret, "%s: the caller stopped the pass",
			 s->io->path);
	if (!ret && o.progress && p.reported != p.done)
		progress(&pr, p.done);

	st.flags = p.flags;
	st.written = p.moved;
	st.zero = p.zero;
	st.bridged = p.bridged;
	st.bridge = p.best;
	st.ios = p.ios;
	st.bytes = p.bytes;
	st.nsec = engine_clock() - start;
	opts_put(stats, &st, sizeof(st));
	return ret;
}
