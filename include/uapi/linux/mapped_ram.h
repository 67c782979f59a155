/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ABI of /dev/mapped_ram: copy the dirty pages of a registered memory
 * region to fixed offsets of an image file with direct I/O, and back.
 *
 * One open of the device is a session. It holds regions, one image, and dies
 * with its file descriptor. The calls are made in this order:
 *
 *   INFO (any time), IMAGE_SET and REGION_ADD (either first), then
 *   mmap() of the bitmaps, SAVE or LOAD as often as wanted.
 *
 * Every ioctl takes a struct that starts with its own size in bytes, so that
 * structs can grow: a caller with an older, shorter struct gets zeroes for
 * what it does not know; a caller with a newer, longer one is served as long
 * as the part the kernel does not know is zero. Outputs are prefixed out_;
 * what a caller passes in them is ignored. Outputs are written only on
 * success, except by SAVE and LOAD, see there.
 *
 * Errors, for every ioctl:
 *
 *   ENOTTY      the ioctl number is unknown
 *   EINVAL      the struct is shorter than its first version, or a field is
 *               out of range or not aligned
 *   E2BIG       the struct is longer than the kernel knows and the rest of it
 *               is not zero, or it is longer than a page
 *   EOPNOTSUPP  an unknown flag, or padding that is not zero
 *   EFAULT      the struct cannot be read or written (it must be writable
 *               even where there are no outputs)
 *   EPERM       the session's regions belong to another address space
 *   ENOENT      no region has this id
 *   ENOMEM      out of memory
 *   EINTR       a signal came while waiting for another call on the session
 *
 * and what each ioctl adds to these is said beside it. After an error nothing
 * has changed, except that SAVE and LOAD may have moved a part of the pages;
 * unless the struct is unmapped by another thread during the call.
 *
 * Since: ABI version 1.
 */
#ifndef _UAPI_LINUX_MAPPED_RAM_H
#define _UAPI_LINUX_MAPPED_RAM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/** define MAPPED_RAM_ABI_VERSION - what &mapped_ram_info.out_abi_version says */
#define MAPPED_RAM_ABI_VERSION	1

/** define MAPPED_RAM_DEVICE - the device node */
#define MAPPED_RAM_DEVICE	"/dev/mapped_ram"

#define MAPPED_RAM_IOC_MAGIC	0xD9

/**
 * struct mapped_ram_info - ioctl(MAPPED_RAM_INFO)
 * @size: sizeof(struct mapped_ram_info)
 * @flags: must be 0
 * @out_abi_version: MAPPED_RAM_ABI_VERSION of the module
 * @out_page_size: the kernel's page size in bytes, the smallest
 *                 &mapped_ram_region_add.page_size
 * @out_features: which optional flags the module knows, MAPPED_RAM_FEATURE_*
 * @out_max_regions: most regions of one session
 * @out_max_window: most I/Os in flight of one pass
 * @out_max_extent: most bytes of one I/O; moreover no I/O crosses a multiple of
 *                  it, counted from the region's start
 * @out_max_bridge: most clean pages written along to join two dirty runs
 * @out_max_region_pages: most pages of one region
 *
 * What the module can do. Works before anything else is set up.
 */
struct mapped_ram_info {
	__u32 size;
	__u32 flags;
	__u32 out_abi_version;
	__u32 out_page_size;
	__aligned_u64 out_features;
	__u32 out_max_regions;
	__u32 out_max_window;
	__u32 out_max_extent;
	__u32 out_max_bridge;
	__aligned_u64 out_max_region_pages;
};
#define MAPPED_RAM_INFO	_IO(MAPPED_RAM_IOC_MAGIC, 0x00)

/** define MAPPED_RAM_FEATURE_PIN - MAPPED_RAM_REGION_PIN works */
#define MAPPED_RAM_FEATURE_PIN		(1ULL << 0)
/** define MAPPED_RAM_FEATURE_BRIDGE_AUTO - MAPPED_RAM_SAVE_BRIDGE_AUTO works */
#define MAPPED_RAM_FEATURE_BRIDGE_AUTO	(1ULL << 1)

/**
 * struct mapped_ram_image_set - ioctl(MAPPED_RAM_IMAGE_SET)
 * @size: sizeof(struct mapped_ram_image_set)
 * @flags: 0, or MAPPED_RAM_IMAGE_LOAD
 * @fd: the image, a regular file or a block device. Open for writing, and
 *      with MAPPED_RAM_IMAGE_LOAD for reading. It need not be open with
 *      O_DIRECT: the module's own I/O is always direct. The session keeps its
 *      own reference, @fd may be closed afterwards.
 * @pad: must be 0
 * @out_mem_align: alignment in bytes that direct I/O wants of memory
 * @out_offset_align: alignment in bytes that it wants of offsets and lengths
 * @out_flags: MAPPED_RAM_IMAGE_OUT_*
 * @out_pad: 0
 *
 * Attach the image, or replace it. The file bitmaps of the regions are not
 * touched: whoever replaces the image says in them what the new one holds.
 *
 * Errors: EBADF (@fd is not open, or not open in the needed direction), ENODEV
 * (neither a regular file nor a block device), EINVAL (open with O_APPEND, or
 * a region's pages_offset or page_size is not a multiple of the alignment),
 * EOPNOTSUPP (the file system cannot do direct I/O on it), EROFS (a read-only
 * device or file system), ETXTBSY (a swap file), EFBIG (a region ends beyond
 * the largest file the file system can hold, or beyond the block device),
 * EBUSY (a pass is running).
 */
struct mapped_ram_image_set {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 pad;
	__u32 out_mem_align;
	__u32 out_offset_align;
	__u32 out_flags;
	__u32 out_pad;
};
#define MAPPED_RAM_IMAGE_SET	_IO(MAPPED_RAM_IOC_MAGIC, 0x01)

/** define MAPPED_RAM_IMAGE_LOAD - the image will be read with LOAD, not written */
#define MAPPED_RAM_IMAGE_LOAD		(1U << 0)

/**
 * define MAPPED_RAM_IMAGE_OUT_STABLE_PAGES - the target computes checksums
 *
 * Pages must not change while they are written, so SAVE copies them first,
 * except with MAPPED_RAM_SAVE_STOPPED.
 */
#define MAPPED_RAM_IMAGE_OUT_STABLE_PAGES	(1U << 0)
/** define MAPPED_RAM_IMAGE_OUT_BLOCK_DEVICE - the image is a block device */
#define MAPPED_RAM_IMAGE_OUT_BLOCK_DEVICE	(1U << 1)

/**
 * struct mapped_ram_region_add - ioctl(MAPPED_RAM_REGION_ADD)
 * @size: sizeof(struct mapped_ram_region_add)
 * @flags: 0, or MAPPED_RAM_REGION_PIN
 * @user_addr: where the region starts in the caller's address space, in
 *             bytes, a multiple of the kernel's page size
 * @length: in bytes, a multiple of @page_size, not 0
 * @pages_offset: where page 0 of the region lies in the image, in bytes, a
 *                multiple of @page_size; page n lies at
 *                @pages_offset + n * @page_size
 * @page_size: bytes that one bit of the bitmaps stands for: a power of two,
 *             from the kernel's page size to 2 MiB
 * @out_region_id: names the region in later calls; never 0
 * @out_dirty_offset: what to pass to mmap() for the dirty bitmap, in bytes
 * @out_file_offset: what to pass to mmap() for the file bitmap, in bytes
 * @out_bitmap_size: length of each mapping in bytes: one bit a page, rounded
 *                   up to the kernel's page size
 *
 * Register a range of memory. Both bitmaps are mapped with MAP_SHARED through
 * the session's fd and start as zero. Bit n of the region is bit n % 64 of
 * the n / 64th 64-bit word. In the dirty bitmap a set bit means: must be
 * written by the next SAVE. SAVE clears bits in it and sets them again for
 * pages that it could not write, so whoever adds bits must do it with atomic
 * OR and never by overwriting. In the file bitmap a set bit means: the image
 * holds this page's data; clear means that the page is zero. Bits behind the
 * last page are ignored and not changed. The mappings must be of the whole
 * @out_bitmap_size, shared and not executable (EINVAL), and are not inherited
 * by the child of a fork.
 *
 * The address space of the first REGION_ADD is the session's from then on.
 *
 * Errors: EINVAL (not aligned, @length 0, a bad @page_size, too many pages, or
 * @pages_offset or @page_size not a multiple of the image's alignment),
 * EOVERFLOW (address or offset plus length overflows), EFAULT (a part of the
 * range is not mapped), EEXIST (the image range overlaps another region's),
 * EFBIG (it ends beyond what the image can hold), ENOSPC (too many regions).
 */
struct mapped_ram_region_add {
	__u32 size;
	__u32 flags;
	__aligned_u64 user_addr;
	__aligned_u64 length;
	__aligned_u64 pages_offset;
	__u32 page_size;
	__u32 out_region_id;
	__aligned_u64 out_dirty_offset;
	__aligned_u64 out_file_offset;
	__aligned_u64 out_bitmap_size;
};
#define MAPPED_RAM_REGION_ADD	_IO(MAPPED_RAM_IOC_MAGIC, 0x02)

/**
 * define MAPPED_RAM_REGION_PIN - keep the pages that passes meet pinned
 *
 * Later passes then find them without a walk of the page tables. The pins
 * follow the memory: what is unmapped, discarded or replaced is unpinned. A
 * change of protection is not noticed: pages that were readable once are saved.
 * Kept pages are not swapped out, count as pinned and against RLIMIT_MEMLOCK;
 * those that do not fit under it are simply not kept.
 */
#define MAPPED_RAM_REGION_PIN		(1U << 0)

/**
 * struct mapped_ram_region_remove - ioctl(MAPPED_RAM_REGION_REMOVE)
 * @size: sizeof(struct mapped_ram_region_remove)
 * @region_id: what REGION_ADD returned
 *
 * Forget a region. Mappings of its bitmaps stay valid memory but no longer
 * mean anything.
 *
 * Errors: EBUSY (a pass on it is running).
 */
struct mapped_ram_region_remove {
	__u32 size;
	__u32 region_id;
};
#define MAPPED_RAM_REGION_REMOVE	_IO(MAPPED_RAM_IOC_MAGIC, 0x03)

/**
 * struct mapped_ram_save - ioctl(MAPPED_RAM_SAVE)
 * @size: sizeof(struct mapped_ram_save)
 * @flags: 0, or MAPPED_RAM_SAVE_STOPPED and MAPPED_RAM_SAVE_BRIDGE_AUTO, or one
 *         of them
 * @region_id: what REGION_ADD returned
 * @window: most I/Os in flight; 0 for the module's choice
 * @first_page: first page of the range, an index into the region
 * @nr_pages: pages of the range, not 0
 * @bridge: write up to this many clean pages along to join two dirty runs
 *          into one I/O; 0 for none. Only pages that the image already holds
 *          and that are in memory are used. With MAPPED_RAM_SAVE_BRIDGE_AUTO the
 *          most that the module may choose, 0 for no limit but its own.
 * @max_extent: most bytes of one I/O, a multiple of the region's page_size; 0
 *              for the module's choice
 * @out_written_pages: dirty pages that the image now holds
 * @out_zero_pages: dirty pages that are zero: not written, file bit clear
 * @out_bridged_pages: clean pages written along
 * @out_ios: writes that were made
 * @out_bytes: bytes that they wrote
 * @out_error_page: the first page that could not be saved, an index into the
 *                  region; MAPPED_RAM_NO_PAGE when there is none
 * @out_flags: MAPPED_RAM_PASS_OUT_*
 * @out_bridge: the longest bridge in force at the end of the pass, in pages:
 *              @bridge, or with MAPPED_RAM_SAVE_BRIDGE_AUTO the module's choice,
 *              which is 0 until enough I/Os were made to choose by
 *
 * One pass: take every dirty bit of the range, and for each either write the
 * page and set its file bit, or find it zero and clear its file bit, or, when
 * it could not be written, set the dirty bit again. Whatever happens, no
 * dirty bit is lost: dirty bits and image together are still the memory. Pages
 * that were written along in a write that failed become dirty too, since the
 * image may hold anything in their place.
 *
 * A page is read at some time between the claim and the write. Whoever changes
 * it, by writing or by discarding it, must set its dirty bit afterwards, or
 * know that no pass runs.
 *
 * The calls may be made by several threads: ranges that do not overlap are
 * saved at the same time, those that do one after the other.
 *
 * A regular file must already be as long as the range's end in it, so that a
 * file cut short is noticed. If it is shorter, pages of the range beyond its
 * end whose file bit is set become dirty, the bit is cleared, and ENODATA is
 * returned. If it is cut
 * short during the pass, nobody can tell any more what is left of it: that
 * happens to all pages of all regions. (A cut that is made up for at once by
 * the write of the file's very last page is not noticed; a file that is longer
 * than its last region has no such page.)
 *
 * Errors before the pass, outputs untouched: EINVAL (@nr_pages 0, @window or
 * @max_extent out of range or not a multiple of the page size, @bridge too
 * large), ERANGE (the range leaves the region), ENXIO (no image), EBADF (the
 * image was attached for loading). Errors of the pass, outputs written: EFAULT
 * (memory of the range is not mapped or cannot be read), EINTR (a signal: what
 * was in flight was finished, the rest is still dirty; before kernel 6.2 only a
 * fatal one ends a wait for a userfaultfd), EFBIG (RLIMIT_FSIZE or
 * the file system's limit), ENODATA (the image is too short), and whatever
 * writing to the image returns: EIO, ENOSPC, EDQUOT, EPERM ...
 */
struct mapped_ram_save {
	__u32 size;
	__u32 flags;
	__u32 region_id;
	__u32 window;
	__aligned_u64 first_page;
	__aligned_u64 nr_pages;
	__u32 bridge;
	__u32 max_extent;
	__aligned_u64 out_written_pages;
	__aligned_u64 out_zero_pages;
	__aligned_u64 out_bridged_pages;
	__aligned_u64 out_ios;
	__aligned_u64 out_bytes;
	__aligned_u64 out_error_page;
	__u32 out_flags;
	__u32 out_bridge;
};
#define MAPPED_RAM_SAVE	_IO(MAPPED_RAM_IOC_MAGIC, 0x04)

/**
 * define MAPPED_RAM_SAVE_STOPPED - nothing writes to the region meanwhile
 *
 * The caller's promise, which spares the copy that a target with stable pages
 * otherwise needs. If it is broken, such a target may report checksum errors
 * for the pages that changed.
 */
#define MAPPED_RAM_SAVE_STOPPED		(1U << 0)

/**
 * define MAPPED_RAM_SAVE_BRIDGE_AUTO - the module chooses the length of bridges
 *
 * It measures, while passes run, what an I/O of the image costs and what a page
 * more in it, and bridges where that is cheaper. What it has found out is kept
 * for later passes of the session, and looked at again now and then; attaching
 * an image begins anew.
 */
#define MAPPED_RAM_SAVE_BRIDGE_AUTO	(1U << 1)

/** define MAPPED_RAM_NO_PAGE - no page failed */
#define MAPPED_RAM_NO_PAGE		(~0ULL)

/**
 * define MAPPED_RAM_PASS_OUT_BUFFERED - the image went through the page cache
 *
 * The file system fell back to buffered I/O; or pages of the range were in the
 * page cache when the pass had ended, since somebody else read the image. They
 * were written back and dropped.
 */
#define MAPPED_RAM_PASS_OUT_BUFFERED	(1U << 0)
/** define MAPPED_RAM_PASS_OUT_BOUNCED - pages were copied before they were written */
#define MAPPED_RAM_PASS_OUT_BOUNCED	(1U << 1)

/**
 * struct mapped_ram_load - ioctl(MAPPED_RAM_LOAD)
 * @size: sizeof(struct mapped_ram_load)
 * @flags: must be 0
 * @region_id: what REGION_ADD returned
 * @window: most I/Os in flight; 0 for the module's choice
 * @first_page: first page of the range, an index into the region
 * @nr_pages: pages of the range, not 0
 * @max_extent: most bytes of one I/O, a multiple of the region's page_size; 0
 *              for the module's choice
 * @pad: must be 0
 * @out_read_pages: pages read from the image
 * @out_zero_pages: pages whose file bit is clear, which are zero now
 * @out_ios: reads that were made
 * @out_bytes: bytes that they read
 * @out_error_page: the first page that was not loaded, an index into the
 *                  region; MAPPED_RAM_NO_PAGE when there is none
 * @out_flags: MAPPED_RAM_PASS_OUT_*
 * @out_pad: 0
 *
 * The mirror of SAVE: read the pages whose file bit is set from the image,
 * make the others zero. Pages that are zero and not yet present stay absent.
 * The bitmaps are not changed.
 *
 * Errors before the pass, outputs untouched: as for SAVE; EBADF (the image is
 * not open for reading). Errors of the pass, outputs written: EFAULT (memory
 * of the range is not mapped or cannot be written), EINTR (a signal), ENODATA
 * (the image ends before the page), and whatever reading the image returns.
 * After an error the pages before @out_error_page are loaded, and the content
 * of the range is undefined from there on.
 */
struct mapped_ram_load {
	__u32 size;
	__u32 flags;
	__u32 region_id;
	__u32 window;
	__aligned_u64 first_page;
	__aligned_u64 nr_pages;
	__u32 max_extent;
	__u32 pad;
	__aligned_u64 out_read_pages;
	__aligned_u64 out_zero_pages;
	__aligned_u64 out_ios;
	__aligned_u64 out_bytes;
	__aligned_u64 out_error_page;
	__u32 out_flags;
	__u32 out_pad;
};
#define MAPPED_RAM_LOAD	_IO(MAPPED_RAM_IOC_MAGIC, 0x05)

#endif /* _UAPI_LINUX_MAPPED_RAM_H */
