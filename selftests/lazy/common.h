/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of lazy restores share: images of known content, memory of all
 * kinds to restore them to, threads that play a guest's, and what may not be
 * left behind.
 */
#ifndef SELFTESTS_LAZY_COMMON_H
#define SELFTESTS_LAZY_COMMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "../engines/common.h"

/* How the pages that are not zero lie. */
enum pattern {
	PATTERN_FULL,		/* everywhere */
	PATTERN_RUNS,		/* runs and gaps of random length */
	PATTERN_SCATTERED,	/* every fourth page */
	PATTERN_SPARSE,		/* few, with gaps of many MiB */
	PATTERN_EMPTY,
	PATTERN_ENDS,		/* the first and the last 16 pages of 32 MiB */
	PATTERNS,
};

extern const char *const pattern_names[PATTERNS];

/**
 * struct model - an image, and what it holds
 * @path: of the image
 * @p: what the memory must be
 * @length: in bytes
 * @set: pages that the image holds
 */
struct model {
	char *path;
	unsigned char *p;
	size_t length;
	uint64_t set;
};

/** model_make - an image of one block "ram" */
struct model model_make(enum pattern pattern, size_t length);
/** model_save - the image anew, when what it is to hold was changed */
void model_save(const struct model *m);
void model_free(struct model *m);

/** guest_make - memory of a kind, or of huge pages (p is NULL if there are none) */
#define MEMORY_HUGE	MEMORY_KINDS
struct memory guest_make(int kind, size_t length);

/* Kinds that can be restored lazily. */
#define GUEST_KINDS	4
extern const int guest_kinds[GUEST_KINDS];
extern const char *const guest_names[GUEST_KINDS];

/**
 * struct toucher - a thread that reads random pages and compares them
 * @wrong: pages that were not as the model says
 * @stop: no more
 */
struct toucher {
	const struct model *m;
	const unsigned char *p;
	uint64_t seed;
	uint64_t count;
	uint64_t wrong;
	bool stop;
};

void *toucher_run(void *toucher);

/** differing_page - the first page that differs from the model, or -1 */
long long differing_page(const struct model *m, const unsigned char *p);

/**
 * wrong_pages - how many pages are neither what the image holds nor rightly zero
 * @gone: those that were discarded, and must be zero
 */
uint64_t wrong_pages(const unsigned char *want, const unsigned char *p,
		     uint64_t pages, const bool *gone);

/** threads_now, fds_now - how many this process has */
int threads_now(void);
int fds_now(void);

/** threads_left - how many are there when those that end have ended */
int threads_left(int expected);

/** touch - read a page; 0, or the signal that this caused */
int touch(const unsigned char *p);

/**
 * struct waiter - a thread that reads one page
 * @signal: as of touch()
 * @byte: what was there
 * @through: it has read it
 */
struct waiter {
	const unsigned char *p;
	pthread_t id;
	int signal;
	unsigned char byte;
	bool through;
};

void waiter_start(struct waiter *w, const unsigned char *p);
bool waiter_through(const struct waiter *w);
void waiter_join(struct waiter *w);

/** hand_over - give a userfaultfd and an address to another process */
void hand_over(int sock, int fd, uint64_t addr);

/** take_over - what the other process has given; -1 if it has not */
int take_over(int sock, uint64_t *addr);

/** can_poison - does the kernel have UFFDIO_POISON? */
bool can_poison(void);

/** cached_pages - how many pages of a file are in the page cache */
uint64_t cached_pages(const char *path);

/** started - a restore of the model's block to @p that is on its way, or exit */
struct mram_restore_lazy *started(struct mram_image **img,
				  const struct model *m, void *p,
				  const struct mram_restore_lazy_opts *o);

/** stats_of - what mram_restore_lazy_stats() tells */
struct mram_restore_lazy_stats stats_of(struct mram_restore_lazy *l);

/**
 * STATS_WHEN - get the statistics as soon as they say something
 *
 * A page is seen before it is counted. What never comes ends in a timeout.
 */
#define STATS_WHEN(st, l, condition)					\
	do {								\
		while ((st) = stats_of(l), !(condition))		\
			usleep(1000);					\
	} while (0)

#endif /* SELFTESTS_LAZY_COMMON_H */
