/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One null_blk device, made as a test wants it: unlike a disk behind
 * device-mapper's delay it has its data when it takes its time, so that what
 * memory becomes meanwhile is not what was written.
 */
#ifndef MAPPED_RAM_NULLB_H
#define MAPPED_RAM_NULLB_H

#include <stddef.h>

/*
 * Makes it @mib MiB long and tells its @path; @how is shell for more of its
 * attributes. Ends the test when there is none.
 */
void need_nullb(char *path, size_t size, size_t mib, const char *how);
/* Nobody has it open any more. 0, or not */
int nullb_drop(void);

#endif
