/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A QEMU that is saved or restored from outside, for the library's own files.
 *
 * qemu_open.c finds its memory, qemu_check.c what is in the way, qemu_run.c
 * stops and continues it, qemu_state.c fetches its device state, and
 * qemu_save.c is the job. The way back: qemu_match.c compares an image with it,
 * qemu_feed.c hands it the device state, and qemu_restore.c is the job.
 */
#ifndef MRAM_QEMU_H
#define MRAM_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mappedram.h>

#include "qmp.h"
#include "stream.h"

struct json_object;

/**
 * struct qemu_ram - a memory backend
 * @id: of the object, owned
 * @path: its mem-path, owned
 * @size: in bytes
 * @offset: where in the file it starts
 * @fd: the file; an exclusive lock on it keeps a second job away
 * @dev: with @ino, who the file is
 * @huge: on hugetlbfs
 * @addr: mapped here, read-only unless it is restored
 */
struct qemu_ram {
	char *id;
	char *path;
	uint64_t size;
	uint64_t offset;
	int fd;
	dev_t dev;
	ino_t ino;
	bool huge;
	void *addr;
};

/**
 * struct mram_qemu - a QEMU
 * @qmp: the connection
 * @name: the machine's, owned
 * @ram: @nr_ram backends, in the order of their ids
 * @incoming: it waits for a state
 * @runs: it ran when it was opened
 * @had_ignore_shared: that capability was on
 * @had_mapped_ram: and that one
 * @bandwidth: max-bandwidth as it was
 * @stopped: it was made to stop
 * @resumed: qmp->resumed at that time
 * @caps_set: capabilities and parameters are not as they were
 * @migrating: a migration was begun and has not been seen to end
 */
struct mram_qemu {
	struct qmp *qmp;
	char *name;
	struct qemu_ram *ram;
	size_t nr_ram;
	bool incoming;
	bool runs;

	bool had_ignore_shared;
	bool had_mapped_ram;
	int64_t bandwidth;
	bool stopped;
	unsigned int resumed;
	bool caps_set;
	bool migrating;
};

/* ------------------------------------------------------------ qemu_check.c */

/** qemu_check - is anything in the way of saving it? */
int qemu_check(struct mram_qemu *q, struct mram_error *err);

/** qemu_check_incoming - does it wait, and is nothing in the way? */
int qemu_check_incoming(struct mram_qemu *q, struct mram_error *err);

/** qemu_check_state - does it run, or stand still, as one that can be saved? */
int qemu_check_state(struct mram_qemu *q, bool *runs, struct mram_error *err);

/**
 * qemu_migration - what its migration is at
 * @text: 32 bytes: "none", "active", "completed", ...
 *
 * Return: 1 while it is under way, 0 when not, or a negative errno.
 */
int qemu_migration(struct mram_qemu *q, char *text, struct mram_error *err);

/**
 * qemu_migration_failed - say what QEMU says of it
 * @what: that failed
 * @text: from qemu_migration()
 * @then: the rest of the message
 *
 * Return: -EREMOTEIO, or what asking ended with: QEMU may not be there any more.
 */
int qemu_migration_failed(struct mram_qemu *q, const char *what,
			  const char *text, const char *then,
			  struct mram_error *err);

/* ----------------------------------------------------------- qemu_finish.c */

/** qemu_is_named - is @idstr what QEMU calls the RAMBlock of this backend? */
bool qemu_is_named(const char *idstr, const char *id);

/* -------------------------------------------------------------- qemu_run.c */

/** qemu_pause - stop the machine; -EBUSY if something else has stopped it */
int qemu_pause(struct mram_qemu *q, struct mram_error *err);

/** qemu_resume - let it run again */
int qemu_resume(struct mram_qemu *q, struct mram_error *err);

/** qemu_still_stopped - -EBUSY if somebody has made it run since qemu_pause() */
int qemu_still_stopped(struct mram_qemu *q, struct mram_error *err);

/**
 * qemu_undo - everything as it was, after a failure
 *
 * What cannot be done is added to the message in @err.
 */
void qemu_undo(struct mram_qemu *q, struct mram_error *err);

/* ------------------------------------------------------------ qemu_state.c */

/** qemu_fetch_state - QEMU's stream without its shared memory */
int qemu_fetch_state(struct mram_qemu *q, struct mram_buf *out,
		     struct mram_error *err);

/** qemu_begin_caps - capabilities that move device state alone */
int qemu_begin_caps(struct mram_qemu *q, struct mram_error *err);

/** qemu_restore_caps - capabilities and parameters as they were */
int qemu_restore_caps(struct mram_qemu *q, struct mram_error *err);

#endif /* MRAM_QEMU_H */
