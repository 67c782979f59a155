/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmappedram: put a virtual machine's memory on disk, and back.
 *
 * The image is QEMU's mapped-ram format: every page of every block has a fixed
 * offset, a bitmap says which pages are there. Saving is a session: regions
 * are added by name, passes write what is dirty (as many as wanted while the
 * guest runs, one when it is stopped), a commit makes the image valid.
 * Restoring opens an image, checks it, and fills memory from it.
 *
 * Conventions of all calls:
 * - They return 0 (or a count or index where said), or a negative errno.
 * - The last argument takes what went wrong in words. It may be NULL.
 * - Option structs start with their own size; NULL means the defaults, and a
 *   field that is 0 means the default. MRAM_OPTS() fills the size in.
 * - Nothing is global. One object may be used by one thread at a time, except
 *   where said; different objects are independent.
 * - Strings and buffers that are passed in are copied, memory regions are not:
 *   they stay the caller's and must outlive the session.
 *
 * Since: 0.1, all of it.
 */
#ifndef MAPPEDRAM_H
#define MAPPEDRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * MRAM_OPTS - an option struct's initializer
 * @type: the struct, without the word struct
 *
 * struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts, .bridge = 8);
 */
#define MRAM_OPTS(type, ...) \
	((struct type){ .size = sizeof(struct type), ##__VA_ARGS__ })

/**
 * struct mram_error - what went wrong, for a human
 * @code: the negative errno that the call returned
 * @message: one line without a newline; it names the region or block, the
 *           offset and the cause as far as they are known
 */
struct mram_error {
	int code;
	char message[508];
};

/** mram_version - the library's version, "0.1.0" */
const char *mram_version(void);

/* ------------------------------------------------------------------ saving */

struct mram_session;

/**
 * struct mram_session_opts - how to save
 * @size: sizeof(struct mram_session_opts)
 * @flags: MRAM_SESSION_*
 * @engine: who moves the pages: "module", "uring", "pwrite", or NULL for the
 *          first of these that works here
 * @machine: QEMU's machine type name, written to the image; NULL for "none"
 */
struct mram_session_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	const char *engine;
	const char *machine;
};

/**
 * mram_session_open - start saving to an image
 * @out: the session
 * @path: a regular file, made when missing, or a block device
 *
 * The image is opened but not changed before mram_session_begin().
 */
int mram_session_open(struct mram_session **out, const char *path,
		      const struct mram_session_opts *opts,
		      struct mram_error *err);

/**
 * mram_session_close - end a session, free everything
 *
 * Without a commit the image stays one that no loader accepts. NULL is fine.
 */
void mram_session_close(struct mram_session *s);

/** mram_session_engine - the engine in use: "module", "uring" or "pwrite" */
const char *mram_session_engine(const struct mram_session *s);

/**
 * struct mram_region_opts - more about a region
 * @size: sizeof(struct mram_region_opts)
 * @flags: MRAM_REGION_*
 * @page_size: bytes one bitmap bit stands for; 0 for 4096
 * @fd: with MRAM_REGION_HAS_FD the file behind the mapping. The uring and
 *      pwrite engines need it to leave holes of shared memory alone; the
 *      module does not.
 * @fd_offset: where in @fd the region starts, in bytes
 */
struct mram_region_opts {
	size_t size;
	uint32_t flags;
	uint32_t page_size;
	int32_t fd;
	uint32_t reserved;
	uint64_t fd_offset;
};

/**
 * MRAM_REGION_PIN - keep pages pinned between passes: faster
 *
 * module: what passes meet is kept as far as RLIMIT_MEMLOCK goes, and dropped
 * when the memory is discarded or replaced: nothing else changes. uring:
 * mram_session_begin() registers the region with io_uring, which touches and
 * pins all of it; -ENOMEM when RLIMIT_MEMLOCK is too low, -EFAULT when a part
 * is not writable. Until the session is closed the memory must not be
 * discarded, remapped or replaced then: what was there before would be saved.
 * pwrite: no effect.
 */
#define MRAM_REGION_PIN		(1u << 0)
/** MRAM_REGION_HAS_FD - @fd and @fd_offset are given */
#define MRAM_REGION_HAS_FD	(1u << 1)

/**
 * mram_session_add_region - add a range of memory
 * @name: QEMU's RAMBlock name, 1 to 255 bytes, unique in the session
 * @addr: page-aligned start
 * @length: in bytes, a multiple of the page size
 *
 * Before mram_session_begin(). Regions stand in the image in this order.
 *
 * Return: the region's index, from 0.
 */
int mram_session_add_region(struct mram_session *s, const char *name,
			    void *addr, uint64_t length,
			    const struct mram_region_opts *opts,
			    struct mram_error *err);

/**
 * mram_session_begin - lay the image out and get ready for passes
 *
 * Takes the validity of whatever the image held before away (durably), gives
 * the file its size, registers the regions with the engine. All pages are
 * clean and none is in the image yet: see mram_session_mark_dirty().
 */
int mram_session_begin(struct mram_session *s, struct mram_error *err);

/** MRAM_ALL - as a page count: to the end of the region */
#define MRAM_ALL	UINT64_MAX

/**
 * mram_session_mark_dirty - the next pass shall write these pages
 * @region: index, or -1 for all regions (then @first and @count must be 0 and
 *          MRAM_ALL)
 *
 * Atomic: any thread, also while a pass runs.
 */
int mram_session_mark_dirty(struct mram_session *s, int region,
			    uint64_t first, uint64_t count,
			    struct mram_error *err);

/**
 * mram_session_or_dirty - OR a bitmap into a region's dirty bitmap
 * @first: the page that bit 0 of @words stands for; any number
 * @words: bit n % 64 of word n / 64 is page @first + n
 * @count: how many bits of @words count
 *
 * Atomic, like mram_session_mark_dirty().
 */
int mram_session_or_dirty(struct mram_session *s, int region, uint64_t first,
			  const uint64_t *words, uint64_t count,
			  struct mram_error *err);

/** mram_session_count_dirty - pages that are dirty now; @region -1 for all */
int64_t mram_session_count_dirty(const struct mram_session *s, int region);

/**
 * struct mram_pass_opts - how to run a pass
 * @size: sizeof(struct mram_pass_opts)
 * @flags: MRAM_PASS_*
 * @window: most I/Os in flight; 0 for the engine's choice
 * @bridge: clean pages written along to join two dirty runs, at most
 * @max_extent: most bytes of one I/O; 0 for the engine's choice
 * @progress: called now and then with the pages done and the pages that were
 *            dirty at the start, from the thread that runs the pass; a value
 *            other than 0 stops the pass with -ECANCELED. May be NULL.
 * @progress_data: handed to @progress
 */
struct mram_pass_opts {
	size_t size;
	uint32_t flags;
	uint32_t window;
	uint32_t bridge;
	uint32_t max_extent;
	int (*progress)(void *data, uint64_t done, uint64_t total);
	void *progress_data;
};

/** MRAM_PASS_STOPPED - nothing writes to the regions meanwhile */
#define MRAM_PASS_STOPPED	(1u << 0)

/**
 * struct mram_pass_stats - what a pass did
 * @size: sizeof(struct mram_pass_stats), set by the caller
 * @flags: MRAM_STATS_*
 * @dirty: pages that were dirty
 * @written: of these, pages that the image now holds
 * @zero: of these, pages found zero
 * @bridged: clean pages written along
 * @ios: writes
 * @bytes: bytes written
 * @nsec: wall-clock time
 */
struct mram_pass_stats {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	uint64_t dirty;
	uint64_t written;
	uint64_t zero;
	uint64_t bridged;
	uint64_t ios;
	uint64_t bytes;
	uint64_t nsec;
};

/** MRAM_STATS_BUFFERED - the file system went through the page cache */
#define MRAM_STATS_BUFFERED	(1u << 0)
/** MRAM_STATS_BOUNCED - pages were copied before they were written */
#define MRAM_STATS_BOUNCED	(1u << 1)

/**
 * mram_session_pass - write what is dirty, in all regions
 * @stats: may be NULL; filled also when the pass failed
 *
 * After an error every page that did not reach the image is dirty again, so
 * the pass may simply be repeated.
 */
int mram_session_pass(struct mram_session *s, const struct mram_pass_opts *opts,
		      struct mram_pass_stats *stats, struct mram_error *err);

/**
 * mram_session_add_section - put state beside the memory
 * @name: the section's name (QEMU: idstr), 1 to 255 bytes
 * @instance: tells sections of one name apart
 * @version: the writer's own
 *
 * Written at commit, as a QEMU device section with one buffer. Adding the same
 * name and instance again replaces it.
 */
int mram_session_add_section(struct mram_session *s, const char *name,
			     uint32_t instance, uint32_t version,
			     const void *data, size_t length,
			     struct mram_error *err);

/**
 * mram_session_commit - make the image valid
 *
 * Data, bitmaps and state are made durable before the image gets its magic.
 * -EBUSY when pages are still dirty: run a pass first. More passes and another
 * commit may follow; the next pass takes the validity away again.
 */
int mram_session_commit(struct mram_session *s, struct mram_error *err);

/* ------------------------------------------------------- KVM's dirty log */

struct mram_kvm_tracker;

/**
 * struct mram_kvm_tracker_opts - how to track
 * @size: sizeof(struct mram_kvm_tracker_opts)
 * @flags: MRAM_KVM_*
 */
struct mram_kvm_tracker_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * MRAM_KVM_MANUAL_PROTECT - the VM has KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 on
 *
 * Pages are then protected again in small portions with KVM_CLEAR_DIRTY_LOG.
 */
#define MRAM_KVM_MANUAL_PROTECT	(1u << 0)

/**
 * mram_kvm_tracker_open - feed KVM's dirty log to a session
 * @vm_fd: the VM; stays the caller's and must outlive the tracker
 */
int mram_kvm_tracker_open(struct mram_kvm_tracker **out, int vm_fd,
			  struct mram_session *s,
			  const struct mram_kvm_tracker_opts *opts,
			  struct mram_error *err);

/** mram_kvm_tracker_close - free the tracker; NULL is fine */
void mram_kvm_tracker_close(struct mram_kvm_tracker *t);

/**
 * mram_kvm_tracker_add_slot - track a memory slot
 * @slot: KVM's slot number, with the address space in the upper 16 bits
 * @region: index of the region that holds the slot's memory
 * @offset: where in the region the slot starts, in bytes, page-aligned
 * @length: the slot's length in bytes; it must lie in the region
 *
 * The slot must have KVM_MEM_LOG_DIRTY_PAGES. Slots and regions need not
 * align: several slots may share a region.
 */
int mram_kvm_tracker_add_slot(struct mram_kvm_tracker *t, uint32_t slot,
			      int region, uint64_t offset, uint64_t length,
			      struct mram_error *err);

/**
 * mram_kvm_tracker_sync - fetch what the guest wrote since the last call
 *
 * Call before each pass; with the vCPUs stopped before the last one.
 *
 * Return: pages that were fetched as dirty.
 */
int64_t mram_kvm_tracker_sync(struct mram_kvm_tracker *t,
			      struct mram_error *err);

/* --------------------------------------------------------------- restoring */

struct mram_image;

/**
 * mram_image_open - open an image for reading and check its structure
 *
 * Magic, version, configuration, every header, every length and offset against
 * the file, the end of the stream. Nothing is allocated by the file's word
 * alone. -EINVAL: not a mapped-ram image, or damaged; -ENODATA: not committed;
 * -EOPNOTSUPP: it uses something of QEMU's that mapped-ram excludes or that
 * this library does not know. Bitmaps are checked when they are asked for.
 */
int mram_image_open(struct mram_image **out, const char *path,
		    struct mram_error *err);

/** mram_image_close - free the image; NULL is fine */
void mram_image_close(struct mram_image *img);

/**
 * struct mram_block_info - one block of an image
 * @size: sizeof(struct mram_block_info), set by the caller
 * @name: valid until the image is closed
 * @length: used_length, in bytes
 * @page_size: in bytes
 * @bitmap_offset: in the file, in bytes
 * @pages_offset: in the file, in bytes
 * @pages: length in pages
 * @set_pages: pages that the image holds; the others are zero
 */
struct mram_block_info {
	size_t size;
	const char *name;
	uint64_t length;
	uint64_t page_size;
	uint64_t bitmap_offset;
	uint64_t pages_offset;
	uint64_t pages;
	uint64_t set_pages;
};

/** mram_image_machine - QEMU's machine type name, valid until close */
const char *mram_image_machine(const struct mram_image *img);

/** mram_image_size - end of the stream in the file, in bytes */
uint64_t mram_image_size(const struct mram_image *img);

/** mram_image_blocks - how many blocks the image has */
int mram_image_blocks(const struct mram_image *img);

/** mram_image_find - index of the block of this name, or -ENOENT */
int mram_image_find(const struct mram_image *img, const char *name);

/** mram_image_block - tell about block @index */
int mram_image_block(struct mram_image *img, int index,
		     struct mram_block_info *info, struct mram_error *err);

/**
 * mram_image_bitmap - a block's bitmap
 * @words: valid until the image is closed; bit n % 64 of word n / 64 is page n
 */
int mram_image_bitmap(struct mram_image *img, int index,
		      const uint64_t **words, struct mram_error *err);

/**
 * mram_image_section - state that stands beside the memory
 * @data: malloc()ed, the caller frees it
 *
 * Finds what mram_session_add_section() wrote. -ENOENT when there is none, also
 * in images whose device state another program wrote.
 */
int mram_image_section(struct mram_image *img, const char *name,
		       uint32_t instance, uint32_t *version,
		       void **data, size_t *length, struct mram_error *err);

/**
 * mram_image_state_offset - where the device state begins in the file, in bytes
 *
 * That is behind the end of the RAM section; it ends at mram_image_size().
 */
uint64_t mram_image_state_offset(const struct mram_image *img);

/**
 * struct mram_section_info - one section of the device state
 * @size: sizeof(struct mram_section_info), set by the caller
 * @name: valid until the image is closed
 * @instance: tells sections of one name apart
 * @version: the writer's own
 * @data_offset: in the file, in bytes
 * @length: of the data, in bytes
 */
struct mram_section_info {
	size_t size;
	const char *name;
	uint32_t instance;
	uint32_t version;
	uint64_t data_offset;
	uint64_t length;
};

/**
 * mram_image_sections - how many sections the device state has
 *
 * -EOPNOTSUPP when they cannot be told apart: another program wrote the image
 * and its description is missing or does not fit.
 */
int mram_image_sections(const struct mram_image *img);

/** mram_image_section_info - tell about section @index, in the file's order */
int mram_image_section_info(struct mram_image *img, int index,
			    struct mram_section_info *info,
			    struct mram_error *err);

/**
 * struct mram_restore_opts - how to restore
 * @size: sizeof(struct mram_restore_opts)
 * @flags: must be 0
 * @window: most I/Os in flight; 0 for the engine's choice
 * @engine: as in struct mram_session_opts
 * @max_extent: most bytes of one I/O; 0 for the engine's choice
 * @progress: as in struct mram_pass_opts, with the pages of the block
 * @progress_data: handed to @progress
 */
struct mram_restore_opts {
	size_t size;
	uint32_t flags;
	uint32_t window;
	const char *engine;
	uint32_t max_extent;
	uint32_t reserved;
	int (*progress)(void *data, uint64_t done, uint64_t total);
	void *progress_data;
};

/**
 * struct mram_restore_stats - what a restore did
 * @size: sizeof(struct mram_restore_stats), set by the caller
 * @read: pages read
 * @zero: pages that are zero
 * @ios: reads
 * @bytes: bytes read
 * @nsec: wall-clock time
 * @engine: who did it; static
 */
struct mram_restore_stats {
	size_t size;
	uint64_t read;
	uint64_t zero;
	uint64_t ios;
	uint64_t bytes;
	uint64_t nsec;
	const char *engine;
};

/**
 * mram_image_restore - fill memory from a block
 * @index: the block
 * @addr: page-aligned
 * @length: in bytes; must be the block's length
 *
 * Pages that the image does not hold are made zero; if they are absent they
 * stay so.
 */
int mram_image_restore(struct mram_image *img, int index, void *addr,
		       uint64_t length, const struct mram_restore_opts *opts,
		       struct mram_restore_stats *stats,
		       struct mram_error *err);

#ifdef __cplusplus
}
#endif

#endif /* MAPPEDRAM_H */
