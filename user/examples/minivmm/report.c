// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What minivmm prints, for people and, with --json, for programs; and how many
 * pages of the image the page cache holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "minivmm.h"

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("minivmm: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

/* Of all threads, without what they waited */
uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

/* ------------------------------------------------------- the page cache */

/* Linux 6.5's cachestat(2), which older headers do not have */
#define CACHESTAT	451

struct cachestat_range {
	uint64_t off;
	uint64_t len;
};

struct cachestat_result {
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

/* Pages of @path that are in the page cache */
uint64_t cached_pages(const char *path)
{
	struct cachestat_range range = { 0, 0 };
	struct cachestat_result result;
	const uint64_t window = 1024 * MIB;
	static unsigned char present[1024 * MIB / GUEST_PAGE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t cached = 0;
	uint64_t length;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	if (!syscall(CACHESTAT, fd, &range, &result, 0)) {
		close(fd);
		return result.cached;
	}

	length = st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &length))
		die("%s: %s", path, strerror(errno));
	/* Mapping a file brings nothing of it in, and mincore() does not either */
	for (uint64_t at = 0; at < length; at += window) {
		size_t size = length - at < window ? length - at : window;
		void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, at);

		if (map == MAP_FAILED || mincore(map, size, present))
			die("%s: %s", path, strerror(errno));
		for (size_t i = 0; i < (size + GUEST_PAGE - 1) / GUEST_PAGE; i++)
			cached += present[i] & 1;
		munmap(map, size);
	}
	close(fd);
	return cached;
}

/* ----------------------------------------------------------- for people */

void print_pass_header(void)
{
	puts("pass  guest       dirty  written     zero  bridged   I/Os      MB       ms");
}

void print_pass(unsigned int number, const struct pass *pass)
{
	const struct mram_pass_stats *s = &pass->stats;

	printf("%4u  %-8s %8llu %8llu %8llu %8llu %6llu %7.1f %8.1f\n", number,
	       pass->running ? "runs" : "stopped", (unsigned long long)s->dirty,
	       (unsigned long long)s->written, (unsigned long long)s->zero,
	       (unsigned long long)s->bridged, (unsigned long long)s->ios,
	       s->bytes / 1e6, s->nsec / 1e6);
	if (s->flags & MRAM_STATS_BUFFERED)
		puts("      (the file system went through the page cache)");
	fflush(stdout);
}

void print_fact(const char *name, const char *format, ...)
{
	va_list args;

	printf("%-9s ", name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* What model_check() found out about the guest after @step steps */
void print_model(uint64_t wrong, uint64_t step)
{
	if (wrong)
		print_fact("model", "memory is WRONG in %llu pages",
			   (unsigned long long)wrong);
	else
		print_fact("model", "memory is what %llu steps of the guest make it",
			   (unsigned long long)step);
}

void print_guest(const volatile struct guest_state *state)
{
	print_fact("guest", "counter %llu, checksum %016llx, errors %llu",
		   (unsigned long long)state->step,
		   (unsigned long long)state->checksum,
		   (unsigned long long)state->errors);
	if (state->errors)
		print_fact("", "the last error at step %llu in page %lld",
			   (unsigned long long)state->bad_step,
			   (long long)state->bad_page);
}

/* --------------------------------------------------------- for programs */

/* One object; the passes, if any, come first. All of it works with NULL. */
FILE *json_open(const char *path)
{
	FILE *json;

	if (!path)
		return NULL;
	json = fopen(path, "we");
	if (!json)
		die("%s: %s", path, strerror(errno));
	fputs("{\n  \"program\": \"minivmm\"", json);
	return json;
}

void json_number(FILE *json, const char *name, uint64_t value)
{
	if (json)
		fprintf(json, ",\n  \"%s\": %llu", name,
			(unsigned long long)value);
}

void json_string(FILE *json, const char *name, const char *value)
{
	if (json)
		fprintf(json, ",\n  \"%s\": \"%s\"", name, value);
}

void json_passes(FILE *json, const struct pass *passes, unsigned int count)
{
	if (!json)
		return;
	fputs(",\n  \"passes\": [", json);
	for (unsigned int i = 0; i < count; i++) {
		const struct mram_pass_stats *s = &passes[i].stats;

		fprintf(json, "%s\n    { \"running\": %s, \"buffered\": %s, \"dirty\": %llu, \"written\": %llu, \"zero\": %llu, \"bridged\": %llu, \"ios\": %llu, \"bytes\": %llu, \"nsec\": %llu }",
			i ? "," : "", passes[i].running ? "true" : "false",
			s->flags & MRAM_STATS_BUFFERED ? "true" : "false",
			(unsigned long long)s->dirty,
			(unsigned long long)s->written,
			(unsigned long long)s->zero,
			(unsigned long long)s->bridged,
			(unsigned long long)s->ios,
			(unsigned long long)s->bytes,
			(unsigned long long)s->nsec);
	}
	fputs("\n  ]", json);
}

void json_close(FILE *json)
{
	if (!json)
		return;
	fputs("\n}\n", json);
	if (fclose(json))
		die("--json: %s", strerror(errno));
}
