// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that LOAD writes to the caller's own pages and to no others, and that
 * the kernel is told as if the caller had written to them: what a forked child
 * shares stays as it is for the child; what is tracked (soft-dirty, userfaultfd)
 * or write-protected is treated as written to; a child that is forked while reads
 * are in flight gets none of their pages; and all pins are given back and were
 * counted.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/syscall.h>

#include "loader.h"
#include "harness.h"

#define LENGTH	LOADER_LENGTH

FIXTURE(load_pages) {
	struct loader l;
};

FIXTURE_VARIANT(load_pages) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(load_pages, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(load_pages, thp) { MEM_THP };
FIXTURE_VARIANT_ADD(load_pages, hugetlb) { MEM_HUGETLB };
FIXTURE_VARIANT_ADD(load_pages, memfd) { MEM_MEMFD };

FIXTURE_SETUP(load_pages)
{
	struct mem spare;

	/* A child needs huge pages for its copies, too. */
	if (variant->kind == MEM_HUGETLB) {
		ASSERT_EQ(0, mem_map(&spare, MEM_HUGETLB, 2 * LOADER_LENGTH));
		mem_unmap(&spare);
	}
	need_loader(&self->l, variant->kind);
}

FIXTURE_TEARDOWN(load_pages)
{
	loader_drop(&self->l);
	/* Neither more nor fewer: pins that are not counted are missing here. */
	EXPECT_EQ(self->l.pins, pinned_pages());
}

/* A child that says in the end whether its memory is still the old one */
static pid_t child_that_looks(const struct mem *mem, int *go)
{
	pid_t child;
	char byte;

	if (pipe(go))
		return -1;
	child = fork();
	if (!child) {
		close(go[1]);
		if (read(go[0], &byte, 1) < 0)
			_exit(2);
		_exit(loader_is_old(mem->addr, mem->length) ? 0 : 1);
	}
	close(go[0]);
	return child;
}

static int child_found(pid_t child, const int *go)
{
	int status;

	close(go[1]);
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ?
		WEXITSTATUS(status) : -1;
}

TEST_F(load_pages, again_and_again)
{
	struct loader *l = &self->l;

	need_loader_pinned(l);
	EXPECT_EQ(0, loader_load(l));
	need_loader_pinned(l);
	EXPECT_EQ(0, loader_load(l));
}

TEST_F(load_pages, shared_with_a_child)
{
	struct loader *l = &self->l;
	pid_t child;
	int go[2];

	need_loader_pinned(l);
	child = child_that_looks(&l->mem, go);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, loader_load(l));
	EXPECT_EQ(variant->kind == MEM_MEMFD, child_found(child, go));
}

TEST_F(load_pages, fork_while_reads_are_in_flight)
{
	struct loader *l = &self->l;
	struct pass p;
	pid_t child;
	int go[2];

	/* No zero pages: those are not read. */
	need_loader_full(l);
	ASSERT_EQ(0, flaky_hold_from(&l->disk, RIG_HEAD));
	need_load_started(&p, &l->r, 0, l->nr);
	while (pinned_pages() < l->pins + l->nr && !pass_done(&p))
		usleep(1000);
	child = child_that_looks(&l->mem, go);
	ASSERT_LT(0, child);
	ASSERT_FALSE(pass_done(&p));
	ASSERT_EQ(0, flaky_set_all(&l->disk, FLAKY_PASS, 0));
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LENGTH));
	EXPECT_EQ(variant->kind == MEM_MEMFD, child_found(child, go));
}

TEST_F(load_pages, soft_dirty)
{
	struct loader *l = &self->l;
	const size_t half = l->nr / 2;
	struct mapped_ram_load load = load_args(&l->r, 0, half);
	size_t i, seen = 0, spared = 0;

	/* The kernel keeps none of it. */
	if (variant->kind == MEM_HUGETLB)
		return;
	need_loader_pinned(l);
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "4"));
	ASSERT_FALSE(soft_dirty(l->mem.addr));
	ASSERT_EQ(0, load_pass(&l->r, &load));
	for (i = 0; i < half; i++)
		seen += soft_dirty(region_page(&l->r, i));
	for (i = half; i < l->nr; i++)
		spared += !soft_dirty(region_page(&l->r, i));
	EXPECT_EQ(half, seen);
	EXPECT_EQ(l->nr - half, spared);
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, half * page_size()));
	EXPECT_TRUE(loader_is_old(region_page(&l->r, half), half * page_size()));
}

struct watcher {
	pthread_t thread;
	int uffd;
	int quit[2];
	size_t writes;
	uint64_t length;	/* that is let through at a time */
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct pollfd fds[] = {
		{ .fd = w->uffd, .events = POLLIN },
		{ .fd = w->quit[0], .events = POLLIN },
	};
	struct uffdio_writeprotect wp = { .mode = 0 };
	struct uffd_msg msg;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		if (read(w->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		w->writes++;
		wp.range.start = msg.arg.pagefault.address & -w->length;
		wp.range.len = w->length;
		ioctl(w->uffd, UFFDIO_WRITEPROTECT, &wp);
	}
	return NULL;
}

TEST_F(load_pages, write_protected_by_userfaultfd)
{
	struct loader *l = &self->l;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct uffdio_api api = { .api = UFFD_API };
	struct watcher w = { .length = page_size() };

	if (variant->kind == MEM_THP || variant->kind == MEM_HUGETLB)
		w.length = HUGE_SIZE;
	need_loader_pinned(l);
	w.uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ASSERT_LE(0, w.uffd);
	api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		       1 << 12 /* UFFD_FEATURE_WP_HUGETLBFS_SHMEM */;
	ASSERT_EQ(0, ioctl(w.uffd, UFFDIO_API, &api));
	reg.range.start = (uintptr_t)l->mem.addr;
	reg.range.len = LENGTH;
	ASSERT_EQ(0, ioctl(w.uffd, UFFDIO_REGISTER, &reg));
	wp.range = reg.range;
	ASSERT_EQ(0, ioctl(w.uffd, UFFDIO_WRITEPROTECT, &wp));
	ASSERT_EQ(0, pipe(w.quit));
	ASSERT_EQ(0, pthread_create(&w.thread, NULL, watch, &w));
	EXPECT_EQ(0, loader_load(l));
	ASSERT_EQ(1, write(w.quit[1], "q", 1));
	pthread_join(w.thread, NULL);
	EXPECT_EQ(LENGTH / w.length, w.writes);
	close(w.uffd);
}

TEST_F(load_pages, read_only_and_no_access)
{
	struct loader *l = &self->l;
	const int prots[] = { PROT_READ, PROT_NONE };
	struct mapped_ram_load load;
	size_t i;

	need_loader_pinned(l);
	for (i = 0; i < ARRAY_LEN(prots); i++) {
		/* Half of it: pages before it are pinned when it is met. */
		ASSERT_EQ(0, mprotect(l->mem.addr + HUGE_SIZE, HUGE_SIZE,
				      prots[i]));
		load = load_args(&l->r, 0, l->nr);
		EXPECT_EQ(-EFAULT, load_pass(&l->r, &load));
		EXPECT_EQ(l->nr / 2, load.out_error_page);
		ASSERT_EQ(0, mprotect(l->mem.addr, LENGTH,
				      PROT_READ | PROT_WRITE));
		EXPECT_EQ(0, memcmp(l->mem.addr, l->want, HUGE_SIZE));
		EXPECT_TRUE(loader_is_old(l->mem.addr + HUGE_SIZE, HUGE_SIZE));
	}
	EXPECT_EQ(0, loader_load(l));
}

/*
 * Of a format page only the first half can be pinned. The one before it is read,
 * or fails to be.
 */
TEST_F(load_pages, part_of_a_format_page)
{
	struct loader *l = &self->l;
	const size_t part = 6 * page_size();
	struct mapped_ram_load load;
	struct region r;
	int dev;

	/* Of a huge page no part can be protected. */
	if (variant->kind == MEM_HUGETLB)
		return;
	need_loader_full(l);
	need_loader_pinned(l);
	dev = mr_open();
	ASSERT_LE(0, dev);
	ASSERT_EQ(0, mr_image_set(dev, l->img.fd, MAPPED_RAM_IMAGE_LOAD, NULL));
	ASSERT_EQ(0, region_add(&r, dev, l->mem.addr, LENGTH, RIG_HEAD,
				4 * page_size(), 0));
	bits_set(r.file, 0, l->nr / 4);
	ASSERT_EQ(0, mprotect(l->mem.addr + part, LENGTH - part, PROT_NONE));

	load = load_args(&r, 0, l->nr / 4);
	EXPECT_EQ(-EFAULT, load_pass(&r, &load));
	EXPECT_EQ(1, load.out_error_page);
	EXPECT_EQ(1, load.out_read_pages);
	EXPECT_EQ(l->pins, pinned_pages());

	ASSERT_EQ(0, flaky_set_all(&l->disk, FLAKY_ERROR, 0));
	load = load_args(&r, 0, l->nr / 4);
	load.window = 1;
	EXPECT_EQ(-EIO, load_pass(&r, &load));
	EXPECT_EQ(0, load.out_error_page);
	EXPECT_EQ(l->pins, pinned_pages());
	ASSERT_EQ(0, flaky_set_all(&l->disk, FLAKY_PASS, 0));

	ASSERT_EQ(0, mprotect(l->mem.addr, LENGTH, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, 4 * page_size()));
	EXPECT_TRUE(loader_is_old(l->mem.addr + 4 * page_size(),
				  LENGTH - 4 * page_size()));
	load = load_args(&r, 0, l->nr / 4);
	EXPECT_EQ(0, load_pass(&r, &load));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LENGTH));
	close(dev);
	region_unmap_bitmaps(&r);
}

/* Not many I/Os: pages of a whole chunk are pinned when the first one fails. */
TEST_F(load_pages, what_was_pinned_in_vain_is_given_back)
{
	struct loader *l = &self->l;
	struct mapped_ram_load load = load_args(&l->r, 0, l->nr);

	need_loader_pinned(l);
	ASSERT_EQ(0, flaky_set_all(&l->disk, FLAKY_ERROR, 0));
	load.window = 1;
	load.max_extent = page_size();
	EXPECT_EQ(-EIO, load_pass(&l->r, &load));
	EXPECT_EQ(l->pins, pinned_pages());
	ASSERT_EQ(0, flaky_set_all(&l->disk, FLAKY_PASS, 0));
	EXPECT_EQ(0, loader_load(l));
}

TEST_HARNESS_MAIN
