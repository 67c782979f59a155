// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which thread hears of the next fault.
 *
 * One that is woken while another is about to come back for the next fault costs
 * more than that fault: it finds @place held, waits for it and is woken again. So
 * one thread reads a userfaultfd, and others listen only while that one is held
 * up, which reading the image does. Who is back from it reads on, if no other has
 * begun meanwhile.
 *
 * This is about cost only: whoever reads messages serves them, and may at any
 * time. What must hold is that what has not been read is listened for, or that
 * somebody has @taken it.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "lazy.h"

static void listen_for(struct lazy_worker *w, uint32_t events)
{
	struct epoll_event e = {
		.events = events | EPOLLONESHOT,
		.data.u64 = (uint64_t)(w->fd - w->l->fds),
	};

	lazy_add(&w->l->counts.calls, 1);
	epoll_ctl(w->l->epoll, EPOLL_CTL_MOD, w->fd->fd, &e);
}

static bool alone(const struct lazy_worker *w)
{
	return w->l->opts.fault_threads == 1;
}

bool lazy_take(struct lazy_worker *w)
{
	uint32_t no = 0;

	w->reads = alone(w) ||
		   __atomic_compare_exchange_n(&w->fd->taken, &no, 1, false,
					       __ATOMIC_SEQ_CST,
					       __ATOMIC_SEQ_CST);
	return w->reads;
}

/* What has come already wakes somebody, too. */
void lazy_hand_on(struct lazy_worker *w)
{
	if (!w->reads || alone(w))
		return;
	w->reads = false;
	__atomic_store_n(&w->fd->taken, 0, __ATOMIC_SEQ_CST);
	listen_for(w, EPOLLIN);
}

void lazy_take_back(struct lazy_worker *w)
{
	if (!w->reads && lazy_take(w))
		listen_for(w, 0);
}

/* Who is told of a fault has it for itself, until it listens again. */
int lazy_watch(struct mram_restore_lazy *l)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ret = 0;

	if (l->opts.fault_threads > 1)
		e.events |= EPOLLONESHOT;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		return -errno;
	for (e.data.u64 = 0; !ret && e.data.u64 < l->nr_fds; e.data.u64++)
		ret = epoll_ctl(l->epoll, EPOLL_CTL_ADD,
				l->fds[e.data.u64].fd, &e);
	e.events = EPOLLIN;
	if (!ret)
		ret = epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->stop_fd, &e);
	return ret ? -errno : 0;
}
