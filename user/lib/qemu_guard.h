/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A child process that lets a virtual machine run again if this process dies
 * while it has stopped it, whatever it dies of.
 */
#ifndef MRAM_QEMU_GUARD_H
#define MRAM_QEMU_GUARD_H

#include <sys/types.h>

#include "qemu.h"

/** struct qemu_guard - a guard; starts as {0} */
struct qemu_guard {
	pid_t child;
	int line;
};

/** qemu_guard_start - before anything is changed; only for one that runs */
int qemu_guard_start(struct qemu_guard *g, struct mram_qemu *q,
		     struct mram_error *err);

/** qemu_guard_end - it is not needed any more; harmless when there is none */
void qemu_guard_end(struct qemu_guard *g);

#endif /* MRAM_QEMU_GUARD_H */
