/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where other processes map a file, as their /proc/PID/maps tell it.
 */
#ifndef MRAM_PROCMAP_H
#define MRAM_PROCMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mappedram.h>

/**
 * struct procmap - a shared mapping of a file
 * @start: address in the process
 * @length: in bytes
 * @offset: in the file, in bytes
 */
struct procmap {
	uint64_t start;
	uint64_t length;
	uint64_t offset;
};

/**
 * procmap_find - shared writable mappings of a file in a process
 * @out: malloc()ed, the caller frees it
 *
 * Return: how many, or a negative errno.
 */
int procmap_find(pid_t pid, dev_t dev, ino_t ino, struct procmap **out,
		 struct mram_error *err);

/**
 * procmap_maps - does a process map a file so that it could write?
 *
 * Return: 1, 0, or a negative errno.
 */
int procmap_maps(pid_t pid, dev_t dev, ino_t ino, struct mram_error *err);

/**
 * procmap_others - does another process map a file so that it could write?
 * @but: the process that may; the calling one may, too
 * @name: 64 bytes for the name of the one that was found
 *
 * Processes that cannot be looked at count as not doing so.
 *
 * Return: its pid, or 0.
 */
pid_t procmap_others(pid_t but, dev_t dev, ino_t ino, char *name);

#endif /* MRAM_PROCMAP_H */
