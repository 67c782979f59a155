/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped-ram restore: what its command line says, and the ways to do it.
 */
#ifndef MRAM_RESTORE_H
#define MRAM_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include <mappedram.h>

#include "facts.h"
#include "region.h"

/**
 * struct restore - a job
 * @image: the file
 * @offset: where in it the image lies
 * @facts: about the image
 * @opts: for the library
 * @regions: where blocks go
 * @skip: @nr_skip blocks that are not wanted
 * @qmp: the monitor of the QEMU to restore into, or NULL
 * @stop: leave it paused
 * @lazy: the socket on which a virtual machine monitor hands its memory over, or
 *        NULL
 * @record: where to write which pages were touched first, or NULL
 * @working_set: what to bring first, or NULL
 * @fault_around: bytes to read around a page that is touched
 * @json: tell what was done as JSON
 */
struct restore {
	const char *image;
	uint64_t offset;
	struct facts facts;
	struct mram_restore_opts opts;

	struct regions regions;
	const char **skip;
	int nr_skip;

	const char *qmp;
	bool stop;
	const char *lazy;
	const char *record;
	const char *working_set;
	uint32_t fault_around;
	bool json;
};

/* One function a way; the image is locked and open. They return exit statuses. */
int restore_files(struct restore *r);
int restore_qmp(struct restore *r);
int restore_lazy(struct restore *r);

#endif /* MRAM_RESTORE_H */
