// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Restoring into a QEMU that waits for an incoming migration: its shared memory
 * is filled past it, then it is handed all else and goes on.
 *
 * Until that handing over, QEMU has noticed nothing, and the job may be tried
 * again. From then on QEMU either has the machine or has to be started anew.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"
#include "error.h"
#include "opts.h"
#include "qemu_incoming.h"

#define FD_NAME		"mapped-ram"
/* From the end of the stream to the end of the migration. */
#define END_MSEC	2
#define END_TRIES	15000
/* "exit-on-error" is known from here on. */
#define VERSION_KEEP	9001000

/**
 * struct job - a restore
 * @m: the image and the QEMU
 * @o: how
 * @stats: what was done
 * @begun: when QEMU was told to load; from then on there is no way back
 * @done: pages of all backends that are dealt with
 * @total: pages of all backends
 */
struct job {
	struct qemu_match m;
	struct mram_qemu_restore_opts o;
	struct mram_qemu_restore_stats stats;
	uint64_t begun;
	uint64_t done;
	uint64_t total;
};

static int report(struct job *j, uint64_t more)
{
	return j->o.progress ? j->o.progress(j->o.progress_data, j->done + more,
					     j->total) : 0;
}

static int on_pages(void *data, uint64_t done, uint64_t total)
{
	(void)total;
	return report(data, done);
}

static int cancelled(void *data)
{
	return report(data, 0);
}

/* ----------------------------------------------------------------- memory */

/*
 * More than one try only when a signal that means nothing to the caller, as
 * being stopped and continued does, ended the one before.
 */
static int fill(struct job *j, int index, struct mram_error *err)
{
	const struct qemu_place *p = &j->m.places[index];
	struct mram_restore_opts o = MRAM_OPTS(mram_restore_opts,
		.window = j->o.window, .engine = j->o.engine,
		.max_extent = j->o.max_extent, .progress = on_pages,
		.progress_data = j);
	struct mram_restore_stats st = { .size = sizeof(st) };
	int ret;

	do
		ret = mram_image_restore(j->m.img, index, p->ram->addr,
					 p->ram->size, &o, &st, err);
	while (ret == -EINTR && !report(j, 0));
	j->stats.read += st.read;
	j->stats.zero += st.zero;
	j->stats.ios += st.ios;
	j->stats.bytes += st.bytes;
	j->stats.engine = st.engine;
	j->done += p->block->pages;
	return ret;
}

static int fill_all(struct job *j, struct mram_error *err)
{
	size_t i, nr = j->m.img->nr_blocks;
	int ret = 0;

	for (i = 0; i < nr; i++)
		if (j->m.places[i].ram)
			j->total += j->m.places[i].block->pages;
	for (i = 0; !ret && i < nr; i++)
		if (j->m.places[i].ram)
			ret = fill(j, (int)i, err);
	if (!ret && report(j, 0))
		ret = mram_err(err, -ECANCELED, "the caller wants no more");
	return ret;
}

/* -------------------------------------------------------------- migration */

static int begin_incoming(struct job *j, struct mram_error *err)
{
	struct mram_qemu *q = j->m.q;
	struct json_object *args = qmp_args("uri", "fd:" FD_NAME, NULL);
	int ret;

	if (args && q->qmp->version >= VERSION_KEEP)
		json_object_object_add(args, "exit-on-error",
				       json_object_new_boolean(false));
	j->begun = engine_clock();
	ret = qmp_execute(q->qmp, "migrate-incoming", args, NULL, err);
	if (ret == -EREMOTEIO) {
		j->begun = 0;
		/* One that was refused has left the descriptor there. */
		qmp_execute(q->qmp, "closefd",
			    qmp_args("fdname", FD_NAME, NULL), NULL, NULL);
	}
	/* Of a machine that is not there yet this says what it shall become. */
	if (!ret && j->o.flags & MRAM_QEMU_STOP)
		ret = qmp_execute(q->qmp, "stop", NULL, NULL, err);
	return ret;
}

static int begin(struct job *j, int *out, struct mram_error *err)
{
	struct mram_qemu *q = j->m.q;
	int fds[2], ret;

	ret = qemu_begin_caps(q, err);
	if (ret)
		return ret;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return mram_err(err, -errno, "a line to QEMU: %s",
				strerror(errno));
	ret = qmp_execute_fd(q->qmp, "getfd",
			     qmp_args("fdname", FD_NAME, NULL), fds[1], err);
	close(fds[1]);
	if (!ret)
		ret = begin_incoming(j, err);
	if (ret)
		close(fds[0]);
	else
		*out = fds[0];
	return ret;
}

static int await_end(struct job *j, struct mram_error *err)
{
	struct mram_qemu *q = j->m.q;
	char text[32];
	int ret, i;

	for (i = 0; i < END_TRIES; i++) {
		ret = qemu_migration(q, text, err);
		if (ret < 0)
			return ret;
		if (!ret && !strcmp(text, "completed"))
			return 0;
		if (!ret && strcmp(text, "none"))
			return qemu_migration_failed(q,
				"QEMU does not take the device state", text,
				"; it has to be started anew", err);
		ret = qmp_idle(q->qmp, END_MSEC, err);
		if (ret)
			return ret;
	}
	return mram_err(err, -ETIMEDOUT,
			"QEMU's incoming migration does not end (%s)", text);
}

static int look(struct job *j, struct mram_error *err)
{
	struct json_object *o;
	const char *status;
	int ret;

	ret = qmp_execute(j->m.q->qmp, "query-status", NULL, &o, err);
	if (ret)
		return ret;
	status = qmp_string(o, "status");
	j->stats.running = qmp_bool(o, "running");
	snprintf(j->stats.state, sizeof(j->stats.state), "%s",
		 status ? status : "?");
	json_object_put(o);
	return 0;
}

static int hand_over(struct job *j, struct mram_error *err)
{
	struct qmp *qmp = j->m.q->qmp;
	struct qemu_fed fed = { 0 };
	int fd = -1, ret;

	ret = begin(j, &fd, err);
	if (ret && !j->begun)
		return ret;
	if (!ret)
		ret = qemu_feed(&j->m, fd, &fed, err);
	if (fd >= 0)
		close(fd);
	j->stats.streamed = fed.pages;
	j->stats.state_bytes = fed.state_bytes;
	/* It closes its end when it has all it needs, or does not want it. */
	if (!ret || ret == -EPIPE)
		ret = await_end(j, err);
	if (ret == -ECONNRESET)
		ret = mram_err(err, -ECONNRESET,
			       "%.200s: QEMU has ended, as it does when it does not take a device state; it says why on its stderr",
			       qmp->path);
	if (ret == -ECANCELED)
		ret = mram_err(err, ret,
			       "%.200s: the caller wants no more; QEMU has to be started anew",
			       qmp->path);
	return ret;
}

static int restore(struct job *j, struct mram_error *err)
{
	struct mram_qemu *q = j->m.q;
	struct mram_error why;
	int ret;

	ret = qemu_match(&j->m, err);
	if (!ret)
		ret = fill_all(j, err);
	if (!ret)
		ret = hand_over(j, err);
	if (j->begun)
		j->stats.state_nsec = engine_clock() - j->begun;
	q->qmp->insist = true;
	/* After a failure what QEMU says to this is of no interest. */
	if (q->caps_set && !q->qmp->closed && qemu_restore_caps(q, &why) && !ret)
		ret = mram_err(err, why.code,
			       "the virtual machine is there, but QEMU's migration settings could not be set back: %.300s",
			       why.message);
	if (!ret)
		ret = look(j, err);
	q->qmp->insist = false;
	return ret;
}

int mram_qemu_restore(struct mram_qemu *q, struct mram_image *img,
		      const struct mram_qemu_restore_opts *opts,
		      struct mram_qemu_restore_stats *stats,
		      struct mram_error *err)
{
	struct job j = {
		.m = { .q = q, .img = img },
		.stats.size = sizeof(j.stats),
		.stats.engine = "none",
	};
	uint64_t start = engine_clock();
	int ret;

	ret = opts_get(&j.o, sizeof(j.o), opts, "restore", err);
	if (!ret && (j.o.flags & ~MRAM_QEMU_STOP || j.o.reserved))
		ret = mram_err(err, -EOPNOTSUPP,
			       "QEMU: unknown restore flags %#x", j.o.flags);
	if (!ret && !q->incoming)
		ret = mram_err(err, -EINVAL,
			       "%.200s: a QEMU to restore into is opened with mram_qemu_open_incoming()",
			       q->qmp->path);
	/* It may be long ago that it was opened. */
	if (!ret)
		ret = qemu_check_incoming(q, err);
	if (!ret) {
		q->qmp->cancelled = cancelled;
		q->qmp->cancelled_data = &j;
		ret = restore(&j, err);
		q->qmp->cancelled = NULL;
	}
	j.stats.blocks = (uint32_t)img->nr_blocks;
	j.stats.nsec = engine_clock() - start;
	qemu_match_free(&j.m);
	opts_put(stats, &j.stats, sizeof(j.stats));
	return ret;
}
