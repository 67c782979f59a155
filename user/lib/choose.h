/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The length of bridges in passes of the engines in user space: the caller's,
 * or what kmod/bridge.c finds out.
 */
#ifndef MRAM_CHOOSE_H
#define MRAM_CHOOSE_H

#include "pass.h"

/** choose_start - a pass begins: sets @m->bridge */
void choose_start(struct mover *m);

/**
 * choose_batch - a batch of @words is about to be written
 *
 * Begins a trial if one is due and some page may be bridged.
 */
void choose_batch(struct mover *m, uint64_t words);

/** choose_counted - an I/O of @pages was started */
void choose_counted(struct mover *m, uint64_t pages);

/** choose_pause - something else than I/Os takes time from here on */
void choose_pause(struct mover *m);

/** choose_resume - and from here on no more */
void choose_resume(struct mover *m);

/** choose_end - the pass ends: nothing is in flight afterwards in a trial */
void choose_end(struct mover *m);

#endif /* MRAM_CHOOSE_H */
