// SPDX-License-Identifier: GPL-2.0-only
/* Steered trials: the scenario's steps in the order of the synchroniser. */
#include <inttypes.h>
#include <stdio.h>

#include "backoff.h"
#include "check.h"
#include "ktap.h"
#include "scenario.h"
#include "stretch.h"
#include "sync.h"

#define SAMPLE_PART	8	/* of the time to race, at most */

struct steered {
	struct race *race;
	const struct trial *trial;
	void *world;
	uint64_t backoffs;	/* before this trial */
	uint64_t naive_calls;	/* A's and B's, when all is over */
	uint64_t naive_rounds;
	struct sync sync;
};

/* race_near_miss() has no other way to the synchroniser; one race runs at a time. */
static struct sync *current;

void race_near_miss(struct race *race)
{
	(void)race;
	if (current)
		sync_a_near_miss(current);
}

void race_empty(struct race *race)
{
	(void)race;
	if (current)
		sync_a_empty(current);
}

bool race_sampling(struct race *race)
{
	(void)race;
	return current && sync_sampling(current);
}

/* Before the pins are dropped: an unpin would count as well. */
static void look_for_backoffs(struct steered *st)
{
	uint64_t backoffs;

	if (!st->race->count_backoffs)
		return;
	backoffs = backoff_so_far(&st->race->vehicle);
	if (backoffs > st->backoffs && !st->trial->gives_back)
		sync_a_near_miss(&st->sync);
	st->backoffs = backoffs;
}

static void *actor_a(void *arg)
{
	struct steered *st = arg;

	while (sync_a_begin(&st->sync)) {
		st->trial->a(st->race, st->world);
		sync_a_end(&st->sync);
		look_for_backoffs(st);
		if (st->trial->judge)
			st->trial->judge(st->race, st->world);
		sync_a_release(&st->sync);
	}
	return NULL;
}

static void *actor_b(void *arg)
{
	struct steered *st = arg;

	while (race_in_time(st->race)) {
		if (st->trial->prepare)
			st->trial->prepare(st->race, st->world);
		sync_b_stretched(&st->sync, stretch_code_ticks());
		sync_b_begin(&st->sync);
		st->trial->b(st->race, st->world);
		sync_b_end(&st->sync);
		if (st->trial->settle)
			st->trial->settle(st->race, st->world);
	}
	sync_b_stop(&st->sync);
	return NULL;
}

static void *naive_a(void *arg)
{
	struct steered *st = arg;
	struct vehicle *v = &st->race->vehicle;

	for (; race_running(st->race); st->naive_calls++) {
		st->trial->a(st->race, st->world);
		if (v->ops)
			v->ops->unpin(v);
	}
	return NULL;
}

static void *naive_b(void *arg)
{
	struct steered *st = arg;

	for (; race_in_time(st->race); st->naive_rounds++) {
		if (st->trial->prepare)
			st->trial->prepare(st->race, st->world);
		st->trial->b(st->race, st->world);
		if (st->trial->settle)
			st->trial->settle(st->race, st->world);
	}
	return NULL;
}

static void print_offsets(const struct race *race, const struct sync_result *r)
{
	char text[16 * SYNC_BINS];
	size_t used = 0;

	for (unsigned int i = 0; i < SYNC_BINS; i++)
		used += snprintf(text + used, sizeof(text) - used, " %" PRIu64, r->bins[i]);
	ktap_diag("%s: valid trials by offset, from -%" PRIu64 " to %" PRIu64 " ticks:%s",
		  race->subtest->name, r->b.median, r->a.median, text);
}

/* Of no interest where there are none, which is the rule. */
static void count_causes(struct race *race, const struct sync_result *r)
{
	if (!r->preempted)
		return;
	race_count(race, "preempted_a_long", r->a_long);
	race_count(race, "preempted_b_long", r->b_long);
	race_count(race, "preempted_begin_late", r->begin_late);
	race_count(race, "preempted_met", r->met);
}

static void count(struct race *race, const struct sync_result *r)
{
	race_count(race, "rounds", r->rounds);
	race_count(race, "trials", r->trials);
	race_count(race, "on_time", r->on_time);
	race_count(race, "apart", r->apart);
	if (r->empty)
		race_count(race, "empty", r->empty);
	race_count(race, "preempted", r->preempted);
	count_causes(race, r);
	race_count(race, "coverage", sync_coverage(r));
	race_count(race, "near_misses", r->near_misses);
	race_count(race, "focused", r->focused);
	race_count(race, "a_ticks", r->a.median);
	race_count(race, "a_mad", r->a.mad);
	race_count(race, "b_ticks", r->b.median);
	race_count(race, "b_mad", r->b.mad);
	race_count(race, "gap_ticks", r->gap.median);
}

/* A trial takes one of each: the quicker loop's are no more of them, met or not. */
static void count_naive(struct race *race, uint64_t calls, uint64_t rounds)
{
	race_count(race, "a_calls", calls);
	race_count(race, "rounds", rounds);
	race_count(race, "trials", calls < rounds ? calls : rounds);
}

void race_trials(struct race *race, const struct trial *trial, void *world)
{
	struct steered st = { .race = race, .trial = trial, .world = world };

	if (race->naive) {
		race_actors(race, naive_a, naive_b, &st);
		count_naive(race, st.naive_calls, st.naive_rounds);
		return;
	}
	race_floor(race, "coverage", SYNC_COVERED);
	sync_init(&st.sync, race->seed, (race->deadline_ns - race->start_ns) / SAMPLE_PART);
	if (race->count_backoffs)
		st.backoffs = backoff_so_far(&race->vehicle);
	current = &st.sync;
	race_actors(race, actor_a, actor_b, &st);
	current = NULL;
	print_offsets(race, &st.sync.result);
	count(race, &st.sync.result);
}
