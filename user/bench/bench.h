/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mram-bench: what one way of saving or loading memory costs, in one case.
 *
 * memory.c makes the memory, pattern.c says what it holds and which pages of
 * it are dirty, job.c saves it, load.c loads it and lazy.c does so while it is
 * used, with an eye on the clock, cache.c looks after the page cache, result.c
 * prints what came of it as one JSON object. place.c loads by other means than
 * the library's, and beside.c plays the guest that runs meanwhile.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#define PAGE		4096ull
#define HUGE		(2ull << 20)
#define MAX_ROUNDS	64

/**
 * struct options - what was asked for
 * @engine: the engine of the job, one of those that were named
 * @size: of the region, in bytes
 * @touched: of it, what the case `untouched` touches
 * @target: the image
 * @target_name: what to call it in the result
 * @sweep: what is varied from run to run, or NULL
 * @fresh: the pages of the image are holes before each job
 * @load: the case loads
 * @used: into memory that is there, else into memory never touched
 * @faults: the case touches pages, instead of waiting until all are there
 * @around: bytes that are read around a page that is touched, or 0
 * @beside: a thread runs on another processor meanwhile
 * @cache: "cold" or "warm": of the image, before each job; or NULL
 * @threads: not 0: that many threads at once, through the module's own interface
 * @rounds: jobs that are measured; one goes before
 * @perf_control: perf is told through this pipe when a pass begins and ends
 * @perf_ack: and says through this one that it has heard
 */
struct options {
	const char *case_name;
	const char *memory;
	const char *engine;
	const char *target;
	const char *target_name;
	const char *sweep;
	uint64_t size;
	uint64_t touched;
	uint32_t window;
	uint32_t max_extent;
	uint32_t bridge;
	bool fresh;
	bool load;
	bool used;
	bool mapped;
	bool faults;
	uint32_t around;
	bool beside;
	const char *cache;
	int threads;
	int rounds;
	const char *perf_control;
	const char *perf_ack;
};

/**
 * struct memory - what plays a guest's memory
 * @p: aligned to a huge page
 * @fd: the file behind it, or -1
 * @huge: it has to consist of huge pages
 * @shuffled: pages are touched in an order that leaves no neighbours
 */
struct memory {
	unsigned char *p;
	uint64_t size;
	int fd;
	bool huge;
	bool shuffled;
};

/** memory_make - memory of a kind, not touched yet; exits on failure */
struct memory memory_make(const char *kind, uint64_t size);

/** memory_touch - fill [@start, @end): not zero, or with @zero */
void memory_touch(const struct memory *m, uint64_t start, uint64_t end,
		  bool zero);

/**
 * memory_check - is it really made of the pages that were asked for?
 *
 * @touched bytes of it were; exits when it is not.
 */
void memory_check(const struct memory *m, uint64_t touched);

/** memory_scan - nanoseconds that looking at every word of it takes */
uint64_t memory_scan(const struct memory *m);

/** memory_present - bytes of it that exist now */
uint64_t memory_present(const struct memory *m);

/**
 * struct pattern - a case
 * @dirty: a bitmap for the caller to hand over
 * @dirty_pages: bits set in it
 * @touched: bytes that pattern_make() touched
 */
struct pattern {
	uint64_t *dirty;
	uint64_t pages;
	uint64_t dirty_pages;
	uint64_t touched;
};

/** pattern_make - fill memory and bitmap for a case; exits on a bad name */
struct pattern pattern_make(const struct options *o, const struct memory *m);

/**
 * struct job - what one job took, times in nanoseconds
 * @in: the caller's bitmap taken over
 * @pass: mram_session_pass(), with zero detection
 * @out: mram_session_commit(): bitmap, header and flushes
 * @kernel_bytes: that the kernel holds for the session before the pass
 * @user_bytes: that the process holds for it
 * @faults: in memory that was used meanwhile
 * @calls: system calls that read pages and placed them, or 0: not counted
 * @flushes: interrupts that made a processor forget addresses, with @beside of
 *           the options
 * @cached: pages of the image that the page cache holds afterwards, with
 *          @cache of the options
 */
struct job {
	uint64_t in;
	uint64_t pass;
	uint64_t out;
	int64_t kernel_bytes;
	int64_t user_bytes;
	uint64_t faults;
	uint64_t calls;
	uint64_t flushes;
	uint64_t cached;
	struct mram_pass_stats stats;
};

static inline uint64_t job_total(const struct job *j)
{
	return j->in + j->pass + j->out;
}

/** job_parts - what each took: it ended at @in, at @pass and at @end */
void job_parts(struct job *j, uint64_t start, uint64_t in, uint64_t pass,
	       uint64_t end);

/** job_run - one job, with everything that goes before it */
struct job job_run(const struct options *o, const struct memory *m,
		   const struct pattern *p);

/**
 * load_run - load the image into the memory
 *
 * The image is made by the first call. Of the job, @in is mram_image_open(),
 * @pass is mram_image_restore(), and pages that were read count as written.
 */
struct job load_run(const struct options *o, const struct memory *m,
		    const struct pattern *p);

/** lazy_run - the same while it is used, by the library; see load_run() */
struct job lazy_run(const struct options *o, const struct memory *m,
		    const struct pattern *p);

/** copy_run - and by a system call or two for each page */
struct job copy_run(const struct options *o, const struct memory *m,
		    const struct pattern *p);

/** place_is - is that one of the ways of place_run()? */
bool place_is(const char *engine);

/** place_run - and with other ioctls of userfaultfd than UFFDIO_COPY */
struct job place_run(const struct options *o, const struct memory *m,
		     const struct pattern *p);

/**
 * struct by_hand - an image and memory, without the library's lazy restore
 * @bitmap: of the image
 * @pages_offset: of it
 * @fd: the image, for direct I/O
 * @uffd: that the memory is registered with
 */
struct by_hand {
	const struct memory *m;
	struct mram_image *img;
	const uint64_t *bitmap;
	uint64_t pages_offset;
	int fd;
	int uffd;
};

/** by_hand_open - with these features, in this mode; exits on failure */
void by_hand_open(struct by_hand *h, const struct options *o,
		  const struct memory *m, uint64_t features, uint64_t mode);
void by_hand_close(struct by_hand *h);

/** beside_start - a thread runs on another processor from now on */
void beside_start(void);

/** beside_stop - no more; how many interrupts flushed a TLB meanwhile */
uint64_t beside_stop(void);

/** cache_set - have nothing of the image in the page cache, or all of it */
void cache_set(const struct options *o);

/** cache_count - pages of the image in the page cache */
uint64_t cache_count(const struct options *o);

/** threads_run - @o->rounds jobs by several threads, the pass only */
void threads_run(const struct options *o, const struct memory *m,
		 const struct pattern *p, struct job *jobs);

/** bio_run - @o->rounds jobs of nothing but I/Os to a block device */
void bio_run(const struct options *o, const struct memory *m,
	     const struct pattern *p, struct job *jobs);

/** perf_tell - tell perf to begin or end with sampling, if there is one */
void perf_tell(const struct options *o, const char *command);

/**
 * struct footprint - memory in use now, in bytes
 * @kernel: in the whole system, by the kernel itself
 * @user: by this process, without the memory that is saved
 */
struct footprint {
	int64_t kernel;
	int64_t user;
};

struct footprint footprint_now(const struct memory *m);

/** clock_now - nanoseconds */
uint64_t clock_now(void);

/**
 * clock_rate - instructions a nanosecond, seen by a loop of known length
 *
 * 1 where the machine's time counts instructions.
 */
double clock_rate(void);

/**
 * result_print - say it
 * @jobs: @o->rounds of them; they get sorted
 * @made: bytes of memory that came to be through the jobs
 * @scan: what memory_scan() said, or 0
 */
void result_print(const struct options *o, const struct pattern *p,
		  struct job *jobs, uint64_t made, uint64_t scan);

/** fail - say so and exit */
__attribute__((noreturn, format(printf, 1, 2)))
void fail(const char *format, ...);

#endif /* BENCH_H */
