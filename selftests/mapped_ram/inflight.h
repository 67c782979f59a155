/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Passes that are certainly in flight while a test does something else: in a
 * thread of their own, on a disk that holds what it is given until it is told to
 * go on. How long anything takes, on a machine that is slow itself or has one
 * processor, is nothing that these tests look at.
 */
#ifndef MAPPED_RAM_INFLIGHT_H
#define MAPPED_RAM_INFLIGHT_H

#include <pthread.h>

#include "rig.h"

/* A rig on a disk that is slow, or stands still, on demand */
struct slow_rig {
	struct rig rig;
	struct flaky disk;
};

/* Not slow yet, all pages written to and dirty */
void need_slow_rig(struct slow_rig *slow, enum mem_kind kind, size_t pages,
		   uint32_t region_flags);
/* Every I/O takes @msec from now on; 0: as fast as it can */
void need_delay(struct slow_rig *slow, unsigned int msec);
/*
 * What belongs to the region's page @first or to later ones is held until
 * need_delay(), at most for a minute.
 */
void need_held(struct slow_rig *slow, size_t first);
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
	pid_t tid;		/* 0 before it runs */
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

/*
 * Until the disk holds @nr I/Os: pages that they are about were claimed and got.
 * False when the pass ended without; it may be NULL where there is no such thing
 * to look at.
 */
bool wait_held(struct flaky *disk, int nr, struct pass *p);

/* Until a disk that does not hold any, but is slow, has one; or @p is done */
void wait_in_flight(const char *path, struct pass *p);

/* Until it sleeps in its ioctl(), whatever it waits for, or is done */
void wait_asleep(struct pass *p);

/* Every page is clean, and in the image or zero; says which is not */
bool region_is_saved(const struct region *r, const struct image *img);

#endif
