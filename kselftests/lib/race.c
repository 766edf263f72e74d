// SPDX-License-Identifier: GPL-2.0-only
/* A subtest while it runs: its time, its findings, its counters, its actors. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "check.h"
#include "clock.h"
#include "ktap.h"
#include "scenario.h"

bool race_in_time(struct race *race)
{
	if (now_ns() >= race->deadline_ns)
		atomic_store(&race->stop, true);
	return race_running(race);
}

void race_hit(struct race *race, const char *oracle, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (race->hits == RACE_HITS_MAX)
		return;
	if (!race->hits) {
		race->oracle = oracle;
		race_count(race, "first_hit_ms", (now_ns() - race->start_ns) / NSEC_PER_MSEC);
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ktap_hit(race->subtest->name, oracle, text);
	if (++race->hits == RACE_HITS_MAX)
		atomic_store(&race->stop, true);
}

void race_count(struct race *race, const char *name, uint64_t value)
{
	if (race->counters == RACE_COUNTERS_MAX)
		broken("more than %d counters in %s", RACE_COUNTERS_MAX, race->subtest->name);
	race->counter[race->counters++] = (struct counter){ name, value };
}

struct actor {
	pthread_t thread;
	pthread_barrier_t *start;
	int cpu;
	void *(*fn)(void *arg);
	void *arg;
};

static void *actor_thread(void *arg)
{
	struct actor *actor = arg;

	check_pin_to_cpu(actor->cpu);
	pthread_barrier_wait(actor->start);
	return actor->fn(actor->arg);
}

void race_actors(struct race *race, void *(*a)(void *), void *(*b)(void *), void *arg)
{
	pthread_barrier_t start;
	struct actor actor[2] = {
		{ .start = &start, .cpu = race->cpu[0], .fn = a, .arg = arg },
		{ .start = &start, .cpu = race->cpu[1], .fn = b, .arg = arg },
	};

	if (pthread_barrier_init(&start, NULL, 2))
		broken("pthread_barrier_init for 2 actors");
	check_pthread_create(&actor[0].thread, actor_thread, &actor[0], "actor A");
	check_pthread_create(&actor[1].thread, actor_thread, &actor[1], "actor B");
	check_pthread_join(actor[0].thread, "actor A");
	check_pthread_join(actor[1].thread, "actor B");
	pthread_barrier_destroy(&start);
}
