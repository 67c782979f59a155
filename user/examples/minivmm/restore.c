// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Restore a guest in a process that knows nothing but the image, let it go on,
 * and check that its memory is right: against the dump that the saving process
 * wrote (but not memory that came while the guest ran), against the model, and by
 * the guest itself.
 */
#include <stdlib.h>
#include <string.h>

#include "minivmm.h"

static void *get_section(struct mram_image *image, const char *name,
			 size_t expected)
{
	struct mram_error err;
	uint32_t version;
	size_t length;
	void *data;

	if (mram_image_section(image, name, 0, &version, &data, &length, &err))
		die("%s", err.message);
	if (version != 1 || length != expected)
		die("section %s: version %u with %zu bytes, expected 1 with %zu",
		    name, version, length, expected);
	return data;
}

static uint64_t check_dump(const struct options *o, const struct ram *ram,
			   FILE *json)
{
	uint64_t different;

	if (!o->dump)
		return 0;
	different = ram_compare(ram, o->dump);
	if (different)
		print_fact("compared", "memory DIFFERS from the saved guest's in %llu pages",
			   (unsigned long long)different);
	else
		print_fact("compared", "byte for byte equal to the saved guest's memory");
	json_number(json, "dump_different_pages", different);
	return different;
}

/* When all of it is there, and before the guest goes on */
static uint64_t check_model(const struct ram *ram, FILE *json)
{
	const volatile struct guest_state *state = ram_state(ram);
	uint64_t wrong = model_check(ram, false);

	print_guest(state);
	print_model(wrong, state->step);
	json_number(json, "counter", state->step);
	json_number(json, "model_wrong_pages", wrong);
	return wrong + state->errors;
}

/* Lets the guest go on, then looks at it again */
static uint64_t run_on(const struct options *o, struct vm *vm, FILE *json)
{
	const volatile struct guest_state *state = ram_state(&vm->ram);
	uint64_t wrong;

	printf("\nThe guest goes on for %llu steps\n\n",
	       (unsigned long long)o->run);
	vm_run_to(vm, state->step + o->run);
	wrong = model_check(&vm->ram, true);
	print_guest(state);
	print_model(wrong, state->step);
	json_number(json, "counter_after", state->step);
	json_number(json, "checksum_after", state->checksum);
	json_number(json, "guest_errors", state->errors);
	json_number(json, "model_wrong_pages_after", wrong);
	return state->errors + wrong;
}

int restore(const struct options *o)
{
	struct machine_state *machine;
	struct mram_image *image;
	struct mram_error err;
	struct vm vm = { 0 };
	struct lazy *lazy = NULL;
	uint64_t start = now_ns(), image_nsec, image_cpu, bad = 0;
	void *vcpu;
	FILE *json;

	if (mram_image_open(&image, o->image, &err))
		die("%s", err.message);
	machine = get_section(image, SECTION_MACHINE, sizeof(*machine));
	vcpu = get_section(image, SECTION_VCPU, vcpu_state_size());
	json = json_open(o->json);
	ram_allocate(&vm.ram, machine->mem_mib, o->ram);
	/* Reads their bitmaps, which is all that takes longer for large guests */
	for (int i = 0; i < REGIONS; i++)
		find_block(image, &vm.ram.regions[i]);
	image_nsec = now_ns() - start;
	image_cpu = cpu_ns();
	printf("Restoring a guest with %llu MiB (%s)\nfrom %s\n\n",
	       (unsigned long long)vm.ram.mem_mib, ram_kind_name(o->ram),
	       o->image);
	switch (o->fill) {
	case FILL_EAGER:
		fill_eager(o, image, &vm.ram, json);
		break;
	case FILL_CLONE:
		fill_clone(image, &vm.ram, json);
		break;
	default:
		lazy = lazy_start(o, image, &vm.ram);
	}

	/* To look at memory that comes with the guest's steps would bring it */
	if (!lazy) {
		bad = check_dump(o, &vm.ram, json);
		bad += check_model(&vm.ram, json);
	}
	json_number(json, "memory_cpu_nsec", cpu_ns() - image_cpu);
	vm_create(&vm, false);
	vcpu_set_state(&vm, vcpu);
	json_number(json, "image_nsec", image_nsec);
	json_number(json, "slots_cpu_nsec", vm.slots_cpu);
	json_number(json, "ready_nsec", now_ns() - start);
	json_number(json, "ready_cpu_nsec", cpu_ns() - image_cpu);
	/* Stopped there only for who wants to know when it is. */
	if (json) {
		vm_step(&vm);
		json_number(json, "first_nsec", now_ns() - start);
		json_number(json, "first_cpu_nsec", cpu_ns() - image_cpu);
	}
	if (lazy) {
		lazy_run(lazy, &vm, json);
		bad = check_model(&vm.ram, json);
	}
	mram_image_close(image);
	if (o->run)
		bad += run_on(o, &vm, json);
	json_number(json, "cached_pages", cached_pages(o->image));
	json_close(json);
	free(machine);
	free(vcpu);
	return bad ? 1 : 0;
}
