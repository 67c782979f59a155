/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ending early without leaving a mess: signals, and the files that a failed
 * job takes away again.
 */
#ifndef MRAM_CLEANUP_H
#define MRAM_CLEANUP_H

#include <stdbool.h>

/**
 * cleanup_start - take the signals over
 *
 * The first SIGINT, SIGTERM or SIGHUP makes cleanup_interrupted() true, so that
 * the job can end in order; the second one ends it at once.
 */
void cleanup_start(void);

/** cleanup_interrupted - has a signal come? */
bool cleanup_interrupted(void);

/**
 * cleanup_hold - may another signal end the job at once?
 *
 * Not as long as a virtual machine may be stopped that has to run again: then
 * all signals only make cleanup_interrupted() true.
 */
void cleanup_hold(bool hold);

/**
 * cleanup_add_file - this job has made this file
 * @path: must stay valid
 * @fd: the open file; it is not removed if the path names another one by then
 *
 * Return: 0, or TOOL_FAILED after saying why; then the file is removed.
 */
int cleanup_add_file(const char *path, int fd);

/**
 * cleanup_add_spoilt - this job has begun to overwrite this file
 * @path: must stay valid
 *
 * Failure leaves it there, but empty.
 *
 * Return: 0, or a negative errno
 */
int cleanup_add_spoilt(const char *path);

/**
 * cleanup_end - the job is over
 * @status: its exit status; unless it is 0 files are removed and emptied
 *
 * After a failure that a signal caused, the tool dies of that signal, so that
 * shells and make see what happened.
 *
 * Return: @status
 */
int cleanup_end(int status);

#endif /* MRAM_CLEANUP_H */
