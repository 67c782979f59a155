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
 *      pwrite engines and the scan tracker need it to leave holes of shared
 *      memory alone; the module does not.
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
 * @bridge: clean pages written along to join two dirty runs, at most; or
 *          MRAM_BRIDGE_AUTO
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
 * MRAM_BRIDGE_AUTO - let the engine choose how many clean pages
 *
 * It measures, while passes run, what an I/O costs and what a page more in it,
 * and bridges where that is cheaper. What it has found out serves later passes
 * of the session, too. Fails with -EOPNOTSUPP where the loaded module cannot.
 */
#define MRAM_BRIDGE_AUTO	UINT32_MAX

/**
 * struct mram_pass_stats - what a pass did
 * @size: sizeof(struct mram_pass_stats), set by the caller
 * @flags: MRAM_STATS_*
 * @bridge: how many clean pages it was that joined two runs, at most, when the
 *          pass ended; what MRAM_BRIDGE_AUTO has come to. It counts pages of
 *          the last region that was saved.
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
	uint32_t bridge;
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

/* ------------------------------------------ memory of this process */

struct mram_scan_tracker;

/**
 * struct mram_scan_tracker_opts - how to track
 * @size: sizeof(struct mram_scan_tracker_opts)
 * @flags: must be 0
 */
struct mram_scan_tracker_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * mram_scan_tracker_open - feed a session what is written to its regions
 *
 * By this process' threads, by the kernel on their behalf, and by guests of KVM,
 * through the mapping that the session knows. Not seen is what is written by
 * other processes, through other mappings, and by devices (and I/O that is on
 * its way during a fetch) into pages that the kernel or a driver has hold of:
 * that is for mram_session_mark_dirty(). -EOPNOTSUPP where the kernel cannot:
 * it takes PAGEMAP_SCAN and asynchronous write protection by userfaultfd, of
 * Linux 6.7. Needs no privilege; -EPERM where userfaultfd(2) is forbidden.
 */
int mram_scan_tracker_open(struct mram_scan_tracker **out,
			   struct mram_session *s,
			   const struct mram_scan_tracker_opts *opts,
			   struct mram_error *err);

/**
 * mram_scan_tracker_close - track no more; NULL is fine
 *
 * Before the memory is unmapped. A child made with fork() has nothing tracked,
 * and may do nothing but this with what it inherits.
 */
void mram_scan_tracker_close(struct mram_scan_tracker *t);

/**
 * mram_scan_tracker_add - track a region
 * @region: index of the session's region
 *
 * All of it must be mapped (-EFAULT) and readable (-EACCES), and may not be
 * mapped anew, moved or unmapped as long as it is tracked. -EBUSY when a
 * userfaultfd has the memory, -EEXIST when it is tracked already, -EPERM when it
 * is shared memory of a file that was opened for reading only. Transparent huge
 * pages are split where private memory is written; in shared memory, and on
 * hugetlbfs, a huge page is written as a whole.
 */
int mram_scan_tracker_add(struct mram_scan_tracker *t, int region,
			  struct mram_error *err);

/**
 * mram_scan_tracker_fetch - mark dirty what was written since the last call
 *
 * Call before each pass; nothing has to stand still but before the last one.
 * The first call marks all that there is: nothing else has to be marked then.
 * Where nobody can tell (shared memory without MRAM_REGION_HAS_FD, and of
 * hugetlbfs) that is all that is mapped. KVM forgets what it has of the memory in
 * each call, and its guests fault it in again.
 * Pages that were given back (MADV_DONTNEED, a hole that was punched) count as
 * written; in shared memory and huge pages of hugetlbfs only if nobody has
 * touched them again before the call. After an error the session may have more
 * dirty pages than before, and lacks none.
 *
 * Return: how many pages these are; with some that were dirty already, and that
 * are counted again where the region's pages are larger than the kernel's.
 */
int64_t mram_scan_tracker_fetch(struct mram_scan_tracker *t,
				struct mram_error *err);

/* ------------------------------------------ another process' memory */

struct mram_softdirty;

/**
 * struct mram_softdirty_opts - how to track
 * @size: sizeof(struct mram_softdirty_opts)
 * @flags: must be 0
 */
struct mram_softdirty_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * mram_softdirty_open - feed the soft-dirty bits of a process to a session
 * @pid: the process; nothing in it is changed but these bits
 *
 * For memory in files that the process and the caller both map. -EOPNOTSUPP
 * where the kernel has no such bits.
 */
int mram_softdirty_open(struct mram_softdirty **out, int pid,
			struct mram_session *s,
			const struct mram_softdirty_opts *opts,
			struct mram_error *err);

/** mram_softdirty_close - free the tracker; NULL is fine */
void mram_softdirty_close(struct mram_softdirty *t);

/**
 * mram_softdirty_add_file - track a region
 * @region: index of the session's region, of pages of the system's size
 * @fd: the file; its offset is moved. It may be closed afterwards.
 * @fd_offset: where in the file the region starts, in bytes
 *
 * The process has to map all of it, shared and writable, and may not map it
 * anew later. -EOPNOTSUPP on hugetlbfs.
 */
int mram_softdirty_add_file(struct mram_softdirty *t, int region, int fd,
			    uint64_t fd_offset, struct mram_error *err);

/**
 * mram_softdirty_fetch - mark dirty what was written since the last clearing
 *
 * Return: how many pages these are.
 */
int64_t mram_softdirty_fetch(struct mram_softdirty *t, struct mram_error *err);

/**
 * mram_softdirty_clear - start anew
 *
 * Of all memory of the process. From the fetch before to the end of this call
 * the process may not write to the memory, neither itself nor through I/O that
 * it has started: what it wrote would be lost. The pages that were fetched have
 * to be saved after this.
 */
int mram_softdirty_clear(struct mram_softdirty *t, struct mram_error *err);

/**
 * mram_softdirty_settle - make pages trackable that the process never touched
 *
 * Without this they count as dirty in each fetch. Between clearing and the next
 * pass; the process may run.
 */
int mram_softdirty_settle(struct mram_softdirty *t, struct mram_error *err);

/* --------------------------------------------------- QEMU, from outside */

struct mram_qemu;

/**
 * mram_qemu_open - look at a running QEMU and check that it can be saved
 * @path: its monitor's socket: qemu -qmp unix:PATH,server=on,wait=off
 *
 * Changes nothing. All its RAM has to be in memory-backend-file objects with
 * share=on. -EOPNOTSUPP, and what is in the way by its name: capabilities and
 * parameters of its migration that exclude saving (xbzrle, postcopy-ram,
 * multifd, TLS, ...), private RAM, memory that others write to (vhost-user,
 * VFIO, another process). -EBUSY: it is being migrated, or saved by another
 * caller.
 */
int mram_qemu_open(struct mram_qemu **out, const char *path,
		   struct mram_error *err);

/** mram_qemu_close - let go of it; NULL is fine */
void mram_qemu_close(struct mram_qemu *q);

/**
 * struct mram_qemu_info - what was found
 * @size: sizeof(struct mram_qemu_info), set by the caller
 * @pid: of the process
 * @version: QEMU's, major * 1000000 + minor * 1000 + micro
 * @running: the virtual machine runs
 * @backends: how many memory backends it has
 * @bytes: the sum of their sizes
 * @name: the virtual machine's name, or ""; valid until close
 */
struct mram_qemu_info {
	size_t size;
	int32_t pid;
	uint32_t version;
	uint32_t running;
	uint32_t backends;
	uint64_t bytes;
	const char *name;
};

/** mram_qemu_info - tell what was found */
void mram_qemu_info(const struct mram_qemu *q, struct mram_qemu_info *info);

/**
 * mram_qemu_check_image - -EINVAL if a file is the memory that is to be saved
 *
 * mram_qemu_save() looks, too; this is for callers that touch the file before.
 */
int mram_qemu_check_image(const struct mram_qemu *q, const char *path,
			  struct mram_error *err);

/** enum mram_qemu_phase - what mram_qemu_save() is at */
enum mram_qemu_phase {
	/** @MRAM_QEMU_BEGUN: what the image held before is not valid any more */
	MRAM_QEMU_BEGUN,
	/** @MRAM_QEMU_COMPARE: memory is compared with the old image */
	MRAM_QEMU_COMPARE,
	/** @MRAM_QEMU_LIVE: a pass while the virtual machine runs */
	MRAM_QEMU_LIVE,
	/** @MRAM_QEMU_LAST: the last pass */
	MRAM_QEMU_LAST,
	/** @MRAM_QEMU_STATE: QEMU hands its device state over */
	MRAM_QEMU_STATE,
	/** @MRAM_QEMU_COMMIT: the image is made valid */
	MRAM_QEMU_COMMIT,
};

/**
 * struct mram_qemu_progress - how far mram_qemu_save() is
 * @phase: what it is at
 * @pass: number of the pass, from 1
 * @done: pages done in this phase
 * @total: pages to do in this phase, 0 where there are none
 * @dirty_rate: pages a second that the machine dirtied before this pass
 */
struct mram_qemu_progress {
	enum mram_qemu_phase phase;
	uint32_t pass;
	uint64_t done;
	uint64_t total;
	uint64_t dirty_rate;
};

/**
 * struct mram_qemu_pass - a pass that is over
 * @number: from 1
 * @last: the virtual machine was stopped
 * @dirty_rate: pages a second that the machine dirtied before this pass
 * @paused_nsec: the machine was paused for this long before this pass; of the
 *               last one, nothing: its downtime is in the job's statistics
 * @stats: what the pass did
 */
struct mram_qemu_pass {
	uint32_t number;
	uint32_t last;
	uint64_t dirty_rate;
	uint64_t paused_nsec;
	struct mram_pass_stats stats;
};

/**
 * struct mram_qemu_save_opts - how to save
 * @size: sizeof(struct mram_qemu_save_opts)
 * @flags: MRAM_QEMU_*
 * @engine: as in struct mram_session_opts
 * @downtime_msec: stop the machine when what is left is estimated to be written
 *                 in this time; 0 for 300
 * @max_passes: stop it for this pass at the latest; 0 for 10, 1: stop at once
 * @pass: window, bridge and max_extent (0 for 4 MiB) for all passes; the rest
 *        must be 0
 * @progress: called now and then; a value other than 0 ends the job with
 *            -ECANCELED and the machine as it was. May be NULL.
 * @pass_done: called after each pass; may be NULL
 * @data: handed to both
 */
struct mram_qemu_save_opts {
	size_t size;
	uint32_t flags;
	uint32_t downtime_msec;
	const char *engine;
	uint32_t max_passes;
	uint32_t reserved;
	struct mram_pass_opts pass;
	int (*progress)(void *data, const struct mram_qemu_progress *progress);
	void (*pass_done)(void *data, const struct mram_qemu_pass *pass);
	void *data;
};

/** MRAM_QEMU_STOP - leave the machine stopped when it is saved or restored */
#define MRAM_QEMU_STOP		(1u << 0)
/** MRAM_QEMU_UPDATE - the image is an older one of this machine: see there */
#define MRAM_QEMU_UPDATE	(1u << 1)

/**
 * struct mram_qemu_save_stats - what a job did
 * @size: sizeof(struct mram_qemu_save_stats), set by the caller
 * @passes: passes over memory
 * @blocks: blocks in the image
 * @total: all passes together
 * @compared: pages that were compared with the old image
 * @same: of these, pages that were equal and not written
 * @state_bytes: device state
 * @nsec: the whole job
 * @downtime_nsec: the machine was stopped for this long; 0 if it was so before
 * @paused_nsec: it was paused for this long between live passes, in sum
 * @engine: who did it; static
 */
struct mram_qemu_save_stats {
	size_t size;
	uint32_t passes;
	uint32_t blocks;
	struct mram_pass_stats total;
	uint64_t compared;
	uint64_t same;
	uint64_t state_bytes;
	uint64_t nsec;
	uint64_t downtime_nsec;
	uint64_t paused_nsec;
	const char *engine;
};

/**
 * mram_qemu_save - save the virtual machine to an image that QEMU loads
 * @path: a regular file, made when missing, or a block device
 * @stats: may be NULL
 *
 * Passes while the machine runs, with short pauses in between in which the dirty
 * bits are fetched; then it is stopped, the last pass is made, and QEMU hands
 * its device state over. It goes on as soon as all that is in hand; with
 * MRAM_QEMU_STOP it stays in state "postmigrate" when the image is valid, from
 * which the command "cont" takes it. A machine that did not run stays stopped.
 *
 * After an error the machine runs if it ran before, QEMU's capabilities and
 * parameters are as they were, and no loader accepts the image. That holds even
 * if the caller dies: a child process, which ends with the call, takes care of
 * it.
 *
 * With MRAM_QEMU_UPDATE the image must be a valid one of a machine with the same
 * blocks that this call wrote. Its pages are read and compared with memory, and
 * only those that differ are written: right whatever happened in between. The
 * old image is not valid from the beginning of the job on; mram_image_clone()
 * makes a copy to work on.
 */
int mram_qemu_save(struct mram_qemu *q, const char *path,
		   const struct mram_qemu_save_opts *opts,
		   struct mram_qemu_save_stats *stats, struct mram_error *err);

/**
 * mram_image_clone - make one file share all data of another (FICLONE)
 * @from: an image
 * @to: a regular file on the same file system; made when missing
 *
 * -EOPNOTSUPP or -EXDEV where the file system cannot; then a new @to is gone
 * again.
 */
int mram_image_clone(const char *from, const char *to, struct mram_error *err);

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

/**
 * struct mram_image_opts - where an image is
 * @size: sizeof(struct mram_image_opts)
 * @flags: must be 0
 * @offset: where in the file its first byte lies: QEMU writes an image behind
 *          something else with migrate "file:PATH,offset=N"
 */
struct mram_image_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	uint64_t offset;
};

/** mram_image_open_with - mram_image_open() with options */
int mram_image_open_with(struct mram_image **out, const char *path,
			 const struct mram_image_opts *opts,
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

/**
 * struct mram_map_opts - how to map
 * @size: sizeof(struct mram_map_opts)
 * @flags: must be 0
 * @max_maps: make at most so many mappings; 0 for 16384. Fewer are made when the
 *            process has not so many left (vm.max_map_count).
 */
struct mram_map_opts {
	size_t size;
	uint32_t flags;
	uint32_t max_maps;
};

/**
 * struct mram_map_stats - what memory is made of
 * @size: sizeof(struct mram_map_stats), set by the caller
 * @maps: mappings that were made
 * @held: pages that the image holds. Those that are touched come through the
 *        page cache and stay there, once for all that map the image.
 * @zero: pages that it does not hold
 * @private: pages, of either kind, that were read or zeroed at once and are this
 *           process' own, for want of mappings
 * @nsec: wall-clock time
 */
struct mram_map_stats {
	size_t size;
	uint64_t maps;
	uint64_t held;
	uint64_t zero;
	uint64_t private;
	uint64_t nsec;
};

/**
 * mram_image_map - make memory a private copy-on-write mapping of a block
 * @index: the block
 * @addr: page-aligned; whatever is mapped there is replaced. No hugetlbfs.
 * @length: in bytes; must be the block's length
 * @stats: may be NULL
 *
 * Nothing is read yet but bitmaps. Many machines can be cloned from one image:
 * they share what they do not write, and see nothing of each other. The image
 * may be closed, but nobody may change the file or cut it short as long as it is
 * mapped: that would change the machines, or end them with SIGBUS. So does a
 * page that cannot be read. Memory that is discarded (MADV_DONTNEED) is the
 * image's again, not zero: to discard it, map anonymous memory over it.
 *
 * After an error the memory is anonymous and zero, or inaccessible when there
 * cannot be so much; it is as it was when the arguments were wrong.
 */
int mram_image_map(struct mram_image *img, int index, void *addr,
		   uint64_t length, const struct mram_map_opts *opts,
		   struct mram_map_stats *stats, struct mram_error *err);

/* ------------------------------------------- restoring into QEMU, outside */

/**
 * mram_qemu_open_incoming - look at a QEMU that waits for a state
 * @path: its monitor's socket: qemu -incoming defer -qmp unix:PATH,...
 *
 * As mram_qemu_open(), for mram_qemu_restore(): all its RAM has to be in
 * memory-backend-file objects with share=on, and nothing has come in yet
 * (-EBUSY).
 */
int mram_qemu_open_incoming(struct mram_qemu **out, const char *path,
			    struct mram_error *err);

/**
 * struct mram_qemu_restore_opts - how to restore
 * @size: sizeof(struct mram_qemu_restore_opts)
 * @flags: MRAM_QEMU_STOP or 0
 * @window: as in struct mram_restore_opts
 * @engine: as in struct mram_session_opts
 * @max_extent: as in struct mram_restore_opts
 * @progress: as in struct mram_pass_opts, with the pages of all backends
 * @progress_data: handed to @progress
 */
struct mram_qemu_restore_opts {
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
 * struct mram_qemu_restore_stats - what a restore did
 * @size: sizeof(struct mram_qemu_restore_stats), set by the caller
 * @blocks: blocks of the image
 * @running: the machine runs now
 * @read: pages read into the backends
 * @zero: pages of theirs that are zero
 * @ios: reads
 * @bytes: bytes read
 * @streamed: pages of other blocks, which QEMU was handed with its state
 * @state_bytes: device state
 * @nsec: the whole job
 * @state_nsec: of this, the handing over; 0 if it never came to that
 * @engine: who filled the backends; static
 * @state: what QEMU calls the state that the machine is in
 */
struct mram_qemu_restore_stats {
	size_t size;
	uint32_t blocks;
	uint32_t running;
	uint64_t read;
	uint64_t zero;
	uint64_t ios;
	uint64_t bytes;
	uint64_t streamed;
	uint64_t state_bytes;
	uint64_t nsec;
	uint64_t state_nsec;
	const char *engine;
	char state[32];
};

/**
 * mram_qemu_restore - restore a virtual machine into a QEMU that waits
 * @q: of mram_qemu_open_incoming(); good for one restore
 * @img: an image that QEMU or mram_qemu_save() wrote
 * @stats: may be NULL
 *
 * -EINVAL before anything is touched when the image is of another machine type,
 * or blocks differ in name or length. Then QEMU's shared memory is filled, QEMU
 * is handed the rest, and the machine goes on, unless it was paused when it was
 * saved, QEMU was started with -S, or MRAM_QEMU_STOP is given: then it is
 * paused.
 *
 * After an error while memory is filled (state_nsec is 0) QEMU waits as before,
 * and the job may be done again. Later it has to be started anew: -EREMOTEIO when
 * it did not take the device state, -ECONNRESET when it has ended for that.
 */
int mram_qemu_restore(struct mram_qemu *q, struct mram_image *img,
		      const struct mram_qemu_restore_opts *opts,
		      struct mram_qemu_restore_stats *stats,
		      struct mram_error *err);

/* -------------------------------------------- restoring while it is used */

struct mram_restore_lazy;

/**
 * struct mram_restore_lazy_opts - how to restore memory that is in use
 * @size: sizeof(struct mram_restore_lazy_opts)
 * @flags: MRAM_LAZY_*
 * @fault_threads: threads that serve faults; 0 for 2
 * @stream_threads: threads that read everything else; 0 for 4
 * @max_extent: most bytes of one read; 0 for 1 MiB
 * @fault_around: bytes around a page that was touched, read along with it as
 *                far as nobody has them yet; 0 for 64 KiB, 1 for none
 * @record: where to write which pages were touched first, for the next time;
 *          NULL for nowhere
 * @working_set: what @record wrote the last time: these pages are brought first,
 *               and of them first those that are zero. NULL for none. A file
 *               that is missing, damaged or of another image is ignored, with a
 *               @message. In shared memory and in huge pages zero pages take
 *               room: as far as there is none they are left out, but where it
 *               is not enough for all of the memory, they may take what the
 *               image's pages need.
 * @error: called for each read that fails, from a thread of the library. It may
 *         take its time (faults wait where there is one thread for them), may
 *         call mram_restore_lazy_pause(), _cancel() and _stats(), must not
 *         touch the memory, and must not unmap or discard any. May be NULL.
 * @message: called with a line that somebody may want to see; else as @error,
 *           and quick, as faults wait meanwhile
 * @data: handed to both, in threads with a stack of 512 KiB
 */
struct mram_restore_lazy_opts {
	size_t size;
	uint32_t flags;
	uint32_t fault_threads;
	uint32_t stream_threads;
	uint32_t max_extent;
	uint32_t fault_around;
	uint32_t reserved;
	const char *record;
	const char *working_set;
	void (*error)(void *data, const struct mram_error *err);
	void (*message)(void *data, const char *text);
	void *data;
};

/** MRAM_LAZY_PAUSED - start as if mram_restore_lazy_pause() had been called */
#define MRAM_LAZY_PAUSED	(1u << 0)
/**
 * MRAM_LAZY_WAIT - who touches a page that cannot be read waits
 *
 * Until a later try brings it or the restore is closed. Without this flag it
 * gets SIGBUS where the kernel can do that (Linux 6.6), and for KVM's guests
 * KVM_RUN fails with -EHWPOISON; elsewhere it waits, too.
 */
#define MRAM_LAZY_WAIT		(1u << 1)

/**
 * MRAM_LAZY_TAKE_OVER - some of the memory may have been filled already
 *
 * By another page fault handler, from the same image. Without this flag a page
 * that is found in memory is an error: nobody knows what it holds. What the
 * guest has discarded before is not known either, and is filled again: only for
 * guests that discarded nothing.
 */
#define MRAM_LAZY_TAKE_OVER	(1u << 2)

/**
 * mram_restore_lazy_open - get ready to fill memory that is used meanwhile
 * @img: must stay open until mram_restore_lazy_close(); sections and blocks of
 *       it may be asked for as before
 *
 * Then mram_restore_lazy_add() for each block, which is -EPERM where
 * userfaultfd(2) is not allowed, mram_restore_lazy_start(), and the guest may
 * run.
 */
int mram_restore_lazy_open(struct mram_restore_lazy **out,
			   struct mram_image *img,
			   const struct mram_restore_lazy_opts *opts,
			   struct mram_error *err);

/**
 * struct mram_restore_lazy_block_opts - more about a block's memory
 * @size: sizeof(struct mram_restore_lazy_block_opts)
 * @flags: must be 0
 * @page_size: with mram_restore_lazy_add_uffd(): what one page of the memory
 *             has, for memory on hugetlbfs; 0 for the system's page size
 */
struct mram_restore_lazy_block_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	uint64_t page_size;
};

/**
 * mram_restore_lazy_add - fill memory of this process from a block
 * @index: the block
 * @addr: page-aligned; private anonymous memory, shared memory (anonymous or a
 *        memfd), or hugetlbfs
 * @length: in bytes; must be the block's length
 *
 * What the memory holds is lost in mram_restore_lazy_start().
 */
int mram_restore_lazy_add(struct mram_restore_lazy *l, int index, void *addr,
			  uint64_t length,
			  const struct mram_restore_lazy_block_opts *opts,
			  struct mram_error *err);

/**
 * mram_restore_lazy_add_uffd - fill memory of another process from a block
 * @index: the block
 * @uffd: that process' userfaultfd, which stays the caller's: open until
 *        mram_restore_lazy_close(), read by nobody else, may serve several
 *        blocks. O_NONBLOCK is set on it.
 * @addr: where the memory is in that process; registered with @uffd for missing
 *        faults, and never touched so far
 * @length: in bytes; must be the block's length
 *
 * This is how virtual machine monitors hand their memory to a page fault
 * handler. Memory may be discarded meanwhile where UFFD_FEATURE_EVENT_REMOVE was
 * asked for on @uffd, unmapped with UFFD_FEATURE_EVENT_UNMAP, and moved with
 * UFFD_FEATURE_EVENT_REMAP; all that is registered with it has to belong to a
 * block.
 */
int mram_restore_lazy_add_uffd(struct mram_restore_lazy *l, int index,
			       int uffd, uint64_t addr, uint64_t length,
			       const struct mram_restore_lazy_block_opts *opts,
			       struct mram_error *err);

/**
 * mram_restore_lazy_start - from here on the memory may be used
 *
 * Whoever touches a page that is not there waits until it is read; the rest is
 * read meanwhile. -EBUSY: the memory is being restored already, or belongs to
 * another userfaultfd. It is as before when it was refused; after other errors
 * what it held is lost.
 *
 * Private memory may be discarded with MADV_DONTNEED and MADV_FREE, shared
 * memory with MADV_REMOVE, memory on hugetlbfs in whole huge pages: it is zero
 * then. Not so shared memory with MADV_DONTNEED or MADV_FREE: the kernel does
 * not tell them from MADV_REMOVE, so pages that are not there yet become zero.
 * A hole punched through the file alone is noticed only in pages that were
 * there. Memory may be unmapped and moved; it may be in several mappings
 * meanwhile. What MREMAP_DONTUNMAP leaves behind is zero where the memory is
 * private and of this process; who touches what it left of other memory waits
 * until the end, and that is an error. Other processes that map the same memory
 * do not wait: they must not use it before the end. Nor must children made with
 * fork().
 */
int mram_restore_lazy_start(struct mram_restore_lazy *l,
			    struct mram_error *err);

/**
 * mram_restore_lazy_pause - read only what is touched, until resumed
 *
 * What is being read is still brought in. Once it is started any thread may call
 * this, and the two that follow.
 */
void mram_restore_lazy_pause(struct mram_restore_lazy *l);

/**
 * mram_restore_lazy_resume - go on reading everything
 *
 * Also after a read has failed, which stops that: it is tried again then, and
 * the error is forgotten. A read that had begun before and fails only now is tried
 * again, too: @error is told of it, but it stops nothing.
 */
void mram_restore_lazy_resume(struct mram_restore_lazy *l);

/**
 * mram_restore_lazy_cancel - give up
 *
 * Nothing is read any more. Whoever touches a page that is not there gets
 * SIGBUS or waits until the restore is closed, as MRAM_LAZY_WAIT says. A call
 * that waits for the end returns -ECANCELED.
 */
void mram_restore_lazy_cancel(struct mram_restore_lazy *l);

/**
 * struct mram_restore_lazy_stats - how far it is
 * @size: sizeof(struct mram_restore_lazy_stats), set by the caller
 * @flags: MRAM_LAZY_STATS_*, MRAM_STATS_BUFFERED
 * @pages: that the memory has
 * @read: brought in from the image
 * @left: still to be brought in from it; pages that the image does not hold
 *        need nothing
 * @zero: pages that the image does not hold, and that were touched or named by
 *        the working set
 * @discarded: given up before they were there: the guest discarded or unmapped
 *             them
 * @existed: found in memory although nobody had brought them in; left alone. An
 *           error at the end but with MRAM_LAZY_TAKE_OVER.
 * @failed: could not be read when they were touched
 * @working_set: pages that the working set named
 * @faults: served
 * @waited: of these, on pages that were on their way already
 * @fault_pages: of @read, pages that were read for a fault
 * @ios: reads
 * @bytes: that they moved
 * @calls: system calls that all threads made
 * @stream_calls: of these, to read and place pages that nobody had touched
 * @nsec: wall-clock time since the start, up to the end
 * @method: how pages are placed: "copy" and others; static
 * @set_left: of @working_set, pages that are to come yet: who waits until there
 *            are none has few faults
 *
 * Pages are of the system's page size here, whatever the image's and the
 * memory's are.
 */
struct mram_restore_lazy_stats {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	uint64_t pages;
	uint64_t read;
	uint64_t left;
	uint64_t zero;
	uint64_t discarded;
	uint64_t existed;
	uint64_t failed;
	uint64_t working_set;
	uint64_t faults;
	uint64_t waited;
	uint64_t fault_pages;
	uint64_t ios;
	uint64_t bytes;
	uint64_t calls;
	uint64_t stream_calls;
	uint64_t nsec;
	const char *method;
	uint64_t set_left;
};

/** MRAM_LAZY_STATS_PAUSED - mram_restore_lazy_pause() was called */
#define MRAM_LAZY_STATS_PAUSED	(1u << 8)
/** MRAM_LAZY_STATS_WORKING_SET - a working set is in use */
#define MRAM_LAZY_STATS_WORKING_SET	(1u << 9)

/**
 * mram_restore_lazy_stats - tell how far it is
 *
 * Once it is started any thread may call this.
 */
void mram_restore_lazy_stats(struct mram_restore_lazy *l,
			     struct mram_restore_lazy_stats *stats);

/**
 * mram_restore_lazy_wait - wait until all memory is there
 * @msec: at most so long; -1 for as long as it takes
 *
 * Return: 0; -ETIMEDOUT; the first error of a read, which says that streaming
 * has stopped: mram_restore_lazy_resume() tries again; -ESRCH: the other process
 * has ended; -ECANCELED. Any thread may call this.
 */
int mram_restore_lazy_wait(struct mram_restore_lazy *l, int msec,
			   struct mram_error *err);

/**
 * mram_restore_lazy_finish - wait until all memory is there, and let go of it
 * @stats: may be NULL; filled also after an error
 *
 * Resumes what is paused. Then the memory is as any other, and no thread of the
 * restore is left. Writes the record. Errors as of mram_restore_lazy_wait(),
 * after which faults are still served; that the record cannot be written is only
 * a message.
 */
int mram_restore_lazy_finish(struct mram_restore_lazy *l,
			     struct mram_restore_lazy_stats *stats,
			     struct mram_error *err);

/**
 * mram_restore_lazy_close - end it; NULL is fine
 *
 * Before the end of a restore nobody may use the memory any more, for it is not
 * whole: where a part of it is missing, memory of this process is made
 * inaccessible, and who waits for it gets SIGBUS or SIGSEGV. Unmap it.
 */
void mram_restore_lazy_close(struct mram_restore_lazy *l);

/* --------------------------------------------- pages of an image, as such */

/**
 * struct mram_scan_opts - how to go through pages
 * @size: sizeof(struct mram_scan_opts)
 * @flags: must be 0
 * @progress: as in struct mram_pass_opts, with the pages that are read
 * @differ: mram_image_diff(): called for each run of pages that differ, in
 *          order; a value other than 0 ends it with -ECANCELED. May be NULL.
 * @data: handed to both
 */
struct mram_scan_opts {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	int (*progress)(void *data, uint64_t done, uint64_t total);
	int (*differ)(void *data, uint64_t first, uint64_t count);
	void *data;
};

/**
 * struct mram_scan_stats - what was done
 * @size: sizeof(struct mram_scan_stats), set by the caller
 * @flags: MRAM_STATS_BUFFERED
 * @read: pages read, of two images together in mram_image_diff()
 * @zero: pages that no image holds
 * @written: mram_image_extract(): pages written
 * @differ: mram_image_diff(): pages that differ
 * @bytes: bytes read
 * @nsec: wall-clock time
 */
struct mram_scan_stats {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	uint64_t read;
	uint64_t zero;
	uint64_t written;
	uint64_t differ;
	uint64_t bytes;
	uint64_t nsec;
};

/**
 * mram_image_verify - read every page of a block that the image holds
 * @index: the block
 *
 * Past the page cache where the file system can do that, so from the disk. The
 * error names the first page that cannot be read.
 */
int mram_image_verify(struct mram_image *img, int index,
		      const struct mram_scan_opts *opts,
		      struct mram_scan_stats *stats, struct mram_error *err);

/**
 * mram_image_extract - write a block to a file, as raw memory
 * @index: the block
 * @fd: a regular file, open for writing, that is empty or has the block's
 *      length. With O_DIRECT it is written past the page cache; where the file
 *      system does not take that after all, the flag is taken off.
 *
 * Pages that are zero stay holes, or become holes where that is possible. The
 * data is flushed. Memory files on hugetlbfs cannot be written to:
 * mram_image_restore() fills those.
 */
int mram_image_extract(struct mram_image *img, int index, int fd,
		       const struct mram_scan_opts *opts,
		       struct mram_scan_stats *stats, struct mram_error *err);

/**
 * mram_image_diff - compare a block with one of another image
 * @index_a: the block in @a
 * @index_b: the block in @b, of the same page size
 *
 * Compared is memory as it would be restored: a page that the image does not
 * hold equals one that it holds and that is zero. When one block is longer,
 * its pages behind the other's end differ.
 *
 * Return: how many pages differ.
 */
int64_t mram_image_diff(struct mram_image *a, int index_a,
			struct mram_image *b, int index_b,
			const struct mram_scan_opts *opts,
			struct mram_scan_stats *stats,
			struct mram_error *err);

#ifdef __cplusplus
}
#endif

#endif /* MAPPEDRAM_H */
