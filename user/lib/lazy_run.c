// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The threads of a lazy restore: making and ending them, and what they tell the
 * caller.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"

void lazy_message(const struct mram_restore_lazy *l, const char *fmt, ...)
{
	struct mram_error line;
	char text[400];
	va_list ap;

	if (!l->opts.message)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* This takes control characters out. */
	mram_err(&line, 0, "%s", text);
	l->opts.message(l->opts.data, line.message);
}

void lazy_fail(const struct lazy_worker *w, const struct mram_error *err)
{
	struct mram_restore_lazy *l = w->l;
	bool known, again;

	pthread_mutex_lock(&l->lock);
	/* At the very end nobody wants to know any more. */
	known = l->gone || l->stopping;
	pthread_mutex_unlock(&l->lock);
	/* Before a call returns it. */
	if (l->opts.error && !known)
		l->opts.error(l->opts.data, err);
	pthread_mutex_lock(&l->lock);
	if (err->code == -ESRCH)
		l->gone = true;
	again = !l->gone && l->resumed != w->resumed;
	if (!l->error.code && !again)
		l->error = *err;
	pthread_cond_broadcast(&l->done);
	pthread_mutex_unlock(&l->lock);
	if (!again)
		return;
	lazy_rewind(l);
	lazy_wake_all(l);
}

void lazy_lose(struct mram_restore_lazy *l, const struct mram_error *err)
{
	pthread_mutex_lock(&l->lock);
	if (!l->lost.code)
		l->lost = *err;
	pthread_cond_broadcast(&l->done);
	pthread_mutex_unlock(&l->lock);
}

struct timespec lazy_until(int msec)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += msec / 1000;
	t.tv_nsec += msec % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_nsec -= 1000000000L;
		t.tv_sec++;
	}
	return t;
}

void lazy_rewind(struct mram_restore_lazy *l)
{
	pthread_mutex_lock(&l->lock);
	l->next_phase = LAZY_SET_ZERO;
	l->next_block = 0;
	l->next_unit = 0;
	pthread_cond_broadcast(&l->go);
	pthread_mutex_unlock(&l->lock);
}

void lazy_dealt_with(struct mram_restore_lazy *l, uint64_t pages)
{
	if (!pages || __atomic_sub_fetch(&l->counts.left, pages,
					 __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->done);
	pthread_mutex_unlock(&l->lock);
}

/* ---------------------------------------------------------------- threads */

/* The caller's functions are called there, too. */
#define STACK_SIZE	(512u << 10)

static void *map_buffer(size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void free_worker(struct lazy_worker *w)
{
	if (w->buffer)
		munmap(w->buffer, w->size);
	if (w->zero)
		munmap(w->zero, w->zero_size);
	free(w->own);
	free(w->late);
}

static int prepare(struct mram_restore_lazy *l, struct lazy_worker *w)
{
	size_t i, size = w->stream ? l->opts.max_extent : l->opts.fault_around;
	size_t page = (size_t)1 << l->page_shift;

	for (i = 0; i < l->nr_blocks; i++) {
		const struct lazy_block *b = &l->blocks[i];
		size_t unit = (size_t)1 << b->unit_shift;

		if (size < unit)
			size = unit;
		if (b->huge && w->zero_size < unit)
			w->zero_size = unit;
	}
	w->size = size;
	w->buffer = map_buffer(size, PROT_READ | PROT_WRITE);
	w->late = calloc(l->nr_blocks, sizeof(*w->late));
	w->own = calloc(bitmap_words(size / page) + 1, sizeof(*w->own));
	if (w->zero_size)
		w->zero = map_buffer(w->zero_size, PROT_READ);
	if (!w->buffer || !w->own || !w->late || (w->zero_size && !w->zero))
		return -ENOMEM;
	return 0;
}

/*
 * A stack of the usual 8 MiB may get a huge page as soon as it is touched, which
 * has to be cleared first: with a few threads that is what a start took longest.
 */
static int make_thread(struct lazy_worker *w)
{
	void *(*run)(void *) = w->stream ? lazy_stream_thread :
					   lazy_fault_thread;
	pthread_attr_t a;
	int ret;

	ret = pthread_attr_init(&a);
	if (ret)
		return -ret;
	pthread_attr_setstacksize(&a, STACK_SIZE);
	ret = pthread_create(&w->thread, &a, run, w);
	pthread_attr_destroy(&a);
	/* The program's thread-local variables, which lie there, need more. */
	if (ret == EINVAL)
		ret = pthread_create(&w->thread, NULL, run, w);
	return -ret;
}

static int start_worker(struct mram_restore_lazy *l, struct lazy_worker *w)
{
	int ret = prepare(l, w);

	if (!ret)
		ret = make_thread(w);
	w->running = !ret;
	return ret;
}

int lazy_run(struct mram_restore_lazy *l, struct mram_error *err)
{
	size_t nr = (size_t)l->opts.fault_threads + l->opts.stream_threads, i;
	sigset_t all, old;
	int ret = 0;

	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->stop_fd < 0)
		return mram_err(err, -errno, "restore: eventfd: %s",
				strerror(errno));
	l->workers = calloc(nr, sizeof(*l->workers));
	if (!l->workers)
		return mram_err(err, -ENOMEM, "restore: out of memory");
	ret = lazy_watch(l);
	if (ret)
		return mram_err(err, ret, "restore: cannot listen for faults: %s",
				strerror(-ret));
	/* Signals are for the caller's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < nr && !ret; i++) {
		l->workers[i].l = l;
		l->workers[i].stream = i >= l->opts.fault_threads;
		l->nr_workers = i + 1;
		ret = start_worker(l, &l->workers[i]);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return mram_err(err, ret, "restore: cannot make a thread: %s",
				strerror(-ret));
	return 0;
}

static void join(struct mram_restore_lazy *l, bool stream)
{
	size_t i;

	for (i = 0; i < l->nr_workers; i++) {
		struct lazy_worker *w = &l->workers[i];

		if (!w->running || w->stream != stream)
			continue;
		pthread_join(w->thread, NULL);
		w->running = false;
	}
}

void lazy_stop_streaming(struct mram_restore_lazy *l)
{
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_broadcast(&l->go);
	pthread_mutex_unlock(&l->lock);
	__atomic_store_n(&l->hurry, 1, __ATOMIC_RELAXED);
	join(l, true);
}

void lazy_stop(struct mram_restore_lazy *l)
{
	uint64_t one = 1;
	size_t i;

	lazy_stop_streaming(l);
	while (l->stop_fd >= 0 && write(l->stop_fd, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
	join(l, false);
	for (i = 0; i < l->nr_workers; i++)
		free_worker(&l->workers[i]);
	free(l->workers);
	l->workers = NULL;
	l->nr_workers = 0;
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	if (l->epoll >= 0)
		close(l->epoll);
	l->stop_fd = -1;
	l->epoll = -1;
}
