/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the engines share: memory of several kinds, images, random
 * numbers that can be repeated (MRAM_SEED).
 *
 * Helpers exit with a message when what a test stands on cannot be had.
 */
#ifndef SELFTESTS_ENGINES_COMMON_H
#define SELFTESTS_ENGINES_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
/* The harness leaves its children with _exit(), where nobody looks. */
#define EXPECT_NO_LEAKS() EXPECT_EQ(0, __lsan_do_recoverable_leak_check())
#else
#define EXPECT_NO_LEAKS() do { } while (0)
#endif

#define PAGE		4096ul
#define MIB		(1ul << 20)
#define BIT(n)		(1ull << (n) % 64)

/* Run a call of the library; on failure show its message. */
#define ASSERT_OK(call) do {						\
	long long ret_ = (call);					\
									\
	ASSERT_LE(0, ret_) {						\
		TH_LOG("%s: %lld: %s", #call, ret_, error.message);	\
	}								\
} while (0)

/* The call fails with this code, says so in the error, and says the words. */
#define ASSERT_FAILS(code_, words, call) do {				\
	memset(&error, 0x55, sizeof(error));				\
	ASSERT_EQ(code_, (call)) {					\
		TH_LOG("%s", #call);					\
	}								\
	ASSERT_EQ(code_, error.code);					\
	ASSERT_NE(NULL, strstr(error.message, words)) {			\
		TH_LOG("no '%s' in: %s", words, error.message);		\
	}								\
} while (0)

/* What the last call of the library said. */
extern struct mram_error error;

/* ------------------------------------------------------------------ random */

/** random_seed - start a sequence; @salt tells a program's tests apart */
void random_seed(uint64_t salt);

/** random_below - a number from 0 to @n - 1 */
uint64_t random_below(uint64_t n);

/** random_fill - content that is nowhere zero for long */
void random_fill(void *p, size_t length);

/* ------------------------------------------------------------------ memory */

enum memory_kind {
	MEMORY_PRIVATE,		/* anonymous */
	MEMORY_SHARED,		/* anonymous, shared: nobody has an fd */
	MEMORY_MEMFD,		/* a memfd, from its fourth page on */
	MEMORY_FILE,		/* a shared mapping of a file on disk */
	MEMORY_COPY,		/* a private mapping of a memfd with content */
	MEMORY_KINDS,
};

extern const char *const memory_names[MEMORY_KINDS];

/**
 * struct memory - memory that plays a guest's
 * @p: page-aligned
 * @length: in bytes
 * @fd: the file behind it, or -1
 * @fd_offset: where in it @p is
 */
struct memory {
	enum memory_kind kind;
	unsigned char *p;
	size_t length;
	int fd;
	uint64_t fd_offset;
};

struct memory memory_make(enum memory_kind kind, size_t length);
void memory_free(struct memory *m);

/** memory_opts - the region options that say what the library may know */
struct mram_region_opts memory_opts(const struct memory *m);

/** memory_pages - pages that exist for it, in this process or in the file */
uint64_t memory_pages(const struct memory *m);

/**
 * memory_huge_kib - huge pages that this process has mapped, whoever else has
 * some of the system's
 */
uint64_t memory_huge_kib(void);

/** memory_discard - give pages back to the system: they are zero then */
void memory_discard(struct memory *m, uint64_t first, uint64_t pages);

bool page_is_zero(const unsigned char *p, size_t size);

/* ------------------------------------------------------------------ images */

/** image_path - a path where there is no file yet; free() it */
char *image_path(void);

/** image_remove - unlink and free() */
void image_remove(char *path);

/** image_has_magic - would a loader look any further? */
bool image_has_magic(const char *path);

/** image_copy - make @to a copy of @from, byte for byte */
void image_copy(const char *to, const char *from);

/**
 * image_difference - the first offset at which two files differ
 *
 * Return: -1 when they are the same.
 */
long long image_difference(const char *a, const char *b);

/**
 * image_read - a page of a block, from the file
 * @info: of the block
 */
void image_read(const char *path, const struct mram_block_info *info,
		uint64_t page, void *to);

/* ----------------------------------------------------------------- engines */

extern const char *const engine_names[3];

/** engine_works - can this engine be used here? If not, error says why */
bool engine_works(const char *engine);

/** engine_open - a session on @path, or exit */
struct mram_session *engine_open(const char *engine, const char *path);

#endif /* SELFTESTS_ENGINES_COMMON_H */
