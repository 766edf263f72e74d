// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "preempt.h"

#define MEMBARRIER_CMD_GLOBAL	1	/* <linux/membarrier.h>: synchronize_rcu() */
#define GRACE_PERIODS		2	/* one that callbacks are due after, one more for their run */

struct preempter {
	pthread_t thread;
	int cpu;
	sem_t call;
	atomic_bool stay;
	atomic_bool leave;
};

static void *preempter_thread(void *arg)
{
	struct preempter *p = arg;

	check_pin_to_cpu(p->cpu);
	for (;;) {
		while (sem_wait(&p->call))
			;
		if (atomic_load(&p->leave))
			return NULL;
		while (atomic_load_explicit(&p->stay, memory_order_relaxed))
			cpu_relax();
	}
}

static int membarrier_global(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? errno : 0;
}

static void post(struct preempter *p)
{
	if (sem_post(&p->call))
		broken("sem_post: %s", strerror(errno));
}

struct preempter *preempter_start(struct race *race)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct preempter *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		broken("calloc of %zu bytes for the preempter", sizeof(*p));
	p->cpu = race->cpu[0];
	if (sem_init(&p->call, 0, 0))
		broken("sem_init: %s", strerror(errno));
	check_pthread_create(&p->thread, preempter_thread, p, "the preempter");
	err = pthread_setschedparam(p->thread, SCHED_FIFO, &first);
	if (!err)
		err = membarrier_global();
	if (err) {
		preempter_stop(p);
		race_skip(race, "no thread of real-time priority, or no membarrier: %s", strerror(err));
	}
	return p;
}

void preempter_stop(struct preempter *p)
{
	atomic_store(&p->leave, true);
	post(p);
	check_pthread_join(p->thread, "the preempter");
	sem_destroy(&p->call);
	free(p);
}

void preempter_call(struct preempter *p)
{
	atomic_store(&p->stay, true);
	post(p);
}

void preempter_dismiss(struct preempter *p)
{
	atomic_store(&p->stay, false);
}

void preempter_await_rcu(void)
{
	for (unsigned int i = 0; i < GRACE_PERIODS; i++) {
		int err = membarrier_global();

		if (err)
			broken("membarrier(GLOBAL): %s", strerror(err));
	}
}
