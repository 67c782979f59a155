// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Stopping a virtual machine, continuing it, and putting everything back when
 * a job fails.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "qemu.h"

/* A migration that was told to end does so at once; or never. */
#define UNDO_TRIES	3000
#define UNDO_MSEC	10

int qemu_pause(struct mram_qemu *q, struct mram_error *err)
{
	bool runs;
	int ret;

	ret = qemu_check_state(q, &runs, err);
	if (!ret && !runs)
		ret = mram_err(err, -EBUSY,
			       "somebody else has stopped the virtual machine meanwhile");
	if (ret)
		return ret;
	q->stopped = true;
	ret = qmp_execute(q->qmp, "stop", NULL, NULL, err);
	q->resumed = q->qmp->resumed;
	return ret;
}

int qemu_resume(struct mram_qemu *q, struct mram_error *err)
{
	int ret;

	ret = qmp_execute(q->qmp, "cont", NULL, NULL, err);
	if (!ret)
		q->stopped = false;
	return ret;
}

int qemu_still_stopped(struct mram_qemu *q, struct mram_error *err)
{
	struct json_object *o;
	bool runs;
	int ret;

	ret = qmp_execute(q->qmp, "query-status", NULL, &o, err);
	if (ret)
		return ret;
	runs = qmp_bool(o, "running");
	json_object_put(o);
	if (runs || q->qmp->resumed != q->resumed) {
		/* It is as whoever did it wants it. */
		if (runs)
			q->stopped = false;
		return mram_err(err, -EBUSY,
				"somebody else has made the virtual machine run while it was saved");
	}
	return 0;
}

static int end_migration(struct mram_qemu *q, struct mram_error *err)
{
	char text[32];
	int ret, i;

	ret = qemu_migration(q, text, err);
	if (ret > 0)
		qmp_execute(q->qmp, "migrate_cancel", NULL, NULL, NULL);
	for (i = 0; ret > 0 && i < UNDO_TRIES; i++) {
		ret = qmp_idle(q->qmp, UNDO_MSEC, err);
		if (!ret)
			ret = qemu_migration(q, text, err);
	}
	if (ret > 0)
		ret = mram_err(err, -ETIMEDOUT, "its migration does not end");
	if (!ret)
		q->migrating = false;
	return ret;
}

static void add(struct mram_error *err, const char *what,
		const struct mram_error *why)
{
	char old[sizeof(err->message)];

	if (!err)
		return;
	memcpy(old, err->message, sizeof(old));
	mram_err(err, err->code, "%.250s; and %s: %.150s", old, what,
		 why->message);
}

/* One that nobody has waited for yet lives no more, either. */
static bool lives(pid_t pid)
{
	struct pollfd p = { .events = POLLIN };
	bool ended = true;

	p.fd = (int)syscall(SYS_pidfd_open, pid, 0u);
	if (p.fd >= 0) {
		ended = poll(&p, 1, 0) > 0;
		close(p.fd);
	}
	return !ended;
}

/* A connection may end although QEMU lives; it takes another one then. */
static int reconnect(struct mram_qemu *q, struct mram_error *err)
{
	struct qmp *again;
	int ret;

	ret = qmp_open(&again, q->qmp->path, err);
	if (ret)
		return ret;
	if (again->pid != q->qmp->pid) {
		qmp_close(again);
		return mram_err(err, -ESRCH, "another process listens there");
	}
	qmp_close(q->qmp);
	q->qmp = again;
	return 0;
}

void qemu_undo(struct mram_qemu *q, struct mram_error *err)
{
	struct mram_error why;

	if (!q->stopped && !q->caps_set && !q->migrating)
		return;
	if (q->qmp->closed) {
		if (!lives(q->qmp->pid))
			return;
		if (reconnect(q, &why)) {
			add(err, "the virtual machine could not be put back",
			    &why);
			return;
		}
	}
	q->qmp->insist = true;
	if (q->migrating && end_migration(q, &why))
		add(err, "QEMU's migration could not be ended", &why);
	if (q->caps_set && qemu_restore_caps(q, &why))
		add(err, "QEMU's migration settings could not be restored",
		    &why);
	if (q->stopped && q->runs && qemu_resume(q, &why))
		add(err, "the virtual machine could not be continued", &why);
	q->qmp->insist = false;
}
