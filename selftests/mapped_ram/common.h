/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every mapped_ram selftest shares: the device and its calls, memory of
 * every kind a VM may be made of, images, bitmaps, a model of what a pass must
 * do, and looks at the rest of the kernel.
 *
 * Helpers return 0 (or a count, or an fd) or -errno and never use the
 * harness's assertions, so that threads and children may call them. Those named
 * need_ end the test with a message instead: they prepare what a test stands
 * on, and without it there is nothing to test.
 *
 * Environment:
 *   MRAM_TEST_DIR     a directory on a file system with direct I/O
 *   MRAM_TEST_BLKDEV  a block device that may be overwritten, 64 MiB or more
 *   MRAM_TEST_KO      the module's file, for the tests that unload and load it
 *   MRAM_SEED         seed of all random choices
 */
#ifndef MAPPED_RAM_SELFTEST_COMMON_H
#define MAPPED_RAM_SELFTEST_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/mapped_ram.h>

#define KIB		1024UL
#define MIB		(1024UL * KIB)
#define HUGE_SIZE	(2 * MIB)

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

/* The smallest page of a bitmap; what most tests use as a region's page. */
size_t page_size(void);

/* Prints "# ..." and ends the test as failed. */
void need_failed(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

/* ---- device.c: the device and its calls; 0 or -errno ---- */

int mr_open(void);
int mr_ioctl(int fd, unsigned long cmd, void *arg);
int mr_info(int fd, struct mapped_ram_info *info);
/* @out may be NULL */
int mr_image_set(int fd, int image, uint32_t flags,
		 struct mapped_ram_image_set *out);
int mr_region_remove(int fd, uint32_t id);

/* A registered range and its mapped bitmaps. */
struct region {
	int dev;
	uint8_t *mem;
	size_t length;
	uint64_t offset;	/* of page 0 in the image */
	uint32_t page_size;
	uint32_t id;
	size_t nr_pages;
	uint64_t *dirty;
	uint64_t *file;
	size_t bitmap_size;	/* of each mapping, in bytes */
	uint64_t dirty_offset;
	uint64_t file_offset;
};

/* REGION_ADD and mmap of both bitmaps */
int region_add(struct region *r, int dev, void *mem, size_t length,
	       uint64_t offset, uint32_t page_size, uint32_t flags);
void region_unmap_bitmaps(struct region *r);
uint8_t *region_page(const struct region *r, size_t page);

/* The calls with everything at its default, on a range or on all of it */
struct mapped_ram_save save_args(const struct region *r, size_t first,
				 size_t nr);
struct mapped_ram_load load_args(const struct region *r, size_t first,
				 size_t nr);
/* @out may be NULL */
int region_save(const struct region *r, struct mapped_ram_save *out);
int region_load(const struct region *r, struct mapped_ram_load *out);

/* ---- bitmap.c: bitmaps that somebody else changes at the same time ---- */

bool bit_test(const uint64_t *map, size_t bit);
void bit_set(uint64_t *map, size_t bit);	/* atomic OR */
void bit_clear(uint64_t *map, size_t bit);
void bits_set(uint64_t *map, size_t first, size_t nr);
void bits_clear(uint64_t *map, size_t first, size_t nr);
size_t bits_count(const uint64_t *map, size_t first, size_t nr);
/* Words of 64 bits that @nr bits take */
size_t bits_words(size_t nr);
/* The first of @nr bits that differs, or @nr */
size_t bits_differ(const uint64_t *a, const uint64_t *b, size_t nr);

/* ---- random.c: the same choices for the same seed ---- */

struct rng {
	uint64_t state;
};

/* MRAM_SEED, or 1; printed once per process that asks */
uint64_t test_seed(void);
/* A stream of its own for each @stream */
struct rng rng_new(uint64_t stream);
uint64_t rng_u64(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n);	/* n > 0 */
bool rng_percent(struct rng *rng, unsigned int percent);
void rng_fill(struct rng *rng, void *buf, size_t length);

/* ---- memory.c: memory of every kind ---- */

enum mem_kind {
	MEM_ANON,		/* small pages */
	MEM_THP,		/* anonymous, transparent huge pages */
	MEM_HUGETLB,		/* MAP_PRIVATE | MAP_HUGETLB, 2 MiB */
	MEM_MEMFD,		/* shared mapping of a memfd */
	MEM_MEMFD_HUGETLB,
	MEM_FILE_SHARED,	/* of a file in MRAM_TEST_DIR */
	MEM_FILE_PRIVATE,
	MEM_KINDS
};

struct mem {
	enum mem_kind kind;
	uint8_t *addr;
	size_t length;
	int fd;			/* of the memfd or file, or -1 */
};

const char *mem_name(enum mem_kind kind);
/*
 * Not populated. Huge kinds want @length in multiples of HUGE_SIZE and are
 * aligned to it. Raises vm.nr_hugepages when it must.
 */
int mem_map(struct mem *m, enum mem_kind kind, size_t length);
void mem_unmap(struct mem *m);
/* @length is not 0 */
bool all_bytes(const void *mem, size_t length, uint8_t byte);
bool all_zero(const void *mem, size_t length);
/* Memory with nothing on either side of it: an overrun faults. */
void *need_guarded(size_t length);
void guarded_free(void *mem, size_t length);

/* ---- image.c: images and what is in them ---- */

/* What need_image_* fills an image with, so that a stray write is seen */
#define IMAGE_FILL	0xA5

struct image {
	int fd;			/* O_RDWR, buffered */
	int direct;		/* O_RDWR | O_DIRECT: how the tests look at it */
	uint64_t size;
	bool blkdev;
	char path[PATH_MAX];
};

const char *test_dir(void);		/* MRAM_TEST_DIR; ends the test if unset */
const char *test_blkdev(void);		/* or NULL */
/* @dir NULL: MRAM_TEST_DIR. A new file, written (not only allocated). */
void need_image_file(struct image *img, const char *dir, uint64_t size);
/* The same with a size but no blocks at all */
void need_image_sparse(struct image *img, const char *dir, uint64_t size);
/* The first @size bytes of a block device; @dev NULL: MRAM_TEST_BLKDEV */
void need_image_blkdev(struct image *img, const char *dev, uint64_t size);
/* Closes, and removes a file */
void image_drop(struct image *img);
/* Whole @length or -errno; bypasses the page cache; @buf need not be aligned */
int image_read(const struct image *img, void *buf, size_t length,
	       uint64_t offset);
int image_write(const struct image *img, const void *buf, size_t length,
		uint64_t offset);
int image_fill(const struct image *img, uint8_t byte);
/* Pages of the file in the page cache, or -errno */
long cached_pages(int fd);

/* ---- model.c: what a pass must do ---- */

struct model {
	const struct region *r;
	const struct image *img;
	uint8_t *mem;		/* what the region must hold */
	uint8_t *image;		/* what the whole image must hold */
	uint64_t *dirty;	/* what the bitmaps must hold */
	uint64_t *file;
	char why[256];		/* what model_check() found */
};

/* Takes memory, image and bitmaps as they are now for right. */
void need_model(struct model *m, const struct region *r,
		const struct image *img);
void model_free(struct model *m);
/* Change one page in memory and model, and mark it dirty in both */
void model_write_random(struct model *m, struct rng *rng, size_t page);
void model_write_zero(struct model *m, size_t page);
/* Each page with @percent: a quarter of them become zero */
void model_dirty_some(struct model *m, struct rng *rng, unsigned int percent);
/* What SAVE of the range does; with counts as in its outputs, if not NULL */
void model_save(struct model *m, size_t first, size_t nr,
		uint64_t *written, uint64_t *zero);
/*
 * Compares memory, image (past the page cache) and both bitmaps with the
 * model. 0, or -1 with the first difference in @why.
 */
int model_check(struct model *m);
/*
 * For after a failed or interrupted pass: every page whose dirty bit is clear
 * is in the image (file bit set) or zero (file bit clear), and nothing outside
 * the region's range changed. Takes what it finds as the new state.
 */
int model_check_union(struct model *m);

/* ---- kernel.c: looks at the rest of the kernel ---- */

/* kB of a line of /proc/self/status: "VmRSS", "VmPin", "VmLck" ...; or -errno */
long self_status_kb(const char *name);
long meminfo_kb(const char *name);
/* A line of /proc/vmstat, after folding the per-CPU parts; or -errno */
long vmstat(const char *name);
/* Pages pinned at this moment by anybody: acquired - released */
long pinned_pages(void);
/* Waits until pinned_pages() is at most @pages; false after 5 s */
bool pins_return_to(long pages);
/* Runs a shell command line quietly; its exit status, or -errno */
int shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The first line of what a command prints; "" when it fails */
void shell_line(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int write_file(const char *path, const char *text);
bool have_program(const char *name);

/* What /proc/self/pagemap says of each of @pages; 0 or -errno */
#define PAGEMAP_FRAME	((1ULL << 55) - 1)	/* of one that is present */
#define PAGEMAP_WRITTEN	(1ULL << 55)		/* soft-dirty */
#define PAGEMAP_SWAPPED	(1ULL << 62)
#define PAGEMAP_PRESENT	(1ULL << 63)
int pagemap_read(const void *mem, size_t pages, uint64_t *entries);
/* Whether a write was seen since soft-dirty bits were cleared */
bool soft_dirty(const void *addr);

/* kB that are mapped of the mapping that starts at @addr, or -errno */
long mapping_rss_kb(const void *addr);

/* ---- account.c: how much of a piece of memory exists ---- */

struct account {
	long rss;
	long tables;
	long blocks;
	long huge_free;
};
struct account account_now(const struct mem *mem);
/* 0, or -1 with the difference in @why */
int account_differs(const struct account *before, const struct mem *mem,
		    char *why, size_t size);

/* ---- frames.c: whether memory that is gone is free ---- */

/*
 * The frames behind anonymous memory, to see after its end whether somebody
 * still holds some: references that are no pins are counted nowhere.
 */
struct frames {
	size_t nr;
	uint64_t pfn[];
};
struct frames *need_frames(const void *mem, size_t length);
/* How many are still held, after up to 5 s; frees @f */
long frames_held(struct frames *f);

/* ---- mount.c: file systems and loop devices of one test ---- */

/* Own mount namespace, so that whatever a test mounts dies with it */
void need_private_mounts(void);

struct scratch {
	char backing[PATH_MAX];	/* sparse file in MRAM_TEST_DIR */
	char dev[64];		/* loop device */
	char dir[PATH_MAX];	/* mount point, empty when not mounted */
};

/* A loop device with direct I/O to a sparse file of @size */
int scratch_open(struct scratch *s, uint64_t size);
/* mkfs ("ext4", "xfs", "btrfs") and mount; @opts may be NULL */
int scratch_mount(struct scratch *s, const char *fstype, const char *opts);
int scratch_umount(struct scratch *s);
void scratch_close(struct scratch *s);

/* The same as swap of @size */
int scratch_swap_on(struct scratch *s, uint64_t size);
void scratch_swap_off(struct scratch *s);

#endif /* MAPPED_RAM_SELFTEST_COMMON_H */
