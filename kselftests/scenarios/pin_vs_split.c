// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_split - pins of GUP-fast against the split of a huge page
 *
 * Property (P3, P5): a split takes the one count of a huge page apart into the
 * counts of its small pages. So it freezes that count to zero first, which fails while anybody
 * holds a reference, and GUP-fast takes none from zero; and since the page that was grabbed may
 * meanwhile be one of its own, GUP-fast looks up its folio again after the grab. Without that:
 *
 *   A: pin a page of the target: reads the PMD (or PTE), finds the folio: the huge page's head
 *   B: split: PTEs become migration entries, the count is frozen, the pages are made single
 *   B: the counts are set again, of the head too; the PTEs map single pages
 *   A: takes a reference of the head: no longer zero, so that succeeds
 *   A: returns, holding the head's count up and the pinned page's not
 *   B: unmaps the target: the pinned page is freed, and recycled, under the pin
 *
 * The pages pinned are the last to lose their PTEs, so that little is between that and the freeze:
 * some tens of microseconds, and a few hundred until the PTEs are back. A's walk, between its
 * looks at PTE, folio and count, is stretched to as much, at a random instruction; now and then at
 * another.
 *
 * Mode: steered; a split is about as long as the zeroing of the huge page before it.
 *
 * B splits by debugfs (split_huge_pages, for one page of this process), by MADV_PAGEOUT of one
 * page, and, of the PMD only, by munmap of the last quarter.
 *
 * What A reads first has to be there again, to the bit, when it reads it the second time: a PMD that
 * is split never is, so above steps come to their end, and the second look at the folio is needed,
 * where the huge page was mapped by PTEs before. In probe.table it is: all of it but the pages that
 * A pins was discarded, which leaves their PTEs, and a page that is still a huge one. There A's
 * place is always in the grab, and another one soon: only the few instructions between the look at
 * the folio and the count will do.
 *
 * So does a folio of 64 KiB, which no PMD ever maps (probe.mthp).
 *
 * What needs no race, in probe.held: a pin is taken, and the split tried, by all of these and by
 * MADV_COLD; it must give up, and leave pin and address one page.
 *
 * Oracles, after both windows (lib/agree.h for the first three):
 *   bad_stamp, foreign_stamp      the pin does not read what was stamped at the address
 *   pin_differs, address_differs  what one of the two writes, the other does not read
 *   refused                       no pin of memory that was mapped throughout
 *   pin_lost                      the pages are unmapped, others are made and stamped: the pin must
 *                                 read what it did
 *
 * Counters, beside those of race_trials(): pins; small (rounds without a huge page to begin with);
 * splits (of pages, folios or, by munmap, of PMDs, once the windows had been measured with no pin in
 * the way); vm.thp_split_page, vm.thp_split_page_failed, vm.thp_split_pmd: what the kernel did of it.
 *
 * No fix to name: the second look-up and why are in try_get_folio() of mm/gup.c. Controls: M08,
 * G02, G11, G12, G47, G63. Kconfig: pin_vs_split.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "huge.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"
#include "vmstat.h"

#define MAPPING_TARGET	1
#define MAPPING_OTHER	2

#define SPLIT_FILE	"/sys/kernel/debug/split_huge_pages"
#define PAGES		4u	/* pinned by one walk: the last ones, or the last that munmap leaves */
#define NEXT_PLACE	64u	/* rounds at one place of the walk, then at another */
#define NEXT_IN_GRAB	32u	/* the same, where it has to be a place in the grab */
#define OTHERS		64u	/* pages made where the target's were */
#define HELD_ROUNDS	4u	/* with each way to split, no race in them */
#define SPLITS		5u	/* least, for a race to count */

enum split {
	BY_DEBUGFS,
	BY_PAGEOUT,
	BY_MUNMAP,
	OF_TABLE,	/* by debugfs, of what PTEs map */
	OF_MTHP,	/* the same of a folio of 64 KiB, which no PMD ever maps */
};

static bool by_debugfs(enum split how)
{
	return how == BY_DEBUGFS || how == OF_TABLE || how == OF_MTHP;
}

struct world {
	enum split how;
	size_t page;
	size_t huge;
	uint8_t *target;
	uint8_t *others;
	uint8_t *elsewhere;		/* pinned while windows are measured: see race_sampling() */
	int fd;				/* of SPLIT_FILE */
	char command[64];
	struct agree agree;
	unsigned int rounds;
	bool whole;			/* this round's target is a huge page */
	int got;			/* by A's pin call */

	uint64_t pins, small;
	uint64_t split_before;		/* as the kernel counts, when the windows had been measured */
};

/* Anew: where a page table is left, faults give small pages. */
static void map_target(const struct world *w)
{
	huge_map(w->target, w->huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 "the target");
	name_mapping(w->target, w->huge, "guprace target");
	check_madvise(w->target, w->huge, MADV_HUGEPAGE, "the target");
}

static void stretch(struct race *race, const struct world *w)
{
	if (w->how == OF_TABLE || w->how == OF_MTHP)
		stretch_grab(race, STRETCH_LONG);
	else
		stretch_walk_and_grab(race, STRETCH_LONG);
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;
	bool grab = w->how == OF_TABLE || w->how == OF_MTHP;
	unsigned int rounds = grab ? NEXT_IN_GRAB : NEXT_PLACE;

	/* Not while windows are measured: a pin of what is not split is not that long. */
	if (w->rounds++ % rounds == rounds - 1)
		stretch(race, w);
	map_target(w);
	agree_stamp(&w->agree);
	w->whole = huge_present(w->target);	/* nobody has touched the first page */
	w->small += !w->whole;
	if (w->how == OF_TABLE)
		check_madvise(w->target, w->agree.addr - w->target, MADV_DONTNEED,
			      "all but the pinned pages");
}

static void pin(struct race *race, void *arg)
{
	struct world *w = arg;
	uint8_t *addr = race_sampling(race) ? w->elsewhere : w->agree.addr;

	w->got = race->vehicle.ops->pin(&race->vehicle, addr, w->agree.pages, 1);
}

static void split(struct race *race, void *arg)
{
	struct world *w = arg;
	size_t quarter = w->huge / 4;

	(void)race;
	switch (w->how) {
	case BY_DEBUGFS:
	case OF_TABLE:
	case OF_MTHP:
		if (write(w->fd, w->command, strlen(w->command)) < 0)
			broken("write of '%s' to " SPLIT_FILE ": %s", w->command, strerror(errno));
		break;
	case BY_PAGEOUT:
		check_madvise(w->target, w->page, MADV_PAGEOUT, "the first page");
		break;
	case BY_MUNMAP:
		check_munmap(w->target + w->huge - quarter, quarter, "the last quarter");
		break;
	}
}

/* From here on the pins alone keep the pages. */
static void unmap_and_make_others(struct world *w)
{
	check_madvise(w->agree.addr, PAGES * w->page, MADV_DONTNEED, "the pinned pages");
	for (unsigned int i = 0; i < OTHERS; i++)
		stamp_page(w->others + i * w->page,
			   stamp_of(MAPPING_OTHER, i, w->agree.generation));
}

/* What was written last at the address, or by the pin, is still there when the address is gone. */
static void judge_holds(struct race *race, struct world *w)
{
	struct vehicle *v = &race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];
	unsigned int held = v->held;

	unmap_and_make_others(w);
	v->ops->read(v, stamps);
	for (unsigned int i = 0; i < held; i++) {
		struct stamp want = stamp_of(MAPPING_TARGET, i, w->agree.generation);

		if (memcmp(&stamps[i], &want, sizeof(want)))
			race_hit(race, "pin_lost", "pin %u: expected mapping %d index %u generation %llu"
				 " as before the unmap, observed words %llu %llu %llu", i, MAPPING_TARGET,
				 i, (unsigned long long)want.generation,
				 (unsigned long long)stamps[i].mapping,
				 (unsigned long long)stamps[i].index,
				 (unsigned long long)stamps[i].generation);
	}
	check_madvise(w->others, OTHERS * w->page, MADV_DONTNEED, "the others");
}

/* Of huge pages, or of their mappings only, by whomever. */
static uint64_t splits_so_far(const struct world *w)
{
	static struct vmstat now;
	uint64_t splits = 0;

	if (w->how == OF_MTHP) {
		(void)backing_mthp_stat("split", &splits);
		return splits;
	}
	vmstat_read(&now);
	(void)vmstat_get(&now, w->how == BY_MUNMAP ? "thp_split_pmd" : "thp_split_page", &splits);
	return splits;
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;

	if (!w->whole)
		race_empty(race);
	if (race_sampling(race)) {
		v->ops->unpin(v);
		return;
	}
	/* Nobody was in the way of those before. */
	if (!w->split_before)
		w->split_before = splits_so_far(w);
	agree_admitted(&w->agree, w->got);
	if (w->got <= 0)
		return;
	w->pins += w->got;
	if (v->ops->is & VEHICLE_READ_DROPS) {
		agree_stamp(&w->agree);	/* it reads once only: when all is done */
	} else {
		agree_both_ways(&w->agree);
	}
	judge_holds(race, w);
	v->ops->unpin(v);
}

static void open_split_file(struct race *race, struct world *w)
{
	unsigned long at = (unsigned long)(w->how == BY_DEBUGFS ? w->target : w->agree.addr);

	w->fd = open(SPLIT_FILE, O_WRONLY | O_CLOEXEC);
	if (w->fd < 0)
		race_skip(race, "no " SPLIT_FILE ": %s", strerror(errno));
	snprintf(w->command, sizeof(w->command), "%d,0x%lx,0x%lx", getpid(), at, at + w->page);
}

static void need_mthp(struct race *race)
{
	uint64_t splits;

	backing_mthp(race, "madvise");
	if (!backing_mthp_stat("split", &splits))
		race_skip(race, "this kernel does not count splits of folios of 64 KiB");
}

static void world_init(struct race *race, struct world *w, enum split how)
{
	*w = (struct world){
		.how = how,
		.page = getpagesize(),
		.huge = how == OF_MTHP ? MTHP_PAGES * getpagesize() : huge_size(race),
		.fd = -1,
		.agree = agree_about(race, PAGES, MAPPING_TARGET, "beside a split"),
	};
	if (how == OF_MTHP)
		need_mthp(race);
	w->target = huge_reserve(w->huge, w->huge, "the target");
	w->agree.addr = w->target + (how == BY_MUNMAP ? 3 * w->huge / 4 : w->huge) - PAGES * w->page;
	if (by_debugfs(how))
		open_split_file(race, w);
	w->others = huge_reserve(OTHERS * w->page, w->page, "the others");
	huge_map(w->others, OTHERS * w->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, "the others");
	w->elsewhere = check_mmap(NULL, PAGES * w->page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "elsewhere");
	map_target(w);
	prepare(race, w);
	if (w->small)
		race_skip(race, "a first touch gives no huge page (transparent_hugepage/enabled?)");
}

static void world_exit(struct race *race, struct world *w)
{
	check_munmap(w->elsewhere, PAGES * w->page, "elsewhere");
	huge_release(w->others, OTHERS * w->page, "the others");
	huge_release(w->target, w->huge, "the target");
	if (w->fd >= 0)
		close(w->fd);
	if (w->how == OF_MTHP)
		huge_restore();
	race_add(race, "pins", w->pins);
	race_add(race, "small", w->small);
}

static void race_split(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare,
		.a = pin,
		.b = split,
		.judge = judge,
	};
	struct world w;

	world_init(race, &w, race->subtest->arg);
	race_trials(race, &trial, &w);
	stretch_code_end();
	if (w.split_before)
		race_count(race, "splits", splits_so_far(&w) - w.split_before);
	world_exit(race, &w);
}

/* All that splits is tried with pins in the way: it has to give up, and at some time. */
static void hold_through_splits(struct race *race, struct world *w)
{
	struct vehicle *v = &race->vehicle;
	static const int ways[] = { MADV_COLD, MADV_PAGEOUT };

	prepare(race, w);
	pin(race, w);
	agree_admitted(&w->agree, w->got);
	if (w->got <= 0)
		return;
	w->pins += w->got;
	split(race, w);
	agree_both_ways(&w->agree);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		check_madvise(w->agree.addr, w->page, ways[i], "a pinned page");
		agree_both_ways(&w->agree);
	}
	judge_holds(race, w);
	v->ops->unpin(v);
	race_add(race, "checks", 1);
}

static void race_held(struct race *race)
{
	struct world w;

	race_begin(race);
	for (int how = BY_DEBUGFS; how <= OF_TABLE; how++) {
		world_init(race, &w, how);
		for (unsigned int i = 0; i < HELD_ROUNDS; i++)
			hold_through_splits(race, &w);
		world_exit(race, &w);
	}
}

/* A split takes 80 ms on 6.12/x86_64/kcsan: 19 trials in 4.7 s, which covered the range. */
static const struct floor floors[] = {
	{ "trials", 16 },
	{ "pins", 64 },
	{ "splits", SPLITS },
	{ }
};

static const struct floor held_floors[] = {
	{ "checks", (OF_TABLE + 1) * HELD_ROUNDS },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.held", &vehicle_probe, race_held, held_floors, 0 },
	{ "probe.debugfs", &vehicle_probe, race_split, floors, BY_DEBUGFS },
	{ "vmsplice.debugfs", &vehicle_vmsplice, race_split, floors, BY_DEBUGFS },
	{ "probe.pageout", &vehicle_probe, race_split, floors, BY_PAGEOUT },
	{ "probe.munmap", &vehicle_probe, race_split, floors, BY_MUNMAP },
	{ "probe.table", &vehicle_probe, race_split, floors, OF_TABLE },
	{ "probe.mthp", &vehicle_probe, race_split, floors, OF_MTHP },
	{ }
};

static const char * const vmstat[] = {
	"thp_fault_alloc", "thp_split_page", "thp_split_page_failed", "thp_split_pmd", NULL
};

const struct scenario scenario = {
	.name = "pin_vs_split",
	.summary = "pins of GUP-fast against the split of a huge page (P3, P5)",
	.subtests = subtests,
	.vmstat = vmstat,
};
