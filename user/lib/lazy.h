/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restoring memory while it is used: what the files lazy*.c share.
 *
 * Words: a unit is what one page of the memory has: the system's page, or a
 * huge page. A unit is present if the image holds any part of it. To claim a
 * unit is to take the right, and the duty, to fill it; to place it is to make
 * it appear in the memory, filled.
 *
 * Who fills a unit is decided by one atomic fetch_or on the block's @claimed.
 * Whoever gets a 1 back leaves the unit alone: the one who placed it wakes all
 * that wait for it.
 *
 * Memory may be discarded at any time. The kernel says so with an event, and
 * goes on as soon as the event was read; from then on old content must not be
 * placed any more. So events are read with @place held for writing, and pages
 * are placed with @place held for reading, after a look at @placed: a bit there
 * says that nothing may be placed any more, since it was or since the unit was
 * discarded.
 *
 * Lock order: @place, then @lock, then @record.lock. Errors are made in each
 * thread's own struct mram_error; the first is merged into @error under @lock.
 */
#ifndef MRAM_LAZY_H
#define MRAM_LAZY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <mappedram.h>

#include "io.h"

#define LAZY_MAX_UNIT	(16u << 20)
#define LAZY_MAX_EXTENT	(64u << 20)

/* Placed at a time: whoever reads faults waits for no more than this. */
#define LAZY_PIECE	(256u << 10)

/*
 * Absent memory from here on is let go of as soon as there is time: it costs
 * nothing, faults no more, and may have huge pages. Only so many ranges in all
 * blocks, and one more in each; and twice as many where they were cut apart.
 */
#define LAZY_GAP	(2ull << 20)
#define LAZY_MAX_PARTS	7
#define LAZY_MAX_LEFT_OUT	(2 * (LAZY_MAX_PARTS + 1))

/* Read along between pages that are wanted, in bytes. */
#define LAZY_BRIDGE	(32u << 10)

/**
 * struct lazy_fd - a userfaultfd
 * @own: made by us, for memory of this process
 * @features: that are on
 * @taken: a fault thread reads it and will go on doing so, atomic
 */
struct lazy_fd {
	int fd;
	bool own;
	uint64_t features;
	uint32_t taken;
};

/**
 * struct lazy_segment - where a part of a block is in memory
 * @addr: of unit @first
 * @units: how many
 *
 * Parts of a block that the image does not hold are in none, see LAZY_GAP, nor
 * is what the guest has unmapped.
 */
struct lazy_segment {
	uint64_t addr;
	uint64_t first;
	uint64_t units;
};

/**
 * struct lazy_block - a block and its memory
 * @index: in the image
 * @name: owned
 * @fd: whose faults; an index into @fds, as the array may grow
 * @addr: as given
 * @length: in bytes
 * @shared: memory of this process that is shared
 * @huge: on hugetlbfs
 * @unit_shift: log2 of the unit
 * @units: in the block
 * @pages: that the image holds, of the system's size
 * @page_shift: log2 of the image's page
 * @pages_offset: of the image
 * @bitmap: the image's
 * @present: by units; owned if it is not @bitmap. As the next four, memory of
 *           its own, which costs nothing before it is written to.
 * @claimed: by units, atomic
 * @placed: by units, atomic: see above
 * @wanted: by units, what the working set names and nobody has placed, atomic;
 *          or NULL
 * @touched: by units, what was recorded; or NULL. Under record.lock.
 * @segment: @nr_segments of them, in the order of their units, under @place:
 *           what is registered with the userfaultfd, and nothing else
 * @registered: whether anything ever was
 * @left_out: @nr_left_out ranges that are not any more, under @place
 */
struct lazy_block {
	int index;
	char *name;
	unsigned int fd;
	uint64_t addr;
	uint64_t length;
	bool shared;
	bool huge;
	unsigned int unit_shift;
	uint64_t units;
	uint64_t pages;
	unsigned int page_shift;
	uint64_t pages_offset;
	const uint64_t *bitmap;
	uint64_t *present;
	uint64_t *claimed;
	uint64_t *placed;
	uint64_t *wanted;
	uint64_t *touched;
	struct lazy_segment *segment;
	size_t nr_segments;
	bool registered;
	struct lazy_segment left_out[LAZY_MAX_LEFT_OUT];
	size_t nr_left_out;
};

/* A range that was moved away from, and may still be there: see lazy_behind.c */
struct lazy_behind {
	int fd;
	uint64_t start;
	uint64_t end;
};

/* What is counted, in pages of the system's size; atomic, relaxed. */
struct lazy_counts {
	uint64_t read;
	uint64_t left;
	uint64_t zero;
	uint64_t discarded;
	uint64_t existed;
	uint64_t failed;
	uint64_t faults;
	uint64_t waited;
	uint64_t fault_pages;
	uint64_t ios;
	uint64_t bytes;
	uint64_t calls;
	uint64_t stream_calls;
	uint64_t set_left;
};

/* A run of pages that were touched, in bytes. */
struct lazy_run {
	uint32_t block;
	uint64_t offset;
	uint64_t length;
};

/**
 * struct lazy_record - first touches, in order
 * @path: where to write them, or NULL
 */
struct lazy_record {
	char *path;
	pthread_mutex_t lock;
	struct lazy_run *run;
	size_t nr;
	size_t max;
};

struct lazy_worker;

/* Streaming goes through the image so often, and takes of it: */
enum lazy_phase {
	LAZY_SET_ZERO,	/* what the working set names and the image has not */
	LAZY_SET,	/* what it names, and what is read along with that */
	LAZY_REST,	/* all else that the image has */
	LAZY_NO_PHASE,	/* nothing: that is over */
};

/**
 * struct mram_restore_lazy - a restore
 * @img: the caller's
 * @io: its file
 * @opts: as given, defaults filled in
 * @working_set: owned copy of the path, or NULL
 * @page_shift: log2 of the system's page
 * @blocks: @nr_blocks of them
 * @fds: @nr_fds of them
 * @behind: @nr_behind ranges, under @place
 * @place: see above
 * @lock: for what follows, down to @next_unit
 * @go: streamers wait for it
 * @done: callers wait for it
 * @error: the first, if @error.code; streaming has stopped then
 * @resumed: how often that was forgotten, atomic
 * @gone: the process whose memory it is has ended
 * @lost: the first page that will never be right
 * @paused, @canceled, @stopping: what was asked for
 * @next_phase: enum lazy_phase
 * @next_block, @next_unit: where streaming goes on
 * @left_out: somebody has gone to lazy_leave_out()
 * @pending: fault threads at work, atomic; streamers wait until there are none
 * @waiting: streamers that wait for that, atomic
 * @hurry: do not wait for events any more, atomic
 * @stop_fd: an eventfd that ends the fault threads
 * @epoll: of lazy_watch(), or -1
 * @workers: @nr_workers of them
 * @named: pages in the working set, with @has_set
 * @started: threads are there, or were
 * @finished: mram_restore_lazy_finish() is through
 */
struct mram_restore_lazy {
	struct mram_image *img;
	struct mram_io *io;
	struct mram_restore_lazy_opts opts;
	char *working_set;
	unsigned int page_shift;

	struct lazy_block *blocks;
	size_t nr_blocks;
	struct lazy_fd *fds;
	size_t nr_fds;
	struct lazy_behind *behind;
	size_t nr_behind;

	pthread_rwlock_t place;
	pthread_mutex_t lock;
	pthread_cond_t go;
	pthread_cond_t done;
	struct mram_error error;
	uint64_t resumed;
	bool gone;
	bool paused;
	bool canceled;
	bool stopping;
	struct mram_error lost;
	int next_phase;
	size_t next_block;
	uint64_t next_unit;
	bool left_out;

	uint32_t pending;
	uint32_t waiting;
	uint32_t hurry;
	int stop_fd;
	int epoll;
	struct lazy_worker *workers;
	size_t nr_workers;
	struct lazy_record record;
	struct lazy_counts counts;
	uint64_t pages;
	uint64_t named;
	bool has_set;
	uint64_t start_time;
	uint64_t end_time;
	bool started;
	bool finished;
};

/* Units of a block whose waiters are to be woken later, if there are any. */
struct lazy_late {
	uint64_t first;
	uint64_t end;
};

/**
 * struct lazy_worker - a thread
 * @stream: a streamer, otherwise it serves faults
 * @buffer: of @size bytes, what is read goes there
 * @zero: a huge page of zeros, where there are any
 * @own: bits of the chunk at hand that this thread has claimed
 * @late: one a block, in a thread that serves faults
 * @fd: what it serves, in such a thread
 * @reads: it is the one that has @taken that
 * @changing: an event is due: nothing can be placed before it was read
 * @unknown: where somebody touched memory that is not known, or 0
 * @stale: how often that was what is left out now
 * @note: to be told when @place is not held any more, or NULL
 * @resumed: of the restore, when what it does now was begun
 * @err: its own
 */
struct lazy_worker {
	struct mram_restore_lazy *l;
	pthread_t thread;
	bool running;
	bool stream;
	unsigned char *buffer;
	size_t size;
	unsigned char *zero;
	size_t zero_size;
	uint64_t *own;
	struct lazy_late *late;
	struct lazy_fd *fd;
	bool reads;
	bool changing;
	uint64_t unknown;
	unsigned int stale;
	const char *note;
	uint64_t resumed;
	struct mram_error err;
};

/**
 * struct lazy_chunk - units that are read at once
 * @end: behind the last one
 * @zero: the image does not hold them
 * @base: word of the block's bitmaps that @own begins with
 * @own: of these units, those that were claimed by us
 */
struct lazy_chunk {
	struct lazy_block *b;
	uint64_t first;
	uint64_t end;
	bool zero;
	uint64_t base;
	uint64_t *own;
};

#define LAZY_NO_UNIT	UINT64_MAX

/** lazy_wake - who waits for these units tries again; with @place held */
void lazy_wake(struct mram_restore_lazy *l, const struct lazy_block *b,
	       uint64_t first, uint64_t end);

static inline void lazy_add(uint64_t *count, uint64_t n)
{
	__atomic_fetch_add(count, n, __ATOMIC_RELAXED);
}

static inline uint64_t lazy_get(const uint64_t *count)
{
	return __atomic_load_n(count, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------ lazy_uffd.c */

/** lazy_uffd_open - a userfaultfd of this process, with what we can use */
int lazy_uffd_open(struct lazy_fd *f, struct mram_error *err);

/** lazy_uffd_adopt - look at another process' */
int lazy_uffd_adopt(struct lazy_fd *f, int fd, struct mram_error *err);

/**
 * lazy_uffd_register - for missing faults
 * @ioctls: what can be done in the range
 */
int lazy_uffd_register(int fd, uint64_t addr, uint64_t length,
		       uint64_t *ioctls);
int lazy_uffd_unregister(int fd, uint64_t addr, uint64_t length);

/*
 * The next three return how many bytes were done, or a negative errno if none
 * was.
 */
int64_t lazy_uffd_copy(int fd, uint64_t addr, const void *from,
		       uint64_t length);
int64_t lazy_uffd_zero(int fd, uint64_t addr, uint64_t length);
int64_t lazy_uffd_poison(int fd, uint64_t addr, uint64_t length);

/** lazy_uffd_continue - map what is in the file already; 0 or an errno */
int lazy_uffd_continue(int fd, uint64_t addr, uint64_t length);

/** lazy_uffd_wake - let those who wait for the range try again */
void lazy_uffd_wake(int fd, uint64_t addr, uint64_t length);

/** lazy_uffd_can_poison - see MRAM_LAZY_WAIT */
bool lazy_uffd_can_poison(const struct lazy_fd *f);

/* ----------------------------------------------------------- lazy_block.c */

/** lazy_bitmap - of zeros; NULL if there is no memory */
uint64_t *lazy_bitmap(uint64_t bits);
void lazy_bitmap_free(uint64_t *bitmap, uint64_t bits);

/** lazy_block_free - what a block owns */
void lazy_block_free(struct lazy_block *b);

/** lazy_block_prepare - bitmaps, when the size of its units is known */
int lazy_block_prepare(struct mram_restore_lazy *l, struct lazy_block *b,
		       struct mram_error *err);

/**
 * lazy_block_count - pages of the system's size in units
 * @clear: those that the image does not hold; may be NULL
 *
 * Return: those that it holds.
 */
uint64_t lazy_block_count(const struct mram_restore_lazy *l,
			  const struct lazy_block *b, uint64_t first,
			  uint64_t end, uint64_t *clear);

/**
 * lazy_block_find - which block and unit is at an address?
 *
 * With @place held.
 */
struct lazy_block *lazy_block_find(struct mram_restore_lazy *l,
				   const struct lazy_fd *f, uint64_t addr,
				   uint64_t *unit);

/** lazy_block_make_room - for @more segments; false if there is no memory */
bool lazy_block_make_room(struct lazy_block *b, size_t more);

/**
 * lazy_block_cut - units from @first to @end are in no segment any more
 *
 * They are all in one; there is room for one more.
 */
void lazy_block_cut(struct lazy_block *b, uint64_t first, uint64_t end);

/** lazy_block_sort - put the segments in order, drop empty ones */
void lazy_block_sort(struct lazy_block *b);

/** lazy_wake_all - whoever waits, for whatever, tries again */
void lazy_wake_all(struct mram_restore_lazy *l);

/**
 * lazy_block_where - the address of a unit
 * @units: takes how many from there on lie together
 *
 * With @place held. Return: the address, or 0: unmapped.
 */
uint64_t lazy_block_where(const struct lazy_block *b, uint64_t unit,
			  uint64_t *units);

/* ------------------------------------------------------------- lazy_map.c */

/** lazy_map - check, empty and register the memory of all blocks */
int lazy_map(struct mram_restore_lazy *l, struct mram_error *err);

/** lazy_unmap - unregister the memory of all blocks, or of this process' */
void lazy_unmap(struct mram_restore_lazy *l, bool only_own);

/**
 * lazy_forbid - make the parts that are missing inaccessible
 *
 * Return: false if that is not possible everywhere.
 */
bool lazy_forbid(struct mram_restore_lazy *l);

/* ------------------------------------------------------------- lazy_gap.c */

/** lazy_leave_out - take the largest gaps out of the userfaultfds */
void lazy_leave_out(struct mram_restore_lazy *l);

/** lazy_is_left_out - is that where an address is? With @place held. */
bool lazy_is_left_out(const struct mram_restore_lazy *l,
		      const struct lazy_fd *f, uint64_t addr);

/* ----------------------------------------------------------- lazy_claim.c */

/**
 * lazy_claim - take units that nobody has
 * @c: block, first, end, zero and own are set; own is filled in, first and end
 *     are drawn close around it
 * @mine: a unit that is ours already, or LAZY_NO_UNIT
 *
 * Return: how many are ours.
 */
uint64_t lazy_claim(struct lazy_chunk *c, uint64_t mine);

/** lazy_own - is a unit of the chunk ours? */
static inline bool lazy_own(const struct lazy_chunk *c, uint64_t unit)
{
	return c->own[unit / 64 - c->base] >> unit % 64 & 1;
}

/** lazy_only - keep one unit of a chunk, without giving the others back */
void lazy_only(struct lazy_chunk *c, uint64_t unit);

/**
 * lazy_give_back - claims that were not used
 * @wake: who waits for them tries again
 *
 * Streaming may have passed them by, so lazy_fail() or lazy_rewind() is due
 * afterwards, unless they need not be brought.
 */
void lazy_give_back(struct lazy_worker *w, const struct lazy_chunk *c,
		    bool wake);

/* ------------------------------------------------------------ lazy_read.c */

/**
 * lazy_read - read a chunk into @w->buffer
 *
 * Return: 0, or an errno, with the page that could not be read in @w->err.
 */
int lazy_read(struct lazy_worker *w, const struct lazy_chunk *c);

/* ----------------------------------------------------------- lazy_place.c */

enum lazy_how {
	LAZY_COPY,	/* what was read */
	LAZY_ZERO,
	LAZY_POISON,	/* who touches it gets SIGBUS */
};

/**
 * lazy_place - place the units of a chunk
 *
 * What was discarded meanwhile is left out. Return: 0, or an errno with words in
 * @w->err; what was not placed is still ours then. -EAGAIN in a fault thread:
 * an event has to be read first.
 */
int lazy_place(struct lazy_worker *w, const struct lazy_chunk *c,
	       enum lazy_how how);

/**
 * lazy_refill - a unit that was there is missing: it is zero now
 *
 * For fault threads. Return: as lazy_place().
 */
int lazy_refill(struct lazy_worker *w, struct lazy_block *b, uint64_t unit);

/* ----------------------------------------------------------- lazy_event.c */

/** lazy_discard - units are given up; with @place held for writing */
void lazy_discard(struct mram_restore_lazy *l, struct lazy_block *b,
		  uint64_t first, uint64_t end);

/** lazy_keep - a unit was there already, by somebody else's doing */
void lazy_keep(struct mram_restore_lazy *l, struct lazy_block *b,
	       uint64_t unit);

struct uffd_msg;

/**
 * lazy_event - what happened to the memory; with @place held for writing
 *
 * Return: what the caller's message function is to be told afterwards, or NULL.
 */
const char *lazy_event(struct mram_restore_lazy *l, struct lazy_fd *f,
		const struct uffd_msg *msg);

/* ---------------------------------------------------------- lazy_behind.c */

/* With @place held, but for the last one; the first three for writing. */

/** lazy_behind_add - a range of private memory of this process was moved */
void lazy_behind_add(struct mram_restore_lazy *l, const struct lazy_fd *f,
		     uint64_t start, uint64_t end);

/** lazy_behind_move - what is left of it was moved, too */
void lazy_behind_move(struct mram_restore_lazy *l, const struct lazy_fd *f,
		      uint64_t start, uint64_t end, uint64_t to);

/** lazy_behind_drop - a range was unmapped */
void lazy_behind_drop(struct mram_restore_lazy *l, const struct lazy_fd *f,
		      uint64_t start, uint64_t end);

/** lazy_is_behind - is an address in such a range? */
bool lazy_is_behind(const struct mram_restore_lazy *l, const struct lazy_fd *f,
		    uint64_t addr);

/**
 * lazy_behind_fill - a page was touched that is of no block
 *
 * Return: 0 when it is dealt with, -ENXIO when it is of no such range either,
 * -EAGAIN before an event was read, -ENOMEM.
 */
int lazy_behind_fill(const struct mram_restore_lazy *l,
		     const struct lazy_fd *f, uint64_t addr);

/** lazy_behind_wake - whoever waits there tries again */
void lazy_behind_wake(const struct mram_restore_lazy *l);

/** lazy_behind_let_go - nobody needs to wait there any more */
void lazy_behind_let_go(struct mram_restore_lazy *l);

/* ------------------------------------------------------------ lazy_turn.c */

/** lazy_watch - make the epoll that tells of faults */
int lazy_watch(struct mram_restore_lazy *l);

/** lazy_take - this thread reads @w->fd, unless one does already */
bool lazy_take(struct lazy_worker *w);

/** lazy_hand_on - others do from here on, if it was this one */
void lazy_hand_on(struct lazy_worker *w);

/** lazy_take_back - this one does again, unless another one has begun to */
void lazy_take_back(struct lazy_worker *w);

/* ------------------------------------------- lazy_fault.c, lazy_stream.c */

void *lazy_fault_thread(void *worker);
void *lazy_stream_thread(void *worker);

/** lazy_yield - wait until no fault is being served, but not for ever */
void lazy_yield(struct mram_restore_lazy *l);

/* ------------------------------------------------------------- lazy_set.c */

/** lazy_record_touch - units of a block were touched for the first time */
void lazy_record_touch(struct mram_restore_lazy *l, struct lazy_block *b,
		       uint64_t first, uint64_t end);

/** lazy_record_write - write the record to its file */
int lazy_record_write(struct mram_restore_lazy *l, struct mram_error *err);

/** lazy_set_read - take in the working set, or tell why not */
void lazy_set_read(struct mram_restore_lazy *l);

/** lazy_set_placed - units that it may name need nothing any more for it */
void lazy_set_placed(struct mram_restore_lazy *l, const struct lazy_block *b,
		     uint64_t first, uint64_t end);

/* ------------------------------------------------------------ lazy_run.c */

/** lazy_run - make the threads */
int lazy_run(struct mram_restore_lazy *l, struct mram_error *err);

/** lazy_stop_streaming - end the threads that nobody waits for */
void lazy_stop_streaming(struct mram_restore_lazy *l);

/** lazy_stop - end all threads */
void lazy_stop(struct mram_restore_lazy *l);

/**
 * lazy_fail - an error of a thread: tell, and stop streaming
 *
 * If somebody has resumed since it was begun, all is tried again instead.
 */
void lazy_fail(const struct lazy_worker *w, const struct mram_error *err);

/** lazy_lose - an error that no later try mends */
void lazy_lose(struct mram_restore_lazy *l, const struct mram_error *err);

/** lazy_rewind - streaming has to look at everything once more */
void lazy_rewind(struct mram_restore_lazy *l);

/** lazy_dealt_with - @pages less are left */
void lazy_dealt_with(struct mram_restore_lazy *l, uint64_t pages);

/** lazy_until - @msec milliseconds from now, as @go and @done wait */
struct timespec lazy_until(int msec);

/** lazy_message - tell the caller's message function */
void lazy_message(const struct mram_restore_lazy *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* MRAM_LAZY_H */
