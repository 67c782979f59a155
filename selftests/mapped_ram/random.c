// SPDX-License-Identifier: GPL-2.0
/* Random choices that a seed repeats: splitmix64. */
#include "common.h"

uint64_t test_seed(void)
{
	static pid_t printed;
	const char *env = getenv("MRAM_SEED");
	uint64_t seed = env && *env ? strtoull(env, NULL, 0) : 1;

	/* Each test is a process of its own and shall say what it ran with. */
	if (printed != getpid()) {
		printed = getpid();
		fprintf(stderr, "# MRAM_SEED=%llu\n", (unsigned long long)seed);
	}
	return seed;
}

struct rng rng_new(uint64_t stream)
{
	struct rng rng = { .state = test_seed() ^ stream << 32 };

	rng_u64(&rng);
	return rng;
}

uint64_t rng_u64(struct rng *rng)
{
	uint64_t z = rng->state += 0x9E3779B97F4A7C15;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_u64(rng) % n;
}

bool rng_percent(struct rng *rng, unsigned int percent)
{
	return rng_below(rng, 100) < percent;
}

void rng_fill(struct rng *rng, void *buf, size_t length)
{
	uint8_t *p = buf;

	while (length) {
		uint64_t word = rng_u64(rng);
		size_t part = length < sizeof(word) ? length : sizeof(word);

		memcpy(p, &word, part);
		p += part;
		length -= part;
	}
}
