// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_lazyfree - pins of GUP-fast against reclaim of MADV_FREEd pages
 *
 * Property (P3, P4, PX): a page that was given up by MADV_FREE is either discarded,
 * or somebody holds it and it stays at its address. Reclaim clears the PTE, then counts references,
 * drops the mapping's, and freezes the last one, its own, from 1 to 0. The flush of the TLB is
 * deferred until after all that: no IPI waits for a walker between these steps, on x86 either.
 *
 *   A: pin: reads the PTE of page i, a clean page of generation g
 *   B: madvise(MADV_PAGEOUT): clears the PTE
 *   B: counts: nobody but the mapping and reclaim itself; nothing was written: discard it
 *   A: takes the reference: succeeds, the count is not zero yet
 *   B: drops the mapping's reference; the freeze fails: somebody holds the page, which is kept,
 *      at no address
 *   A: reads the PTE again: it is gone: gives the reference back, lets the page fault in
 *      ... without that second read A now holds a page whose process sees zeros: lost data
 *
 * and, when A is later (P3):
 *
 *   B: drops the mapping's reference and freezes the count to 0: the page is as good as free
 *   A: takes the reference only if the count is not 0: gives up
 *      ... unconditionally, it makes it 1, finds the PTE changed, gives it back: 0, and frees the
 *      page, which reclaim frees, too
 *
 * A huge page's mapping is split first and the above goes on PTE by PTE; 7.2 discards one as a whole
 * where its PMD is clean, by a look at the references of its own: pageout_thp.
 *
 * No swap is needed: shrink_folio_list() asks for it only where folio_test_swapbacked(), which
 * MADV_FREE clears, and MADV_PAGEOUT takes anonymous pages whether anything can be swapped or not.
 *
 * Mode: steered. On M01 all its subtests hit within 81 ms on arm64. By turns B is stretched, between
 * its look at a page and the end of its PTE, at a random instruction: a kernel that counts first and
 * clears then is wrong for a few instructions only. And by turns A, inside its grab: between the look
 * at the count and the addition, and while it holds the reference in passing.
 *
 * Oracles, after both windows. Each page that still has its stamp at the address gets a fresh one
 * there, and where pins are FOLL_PINs for writing, so does every other. The pins must show what the
 * address has: fresh stamp, or zeros where the page was discarded before it was pinned (a pin for
 * reading is of the zero page then). Every fourth trial, the pages are given up and reclaimed again
 * before the pins are read: held pages must stay (PX). direct_in, an O_DIRECT read into the target,
 * holds its pins only while it is under way: what it has read in must be at the address.
 *   lost_data        the pin holds a page that the address has lost, with its old stamp
 *   foreign_stamp    a page of other content, through a pin or by address
 *   bad_stamp        neither a stamp nor zeros
 *   pin_differs      zeros on one side only
 *   held_discarded   a pinned page did not survive MADV_FREE and MADV_PAGEOUT
 * The console tells of frees of pages in use (Bad page state, refcount_t, list corruption).
 *
 * Counters, besides those of lib/trial.c:
 *   pins             pages pinned
 *   discarded        pages found discarded after both windows
 *   kept             pages found in place: pinned, or not reached
 *   held_again       pages that a pin kept from the second reclaim
 *   huge             rounds of pageout_thp and _mthp that began with a huge page, a folio of 64 KiB
 *   vm.pglazyfreed   discarded pages, as the kernel counts
 *
 * Fixed by: 6c8e2a256915 ("mm: fix race between MADV_FREE reclaim and blkdev direct IO read",
 * v5.18) counts references; no CVE. Controls: M01, M08, G11, G13, G15, G17, G19, G38, G52, G70. Kconfig:
 * pin_vs_lazyfree.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "check.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"

#define MAPPING_TARGET	1
#ifndef PAGES
#define PAGES		16u
#endif
#define AGAIN		4u		/* every fourth trial */
#define NEXT_PLACE	24u		/* rounds at one place of reclaim, then at one of the grab, or none */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

struct world {
	struct race *race;
	struct backing target;
	size_t page;
	unsigned int pages;		/* of the target, its first ones */
	uint64_t generation;		/* at the target when the trial begins */
	int got;
	int err;			/* of B's madvise */
	bool written[PAGES];		/* with generation + 1, after the windows */
	unsigned int rounds;
	bool small;			/* this round's target, which is to be a folio */
	uint64_t pins, discarded, kept, held_again, huge;
};

static void *page_at(const struct world *w, unsigned int index)
{
	return w->target.addr + index * w->page;
}

static bool is_ours(const struct stamp *s, unsigned int index, uint64_t generation)
{
	return stamp_is(s, MAPPING_TARGET, index, generation);
}

static void report(const struct world *w, const char *oracle, const char *where,
		   unsigned int index, const char *expected, const struct stamp *s)
{
	race_hit(w->race, oracle, "%s %u: expected %s of generation %" PRIu64
		 ", observed words %" PRIu64 " %" PRIu64 " %" PRIu64 " %#" PRIx64, where, index,
		 expected, w->generation, s->mapping, s->index, s->generation, s->check);
}

static void advise(const struct world *w, int advice, const char *what)
{
	check_madvise(w->target.addr, w->target.size, advice, what);
}

/* Fresh pages, each on a list of reclaim's, clean and old. */
static void make_free(struct world *w)
{
	w->generation += 2;
	if (backing_is_thp(&w->target)) {
		w->small = !backing_renew(&w->target);
		w->huge += !w->small;
	} else {
		advise(w, MADV_DONTNEED, "the target");
	}
	for (unsigned int i = 0; i < w->pages; i++)
		stamp_page(page_at(w, i), stamp_of(MAPPING_TARGET, i, w->generation));
	advise(w, MADV_FREE, "the target");
}

/* With nobody else there. */
static void reclaim_alone(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	make_free(w);
	advise(w, MADV_PAGEOUT, "the target");
}

/* Of a huge page, where it is split, reclaim goes through all the PTEs. */
static void stretch(struct race *race, struct world *w, unsigned int turn)
{
	static const char * const names[] = { "try_to_unmap_one", "try_to_unmap", NULL };
	bool huge = w->target.kind == THP;
	const struct stretch_code unmap = {
		.names = names,
		.least = huge ? 1 : PAGES / 2,
		.pass = reclaim_alone,
	};

	if (turn % 3 == 2)
		stretch_grab(race, STRETCH_VARIED(turn / 3));
	else
		stretch_by_turns(race, &unmap, w, huge ? STRETCH_BRIEF : STRETCH_SHORT, turn % 3);
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch(race, w, w->rounds / NEXT_PLACE);
	make_free(w);
}

static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->target.addr, w->pages, 1);
}

static void reclaim(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->err = madvise(w->target.addr, w->target.size, MADV_PAGEOUT) ? errno : 0;
}

/* What the address has; and a fresh stamp where a pin is to show it. */
static void look_at_address(struct world *w)
{
	unsigned int is = w->race->vehicle.ops->is;
	bool always = (is & VEHICLE_FOLL_PIN) && (is & VEHICLE_WRITES);

	for (unsigned int i = 0; i < w->pages; i++) {
		struct stamp s = stamp_load(page_at(w, i));
		bool kept = is_ours(&s, i, w->generation);

		if (!kept && !stamp_blank(&s))
			report(w, stamp_valid(&s) ? "foreign_stamp" : "bad_stamp", "address", i,
			       "the stamp, or zeros,", &s);
		w->kept += kept;
		w->discarded += !kept;
		w->written[i] = kept || always;
		if (w->written[i])
			stamp_page(page_at(w, i), stamp_of(MAPPING_TARGET, i, w->generation + 1));
	}
}

static void reclaim_held(struct world *w)
{
	advise(w, MADV_FREE, "the target, pinned");
	advise(w, MADV_PAGEOUT, "the target, pinned");
	for (unsigned int i = 0; i < w->pages && i < (unsigned int)w->got; i++) {
		struct stamp s = stamp_load(page_at(w, i));

		if (!w->written[i])
			continue;
		if (!is_ours(&s, i, w->generation + 1))
			report(w, "held_discarded", "address", i, "the stamp after that", &s);
		else
			w->held_again++;
	}
}

static void judge_pins(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];

	v->ops->read(v, stamps);
	for (int i = 0; i < w->got; i++) {
		const struct stamp *s = &stamps[i];

		if (w->written[i] ? is_ours(s, i, w->generation + 1) : stamp_blank(s))
			continue;
		report(w, is_ours(s, i, w->generation) ? "lost_data" :
		       stamp_blank(s) ? "pin_differs" : stamp_valid(s) ? "foreign_stamp" : "bad_stamp",
		       "pin", i, w->written[i] ? "the stamp after that" : "zeros instead", s);
	}
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;

	if (w->err)
		broken("madvise(MADV_PAGEOUT) of %zu bytes: %s", w->target.size, strerror(w->err));
	if (w->got != (int)w->pages && !(v->ops->is & VEHICLE_FAST))
		broken("%s took %d pins of %u mapped pages", v->name, w->got, w->pages);
	if (w->small)
		race_empty(race);
	if (w->got > 0)
		w->pins += w->got;
	look_at_address(w);
	if (w->got <= 0)
		return;
	if (w->generation / 2 % AGAIN == 0)
		reclaim_held(w);
	judge_pins(w);
	v->ops->unpin(v);
}

/* What is read in says at which page it is to arrive. */
static void prepare_disk(struct race *race, void *arg)
{
	struct world *w = arg;

	prepare(race, arg);
	for (unsigned int i = 0; i < w->pages; i++) {
		struct stamp s = stamp_of(MAPPING_TARGET, i, w->generation + 1);

		race->vehicle.ops->write(&race->vehicle, i, &s);
	}
}

/* All was read in, to whatever pages: the address must have it. */
static void judge_arrival(struct race *race, void *arg)
{
	struct world *w = arg;

	if (w->err)
		broken("madvise(MADV_PAGEOUT) of %zu bytes: %s", w->target.size, strerror(w->err));
	if (w->got != (int)w->pages)
		broken("%s took %d pins of %u mapped pages", race->vehicle.name, w->got, w->pages);
	w->pins += w->got;
	for (unsigned int i = 0; i < w->pages; i++) {
		struct stamp s = stamp_load(page_at(w, i));

		if (!is_ours(&s, i, w->generation + 1))
			report(w, stamp_valid(&s) && s.mapping != MAPPING_TARGET ? "foreign_stamp" :
			       "lost_data", "address", i, "what was read in, the stamp after", &s);
	}
	race->vehicle.ops->unpin(&race->vehicle);
}

static void race_lazyfree(struct race *race)
{
	bool fills = race->vehicle.ops->is & VEHICLE_FILLS;
	const struct trial trial = {
		.prepare = fills ? prepare_disk : prepare, .a = take_pins, .b = reclaim,
		.judge = fills ? judge_arrival : judge,
	};
	struct world w = { .race = race, .page = getpagesize() };

	w.pages = race->vehicle.capacity < PAGES ? race->vehicle.capacity : PAGES;
	backing_map(&w.target, race, race->subtest->arg, w.pages, "guprace target");
	stamp_page(w.target.addr, stamp_of(MAPPING_TARGET, 0, 0));
	if (madvise(w.target.addr, w.target.size, MADV_FREE) ||
	    madvise(w.target.addr, w.target.size, MADV_PAGEOUT))
		race_skip(race, "no MADV_FREE and MADV_PAGEOUT here: %s", strerror(errno));

	race_trials(race, &trial, &w);
	stretch_code_end();

	backing_unmap(&w.target);
	race_count(race, "pins", w.pins);
	race_count(race, "discarded", w.discarded);
	race_count(race, "kept", w.kept);
	race_count(race, "held_again", w.held_again);
	if (backing_is_thp(&w.target))
		race_count(race, "huge", w.huge);
}

static const struct floor floors[] = {
	{ "trials", 20 },
	{ "discarded", 100 },
	{ "kept", 100 },
	{ "held_again", 20 },
	{ "vm.pglazyfreed", 100 },
	{ }
};

static const struct floor thp_floors[] = {
	{ "trials", 20 },
	{ "huge", 20 },
	{ "discarded", 100 },
	{ "kept", 100 },
	{ "held_again", 20 },
	{ "vm.pglazyfreed", 100 },
	{ }
};

static const struct floor arrival_floors[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "vm.pglazyfreed", 100 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.pageout", &vehicle_probe, race_lazyfree, floors, SMALL },
	{ "probe_ro.pageout", &vehicle_probe_ro, race_lazyfree, floors, SMALL },
	{ "fast.pageout", &vehicle_fast, race_lazyfree, floors, SMALL },
	{ "vmsplice.pageout", &vehicle_vmsplice, race_lazyfree, floors, SMALL },
	{ "probe.pageout_thp", &vehicle_probe, race_lazyfree, thp_floors, THP },
	{ "probe.pageout_mthp", &vehicle_probe, race_lazyfree, thp_floors, MTHP },
	{ "direct_in.pageout", &vehicle_direct_in, race_lazyfree, arrival_floors, SMALL },
	{ }
};

static const char * const vmstat[] = { "pglazyfree", "pglazyfreed", NULL };

const struct scenario scenario = {
	.name = "pin_vs_lazyfree",
	.summary = "pins of GUP-fast against reclaim of MADV_FREEd pages (P3, P4, PX)",
	.subtests = subtests,
	.vmstat = vmstat,
};
