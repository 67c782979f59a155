/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What most tests stand on: one session, one region, one image around which
 * there is something to lose, and the model of all of it.
 */
#ifndef MAPPED_RAM_RIG_H
#define MAPPED_RAM_RIG_H

#include "common.h"
#include "flaky.h"

/*
 * A part of a test, a function of _metadata and self. Tests that need a file
 * system of their own do all their parts on one: making it is what takes long.
 */
#define STEP(_part)							\
	do {								\
		TH_LOG("%s", #_part);					\
		_part(_metadata, self);					\
	} while (0)

/* Where the region starts in the image, and what lies behind it */
#define RIG_HEAD	MIB
#define RIG_TAIL	(64 * KIB)

struct rig {
	int dev;
	struct memdisk disk;	/* of need_rig() */
	bool own_disk;
	struct mem mem;
	struct image img;
	struct region r;
	struct model m;
};

/* A raw disk of memory under the image, 4 KiB pages. Everything is clean. */
void need_rig(struct rig *rig, enum mem_kind kind, size_t length,
	      uint32_t region_flags);
/* The image is a file in the directory @where, or the block device @where. */
void need_rig_on(struct rig *rig, enum mem_kind kind, size_t length,
		 uint32_t region_flags, const char *where);
/* The same, with a file that has a size but no blocks. */
void need_rig_sparse(struct rig *rig, enum mem_kind kind, size_t length,
		     const char *dir);
void rig_drop(struct rig *rig);

/* Random contents for all pages, all of them dirty */
void rig_dirty_all(struct rig *rig, struct rng *rng);
/*
 * A pass that must succeed (@save NULL: over everything) and the check of all
 * that it did; 0, or -errno of the pass, or -EBADMSG with the model's why.
 */
int rig_save(struct rig *rig, struct mapped_ram_save *save);

/*
 * Every kind of memory with every size of page that makes a difference; more
 * than a few words of bitmap, and not a whole number of them.
 */
struct shape {
	enum mem_kind kind;
	size_t length;
	uint32_t page_size;
};
extern const struct shape shapes[];

/* Where images of @size may lie in the tests that try several places. */
struct place {
	const char *fstype;	/* NULL: a raw device */
	struct memdisk disk;
	struct scratch fs;
};
/* 0, or -EOPNOTSUPP: this file system cannot be made or mounted here */
int place_open(struct place *place, const char *fstype);
void place_close(struct place *place);
/* How many of the shapes to try there; all of them would take too long. */
size_t nr_shapes(const struct place *place);
void need_place_image(struct place *place, struct image *img, uint64_t size);
/* What the test itself left of it in the page cache */
void image_uncache(const struct image *img);

/* The first @size bytes of a block device, as they are */
void need_image_unfilled(struct image *img, const char *dev, uint64_t size);

/* The kernel's page frame behind @addr, 0 when none is mapped, or -errno */
int64_t page_frame(const void *addr);

/*
 * Memory of kind MEM_THP becomes huge pages: what is read before it is written
 * to, as a model does, would be small ones.
 */
void need_huge(const struct mem *m);

/* Of @nr format pages of the image those in the page cache, or -errno */
long cached_range_pages(const struct region *r, const struct image *img,
			uint64_t first, uint64_t nr);
/* The same of the whole region */
long cached_region_pages(const struct region *r, const struct image *img);

/* One pass as the struct says; 0 or -errno, and the struct's outputs */
int save_pass(const struct region *r, struct mapped_ram_save *save);
int load_pass(const struct region *r, struct mapped_ram_load *load);

#endif
