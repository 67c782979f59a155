// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The threads that serve faults: what the guest touches comes first.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"

/* Read at once, if there is only one thread to serve them. */
#define BATCH	16

struct fault {
	struct lazy_block *b;
	uint64_t unit;
	bool minor;
};

/* ---------------------------------------------------------------- a fault */

/* Streamers wait while this is not 0. */
static void pending(struct mram_restore_lazy *l, int change)
{
	if (__atomic_add_fetch(&l->pending, (uint32_t)change, __ATOMIC_SEQ_CST) ||
	    !__atomic_load_n(&l->waiting, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&l->lock);
	pthread_cond_broadcast(&l->go);
	pthread_mutex_unlock(&l->lock);
}

/* Whoever is told may take his time: others go on. */
static void fail(struct lazy_worker *w, const struct mram_error *err)
{
	lazy_hand_on(w);
	pending(w->l, -1);
	lazy_fail(w, err);
	pending(w->l, 1);
	lazy_take_back(w);
}

/* Its neighbours of the same kind that nobody has yet, in the window around it. */
static void widen(struct lazy_worker *w, struct lazy_chunk *c, uint64_t unit)
{
	const struct lazy_block *b = c->b;
	uint64_t most = w->l->opts.fault_around >> b->unit_shift, start, end;

	c->first = unit;
	c->end = unit + 1;
	if (most < 2)
		return;
	start = unit - unit % most;
	end = b->units - start > most ? start + most : b->units;
	while (c->first > start && !bitmap_test(b->claimed, c->first - 1) &&
	       bitmap_test(b->present, c->first - 1) != c->zero)
		c->first--;
	while (c->end < end && !bitmap_test(b->claimed, c->end) &&
	       bitmap_test(b->present, c->end) != c->zero)
		c->end++;
}

/*
 * An event has to be read before anything can be placed. Faults come out of a
 * userfaultfd before events, so who waits is woken when it is empty.
 */
static void wake_later(struct lazy_worker *w, const struct lazy_block *b,
		       uint64_t first, uint64_t end)
{
	struct lazy_late *late = &w->late[b - w->l->blocks];

	if (late->first == late->end)
		*late = (struct lazy_late){ first, end };
	if (first < late->first)
		late->first = first;
	if (end > late->end)
		late->end = end;
	w->changing = true;
}

static void later(struct lazy_worker *w, const struct lazy_chunk *c)
{
	lazy_give_back(w, c, false);
	wake_later(w, c->b, c->first, c->end);
	lazy_rewind(w->l);
}

static void wake_late(struct lazy_worker *w)
{
	size_t i;

	if (!w->changing)
		return;
	pthread_rwlock_rdlock(&w->l->place);
	for (i = 0; i < w->l->nr_blocks; i++) {
		lazy_wake(w->l, &w->l->blocks[i], w->late[i].first,
			  w->late[i].end);
		w->late[i].first = w->late[i].end = 0;
	}
	pthread_rwlock_unlock(&w->l->place);
	w->changing = false;
}

/*
 * Nobody may see anything else in place of a page that cannot be read: who
 * touches it gets SIGBUS, or goes on waiting.
 */
static void lose(struct lazy_worker *w, struct lazy_chunk *c,
		 const struct mram_error *why)
{
	struct mram_restore_lazy *l = w->l;
	int ret = -EOPNOTSUPP;

	if (!(l->opts.flags & MRAM_LAZY_WAIT) &&
	    lazy_uffd_can_poison(&l->fds[c->b->fd]))
		ret = lazy_place(w, c, LAZY_POISON);
	if (ret == -EAGAIN)
		later(w, c);
	else if (ret)
		lazy_give_back(w, c, false);
	if (!ret && why)
		lazy_lose(l, why);
}

/*
 * A read of several units has failed: each by itself. Whoever waits for one of
 * the others, if it cannot be read either, has to come again.
 */
static void fill_singly(struct lazy_worker *w, const struct lazy_chunk *all,
			uint64_t touched)
{
	struct mram_error first = { 0 }, why;
	uint64_t unit, own;
	struct lazy_chunk c;
	int ret;

	for (unit = all->first; unit < all->end; unit++) {
		if (!lazy_own(all, unit))
			continue;
		c = *all;
		c.own = &own;
		lazy_only(&c, unit);
		ret = lazy_read(w, &c);
		if (!ret)
			ret = lazy_place(w, &c, LAZY_COPY);
		if (ret == -EAGAIN)
			later(w, &c);
		if (!ret || ret == -EAGAIN)
			continue;
		why = w->err;
		if (!first.code)
			first = why;
		if (unit == touched)
			lose(w, &c, &why);
		else
			lazy_give_back(w, &c, true);
	}
	if (first.code)
		fail(w, &first);
}

/* While one piece is placed, no messages can be read anyway. */
static bool takes_long(const struct lazy_chunk *c)
{
	return (c->end - c->first) << c->b->unit_shift > LAZY_PIECE;
}

static void fill(struct lazy_worker *w, struct lazy_chunk *c, uint64_t unit)
{
	int ret;

	if (!c->zero || takes_long(c))
		lazy_hand_on(w);
	if (!c->zero && lazy_read(w, c)) {
		fill_singly(w, c, unit);
		return;
	}
	if (!takes_long(c))
		lazy_take_back(w);
	ret = lazy_place(w, c, c->zero ? LAZY_ZERO : LAZY_COPY);
	if (ret == -EAGAIN) {
		later(w, c);
	} else if (ret) {
		lazy_give_back(w, c, false);
		fail(w, &w->err);
	}
}

static void refill(struct lazy_worker *w, struct lazy_chunk *c)
{
	int ret = lazy_refill(w, c->b, c->first);

	if (ret == -EAGAIN) {
		lazy_only(c, c->first);
		later(w, c);
	} else if (ret) {
		fail(w, &w->err);
	}
}

static void serve(struct lazy_worker *w, const struct fault *f)
{
	struct mram_restore_lazy *l = w->l;
	struct lazy_chunk c = { .b = f->b, .own = w->own };
	struct lazy_block *b = f->b;

	lazy_add(&l->counts.faults, 1);
	if (w->changing) {
		wake_later(w, b, f->unit, f->unit + 1);
		return;
	}
	c.first = f->unit;
	c.end = f->unit + 1;
	c.zero = !bitmap_test(b->present, f->unit);
	if (bitmap_test(b->placed, f->unit)) {
		refill(w, &c);
		return;
	}
	/* The one that has it wakes who waits for it. */
	if (!lazy_claim(&c, LAZY_NO_UNIT)) {
		lazy_add(&l->counts.waited, 1);
		lazy_record_touch(l, b, f->unit, f->unit + 1);
		return;
	}
	if (!c.zero && __atomic_load_n(&l->canceled, __ATOMIC_RELAXED)) {
		lose(w, &c, NULL);
		return;
	}
	widen(w, &c, f->unit);
	lazy_claim(&c, f->unit);
	lazy_record_touch(l, b, c.first, c.end);
	fill(w, &c, f->unit);
}

/* A page that is in the file but not in the page tables. */
static void serve_minor(struct lazy_worker *w, const struct fault *f)
{
	struct mram_restore_lazy *l = w->l;
	const uint64_t size = UINT64_C(1) << f->b->unit_shift;
	uint64_t addr, units;

	lazy_add(&l->counts.faults, 1);
	/* Whoever fills it finds it there, says so, and wakes. */
	if (!bitmap_test(f->b->placed, f->unit) &&
	    bitmap_test(f->b->claimed, f->unit))
		return;
	pthread_rwlock_rdlock(&l->place);
	lazy_keep(l, f->b, f->unit);
	addr = lazy_block_where(f->b, f->unit, &units);
	if (addr && lazy_uffd_continue(l->fds[f->b->fd].fd, addr, size))
		lazy_uffd_wake(l->fds[f->b->fd].fd, addr, size);
	pthread_rwlock_unlock(&l->place);
}

/* --------------------------------------------------------------- messages */

/* With @place held for writing: see lazy.h. Return how many faults there are. */
static unsigned int take_messages(struct lazy_worker *w, struct lazy_fd *fd,
				  const struct uffd_msg *msg, unsigned int nr,
				  struct fault *faults)
{
	unsigned int i, nr_faults = 0;
	const char *note;

	for (i = 0; i < nr; i++, msg++) {
		struct fault *f = &faults[nr_faults];
		uint64_t addr = msg->arg.pagefault.address;

		if (msg->event != UFFD_EVENT_PAGEFAULT) {
			note = lazy_event(w->l, fd, msg);
			if (note)
				w->note = note;
			continue;
		}
		f->b = lazy_block_find(w->l, fd, addr, &f->unit);
		f->minor = msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR;
		if (f->b)
			nr_faults++;
		else if (lazy_behind_fill(w->l, fd, addr))
			w->unknown = addr;
	}
	return nr_faults;
}

/*
 * Who is interrupted while it waits may be found there for a moment longer, also
 * when its memory was left out meanwhile. More often than this it is something
 * else that the memory's owner has put in that place.
 */
#define MAX_STALE	1000

/*
 * The event that memory was moved comes after the faults where it is now. It may
 * not even be there yet: then they are to come once more.
 */
static void look_again(struct lazy_worker *w, const struct lazy_fd *fd)
{
	struct mram_restore_lazy *l = w->l;
	const uint64_t page = UINT64_C(1) << l->page_shift;
	struct lazy_block *b;
	uint64_t unit;
	bool due, known;
	int behind;

	w->resumed = lazy_get(&l->resumed);
	/* Asked before the look: what was read since is taken in by then. */
	due = lazy_uffd_zero(fd->fd, 0, 0) == -EAGAIN;
	pthread_rwlock_rdlock(&l->place);
	b = lazy_block_find(l, fd, w->unknown, &unit);
	behind = lazy_behind_fill(l, fd, w->unknown);
	known = b || due || !behind || behind == -EAGAIN ||
		(lazy_is_left_out(l, fd, w->unknown) && w->stale++ < MAX_STALE);
	if (b)
		lazy_wake(l, b, unit, unit + 1);
	else if (known)
		lazy_uffd_wake(fd->fd, w->unknown & -page, page);
	/* Or it would only be told once more that there is no memory. */
	if (behind != -ENOMEM)
		lazy_behind_wake(l);
	pthread_rwlock_unlock(&l->place);
	if (!known && behind != -ENXIO) {
		mram_err(&w->err, behind,
			 "restore: memory at 0x%" PRIx64 ", from where it was moved away, cannot be made: %s",
			 w->unknown, strerror(-behind));
		fail(w, &w->err);
	} else if (!known) {
		mram_err(&w->err, -EFAULT,
			 "restore: memory at 0x%" PRIx64 " was touched, which is registered but of no block",
			 w->unknown);
		fail(w, &w->err);
	}
	w->unknown = 0;
}

/*
 * Others read on where this thread has handed that on, unless there is something
 * that it has to do when all has been read.
 */
static bool goes_on(const struct lazy_worker *w)
{
	return (w->reads || w->changing || w->unknown) &&
	       !__atomic_load_n(&w->l->hurry, __ATOMIC_RELAXED);
}

/* Return false when there is nothing to be had from it any more. */
static bool serve_fd(struct lazy_worker *w)
{
	struct mram_restore_lazy *l = w->l;
	size_t batch = l->opts.fault_threads == 1 ? BATCH : 1;
	struct lazy_fd *fd = w->fd;
	struct uffd_msg msg[BATCH];
	struct fault faults[BATCH];
	unsigned int nr = 0, i;
	ssize_t got;
	int code;

	do {
		w->resumed = lazy_get(&l->resumed);
		pthread_rwlock_wrlock(&l->place);
		got = read(fd->fd, msg, batch * sizeof(*msg));
		code = got < 0 ? errno : 0;
		lazy_add(&l->counts.calls, 1);
		nr = got <= 0 ? 0 :
		     take_messages(w, fd, msg, (unsigned int)
				   ((size_t)got / sizeof(*msg)), faults);
		pthread_rwlock_unlock(&l->place);
		if (w->note)
			lazy_message(l, "%s", w->note);
		w->note = NULL;
		for (i = 0; i < nr; i++)
			if (faults[i].minor)
				serve_minor(w, &faults[i]);
			else
				serve(w, &faults[i]);
	} while (got > 0 && goes_on(w));
	wake_late(w);
	if (w->unknown)
		look_again(w, fd);
	if (got <= 0 && code != EAGAIN && code != EINTR)
		return false;
	lazy_hand_on(w);
	return true;
}

void *lazy_fault_thread(void *worker)
{
	struct lazy_worker *w = worker;
	struct mram_restore_lazy *l = w->l;
	struct epoll_event e;

	for (;;) {
		lazy_add(&l->counts.calls, 1);
		if (epoll_wait(l->epoll, &e, 1, -1) <= 0)
			continue;
		if (e.data.u64 == l->nr_fds)
			break;
		w->fd = &l->fds[e.data.u64];
		if (!lazy_take(w))
			continue;
		pending(l, 1);
		if (!serve_fd(w)) {
			epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd->fd, NULL);
			mram_err(&w->err, -EIO,
				 "restore: faults cannot be read from userfaultfd %d",
				 w->fd->fd);
			fail(w, &w->err);
		}
		pending(l, -1);
	}
	return NULL;
}
