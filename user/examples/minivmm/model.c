// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the guest's memory must look like after n steps, computed from n alone
 * with the same rules (guest.h) and none of the guest's data. It proves a
 * restored memory right without trusting the image or whoever wrote it.
 */
#include <stdlib.h>
#include <string.h>

#include "minivmm.h"

#define WORDS	(GUEST_PAGE / 8)

struct model {
	uint64_t pages;
	uint64_t step;
	uint64_t x;
	uint64_t checksum;
	uint64_t *table;
};

/* A page's words are first, first + stride, ... */
static void content(uint64_t entry, uint64_t page, uint64_t *first,
		    uint64_t *stride)
{
	bool zero = !entry || entry & GUEST_ZEROED;

	*first = zero ? 0 : entry * GUEST_MIX + page;
	*stride = zero ? 0 : GUEST_STRIDE;
}

static void read_page(struct model *m, uint64_t page)
{
	uint64_t first, stride;

	content(m->table[page], page, &first, &stride);
	m->checksum = m->checksum << 7 | m->checksum >> 57;
	m->checksum += WORDS * first + WORDS * (WORDS - 1) / 2 * stride;
}

/* The page that the next step fills */
static uint64_t next_page(const struct model *m)
{
	uint64_t x = m->x * GUEST_LCG_A + GUEST_LCG_C;

	return (x >> 32) * m->pages >> 32;
}

static void model_step(struct model *m)
{
	uint64_t page = next_page(m);

	m->x = m->x * GUEST_LCG_A + GUEST_LCG_C;
	read_page(m, page);
	read_page(m, m->step % m->pages);
	m->step++;
	m->table[page] = m->step | (m->x >> 16 & 7 ? 0 : GUEST_ZEROED);
}

static uint64_t page_differs(const uint64_t *page, uint64_t number,
			     uint64_t entry, uint64_t other)
{
	uint64_t first, stride, other_first, other_stride;

	content(entry, number, &first, &stride);
	content(other, number, &other_first, &other_stride);
	for (int i = 0; i < WORDS; i++)
		if (page[i] != first + i * stride &&
		    page[i] != other_first + i * other_stride)
			return 1;
	return 0;
}

/**
 * model_check - compare all memory with what it must be
 * @between_steps: the guest was stopped between two steps. Otherwise each word
 *                 may be that of the last step or that of the step under way.
 *
 * Which step it is, the guest's state block says.
 *
 * Return: how many pages differ.
 */
uint64_t model_check(const struct ram *ram, bool between_steps)
{
	static _Alignas(8) uint8_t firmware[GUEST_FW_PAGES * GUEST_PAGE];
	volatile struct guest_state *state = ram_state(ram);
	struct guest_state *built =
		(void *)(firmware + GUEST_STATE * GUEST_PAGE);
	struct model m = { ram->pages, 0, GUEST_SEED, 0, NULL }, next;
	uint64_t *table = ram_table(ram);
	size_t table_size = ram->table_pages * GUEST_PAGE;
	uint64_t busy = UINT64_MAX, entry = 0, bad = 0;

	m.table = calloc(1, table_size);
	if (!m.table)
		die("out of memory");
	while (m.step < state->step)
		model_step(&m);
	next = m;
	if (!between_steps) {
		uint64_t before;

		busy = next_page(&m);
		before = m.table[busy];
		model_step(&next);
		entry = m.table[busy];
		m.table[busy] = before;
	}

	for (uint64_t p = 0; p < ram->pages; p++)
		bad += page_differs(ram_page(ram, p), p, m.table[p],
				    p == busy ? entry : m.table[p]);

	if (!between_steps && table[busy] == entry)
		m.table[busy] = entry;
	for (uint64_t at = 0; at < table_size; at += GUEST_PAGE)
		bad += !!memcmp((uint8_t *)table + at,
				(uint8_t *)m.table + at, GUEST_PAGE);

	memset(firmware, 0, sizeof(firmware));
	firmware_build(ram, firmware);
	built->step = m.step;
	built->x = state->x == next.x ? next.x : m.x;
	built->checksum = state->checksum == next.checksum ?
			  next.checksum : m.checksum;
	for (int i = 0; i < GUEST_FW_PAGES; i++)
		bad += !!memcmp(ram->regions[REGION_TOP].addr + i * GUEST_PAGE,
				firmware + i * GUEST_PAGE, GUEST_PAGE);
	free(m.table);
	return bad;
}
