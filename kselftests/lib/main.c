// SPDX-License-Identifier: GPL-2.0-only
/* The main() of every scenario: subtests one after the other, KTAP, exit status. */
#define _GNU_SOURCE
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accounting.h"
#include "backoff.h"
#include "check.h"
#include "clock.h"
#include "kprobe.h"
#include "ktap.h"
#include "memory.h"
#include "options.h"
#include "scenario.h"
#include "setting.h"
#include "stretch.h"
#include "taint.h"
#include "vmstat.h"

#define EXIT_SKIP		4
#define WATCHDOG_SECONDS	60	/* beyond the time to race: the actors hang */

struct tally {
	unsigned int pass;
	unsigned int fail;
	unsigned int skip;
};

static pid_t main_pid;

/* The end by one of these says something of itself, and may leave a core. */
static bool is_fault(int sig)
{
	return sig == SIGBUS || sig == SIGSEGV || sig == SIGABRT || sig == SIGQUIT;
}

static void bail_out(int sig)
{
	static const char hang[] = "Bail out! watchdog: the actors did not end in time\n";
	static const char stop[] = "Bail out! interrupted by a signal\n";
	char fault[48];

	if (sig == SIGALRM) {
		(void)!write(STDOUT_FILENO, hang, sizeof(hang) - 1);
	} else if (is_fault(sig)) {
		int len = snprintf(fault, sizeof(fault), "Bail out! signal %d\n", sig);

		(void)!write(STDOUT_FILENO, fault, len);
	} else {
		(void)!write(STDOUT_FILENO, stop, sizeof(stop) - 1);
	}
}

/* For the clean-up, too, there is a time in which it is over. */
static void watch_the_end(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	alarm(WATCHDOG_SECONDS);
}

/*
 * System calls, and snprintf of integers and strings: good enough on the way out. Without SA_RESETHAND:
 * of two actors that fault the second would end the process in the middle of the first one's clean-up.
 */
static void die_by_signal(int sig)
{
	if (getpid() == main_pid) {
		if (end_begins()) {
			bail_out(sig);
			if (sig == SIGALRM)
				watch_the_end();
			clean_up();
		} else if (is_fault(sig)) {
			end_is_near();
		} else if (sig != SIGALRM) {
			return;
		}
		if (!is_fault(sig))
			_exit(1);
	}
	/* A child dies as if it had not inherited this, and is its parent's to tell of. */
	signal(sig, SIG_DFL);
	raise(sig);	/* comes when this has returned */
}

static void catch_signals(double seconds)
{
	static const int signals[] = {
		SIGALRM, SIGINT, SIGTERM, SIGHUP, SIGBUS, SIGSEGV, SIGABRT, SIGQUIT,
	};
	static uint8_t stack[64 << 10];
	const stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_handler = die_by_signal, .sa_flags = SA_ONSTACK };

	main_pid = getpid();
	if (sigaltstack(&other, NULL))
		broken("sigaltstack: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (sigaction(signals[i], &action, NULL))
			broken("sigaction for signal %d: %s", signals[i], strerror(errno));
	}
	alarm(seconds + 1 + WATCHDOG_SECONDS);
}

/* The first two CPUs we may use; false when there is only one. */
static bool choose_cpus(int cpu[2])
{
	cpu_set_t set[CPUS_MAX / CPU_SETSIZE];
	int found = 0;

	if (sched_getaffinity(0, sizeof(set), set))
		broken("sched_getaffinity: %s", strerror(errno));
	for (int i = 0; i < CPUS_MAX && found < 2; i++) {
		if (CPU_ISSET_S(i, sizeof(set), set))
			cpu[found++] = i;
	}
	return found == 2;
}

/* Two snapshots of /proc/vmstat are too large for a stack. */
static struct vmstat vmstat_before, vmstat_after;

static void print_counters(struct race *race)
{
	char name[80];

	for (unsigned int i = 0; i < race->counters; i++)
		ktap_counter(race->subtest->name, race->counter[i].name, race->counter[i].value);
	for (const char * const *vm = scenario.vmstat; vm && *vm; vm++) {
		snprintf(name, sizeof(name), "vm.%s", *vm);
		ktap_counter(race->subtest->name, name,
			     vmstat_growth(&vmstat_before, &vmstat_after, *vm));
	}
}

/* To whoever runs this alone: guprace's verdict on such a pass is VACUOUS. */
static void print_missed_floors(const struct race *race)
{
	for (unsigned int i = 0; i < race->floors; i++) {
		const struct floor *f = &race->floor[i];
		uint64_t value = strncmp(f->counter, "vm.", 3) ? race_counted(race, f->counter) :
				 vmstat_growth(&vmstat_before, &vmstat_after, f->counter + 3);

		if (value < f->least)
			ktap_diag("vacuous: %s.%s is %" PRIu64 ", not %" PRIu64 " or more: the race did not happen",
				  race->subtest->name, f->counter, value, f->least);
	}
}

static void race_run(struct race *race, uint64_t budget_ns)
{
	ktap_diag("subtest %s", race->subtest->name);
	for (const struct floor *f = race->subtest->floors; f && f->counter; f++)
		race_floor(race, f->counter, f->least);
	if (race->subtest->vehicle) {
		if (race->stretch)
			stretch_window(&race->vehicle);
		race->count_backoffs = backoff_begin(&race->vehicle);
	}
	vmstat_read(&vmstat_before);
	(void)taint_read(&race->taint);
	race->start_ns = now_ns();
	race->deadline_ns = race->start_ns + budget_ns;
	race->subtest->run(race);
	race_count(race, "race_ms", (now_ns() - race->start_ns) / NSEC_PER_MSEC);
	if (race->tainted)
		race_count(race, "first_taint_ms", race->taint_ms);
	if (race->count_backoffs)
		race_count(race, "backoffs", backoff_so_far(&race->vehicle));
	vmstat_read(&vmstat_after);
}

/*
 * When all is quiet again every pin has been given back, whatever the subtest raced. The count is the
 * whole system's: anybody's O_DIRECT is in it.
 */
static void judge_accounting(struct race *race, int64_t held_before)
{
	int64_t held;

	if (memory_is_ours(race, "pin accounting") && !accounting_settles(held_before, &held))
		race_hit(race, "pin_accounting",
			 "expected %" PRId64 " FOLL_PINs held as before the race, observed %" PRId64,
			 held_before, held);
}

/*
 * A subtest that found out half way that it lacks something has not put back what it had changed until
 * then: the next one is to race on the system as it was.
 */
static void undo_set_up(void)
{
	stretch_code_end();
	setting_restore();
}

/* Vehicles are open for just one subtest: a pipe or a ring that holds pages leaves with it. */
static enum ending race_with_vehicle(struct race *race, uint64_t budget_ns)
{
	int64_t held = 0;
	bool accounted = accounting_read(&held);

	if (race->subtest->vehicle && vehicle_open(&race->vehicle, race->subtest->vehicle,
						   race->reason, sizeof(race->reason)))
		return ENDING_SKIP;
	if (!setjmp(race->skip))
		race_run(race, budget_ns);
	if (race->subtest->vehicle)
		race->vehicle.ops->close(&race->vehicle);
	if (race->skipped) {
		undo_set_up();
		return ENDING_SKIP;
	}
	if (accounted)
		judge_accounting(race, held);
	print_counters(race);
	print_missed_floors(race);
	if (race->naive) {
		snprintf(race->reason, sizeof(race->reason), "--naive: measured, not judged");
		return ENDING_SKIP;
	}
	return race->hits ? ENDING_FAIL : ENDING_PASS;
}

/* `found`: whether something was found, here or before; with --first-hit that is enough. */
static enum ending run_subtest(const struct subtest *subtest, const struct options *options,
			       uint64_t budget_ns, bool *found, char *detail, size_t size)
{
	static struct race race;
	enum ending ending;

	if (options->first && *found) {
		snprintf(detail, size, "--first-hit: there was one");
		return ENDING_SKIP;
	}
	memset(&race, 0, sizeof(race));
	race.subtest = subtest;
	race.naive = options->naive;
	race.first = options->first;
	race.stretch = options->stretch;
	race.seed = mix64(options->seed + (subtest - scenario.subtests));
	if (!choose_cpus(race.cpu)) {
		snprintf(detail, size, "needs two CPUs");
		return ENDING_SKIP;
	}
	ending = race_with_vehicle(&race, budget_ns);
	*found = *found || ending == ENDING_FAIL || race.tainted;
	if (ending == ENDING_FAIL)
		snprintf(detail, size, "%s: %u hit%s", race.oracle, race.hits,
			 race.hits > 1 ? "s" : "");
	else
		snprintf(detail, size, "%s", race.reason);
	return ending;
}

static bool chosen(const struct subtest *subtest, const struct options *options)
{
	return !options->only || !fnmatch(options->only, subtest->name, 0);
}

/* What is left of the time is shared by what is left of the subtests: a skip costs nothing. */
static struct tally run_subtests(unsigned int tests, const struct options *options)
{
	uint64_t left_ns = options->seconds * NSEC_PER_SEC, began;
	struct tally tally = { };
	unsigned int done = 0;
	bool found = false;
	char detail[256];

	for (const struct subtest *t = scenario.subtests; t->name; t++) {
		enum ending ending;

		if (!chosen(t, options))
			continue;
		began = now_ns();
		ending = run_subtest(t, options, left_ns / (tests - done), &found, detail,
				     sizeof(detail));
		ktap_result(++done, t->name, ending, detail);
		tally.pass += ending == ENDING_PASS;
		tally.fail += ending == ENDING_FAIL;
		tally.skip += ending == ENDING_SKIP;
		began = now_ns() - began;
		left_ns -= began < left_ns ? began : left_ns;
	}
	return tally;
}

static void print_header(const struct options *options)
{
	char value[32];

	ktap_header(scenario.name);
	snprintf(value, sizeof(value), "0x%016" PRIx64, options->seed);
	ktap_param("seed", value);
	snprintf(value, sizeof(value), "%g", options->seconds);
	ktap_param("seconds", value);
}

/* Without kprobes the race goes on, with a shorter window and less evidence. */
static void arm_kprobes(struct options *options)
{
	char why[192];

	broken_cleanup(kprobe_exit);
	if (kprobe_init(why, sizeof(why))) {
		backoff_arm();
		return;
	}
	ktap_diag("backoffs not counted, window not stretched: %s", why);
	options->stretch = false;
}

int main(int argc, char **argv)
{
	struct options options = options_parse(argc, argv);
	unsigned int tests = 0;
	struct tally tally;

	for (const struct subtest *t = scenario.subtests; t->name; t++)
		tests += chosen(t, &options);
	if (!tests)
		options_error("--only", options.only);
	/* A reader that has gone is told by the write: not by an end that puts nothing back. */
	signal(SIGPIPE, SIG_IGN);
	print_header(&options);
	ktap_plan(tests);
	catch_signals(options.seconds);
	arm_kprobes(&options);
	tally = run_subtests(tests, &options);
	/* A signal that comes now does not begin another. */
	(void)end_begins();
	clean_up();
	ktap_totals(tally.pass, tally.fail, tally.skip);
	if (tally.fail)
		return EXIT_FAILURE;
	return tally.skip == tests ? EXIT_SKIP : EXIT_SUCCESS;
}
