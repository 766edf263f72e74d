/* SPDX-License-Identifier: GPL-2.0-only */
/* Random numbers that a printed seed gives again: splitmix64 seeds, xorshift64* runs. */
#ifndef GUPRACE_RNG_H
#define GUPRACE_RNG_H

#include <stdint.h>

struct rng {
	uint64_t state;		/* never zero */
};

static inline uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Streams of one seed are independent: one for each actor that draws. */
static inline struct rng rng_seeded(uint64_t seed, uint64_t stream)
{
	uint64_t state = mix64(seed ^ mix64(stream));

	return (struct rng){ .state = state ? state : 1 };
}

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t x = rng->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	rng->state = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* Uniform in [0, bound); 0 for a bound of 0. The bias of the multiplication is below 2^-32. */
static inline uint32_t rng_below(struct rng *rng, uint32_t bound)
{
	return (rng_next(rng) >> 32) * bound >> 32;
}

#endif
