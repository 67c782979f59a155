/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of libmappedram share: bytes written out by hand, files to
 * put them into, and the small image that several tests start from. Nothing
 * here uses the library's own layout or stream code: what a test expects must
 * not come from what it tests.
 */
#ifndef SELFTESTS_LIB_COMMON_H
#define SELFTESTS_LIB_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
/* For tests: the harness leaves its children with _exit(), where nobody looks. */
#define EXPECT_NO_LEAKS() EXPECT_EQ(0, __lsan_do_recoverable_leak_check())
#else
#define EXPECT_NO_LEAKS() do { } while (0)
#endif

/**
 * struct bytes - bytes with a length; free() @data
 */
struct bytes {
	uint8_t *data;
	size_t length;
};

/**
 * bytes - bytes from text: hex digits and 'characters', spaces mean nothing
 *
 * bytes("00000004 'none'") has eight bytes.
 */
struct bytes bytes(const char *text);

/** bytes_equal - say where two differ, if they do */
bool bytes_equal(const void *found, size_t length, struct bytes want);

/** tmp_file - the path of a new empty file in @dir, which free() takes */
char *tmp_file(const char *dir);

/**
 * mem_file - a path under which a file in memory can be opened
 * @fd: keeps it alive
 */
char *mem_file(int *fd);

/** fill_random - the same bytes for the same @seed */
void fill_random(uint8_t *p, size_t length, unsigned int seed);

/** file_equals - does the file begin so? As another reader sees it */
bool file_equals(const char *path, const uint8_t *want, size_t size);

/**
 * loop_attach - a loop device over @path, gone when it is closed
 * @device: its path, which free() takes
 *
 * Return: the open device, or -1 with errno.
 */
int loop_attach(const char *path, int sector, char **device);

/** put_at, put_text - write at an offset; exit if that fails */
void put_at(int fd, uint64_t offset, const void *data, size_t length);
void put_text(int fd, uint64_t offset, const char *text);

/** get_at - read at an offset; exit if that fails or is short */
void get_at(int fd, uint64_t offset, void *data, size_t length);

/**
 * contains - does the message have all of the words?
 * @words: separated by '|'
 *
 * Prints the message if not.
 */
bool contains(const char *message, const char *words);

/*
 * The small image, of machine "none": "pc.ram" with 4 pages, of which 0 and 2
 * are there, "rom" with 2 pages, of which 1 is, and a device section "cpu"
 * with 3 bytes. Its parts:
 */
#define SMALL_HEAD		0x0
#define SMALL_MACHINE		0xd
#define SMALL_RAM_START		0x40
#define SMALL_TOTAL		0x51
#define SMALL_RECORD_A		0x59
#define SMALL_BITMAP_A		0x84
#define SMALL_PAGES_A		0x100000
#define SMALL_RECORD_B		0x104000
#define SMALL_BITMAP_B		0x104028
#define SMALL_PAGES_B		0x200000
#define SMALL_TAIL		0x202000
#define SMALL_STATE		0x20201f
#define SMALL_EOF		0x202038
#define SMALL_JSON		0x20203e
#define SMALL_END		0x20221a

extern const char small_head[], small_record_a[], small_bitmap_a[];
extern const char small_record_b[], small_bitmap_b[], small_tail[];

/** small_page - what page @page of block @block holds */
void small_page(void *to, int block, int page);

/** small_image - write the small image to an empty file */
void small_image(int fd);

#endif /* SELFTESTS_LIB_COMMON_H */
