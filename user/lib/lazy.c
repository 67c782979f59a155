// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Restoring memory while it is used: the calls, but for adding blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "error.h"
#include "image.h"
#include "lazy.h"
#include "opts.h"

#define DEFAULT_EXTENT	(1u << 20)
#define DEFAULT_AROUND	(64u << 10)
#define MAX_THREADS	64u

static int get_opts(struct mram_restore_lazy *l,
		    const struct mram_restore_lazy_opts *opts,
		    struct mram_error *err)
{
	struct mram_restore_lazy_opts *o = &l->opts;
	uint32_t page = UINT32_C(1) << l->page_shift;
	int ret;

	ret = opts_get(o, sizeof(*o), opts, "restore", err);
	if (ret)
		return ret;
	if (o->flags & ~(MRAM_LAZY_PAUSED | MRAM_LAZY_WAIT |
			 MRAM_LAZY_TAKE_OVER) || o->reserved)
		return mram_err(err, -EOPNOTSUPP,
				"restore: unknown flags %#x", o->flags);
	if (o->fault_threads > MAX_THREADS || o->stream_threads > MAX_THREADS)
		return mram_err(err, -EINVAL,
				"restore: %u and %u threads, expected at most %u each",
				o->fault_threads, o->stream_threads,
				MAX_THREADS);
	if (!o->fault_threads)
		o->fault_threads = 2;
	if (!o->stream_threads)
		o->stream_threads = 4;
	if (!o->max_extent)
		o->max_extent = DEFAULT_EXTENT;
	if (!o->fault_around)
		o->fault_around = DEFAULT_AROUND;
	if (o->fault_around < page)
		o->fault_around = page;
	if (o->max_extent % page || o->max_extent > LAZY_MAX_EXTENT)
		return mram_err(err, -EINVAL,
				"restore: max_extent is %u, expected a multiple of %u up to %u",
				o->max_extent, page, LAZY_MAX_EXTENT);
	if (o->fault_around % page || o->fault_around > LAZY_MAX_EXTENT)
		return mram_err(err, -EINVAL,
				"restore: fault_around is %u, expected 1 or a multiple of %u up to %u",
				o->fault_around, page, LAZY_MAX_EXTENT);
	return 0;
}

static int copy_path(char **to, const char *from, struct mram_error *err)
{
	if (!from)
		return 0;
	*to = strdup(from);
	return *to ? 0 : mram_err(err, -ENOMEM, "restore: out of memory");
}

/* Whoever reads events goes before all who place pages. */
static void make_locks(struct mram_restore_lazy *l)
{
	pthread_rwlockattr_t rw;
	pthread_condattr_t c;

	pthread_rwlockattr_init(&rw);
	pthread_rwlockattr_setkind_np(&rw,
			PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->place, &rw);
	pthread_rwlockattr_destroy(&rw);
	pthread_condattr_init(&c);
	pthread_condattr_setclock(&c, CLOCK_MONOTONIC);
	pthread_cond_init(&l->go, &c);
	pthread_cond_init(&l->done, &c);
	pthread_condattr_destroy(&c);
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->record.lock, NULL);
}

int mram_restore_lazy_open(struct mram_restore_lazy **out,
			   struct mram_image *img,
			   const struct mram_restore_lazy_opts *opts,
			   struct mram_error *err)
{
	struct mram_restore_lazy *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return mram_err(err, -ENOMEM, "restore: out of memory");
	l->img = img;
	l->io = mram_image_io(img);
	l->page_shift = (unsigned int)__builtin_ctzl(
				(unsigned long)sysconf(_SC_PAGESIZE));
	l->stop_fd = -1;
	l->epoll = -1;
	make_locks(l);
	ret = get_opts(l, opts, err);
	if (!ret)
		ret = copy_path(&l->record.path, l->opts.record, err);
	if (!ret)
		ret = copy_path(&l->working_set, l->opts.working_set, err);
	if (ret) {
		mram_restore_lazy_close(l);
		return ret;
	}
	l->paused = l->opts.flags & MRAM_LAZY_PAUSED;
	*out = l;
	return 0;
}

int mram_restore_lazy_start(struct mram_restore_lazy *l, struct mram_error *err)
{
	size_t i;
	int ret;

	if (l->started)
		return mram_err(err, -EBUSY, "restore: it has been started");
	if (!l->nr_blocks)
		return mram_err(err, -EINVAL, "restore: no block was added");
	l->start_time = engine_clock();
	/* There is no way back from what follows. */
	l->started = true;
	ret = lazy_map(l, err);
	if (!ret) {
		for (i = 0; i < l->nr_blocks; i++) {
			const struct lazy_block *b = &l->blocks[i];

			l->pages += b->length >> l->page_shift;
			l->counts.left += b->pages;
		}
		lazy_set_read(l);
		ret = lazy_run(l, err);
	}
	if (!ret)
		return 0;
	lazy_stop(l);
	lazy_unmap(l, false);
	l->finished = true;
	return ret;
}

void mram_restore_lazy_pause(struct mram_restore_lazy *l)
{
	pthread_mutex_lock(&l->lock);
	l->paused = true;
	pthread_mutex_unlock(&l->lock);
}

void mram_restore_lazy_resume(struct mram_restore_lazy *l)
{
	pthread_mutex_lock(&l->lock);
	l->paused = false;
	lazy_add(&l->resumed, 1);
	if (l->error.code && !l->gone)
		memset(&l->error, 0, sizeof(l->error));
	pthread_mutex_unlock(&l->lock);
	lazy_rewind(l);
	/* Who waits for a page that could not be read. */
	lazy_wake_all(l);
}

void mram_restore_lazy_cancel(struct mram_restore_lazy *l)
{
	pthread_mutex_lock(&l->lock);
	__atomic_store_n(&l->canceled, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&l->done);
	pthread_mutex_unlock(&l->lock);
	lazy_wake_all(l);
}

void mram_restore_lazy_stats(struct mram_restore_lazy *l,
			     struct mram_restore_lazy_stats *stats)
{
	const struct lazy_counts *n = &l->counts;
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };

	/*
	 * These first: who brings in pages counts them in what follows before
	 * they are no longer left.
	 */
	st.left = __atomic_load_n(&n->left, __ATOMIC_ACQUIRE);
	st.set_left = __atomic_load_n(&n->set_left, __ATOMIC_ACQUIRE);
	st.pages = l->pages;
	st.read = lazy_get(&n->read);
	st.zero = lazy_get(&n->zero);
	st.discarded = lazy_get(&n->discarded);
	st.existed = lazy_get(&n->existed);
	st.failed = lazy_get(&n->failed);
	st.working_set = l->named;
	st.faults = lazy_get(&n->faults);
	st.waited = lazy_get(&n->waited);
	st.fault_pages = lazy_get(&n->fault_pages);
	st.ios = lazy_get(&n->ios);
	st.bytes = lazy_get(&n->bytes);
	st.calls = lazy_get(&n->calls);
	st.stream_calls = lazy_get(&n->stream_calls);
	st.method = "copy";
	if (!l->io->direct && st.ios)
		st.flags |= MRAM_STATS_BUFFERED;
	if (l->has_set)
		st.flags |= MRAM_LAZY_STATS_WORKING_SET;
	pthread_mutex_lock(&l->lock);
	if (l->paused)
		st.flags |= MRAM_LAZY_STATS_PAUSED;
	if (l->start_time)
		st.nsec = (l->end_time ? l->end_time : engine_clock()) -
			  l->start_time;
	pthread_mutex_unlock(&l->lock);
	opts_put(stats, &st, sizeof(st));
}

/* --------------------------------------------------------------- the end */

/* With @lock held. -EINPROGRESS: not yet. */
static int state(const struct mram_restore_lazy *l, struct mram_error *err)
{
	bool left = lazy_get(&l->counts.left);
	const struct mram_error *e = left ? &l->error : &l->lost;

	if (!left && !e->code && !lazy_get(&l->counts.failed))
		return 0;
	if (l->canceled && (left || !e->code))
		return mram_err(err, -ECANCELED, "restore: canceled");
	if (!e->code)
		return -EINPROGRESS;
	if (err)
		*err = *e;
	return e->code;
}

int mram_restore_lazy_wait(struct mram_restore_lazy *l, int msec,
			   struct mram_error *err)
{
	struct timespec until;
	int ret;

	if (!l->started)
		return mram_err(err, -EINVAL, "restore: it was not started");
	until = lazy_until(msec);
	pthread_mutex_lock(&l->lock);
	while ((ret = state(l, err)) == -EINPROGRESS) {
		if (msec < 0)
			pthread_cond_wait(&l->done, &l->lock);
		else if (pthread_cond_timedwait(&l->done, &l->lock, &until) ==
			 ETIMEDOUT)
			break;
	}
	if (ret == -EINPROGRESS)
		ret = state(l, err);
	pthread_mutex_unlock(&l->lock);
	if (ret == -EINPROGRESS)
		return mram_err(err, -ETIMEDOUT,
				"restore: %" PRIu64 " pages are still to be read",
				lazy_get(&l->counts.left));
	return ret;
}

/* The page cache shall not be left with what nobody reads again. */
static void drop_cache(const struct mram_restore_lazy *l)
{
	if (!l->io->direct)
		posix_fadvise(l->io->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void let_go(struct mram_restore_lazy *l)
{
	lazy_stop(l);
	lazy_unmap(l, false);
	drop_cache(l);
	pthread_mutex_lock(&l->lock);
	l->end_time = engine_clock();
	pthread_mutex_unlock(&l->lock);
	l->finished = true;
}

int mram_restore_lazy_finish(struct mram_restore_lazy *l,
			     struct mram_restore_lazy_stats *stats,
			     struct mram_error *err)
{
	struct mram_error why;
	int ret = 0;

	if (!l->finished) {
		pthread_mutex_lock(&l->lock);
		l->paused = false;
		pthread_cond_broadcast(&l->go);
		pthread_mutex_unlock(&l->lock);
		ret = mram_restore_lazy_wait(l, -1, err);
	}
	if (!ret && !l->finished) {
		let_go(l);
		if (lazy_record_write(l, &why))
			lazy_message(l, "%s", why.message);
	}
	mram_restore_lazy_stats(l, stats);
	return ret;
}

/*
 * Not all is there. What is missing would be zero as soon as nobody serves it
 * any more: nobody may see that.
 */
static bool break_off(struct mram_restore_lazy *l)
{
	bool safe;

	/* Nothing is placed any more, and what happens is still heard of. */
	lazy_stop_streaming(l);
	safe = lazy_forbid(l);
	lazy_stop(l);
	/* Another process' memory stays registered: who waits goes on waiting. */
	if (safe)
		lazy_unmap(l, true);
	else
		lazy_message(l, "memory that is missing cannot be made inaccessible: whoever touches it waits for ever");
	drop_cache(l);
	return safe;
}

void mram_restore_lazy_close(struct mram_restore_lazy *l)
{
	bool safe = true;
	size_t i;

	if (!l)
		return;
	if (l->started && !l->finished) {
		if (lazy_get(&l->counts.left))
			safe = break_off(l);
		else
			let_go(l);
	}
	/* Closing one is letting go of its memory. */
	for (i = 0; i < l->nr_fds; i++)
		if (l->fds[i].own && safe)
			close(l->fds[i].fd);
	for (i = 0; i < l->nr_blocks; i++)
		lazy_block_free(&l->blocks[i]);
	free(l->blocks);
	free(l->fds);
	free(l->record.path);
	free(l->record.run);
	free(l->working_set);
	pthread_rwlock_destroy(&l->place);
	pthread_cond_destroy(&l->go);
	pthread_cond_destroy(&l->done);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->record.lock);
	free(l);
}
