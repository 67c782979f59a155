/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's objects and which file owns them.
 *
 * session  an open file of /dev/mapped_ram (session.c)
 * region   a registered range of user memory with its bitmaps (region.c)
 * image    the attached file or block device (image.c)
 * pass     one SAVE or LOAD while it runs (pass.c), with its window of I/Os in
 *          flight (transfer.c)
 * window   the memory for it (window.c)
 *
 * Locks, outermost first:
 *
 *   mmap_lock > mram_session.lock > mram_region.range_lock
 *   mmap_lock > mram_pins.lock
 *
 * Nothing touches user memory, takes mmap_lock or does I/O under
 * mram_session.lock, since mmap() of the bitmaps takes it under mmap_lock. A
 * pass holds no lock while it works: the session keeps its region and image
 * in place because they are counted as in use.
 */
#ifndef MRAM_MAPPED_RAM_H
#define MRAM_MAPPED_RAM_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include <uapi/linux/mapped_ram.h>

#include "bridge.h"
#include "runs.h"

#define MRAM_MAX_REGIONS	1024U
#define MRAM_MAX_REGION_PAGES	(1UL << 32)
#define MRAM_MAX_PAGE_SHIFT	21
#define MRAM_MAX_WINDOW		256U
#define MRAM_DEFAULT_WINDOW	32U
#define MRAM_DEFAULT_EXTENT	(1U << 20)
#define MRAM_MAX_BRIDGE		4096U

/* What a pass works on at a time, in kernel pages; also the longest extent. */
#define MRAM_CHUNK_PAGES	4096U
#define MRAM_MAX_EXTENT		(MRAM_CHUNK_PAGES << PAGE_SHIFT)

struct mram_pins;

/**
 * struct mram_image - the attached file
 * @file: our reference
 * @inode: whose size counts: of a block device not the device node's
 * @data: what holds the data: on a stacked file system the lower one's
 * @load: attached for reading
 * @block: a block device
 * @bios: a block device that takes bios
 * @stable: pages must not change while they are written
 * @mem_align: what direct I/O wants of memory
 * @offset_align: what it wants of offsets and lengths
 *
 * Does not change once it is attached.
 */
struct mram_image {
	struct file *file;
	struct inode *inode;
	struct inode *data;
	bool load;
	bool block;
	bool bios;
	bool stable;
	u32 mem_align;
	u32 offset_align;
};

/**
 * struct mram_session - an open file of the device
 * @lock: guards all that follows
 * @mm: the address space of all regions, from the first one on; a reference on
 *      the struct, not on its users
 * @image: NULL, or what passes write to; fixed while @passes is not 0
 * @regions: by id
 * @passes: passes that run
 * @windows: those that no pass has
 * @nr_windows: how many they are
 * @cuts: how often a pass found the image cut short under it; without the lock
 * @bridge_lock: guards what follows, in place of @lock; innermost
 * @bridge: what is known about the image's device
 * @trying: a pass is finding out more
 */
struct mram_session {
	struct mutex lock;
	struct mm_struct *mm;
	struct mram_image *image;
	struct xarray regions;
	unsigned int passes;
	struct list_head windows;
	unsigned int nr_windows;
	atomic_t cuts;
	spinlock_t bridge_lock;
	struct mram_bridge bridge;
	bool trying;
};

/**
 * struct mram_region - a registered range
 * @id: names it in the session
 * @page_shift: of the format's page
 * @addr: first byte, in the session's address space
 * @nr_pages: length in format pages
 * @pages_offset: where its page 0 lies in the image
 * @dirty: dirty bitmap, mapped by userspace
 * @file: file bitmap, mapped by userspace
 * @bitmap_size: bytes of each, in whole kernel pages
 * @pins: the pin cache of a region with MAPPED_RAM_REGION_PIN, else NULL
 * @users: passes that work on it; under the session's lock
 * @range_lock: guards @ranges
 * @ranges: the ranges that passes work on or wait for, in order of arrival
 * @range_wait: for a range to become free
 */
struct mram_region {
	u32 id;
	unsigned int page_shift;
	unsigned long addr;
	unsigned long nr_pages;
	loff_t pages_offset;
	unsigned long *dirty;
	unsigned long *file;
	unsigned long bitmap_size;
	struct mram_pins *pins;
	unsigned int users;
	spinlock_t range_lock;
	struct list_head ranges;
	wait_queue_head_t range_wait;
};

static inline loff_t mram_region_end(const struct mram_region *region)
{
	return region->pages_offset +
	       ((loff_t)region->nr_pages << region->page_shift);
}

/**
 * struct mram_range - pages that a pass has for itself
 * @node: in &mram_region.ranges
 * @first: first page
 * @last: last page
 */
struct mram_range {
	struct list_head node;
	unsigned long first;
	unsigned long last;
};

/*
 * Why a wait that a signal ends was ended. Task work, which io_uring uses, ends
 * it too, and is no signal: then the system call is simply made again.
 */
static inline int mram_interrupted(void)
{
	return task_sigpending(current) ? -EINTR : -ERESTARTNOINTR;
}

/* session.c */
extern const struct file_operations mram_fops;
int mram_session_lock(struct mram_session *s);
void mram_session_lose(struct mram_session *s);
int mram_ioctl_info(struct mram_session *s, void *arg);
int mram_ioctl_image_set(struct mram_session *s, void *arg);
int mram_ioctl_region_add(struct mram_session *s, void *arg);
int mram_ioctl_region_remove(struct mram_session *s, void *arg);

/* main.c */
long mram_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* save.c, load.c */
int mram_ioctl_save(struct mram_session *s, void *arg);
int mram_ioctl_load(struct mram_session *s, void *arg);

/* region.c */
struct mram_region *mram_region_new(const struct mapped_ram_region_add *arg);
int mram_region_check(const struct mapped_ram_region_add *arg);
void mram_region_free(struct mram_region *region);
int mram_region_mmap(struct mram_region *region, bool file,
		     struct vm_area_struct *vma);
void mram_region_lose(struct mram_region *region, unsigned long start,
		      unsigned long end);
int mram_range_lock(struct mram_region *region, struct mram_range *range);
void mram_range_unlock(struct mram_region *region, struct mram_range *range);

/* image.c */
struct mram_image *mram_image_get(int fd, bool load);
void mram_image_put(struct mram_image *image);
int mram_image_fits(const struct mram_image *image,
		    const struct mram_region *region);
bool mram_image_ends_before(const struct mram_image *image, loff_t pos);
bool mram_image_uncache(const struct mram_image *image, loff_t pos,
			loff_t end);
void mram_image_iocb(const struct mram_image *image, bool load,
		     struct kiocb *iocb);
ssize_t mram_image_rw(const struct mram_image *image, struct kiocb *iocb,
		      struct iov_iter *iter, bool check);
bool mram_image_takes_bio(const struct mram_image *image, loff_t pos,
			  size_t length);

/* window.c */
void mram_windows_free(struct mram_session *s);

/* pages.c */
long mram_gup_result(long ret);
long mram_pages_fault(unsigned long addr, unsigned long nr,
		      struct page **pages);
long mram_pages_get_other(unsigned long addr, unsigned long nr,
			  struct mram_run *runs, struct page **batch);
unsigned long mram_pages_get_present(unsigned long addr, unsigned long nr,
				     struct mram_run *runs,
				     struct page **batch);
void mram_pages_put(struct mram_run *runs, unsigned long nr);
void mram_pages_split(struct mram_run *runs, unsigned long nr);
void mram_pages_keep(struct mram_run *runs, unsigned long nr,
		     const unsigned long *keep, unsigned long first);
void mram_runs_make(struct mram_run *runs, struct page **pages,
		    unsigned long nr);
void mram_page_run_get(struct page *page, unsigned long nr);
void mram_page_run_put(struct page *page, unsigned long nr);

/* take.c */
bool mram_may_take(struct vm_area_struct *vma, bool pin);
unsigned long mram_pages_take(bool pin, unsigned long addr,
			      const unsigned long *need, unsigned long index,
			      unsigned long end, struct mram_run *runs,
			      unsigned long *not_before);

/* fill.c */
unsigned long mram_pages_fill(unsigned long addr, const unsigned long *need,
			      unsigned long index, unsigned long end,
			      struct mram_run *runs);

/* populate.c */
bool mram_pages_populate(unsigned long addr, const unsigned long *need,
			 unsigned long index, unsigned long end);

/* pins.c */
struct mram_pins *mram_pins_new(struct mm_struct *mm, unsigned long addr,
				unsigned long nr);
void mram_pins_free(struct mram_pins *pins);
unsigned long mram_pins_get(struct mram_pins *pins, unsigned long addr,
			    unsigned long nr, struct mram_run *runs,
			    struct page **batch);

#endif /* MRAM_MAPPED_RAM_H */
