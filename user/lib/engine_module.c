// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Engine `module`: the kernel module does the passes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mapped_ram.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitmap.h"
#include "engine.h"
#include "error.h"

struct module {
	struct engine base;
	int fd;
	struct mapped_ram_info info;
};

static struct module *to_module(struct engine *e)
{
	return (struct module *)e;
}

static int open_device(struct mapped_ram_info *info, struct mram_error *err)
{
	int fd, ret;

	fd = open(MAPPED_RAM_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		ret = -errno;
		return mram_err(err, ret, "engine module: %s: %s%s",
				MAPPED_RAM_DEVICE, strerror(errno),
				ret == -ENOENT || ret == -ENODEV ?
				": load mapped_ram.ko" : "");
	}
	*info = (struct mapped_ram_info){ .size = sizeof(*info) };
	if (ioctl(fd, MAPPED_RAM_INFO, info)) {
		ret = mram_err(err, -errno, "engine module: %s: INFO: %s",
			       MAPPED_RAM_DEVICE, strerror(errno));
	} else if (info->out_abi_version != MAPPED_RAM_ABI_VERSION) {
		ret = mram_err(err, -EPROTONOSUPPORT,
			       "engine module: the loaded module speaks ABI version %u, this library %u",
			       info->out_abi_version, MAPPED_RAM_ABI_VERSION);
	} else {
		return fd;
	}
	close(fd);
	return ret;
}

static int probe(struct mram_error *err)
{
	struct mapped_ram_info info;
	int fd = open_device(&info, err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int open_engine(struct engine **out, const struct mram_io *io,
		       bool load, struct mram_error *err)
{
	struct mapped_ram_image_set set = {
		.size = sizeof(set),
		.flags = load ? MAPPED_RAM_IMAGE_LOAD : 0,
		.fd = io->fd,
	};
	struct module *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return mram_err(err, -ENOMEM, "%s: out of memory", io->path);
	m->base.ops = &engine_module;
	m->base.io = io;
	m->fd = open_device(&m->info, err);
	if (m->fd < 0) {
		ret = m->fd;
		goto free;
	}
	if (ioctl(m->fd, MAPPED_RAM_IMAGE_SET, &set)) {
		ret = mram_err(err, -errno,
			       "%s: the module does not take it as an image: %s%s",
			       io->path, strerror(errno),
			       errno == EOPNOTSUPP ?
			       ": its file system cannot do direct I/O; use engine uring or pwrite" :
			       "");
		goto close;
	}
	*out = &m->base;
	return 0;
close:
	close(m->fd);
free:
	free(m);
	return ret;
}

static void *map_bitmap(const struct module *m, size_t size, uint64_t offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd,
		       offset);

	return p == MAP_FAILED ? NULL : p;
}

static void drop_region(const struct module *m, struct engine_region *r)
{
	struct mapped_ram_region_remove remove = {
		.size = sizeof(remove),
		.region_id = r->id,
	};

	if (r->dirty)
		munmap(r->dirty, r->bitmap_size);
	if (r->file)
		munmap(r->file, r->bitmap_size);
	r->dirty = NULL;
	r->file = NULL;
	ioctl(m->fd, MAPPED_RAM_REGION_REMOVE, &remove);
}

static int add_region(struct engine *e, struct engine_region *r,
		      struct mram_error *err)
{
	struct module *m = to_module(e);
	struct mapped_ram_region_add add = {
		.size = sizeof(add),
		.user_addr = (uintptr_t)r->addr,
		.length = r->pages << r->page_shift,
		.pages_offset = r->pages_offset,
		.page_size = 1u << r->page_shift,
	};
	int ret;

	/* A hint: without the feature it is just slower. */
	if (r->flags & MRAM_REGION_PIN &&
	    m->info.out_features & MAPPED_RAM_FEATURE_PIN)
		add.flags |= MAPPED_RAM_REGION_PIN;
	if (ioctl(m->fd, MAPPED_RAM_REGION_ADD, &add)) {
		ret = -errno;
		return mram_err(err, ret,
				"region '%s' (%" PRIu64 " bytes at %p): the module does not take it: %s",
				r->name, r->pages << r->page_shift,
				(void *)r->addr, strerror(-ret));
	}
	r->id = add.out_region_id;
	r->bitmap_size = add.out_bitmap_size;
	r->dirty = map_bitmap(m, r->bitmap_size, add.out_dirty_offset);
	if (r->dirty)
		r->file = map_bitmap(m, r->bitmap_size, add.out_file_offset);
	if (!r->dirty || !r->file) {
		ret = mram_err(err, -errno,
			       "region '%s': cannot map its bitmaps: %s",
			       r->name, strerror(errno));
		drop_region(m, r);
		return ret;
	}
	return 0;
}

static void remove_region(struct engine *e, struct engine_region *r)
{
	drop_region(to_module(e), r);
}

static void close_engine(struct engine *e)
{
	close(to_module(e)->fd);
	free(e);
}

/* "At most" of the caller's, so the module's own limits may cut it. */
static uint32_t at_most(uint32_t value, uint32_t limit)
{
	return value < limit ? value : limit;
}

static uint32_t extent_limit(const struct module *m,
			     const struct engine_region *r,
			     const struct engine_pass *p)
{
	return at_most(p->max_extent, m->info.out_max_extent &
				      ~((1u << r->page_shift) - 1));
}

static void add_flags(struct engine_pass *p, uint32_t out_flags)
{
	if (out_flags & MAPPED_RAM_PASS_OUT_BUFFERED)
		p->flags |= MRAM_STATS_BUFFERED;
	if (out_flags & MAPPED_RAM_PASS_OUT_BOUNCED)
		p->flags |= MRAM_STATS_BOUNCED;
}

static int save_range(struct module *m, struct engine_region *r,
		      struct engine_pass *p, uint64_t first, uint64_t end,
		      struct mram_error *err)
{
	struct mapped_ram_save save = {
		.size = sizeof(save),
		.flags = (p->stopped ? MAPPED_RAM_SAVE_STOPPED : 0) |
			 (p->choose ? MAPPED_RAM_SAVE_BRIDGE_AUTO : 0),
		.region_id = r->id,
		.window = at_most(p->window, m->info.out_max_window),
		.first_page = first,
		.nr_pages = end - first,
		.bridge = at_most(p->bridge, m->info.out_max_bridge),
		.max_extent = extent_limit(m, r, p),
		.out_error_page = MAPPED_RAM_NO_PAGE,
	};
	int ret = 0;

	if (ioctl(m->fd, MAPPED_RAM_SAVE, &save))
		ret = -errno;
	p->moved += save.out_written_pages;
	p->zero += save.out_zero_pages;
	p->bridged += save.out_bridged_pages;
	p->ios += save.out_ios;
	p->bytes += save.out_bytes;
	p->best = save.out_bridge;
	add_flags(p, save.out_flags);
	if (ret)
		return engine_failed(err, "saving", m->base.io, r,
				     save.out_error_page, ret);
	return engine_progress(p, r,
			       save.out_written_pages + save.out_zero_pages);
}

/*
 * The next range to save: from the first dirty word on, in whole words, with
 * about @limit dirty pages or, if that is 0, with all.
 */
static uint64_t next_range(const struct engine_region *r, uint64_t *first,
			   uint64_t limit)
{
	uint64_t words = bitmap_words(r->pages);
	uint64_t w = *first / BITS_PER_WORD;
	uint64_t end = 0, count = 0, bits;

	while (w < words && !bitmap_read(&r->dirty[w]))
		w++;
	*first = w * BITS_PER_WORD;
	if (!limit && w < words) {
		end = words;
		while (end > w && !bitmap_read(&r->dirty[end - 1]))
			end--;
		end *= BITS_PER_WORD;
	}
	for (; w < words && count < limit; w++) {
		bits = bitmap_read(&r->dirty[w]);
		if (!bits)
			continue;
		count += __builtin_popcountll(bits);
		end = (w + 1) * BITS_PER_WORD;
	}
	return end < r->pages ? end : r->pages;
}

static int save(struct engine *e, struct engine_region *r,
		struct engine_pass *p, struct mram_error *err)
{
	uint64_t limit = 0, first = 0, end, page;
	int ret;

	if (p->choose && !(to_module(e)->info.out_features &
			   MAPPED_RAM_FEATURE_BRIDGE_AUTO))
		return mram_err(err, -EOPNOTSUPP,
				"engine module: the loaded module cannot choose the length of bridges: say how many pages");
	/* The module looks at the ranges that it is given; that is not all. */
	ret = engine_check_length(e->io, r, &page);
	if (ret)
		return engine_failed(err, "saving", e->io, r, page, ret);

	/* One call would do, were it not for the caller who wants to know. */
	if (p->progress)
		limit = ENGINE_PROGRESS_BYTES >> r->page_shift;
	while (!ret) {
		end = next_range(r, &first, limit);
		if (first >= end)
			break;
		ret = save_range(to_module(e), r, p, first, end, err);
		first = end;
	}
	return ret;
}

static int load(struct engine *e, struct engine_region *r,
		struct engine_pass *p, struct mram_error *err)
{
	struct module *m = to_module(e);
	struct mapped_ram_load load = {
		.size = sizeof(load),
		.region_id = r->id,
		.window = at_most(p->window, m->info.out_max_window),
		.nr_pages = r->pages,
		.max_extent = extent_limit(m, r, p),
		.out_error_page = MAPPED_RAM_NO_PAGE,
	};
	int ret = 0;

	if (ioctl(m->fd, MAPPED_RAM_LOAD, &load))
		ret = -errno;
	p->moved += load.out_read_pages;
	p->zero += load.out_zero_pages;
	p->ios += load.out_ios;
	p->bytes += load.out_bytes;
	add_flags(p, load.out_flags);
	if (ret)
		return engine_failed(err, "loading", m->base.io, r,
				     load.out_error_page, ret);
	return 0;
}

const struct engine_ops engine_module = {
	.name = "module",
	.probe = probe,
	.open = open_engine,
	.add_region = add_region,
	.remove_region = remove_region,
	.save = save,
	.load = load,
	.close = close_engine,
};
