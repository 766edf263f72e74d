/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The race synchroniser: two actors whose windows meet at an offset of our choice.
 *
 * A trial has a start time in ticks of the counter that all CPUs share (TSC, cntvct_el0), a little
 * in the future. A begins its window then and B `offset` ticks later, or for a negative offset the
 * other way round. Both wait for a time, not for a number of loops, so nothing needs calibrating,
 * and how the two leave the rendezvous does not matter. What was achieved is measured each time.
 *
 *   WARMUP  first touches; the time that a hand-over takes
 *   SAMPLE  offset 0: median and MAD of both windows' durations; where trials are slow, of fewer
 *   SWEEP   offsets over the whole range in which the windows overlap, [-B's duration, A's]: in a
 *           random order one out of each of SYNC_STRATA strata, the halves of SYNC_BINS bins (one of
 *           each bin first, then the others), then again, from the race's seed
 *   FOCUS   once the range has been swept (SYNC_COVERED percent of its bins, or three rounds: trials
 *           that do not count leave holes) and a near miss was seen: every second trial is placed
 *           beside the offset of such a trial, the others go on sweeping
 *
 * Model: LTP's tst_fuzzy_sync.h. Its delays are loops, calibrated in another loop than they run in;
 * its sample ends when a mean near zero stops to move, or never, and the race goes on without.
 */
#ifndef GUPRACE_SYNC_H
#define GUPRACE_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "rng.h"

#define SYNC_WARMUP	16	/* trials */
#define SYNC_SAMPLE	64	/* trials, */
#define SYNC_SAMPLE_MIN	16	/* or so many if they take too long */
#define SYNC_STRATA	40
#define SYNC_BINS	20	/* of the histogram of achieved offsets */
#define SYNC_COVERED	90	/* percent of them: a range that was swept */
#define SYNC_NEAR	32	/* near misses remembered */
#define SYNC_PREEMPTED	20	/* times the median: the host or the guest took the CPU away */

/* Ticks. */
struct sync_window {
	uint64_t begin;
	uint64_t end;
};

struct sync_median {
	uint64_t median;
	uint64_t mad;		/* median absolute deviation from it */
};

struct sync_sample {
	uint64_t a[SYNC_SAMPLE];	/* durations, ticks */
	uint64_t b[SYNC_SAMPLE];
	uint64_t gap[SYNC_SAMPLE];	/* how far the achieved offset was from the wanted one */
};

/* What is known when the race is over. */
struct sync_result {
	uint64_t rounds;	/* trials begun */
	uint64_t trials;	/* valid: the windows overlapped, nobody was preempted */
	uint64_t on_time;	/* those of them that were within a bin of the wanted offset */
	uint64_t apart;		/* the windows did not meet */
	uint64_t empty;		/* what was to be raced was not there: looked at by nobody, in no sample */
	uint64_t preempted;	/* a CPU was taken away; by what told that, one trial by several: */
	uint64_t a_long;	/* A's window took too long */
	uint64_t b_long;	/* B's */
	uint64_t begin_late;	/* the later of the two began too far from the wanted offset */
	uint64_t met;		/* preempted, and the windows overlapped all the same */
	uint64_t focused;	/* trials placed beside a near miss */
	uint64_t near_misses;
	uint64_t bins[SYNC_BINS];	/* valid trials by achieved offset */
	uint64_t visited[SYNC_BINS];	/* those, and trials whose windows did not meet */
	struct sync_median a, b, gap;
};

struct sync {
	/* B writes these and then `go`; A reads them after it. */
	_Alignas(64) uint64_t go;	/* number of the trial that may begin */
	uint64_t start;
	int64_t offset;			/* of B's begin from A's, wanted */
	struct sync_window b;
	_Alignas(64) uint64_t b_done;

	_Alignas(64) uint64_t a_ended;	/* A's window is over */
	_Alignas(64) uint64_t a_done;	/* and what A did about it */
	struct sync_window a;
	bool near_miss;
	bool empty;

	/* B's own. */
	_Alignas(64) struct rng rng;
	uint64_t lead;			/* from the hand-over to the start */
	uint64_t stretched;		/* ticks by which a window may be longer than the sample's, on purpose */
	uint64_t patience_ns;		/* when the sample is to be over */
	unsigned int sampled;		/* trials in it */
	bool sample_over;
	struct sync_sample sample;
	uint8_t order[SYNC_STRATA];	/* of the strata, in this round of the sweep */
	unsigned int swept;		/* trials of the sweep so far */
	int64_t near[SYNC_NEAR];
	struct sync_result result;
};

/* `sample_ns`: the time that WARMUP and SAMPLE may take, if that gives the least of trials. */
void sync_init(struct sync *s, uint64_t seed, uint64_t sample_ns);

/*
 * A: wait for the trial and for its time; false when B has ended the race. Then the window, then
 * sync_a_end(), after which B's window is over too; what A does until sync_a_release() has the world
 * to itself.
 */
bool sync_a_begin(struct sync *s);
void sync_a_end(struct sync *s);
void sync_a_near_miss(struct sync *s);
void sync_a_empty(struct sync *s);
void sync_a_release(struct sync *s);

/* B: the same. What B does between sync_b_end() and sync_b_begin() has the world to itself. */
void sync_b_stretched(struct sync *s, uint64_t ticks);
void sync_b_begin(struct sync *s);
void sync_b_end(struct sync *s);
void sync_b_stop(struct sync *s);

/*
 * Bins visited, in percent; 0 before the sweep. An offset at which the windows were seen not to meet
 * is one that was looked at: the range is that of windows that hinder each other, and alone they
 * are shorter.
 */
unsigned int sync_coverage(const struct sync_result *r);

/* Whether the windows are still being measured. */
bool sync_sampling(const struct sync *s);

/* Sorts the values. */
struct sync_median sync_median_of(uint64_t *values, unsigned int count);

#endif
