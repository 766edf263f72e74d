// SPDX-License-Identifier: GPL-2.0-only
/* A subtest while it runs: its time, its findings, its counters, its actors. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "clock.h"
#include "ktap.h"
#include "scenario.h"
#include "taint.h"

bool race_in_time(struct race *race)
{
	if (now_ns() >= race->deadline_ns)
		atomic_store(&race->stop, true);
	return race_running(race);
}

void race_begin(struct race *race)
{
	uint64_t budget_ns = race->deadline_ns - race->start_ns;

	race->start_ns = now_ns();
	race->deadline_ns = race->start_ns + budget_ns;
}

void race_hit(struct race *race, const char *oracle, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (race->naive || race->hits == RACE_HITS_MAX)
		return;
	if (!race->hits) {
		race->oracle = oracle;
		race_count(race, "first_hit_ms", (now_ns() - race->start_ns) / NSEC_PER_MSEC);
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ktap_hit(race->subtest->name, oracle, text);
	if (++race->hits == (race->first ? 1 : RACE_HITS_MAX))
		atomic_store(&race->stop, true);
}

void race_skip(struct race *race, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(race->reason, sizeof(race->reason), fmt, ap);
	va_end(ap);
	race->skipped = true;
	longjmp(race->skip, 1);
}

static struct counter *find_counter(struct race *race, const char *name)
{
	for (unsigned int i = 0; i < race->counters; i++) {
		if (!strcmp(race->counter[i].name, name))
			return &race->counter[i];
	}
	if (race->counters == RACE_COUNTERS_MAX)
		broken("more than %d counters in %s", RACE_COUNTERS_MAX, race->subtest->name);
	race->counter[race->counters] = (struct counter){ .name = name };
	return &race->counter[race->counters++];
}

void race_count(struct race *race, const char *name, uint64_t value)
{
	find_counter(race, name)->value = value;
}

void race_add(struct race *race, const char *name, uint64_t value)
{
	find_counter(race, name)->value += value;
}

uint64_t race_counted(const struct race *race, const char *name)
{
	for (unsigned int i = 0; i < race->counters; i++) {
		if (!strcmp(race->counter[i].name, name))
			return race->counter[i].value;
	}
	return 0;
}

void race_floor(struct race *race, const char *counter, uint64_t least)
{
	if (race->floors == RACE_FLOORS_MAX)
		broken("more than %d floors in %s", RACE_FLOORS_MAX, race->subtest->name);
	race->floor[race->floors++] = (struct floor){ counter, least };
	ktap_floor(race->subtest->name, counter, least);
}

#define LOOK_MS	100

struct actor {
	pthread_t thread;
	pthread_barrier_t *start;
	sem_t *over;
	int cpu;
	void *(*fn)(void *arg);
	void *arg;
	atomic_bool returned;
	bool joined;
};

static void *actor_thread(void *arg)
{
	struct actor *actor = arg;
	void *result;

	check_pin_to_cpu(actor->cpu);
	pthread_barrier_wait(actor->start);
	result = actor->fn(actor->arg);
	atomic_store(&actor->returned, true);
	sem_post(actor->over);
	return result;
}

/* Until an actor returns, or for LOOK_MS. */
static void wait_for_actors(sem_t *over)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_MS * NSEC_PER_MSEC;
	until.tv_sec += until.tv_nsec / NSEC_PER_SEC;
	until.tv_nsec %= NSEC_PER_SEC;
	sem_timedwait(over, &until);
}

/* An oops ends the thread that it hits, and that one alone: the other would wait for it for ever. */
static void look_for_end(struct actor *actor, char name)
{
	if (actor->joined)
		return;
	actor->joined = !pthread_tryjoin_np(actor->thread, NULL);
	if (actor->joined && !atomic_load(&actor->returned))
		broken("the kernel ended actor %c in the middle of its work: see its log", name);
}

/* A report on the console has no other way to here. */
static void look_for_taint(struct race *race)
{
	uint64_t bits;

	if (race->tainted || !taint_read(&bits) || !((bits ^ race->taint) & ~scenario.taints))
		return;
	race->tainted = true;
	race->taint_ms = (now_ns() - race->start_ns) / NSEC_PER_MSEC;
	if (race->first)
		atomic_store(&race->stop, true);
}

/*
 * Whoever waits for a thread in pthread_join() does so on a futex that processes may share, so the
 * kernel finds the page by GUP-fast: by the walk that is raced, through code that a probe may be put
 * into or taken out of at this moment. QEMU before 8.1 (deba78709ae8 "accel/tcg: Always lock pages
 * before translation") can keep the translation of a breakpoint that was gone when it was done: an
 * int3 that nobody answers for. A semaphore of one process has a private futex.
 */
void race_actors(struct race *race, void *(*a)(void *), void *(*b)(void *), void *arg)
{
	pthread_barrier_t start;
	sem_t over;
	struct actor actor[2] = {
		{ .start = &start, .over = &over, .cpu = race->cpu[0], .fn = a, .arg = arg },
		{ .start = &start, .over = &over, .cpu = race->cpu[1], .fn = b, .arg = arg },
	};

	if (pthread_barrier_init(&start, NULL, 2) || sem_init(&over, 0, 0))
		broken("a barrier and a semaphore for 2 actors");
	check_pthread_create(&actor[0].thread, actor_thread, &actor[0], "actor A");
	check_pthread_create(&actor[1].thread, actor_thread, &actor[1], "actor B");
	while (!atomic_load(&actor[0].returned) || !atomic_load(&actor[1].returned)) {
		wait_for_actors(&over);
		look_for_end(&actor[0], 'A');
		look_for_end(&actor[1], 'B');
		look_for_taint(race);
	}
	for (int i = 0; i < 2; i++) {
		if (!actor[i].joined)
			check_pthread_join(actor[i].thread, "an actor");
	}
	look_for_taint(race);
	sem_destroy(&over);
	pthread_barrier_destroy(&start);
}

struct responder {
	pthread_t thread;
	int cpu;
	void (*step)(void *arg);
	void *arg;
	atomic_bool stop;
};

static void *responder_thread(void *arg)
{
	struct responder *responder = arg;

	check_pin_to_cpu(responder->cpu);
	while (!atomic_load_explicit(&responder->stop, memory_order_relaxed))
		responder->step(responder->arg);
	return NULL;
}

struct responder *responder_start(struct race *race, void (*step)(void *arg), void *arg)
{
	struct responder *responder = calloc(1, sizeof(*responder));

	if (!responder)
		broken("calloc of %zu bytes for a responder", sizeof(*responder));
	responder->cpu = race->cpu[1];
	responder->step = step;
	responder->arg = arg;
	check_pthread_create(&responder->thread, responder_thread, responder, "a responder");
	return responder;
}

void responder_stop(struct responder *responder)
{
	atomic_store(&responder->stop, true);
	check_pthread_join(responder->thread, "a responder");
	free(responder);
}
