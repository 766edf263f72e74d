// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "patience.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id	_sigev_un._tid
#endif

#define SIGNAL	SIGUSR2

static timer_t timer;
static pid_t owner;		/* the thread that the timer wakes; 0: there is no timer */

static void wake(int signal)
{
	(void)signal;
}

static void make_timer(void)
{
	struct sigaction action = { .sa_handler = wake };	/* without SA_RESTART: that is it */
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGNAL,
	};

	if (owner)
		timer_delete(timer);
	owner = gettid();
	event.sigev_notify_thread_id = owner;
	if (sigaction(SIGNAL, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer))
		broken("timer_create for thread %d: %s", owner, strerror(errno));
}

static void set_timer(uint64_t ns)
{
	struct timespec time = { ns / 1000000000u, ns % 1000000000u };
	/* Again and again: the first may come just before the system call. */
	struct itimerspec times = { .it_interval = time, .it_value = time };

	if (timer_settime(timer, 0, &times, NULL))
		broken("timer_settime to %llu ns: %s", (unsigned long long)ns, strerror(errno));
}

void patience_begin(uint64_t ns)
{
	if (owner != gettid())
		make_timer();
	set_timer(ns);
}

void patience_end(void)
{
	set_timer(0);
}
