// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Save a running guest. This is what a VMM does with libmappedram:
 *
 *   1. open a session, add the regions, begin
 *   2. log dirty pages in KVM, open a tracker, mark all pages dirty once; or
 *      open one that write-protects the memory
 *   3. while the guest runs: sync the tracker, run a pass; again until few
 *      pages are left
 *   4. stop the guest, sync, run the last pass
 *   5. add the state of the devices (here: the processor), commit
 */
#include <stdlib.h>
#include <string.h>

#include "minivmm.h"

struct save {
	const struct options *o;
	struct vm vm;
	struct mram_session *session;
	struct mram_kvm_tracker *tracker;
	struct mram_scan_tracker *scan;
	struct pass passes[MAX_PASSES + 1];
	unsigned int count;
};

static void open_session(struct save *s)
{
	struct mram_session_opts opts =
		MRAM_OPTS(mram_session_opts, .engine = s->o->engine,
			  .machine = "minivmm");
	struct mram_error err;

	if (mram_session_open(&s->session, s->o->image, &opts, &err))
		die("%s", err.message);
	for (int i = 0; i < REGIONS; i++) {
		const struct region *r = &s->vm.ram.regions[i];
		struct mram_region_opts ropts =
			MRAM_OPTS(mram_region_opts, .fd = r->fd,
				  .flags = r->fd < 0 ? 0 : MRAM_REGION_HAS_FD);
		int index = mram_session_add_region(s->session, r->name, r->addr,
						    r->length, &ropts, &err);

		if (index < 0)
			die("%s", err.message);
		if (index != i)
			die("%s: got index %d", r->name, index);
	}
	if (mram_session_begin(s->session, &err))
		die("%s", err.message);
}

/* What has content is dirty at first; nothing has to be said about the rest */
static void open_scan(struct save *s)
{
	struct mram_error err;

	if (mram_scan_tracker_open(&s->scan, s->session, NULL, &err))
		die("%s", err.message);
	for (int i = 0; i < REGIONS; i++)
		if (mram_scan_tracker_add(s->scan, i, &err))
			die("%s", err.message);
}

static void open_tracker(struct save *s)
{
	struct mram_kvm_tracker_opts opts =
		MRAM_OPTS(mram_kvm_tracker_opts, .flags = s->o->manual_protect ?
						 MRAM_KVM_MANUAL_PROTECT : 0);
	struct mram_error err;

	if (s->o->scan) {
		open_scan(s);
		return;
	}
	vm_log_dirty(&s->vm);
	if (mram_kvm_tracker_open(&s->tracker, s->vm.vm_fd, s->session, &opts,
				  &err))
		die("%s", err.message);
	for (int i = 0; i < SLOTS; i++) {
		const struct slot *slot = &s->vm.ram.slots[i];

		if (mram_kvm_tracker_add_slot(s->tracker, i, slot->region,
					      slot->offset, slot->length, &err))
			die("%s", err.message);
	}
	/* What was written before the log was on, KVM does not tell */
	if (mram_session_mark_dirty(s->session, -1, 0, MRAM_ALL, &err))
		die("%s", err.message);
}

/* Returns how many pages the next pass will meet */
static uint64_t sync_tracker(struct save *s)
{
	struct mram_error err;

	if ((s->scan ? mram_scan_tracker_fetch(s->scan, &err) :
		       mram_kvm_tracker_sync(s->tracker, &err)) < 0)
		die("%s", err.message);
	return mram_session_count_dirty(s->session, -1);
}

static void run_pass(struct save *s, bool running)
{
	struct mram_pass_opts opts =
		MRAM_OPTS(mram_pass_opts, .bridge = s->o->bridge,
			  .flags = running ? 0 : MRAM_PASS_STOPPED);
	struct pass *pass = &s->passes[s->count];
	struct mram_error err;

	pass->running = running;
	pass->stats.size = sizeof(pass->stats);
	if (mram_session_pass(s->session, &opts, &pass->stats, &err))
		die("%s", err.message);
	print_pass(++s->count, pass);
}

static void add_state(struct save *s)
{
	struct machine_state machine = { .mem_mib = s->vm.ram.mem_mib };
	void *vcpu = malloc(vcpu_state_size());
	struct mram_error err;

	if (!vcpu)
		die("out of memory");
	vcpu_get_state(&s->vm, vcpu);
	if (mram_session_add_section(s->session, SECTION_MACHINE, 0, 1,
				     &machine, sizeof(machine), &err) ||
	    mram_session_add_section(s->session, SECTION_VCPU, 0, 1,
				     vcpu, vcpu_state_size(), &err))
		die("%s", err.message);
	free(vcpu);
}

/* After the commit, when it costs no downtime any more: what was saved? */
static int look_back(struct save *s, const char *engine, uint64_t downtime)
{
	const volatile struct guest_state *state = ram_state(&s->vm.ram);
	/* Before anything reads the image: that would cache its headers */
	uint64_t cached = cached_pages(s->o->image);
	uint64_t wrong = model_check(&s->vm.ram, false);
	uint64_t bytes = 0;
	FILE *json;

	for (unsigned int i = 0; i < s->count; i++)
		bytes += s->passes[i].stats.bytes;
	putchar('\n');
	print_fact("downtime", "%.1f ms", downtime / 1e6);
	print_fact("image", "%.1f MB written, %llu pages of it in the page cache",
		   bytes / 1e6, (unsigned long long)cached);
	print_guest(state);
	print_model(wrong, state->step);
	if (s->o->dump)
		ram_dump(&s->vm.ram, s->o->dump);

	json = json_open(s->o->json);
	json_string(json, "engine", engine);
	json_passes(json, s->passes, s->count);
	json_number(json, "downtime_nsec", downtime);
	json_number(json, "cached_pages", cached);
	json_number(json, "counter", state->step);
	json_number(json, "checksum", state->checksum);
	json_number(json, "guest_errors", state->errors);
	json_number(json, "model_wrong_pages", wrong);
	json_close(json);
	return wrong || state->errors;
}

int save_live(const struct options *o)
{
	struct save s = { .o = o };
	struct mram_error err;
	const char *engine;
	uint64_t stopped, downtime;
	int ret;

	ram_allocate(&s.vm.ram, o->mem_mib, o->ram);
	open_session(&s);
	engine = mram_session_engine(s.session);

	firmware_build(&s.vm.ram, s.vm.ram.regions[REGION_TOP].addr);
	vm_create(&s.vm, o->manual_protect);
	vm_reset(&s.vm);
	vm_run_to(&s.vm, o->warm_up);

	printf("Saving a running guest with %llu MiB (%s), %d slots in %d regions,\n"
	       "to %s with engine %s\n\n", (unsigned long long)o->mem_mib,
	       ram_kind_name(o->ram), SLOTS, REGIONS, o->image, engine);
	open_tracker(&s);
	print_pass_header();

	vm_start(&s.vm, o->dirty_rate);
	while (sync_tracker(&s) > o->downtime_pages && s.count < o->max_passes)
		run_pass(&s, true);

	stopped = now_ns();
	vm_stop(&s.vm);
	sync_tracker(&s);
	run_pass(&s, false);
	add_state(&s);
	if (mram_session_commit(s.session, &err))
		die("%s", err.message);
	downtime = now_ns() - stopped;

	ret = look_back(&s, engine, downtime);
	mram_kvm_tracker_close(s.tracker);
	mram_scan_tracker_close(s.scan);
	mram_session_close(s.session);
	return ret;
}
