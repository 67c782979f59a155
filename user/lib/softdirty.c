// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Dirty bits of another process' memory, from the soft-dirty bits of its page
 * tables: "4" into its clear_refs clears them all and write-protects the pages,
 * the first write to a page sets its bit again, /proc/PID/pagemap shows it.
 * Secondary page tables, as a KVM guest's, are emptied by the same clearing and
 * filled again from these, so what a guest writes is seen like what its VMM's
 * threads write.
 *
 * Why no page is lost. Let F1, C1, F2, C2, ... be fetches and clearings.
 *
 * 1. Between a fetch and the clearing that follows the owner keeps the process
 *    from writing, and nothing that it asked the kernel for is still on its
 *    way into the memory (a disk read into pinned pages sets the bit when it
 *    starts, not when it ends). So a clearing forgets nothing but what the
 *    fetch before it has put into the session.
 * 2. A page whose bit is set is written after the clearing: passes come after
 *    it. Whatever changes once the pass has read it is a write after the
 *    clearing, hence in the next fetch.
 * 3. That needs a page table entry to remember it. One that is gone (shared
 *    memory that was swapped out, a huge page that was split, a hole that was
 *    punched) remembers nothing. So a page without an entry counts as dirty if
 *    the file has data there, or if the image has: then it may be a hole now.
 *
 * What a process has never touched has no entries either, and would be written
 * in each pass: mram_softdirty_settle() lets the process have them, by reading
 * a byte in its name. It runs after the clearing and before the pass, so 2.
 * holds for what it meets.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "hole.h"
#include "opts.h"
#include "procmap.h"
#include "session.h"
#include "softdirty.h"

#define ENTRY_PRESENT	(1ull << 63)
#define ENTRY_SWAPPED	(1ull << 62)
#define ENTRY_SOFTDIRTY	(1ull << 55)

static uint64_t system_page(void)
{
	return sysconf(_SC_PAGESIZE);
}

/*
 * A kernel without soft-dirty bits takes the "4" and shows no page as dirty,
 * ever. Fresh memory is dirty where there are such bits.
 */
static bool kernel_has_it(void)
{
	size_t page = system_page();
	uint64_t entry = 0;
	char *p;
	int fd;

	p = mmap(NULL, page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	*(volatile char *)p = 1;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (pread(fd, &entry, sizeof(entry),
			  (uintptr_t)p / page * sizeof(entry)) !=
		    sizeof(entry))
			entry = 0;
		close(fd);
	}
	munmap(p, page);
	return entry & ENTRY_SOFTDIRTY;
}

static int open_proc(struct mram_softdirty *t, const char *what, int flags,
		     struct mram_error *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)t->pid, what);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return mram_err(err, -errno, "track process %d: %s: %s%s",
				(int)t->pid, path, strerror(errno),
				errno == EACCES || errno == EPERM ?
				": be root, or its user" : "");
	return fd;
}

int mram_softdirty_open(struct mram_softdirty **out, int pid,
			struct mram_session *s,
			const struct mram_softdirty_opts *opts,
			struct mram_error *err)
{
	struct mram_softdirty_opts o;
	struct mram_softdirty *t;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "track a process", err);
	if (ret)
		return ret;
	if (o.flags || o.reserved)
		return mram_err(err, -EOPNOTSUPP,
				"track process %d: unknown flags %#x",
				(int)pid, o.flags);
	if (!kernel_has_it())
		return mram_err(err, -EOPNOTSUPP,
				"track process %d: this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)",
				(int)pid);
	t = calloc(1, sizeof(*t));
	if (!t)
		return mram_err(err, -ENOMEM, "track process %d: out of memory",
				(int)pid);
	t->pid = pid;
	t->session = s;
	t->pagemap = -1;
	t->clear_refs = -1;
	t->page_shift = __builtin_ctzl(system_page());
	t->entries = malloc(SOFTDIRTY_CHUNK * sizeof(*t->entries));
	if (!t->entries) {
		ret = mram_err(err, -ENOMEM, "track process %d: out of memory",
			       (int)pid);
		goto fail;
	}
	ret = t->pagemap = open_proc(t, "pagemap", O_RDONLY, err);
	if (ret >= 0)
		ret = t->clear_refs = open_proc(t, "clear_refs", O_WRONLY, err);
	if (ret < 0)
		goto fail;
	*out = t;
	return 0;
fail:
	mram_softdirty_close(t);
	return ret;
}

void mram_softdirty_close(struct mram_softdirty *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->nr_files; i++) {
		close(t->files[i].fd);
		free(t->files[i].maps);
	}
	free(t->files);
	free(t->entries);
	if (t->pagemap >= 0)
		close(t->pagemap);
	if (t->clear_refs >= 0)
		close(t->clear_refs);
	free(t);
}

/* Keeps of the mappings what shows the region; all of it must be shown. */
static int trim(struct softdirty_file *f, int nr, const struct engine_region *r,
		uint64_t fd_offset, pid_t pid, struct mram_error *err)
{
	uint64_t size = r->pages << r->page_shift, at = 0, low, high;
	bool more = true;
	int i;

	for (i = 0; i < nr; i++) {
		const struct procmap *m = &f->maps[i];

		low = m->offset > fd_offset ? m->offset : fd_offset;
		high = m->offset + m->length;
		if (high > fd_offset + size)
			high = fd_offset + size;
		if (low >= high)
			continue;
		f->maps[f->nr_maps++] = (struct procmap){
			.start = m->start + (low - m->offset),
			.length = high - low,
			.offset = low - fd_offset,
		};
	}
	while (at < size && more)
		for (more = false, i = 0; i < (int)f->nr_maps; i++) {
			const struct procmap *m = &f->maps[i];

			if (m->offset <= at && m->offset + m->length > at) {
				at = m->offset + m->length;
				more = true;
			}
		}
	if (at < size)
		return mram_err(err, -ENXIO,
				"region '%s': process %d does not map its file at offset %" PRIu64 ", shared and writable",
				r->name, (int)pid, fd_offset + at);
	return 0;
}

int mram_softdirty_add_file(struct mram_softdirty *t, int region, int fd,
			    uint64_t fd_offset, struct mram_error *err)
{
	struct softdirty_file f = { .region = region, .offset = fd_offset }, *grown;
	const struct engine_region *r;
	struct statfs fs;
	struct stat st;
	int nr, ret;

	if (region < 0 || (size_t)region >= t->session->nr_regions)
		return mram_err(err, -EINVAL, "track: no region %d, the session has %zu",
				region, t->session->nr_regions);
	r = &t->session->regions[region];
	if (r->page_shift != t->page_shift || fd_offset % system_page())
		return mram_err(err, -EINVAL,
				"region '%s': only pages of %" PRIu64 " bytes can be tracked",
				r->name, system_page());
	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return mram_err(err, -errno, "region '%s': fd %d: %s", r->name,
				fd, strerror(errno));
	/* The clearing passes its pages by. */
	if (fs.f_type == HUGETLBFS_MAGIC)
		return mram_err(err, -EOPNOTSUPP,
				"region '%s': its memory is on hugetlbfs, where the kernel has no soft-dirty bits",
				r->name);
	nr = procmap_find(t->pid, st.st_dev, st.st_ino, &f.maps, err);
	if (nr < 0)
		return nr;
	ret = trim(&f, nr, r, fd_offset, t->pid, err);
	if (ret) {
		free(f.maps);
		return ret;
	}
	f.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	grown = realloc(t->files, (t->nr_files + 1) * sizeof(*grown));
	if (grown)
		t->files = grown;
	if (f.fd < 0 || !grown) {
		ret = mram_err(err, f.fd < 0 ? -errno : -ENOMEM,
			       "region '%s': %s", r->name,
			       f.fd < 0 ? strerror(errno) : "out of memory");
		if (f.fd >= 0)
			close(f.fd);
		free(f.maps);
		return ret;
	}
	t->files[t->nr_files++] = f;
	return 0;
}

int mram_softdirty_clear(struct mram_softdirty *t, struct mram_error *err)
{
	ssize_t n;

	do
		n = pwrite(t->clear_refs, "4\n", 2, 0);
	while (n < 0 && errno == EINTR);
	if (n != 2)
		return mram_err(err, n < 0 ? -errno : -EIO,
				"track process %d: clear_refs: %s",
				(int)t->pid, n < 0 ? strerror(errno) : "not taken");
	return 0;
}

int softdirty_read(struct mram_softdirty *t, uint64_t addr, uint64_t pages,
		   struct mram_error *err)
{
	size_t want = pages * sizeof(*t->entries), done = 0;
	ssize_t n;

	while (done < want) {
		n = pread(t->pagemap, (char *)t->entries + done, want - done,
			  (off_t)((addr >> t->page_shift) *
				  sizeof(*t->entries) + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return mram_err(err, n < 0 ? -errno : -ESRCH,
					"track process %d: its page tables cannot be read: %s",
					(int)t->pid,
					n < 0 ? strerror(errno) : "it has ended");
		done += (size_t)n;
	}
	return 0;
}

/* The entries of @pages pages, from page @first of the region on. */
static int64_t take(struct mram_softdirty *t, const struct softdirty_file *f,
		    struct engine_region *r, uint64_t first, uint64_t pages,
		    struct hole_cursor *c)
{
	uint64_t end = f->offset + (r->pages << r->page_shift);
	int64_t count = 0;
	uint64_t i, page, e;

	for (i = 0; i < pages; i++) {
		e = t->entries[i];
		page = first + i;
		if (!(e & ENTRY_SOFTDIRTY) &&
		    (e & (ENTRY_PRESENT | ENTRY_SWAPPED) ||
		     (!bitmap_test(r->file, page) &&
		      !hole_has_data(c, f->fd, f->offset +
				     (page << r->page_shift), end))))
			continue;
		bitmap_set(r->dirty, page);
		count++;
	}
	return count;
}

static int64_t fetch_file(struct mram_softdirty *t,
			  const struct softdirty_file *f,
			  struct mram_error *err)
{
	struct hole_cursor c = { 0 };
	struct engine_region *r;
	int64_t count = 0;
	size_t i;
	int ret;

	ret = session_region(t->session, f->region, "fetch soft-dirty bits", &r,
			     err);
	for (i = 0; !ret && i < f->nr_maps; i++) {
		const struct procmap *m = &f->maps[i];
		uint64_t pages = m->length >> t->page_shift, at, nr;

		for (at = 0; at < pages; at += nr) {
			nr = pages - at < SOFTDIRTY_CHUNK ? pages - at :
							    SOFTDIRTY_CHUNK;
			ret = softdirty_read(t, m->start + (at << t->page_shift),
					     nr, err);
			if (ret)
				break;
			count += take(t, f, r, (m->offset >> t->page_shift) + at,
				      nr, &c);
		}
	}
	return ret ? ret : count;
}

int64_t mram_softdirty_fetch(struct mram_softdirty *t, struct mram_error *err)
{
	int64_t count = 0, got;
	size_t i;

	for (i = 0; i < t->nr_files; i++) {
		got = fetch_file(t, &t->files[i], err);
		if (got < 0)
			return got;
		count += got;
	}
	return count;
}
