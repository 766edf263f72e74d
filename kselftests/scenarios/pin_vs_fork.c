// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_fork - pins of GUP-fast against fork and the copy-on-write that follows it
 *
 * Property (PX): a page that is FOLL_PINned stays the one at the parent's address,
 * and is nobody else's. fork gives the child a copy of a page that may be pinned, and
 * write-protects and shares every other; GUP-fast may be in between. `write_protect_seq` keeps the
 * two apart:
 *
 *   B: fork: write_protect_seq is odd from here on
 *   B: copies the PTE of page i: the page is not pinned, so it will be shared
 *   A: pin: reads the PTE of page i, still writable, takes the pin, reads the PTE again: the same
 *   B: write-protects the PTE of page i in parent and child
 *   A: sees that write_protect_seq has changed, and gives all pins of this walk back
 *      ... else: A holds a pin of a page that the child shares
 *   parent: writes by address, and is given a copy: the pin keeps the old page, now the child's
 *
 * And after a fork, with a read-only pin of a page that is shared:
 *
 *   A: pin for reading: the page is anonymous, not exclusive: unshare it (a copy) before the pin
 *   B: writes by address: copy-on-write
 *      ... had A not unshared the page, pin and address were two pages now
 *
 * And fork that comes upon pages on their way to another node (lib/forked_moving.c):
 *
 *   A: move_pages: replaces the PTE of page i by a migration entry: writable, exclusive
 *   B: fork: copies the entry, and makes it a readable one in parent and child
 *      ... else page i is, when it has arrived, writable or exclusive for one of them or both
 *   A: puts PTEs of the new page in the place of the entries, the parent's and the child's
 *   parent: pins, and writes by address: the child sees it
 *
 * Mode: moves against fork (probe_ro.moving) are free-running: A moves pages as long as B's fork
 * takes, so that some are on their way at any time. All others are steered. A pins many pages by
 * one walk and B's fork goes through the same page table, so a trial is not one chance but as many
 * as there are pages that the two pass at the same time. B's window, between its look for pins and
 * the write-protection, is shorter than A's:
 *   probe.fork       A's is not stretched (lib/stretch.c): what it gives back is what it had pinned
 *                    when write_protect_seq changed
 *   probe_back.fork  B's is, at a random instruction of the copy of a PTE, now and then at another,
 *                    and A pins page by page against the direction in which B goes: calls that begin
 *                    after write_protect_seq has changed, and must see that before they walk
 *   probe.slow_fork  both are, A's the more: a walk that began before write_protect_seq changed is
 *                    still under way when B, faster, passes it. Without A's stretch such a walk is
 *                    over before B, who has tables to allocate, comes to the first page
 *   probe_ro.fork_thp the pages are the last of a huge one. Every second time PTEs map it: since v6.9
 *                    B looks for pins once for all of these, and write-protects A's at the end.
 *                    B is stretched by a little for each of them, here or there in one of the loops
 *   probe_ro.fork_mthp the same of a folio of 64 KiB, which no PMD ever maps
 *
 * Oracles (lib/agree.h), after both windows, each a hit:
 *   pin_differs       written by address, not seen through the pin
 *   address_differs   written through the pin, not seen at the address
 *   child_differs     the child does not see its page as it was at the fork, or as it left it
 *   foreign_stamp     a page shows the stamp of another page, or the child's
 * A child that pins with FOLL_GET, and unmaps, keeps the page of the fork: not the parent's later
 * one.
 *
 * What was exclusive must be known to be shared whatever has become of the page since, so what
 * needs no race is also done with pages that were swapped out before the fork (and come back by the
 * pin's fault, or by swapoff: probe_ro.brought_back) or after it (of parent and child, which only
 * reclaim of a memory cgroup does: probe_ro.reclaimed), moved after it, small or huge, are a part
 * of a huge page whose mapping was split after it (probe_ro.split_thp) or of which it left out the
 * first page (probe_ro.parted_thp), or were write-protected after it by mprotect(2) that has been
 * taken back (probe.protected). What was pinned must be known to be exclusive whatever was tried
 * with it: probe.kept forks when a move has met the pins and given up, of pages that can be written
 * meanwhile and of some that cannot: only those show what the first of several attempts forgot. Nor
 * may it be forgotten when a page moves (probe.arrived), when a huge page's mapping is split, for any
 * page of it (probe.part_thp), or because of others in its folio that are shared (probe.half_thp).
 * Beside each held pin others are taken and given back, which must not count. And fork looks for
 * pins only in a process that is marked as one with pins (MMF_HAS_PINNED): the slow path marks it
 * too, and has marked this one when back-offs were calibrated (lib/backoff.c), so probe.first has a
 * new process, whose first pin is one of GUP-fast, and slow.first another. The mark is the pinned
 * process', not its who pins: process_vm.first has one that is pinned by us (lib/remote.h).
 *
 * Counters:
 *   checks, trials    families judged where no race is needed; valid trials (lib/trial.c)
 *   judged, pins      families judged; pages pinned
 *   huge              in those with huge pages, or folios of 64 KiB: forks that began with one
 *   swapped, brought_back, moved  rounds in which the first page was what the subtest is about
 *   moves, rounds     in probe_ro.moving: calls of A; forks of B
 *   met               there: pages taken from the parent, and given to parent and child; `trials`
 *                     are the rounds with some
 *   kept              in probe.kept: the same, the page where it had been, pinned
 *
 * Fixed by: 57efa1fe5957 ("mm/gup: prevent gup_fast from racing with COW during fork", v5.11),
 * fb3d824d1a46 ("mm/rmap: split page_dup_rmap() into page_dup_file_rmap() and
 * page_try_dup_anon_rmap()", v5.19), a7f226604170 ("mm/gup: trigger FAULT_FLAG_UNSHARE when
 * R/O-pinning a possibly shared anonymous page", v5.19); CVE-2020-29374 (vmsplice by a child).
 * Controls: M16, M19, G03, G08, G22, G23, G27, G28, G29, G34, G35, G36, G42, G45, G49, G51,
 * G53, G54, G55, G56, G60, G61, G65, G67, G68, G69, G71, G73, G84, G89. Kconfig:
 * pin_vs_fork.config.
 */
#include <sys/mman.h>

#include "backing.h"
#include "check.h"
#include "forked.h"
#include "forked_held.h"
#include "forked_moving.h"
#include "forked_slow.h"
#include "remote.h"
#include "scenario.h"
#include "stretch.h"

#define HUGE_PAGES	8u		/* of it: all of a huge page go the same way */
#ifndef SMALL_PAGES
#define SMALL_PAGES	16u		/* passed one by one: a longer walk is met by more forks */
#endif
#define NEXT_LOOP	8u		/* the same, where PTEs map a huge page */
#define FEW_PTES	32u		/* of a huge page that has many */

/* The pages are shared when the windows begin: A unshares them, B copies them by its writes. */
static void prepare_shared(struct race *race, void *arg)
{
	struct forked *f = arg;

	forked_prepare(race, arg);
	family_fork(&f->family);
	family_meet(&f->family);
}

static void write_all(struct race *race, void *arg)
{
	struct forked *f = arg;

	(void)race;
	agree_stamp(&f->agree);
}

static void settle_shared(struct race *race, void *arg)
{
	struct forked *f = arg;

	if (!race->naive) {
		forked_need_pins(f);
		if (!f->decoyed) {
			agree_content(&f->agree, AGREE_ALWAYS);
			family_judge(&f->family);
		}
		race->vehicle.ops->unpin(&race->vehicle);
	}
	family_dismiss(&f->family);
}

/* Of a huge page that PTEs map, and that nobody shares yet. */
static void fork_table_once(struct race *race, void *arg)
{
	struct forked *f = arg;

	backing_renew(&f->target);
	forked_split_mapping(f);
	forked_once(race, NULL);
}

/* They hold those that are pinned. */
static unsigned int few_ptes(const struct forked *f)
{
	return f->target.kind == THP ? FEW_PTES : MTHP_PAGES - 1;
}

/*
 * Of a table that has some PTEs left, with a pin among them. Since v6.9 fork then looks, for each PTE,
 * at all that follow: half a second for a stretched look at 512 of them.
 */
static void fork_pinned_once(struct race *race, void *arg)
{
	struct forked *f = arg;
	size_t few = few_ptes(f) * f->agree.page;

	backing_renew(&f->target);
	forked_split_mapping(f);
	check_madvise(f->target.addr, f->target.size - few, MADV_DONTNEED, "all but the last pages");
	forked_pin(race, f);
	forked_once(race, NULL);
	race->vehicle.ops->unpin(&race->vehicle);
}

/* What B comes by once for each PTE of the huge page: most of it is between the look and the end. */
static void stretch_loop(struct race *race, struct forked *f)
{
	static const char * const names[] = {
		"copy_present_pte", "copy_present_ptes", "copy_pte_range", "copy_page_range", NULL
	};
	const struct stretch_code loop = {
		.names = names, .least = f->target.size / f->agree.page / 2,
		.pass = fork_table_once, .worst = fork_pinned_once, .most = few_ptes(f) * few_ptes(f) / 4,
	};

	stretch_code(race, &loop, f, STRETCH_BRIEF);
}

static void prepare_fork(struct race *race, void *arg)
{
	struct forked *f = arg;

	if (f->alternates && !race_sampling(race) && f->rounds % NEXT_LOOP == 0)
		stretch_loop(race, f);
	forked_prepare(race, arg);
}

static void race_fork(struct forked *f)
{
	static const struct trial trial = {
		.prepare = prepare_fork, .a = forked_pin, .b = forked_fork,
		.judge = forked_need_folio, .settle = forked_settle,
	};

	if (f->target.kind == SMALL) {
		stretch_end();
	} else {
		f->alternates = true;
		f->agree.addr += f->target.size - (f->agree.pages + 1) * f->agree.page;
	}
	race_trials(f->race, &trial, f);
	stretch_code_end();
}

static void race_cow(struct forked *f)
{
	static const struct trial trial = {
		.prepare = prepare_shared, .a = forked_pin, .b = write_all, .settle = settle_shared,
		.gives_back = true,
	};

	f->agree.when = "pinned while its page was copied";
	race_trials(f->race, &trial, f);
}

/* What is done with the pages of a subtest, and what they are. */
struct way {
	void (*fn)(struct forked *f);
	enum backing_kind kind;
};

static void run(struct race *race)
{
	const struct way *way = (const void *)race->subtest->arg;
	struct forked f;

	forked_begin(&f, race, way->kind, way->kind == SMALL ? SMALL_PAGES : HUGE_PAGES,
		     "pinned while a fork was underway");
	way->fn(&f);
	forked_end(&f);
}

static void remote(struct race *race)
{
	remote_pins_and_forks(race, FORKED_REPEATS);
}

static const struct floor held[] = {
	{ "checks", 2 * FORKED_REPEATS },
	{ }
};

static const struct floor held_thp[] = {
	{ "checks", 2 * FORKED_REPEATS },
	{ "huge", 2 * FORKED_REPEATS },
	{ }
};

static const struct floor spied[] = {
	{ "checks", FORKED_REPEATS },
	{ }
};

static const struct floor spied_thp[] = {
	{ "checks", FORKED_REPEATS },
	{ "huge", FORKED_REPEATS },
	{ }
};

static const struct floor swapped_floors[] = {
	{ "checks", FORKED_REPEATS },
	{ "swapped", FORKED_REPEATS / 2 },
	{ }
};

static const struct floor brought_back[] = {
	{ "checks", FORKED_REPEATS },
	{ "swapped", FORKED_REPEATS / 2 },
	{ "brought_back", FORKED_REPEATS / 2 },
	{ }
};

static const struct floor moved_floors[] = {
	{ "checks", FORKED_REPEATS },
	{ "moved", FORKED_REPEATS / 2 },
	{ }
};

static const struct floor moved_thp[] = {
	{ "checks", FORKED_REPEATS },
	{ "huge", FORKED_REPEATS },
	{ "moved", FORKED_REPEATS / 2 },
	{ "vm.thp_migration_success", FORKED_REPEATS / 2 },
	{ }
};

static const struct floor moved_mthp[] = {
	{ "checks", FORKED_REPEATS },
	{ "huge", FORKED_REPEATS },
	{ "moved", FORKED_REPEATS / 2 },
	{ }
};

static const struct floor kept_floors[] = {
	{ "checks", FORKED_REPEATS },
	{ "kept", FORKED_REPEATS / 2 },
	{ }
};

static const struct floor moving_floors[] = {
	{ "trials", 5 },
	{ "pins", 80 },
	{ "met", 5 },
	{ }
};

static const struct floor moving_thp[] = {
	{ "trials", 5 },
	{ "pins", 40 },
	{ "huge", 5 },
	{ "met", 5 },
	{ "vm.thp_migration_success", 5 },
	{ }
};

static const struct floor raced[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ }
};

static const struct floor raced_thp[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "huge", 40 },
	{ }
};

#define SUBTEST(name, vehicle, fn, floors, kind) \
	{ name, &vehicle, run, floors, (unsigned long)&(const struct way){ fn, kind } }

static const struct subtest subtests[] = {
	SUBTEST("probe.held", vehicle_probe, forked_held, held, SMALL),
	SUBTEST("probe.held_thp", vehicle_probe, forked_held, held_thp, THP),
	SUBTEST("probe.held_mthp", vehicle_probe, forked_held, held_thp, MTHP),
	SUBTEST("probe.held_hugetlb", vehicle_probe, forked_held, held, HUGETLB),
	SUBTEST("probe_ro.held", vehicle_probe_ro, forked_held, held, SMALL),
	SUBTEST("probe_ro.held_thp", vehicle_probe_ro, forked_held, held_thp, THP),
	SUBTEST("probe_ro.held_mthp", vehicle_probe_ro, forked_held, held_thp, MTHP),
	SUBTEST("probe_ro.held_hugetlb", vehicle_probe_ro, forked_held, held, HUGETLB),
	SUBTEST("probe_ro.swapped", vehicle_probe_ro, forked_held_swapped, swapped_floors, SMALL),
	SUBTEST("probe_ro.brought_back", vehicle_probe_ro, forked_held_brought_back, brought_back, SMALL),
	SUBTEST("probe_ro.reclaimed", vehicle_probe_ro, forked_held_reclaimed, swapped_floors,
		SMALL),
	SUBTEST("probe_ro.moved", vehicle_probe_ro, forked_held_moved, moved_floors, SMALL),
	SUBTEST("probe_ro.moved_thp", vehicle_probe_ro, forked_held_moved, moved_thp, THP),
	SUBTEST("probe_ro.moved_mthp", vehicle_probe_ro, forked_held_moved, moved_mthp, MTHP),
	SUBTEST("probe.protected", vehicle_probe, forked_held_protected, spied, SMALL),
	SUBTEST("probe.protected_thp", vehicle_probe, forked_held_protected, spied_thp, THP),
	SUBTEST("probe.protected_mthp", vehicle_probe, forked_held_protected, spied_thp, MTHP),
	SUBTEST("probe.protected_hugetlb", vehicle_probe, forked_held_protected, spied, HUGETLB),
	SUBTEST("probe.kept", vehicle_probe, forked_held_kept, kept_floors, SMALL),
	SUBTEST("probe.arrived", vehicle_probe, forked_held_arrived, moved_floors, SMALL),
	SUBTEST("probe.arrived_thp", vehicle_probe, forked_held_arrived, moved_thp, THP),
	SUBTEST("probe.part_thp", vehicle_probe, forked_held_exclusive, spied_thp, THP),
	SUBTEST("probe.part_mthp", vehicle_probe, forked_held_exclusive, spied_thp, MTHP),
	SUBTEST("probe.half_mthp", vehicle_probe, forked_held_halved, spied_thp, MTHP),
	SUBTEST("probe.half_thp", vehicle_probe, forked_held_halved, spied_thp, THP),
	SUBTEST("probe.shifted_thp", vehicle_probe, forked_held_shifted, spied_thp, THP),
	SUBTEST("probe.first", vehicle_probe, forked_held_first, spied, SMALL),
	SUBTEST("slow.first", vehicle_slow, forked_held_first, spied, SMALL),
	{ "process_vm.first", NULL, remote, spied, 0 },
	SUBTEST("probe_ro.split_thp", vehicle_probe_ro, forked_held_split, spied_thp, THP),
	SUBTEST("probe_ro.parted_thp", vehicle_probe_ro, forked_held_parted, spied_thp, THP),
	SUBTEST("vmsplice.child", vehicle_vmsplice, forked_held_by_child, spied, SMALL),
	SUBTEST("vmsplice.child_thp", vehicle_vmsplice, forked_held_by_child, spied_thp, THP),
	SUBTEST("probe_ro.moving", vehicle_probe_ro, forked_moving, moving_floors, SMALL),
	SUBTEST("probe_ro.moving_thp", vehicle_probe_ro, forked_moving, moving_thp, THP),
	SUBTEST("probe.fork", vehicle_probe, race_fork, raced, SMALL),
	SUBTEST("probe_back.fork", vehicle_probe_back, forked_slow, raced, SMALL),
	SUBTEST("probe.slow_fork", vehicle_probe, forked_slow, raced, SMALL),
	SUBTEST("probe_ro.cow", vehicle_probe_ro, race_cow, raced, SMALL),
	SUBTEST("probe_ro.fork_mthp", vehicle_probe_ro, race_fork, raced_thp, MTHP),
	SUBTEST("probe_ro.fork_thp", vehicle_probe_ro, race_fork, raced_thp, THP),
	{ }
};

static const char * const vmstat[] = {
	"nr_foll_pin_acquired", "thp_fault_alloc", "thp_split_pmd", "thp_migration_success", NULL
};

const struct scenario scenario = {
	.name = "pin_vs_fork",
	.summary = "pins of GUP-fast against fork and copy-on-write (PX)",
	.subtests = subtests,
	.vmstat = vmstat,
};
