// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The length of bridges in passes of the engines in user space: what
 * kmod/bridge.c wants from around it, the clock and the waiting.
 */
#include "bitmap.h"
#include "choose.h"

static uint32_t in_pages(const struct mover *m, uint32_t units)
{
	units >>= m->r->page_shift - MRAM_BRIDGE_SHIFT;
	return units < m->p->bridge ? units : m->p->bridge;
}

static void set_bridge(struct mover *m)
{
	if (!m->p->choose)
		m->bridge = m->p->bridge;
	else if (!m->trial.on)
		m->bridge = in_pages(m, m->known.best);
	else
		m->bridge = m->trial.way == MRAM_BRIDGE_JOINED ?
			    m->p->bridge : 0;
}

/* A part of a trial is over. */
static void settle(struct mover *m, bool leave)
{
	m->ops->drain(m);
	mram_bridge_settle(&m->known, &m->trial, m->error, engine_clock());
	if (leave)
		m->trial.on = false;
	set_bridge(m);
}

static bool may_bridge_any(const struct mover *m, uint64_t words)
{
	uint64_t i;

	for (i = 0; i < words; i++)
		if (bitmap_read(&m->r->file[m->base_word + i]) &
		    ~m->claimed[i] & ~m->none[i])
			return true;
	return false;
}

void choose_start(struct mover *m)
{
	m->trial.on = false;
	set_bridge(m);
}

void choose_batch(struct mover *m, uint64_t words)
{
	if (!m->p->choose)
		return;
	if (!may_bridge_any(m, words)) {
		choose_end(m);
	} else if (m->trial.on) {
		choose_resume(m);
	} else if (mram_bridge_due(&m->known, engine_clock())) {
		m->ops->drain(m);
		mram_bridge_start(&m->known, &m->trial, m->window,
				  engine_clock());
		set_bridge(m);
	}
}

void choose_counted(struct mover *m, uint64_t pages)
{
	if (m->trial.on &&
	    mram_bridge_count(&m->trial, pages << (m->r->page_shift -
						   MRAM_BRIDGE_SHIFT)))
		settle(m, false);
}

void choose_pause(struct mover *m)
{
	if (m->trial.on)
		mram_bridge_pause(&m->trial, engine_clock());
}

void choose_resume(struct mover *m)
{
	if (m->trial.on)
		mram_bridge_resume(&m->trial, engine_clock());
}

void choose_end(struct mover *m)
{
	if (!m->trial.on)
		return;
	choose_resume(m);
	settle(m, true);
}
