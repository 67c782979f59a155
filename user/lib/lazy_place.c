// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Placing units: making them appear in memory, once each. See lazy.h for what
 * @place and @placed are for.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"

/* Tries while the mappings change, without sleeping in between. */
#define QUICK_TRIES	100

static bool to_do(const struct lazy_chunk *c, uint64_t unit)
{
	return lazy_own(c, unit) && !bitmap_test(c->b->placed, unit);
}

static void count_call(struct lazy_worker *w)
{
	lazy_add(&w->l->counts.calls, 1);
	if (w->stream)
		lazy_add(&w->l->counts.stream_calls, 1);
}

/* Units are dealt with: that is noted before anybody may discard them. */
static void placed(struct lazy_worker *w, struct lazy_block *b, uint64_t first,
		   uint64_t end, enum lazy_how how)
{
	struct lazy_counts *n = &w->l->counts;
	uint64_t set, clear;

	bitmap_or_range(b->placed, first, end);
	set = lazy_block_count(w->l, b, first, end, &clear);
	if (how == LAZY_POISON) {
		lazy_add(&n->failed, set);
	} else {
		lazy_add(&n->read, set);
		lazy_add(&n->zero, clear);
		if (!w->stream)
			lazy_add(&n->fault_pages, set);
	}
	lazy_set_placed(w->l, b, first, end);
	lazy_dealt_with(w->l, set);
}

/* Somebody else's doing: another process that maps the same file. */
static void existed(struct lazy_worker *w, struct lazy_block *b, uint64_t unit,
		    uint64_t addr)
{
	lazy_keep(w->l, b, unit);
	lazy_uffd_wake(w->l->fds[b->fd].fd, addr, UINT64_C(1) << b->unit_shift);
}

static int64_t zero(struct lazy_worker *w, const struct lazy_block *b,
		    uint64_t addr, uint64_t length)
{
	int fd = w->l->fds[b->fd].fd;

	/* There is no such ioctl for huge pages. */
	if (b->huge)
		return lazy_uffd_copy(fd, addr, w->zero,
				      UINT64_C(1) << b->unit_shift);
	return lazy_uffd_zero(fd, addr, length);
}

static int64_t put(struct lazy_worker *w, const struct lazy_chunk *c,
		   uint64_t unit, uint64_t addr, uint64_t length,
		   enum lazy_how how)
{
	int fd = w->l->fds[c->b->fd].fd;

	count_call(w);
	switch (how) {
	case LAZY_ZERO:
		return zero(w, c->b, addr, length);
	case LAZY_POISON:
		return lazy_uffd_poison(fd, addr, length);
	default:
		return lazy_uffd_copy(fd, addr, w->buffer +
				      ((unit - c->first) << c->b->unit_shift),
				      length);
	}
}

/*
 * Place what lies together from *@at on, at most @most units. Moves *@at behind
 * what is dealt with. With @place held.
 */
static int place_piece(struct lazy_worker *w, const struct lazy_chunk *c,
		       uint64_t *at, uint64_t most, enum lazy_how how)
{
	struct lazy_block *b = c->b;
	uint64_t first = *at, end, addr, units;
	int64_t ret;

	while (first < c->end && !to_do(c, first))
		first++;
	*at = first;
	if (first == c->end)
		return 0;
	addr = lazy_block_where(b, first, &units);
	if (units > most)
		units = most;
	for (end = first; end < c->end && end - first < units &&
	     to_do(c, end); end++)
		;
	if (!addr) {
		lazy_discard(w->l, b, first, end);
		*at = end;
		return 0;
	}
	ret = put(w, c, first, addr, (end - first) << b->unit_shift, how);
	if (ret > 0) {
		*at = first + ((uint64_t)ret >> b->unit_shift);
		placed(w, b, first, *at, how);
		return 0;
	}
	if (ret != -EEXIST)
		return ret ? (int)ret : -EIO;
	existed(w, b, first, addr);
	*at = first + 1;
	return 0;
}

static int err_place(struct lazy_worker *w, const struct lazy_block *b,
		     uint64_t unit, int code)
{
	const char *why = strerror(-code);

	if (code == -ESRCH)
		why = "the process whose memory it is has ended";
	else if (code == -ENOENT || code == -EINVAL)
		why = "nothing is mapped there, or it is not registered with the userfaultfd";
	else if (code == -ENOMEM)
		why = "no memory, or no huge page, is left for it";
	return mram_err(&w->err, code,
			"block '%s': page %" PRIu64 " cannot be put in place: %s",
			b->name, unit << b->unit_shift >> b->page_shift, why);
}

/*
 * The mappings change: the event about it has to be read first, by a fault
 * thread, perhaps by this one. Return false when it is no use to wait here.
 */
static bool try_again(struct lazy_worker *w, unsigned int tries)
{
	if (!w->stream || __atomic_load_n(&w->l->hurry, __ATOMIC_RELAXED))
		return false;
	if (tries < QUICK_TRIES)
		sched_yield();
	else
		usleep(200);
	return true;
}

int lazy_place(struct lazy_worker *w, const struct lazy_chunk *c,
	       enum lazy_how how)
{
	const uint64_t piece = LAZY_PIECE >> c->b->unit_shift;
	uint64_t at = c->first, most = piece ? piece : 1;
	unsigned int tries = 0;
	int ret;

	while (at < c->end) {
		pthread_rwlock_rdlock(&w->l->place);
		ret = place_piece(w, c, &at, most, how);
		pthread_rwlock_unlock(&w->l->place);
		if (ret == -EAGAIN && try_again(w, tries++))
			continue;
		/* One call cannot cross from one mapping into the next. */
		if ((ret == -ENOENT || ret == -EINVAL) && most > 1) {
			most = 1;
			continue;
		}
		if (ret)
			return err_place(w, c->b, at, ret);
		tries = 0;
	}
	return 0;
}

int lazy_refill(struct lazy_worker *w, struct lazy_block *b, uint64_t unit)
{
	const uint64_t size = UINT64_C(1) << b->unit_shift;
	uint64_t addr, units;
	int64_t ret = 0;

	pthread_rwlock_rdlock(&w->l->place);
	addr = lazy_block_where(b, unit, &units);
	if (addr) {
		count_call(w);
		ret = zero(w, b, addr, size);
	}
	/* It was there: who waits has seen what was before. */
	if (ret == -EEXIST) {
		lazy_uffd_wake(w->l->fds[b->fd].fd, addr, size);
		ret = 0;
	}
	pthread_rwlock_unlock(&w->l->place);
	return ret < 0 ? err_place(w, b, unit, (int)ret) : 0;
}
