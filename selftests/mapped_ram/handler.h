/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thread that is told of faults by a userfaultfd, of which it serves one after
 * the other as a test wants it.
 */
#ifndef MAPPED_RAM_HANDLER_H
#define MAPPED_RAM_HANDLER_H

#include <linux/userfaultfd.h>
#include <pthread.h>

#include "common.h"

struct handler {
	pthread_t thread;
	int uffd;
	int quit[2];
	unsigned int late;	/* seconds until it begins to serve */
	uint8_t *mem;		/* where the memory begins that it is told of */
	/* Serves a fault @at bytes behind that. */
	void (*serve)(struct handler *h, size_t at);
	void *data;		/* for whoever serves */
};

/* The userfaultfd alone; @flags of userfaultfd(2). 0 or -errno. */
int handler_open(struct handler *h, int flags, uint64_t features);
int handler_register(struct handler *h, void *mem, size_t length, uint64_t mode);
/* Copies a page to where a fault was; false when it is there already. */
bool handler_copy(struct handler *h, size_t at, const void *page);
/* Of [@at, @at + @length) */
int handler_protect(struct handler *h, size_t at, size_t length, bool protect);
int handler_start(struct handler *h);
void handler_stop(struct handler *h);
void handler_close(struct handler *h);

#endif
