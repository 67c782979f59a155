/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * minivmm: a virtual machine monitor small enough to read in one sitting, that
 * saves its running guest with libmappedram and restores it.
 *
 *	main.c      options
 *	ram.c       the guest's memory: regions on our side, slots on KVM's
 *	vm.c        the virtual machine and its processor
 *	vcpu.c      the processor's state as bytes, and back
 *	firmware.c  what stands in memory before the guest starts
 *	guest.S     the guest; guest.h says what it does
 *	model.c     what memory must look like after n steps of the guest
 *	save.c      the point of it: save while the guest runs
 *	restore.c   and back
 *	fill.c      ways to fill memory before the guest runs
 *	lazy.c      and while it runs
 *	handler.c   the same, served by another process
 *	report.c    tables, JSON, counting cached pages
 */
#ifndef MINIVMM_H
#define MINIVMM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <linux/kvm.h>

#include <mappedram.h>

#include "guest.h"

#define MIB	(UINT64_C(1) << 20)
#define GIB	(UINT64_C(1) << 30)

enum ram_kind { RAM_ANON, RAM_MEMFD, RAM_HUGETLB, RAM_THP };

/* How a restore fills memory */
enum fill { FILL_EAGER, FILL_CLONE, FILL_LAZY, FILL_HANDLER };

/* What the command line says; main.c describes each */
struct options {
	const char *image;
	const char *engine;
	const char *dump;
	const char *json;
	uint64_t mem_mib;
	enum ram_kind ram;
	uint64_t warm_up;
	uint64_t dirty_rate;
	uint64_t downtime_pages;
	uint64_t max_passes;
	uint64_t bridge;
	uint64_t run;
	bool manual_protect;
	bool scan;
	enum fill fill;
	const char *handler;
	const char *record;
	const char *working_set;
	uint64_t fault_around;
	uint64_t lazy_steps;
	bool await;
};

/* ---------------------------------------------------------------- ram.c */

#define REGIONS		2
#define SLOTS		5
#define REGION_LOW	0	/* all below the firmware, without the hole */
#define REGION_TOP	1	/* firmware and high memory */

/* A region is what libmappedram sees: memory in our address space, a name */
struct region {
	const char *name;
	uint8_t *addr;
	uint64_t length;
	int fd;			/* of a memfd, else -1 */
};

/* A slot is what KVM sees: guest-physical memory that is part of a region */
struct slot {
	uint64_t gpa;
	int region;
	uint64_t offset;
	uint64_t length;
};

struct ram {
	uint64_t mem_mib;
	uint64_t pages;		/* numbered pages, see guest.h */
	uint64_t high_page;
	uint64_t table_pages;
	struct region regions[REGIONS];
	struct slot slots[SLOTS];
};

#define MEM_MIN		64
#define MEM_MAX		4096

void ram_allocate(struct ram *ram, uint64_t mem_mib, enum ram_kind kind);
const char *ram_kind_name(enum ram_kind kind);
int ram_kind_parse(const char *name);
bool ram_whole_pages(const struct region *r, enum ram_kind kind);
void *ram_page(const struct ram *ram, uint64_t page);
uint64_t *ram_table(const struct ram *ram);
volatile struct guest_state *ram_state(const struct ram *ram);
void ram_dump(const struct ram *ram, const char *path);
uint64_t ram_compare(const struct ram *ram, const char *path);

/* ----------------------------------------------------------- firmware.c */

void firmware_build(const struct ram *ram, void *firmware);

/* ----------------------------------------------------------------- vm.c */

#define NO_TARGET	UINT64_MAX

struct vm {
	struct ram ram;
	int kvm_fd;
	int vm_fd;
	int vcpu_fd;
	struct kvm_run *run;
	pthread_t thread;
	atomic_bool stop;
	uint64_t target;	/* stop when this step is reported */
	uint64_t dirty_rate;
	uint64_t next_report;	/* not before this time, in ns */
	uint64_t slots_cpu;	/* what KVM took to make its slots, in ns */
};

void vm_create(struct vm *vm, bool manual_protect);
void vm_log_dirty(struct vm *vm);
void vm_reset(struct vm *vm);
void vm_run_to(struct vm *vm, uint64_t step);
void vm_step(struct vm *vm);
void vm_start(struct vm *vm, uint64_t dirty_rate);
void vm_stop(struct vm *vm);

/* --------------------------------------------------------------- vcpu.c */

size_t vcpu_state_size(void);
void vcpu_get_state(struct vm *vm, void *state);
void vcpu_set_state(struct vm *vm, const void *state);

/* -------------------------------------------------------------- model.c */

uint64_t model_check(const struct ram *ram, bool between_steps);

/* ------------------------------------------------------ save.c, restore.c */

#define MAX_PASSES	100

#define SECTION_MACHINE	"minivmm/machine"
#define SECTION_VCPU	"minivmm/vcpu"

/* The section SECTION_MACHINE */
struct machine_state {
	uint64_t mem_mib;
};

int save_live(const struct options *o);
int restore(const struct options *o);

/* --------------------------------------------- fill.c, lazy.c, handler.c */

int find_block(struct mram_image *image, const struct region *r);
void fill_eager(const struct options *o, struct mram_image *image,
		struct ram *ram, FILE *json);
void fill_clone(struct mram_image *image, struct ram *ram, FILE *json);
void fill_region(const struct options *o, struct mram_image *image,
		 const struct region *r, struct mram_restore_stats *stats);

struct lazy;

struct lazy *lazy_start(const struct options *o, struct mram_image *image,
			struct ram *ram);
void lazy_run(struct lazy *l, struct vm *vm, FILE *json);

struct handler;

struct handler *handler_connect(const char *path, const struct ram *ram,
				enum ram_kind kind);
void handler_wait(struct handler *h);

/* ------------------------------------------------------------- report.c */

void die(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_ns(void);
uint64_t cpu_ns(void);
uint64_t cached_pages(const char *path);

struct pass {
	bool running;
	struct mram_pass_stats stats;
};

void print_pass_header(void);
void print_pass(unsigned int number, const struct pass *pass);
void print_fact(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void print_model(uint64_t wrong, uint64_t step);
void print_guest(const volatile struct guest_state *state);

FILE *json_open(const char *path);
void json_number(FILE *json, const char *name, uint64_t value);
void json_string(FILE *json, const char *name, const char *value);
void json_passes(FILE *json, const struct pass *passes, unsigned int count);
void json_close(FILE *json);

#endif /* MINIVMM_H */
