// SPDX-License-Identifier: GPL-2.0
/*
 * The only process of the guest that tests save and load: keeps writing to
 * memory by a plan and checking all of it against the plan, and says on the
 * console how far it is.
 *
 *	guest: round N writes N errors N checksum X
 *
 * Every page's content follows from its number and from how often it was
 * written; each eighth time it becomes zero. A count for each page and the sum
 * of all counts stand elsewhere in memory, so a page that is lost, stale or
 * somebody else's is an error, and so is a counter that went back. Errors are
 * never forgotten. The kernel's command line sets
 *	work=MIB	memory in use (48)
 *	writes=N	pages written in a round (256)
 *	hot=N		only the first N pages are written after the first round (all)
 *	pause=MS	sleep between rounds (50)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE	4096
#define WORDS	(PAGE / sizeof(uint64_t))

static uint64_t setting(const char *name, uint64_t by_default)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : by_default;
}

static uint64_t first_word(uint64_t page, uint32_t count)
{
	uint64_t x = (page << 32 | count) * 0x9e3779b97f4a7c15;

	return x ^ x >> 29;
}

static uint64_t next_word(uint64_t x)
{
	return x * 0xd1342543de82ef95 + 1;
}

static void write_page(uint64_t *p, uint64_t page, uint32_t count)
{
	uint64_t x = first_word(page, count);
	size_t i;

	if (count % 8 == 7) {
		memset(p, 0, PAGE);
		return;
	}
	for (i = 0; i < WORDS; i++, x = next_word(x))
		p[i] = x;
}

static int check_page(const uint64_t *p, uint64_t page, uint32_t count,
		      uint64_t *checksum)
{
	uint64_t x = first_word(page, count), bad = 0, sum = *checksum;
	size_t i;

	for (i = 0; i < WORDS; i++) {
		bad |= p[i] ^ (count % 8 == 7 ? 0 : x);
		sum = (sum << 1 | sum >> 63) + p[i];
		x = next_word(x);
	}
	*checksum = sum;
	return bad != 0;
}

int main(void)
{
	uint64_t pages = setting("work", 48) << 20 >> 12;
	uint64_t writes = setting("writes", 256), hot = setting("hot", pages);
	uint64_t pause = setting("pause", 50) * 1000000;
	struct timespec ts = { pause / 1000000000, pause % 1000000000 };
	uint64_t seed = 1, total = 0, errors = 0, round, i, sum, checksum;
	uint32_t *counts;
	uint64_t *memory;

	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	counts = calloc(pages, sizeof(*counts));
	if (memory == MAP_FAILED || !counts || !pages || !hot || hot > pages) {
		puts("guest: cannot start");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < pages; i++)
		write_page(memory + i * WORDS, i, 0);
	for (round = 1;; round++) {
		for (i = 0; i < writes; i++, total++) {
			uint64_t page;

			seed = next_word(seed);
			page = (seed >> 20) % hot;
			write_page(memory + page * WORDS, page,
				   ++counts[page]);
		}
		sum = checksum = 0;
		for (i = 0; i < pages; i++) {
			errors += check_page(memory + i * WORDS, i, counts[i],
					     &checksum);
			sum += counts[i];
		}
		if (sum != total)
			errors++;
		printf("guest: round %llu writes %llu errors %llu checksum %016llx\n",
		       (unsigned long long)round, (unsigned long long)total,
		       (unsigned long long)errors,
		       (unsigned long long)checksum);
		nanosleep(&ts, NULL);
	}
}
