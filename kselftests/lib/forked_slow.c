// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>

#include "clock.h"
#include "forked_slow.h"
#include "stretch.h"

#define NEXT_PLACE	16u		/* rounds at one place of fork, then at another */
#define PTES		20u		/* least that a fork copies: more than there are mappings */
#define SLOW_FORK_MS	25u

/* B is to pass a walker whose every grab is stretched: its own stretch is a brief one then. */
static void stretch_copy(struct race *race)
{
	bool passes = race->vehicle.ops != &vehicle_probe_back;
	/* The innermost first: any of them may be part of the next. */
	static const char * const names[] = {
		"copy_present_pte", "copy_present_ptes", "copy_pte_range", "copy_page_range", NULL
	};
	static const struct stretch_code copy = {
		.names = names, .least = PTES, .pass = forked_once,
	};

	stretch_code(race, &copy, NULL, passes ? STRETCH_BRIEF : STRETCH_SHORT);
}

static void prepare_slow_fork(struct race *race, void *arg)
{
	struct forked *f = arg;

	/* Each place makes a window of its own length: it is measured without. */
	if (!race_sampling(race) && f->rounds++ % NEXT_PLACE == 0)
		stretch_copy(race);
	forked_prepare(race, arg);
}

/* With a checker in the kernel a stretched fork may take longer than there is time to race. */
static void skip_too_slow(struct race *race)
{
	uint64_t ms;

	stretch_copy(race);
	ms = now_ns();
	forked_once(race, NULL);
	ms = (now_ns() - ms) / NSEC_PER_MSEC;
	stretch_code_end();
	if (ms > SLOW_FORK_MS)
		race_skip(race, "a fork that is stretched takes %" PRIu64 " ms here, more than %u",
			  ms, SLOW_FORK_MS);
}

void forked_slow(struct forked *f)
{
	static const struct trial trial = {
		.prepare = prepare_slow_fork, .a = forked_pin, .b = forked_fork,
		.settle = forked_settle,
	};

	skip_too_slow(f->race);
	forked_move_down(f);
	if (f->race->vehicle.ops == &vehicle_probe_back)
		stretch_end();
	race_trials(f->race, &trial, f);
	stretch_code_end();
}
