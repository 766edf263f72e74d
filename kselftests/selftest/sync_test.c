// SPDX-License-Identifier: GPL-2.0-only
/*
 * Self-test of the synchroniser, in the guest that will race: windows whose lengths and whose weak
 * spot are known, since they are nothing but waits for the counter.
 *
 *   A: |----- A_TICKS of waiting -----|           B: |--- B_TICKS of waiting ---|
 *            |weak|                                            |strike|
 *
 * A trial is a synthetic hit when the instant at which B strikes falls into A's weak spot, which is
 * WEAK_PERCENT of the range of offsets long. What the host does to the guest (a vCPU held up, a late
 * start) costs trials, and may not make those that count say anything that is not so.
 *
 * Subtests: `steered` checks what the synchroniser says of itself; `focused` tells it of trials that
 * strike within NEAR times the weak spot, and compares the hits of its two halves.
 */
#include <inttypes.h>

#include "clock.h"
#include "ktap.h"
#include "scenario.h"
#include "sync.h"

#define A_USEC		60u
#define B_USEC		90u
#define WEAK_PERCENT	2u
#define NEAR		5u
/*
 * So many windows that met, whatever --seconds says: on a busy host one vCPU often waits for the
 * other's end. Then trials are few; what is said of those that count has to be true all the same.
 */
#define MEETINGS	700u
#define PATIENCE_NS	(15 * NSEC_PER_SEC)

struct world {
	uint64_t a_ticks, b_ticks;	/* lengths asked for */
	uint64_t range;
	bool tell_near;
	uint64_t a_begin, b_begin;
	uint64_t hits;
	unsigned int meetings;
};

static uint64_t ticks_per_usec(void)
{
	uint64_t ns = now_ns(), ticks = now_ticks(), passed;

	do
		passed = now_ns() - ns;
	while (passed < 20 * NSEC_PER_MSEC);
	return ((now_ticks() - ticks) * 1000 + passed / 2) / passed;
}

static uint64_t wait_ticks(uint64_t ticks)
{
	uint64_t begin = now_ticks();

	while (now_ticks() - begin < ticks)
		cpu_relax();
	return begin;
}

static void window_a(struct race *race, void *world)
{
	struct world *w = world;

	(void)race;
	w->a_begin = wait_ticks(w->a_ticks);
}

static void window_b(struct race *race, void *world)
{
	struct world *w = world;

	(void)race;
	w->b_begin = wait_ticks(w->b_ticks);
}

/* The strike is in the middle of B's window, the weak spot at a third of A's. */
static void judge(struct race *race, void *world)
{
	struct world *w = world;
	int64_t strike = w->b_begin + w->b_ticks / 2 - w->a_begin;
	int64_t miss = strike - (int64_t)(w->a_ticks / 3);
	int64_t reach = w->range * WEAK_PERCENT / 200;

	if (miss < 0)
		miss = -miss;
	w->hits += miss <= reach;
	w->meetings += w->a_begin < w->b_begin + w->b_ticks && w->b_begin < w->a_begin + w->a_ticks;
	if (w->meetings == MEETINGS)
		atomic_store(&race->stop, true);
	if (w->tell_near && miss <= (int64_t)NEAR * reach)
		race_near_miss(race);
}

static const struct trial trial = { .a = window_a, .b = window_b, .judge = judge };

static uint64_t counted(const struct race *race, const char *name)
{
	for (unsigned int i = 0; i < race->counters; i++) {
		if (!__builtin_strcmp(race->counter[i].name, name))
			return race->counter[i].value;
	}
	return 0;
}

static void expect_between(struct race *race, const char *what, uint64_t value, uint64_t least,
			   uint64_t most)
{
	if (value < least || value > most)
		race_hit(race, "sync", "expected %s in [%" PRIu64 ", %" PRIu64 "], observed %" PRIu64,
			 what, least, most, value);
}

static struct world race_synthetic(struct race *race, bool tell_near)
{
	uint64_t usec = ticks_per_usec();
	struct world w = { .a_ticks = A_USEC * usec, .b_ticks = B_USEC * usec };

	w.range = w.a_ticks + w.b_ticks;
	w.tell_near = tell_near;
	if (!race->naive)
		race->deadline_ns = now_ns() + PATIENCE_NS;
	race_trials(race, &trial, &w);
	race_count(race, "ticks_per_usec", usec);
	race_count(race, "weak_hits", w.hits);
	return w;
}

static void steered(struct race *race)
{
	struct world w = race_synthetic(race, false);
	uint64_t trials = counted(race, "trials");

	expect_between(race, "the median of A's window", counted(race, "a_ticks"), w.a_ticks,
		       w.a_ticks * 3 / 2);
	expect_between(race, "the median of B's window", counted(race, "b_ticks"), w.b_ticks,
		       w.b_ticks * 3 / 2);
	/*
	 * Offsets that nobody steers are within a bin of the wanted one a tenth of the time. On an
	 * idle host nearly all are; beside a kernel build 3 of 10 were.
	 */
	expect_between(race, "trials at the offset that was wanted", counted(race, "on_time"),
		       trials / 5, trials);
	expect_between(race, "coverage in percent", counted(race, "coverage"), 95, 100);
	/* WEAK_PERCENT of the trials, give or take: a synchroniser that visits it seldom is no use. */
	expect_between(race, "hits of the weak spot", w.hits, trials * WEAK_PERCENT / 100 / 4, trials);
}

static void focused(struct race *race)
{
	struct world w = race_synthetic(race, true);
	uint64_t trials = counted(race, "trials");

	expect_between(race, "trials placed beside a near miss", counted(race, "focused"),
		       trials / 4, counted(race, "rounds"));
	/* Half of the trials fall within NEAR times the weak spot, give or take a bin. */
	expect_between(race, "hits of the weak spot", w.hits, trials * WEAK_PERCENT / 100, trials);
}

static const struct floor floors[] = {
	{ "trials", 100 },
	{ }
};

static const struct subtest subtests[] = {
	{ "steered", NULL, steered, floors, 0 },
	{ "focused", NULL, focused, floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "sync_test",
	.summary = "self-test of the race synchroniser, with windows of known length",
	.subtests = subtests,
};
