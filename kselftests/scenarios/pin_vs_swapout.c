// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_swapout - pins of GUP-fast against swap-out and refault
 *
 * Property (PX): an anonymous page that is FOLL_PINned stays the page of its
 * address, through reclaim too. Reclaim replaces the PTE by a swap entry, and only then looks for
 * pins; when it finds none it forgets that the page was exclusive (PageAnonExclusive), GUP-fast
 * takes its pin, and only then reads the PTE again:
 *
 *   A: pin: reads the PTE of page i, takes the pin
 *   B: madvise(MADV_PAGEOUT): clears the PTE of page i
 *   B: finds the page pinned: puts the PTE back
 *      ... had B looked before it cleared the PTE, it would put a swap entry there, clear
 *      PageAnonExclusive, and write the page out
 *   A: reads the PTE again: it has changed: gives the pin back, faults the page in, pins that
 *      ... else A holds a pin of a page that is no longer exclusive
 *   A: writes by address: refault, from swap or by a copy: not seen through the pin
 *
 * Mode: steered; held pins need no race. A pins many pages by one walk while B pages the same pages
 * out: as many chances as pages that the two pass together. By turns, A's walk is stretched at a
 * random instruction, or B's way from the look at a page to the end of its PTE.
 *
 * Oracles (lib/agree.h), after both windows: pin_differs, address_differs, foreign_stamp,
 * bad_stamp. A FOLL_GET stops no swap-out: it gives the page of that time, whose content was this
 * or, when the process has copied it since, the last one. With DEBUG_VM the kernel looks for pinned
 * pages that are not exclusive by itself (sanity_check_pinned_pages), when they are pinned and when
 * they are dropped; a refault from the swap cache finds the same page and makes it exclusive again,
 * so every other trial drops its pins before anybody touches an address.
 *
 * Counters:
 *   checks         of held pins, where no race is needed; the others count trials (lib/trial.c)
 *   pins           pages pinned
 *   swapped        pages found swapped out after both windows
 *   kept           pages found present then: pinned, or faulted in by the pin
 *   huge           rounds of pageout_mthp that began with a folio of 64 KiB
 *   refaulted      trials in which A's pins had to fault something in: that B had swapped it out
 *
 * Fixed by: 6c287605fd56 ("mm: remember exclusively mapped anonymous pages with PG_anon_exclusive",
 * v5.19) and 1493a1913e34 ("mm/swap: remember PG_anon_exclusive via a swp pte bit", v5.19); no CVE.
 * Controls: M08, M15. Kconfig: pin_vs_swapout.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "pagemap.h"
#include "scenario.h"
#include "stretch.h"
#include "swap.h"

#define MAPPING_TARGET	1
#define PAGES		8u
#define REPEATS		8u		/* of what needs no race */
#define NEXT_PLACE	64u		/* rounds at one place of the walk or of reclaim, then at another */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

struct world {
	struct race *race;
	struct agree agree;
	struct backing target;
	size_t size;
	unsigned int pinned;		/* pages of the target that A pins, the first ones */
	int got;
	int err;			/* of B's madvise */
	bool raced;			/* not held */
	bool small;			/* this round's target, which is to be a folio */
	unsigned int rounds;
	uint64_t faults;		/* by A so far */
	uint64_t checks, pins, swapped, kept, refaulted, huge;
};

/*
 * Fresh pages, brought by B. One that A has faulted in waits in a list of A's CPU, and MADV_PAGEOUT,
 * which empties its own CPU's only, passes it over: of pages that stay, those that A pins are soon
 * all in there, and nothing is raced.
 */
static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	if (backing_is_thp(&w->target)) {
		w->small = !backing_renew(&w->target);
		w->huge += !w->small;
	} else {
		check_madvise(w->agree.addr, w->size, MADV_DONTNEED, "the target");
	}
	agree_stamp(&w->agree);
}

static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->agree.addr, w->pinned, 1);
}

/* By A, of itself: that the pages it pins do leave. */
static void count_faults(struct race *race, void *arg)
{
	struct world *w = arg;
	struct rusage usage;
	uint64_t faults;

	if (w->small)
		race_empty(race);
	if (getrusage(RUSAGE_THREAD, &usage))
		broken("getrusage of actor A: %s", strerror(errno));
	faults = usage.ru_minflt + usage.ru_majflt;
	w->refaulted += w->faults && faults > w->faults;
	w->faults = faults;
}

static void page_out(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->err = madvise(w->agree.addr, w->size, MADV_PAGEOUT) ? errno : 0;
}

/* All pages, and nobody pins them. */
static void page_out_alone(struct race *race, void *arg)
{
	prepare(race, arg);
	page_out(race, arg);
}

/*
 * Reclaim freezes the count only when the page is written: A's look and grab are as far apart. What
 * it does to the PTE before is over in no time, unless that is stretched.
 */
static void stretch(struct race *race, struct world *w, unsigned int turn)
{
	static const char * const names[] = { "try_to_unmap_one", "try_to_unmap", NULL };
	static const struct stretch_code unmap = {
		.names = names, .least = PAGES / 2, .pass = page_out_alone,
	};

	if (turn % 2)
		stretch_code(race, &unmap, w, STRETCH_SHORT);
	else
		stretch_walk_and_grab(race, STRETCH_SHORT);
}

static void prepare_race(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch(race, w, w->rounds / NEXT_PLACE);
	prepare(race, arg);
}

static void count_swapped(struct world *w)
{
	uint64_t entry[PAGES];

	pagemap_read(w->agree.addr, entry, w->agree.pages);
	for (unsigned int i = 0; i < w->agree.pages; i++) {
		w->swapped += !!(entry[i] & PAGEMAP_SWAPPED);
		w->kept += !!(entry[i] & PAGEMAP_PRESENT);
	}
}

/* Of a vehicle whose pins are gone when read there is one look: the one after the write. */
static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	bool foll_pin = v->ops->is & VEHICLE_FOLL_PIN;

	if (race->naive)
		return;
	if (w->err)
		broken("madvise(MADV_PAGEOUT) of %zu bytes: %s", w->size, strerror(w->err));
	if (w->got != (int)w->pinned)
		broken("%s took %d pins of %u mapped pages", v->name, w->got, w->pinned);
	w->pins += w->got;
	count_swapped(w);
	/* Dropped as they are: what is faulted in first is exclusive again, and DEBUG_VM content. */
	if (w->raced && w->rounds % 2) {
		if (!(v->ops->is & VEHICLE_READ_DROPS))
			agree_content(&w->agree, AGREE_ALWAYS);
		v->ops->unpin(v);
		agree_address(&w->agree);
		return;
	}
	if (!(v->ops->is & VEHICLE_READ_DROPS))
		agree_content(&w->agree, AGREE_ALWAYS);
	agree_address_to_pins(&w->agree, foll_pin ? AGREE_ALWAYS : AGREE_UNLESS_COPIED);
	if (foll_pin)
		agree_pin_to_address(&w->agree);
	v->ops->unpin(v);
}

static void with_target(struct race *race, void (*fn)(struct world *w))
{
	struct world w = {
		.race = race,
		.agree = agree_about(race, PAGES, MAPPING_TARGET,
				     "pinned while its page was swapped out"),
	};
	char why[192];

	if (!swap_begin(why, sizeof(why)))
		race_skip(race, "%s", why);
	w.pinned = w.agree.pages;
	backing_map(&w.target, race, race->subtest->arg, w.agree.pages, "guprace target");
	w.size = w.target.size;
	w.agree.addr = w.target.addr;
	fn(&w);
	backing_unmap(&w.target);
	swap_end();
	race_count(race, "pins", w.pins);
	race_count(race, "swapped", w.swapped);
	race_count(race, "kept", w.kept);
	if (backing_is_thp(&w.target))
		race_count(race, "huge", w.huge);
}

static void race_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_race, .a = take_pins, .b = page_out, .judge = count_faults,
		.settle = judge,
	};

	w->raced = true;
	w->pinned /= 2;		/* what B finds pinned it passes over: the others keep it busy */
	race_trials(w->race, &trial, w);
	stretch_code_end();
	race_count(w->race, "refaulted", w->refaulted);
}

static void race_pageout(struct race *race)
{
	with_target(race, race_world);
}

/* No race: pinned before, the first half of the pages only; the others must go. */
static void hold_world(struct world *w)
{
	w->pinned /= 2;
	w->agree.when = "pinned before the swap-out";
	for (unsigned int i = 0; i < REPEATS && race_in_time(w->race); i++) {
		prepare(w->race, w);
		take_pins(w->race, w);
		page_out(w->race, w);
		judge(w->race, w);
		w->checks++;
	}
	/* And after it: the pin faults in what it needs. */
	w->agree.when = "pinned after the swap-out";
	for (unsigned int i = 0; i < REPEATS && race_in_time(w->race); i++) {
		prepare(w->race, w);
		page_out(w->race, w);
		take_pins(w->race, w);
		judge(w->race, w);
		w->checks++;
	}
	race_count(w->race, "checks", w->checks);
}

static void hold(struct race *race)
{
	with_target(race, hold_world);
}

static const struct floor held[] = {
	{ "checks", 2 * REPEATS },
	{ "swapped", REPEATS },
	{ "kept", REPEATS },
	{ }
};

static const struct floor raced[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "swapped", 20 },
	{ "kept", 20 },
	{ "refaulted", 5 },
	{ }
};

/* One that was swapped out may be in the swap cache still, and all of it comes back. */
static const struct floor raced_mthp[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "huge", 20 },
	{ "kept", 20 },
	{ "refaulted", 5 },
	{ "vm.pswpout", 5 * MTHP_PAGES },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.held", &vehicle_probe, hold, held, SMALL },
	{ "probe_ro.held", &vehicle_probe_ro, hold, held, SMALL },
	{ "vmsplice.held", &vehicle_vmsplice, hold, held, SMALL },
	{ "probe.pageout", &vehicle_probe, race_pageout, raced, SMALL },
	{ "probe_ro.pageout", &vehicle_probe_ro, race_pageout, raced, SMALL },
	{ "probe.pageout_mthp", &vehicle_probe, race_pageout, raced_mthp, MTHP },
	{ }
};

static const char * const vmstat[] = { "pswpin", "pswpout", "pgmajfault", NULL };

const struct scenario scenario = {
	.name = "pin_vs_swapout",
	.summary = "pins of GUP-fast against MADV_PAGEOUT to swap and refault (PX)",
	.subtests = subtests,
	.vmstat = vmstat,
};
