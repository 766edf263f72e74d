// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_collapse - pins of GUP-fast against the collapse of anonymous memory into a huge page
 *
 * Property (P4, PX): collapse copies small pages into a huge one, so nobody else may
 * hold them. It clears the PMD, waits until no walker is left in the page table behind it, and only
 * then looks at the reference counts; GUP-fast takes its reference and reads PMD and PTE again. So
 * either collapse sees the pin and gives up, or the pin is never taken. Without the wait (and the
 * second read of the PMD, each covers for the other):
 *
 *   A: pin the target: reads PMD and PTE, and is about to take the reference
 *   B: MADV_COLLAPSE: clears the PMD, flushes the TLB; no reference is too many: copies the pages
 *   A: takes the reference; the PTE has not changed yet: returns
 *   B: the PMD maps the huge page, the old pages are given back; A's pins keep theirs
 *   A: writes at the address: into the huge page. Reads through the pin: the old page
 *
 * Mode: steered for MADV_COLLAPSE: of its half a millisecond and more, the moment that matters is a
 * few microseconds. khugepaged comes when it likes: there A pins, judges and unpins in a loop.
 * Between its first look at the references and the clearing of the PMD, after which it has to look
 * again, collapse allocates the huge page: by turns that is stretched, or a pin hardly ever comes
 * just there.
 *
 * Oracles (lib/agree.h), after both windows:
 *   bad_stamp, foreign_stamp      the pin does not read what was stamped at the address
 *   pin_differs, address_differs  what one of the two writes, the other does not read
 *   refused                       no pin of memory that was mapped throughout
 *
 * Counters, beside those of race_trials(): pins; collapses (that worked); pinned (MADV_COLLAPSE
 * gave up, EAGAIN: a page was held); in the khugepaged subtest trials (pins until a collapse came to
 * its end: until then khugepaged was about; others are not counted) and collapses (pages of the target
 * that were never touched are there).
 *
 * Fixed by: commit 70cbc3cc78a9 ("mm: gup: fix the fast GUP race against THP collapse", v6.1), and
 * the wait: commit 2ba99c5e0881 ("mm/khugepaged: fix GUP-fast interaction by sending IPI", v6.1).
 * Controls: M03, G06, G21; M02 stays silent. Kconfig: pin_vs_collapse.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"
#include "clock.h"
#include "huge.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"

#define MAPPING_TARGET	1
#define PAGES		4u	/* present, pinned by one walk */
#define COLLAPSES	10u	/* least, for a race to count */
#define NEXT_PLACE	64u	/* rounds at one place of the allocation, then at another, or none */
#define IDLE_NS_MAX	(2 * NSEC_PER_MSEC)	/* between two pins: khugepaged wants its turn */
#define PATIENCE	64u	/* pins without a collapse, then the target is made anew */

struct world {
	size_t page;
	size_t huge;
	uint8_t *target;
	uint8_t *elsewhere;		/* pinned while windows are measured: see race_sampling() */
	struct agree agree;
	unsigned int rounds;
	int got;			/* by A's pin call */
	int err;			/* of B's collapse */

	uint64_t pins, collapses, pinned, trials;
};

/* A few small pages, all else of the target empty: the less there is, the sooner it is copied. */
static void make_small(struct world *w)
{
	check_madvise(w->target, w->huge, MADV_DONTNEED, "the target");
	agree_stamp(&w->agree);
}

/* Nobody has touched the last page: if it is there, it came with a collapse. */
static bool collapsed(const struct world *w)
{
	return huge_present(w->target + w->huge - w->page);
}

static void pin(struct race *race, void *arg)
{
	struct world *w = arg;
	uint8_t *addr = race_sampling(race) ? w->elsewhere : w->target;

	w->got = race->vehicle.ops->pin(&race->vehicle, addr, w->agree.pages, 1);
}

static void collapse(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->err = madvise(w->target, w->huge, MADV_COLLAPSE) ? errno : 0;
}

/* With nobody else there. */
static void collapse_alone(struct race *race, void *arg)
{
	make_small(arg);
	collapse(race, arg);
}

static void prepare(struct race *race, void *arg)
{
	static const char * const names[] = {
		"alloc_charge_hpage", "alloc_charge_folio", "collapse_huge_page", NULL
	};
	static const struct stretch_code allocate = {
		.names = names, .least = 1, .pass = collapse_alone,
	};
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch_by_turns(race, &allocate, w, STRETCH_LONG, w->rounds / NEXT_PLACE);
	make_small(w);
}

static void judge_pins(struct race *race, struct world *w)
{
	struct vehicle *v = &race->vehicle;

	agree_admitted(&w->agree, w->got);
	if (w->got <= 0)
		return;
	w->pins += w->got;
	agree_both_ways(&w->agree);
	v->ops->unpin(v);
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;

	/* No huge page was to be had, say: nothing was taken away from anybody. */
	if (w->err && w->err != EAGAIN)
		race_empty(race);
	if (race_sampling(race)) {
		race->vehicle.ops->unpin(&race->vehicle);
		return;
	}
	w->collapses += !w->err;
	w->pinned += w->err == EAGAIN;
	judge_pins(race, w);
}

/* Faults are to give small pages: MADV_HUGEPAGE is set when they are there, if at all. */
static void world_init(struct race *race, struct world *w)
{
	*w = (struct world){
		.page = getpagesize(),
		.huge = huge_size(race),
		.agree = agree_about(race, PAGES, MAPPING_TARGET, "beside a collapse"),
	};
	if (!huge_setting("enabled", "madvise"))
		race_skip(race, "transparent_hugepage/enabled cannot be set to madvise");
	w->target = huge_private(w->huge, w->huge, "the target", "guprace target");
	w->agree.addr = w->target;
	w->elsewhere = check_mmap(NULL, PAGES * w->page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "elsewhere");
	make_small(w);
	if (collapsed(w))
		race_skip(race, "a first touch gives a huge page, not a small one");
}

static void world_exit(struct world *w)
{
	huge_release(w->target, w->huge, "the target");
	check_munmap(w->elsewhere, PAGES * w->page, "elsewhere");
	huge_restore();
}

static void race_madvise(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare,
		.a = pin,
		.b = collapse,
		.judge = judge,
	};
	struct world w;

	world_init(race, &w);
	collapse(race, &w);
	if (w.err || !collapsed(&w) || !huge_mapped(w.target))
		race_skip(race, "MADV_COLLAPSE does not collapse: %s",
			  w.err ? strerror(w.err) : "smaps shows no huge page");

	race_trials(race, &trial, &w);
	stretch_code_end();

	world_exit(&w);
	race_count(race, "pins", w.pins);
	race_count(race, "collapses", w.collapses);
	race_count(race, "pinned", w.pinned);
}

struct daemon {
	struct race *race;
	struct world w;
};

/* Small pages first, then the wish for a huge one: khugepaged has to come for it. */
static void make_wanted(struct world *w)
{
	check_madvise(w->target, w->huge, MADV_NOHUGEPAGE, "the target");
	make_small(w);
	check_madvise(w->target, w->huge, MADV_HUGEPAGE, "the target");
}

static void idle(struct rng *rng)
{
	uint64_t until = now_ns() + rng_below(rng, IDLE_NS_MAX);

	while (now_ns() < until)
		cpu_relax();
}

static void *pin_and_judge(void *arg)
{
	struct daemon *d = arg;
	struct rng rng = rng_seeded(d->race->seed, 0);

	for (unsigned int round = 0; race_in_time(d->race); round++) {
		bool came = collapsed(&d->w);

		if (came || round == PATIENCE) {
			d->w.collapses += came;
			d->w.trials += came && round;	/* what came to no pin raced none */
			make_wanted(&d->w);
			round = 0;
		}
		idle(&rng);
		pin(d->race, &d->w);
		judge_pins(d->race, &d->w);
	}
	return NULL;
}

/* Its CPU is khugepaged's. */
static void *no_actor(void *arg)
{
	return arg;
}

static void race_khugepaged(struct race *race)
{
	struct daemon d = { .race = race };

	world_init(race, &d.w);
	if (!huge_setting("khugepaged/scan_sleep_millisecs", "0") ||
	    !huge_setting("khugepaged/alloc_sleep_millisecs", "0"))
		race_skip(race, "khugepaged cannot be told to hurry");
	make_wanted(&d.w);

	race_actors(race, pin_and_judge, no_actor, &d);

	world_exit(&d.w);
	race_count(race, "trials", d.w.trials);
	race_count(race, "pins", d.w.pins);
	race_count(race, "collapses", d.w.collapses);
}

static const struct floor floors[] = {
	{ "trials", 40 },
	{ "collapses", COLLAPSES },
	{ "pins", 100 },
	{ "vm.thp_collapse_alloc", COLLAPSES },
	{ }
};

/* It comes when it likes. */
static const struct floor floors_khugepaged[] = {
	{ "trials", COLLAPSES },
	{ "collapses", COLLAPSES },
	{ "pins", 100 },
	{ "vm.thp_collapse_alloc", COLLAPSES },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.madvise", &vehicle_probe, race_madvise, floors, 0 },
	{ "vmsplice.madvise", &vehicle_vmsplice, race_madvise, floors, 0 },
	{ "probe.khugepaged", &vehicle_probe, race_khugepaged, floors_khugepaged, 0 },
	{ }
};

static const char * const vmstat[] = {
	"thp_collapse_alloc", "thp_collapse_alloc_failed", "thp_migration_success", NULL
};

const struct scenario scenario = {
	.name = "pin_vs_collapse",
	.summary = "pins of GUP-fast against the collapse of anonymous memory (P4, PX)",
	.subtests = subtests,
	.vmstat = vmstat,
};
