/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One job of saving a QEMU: qemu_save.c leads it, qemu_finish.c makes an image
 * of what was gathered.
 */
#ifndef MRAM_QEMU_JOB_H
#define MRAM_QEMU_JOB_H

#include "qemu.h"
#include "session.h"

/**
 * struct qemu_job - a job
 * @q: the QEMU
 * @o: how to save
 * @s: the session; a region for each of q->ram, in that order
 * @tracker: NULL when no pass is made while the machine runs
 * @old: the image that is updated, or NULL
 * @state: QEMU's stream
 * @stats: what was done
 * @at: for the caller's progress()
 * @stop_time: when the machine was stopped last
 * @clear_time: when the dirty bits were cleared last
 * @pause_nsec: how long the pause before this pass was
 */
struct qemu_job {
	struct mram_qemu *q;
	struct mram_qemu_save_opts o;
	struct mram_session *s;
	struct mram_softdirty *tracker;
	struct mram_image *old;
	struct mram_buf state;
	struct mram_qemu_save_stats stats;
	struct mram_qemu_progress at;
	uint64_t stop_time;
	uint64_t clear_time;
	uint64_t pause_nsec;
};

/** qemu_job_at - go on with another phase; not 0 when the caller wants no more */
int qemu_job_at(struct qemu_job *j, enum mram_qemu_phase phase, uint64_t done,
		uint64_t total);

/** qemu_commit - make a valid image of pages and state */
int qemu_commit(struct qemu_job *j, struct mram_error *err);

/** qemu_open_old - open the image that is to be updated, and does it fit? */
int qemu_open_old(struct qemu_job *j, const char *path, struct mram_error *err);

/** qemu_compare_old - mark dirty what the old image does not hold */
int qemu_compare_old(struct qemu_job *j, struct mram_error *err);

#endif /* MRAM_QEMU_JOB_H */
