/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The progress bar: one line at the bottom of a terminal while a job runs.
 *
 * There is one at a time. Nothing is drawn unless stderr is a terminal that
 * can erase a line and the tool is in its foreground.
 */
#ifndef MRAM_PROGRESS_H
#define MRAM_PROGRESS_H

#include <stdint.h>

/**
 * progress_start - put the bar up
 * @verb: what is done, "saving"
 * @total: pages to do
 * @bytes: bytes that these pages are
 */
void progress_start(const char *verb, uint64_t total, uint64_t bytes);

/** progress_update - @done pages are done; cheap enough to call often */
void progress_update(uint64_t done);

/** progress_end - take the bar away; harmless when there is none */
void progress_end(void);

/** progress_erase - the same until the next update; also in signal handlers */
void progress_erase(void);

#endif /* MRAM_PROGRESS_H */
