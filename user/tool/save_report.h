/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What save --qmp did, pass by pass: as a table, or as JSON.
 */
#ifndef MRAM_SAVE_REPORT_H
#define MRAM_SAVE_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <mappedram.h>

/** struct save_report - the passes so far; starts with @image alone */
struct save_report {
	const char *image;
	struct mram_qemu_pass *passes;
	size_t count;
	bool failed;
};

/** report_add_pass - remember a pass */
void report_add_pass(struct save_report *r, const struct mram_qemu_pass *pass);

/* Both return an exit status. */
int report_print(const struct save_report *r, const struct mram_qemu *q,
		 const struct mram_qemu_save_stats *stats);
int report_json(const struct save_report *r,
		const struct mram_qemu_save_stats *stats);

/** report_free - free what it holds */
void report_free(struct save_report *r);

#endif /* MRAM_SAVE_REPORT_H */
