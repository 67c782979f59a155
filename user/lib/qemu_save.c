// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Saving a running QEMU from outside, from the first pass to the last.
 *
 * The virtual machine is paused for a moment between passes: with QEMU's own
 * "stop", which also waits for disk I/O that is under way, since what that still
 * writes to memory leaves no trace in the page tables when it arrives. In this
 * pause the dirty bits are fetched and cleared (softdirty.c says why no page is
 * lost then), and it is decided whether the machine stays stopped for the last
 * pass.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "opts.h"
#include "qemu_guard.h"
#include "qemu_job.h"

#define DOWNTIME_MSEC	300
#define MAX_PASSES	10
/* Of most file systems' work for new space it takes as much for an I/O. */
#define EXTENT_BYTES	(4u << 20)

int qemu_job_at(struct qemu_job *j, enum mram_qemu_phase phase, uint64_t done,
		uint64_t total)
{
	j->at.phase = phase;
	j->at.done = done;
	j->at.total = total;
	return j->o.progress ? j->o.progress(j->o.data, &j->at) : 0;
}

/* For whoever waits for QEMU: nothing new, but does the caller want to go on? */
static int cancelled(void *data)
{
	struct qemu_job *j = data;

	return j->o.progress ? j->o.progress(j->o.data, &j->at) : 0;
}

static int go_on(struct qemu_job *j, enum mram_qemu_phase phase,
		 struct mram_error *err)
{
	if (!qemu_job_at(j, phase, 0, 0))
		return 0;
	return mram_err(err, -ECANCELED, "the caller wants no more");
}

/* ----------------------------------------------------------------- passes */

static int on_pass(void *data, uint64_t done, uint64_t total)
{
	struct qemu_job *j = data;

	return qemu_job_at(j, j->at.phase, done, total);
}

static void add_stats(struct mram_pass_stats *sum,
		      const struct mram_pass_stats *p)
{
	sum->flags |= p->flags;
	sum->dirty += p->dirty;
	sum->written += p->written;
	sum->zero += p->zero;
	sum->bridged += p->bridged;
	sum->bridge = p->bridge;
	sum->ios += p->ios;
	sum->bytes += p->bytes;
	sum->nsec += p->nsec;
}

/*
 * More than one call only when a signal that means nothing to the caller, as
 * being stopped and continued does, ended the one before.
 */
static int pass(struct qemu_job *j, bool last, struct mram_pass_stats *out,
		struct mram_error *err)
{
	struct mram_qemu_pass done = {
		.number = ++j->at.pass,
		.last = last,
		.dirty_rate = j->at.dirty_rate,
		.paused_nsec = j->pause_nsec,
	};
	struct mram_pass_opts o = j->o.pass;
	int ret;

	o.size = sizeof(o);
	o.flags = last ? MRAM_PASS_STOPPED : 0;
	o.progress = on_pass;
	o.progress_data = j;
	qemu_job_at(j, last ? MRAM_QEMU_LAST : MRAM_QEMU_LIVE, 0,
		    (uint64_t)mram_session_count_dirty(j->s, -1));
	do {
		struct mram_pass_stats p = { .size = sizeof(p) };

		ret = mram_session_pass(j->s, &o, &p, err);
		add_stats(&done.stats, &p);
	} while (ret == -EINTR && !cancelled(j));
	if (ret)
		return ret;
	*out = done.stats;
	add_stats(&j->stats.total, &done.stats);
	j->stats.passes = j->at.pass;
	if (j->o.pass_done)
		j->o.pass_done(j->o.data, &done);
	return 0;
}

static int mark(struct qemu_job *j, struct mram_error *err)
{
	if (j->old)
		return qemu_compare_old(j, err);
	return mram_session_mark_dirty(j->s, -1, 0, MRAM_ALL, err);
}

static int clear_and_resume(struct qemu_job *j, struct mram_error *err)
{
	int ret;

	ret = mram_softdirty_clear(j->tracker, err);
	j->clear_time = engine_clock();
	if (!ret)
		ret = qemu_resume(j->q, err);
	j->pause_nsec = engine_clock() - j->stop_time;
	j->stats.paused_nsec += j->pause_nsec;
	if (!ret)
		ret = mram_softdirty_settle(j->tracker, err);
	return ret;
}

/* Would all that is dirty be written within the downtime, at that pass' rate? */
static bool fits(const struct qemu_job *j, const struct mram_pass_stats *last,
		 int64_t dirty)
{
	double rate;

	if (!dirty)
		return true;
	if (!last->nsec || !last->written)
		return false;
	/* Zero pages take time, too, but that errs on the right side. */
	rate = (double)last->written / (double)last->nsec;
	return (double)dirty / rate <= j->o.downtime_msec * 1e6;
}

static int stop_and_fetch(struct qemu_job *j, int64_t *dirty,
			  struct mram_error *err)
{
	uint64_t since;
	int ret;

	j->stop_time = engine_clock();
	ret = qemu_pause(j->q, err);
	if (ret)
		return ret;
	since = engine_clock() - j->clear_time;
	*dirty = mram_softdirty_fetch(j->tracker, err);
	if (*dirty < 0)
		return (int)*dirty;
	*dirty = mram_session_count_dirty(j->s, -1);
	j->at.dirty_rate = (uint64_t)((double)*dirty * 1e9 / (double)since);
	return 0;
}

/* Leaves the machine stopped, with what is left to be written dirty. */
static int live_passes(struct qemu_job *j, struct mram_error *err)
{
	struct mram_pass_stats last;
	int64_t dirty;
	int ret;

	j->stop_time = engine_clock();
	ret = qemu_pause(j->q, err);
	if (!ret)
		ret = clear_and_resume(j, err);
	if (!ret)
		ret = mark(j, err);
	while (!ret) {
		ret = pass(j, false, &last, err);
		if (!ret)
			ret = stop_and_fetch(j, &dirty, err);
		if (ret || j->at.pass + 1 >= j->o.max_passes ||
		    fits(j, &last, dirty))
			break;
		ret = clear_and_resume(j, err);
	}
	j->pause_nsec = 0;
	return ret;
}

static int run(struct qemu_job *j, struct mram_error *err)
{
	struct mram_pass_stats last;
	int ret;

	if (j->tracker) {
		ret = live_passes(j, err);
	} else {
		j->stop_time = engine_clock();
		ret = j->q->runs ? qemu_pause(j->q, err) : 0;
		j->q->resumed = j->q->qmp->resumed;
		if (!ret)
			ret = mark(j, err);
	}
	if (!ret)
		ret = pass(j, true, &last, err);
	if (!ret)
		ret = go_on(j, MRAM_QEMU_STATE, err);
	if (!ret)
		ret = qemu_fetch_state(j->q, &j->state, err);
	if (!ret)
		ret = qemu_still_stopped(j->q, err);
	/* All that the image will hold is in hand. */
	if (!ret && j->q->runs && !(j->o.flags & MRAM_QEMU_STOP))
		ret = qemu_resume(j->q, err);
	if (!ret && j->q->runs)
		j->stats.downtime_nsec = engine_clock() - j->stop_time;
	if (!ret)
		ret = go_on(j, MRAM_QEMU_COMMIT, err);
	return ret ? ret : qemu_commit(j, err);
}

/* ------------------------------------------------------------------ setup */

static int add_regions(struct qemu_job *j, struct mram_error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < j->q->nr_ram; i++) {
		const struct qemu_ram *r = &j->q->ram[i];
		struct mram_region_opts o = MRAM_OPTS(mram_region_opts,
			.flags = MRAM_REGION_HAS_FD,
			.page_size = 4096,
			.fd = r->fd,
			.fd_offset = r->offset);

		ret = mram_session_add_region(j->s, r->id, r->addr, r->size, &o,
					      err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int open_tracker(struct qemu_job *j, struct mram_error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < j->q->nr_ram; i++)
		if (j->q->ram[i].huge)
			return mram_err(err, -EOPNOTSUPP,
					"memory backend '%s' is on hugetlbfs, where writes cannot be followed: it can only be saved stopped, in one pass",
					j->q->ram[i].id);
	ret = mram_softdirty_open(&j->tracker, j->q->qmp->pid, j->s, NULL, err);
	for (i = 0; !ret && i < j->q->nr_ram; i++)
		ret = mram_softdirty_add_file(j->tracker, (int)i,
					      j->q->ram[i].fd,
					      j->q->ram[i].offset, err);
	return ret;
}

static int save(struct qemu_job *j, const char *path, struct mram_error *err)
{
	struct mram_session_opts o = MRAM_OPTS(mram_session_opts,
		.engine = j->o.engine);
	int ret;

	ret = mram_qemu_check_image(j->q, path, err);
	if (!ret)
		ret = mram_session_open(&j->s, path, &o, err);
	if (ret)
		return ret;
	j->stats.engine = mram_session_engine(j->s);
	j->s->layout.roomy = true;
	ret = add_regions(j, err);
	if (!ret && j->o.flags & MRAM_QEMU_UPDATE)
		ret = qemu_open_old(j, path, err);
	if (!ret && j->q->runs && j->o.max_passes > 1)
		ret = open_tracker(j, err);
	if (!ret)
		ret = mram_session_begin(j->s, err);
	if (!ret)
		ret = go_on(j, MRAM_QEMU_BEGUN, err);
	return ret ? ret : run(j, err);
}

static int take_opts(struct qemu_job *j, const struct mram_qemu_save_opts *opts,
		     struct mram_error *err)
{
	struct mram_pass_opts *p = &j->o.pass;
	int ret;

	ret = opts_get(&j->o, sizeof(j->o), opts, "save QEMU", err);
	if (ret)
		return ret;
	if (j->o.flags & ~(MRAM_QEMU_STOP | MRAM_QEMU_UPDATE) ||
	    j->o.reserved || p->flags || p->progress)
		return mram_err(err, -EOPNOTSUPP,
				"save QEMU: unknown flags %#x", j->o.flags);
	if (!j->o.downtime_msec)
		j->o.downtime_msec = DOWNTIME_MSEC;
	if (!j->o.max_passes)
		j->o.max_passes = MAX_PASSES;
	if (!p->max_extent)
		p->max_extent = EXTENT_BYTES;
	return 0;
}

int mram_qemu_save(struct mram_qemu *q, const char *path,
		   const struct mram_qemu_save_opts *opts,
		   struct mram_qemu_save_stats *stats, struct mram_error *err)
{
	struct qemu_guard guard = { 0 };
	struct qemu_job j = { .q = q };
	uint64_t start = engine_clock();
	int ret;

	j.stats.size = sizeof(j.stats);
	j.stats.total.size = sizeof(j.stats.total);
	ret = take_opts(&j, opts, err);
	if (!ret)
		ret = qemu_check(q, err);
	if (!ret && q->runs)
		ret = qemu_guard_start(&guard, q, err);
	if (!ret) {
		q->qmp->cancelled = cancelled;
		q->qmp->cancelled_data = &j;
		ret = save(&j, path, err);
		if (ret)
			qemu_undo(q, err);
		q->qmp->cancelled = NULL;
	}
	qemu_guard_end(&guard);
	mram_softdirty_close(j.tracker);
	mram_image_close(j.old);
	mram_session_close(j.s);
	mram_buf_free(&j.state);
	j.stats.nsec = engine_clock() - start;
	opts_put(stats, &j.stats, sizeof(j.stats));
	return ret;
}
