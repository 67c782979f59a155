// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Restoring while the guest runs. This is what a VMM does with libmappedram:
 *
 *   1. open a restore, add the regions, start
 *   2. run the guest: a page that it touches and that is not there is read
 *      first, and all others meanwhile
 *   3. finish: wait until all is there
 *
 * Or another process does all that, and is handed a userfaultfd: handler.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "minivmm.h"

struct lazy {
	const struct options *o;
	struct mram_restore_lazy *restore;
	struct handler *handler;
	uint64_t started;
};

static void say(void *data, const char *text)
{
	(void)data;
	fprintf(stderr, "minivmm: %s\n", text);
}

static void say_error(void *data, const struct mram_error *err)
{
	say(data, err->message);
}

static void open_restore(struct lazy *l, struct mram_image *image)
{
	struct mram_restore_lazy_opts opts =
		MRAM_OPTS(mram_restore_lazy_opts,
			  .flags = l->o->lazy_steps && !l->o->working_set ?
				   MRAM_LAZY_PAUSED : 0,
			  .fault_around = l->o->fault_around,
			  .record = l->o->record,
			  .working_set = l->o->working_set,
			  .error = say_error,
			  .message = say);
	struct mram_error err;

	if (mram_restore_lazy_open(&l->restore, image, &opts, &err))
		die("%s", err.message);
}

static void add(struct lazy *l, struct mram_image *image,
		const struct region *r)
{
	struct mram_error err;

	if (mram_restore_lazy_add(l->restore, find_block(image, r), r->addr,
				  r->length, NULL, &err))
		die("%s", err.message);
}

struct lazy *lazy_start(const struct options *o, struct mram_image *image,
			struct ram *ram)
{
	struct lazy *l = calloc(1, sizeof(*l));
	struct mram_restore_stats stats;
	struct mram_error err;

	if (!l)
		die("out of memory");
	l->o = o;
	if (o->fill == FILL_LAZY)
		open_restore(l, image);
	for (int i = 0; i < REGIONS; i++) {
		const struct region *r = &ram->regions[i];

		if (!ram_whole_pages(r, o->ram))
			fill_region(o, image, r, &stats);
		else if (l->restore)
			add(l, image, r);
	}
	l->started = now_ns();
	if (!l->restore)
		l->handler = handler_connect(o->handler, ram, o->ram);
	else if (mram_restore_lazy_start(l->restore, &err))
		die("%s", err.message);
	return l;
}

static void finish(struct lazy *l, FILE *json)
{
	struct mram_restore_lazy_stats s = { .size = sizeof(s) };
	struct mram_error err;

	if (mram_restore_lazy_finish(l->restore, &s, &err))
		die("%s", err.message);
	if (s.existed || s.failed)
		die("%llu pages were there before they were restored, %llu could not be read",
		    (unsigned long long)s.existed,
		    (unsigned long long)s.failed);
	print_fact("pages", "%llu read (%llu for %llu faults, the rest streamed), %llu zero; %.1f MB in %llu I/Os, %.1f ms",
		   (unsigned long long)s.read,
		   (unsigned long long)s.fault_pages,
		   (unsigned long long)s.faults, (unsigned long long)s.zero,
		   s.bytes / 1e6, (unsigned long long)s.ios, s.nsec / 1e6);
	if (s.flags & MRAM_LAZY_STATS_WORKING_SET)
		print_fact("known", "%llu pages of a working set came first",
			   (unsigned long long)s.working_set);
	json_number(json, "read", s.read);
	json_number(json, "zero", s.zero);
	json_number(json, "faults", s.faults);
	json_number(json, "fault_pages", s.fault_pages);
	json_number(json, "streamed", s.read - s.fault_pages);
	json_number(json, "existed", s.existed);
	json_number(json, "failed", s.failed);
	json_number(json, "working_set", s.working_set);
	json_number(json, "ios", s.ios);
	json_number(json, "bytes", s.bytes);
	json_number(json, "calls", s.calls);
	json_number(json, "nsec", s.nsec);
	mram_restore_lazy_close(l->restore);
}

/* Trades time for faults: in no hurry, the guest need not meet many */
static void await_set(struct lazy *l)
{
	struct mram_restore_lazy_stats s = { .size = sizeof(s) };
	const struct timespec moment = { .tv_nsec = 200000 };

	/* All that it names comes first, unless reading fails */
	while (mram_restore_lazy_stats(l->restore, &s),
	       s.set_left &&
	       mram_restore_lazy_wait(l->restore, 0, NULL) == -ETIMEDOUT)
		nanosleep(&moment, NULL);
}

/*
 * The guest's first steps, with nothing there but what these touch; or, with a
 * working set, as they are in earnest
 */
static void first_steps(struct lazy *l, struct vm *vm, FILE *json)
{
	const volatile struct guest_state *state = ram_state(&vm->ram);
	struct mram_restore_lazy_stats s = { .size = sizeof(s) };
	uint64_t before = state->step;

	vm_run_to(vm, before + l->o->lazy_steps);
	mram_restore_lazy_stats(l->restore, &s);
	print_fact("first", "%llu steps, for which %llu pages were read; %llu are left",
		   (unsigned long long)(state->step - before),
		   (unsigned long long)s.read, (unsigned long long)s.left);
	json_number(json, "first_faults", s.faults);
	json_number(json, "first_steps", state->step - before);
	json_number(json, "first_read", s.read);
	json_number(json, "first_left", s.left);
	mram_restore_lazy_resume(l->restore);
}

/* Runs the guest until all memory is there, and tells how far it came */
void lazy_run(struct lazy *l, struct vm *vm, FILE *json)
{
	const volatile struct guest_state *state = ram_state(&vm->ram);
	uint64_t before = state->step, steps;

	if (l->o->await)
		await_set(l);
	if (l->o->lazy_steps)
		first_steps(l, vm, json);
	vm_start(vm, 0);
	if (l->restore)
		finish(l, json);
	else
		handler_wait(l->handler);
	steps = state->step - before;
	vm_stop(vm);
	print_fact("all there", "%.1f ms after the start; the guest had done %llu steps",
		   (now_ns() - l->started) / 1e6, (unsigned long long)steps);
	json_number(json, "resident_nsec", now_ns() - l->started);
	json_number(json, "steps_at_end", steps);
	free(l);
}
