/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A scenario declares itself in one record, `const struct scenario scenario`; options, set-up,
 * counting and output are the shared main's.
 */
#ifndef GUPRACE_SCENARIO_H
#define GUPRACE_SCENARIO_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "rng.h"
#include "vehicle.h"

#ifndef RACE_HITS_MAX
#define RACE_HITS_MAX		20
#endif
#define RACE_COUNTERS_MAX	48
#define RACE_FLOORS_MAX		16

struct counter {
	const char *name;
	uint64_t value;
};

/* The least value of a subtest's counter for its race to count; below, a pass is vacuous. */
struct floor {
	const char *counter;
	uint64_t least;
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
	bool count_backoffs;
	bool stretch;			/* GUP-fast's window, by whoever opens vehicles of his own */
	bool naive;			/* measure, do not judge: see race_trials() */
	bool first;			/* end with the first hit, or when the kernel taints itself */

	uint64_t taint;			/* the kernel's before the race */
	bool tainted;			/* it has changed since, after so long: */
	uint64_t taint_ms;

	unsigned int hits;
	const char *oracle;		/* of the first hit */
	bool skipped;			/* by race_skip(), which says why: */
	char reason[256];
	jmp_buf skip;
	struct counter counter[RACE_COUNTERS_MAX];
	unsigned int counters;
	struct floor floor[RACE_FLOORS_MAX];
	unsigned int floors;
};

struct subtest {
	const char *name;		/* <vehicle>.<operation> */
	const struct vehicle_ops *vehicle;	/* NULL: the subtest opens its own, or none */
	void (*run)(struct race *race);
	const struct floor *floors;	/* ends with a record without counter; may be NULL */
	unsigned long arg;		/* the subtest's own business */
};

struct scenario {
	const char *name;
	const char *summary;
	const struct subtest *subtests;	/* ends with a record without name */
	/* Names in /proc/vmstat whose growth over a subtest is counted, as vm.<name>; or NULL. */
	const char * const *vmstat;
	/* Bits of the kernel's taint that kernels nobody broke are known to set: --first-hit races on. */
	uint64_t taints;
};

extern const struct scenario scenario;

/* Whether the actors go on. The first reads a flag; the second the clock too, for one actor. */
static inline bool race_running(struct race *race)
{
	return !atomic_load_explicit(&race->stop, memory_order_relaxed);
}

bool race_in_time(struct race *race);

/* Begin the time to race anew, after a set-up that took long. */
void race_begin(struct race *race);

/*
 * Report a finding; ends the race after RACE_HITS_MAX, or with the first (--first-hit). For one actor,
 * outside of its window.
 */
void race_hit(struct race *race, const char *oracle, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Leave a subtest whose requirement is missing; before its actors start. Does not return. */
void race_skip(struct race *race, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

/* Set a counter of the subtest, add to it, read it (0: never set). */
void race_count(struct race *race, const char *name, uint64_t value);
void race_add(struct race *race, const char *name, uint64_t value);
uint64_t race_counted(const struct race *race, const char *name);

/* Print a floor of the subtest, and keep it: for those that shared code adds to the subtest's own. */
void race_floor(struct race *race, const char *counter, uint64_t least);

/* Free-running: one function on each of the race's two vCPUs, until both return. */
void race_actors(struct race *race, void *(*a)(void *), void *(*b)(void *), void *arg);

/*
 * Steered by the synchroniser (sync.h), until time is up or enough was found. Only the windows run
 * side by side: what prepare, judge and settle do, they do alone.
 */
struct trial {
	void (*prepare)(struct race *race, void *world);	/* by B, may be NULL */
	void (*a)(struct race *race, void *world);		/* window: takes the pins */
	void (*b)(struct race *race, void *world);		/* window: changes page tables */
	void (*judge)(struct race *race, void *world);		/* by A, may be NULL */
	void (*settle)(struct race *race, void *world);		/* by B, may be NULL */
	/* The walk gives back what must be unshared first, in each trial: a back-off is no near miss. */
	bool gives_back;
};

/*
 * Counts rounds, trials (valid ones), on_time, apart, empty (if any were), preempted (and by what, if any
 * were), coverage (percent), near_misses, focused, a_ticks, b_ticks (medians), a_mad, b_mad, gap_ticks;
 * sets the floor of coverage.
 *
 * With --naive: what a test without this library does, for comparison. A takes and drops pins, B
 * prepares and changes page tables, each in a loop of its own. A trial has one of each, met or not:
 * trials is the lesser of a_calls and rounds.
 */
void race_trials(struct race *race, const struct trial *trial, void *world);

/*
 * Whether the synchroniser is still measuring how long the windows are. Where a pin cuts B's window
 * short (a held page is not collapsed), A pins something else until then, or the sweep would cover a
 * race that is over before it begins.
 */
bool race_sampling(struct race *race);

/*
 * Tell, in judge, that this trial raced nothing: what B was to do did not come about. It is no trial,
 * nor a measure of the windows.
 */
void race_empty(struct race *race);

/* Tell, in judge, that the windows met where it hurts. A back-off that is counted tells by itself. */
void race_near_miss(struct race *race);

/* A thread that does `step` over and over beside the actors, on the CPU of B, unsteered. */
struct responder;
struct responder *responder_start(struct race *race, void (*step)(void *arg), void *arg);
void responder_stop(struct responder *responder);

#endif
