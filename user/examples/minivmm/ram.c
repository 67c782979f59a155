// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's memory. It lives in two regions of our address space and is
 * shown to the guest in five slots. The two do not line up, as in every real
 * VMM: the hole below 1 MiB is not in a region, slots start in the middle of
 * regions, and their page numbers are not multiples of 64.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "minivmm.h"

#define HUGE_PAGE	(2 * MIB)

static const char * const kind_names[] = {
	[RAM_ANON] = "anon",
	[RAM_MEMFD] = "memfd",
	[RAM_HUGETLB] = "hugetlb",
	[RAM_THP] = "thp",
};

const char *ram_kind_name(enum ram_kind kind)
{
	return kind_names[kind];
}

int ram_kind_parse(const char *name)
{
	for (size_t i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
		if (!strcmp(name, kind_names[i]))
			return i;
	return -1;
}

/* Can all of it be left to a userfaultfd? That serves whole pages of memory */
bool ram_whole_pages(const struct region *r, enum ram_kind kind)
{
	return kind != RAM_HUGETLB || r->length % HUGE_PAGE == 0;
}

static void region_allocate(struct region *r, enum ram_kind kind)
{
	/* Whole huge pages in any case; what is behind the region is unused */
	size_t size = (r->length + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint8_t *p;

	r->fd = -1;
	if (kind == RAM_MEMFD) {
		r->fd = memfd_create(r->name, MFD_CLOEXEC);
		if (r->fd < 0 || ftruncate(r->fd, size))
			die("memfd for %s: %s", r->name, strerror(errno));
		flags = MAP_SHARED;
	}
	if (kind == RAM_HUGETLB) {
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (p == MAP_FAILED)
			die("%s: no %zu huge pages of 2 MiB: %s (see /proc/sys/vm/nr_hugepages)",
			    r->name, size / HUGE_PAGE, strerror(errno));
		r->addr = p;
		return;
	}

	/* One huge page more, to have the start at a multiple of 2 MiB */
	p = mmap(NULL, size + HUGE_PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED) {
		p += -(uintptr_t)p & (HUGE_PAGE - 1);
		p = mmap(p, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
			 r->fd, 0);
	}
	if (p == MAP_FAILED)
		die("%s: %s", r->name, strerror(errno));
	if (madvise(p, size, kind == RAM_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) &&
	    kind == RAM_THP)
		die("%s: no transparent huge pages: %s", r->name,
		    strerror(errno));
	r->addr = p;
}

void ram_allocate(struct ram *ram, uint64_t mem_mib, enum ram_kind kind)
{
	uint64_t high = mem_mib / 4 * MIB;
	uint64_t low = mem_mib * MIB - high;
	uint64_t low_slot = GUEST_LOW_PAGES * GUEST_PAGE;
	uint64_t firmware = GUEST_FW_PAGES * GUEST_PAGE;
	/* An odd number of pages, so that the slot behind starts at an odd one */
	uint64_t lower = ((low - low_slot) / GUEST_PAGE / 2 | 1) * GUEST_PAGE;

	if (mem_mib < MEM_MIN || mem_mib > MEM_MAX || mem_mib % 4)
		die("memory must be %d to %d MiB, a multiple of 4", MEM_MIN,
		    MEM_MAX);

	ram->mem_mib = mem_mib;
	ram->regions[REGION_LOW] = (struct region){ "minivmm.low", NULL, low, -1 };
	ram->regions[REGION_TOP] = (struct region){ "minivmm.top", NULL,
						    firmware + high, -1 };
	for (int i = 0; i < REGIONS; i++)
		region_allocate(&ram->regions[i], kind);

	ram->slots[0] = (struct slot){ 0, REGION_LOW, 0, low_slot };
	ram->slots[1] = (struct slot){ GUEST_MAIN, REGION_LOW, low_slot, lower };
	ram->slots[2] = (struct slot){ GUEST_MAIN + lower, REGION_LOW,
				       low_slot + lower, low - low_slot - lower };
	ram->slots[3] = (struct slot){ GUEST_FIRMWARE, REGION_TOP, 0, firmware };
	ram->slots[4] = (struct slot){ GUEST_HIGH, REGION_TOP, firmware, high };

	/* As many pages as are left when each has an entry in the table */
	ram->pages = mem_mib * MIB / GUEST_PAGE;
	ram->table_pages = (ram->pages * 8 + GUEST_PAGE - 1) / GUEST_PAGE;
	ram->pages -= ram->table_pages;
	ram->high_page = low / GUEST_PAGE;
}

/* Where page number @page is in our address space */
void *ram_page(const struct ram *ram, uint64_t page)
{
	if (page < ram->high_page)
		return ram->regions[REGION_LOW].addr + page * GUEST_PAGE;
	return ram->regions[REGION_TOP].addr +
	       (GUEST_FW_PAGES + page - ram->high_page) * GUEST_PAGE;
}

uint64_t *ram_table(const struct ram *ram)
{
	return ram_page(ram, ram->pages);
}

volatile struct guest_state *ram_state(const struct ram *ram)
{
	return (void *)(ram->regions[REGION_TOP].addr + GUEST_STATE * GUEST_PAGE);
}

/* Write all memory to a plain file, one region behind the other */
void ram_dump(const struct ram *ram, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	for (int i = 0; i < REGIONS; i++) {
		const struct region *r = &ram->regions[i];

		for (uint64_t done = 0; done < r->length; ) {
			ssize_t n = write(fd, r->addr + done, r->length - done);

			if (n <= 0)
				die("%s: %s", path, strerror(errno));
			done += n;
		}
	}
	if (close(fd))
		die("%s: %s", path, strerror(errno));
}

/* Compare all memory with such a file; returns how many pages differ */
uint64_t ram_compare(const struct ram *ram, const char *path)
{
	FILE *dump = fopen(path, "re");
	uint64_t different = 0;
	uint8_t page[GUEST_PAGE];

	if (!dump)
		die("%s: %s", path, strerror(errno));
	for (int i = 0; i < REGIONS; i++) {
		const struct region *r = &ram->regions[i];

		for (uint64_t at = 0; at < r->length; at += GUEST_PAGE) {
			if (fread(page, GUEST_PAGE, 1, dump) != 1)
				die("%s: shorter than the memory", path);
			if (!memcmp(page, r->addr + at, GUEST_PAGE))
				continue;
			if (!different++)
				fprintf(stderr, "minivmm: %s: page %llu differs from %s\n",
					r->name,
					(unsigned long long)(at / GUEST_PAGE),
					path);
		}
	}
	if (fgetc(dump) != EOF)
		die("%s: longer than the memory", path);
	fclose(dump);
	return different;
}
