/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped-ram save --qmp: a running QEMU to an image.
 */
#ifndef MRAM_SAVE_QMP_H
#define MRAM_SAVE_QMP_H

#include <stdbool.h>

#include <mappedram.h>

/**
 * struct save_qmp - what the command line says
 * @socket: QEMU's monitor; NULL when --qmp was not given
 * @base: the image to start from, or NULL
 * @json: tell what was done as JSON
 * @option: an option was given that makes sense with --qmp only
 * @opts: for the library; its callbacks are set by save_qmp()
 */
struct save_qmp {
	const char *socket;
	const char *base;
	bool json;
	bool option;
	struct mram_qemu_save_opts opts;
};

/**
 * save_qmp - do the job
 *
 * Return: an exit status
 */
int save_qmp(struct save_qmp *q, const char *image, bool force);

#endif /* MRAM_SAVE_QMP_H */
