/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Passes that are certainly in flight while a test does something else: in a
 * thread of their own, on a disk that takes its time.
 */
#ifndef MAPPED_RAM_INFLIGHT_H
#define MAPPED_RAM_INFLIGHT_H

#include <pthread.h>

#include "rig.h"

/* A rig on a disk that is slow on demand */
struct slow_rig {
	struct rig rig;
	struct flaky disk;
};

/* Not slow yet, all pages written to and dirty */
void need_slow_rig(struct slow_rig *slow, enum mem_kind kind, size_t pages,
		   uint32_t region_flags);
/* Every I/O takes @msec from now on; 0: as fast as it can */
void need_delay(struct slow_rig *slow, unsigned int msec);
void slow_rig_drop(struct slow_rig *slow);

/* A SAVE or LOAD in a thread of its own */
struct pass {
	pthread_t thread;
	const struct region *r;
	unsigned long cmd;
	union {
		struct mapped_ram_save save;
		struct mapped_ram_load load;
	};
	int ret;		/* 0 or -errno */
	long msec;		/* that it took */
	bool done;
};

void need_save_started(struct pass *p, const struct region *r, size_t first,
		       size_t nr);
void need_load_started(struct pass *p, const struct region *r, size_t first,
		       size_t nr);
/* As the struct says; for other arguments than the defaults */
void need_pass_started(struct pass *p);
bool pass_done(struct pass *p);
/* Its result */
int pass_wait(struct pass *p);

/* Until SAVE has claimed the page, so that its I/O is in flight; at most 10 s */
bool wait_claimed(const struct region *r, size_t page);

/* Now, in ms of a clock that only goes forward */
long now_msec(void);

/* Every page is clean, and in the image or zero; says which is not */
bool region_is_saved(const struct region *r, const struct image *img);

#endif
