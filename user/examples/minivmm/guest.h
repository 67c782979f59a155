/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest, the host and the host's model of the guest agree on: the
 * physical memory map, the state block, and what a step of the guest does.
 * Read by the assembler too.
 *
 * Guest-physical memory, one line a KVM slot:
 *
 *   0            640 KiB  low memory
 *   1 MiB        ...      main memory, lower part
 *   behind it    ...      main memory, upper part
 *   4 GiB - 28K  28 KiB   firmware: page tables, code, state block
 *   4 GiB        ...      high memory; the table stands at its end
 *
 * All of it but the firmware and the table is one row of numbered pages, the
 * guest's playground. The table has an entry for each: 0 when the page was
 * never written, else the step that wrote it, with GUEST_ZEROED when that step
 * filled it with zeroes.
 *
 * A step (n is its number, from 1):
 *
 *   x = x * GUEST_LCG_A + GUEST_LCG_C
 *   p = ((x >> 32) * pages) >> 32,  q = (n - 1) % pages
 *   for page p, then page q: read it whole and compare it with what the table
 *     says it must hold; checksum = rotl(checksum, 7) + sum of its words
 *   fill page p: with zeroes if bits 16..18 of x are zero, else word i (of 8
 *     bytes) with n * GUEST_MIX + p + i * GUEST_STRIDE
 *   table[p] = n (| GUEST_ZEROED), then x, checksum and n go to the state block
 *   every GUEST_REPORT steps: out n to GUEST_PORT
 *
 * So memory is a function of n, and a page that is stale, torn or misplaced is
 * found by the guest itself the next time it comes by.
 */
#ifndef MINIVMM_GUEST_H
#define MINIVMM_GUEST_H

#define GUEST_PAGE		4096
#define GUEST_LOW_PAGES		160
#define GUEST_MAIN		0x100000
#define GUEST_HIGH		0x100000000
#define GUEST_HOLE		(GUEST_MAIN - GUEST_LOW_PAGES * GUEST_PAGE)

/* Pages of the firmware */
#define GUEST_PML4		0
#define GUEST_PDPT		1
#define GUEST_PD_FIRST		2
#define GUEST_PD_FIRMWARE	3
#define GUEST_PD_HIGH		4
#define GUEST_CODE		5
#define GUEST_STATE		6
#define GUEST_FW_PAGES		7
#define GUEST_FIRMWARE		(GUEST_HIGH - GUEST_FW_PAGES * GUEST_PAGE)

#define GUEST_PORT		0x510
#define GUEST_REPORT		64
#define GUEST_LCG_A		0x5851f42d4c957f2d
#define GUEST_LCG_C		0x14057b7ef767814f
#define GUEST_SEED		0x6d61707065642d72
#define GUEST_MIX		0x9e3779b97f4a7c15
#define GUEST_STRIDE		0xd1342543de82ef95
#define GUEST_ZEROED_BIT	63

/* The state block: offsets in the last page of the firmware */
#define STATE_PAGES		0x00
#define STATE_HIGH_PAGE		0x08
#define STATE_HIGH_SHIFT	0x10
#define STATE_TABLE		0x18
#define STATE_STEP		0x40
#define STATE_X			0x48
#define STATE_CHECKSUM		0x50
#define STATE_ERRORS		0x58
#define STATE_BAD_STEP		0x60
#define STATE_BAD_PAGE		0x68

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <stdint.h>

#define GUEST_ZEROED		(UINT64_C(1) << GUEST_ZEROED_BIT)

/**
 * struct guest_state - the state block
 * @pages: numbered pages; the host's, as all up to @table
 * @high_page: number of the first page in high memory
 * @high_shift: from there on, what to add to an address beside the hole
 * @table: the table's address
 * @step: the last step that was finished
 * @x: the generator after it
 * @checksum: of everything the guest ever read
 * @errors: times that something was not as it must be
 * @bad_step: the step that found the last of these
 * @bad_page: the page, or all ones for a register
 */
struct guest_state {
	uint64_t pages;
	uint64_t high_page;
	uint64_t high_shift;
	uint64_t table;
	uint64_t reserved[4];
	uint64_t step;
	uint64_t x;
	uint64_t checksum;
	uint64_t errors;
	uint64_t bad_step;
	uint64_t bad_page;
};

_Static_assert(offsetof(struct guest_state, table) == STATE_TABLE, "table");
_Static_assert(offsetof(struct guest_state, step) == STATE_STEP, "step");
_Static_assert(offsetof(struct guest_state, bad_page) == STATE_BAD_PAGE, "bad");

/* The guest's code, position-independent; starts at its first byte */
extern const unsigned char guest_code[], guest_code_end[];

#endif /* !__ASSEMBLER__ */
#endif /* MINIVMM_GUEST_H */
