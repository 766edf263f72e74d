/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A scenario declares itself in one record, `const struct scenario scenario`; options, set-up,
 * counting and output are the shared main's.
 */
#ifndef GUPRACE_SCENARIO_H
#define GUPRACE_SCENARIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "rng.h"
#include "vehicle.h"

#ifndef RACE_HITS_MAX
#define RACE_HITS_MAX		20
#endif
#define RACE_COUNTERS_MAX	16

struct counter {
	const char *name;
	uint64_t value;
};

/* One subtest while it runs. */
struct race {
	const struct subtest *subtest;
	struct vehicle vehicle;
	uint64_t seed;
	int cpu[2];			/* of its own for each actor */

	uint64_t start_ns;
	uint64_t deadline_ns;
	atomic_bool stop;

	unsigned int hits;
	const char *oracle;		/* of the first hit */
	struct counter counter[RACE_COUNTERS_MAX];
	unsigned int counters;
};

struct subtest {
	const char *name;		/* <vehicle>.<operation> */
	const struct vehicle_ops *vehicle;
	void (*run)(struct race *race);
};

/* The least total of a counter for the race to count; below, a pass is vacuous. */
struct floor {
	const char *counter;
	uint64_t least;
};

struct scenario {
	const char *name;
	const char *summary;
	const struct subtest *subtests;	/* ends with a record without name */
	const struct floor *floors;	/* ends with a record without counter */
};

extern const struct scenario scenario;

/* Whether the actors go on. The first reads a flag; the second the clock too, for one actor. */
static inline bool race_running(struct race *race)
{
	return !atomic_load_explicit(&race->stop, memory_order_relaxed);
}

bool race_in_time(struct race *race);

/* Report a finding; ends the race after RACE_HITS_MAX. For one actor, outside of its window. */
void race_hit(struct race *race, const char *oracle, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Set a counter of the subtest. */
void race_count(struct race *race, const char *name, uint64_t value);

/* Run one function on each of the race's two vCPUs, started together, until both return. */
void race_actors(struct race *race, void *(*a)(void *), void *(*b)(void *), void *arg);

#endif
