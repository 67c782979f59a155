/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the two halves of the monitor's client: qmp.c moves lines,
 * qmp_command.c makes commands of them.
 */
#ifndef MRAM_QMP_WIRE_H
#define MRAM_QMP_WIRE_H

#include "qmp.h"

/**
 * qmp_receive - the next object, whatever it is
 * @deadline: on engine_clock()
 *
 * -ETIMEDOUT comes without words.
 */
int qmp_receive(struct qmp *q, uint64_t deadline, struct json_object **out,
		struct mram_error *err);

/** qmp_send - a line, and a descriptor with it unless @fd is -1 */
int qmp_send(struct qmp *q, const char *text, int fd, uint64_t deadline,
	     struct mram_error *err);

/** qmp_deadline - when a command that is sent now has to be answered */
uint64_t qmp_deadline(void);

#endif /* MRAM_QMP_WIRE_H */
