/* SPDX-License-Identifier: GPL-2.0 */
/* See choose.c. */
#ifndef MRAM_CHOOSE_H
#define MRAM_CHOOSE_H

#include "transfer.h"

u32 mram_choose_begin(struct mram_pass *pass);
u32 mram_choose_count(struct mram_pass *pass, unsigned long pages);
void mram_choose_pause(struct mram_pass *pass);
void mram_choose_end(struct mram_pass *pass);
u32 mram_choose_best(struct mram_pass *pass);

#endif /* MRAM_CHOOSE_H */
