// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "newborn.h"
#include "waiter.h"

struct report {
	int got;
	unsigned int wrong, index;	/* pins that do not show what was written; the last one */
	struct stamp seen;
};

static void look_at_pins(const struct agree *a, struct report *r)
{
	struct vehicle *v = &a->race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];

	v->ops->read(v, stamps);
	for (unsigned int i = 0; i < a->pages; i++) {
		if (stamp_is(&stamps[i], a->mapping, i, a->generation))
			continue;
		r->wrong++;
		r->index = i;
		r->seen = stamps[i];
	}
}

/* The pages are its own from the first write on: until then its parent has them, too. */
static void __attribute__((noreturn)) be_new(struct agree *a, struct report *r)
{
	struct vehicle *v = &a->race->vehicle;
	int release;
	pid_t child;

	agree_stamp(a);
	r->got = v->ops->pin(v, a->addr, a->pages, 1);
	if (r->got != (int)a->pages)
		_exit(0);
	child = waiter_fork(&release);
	if (child < 0)
		_exit(1);
	agree_stamp(a);
	look_at_pins(a, r);
	v->ops->unpin(v);
	close(release);
	_exit(waitpid(child, NULL, 0) != child);
}

static void judge(struct agree *a, const struct report *r)
{
	struct vehicle *v = &a->race->vehicle;

	if (r->got != (int)a->pages)
		broken("%s took %d pins of %u in a new process", v->name, r->got, a->pages);
	v->unpinned += r->got;		/* in the child: whoever counts back-offs has to know */
	if (r->wrong)
		race_hit(a->race, "pin_differs",
			 "pin %u (last of %u wrong), first pins of a process that then forked: "
			 "expected generation %" PRIu64 ", " STAMP_SEEN, r->index, r->wrong,
			 a->generation + 2, STAMP_SEEN_ARGS(&r->seen));
}

unsigned int newborn_pins_and_forks(struct agree *a)
{
	struct report *r = check_mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, "the new process' report");
	unsigned int pins;
	int status = 0;
	pid_t child;

	agree_stamp(a);
	child = fork();
	if (!child)
		be_new(a, r);
	if (child < 0 || waitpid(child, &status, 0) != child)
		broken("fork of a new process: %s", strerror(errno));
	if (status)
		broken("the new process ended with status %#x", status);
	judge(a, r);
	pins = r->got;
	check_munmap(r, sizeof(*r), "the new process' report");
	return pins;
}
