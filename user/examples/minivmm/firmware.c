// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What stands in memory before the guest starts: page tables that map each
 * guest-physical address that exists to itself, the guest's code, the
 * parameters in its state block.
 */
#include <string.h>

#include "minivmm.h"

/*
 * Present, writable, and already accessed and dirty: so the processor never
 * writes to the tables, and they stay as they are here.
 */
#define PTE_TABLE	0x23
#define PTE_HUGE	0xe3	/* ... and a page of 2 MiB or 1 GiB, dirty */

static uint64_t gpa(int page)
{
	return GUEST_FIRMWARE + (uint64_t)page * GUEST_PAGE;
}

static void map_gib(uint64_t *pdpt, uint64_t *directory, int page, int gib)
{
	pdpt[gib] = gpa(page) | PTE_TABLE;
	for (int i = 0; i < 512; i++)
		directory[i] = (uint64_t)gib << 30 | (uint64_t)i << 21 | PTE_HUGE;
}

/**
 * firmware_build - fill the firmware's memory
 * @firmware: GUEST_FW_PAGES pages of zeroes
 */
void firmware_build(const struct ram *ram, void *firmware)
{
	uint64_t (*tables)[512] = firmware;
	struct guest_state *state = (void *)tables[GUEST_STATE];

	tables[GUEST_PML4][0] = gpa(GUEST_PDPT) | PTE_TABLE;
	map_gib(tables[GUEST_PDPT], tables[GUEST_PD_FIRST], GUEST_PD_FIRST, 0);
	map_gib(tables[GUEST_PDPT], tables[GUEST_PD_FIRMWARE],
		GUEST_PD_FIRMWARE, 3);
	map_gib(tables[GUEST_PDPT], tables[GUEST_PD_HIGH], GUEST_PD_HIGH, 4);
	/* Large guests only: not every processor has pages of this size */
	for (uint64_t gib = 1; gib < 3; gib++)
		if (ram->regions[REGION_LOW].length > gib * GIB)
			tables[GUEST_PDPT][gib] = gib * GIB | PTE_HUGE;

	memcpy(tables[GUEST_CODE], guest_code, guest_code_end - guest_code);

	state->pages = ram->pages;
	state->high_page = ram->high_page;
	state->high_shift = GUEST_HIGH - GUEST_HOLE -
			    ram->high_page * GUEST_PAGE;
	state->table = GUEST_HIGH + (ram->pages - ram->high_page) * GUEST_PAGE;
	state->x = GUEST_SEED;
}
