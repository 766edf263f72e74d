// SPDX-License-Identifier: GPL-2.0-only
/* A scenario that ends in the middle, in each of the ways there are. */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "ktap.h"
#include "scenario.h"

static void __attribute__((constructor)) leave_no_core(void)
{
	const struct rlimit none = { };

	setrlimit(RLIMIT_CORE, &none);
}

static void clean(void)
{
	ktap_diag("cleaned up");
}

static void wait_for_signal(struct race *race)
{
	(void)race;
	broken_cleanup(clean);
	if (!fork()) {
		pause();
		_exit(0);
	}
	ktap_diag("ready");
	for (;;)
		pause();
}

static void ask_the_dead(struct race *race)
{
	int channel[2];
	pid_t child;

	(void)race;
	broken_cleanup(clean);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel))
		broken("socketpair");
	child = fork();
	if (!child)
		_exit(0);
	close(channel[1]);
	waitpid(child, NULL, 0);
	if (write(channel[0], "", 1) != 1)
		broken("the child is gone");
}

static void break_a_child(struct race *race)
{
	(void)race;
	broken_cleanup(clean);
	if (!fork())
		broken("in a child");
	wait(NULL);
}

static void *fault(void *arg)
{
	(void)arg;
	*(volatile char *)8 = 1;
	return NULL;
}

static void fault_twice(struct race *race)
{
	broken_cleanup(clean);
	race_actors(race, fault, fault, race);
}

static int __attribute__((noinline)) deeper(volatile char *above)
{
	volatile char here[4096];

	here[0] = 0;
	return *above ? 1 : deeper(here) + here[0];
}

static void overflow(struct race *race)
{
	volatile char top = 0;

	(void)race;
	broken_cleanup(clean);
	deeper(&top);
}

static const struct subtest subtests[] = {
	{ "no.signal", NULL, wait_for_signal, NULL, 0 },
	{ "no.reader", NULL, ask_the_dead, NULL, 0 },
	{ "no.child", NULL, break_a_child, NULL, 0 },
	{ "no.memory", NULL, fault_twice, NULL, 0 },
	{ "no.stack", NULL, overflow, NULL, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "ending",
	.summary = "ends in the middle",
	.subtests = subtests,
};
