// SPDX-License-Identifier: GPL-2.0
/*
 * Images, memory and guests for the tests of lazy restores: see common.h.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

const char *const pattern_names[PATTERNS] = {
	"full", "runs", "scattered", "sparse", "empty", "ends",
};

const int guest_kinds[GUEST_KINDS] = {
	MEMORY_PRIVATE, MEMORY_SHARED, MEMORY_MEMFD, MEMORY_HUGE,
};

const char *const guest_names[GUEST_KINDS] = {
	"private", "shared", "memfd", "huge",
};

/* The next page, from @i on, that is to have content; @n takes how many. */
static uint64_t next_run(enum pattern pattern, uint64_t i, uint64_t *n)
{
	*n = 1;
	switch (pattern) {
	case PATTERN_FULL:
		return i;
	case PATTERN_RUNS:
		*n = 1 + random_below(random_below(4) ? 40 : 700);
		return i + random_below(random_below(4) ? 20 : 900);
	case PATTERN_SCATTERED:
		return (i + 3) / 4 * 4;
	case PATTERN_SPARSE:
		*n = 1 + random_below(3);
		return i + random_below(1500);
	case PATTERN_ENDS:
		*n = 16;
		return i ? 32 * MIB / PAGE - 16 + (i > 16) * UINT32_MAX : 0;
	default:
		return UINT64_MAX;
	}
}

/* More would take long to write twice. */
#define STALE_MAX	(64 * MIB)

static struct mram_session *session_of(const struct model *m)
{
	struct mram_session *s = engine_open("pwrite", m->path);

	if (mram_session_add_region(s, "ram", m->p, m->length, NULL,
				    &error) < 0 ||
	    mram_session_begin(s, &error))
		errx(1, "%s", error.message);
	return s;
}

static void save_all(struct mram_session *s)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts,
					    .flags = MRAM_PASS_STOPPED);

	if (mram_session_mark_dirty(s, -1, 0, MRAM_ALL, &error) ||
	    mram_session_pass(s, &o, NULL, &error))
		errx(1, "%s", error.message);
}

static void save_and_end(struct mram_session *s)
{
	save_all(s);
	if (mram_session_commit(s, &error))
		errx(1, "%s", error.message);
	mram_session_close(s);
}

void model_save(const struct model *m)
{
	save_and_end(session_of(m));
}

/* Without such bytes images with zero pages would prove little. */
static void check_stale(const struct model *m)
{
	struct mram_block_info info = { .size = sizeof(info) };
	unsigned char page[PAGE];
	struct mram_image *img;
	uint64_t i = 0;
	int fd;

	if (mram_image_open(&img, m->path, &error) ||
	    mram_image_block(img, 0, &info, &error))
		errx(1, "%s", error.message);
	mram_image_close(img);
	while (i < info.pages && !page_is_zero(m->p + i * PAGE, PAGE))
		i++;
	if (i == info.pages)
		return;
	image_read(m->path, &info, i, page);
	if (page_is_zero(page, PAGE))
		errx(1, "page %llu is zero in the file, too",
		     (unsigned long long)i);
	/* What the library leaves in the cache is looked at. */
	fd = open(m->path, O_RDONLY | O_CLOEXEC);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

struct model model_make(enum pattern pattern, size_t length)
{
	struct model m = { .path = image_path(), .length = length };
	struct mram_session *s;
	uint64_t i, n;

	m.p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m.p == MAP_FAILED)
		err(1, "mmap");
	s = session_of(&m);
	/* What was there once stays in the file where pages are zero later. */
	if (length <= STALE_MAX) {
		memset(m.p, 0xee, length);
		save_all(s);
		memset(m.p, 0, length);
	}
	for (i = 0; (i = next_run(pattern, i, &n)) < length / PAGE; i += n) {
		if (n > length / PAGE - i)
			n = length / PAGE - i;
		random_fill(m.p + i * PAGE, n * PAGE);
		m.set += n;
	}
	save_and_end(s);
	if (length <= STALE_MAX)
		check_stale(&m);
	return m;
}

void model_free(struct model *m)
{
	munmap(m->p, m->length);
	image_remove(m->path);
}

struct memory guest_make(int kind, size_t length)
{
	struct memory m = { .kind = MEMORY_PRIVATE, .length = length, .fd = -1 };

	if (kind != MEMORY_HUGE)
		return memory_make(kind, length);
	m.p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (m.p == MAP_FAILED)
		m.p = NULL;
	return m;
}

static uint64_t step(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

void *toucher_run(void *toucher)
{
	struct toucher *t = toucher;
	uint64_t pages = t->m->length / PAGE, page, i;

	for (i = 0; i < t->count; i++) {
		if (__atomic_load_n(&t->stop, __ATOMIC_RELAXED))
			break;
		page = step(&t->seed) % pages;
		t->wrong += memcmp(t->p + page * PAGE, t->m->p + page * PAGE,
				   PAGE) != 0;
	}
	return NULL;
}

long long differing_page(const struct model *m, const unsigned char *p)
{
	uint64_t i;

	for (i = 0; i < m->length / PAGE; i++)
		if (memcmp(p + i * PAGE, m->p + i * PAGE, PAGE))
			return (long long)i;
	return -1;
}

uint64_t wrong_pages(const unsigned char *want, const unsigned char *p,
		     uint64_t pages, const bool *gone)
{
	uint64_t i, wrong = 0;

	for (i = 0; i < pages; i++, want += PAGE, p += PAGE)
		wrong += gone[i] ? !page_is_zero(p, PAGE) :
				   memcmp(p, want, PAGE) != 0;
	return wrong;
}

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int nr = 0;

	if (!dir)
		err(1, "%s", path);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static void *nothing(void *data)
{
	return data;
}

int threads_now(void)
{
	static bool once;
	pthread_t id;

	/* A sanitizer makes a thread of its own beside the first one. */
	if (!once && (pthread_create(&id, NULL, nothing, NULL) ||
		      pthread_join(id, NULL)))
		errx(1, "no threads");
	if (!once)
		usleep(10000);
	once = true;
	return entries("/proc/self/task");
}

int threads_left(int expected)
{
	int now, i;

	/* One that was joined may still be on its way out. */
	for (i = 0; (now = threads_now()) > expected && i < 1000; i++)
		usleep(1000);
	return now;
}

static __thread sigjmp_buf back;

static void jump_back(int sig)
{
	siglongjmp(back, sig);
}

static int touch_byte(const unsigned char *p, unsigned char *byte)
{
	struct sigaction sa = { .sa_handler = jump_back };
	int sig;

	if (sigaction(SIGBUS, &sa, NULL) || sigaction(SIGSEGV, &sa, NULL))
		err(1, "sigaction");
	sig = sigsetjmp(back, 1);
	if (!sig)
		*byte = *(const volatile unsigned char *)p;
	return sig;
}

int touch(const unsigned char *p)
{
	unsigned char byte;

	return touch_byte(p, &byte);
}

static void *wait_for(void *waiter)
{
	struct waiter *w = waiter;

	w->signal = touch_byte(w->p, &w->byte);
	__atomic_store_n(&w->through, true, __ATOMIC_RELEASE);
	return NULL;
}

void waiter_start(struct waiter *w, const unsigned char *p)
{
	*w = (struct waiter){ .p = p };
	if (pthread_create(&w->id, NULL, wait_for, w))
		errx(1, "no threads");
}

bool waiter_through(const struct waiter *w)
{
	return __atomic_load_n(&w->through, __ATOMIC_ACQUIRE);
}

void waiter_join(struct waiter *w)
{
	pthread_join(w->id, NULL);
}

void hand_over(int sock, int fd, uint64_t addr)
{
	struct iovec iov = { &addr, sizeof(addr) };
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != sizeof(addr))
		_exit(100);
}

int take_over(int sock, uint64_t *addr)
{
	struct iovec iov = { addr, sizeof(*addr) };
	char control[CMSG_SPACE(sizeof(int))];
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != sizeof(*addr) ||
	    !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

bool can_poison(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		err(1, "userfaultfd");
	close(fd);
	/* UFFD_FEATURE_POISON, which headers may not know. */
	return api.features >> 14 & 1;
}

int fds_now(void)
{
	return entries("/proc/self/fd");
}

uint64_t cached_pages(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t count = 0, i;
	unsigned char *core;
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	p = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	core = malloc(st.st_size / PAGE + 1);
	if (p == MAP_FAILED || !core || mincore(p, st.st_size, core))
		err(1, "%s", path);
	for (i = 0; i < (st.st_size + PAGE - 1) / PAGE; i++)
		count += core[i] & 1;
	free(core);
	munmap(p, st.st_size);
	close(fd);
	return count;
}

struct mram_restore_lazy *started(struct mram_image **img,
				  const struct model *m, void *p,
				  const struct mram_restore_lazy_opts *o)
{
	struct mram_restore_lazy *l;

	if (mram_image_open(img, m->path, &error) ||
	    mram_restore_lazy_open(&l, *img, o, &error) ||
	    mram_restore_lazy_add(l, 0, p, m->length, NULL, &error) ||
	    mram_restore_lazy_start(l, &error))
		errx(1, "%s", error.message);
	return l;
}

struct mram_restore_lazy_stats stats_of(struct mram_restore_lazy *l)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };

	mram_restore_lazy_stats(l, &st);
	return st;
}
