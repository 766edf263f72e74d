// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_migrate - pins of GUP-fast against page migration
 *
 * Property (PX): a page that is pinned does not move away from its address.
 * Migration replaces the PTE by a migration entry, and only then looks at the references; GUP-fast
 * takes its reference, and only then reads the PTE again. So one of the two gives way:
 *
 *   A: pin: reads the PTE of page i, takes the pin
 *   B: move_pages: replaces the PTE of page i by a migration entry, flushes the TLB
 *   B: finds the page pinned, or with more references than it has mappings: puts the PTE back
 *      ... had B looked before it took the PTE away, it would go on: copy, and map the new page
 *   A: reads the PTE again: a migration entry, or the new page: gives the pin back
 *      ... else, or if B ignores references: A holds the old page, the process sees the new one
 *   A: writes by address: not seen through the pin
 *
 * And a huge page on its way, whose mapping is split meanwhile: the PMD holds a migration entry then,
 * which is no page, and may never look like one to a walker (P2):
 *
 *   B: move_pages: replaces the PMD of a huge page by a migration entry, copies
 *   A: madvise(MADV_DONTNEED) of its last page: splits the entry into 512
 *      ... had the split taken the entry for a mapping, it would show as one until it is done
 *   A: pin: reads the PMD
 *
 * A page can also have to move because it is to be taken out of use, as one with memory errors is
 * (MADV_SOFT_OFFLINE): one that is pinned stays in use.
 *
 * Mode: steered; held pins, and what came by one and moves along (lib/carried.h), need no race. A
 * pins many pages by one walk while B's call moves the same pages, to the other NUMA node and with
 * the next trial back: as many chances as pages that the two pass together. By turns the end of a
 * PTE is stretched at a random instruction.
 *
 * Oracles (lib/agree.h), after both windows: pin_differs, address_differs, foreign_stamp,
 * bad_stamp. They hold for FOLL_GET too: every reference stops a migration, whatever it was taken
 * for, and it is counted in a place of its own for pages in the page cache (their count is frozen),
 * and of hugetlb.
 *
 * Counters:
 *   checks        of held pins, where no race is needed; the others count trials (lib/trial.c)
 *   pins, kept    pages pinned; pages that a move left where they were, because of a pin or not
 *   huge          rounds of split_moving and move_thp that began with a huge page, of move_mthp with a folio
 *                 of 64 KiB
 *   offlined, refused  pages that were taken out of use, and those that were not; it ends after
 *                      OFFLINED_MAX, which nothing brings back before the machine boots again
 *   moved         pages that did move: the pages beside the pinned ones, or those pinned later
 *
 * Fixed by: 6c287605fd56 ("mm: remember exclusively mapped anonymous pages with PG_anon_exclusive",
 * v5.19) and 088b8aa537c2 ("mm: fix PageAnonExclusive clearing racing with concurrent RCU
 * GUP-fast", v6.1) have the rule "clear the PTE, then look"; 3a5a8d343e1c ("mm: fix race between
 * __split_huge_pmd_locked() and GUP-fast", v6.10); no CVE. Controls: M15, M23, M28, G30, G86,
 * G101. Kconfig: pin_vs_migrate.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "carried.h"
#include "check.h"
#include "nodes.h"
#include "pagemap.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"
#include "taint.h"

#define MAPPING_TARGET	1
#define PAGES		8u		/* of the target */
#define REPEATS		6u		/* of what needs no race, with each operation */
#define OFFLINED_MAX	2000u		/* pages taken out of use */
#define NEXT_PLACE	64u		/* rounds at one place of the move, then at another, or none */
#define COMPACT_PATH	"/proc/sys/vm/compact_memory"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

struct world {
	struct race *race;
	struct agree agree;
	struct backing target;
	struct backing decoy;		/* what A pins while the windows are measured */
	bool decoyed;
	int node;			/* where the next move goes: 0 or 1 */
	unsigned int pinned;		/* pages of the target that A pins, the first ones */
	int got;
	unsigned int rounds;
	struct nodes nodes;
	long moved_by;			/* result of the last operation */
	uint64_t frame[PAGES];
	bool small;			/* this round's target, which is to be a folio */
	uint64_t checks, pins, moved, kept, huge, offlined, refused;
};

typedef void operation(struct world *w);

static void do_move_pages(struct world *w)
{
	w->moved_by = nodes_move(&w->nodes, MPOL_MF_MOVE);
}

static void do_mbind(struct world *w)
{
	unsigned long mask = 1ul << w->node;

	w->moved_by = syscall(SYS_mbind, w->target.addr, w->target.size, MPOL_BIND, &mask,
			      8 * sizeof(mask), MPOL_MF_MOVE);
}

/* One page only: the kernel has a line on the console for each. */
static void do_offline(struct world *w)
{
	uint8_t *last = w->agree.addr + (w->agree.pages - 1) * w->agree.page;

	w->moved_by = madvise(last, w->agree.page, MADV_SOFT_OFFLINE);
	if (!w->moved_by) {
		/* Gone until the machine boots again: enough is enough. */
		if (++w->offlined == OFFLINED_MAX)
			atomic_store(&w->race->stop, true);
	} else if (errno == EBUSY || errno == EIO || errno == EAGAIN) {
		w->refused++;
		w->moved_by = 0;
	}
}

static void do_compact(struct world *w)
{
	w->moved_by = write_file(COMPACT_PATH, "1");
}

/* The page frames tell what moved, whoever moved it; a vehicle's own pins need no telling. */
static void note_frames(struct world *w)
{
	pagemap_read(w->agree.addr, w->frame, w->agree.pages);
}

static void count_moved(struct world *w)
{
	uint64_t now[PAGES];

	pagemap_read(w->agree.addr, now, w->agree.pages);
	for (unsigned int i = 0; i < w->agree.pages; i++) {
		if (!((now[i] ^ w->frame[i]) & PAGEMAP_PFN))
			w->kept++;
		else
			w->moved++;
	}
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	agree_stamp(&w->agree);
	w->node = nodes_turn_away(&w->nodes);
	note_frames(w);
}

/* A move that meets a pin tries again, several times: that is not the window to sweep. */
static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;

	w->decoyed = race_sampling(race);
	w->got = v->ops->pin(v, w->decoyed ? w->decoy.addr : w->agree.addr, w->pinned, 1);
}

static void check_pins(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;

	if (w->got != (int)w->pinned)
		broken("%s took %d pins of %u mapped pages", v->name, w->got, w->pinned);
	if (w->small)
		race_empty(w->race);
	if (w->moved_by < 0)
		broken("moving %u pages to node %d: %s", w->agree.pages, w->node, strerror(errno));
	agree_address(&w->agree);
	if (w->decoyed) {
		v->ops->unpin(v);
		return;
	}
	w->pins += w->got;
	count_moved(w);
	agree_both_ways(&w->agree);
	v->ops->unpin(v);
}

static void judge(struct race *race, void *arg)
{
	(void)race;
	check_pins(arg);
}

static void b_offline(struct race *race, void *arg)
{
	(void)race;
	do_offline(arg);
}

static void b_move_pages(struct race *race, void *arg)
{
	(void)race;
	do_move_pages(arg);
}

/* By trying: a page of ours goes to the one node and to the other. */
static void need_two_nodes(struct world *w)
{
	struct nodes first = { .pages = 1, .page = { w->agree.addr } };

	for (int node = 1; node >= 0; node--) {
		int *status = first.status;

		*status = -ENODEV;
		nodes_turn(&first, node);
		if (nodes_move(&first, MPOL_MF_MOVE) || *status != node)
			race_skip(w->race, "needs two NUMA nodes: move_pages to node %d: %s", node,
				  *status < 0 ? strerror(-*status) : strerror(errno));
	}
}

static void with_target(struct race *race, void (*fn)(struct world *w))
{
	struct world w = {
		.race = race,
		.agree = agree_about(race, PAGES, MAPPING_TARGET, "pinned while its page was moved"),
	};

	if (!pagemap_tells())
		race_skip(race, "page frame numbers are root's to read");
	w.pinned = w.agree.pages;
	backing_map(&w.target, race, race->subtest->arg, w.agree.pages, "guprace target");
	w.agree.addr = w.target.addr;
	agree_stamp(&w.agree);
	nodes_pages(&w.nodes, &w.agree);
	need_two_nodes(&w);
	fn(&w);
	backing_unmap(&w.target);
	race_count(race, "pins", w.pins);
	race_count(race, "moved", w.moved);
	race_count(race, "kept", w.kept);
}

/* With nobody else there; there and back, since one of the two may be where the pages are. */
static void move_alone(struct race *race, void *arg)
{
	for (unsigned int i = 0; i < 2; i++) {
		prepare(race, arg);
		do_move_pages(arg);
	}
}

static void stretch_move(struct race *race, struct world *w)
{
	static const char * const names[] = { "try_to_migrate_one", "try_to_migrate", NULL };
	const struct stretch_code move = {
		.names = names,
		.least = w->target.kind == THP ? 1 : PAGES / 2,
		.pass = move_alone,
	};

	stretch_by_turns(race, &move, w, STRETCH_SHORT, w->rounds / NEXT_PLACE);
}

static void prepare_race(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch_move(race, w);
	prepare(race, arg);
}

static void race_beside_decoy(struct world *w, const struct trial *trial)
{
	backing_map(&w->decoy, w->race, SMALL, w->agree.pages, "guprace decoy");
	memset(w->decoy.addr, 1, w->decoy.size);
	race_trials(w->race, trial, w);
	stretch_code_end();
	backing_unmap(&w->decoy);
}

static void race_move_pages_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_race, .a = take_pins, .b = b_move_pages, .judge = judge,
	};

	race_beside_decoy(w, &trial);
}

static void race_move_pages(struct race *race)
{
	with_target(race, race_move_pages_world);
}

static void renew(struct world *w)
{
	w->small = !backing_renew(&w->target);
}

static void prepare_huge(struct race *race, void *arg)
{
	struct world *w = arg;

	renew(w);
	w->huge += !w->small;
	prepare(race, arg);
}

/* As far as page frames tell: smaps, which knows, would take longer than the trial. */
static bool looks_huge(const struct world *w)
{
	uint64_t first = w->frame[0] & PAGEMAP_PFN;

	for (unsigned int i = 0; i < w->agree.pages; i++) {
		if ((w->frame[i] & PAGEMAP_PFN) != first + i)
			return false;
	}
	return first % (w->target.size / w->agree.page) == 0;
}

/* Once split (the other node had no huge page, say) it would be small pages for ever. */
static void prepare_kept(struct race *race, void *arg)
{
	struct world *w = arg;

	prepare_race(race, arg);
	if (!looks_huge(w)) {
		renew(w);
		prepare(race, arg);
	}
	w->huge += !w->small;
}

static void race_huge_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_kept, .a = take_pins, .b = b_move_pages, .judge = judge,
	};

	race_beside_decoy(w, &trial);
	race_count(w->race, "huge", w->huge);
}

static void race_huge(struct race *race)
{
	with_target(race, race_huge_world);
}

/*
 * The last page is none of those that are stamped and pinned. What is split already is moved page
 * by page, which takes much longer: not the window to sweep, either.
 */
static void split_and_take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race_sampling(race))
		check_madvise(w->target.addr + w->target.size - w->agree.page, w->agree.page,
			      MADV_DONTNEED, "the last page");
	take_pins(race, arg);
}

/* A folio that stays one: a move that is in each other's way is split, page by page. */
static void prepare_folio(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch_move(race, w);
	prepare_huge(race, arg);
}

static void race_folio_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_folio, .a = take_pins, .b = b_move_pages, .judge = judge,
	};

	race_beside_decoy(w, &trial);
	race_count(w->race, "huge", w->huge);
}

static void race_folio(struct race *race)
{
	with_target(race, race_folio_world);
}

static void race_split_moving_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_huge, .a = split_and_take_pins, .b = b_move_pages, .judge = judge,
	};

	w->agree.when = "pinned while its huge page was moved and split";
	race_beside_decoy(w, &trial);
	race_count(w->race, "huge", w->huge);
}

static void race_split_moving(struct race *race)
{
	with_target(race, race_split_moving_world);
}

/* By trying, which costs a page. */
static void need_offline(struct world *w)
{
	void *page = check_mmap(NULL, w->agree.page, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "a page to lose");
	int err = madvise(page, w->agree.page, MADV_SOFT_OFFLINE) ? errno : 0;

	check_munmap(page, w->agree.page, "a page to lose");
	if (err)
		race_skip(w->race, "pages cannot be taken out of use (MADV_SOFT_OFFLINE): %s",
			  strerror(err));
}

static void race_offline_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_race, .a = take_pins, .b = b_offline, .judge = judge,
	};

	need_offline(w);
	w->agree.when = "pinned while its page was taken out of use";
	race_beside_decoy(w, &trial);
	race_count(w->race, "offlined", w->offlined);
	race_count(w->race, "refused", w->refused);
}

static void race_offline(struct race *race)
{
	with_target(race, race_offline_world);
}

static void hold_against(struct world *w, operation *op, const char *when)
{
	w->agree.when = when;
	for (unsigned int i = 0; i < REPEATS && race_in_time(w->race); i++) {
		prepare(w->race, w);
		take_pins(w->race, w);
		op(w);
		check_pins(w);
		w->checks++;
	}
}

/* No race: pinned first, moved then. The second half of small pages is not pinned: it must move. */
static void hold_world(struct world *w)
{
	if (w->target.kind == SMALL || w->target.kind == SHMEM)
		w->pinned /= 2;
	hold_against(w, do_move_pages, "pinned before move_pages");
	hold_against(w, do_mbind, "pinned before mbind");
	/* Which passes over huge pages, pinned or not. */
	if (w->target.kind != THP && w->target.kind != HUGETLB)
		hold_against(w, do_compact, "pinned before compaction");
	race_count(w->race, "checks", w->checks);
}

static void hold(struct race *race)
{
	with_target(race, hold_world);
}

/* What is pinned stays in use. */
static void hold_offline_world(struct world *w)
{
	need_offline(w);
	hold_against(w, do_offline, "pinned before it was to be taken out of use");
	race_count(w->race, "checks", w->checks);
	race_count(w->race, "refused", w->refused);
}

static void hold_offline(struct race *race)
{
	with_target(race, hold_offline_world);
}

static const struct floor held[] = {
	{ "checks", 3 * REPEATS },
	{ "kept", 3 * REPEATS },
	{ "moved", REPEATS },
	{ }
};

/* All of it is pinned. */
static const struct floor held_huge[] = {
	{ "checks", 2 * REPEATS },
	{ "kept", 2 * REPEATS * PAGES },
	{ }
};

static const struct floor raced[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "kept", 20 },
	{ "moved", 20 },
	{ }
};

static const struct floor held_offline[] = {
	{ "checks", REPEATS },
	{ "refused", REPEATS },
	{ }
};

static const struct floor offline[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "offlined", 10 },
	{ "refused", 5 },
	{ }
};

static const struct floor raced_thp[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "huge", 20 },
	{ "kept", PAGES },
	{ "moved", PAGES },
	{ "vm.thp_migration_success", 20 },
	{ }
};

static const struct floor raced_mthp[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "huge", 20 },
	{ "kept", PAGES },
	{ "moved", PAGES },
	{ }
};

static const struct floor split_moving[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "huge", 20 },
	{ "vm.thp_split_pmd", 20 },
	{ "vm.thp_migration_success", 20 },
	{ }
};

static const struct floor carried[] = {
	{ "checks", CARRIED_ROUNDS },
	{ "moved", CARRIED_ROUNDS / 2 },
	{ "swapped", CARRIED_ROUNDS / 2 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.held", &vehicle_probe, hold, held, SMALL },
	{ "probe_ro.held", &vehicle_probe_ro, hold, held, SMALL },
	{ "probe_get.held", &vehicle_probe_get, hold, held, SMALL },
	{ "vmsplice.held", &vehicle_vmsplice, hold, held, SMALL },
	{ "probe_get.held_thp", &vehicle_probe_get, hold, held_huge, THP },
	{ "probe_get.held_mthp", &vehicle_probe_get, hold, held_huge, MTHP },
	{ "probe_get.held_shmem", &vehicle_probe_get, hold, held, SHMEM },
	{ "probe_get.held_hugetlb", &vehicle_probe_get, hold, held_huge, HUGETLB },
	{ "probe.held_offline", &vehicle_probe, hold_offline, held_offline, SMALL },
	{ "direct_in.carried", NULL, carried_by_moves, carried, 0 },
	{ "probe.move_pages", &vehicle_probe, race_move_pages, raced, SMALL },
	{ "probe.split_moving", &vehicle_probe, race_split_moving, split_moving, THP },
	{ "probe_get.move_pages", &vehicle_probe_get, race_move_pages, raced, SMALL },
	{ "probe_ro.move_thp", &vehicle_probe_ro, race_huge, raced_thp, THP },
	{ "probe.offline", &vehicle_probe, race_offline, offline, SMALL },
	{ "probe.move_mthp", &vehicle_probe, race_folio, raced_mthp, MTHP },
	{ }
};

static const char * const vmstat[] = {
	"pgmigrate_success", "pgmigrate_fail", "thp_migration_success", "thp_split_pmd",
	"compact_migrate_scanned", NULL
};

const struct scenario scenario = {
	.name = "pin_vs_migrate",
	.summary = "pins of GUP-fast against move_pages, mbind and compaction (PX)",
	.subtests = subtests,
	.vmstat = vmstat,
	.taints = TAINT_WARN,	/* 6.12's move of a huge page of which a part is unmapped, known-issues.yaml */
};
