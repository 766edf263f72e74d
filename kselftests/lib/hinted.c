// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "hinted.h"
#include "huge.h"
#include "waiter.h"

#define HUGE_PAGES	8u
#define POLL_MS		10

struct hinted {
	struct race *race;
	size_t huge;
	uint8_t *map;
	uint64_t checks;
};

static void look_at(struct hinted *h, unsigned int which)
{
	struct vehicle *v = &h->race->vehicle;
	uint8_t *page = h->map + which * h->huge;
	int got;

	(void)*(volatile uint8_t *)page;
	got = v->ops->pin(v, page, 1, 1);
	v->ops->unpin(v);
	h->checks++;
	if (got > 0)
		race_hit(h->race, "admitted", "%s of a huge page that a child shares, read after NUMA "
			 "balancing had been there: expected -EAGAIN, observed a pin for writing",
			 v->name);
}

/* All by one thread, on a CPU of its own: the pages are of its node, so that none has to move. */
static void *reader(void *arg)
{
	struct hinted *h = arg;
	int release;
	pid_t child;

	memset(h->map, 1, HUGE_PAGES * h->huge);
	child = waiter_fork(&release);
	if (child < 0)
		broken("fork: %s", strerror(errno));
	for (unsigned int i = 0; race_in_time(h->race); i++)
		look_at(h, i % HUGE_PAGES);
	close(release);
	if (waitpid(child, NULL, 0) != child)
		broken("waitpid: %s", strerror(errno));
	return NULL;
}

static void *nobody(void *arg)
{
	const struct timespec poll = { .tv_nsec = POLL_MS * NSEC_PER_MSEC };
	struct hinted *h = arg;

	while (race_running(h->race))
		nanosleep(&poll, NULL);
	return NULL;
}

void hinted_shared(struct race *race)
{
	struct hinted h = { .race = race, .huge = huge_size(race) };

	h.map = huge_private(HUGE_PAGES * h.huge, h.huge, "the shared huge pages", "guprace hinted");
	check_madvise(h.map, HUGE_PAGES * h.huge, MADV_HUGEPAGE, "the shared huge pages");
	race_actors(race, reader, nobody, &h);
	huge_release(h.map, HUGE_PAGES * h.huge, "the shared huge pages");
	race_count(race, "checks", h.checks);
}
