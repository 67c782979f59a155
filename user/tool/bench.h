/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped-ram bench: how fast memory is saved here, by the clock.
 *
 * bench.c has the command line, target and result, bench_job.c saves,
 * bench_fio.c lets fio do the same I/Os.
 */
#ifndef MRAM_BENCH_H
#define MRAM_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <mappedram.h>

#define BENCH_PAGE	4096ull

/* What marks a file as one that may be overwritten. */
#define BENCH_MACHINE	"mapped-ram-bench"

/**
 * struct bench - what to do
 * @target: the file or device
 * @size: of the memory, in bytes
 * @bridge: for the case that leaves pages out
 * @engine: this one only, or NULL
 * @rounds: of which the median counts
 * @memory: @size bytes, filled
 */
struct bench {
	const char *target;
	uint64_t size;
	uint32_t window;
	uint32_t max_extent;
	uint32_t bridge;
	uint32_t rounds;
	const char *engine;
	unsigned char *memory;
};

/**
 * struct bench_case - which pages are dirty
 * @step: every @step-th one
 */
struct bench_case {
	const char *name;
	uint64_t step;
};

/**
 * struct bench_result - what one job took
 * @nsec: from the dirty bitmap to the valid image
 * @cpu_nsec: of this process, in user space and kernel
 * @bytes: of dirty pages
 * @bridge: longest bridge at the end
 */
struct bench_result {
	uint64_t nsec;
	uint64_t cpu_nsec;
	uint64_t ios;
	uint64_t bytes;
	uint32_t bridge;
};

/**
 * bench_memory - get and fill the memory
 *
 * Return: 0, or TOOL_FAILED after saying why
 */
int bench_memory(struct bench *b);

/**
 * bench_save - save @b->rounds times, after one time to warm up
 * @pin: with MRAM_REGION_PIN
 *
 * Return: 0, or a negative errno
 */
int bench_save(const struct bench *b, const struct bench_case *c,
	       const char *engine, bool pin, struct bench_result *r,
	       struct mram_error *err);

/**
 * bench_fio - let fio write the same pages of the image
 *
 * Return: 0, or a negative errno after saying what went wrong
 */
int bench_fio(const struct bench *b, const struct bench_case *c,
	      struct bench_result *r);

#endif /* MRAM_BENCH_H */
