// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_hugepmd - pins of GUP-fast against unmap and refill of pages that one PMD maps
 *
 * Property (P3, P4): a pin gives the page that was mapped at the address at some
 * instant of the call, for huge pages as for small ones. The zap clears the PMD before it drops the
 * huge page; GUP-fast reads the PMD, takes its references unless the count is zero, and reads the
 * PMD again. Without the second read:
 *
 *   A: pin pages of the target: reads the PMD, and is about to take the references
 *   B: munmap (or MADV_DONTNEED) of the target: clears the PMD, flushes, frees the huge page
 *   B: touches the refill mapping: is given the huge page just freed, stamps it
 *   A: takes the references: the count is no longer zero, so that succeeds
 *   A: returns, holding pages of the refill mapping, and reads a foreign stamp through the pin
 *
 * On arm64 (broadcast TLBI) nothing in the unmap waits for A. On x86 with the native flush an IPI
 * does: munmap frees only when A's walk with interrupts off is over.
 *
 * The grab has to wait until the huge page is somebody's again, some tens of microseconds: A's walk
 * is stretched at a random instruction, every few rounds at another.
 *
 * And every other trial nobody is given the page: its count stays 0, where A must not take it from
 * (it would be freed once more when A gives it back), and no refill hides that.
 *
 * Mode: steered. A round of B zeroes two huge pages, which takes a hundred times as long as a pin:
 * left to themselves the two would meet once in a hundred pins.
 *
 * Oracles: the target is stamped before the windows and nobody writes there within, so a pin reads
 * just that stamp:
 *   foreign_stamp     the page belongs to the refill, or elsewhere in the target
 *   wrong_generation  the page left the address in an earlier trial
 *   bad_stamp         no stamp; but MADV_DONTNEED leaves the mapping, and a pin may then fault in
 *                     pages of zeroes (legal, counted)
 *   pin_lost          later, when the pages are long unmapped and the pool was refilled again, the
 *                     pin reads something else: its page was given away under it
 *   lost_memory       of FOLL_GETs, which have no account: huge pages that nobody has (lib/memory.h)
 *
 * Counters, beside those of race_trials(): pins; refusals (calls that found the target unmapped);
 * zeroes (pins of fresh zero pages); small (rounds without a huge page, not judged).
 *
 * Fixed by: the second read came with the generic GUP-fast, commit 2667f50e8b81 ("mm: introduce a
 * general RCU get_user_pages_fast()", v3.19); no CVE. Controls: G01, G12, G33. Kconfig:
 * pin_vs_hugepmd.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "huge.h"
#include "memory.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"

#define MAPPING_TARGET	1
#define MAPPING_REFILL	2

#define PAGES		8u	/* pinned by one walk, and so by one grab */
#define WALKS		8u	/* in one system call, if the vehicle holds so many pins */
#define HOLDS_ONE_IN	8u	/* trials: it costs as much as B's window */
#define NEXT_PLACE	24u	/* rounds at one place of the walk, then at another */
#define HUGETLB_PAGES	4u	/* target and refill, and as many that pins still hold */

enum {
	OP_MUNMAP	= 1u << 0,	/* or MADV_DONTNEED */
	OP_HUGETLB	= 1u << 1,	/* or THP */
};

struct world {
	unsigned int flags;
	size_t page;
	size_t huge;
	unsigned int pages;
	unsigned int walks;
	uint8_t *target;
	uint8_t *refill;
	uint64_t generation;
	unsigned int rounds;
	bool judged;			/* the target is huge in this trial */
	bool refills;			/* in this trial */
	int got;			/* by A's pin call */

	uint64_t pins, refusals, zeroes, small;
};

static void map(const struct world *w, uint8_t *addr, const char *what)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	if (w->flags & OP_HUGETLB)
		flags |= MAP_HUGETLB | huge_bits(w->huge);
	huge_map(addr, w->huge, PROT_READ | PROT_WRITE, flags, -1, what);
	name_mapping(addr, w->huge, what);
	if (!(w->flags & OP_HUGETLB))
		check_madvise(addr, w->huge, MADV_HUGEPAGE, what);
}

/* Where the first one faults in the whole huge page. */
static void stamp(const struct world *w, uint8_t *addr, uint64_t mapping)
{
	for (unsigned int i = 0; i < w->pages; i++)
		stamp_page(addr + i * w->page, stamp_of(mapping, i, w->generation));
}

/* With nobody else there: what the walk of small pages comes by is not all that this one does. */
static void pin_alone(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	int got;

	stamp(w, w->refill, MAPPING_REFILL);
	got = v->ops->pin(v, w->refill, w->pages, 1);
	if (got != (int)w->pages)
		broken("%s took %d pins of %u on pages that nobody touches", v->name, got, w->pages);
	v->ops->unpin(v);
}

/* Every second time where huge pages alone come by, for as long as an unmap takes. */
static void stretch(struct race *race, struct world *w, unsigned int turn)
{
	static const char * const names[] = {
		"gup_huge_pmd", "gup_fast_pmd_leaf", "gup_pgd_range", "gup_fast_pgd_range",
		"lockless_pages_from_mm", "gup_fast", "internal_get_user_pages_fast",
		"gup_fast_fallback", NULL
	};
	static const struct stretch_code leaf = {
		.names = names, .least = 1, .pass = pin_alone, .whole = true,
	};

	if (turn % 2)
		stretch_code(race, &leaf, w, STRETCH_LONG);
	else
		stretch_walk_and_grab(race, STRETCH_SHORT);
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	if (w->rounds++ % NEXT_PLACE == NEXT_PLACE - 1 && !race_sampling(race))
		stretch(race, w, w->rounds / NEXT_PLACE);
	w->generation++;
	w->refills = race_sampling(race) || w->rounds % 2;
	check_madvise(w->refill, w->huge, MADV_DONTNEED, "the refill");
	if (w->flags & OP_MUNMAP)
		map(w, w->target, "guprace target");
	stamp(w, w->target, MAPPING_TARGET);
	w->judged = huge_present(w->target + w->huge - w->page);
	w->small += !w->judged;
}

static void pin(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->target, w->pages, w->walks);
}

static void unmap_and_refill(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	if (w->flags & OP_MUNMAP)
		check_munmap(w->target, w->huge, "the target");
	else
		check_madvise(w->target, w->huge, MADV_DONTNEED, "the target");
	if (w->refills)
		stamp(w, w->refill, MAPPING_REFILL);
}

static void judge_pin(struct race *race, struct world *w, unsigned int pin, const struct stamp *s)
{
	unsigned int index = pin % w->pages;

	if (stamp_blank(s) && !(w->flags & OP_MUNMAP)) {
		w->zeroes++;
		return;
	}
	if (stamp_is(s, MAPPING_TARGET, index, w->generation))
		return;
	race_hit(race, stamp_oracle(s, MAPPING_TARGET, index),
		 "pin %u: expected mapping %d index %u generation %" PRIu64 ", observed words %" PRIu64 " %" PRIu64 " %" PRIu64 " %#" PRIx64, pin,
		 MAPPING_TARGET, index, w->generation, s->mapping, s->index, s->generation, s->check);
}

/* Give the page that the pins hold every chance to be recycled: none may be taken. */
static void judge_holds(struct race *race, struct world *w, const struct stamp *first)
{
	struct vehicle *v = &race->vehicle;
	struct stamp now[VEHICLE_PINS_MAX];

	check_madvise(w->refill, w->huge, MADV_DONTNEED, "the refill");
	w->generation++;
	stamp(w, w->refill, MAPPING_REFILL);
	v->ops->read(v, now);
	for (int i = 0; i < w->got; i++) {
		if (memcmp(&now[i], &first[i], sizeof(now[i])))
			race_hit(race, "pin_lost", "pin %d: expected words %" PRIu64 " %" PRIu64
				 " %" PRIu64 " as before, observed %" PRIu64 " %" PRIu64 " %" PRIu64,
				 i, first[i].mapping, first[i].index, first[i].generation,
				 now[i].mapping, now[i].index, now[i].generation);
	}
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];

	if (!w->judged)
		race_empty(race);
	if (w->got < 0) {
		if (w->got != -EFAULT)
			broken("%s pin of the target: %s", v->name, strerror(-w->got));
		if (!(w->flags & OP_MUNMAP))
			race_hit(race, "refused", "expected pins of a mapping, observed %s",
				 strerror(-w->got));
		w->refusals++;
		return;
	}
	w->pins += w->got;
	v->ops->read(v, stamps);
	for (int i = 0; w->judged && i < w->got; i++)
		judge_pin(race, w, i, &stamps[i]);
	if (!(v->ops->is & VEHICLE_READ_DROPS) && w->generation % HOLDS_ONE_IN == 0)
		judge_holds(race, w, stamps);
	v->ops->unpin(v);
}

/* For the pins in the vehicle, for the pages in hugetlb's pool. */
static void need_room(struct race *race, struct world *w)
{
	unsigned int walks = race->vehicle.capacity / w->pages;

	if (!walks)
		race_skip(race, "%s holds %u pins, not %u", race->vehicle.name,
			  race->vehicle.capacity, w->pages);
	w->walks = walks < WALKS ? walks : WALKS;
	if (w->flags & OP_HUGETLB)
		huge_pool(race, HUGETLB_PAGES);
}

/* A huge page of nothing between the two: they are never one mapping. */
static void map_both(struct world *w)
{
	w->target = huge_reserve(4 * w->huge, w->huge, "the arena");
	w->refill = w->target + 2 * w->huge;
	map(w, w->target, "guprace target");
	map(w, w->refill, "guprace refill");
}

static void unmap_both(const struct world *w)
{
	huge_unmap(w->target, w->huge, "the target");
	huge_unmap(w->refill, w->huge, "the refill");
	huge_release(w->target, 4 * w->huge, "the arena");
}

static void race_hugepmd(struct race *race)
{
	struct world w = {
		.flags = race->subtest->arg,
		.page = getpagesize(),
		.huge = huge_size(race),
		.pages = PAGES,
	};
	static const struct trial trial = {
		.prepare = prepare,
		.a = pin,
		.b = unmap_and_refill,
		.judge = judge,
	};
	bool counted = race->vehicle.ops->is & VEHICLE_FOLL_PIN || !memory_is_ours(race, "lost memory");
	struct memory before = { };

	need_room(race, &w);
	if (!counted)
		memory_read(&before, MEMORY_BULK);
	map_both(&w);
	prepare(race, &w);
	if (!w.judged)
		race_skip(race, "a first touch gives no huge page (transparent_hugepage/enabled?)");

	race_trials(race, &trial, &w);
	stretch_code_end();

	unmap_both(&w);
	if (!counted)
		memory_judge(race, &before);
	huge_restore();
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "zeroes", w.zeroes);
	race_count(race, "small", w.small);
}

static const struct floor floors[] = {
	{ "trials", 40 },
	{ "pins", 100 },
	{ }
};

static const struct floor floors_thp[] = {
	{ "trials", 40 },
	{ "pins", 100 },
	{ "vm.thp_fault_alloc", 100 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.munmap", &vehicle_probe, race_hugepmd, floors_thp, OP_MUNMAP },
	{ "vmsplice.munmap", &vehicle_vmsplice, race_hugepmd, floors_thp, OP_MUNMAP },
	{ "probe.dontneed", &vehicle_probe, race_hugepmd, floors_thp, 0 },
	{ "probe.hugetlb", &vehicle_probe, race_hugepmd, floors, OP_MUNMAP | OP_HUGETLB },
	{ }
};

static const char * const vmstat[] = { "thp_fault_alloc", "thp_fault_fallback", NULL };

const struct scenario scenario = {
	.name = "pin_vs_hugepmd",
	.summary = "pins of GUP-fast against unmap and refill of huge pages (P3, P4)",
	.subtests = subtests,
	.vmstat = vmstat,
};
