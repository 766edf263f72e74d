// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_fork - pins of GUP-fast against fork and the copy-on-write that follows it
 *
 * Property (PX of PROTOCOL.md): a page that is FOLL_PINned stays the one at the parent's address,
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
 * Mode: steered. A pins many pages by one walk and B's fork goes through the same page table, so a
 * trial is not one chance but as many as there are pages that the two pass at the same time. B's
 * window, between its look for pins and the write-protection, is shorter than A's:
 *   probe.fork       A's is not stretched (lib/stretch.c): what it gives back is what it had pinned
 *                    when write_protect_seq changed
 *   probe_back.fork  B's is, at a random instruction of the copy of a PTE, now and then at another,
 *                    and A pins page by page against the direction in which B goes: calls that begin
 *                    after write_protect_seq has changed, and must see that before they walk
 *   probe.slow_fork  both are, A's the more: a walk that began before write_protect_seq changed is
 *                    still under way when B, faster, passes it. Without A's stretch such a walk is
 *                    over before B, who has tables to allocate, comes to the first page
 *   probe_ro.fork_thp the pages are the last of a huge one. Every second time PTEs map it: since v6.9
 *                    B looks for pins once for all of these, and write-protects A's at the end
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
 * needs no race is also done with pages that were swapped out before the fork, moved after it, or are
 * a part of a huge page whose mapping was split after it (probe_ro.split_thp). What was pinned must
 * be known to be exclusive whatever was tried with it: probe.kept forks when a move has met the pins
 * and given up. Beside each held pin others are taken and given back, which must not count. And
 * fork looks for pins only in a process that is marked as one with pins (MMF_HAS_PINNED): the slow
 * path marks it too, and has marked this one when back-offs were calibrated (lib/backoff.c), so
 * probe.first has a new process, whose first pin is one of GUP-fast, and slow.first another.
 *
 * Counters:
 *   checks, trials    families judged where no race is needed; valid trials (lib/trial.c)
 *   judged, pins      families judged; pages pinned
 *   huge              in those with huge pages: forks that began with one
 *   kept              in probe.kept: pages that were where they had been, pinned
 *
 * Fixed by: 57efa1fe5957 ("mm/gup: prevent gup_fast from racing with COW during fork", v5.11),
 * fb3d824d1a46 ("mm/rmap: split page_dup_rmap() into page_dup_file_rmap() and
 * page_try_dup_anon_rmap()", v5.19), a7f226604170 ("mm/gup: trigger FAULT_FLAG_UNSHARE when
 * R/O-pinning a possibly shared anonymous page", v5.19); CVE-2020-29374 (vmsplice by a child).
 * Controls: M16, M19, G03. Kconfig: pin_vs_fork.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "clock.h"
#include "family.h"
#include "ktap.h"
#include "newborn.h"
#include "pagemap.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"
#include "swap.h"

#define MAPPING_TARGET	1
#define HUGE_PAGES	8u		/* of it: all of a huge page go the same way */
#ifndef SMALL_PAGES
#define SMALL_PAGES	16u		/* passed one by one: a longer walk is met by more forks */
#endif
#define REPEATS		6u		/* of what needs no race, each */
#define NEXT_PLACE	32u		/* rounds at one place of fork, then at another */
#define PTES		20u		/* least that a fork copies: more than there are mappings */
#define LOW_ADDR	(1ul << 21)	/* below all that a program has */
#define SLOW_FORK_MS	25u

struct world {
	struct race *race;
	struct backing target;
	struct agree agree;
	struct family family;
	uint8_t *elsewhere;		/* what A pins while the windows are measured */
	bool decoyed;			/* in this trial */
	bool alternates;		/* a PMD maps the huge page, or a table of PTEs */
	int got;			/* A's pins */
	unsigned int rounds;
	uint64_t pins, huge;
};

/* A fork that meets a pinned huge page copies it: that is not the window to sweep. */
static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->decoyed = race_sampling(race);
	w->got = race->vehicle.ops->pin(&race->vehicle, w->decoyed ? w->elsewhere : w->agree.addr,
					w->agree.pages, 1);
}

static void check_pins(struct world *w)
{
	if (w->got != (int)w->agree.pages)
		broken("%s took %d pins of %u mapped pages", w->race->vehicle.name, w->got,
		       w->agree.pages);
	w->pins += w->got;
}

/* Of the huge page's last page, which is none of those that are stamped, only the mapping goes. */
static void split_mapping(struct world *w)
{
	check_madvise(w->target.addr + w->target.size - w->agree.page, w->agree.page, MADV_DONTNEED,
		      "the last page");
}

static void prepare_fork(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	/* A huge page that was pinned at a fork is split, one that was shared copied in parts. */
	w->huge += backing_renew(&w->target);
	if (w->alternates && w->rounds++ % 2)
		split_mapping(w);
	agree_stamp(&w->agree);
	family_prepare(&w->family);
}

static void do_fork(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	family_fork(&w->family);
}

/* By B, which shares its CPU with the child and sleeps while that answers. */
static void settle_fork(struct race *race, void *arg)
{
	struct world *w = arg;

	family_meet(&w->family);
	if (!race->naive) {
		check_pins(w);
		if (!w->decoyed)
			family_judge(&w->family);
		race->vehicle.ops->unpin(&race->vehicle);
	}
	family_dismiss(&w->family);
}

/* The pages are shared when the windows begin: A unshares them, B copies them by its writes. */
static void prepare_shared(struct race *race, void *arg)
{
	struct world *w = arg;

	prepare_fork(race, arg);
	family_fork(&w->family);
	family_meet(&w->family);
}

static void write_all(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	agree_stamp(&w->agree);
}

static void settle_shared(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race->naive) {
		check_pins(w);
		if (!w->decoyed) {
			agree_content(&w->agree, AGREE_ALWAYS);
			family_judge(&w->family);
		}
		race->vehicle.ops->unpin(&race->vehicle);
	}
	family_dismiss(&w->family);
}

static void with_target(struct race *race, void (*fn)(struct world *w))
{
	enum backing_kind kind = race->subtest->arg;
	struct world w = {
		.race = race,
		.agree = agree_about(race, kind == SMALL ? SMALL_PAGES : HUGE_PAGES, MAPPING_TARGET,
				     "pinned while a fork was underway"),
	};

	w.elsewhere = check_mmap(NULL, w.agree.pages * w.agree.page, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "elsewhere");
	backing_map(&w.target, race, kind, w.agree.pages, "guprace target");
	w.agree.addr = w.target.addr;
	family_init(&w.family, &w.agree, w.target.size);
	fn(&w);
	family_exit(&w.family);
	backing_unmap(&w.target);
	check_munmap(w.elsewhere, w.agree.pages * w.agree.page, "elsewhere");
	race_count(race, "judged", w.family.judged);
	race_count(race, "pins", w.pins);
	if (kind == THP)
		race_count(race, "huge", w.huge);
}

static void fork_once(struct race *race, void *arg)
{
	pid_t child = fork();

	(void)race;
	(void)arg;
	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		broken("fork, to see where it goes: %s", strerror(errno));
}

/* B is to pass a walker whose every grab is stretched: its own stretch is a brief one then. */
static void stretch_copy(struct race *race)
{
	bool passes = race->vehicle.ops != &vehicle_probe_back;
	/* The innermost first: any of them may be part of the next. */
	static const char * const names[] = {
		"copy_present_pte", "copy_present_ptes", "copy_pte_range", "copy_page_range", NULL
	};
	static const struct stretch_code copy = {
		.names = names, .least = PTES, .pass = fork_once,
	};

	stretch_code(race, &copy, NULL, passes ? STRETCH_BRIEF : STRETCH_SHORT);
}

static void prepare_slow_fork(struct race *race, void *arg)
{
	struct world *w = arg;

	/* Each place makes a window of its own length: it is measured without. */
	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch_copy(race);
	prepare_fork(race, arg);
}

/* With a checker in the kernel a stretched fork may take longer than there is time to race. */
static void skip_too_slow(struct race *race)
{
	uint64_t ms;

	stretch_copy(race);
	ms = now_ns();
	fork_once(race, NULL);
	ms = (now_ns() - ms) / NSEC_PER_MSEC;
	stretch_code_end();
	if (ms > SLOW_FORK_MS)
		race_skip(race, "a fork that is stretched takes %" PRIu64 " ms here, more than %u", ms,
			  SLOW_FORK_MS);
}

/* fork copies from the lowest address on: the target comes first, before all that is stretched. */
static void move_down(struct world *w)
{
	void *low = mmap((void *)LOW_ADDR, w->target.size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (low != (void *)LOW_ADDR) {
		ktap_diag("the target stays where it is: mmap(%#lx): %s", LOW_ADDR, strerror(errno));
		return;
	}
	check_munmap(w->target.addr, w->target.size, "the target");
	w->target.addr = low;
	w->agree.addr = low;
	madvise(low, w->target.size, MADV_NOHUGEPAGE);	/* fails where there are no huge pages */
	name_mapping(low, w->target.size, w->target.name);
}

static void race_slow_fork_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_slow_fork, .a = take_pins, .b = do_fork, .settle = settle_fork,
	};

	skip_too_slow(w->race);
	move_down(w);
	if (w->race->vehicle.ops == &vehicle_probe_back)
		stretch_end();
	race_trials(w->race, &trial, w);
	stretch_code_end();
}

static void race_slow_fork(struct race *race)
{
	with_target(race, race_slow_fork_world);
}

static void race_fork_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_fork, .a = take_pins, .b = do_fork, .settle = settle_fork,
	};

	if (w->target.kind == SMALL) {
		stretch_end();
	} else {
		w->alternates = true;
		w->agree.addr += w->target.size - (w->agree.pages + 1) * w->agree.page;
	}
	race_trials(w->race, &trial, w);
}

static void race_fork(struct race *race)
{
	with_target(race, race_fork_world);
}

static void race_cow_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_shared, .a = take_pins, .b = write_all, .settle = settle_shared,
	};

	w->agree.when = "pinned while its page was copied";
	race_trials(w->race, &trial, w);
}

static void race_cow(struct race *race)
{
	with_target(race, race_cow_world);
}

/* By somebody else, who gives back as many as he took. */
static void pin_in_passing(struct world *w)
{
	struct vehicle other;
	char why[128];
	int got;

	if (vehicle_open(&other, w->race->vehicle.ops, why, sizeof(why)))
		broken("%s a second time: %s", w->race->vehicle.name, why);
	got = other.ops->pin(&other, w->agree.addr, w->agree.pages, 1);
	if (got != (int)w->agree.pages)
		broken("%s took %d pins in passing of %u", other.name, got, w->agree.pages);
	other.ops->unpin(&other);
	w->race->vehicle.unpinned += other.unpinned;	/* or they counted as back-offs */
	other.ops->close(&other);
}

/* Pinned before the fork, or after it. */
static void hold_once(struct world *w, bool before, const char *when)
{
	w->agree.when = when;
	prepare_fork(w->race, w);
	if (before) {
		take_pins(w->race, w);
		pin_in_passing(w);
	}
	do_fork(w->race, w);
	if (!before)
		take_pins(w->race, w);
	settle_fork(w->race, w);
}

static void hold_world(struct world *w)
{
	for (unsigned int i = 0; i < REPEATS; i++) {
		hold_once(w, true, "pinned before the fork");
		hold_once(w, false, "pinned after the fork");
	}
	race_count(w->race, "checks", w->family.judged);
}

/* No race. */
static void hold(struct race *race)
{
	with_target(race, hold_world);
}

/* Forked as one huge page, which a table of PTEs maps when it is pinned. */
static void split_thp_world(struct world *w)
{
	w->agree.when = "forked, its huge mapping split, then pinned";
	for (unsigned int i = 0; i < REPEATS; i++) {
		prepare_fork(w->race, w);
		do_fork(w->race, w);
		split_mapping(w);
		take_pins(w->race, w);
		settle_fork(w->race, w);
	}
	race_count(w->race, "checks", w->family.judged);
}

static void split_thp(struct race *race)
{
	with_target(race, split_thp_world);
}

/* Forked with swap entries in the place of pages: the pin faults in what the child shares. */
static void swapped_world(struct world *w)
{
	char why[192];

	if (!swap_begin(why, sizeof(why)))
		race_skip(w->race, "%s", why);
	w->agree.when = "swapped out, forked, then pinned";
	for (unsigned int i = 0; i < REPEATS; i++) {
		uint64_t entry;

		prepare_fork(w->race, w);
		check_madvise(w->target.addr, w->target.size, MADV_PAGEOUT, "the target");
		pagemap_read(w->agree.addr, &entry, 1);
		race_add(w->race, "swapped", !!(entry & PAGEMAP_SWAPPED));
		do_fork(w->race, w);
		take_pins(w->race, w);
		settle_fork(w->race, w);
	}
	swap_end();
	race_count(w->race, "checks", w->family.judged);
}

static void swapped(struct race *race)
{
	with_target(race, swapped_world);
}

/* To another node, whoever shares the pages. */
static bool move_target(struct world *w, int node)
{
	void *page[SMALL_PAGES];
	int nodes[SMALL_PAGES], status[SMALL_PAGES];

	for (unsigned int i = 0; i < w->agree.pages; i++) {
		page[i] = w->agree.addr + i * w->agree.page;
		nodes[i] = node;
	}
	return syscall(SYS_move_pages, 0, (unsigned long)w->agree.pages, page, nodes, status,
		       MPOL_MF_MOVE_ALL) >= 0;
}

static void need_two_nodes(struct world *w)
{
	agree_stamp(&w->agree);
	if (!pagemap_tells() || !move_target(w, 0) || !move_target(w, 1))
		race_skip(w->race, "needs two NUMA nodes, and root: move_pages: %s",
			  strerror(errno));
}

/* Moved after the fork: the new page is shared as the old one was. */
static void moved_world(struct world *w)
{
	need_two_nodes(w);
	w->agree.when = "forked, moved to another node, then pinned";
	for (unsigned int i = 0; i < REPEATS; i++) {
		uint64_t before, after;

		prepare_fork(w->race, w);
		do_fork(w->race, w);
		pagemap_read(w->agree.addr, &before, 1);
		move_target(w, i % 2);
		pagemap_read(w->agree.addr, &after, 1);
		race_add(w->race, "moved", !!((before ^ after) & PAGEMAP_PFN));
		take_pins(w->race, w);
		settle_fork(w->race, w);
	}
	race_count(w->race, "checks", w->family.judged);
}

static void moved(struct race *race)
{
	with_target(race, moved_world);
}

/* Pinned, then not moved, though that was tried, to the one node and to the other; and forked. */
static void kept_world(struct world *w)
{
	need_two_nodes(w);
	w->agree.when = "pinned, not moved for that, then forked";
	for (unsigned int i = 0; i < REPEATS; i++) {
		uint64_t before, after;
		bool tried;

		prepare_fork(w->race, w);
		take_pins(w->race, w);
		pagemap_read(w->agree.addr, &before, 1);
		tried = move_target(w, 0) && move_target(w, 1);
		pagemap_read(w->agree.addr, &after, 1);
		race_add(w->race, "kept", tried && !((before ^ after) & PAGEMAP_PFN));
		do_fork(w->race, w);
		settle_fork(w->race, w);
	}
	race_count(w->race, "checks", w->family.judged);
}

static void kept(struct race *race)
{
	with_target(race, kept_world);
}

static void first_world(struct world *w)
{
	for (unsigned int i = 0; i < REPEATS; i++) {
		w->pins += newborn_pins_and_forks(&w->agree);
		w->family.judged++;
	}
	race_count(w->race, "checks", w->family.judged);
}

static void first(struct race *race)
{
	with_target(race, first_world);
}

/* A child that pins what it shares, and unmaps it, may not see what its parent writes later. */
static void spy_world(struct world *w)
{
	w->agree.when = "written since";
	for (unsigned int i = 0; i < REPEATS; i++) {
		prepare_fork(w->race, w);
		do_fork(w->race, w);
		family_meet(&w->family);
		family_pin_and_unmap(&w->family);
		agree_stamp(&w->agree);
		family_judge_childs_pins(&w->family);
		family_dismiss(&w->family);
	}
	race_count(w->race, "checks", w->family.judged);
}

static void spy(struct race *race)
{
	with_target(race, spy_world);
}

static const struct floor held[] = {
	{ "checks", 2 * REPEATS },
	{ }
};

static const struct floor held_thp[] = {
	{ "checks", 2 * REPEATS },
	{ "huge", 2 * REPEATS },
	{ }
};

static const struct floor spied[] = {
	{ "checks", REPEATS },
	{ }
};

static const struct floor spied_thp[] = {
	{ "checks", REPEATS },
	{ "huge", REPEATS },
	{ }
};

static const struct floor swapped_floors[] = {
	{ "checks", REPEATS },
	{ "swapped", REPEATS / 2 },
	{ }
};

static const struct floor moved_floors[] = {
	{ "checks", REPEATS },
	{ "moved", REPEATS / 2 },
	{ }
};

static const struct floor kept_floors[] = {
	{ "checks", REPEATS },
	{ "kept", REPEATS / 2 },
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

static const struct subtest subtests[] = {
	{ "probe.held", &vehicle_probe, hold, held, SMALL },
	{ "probe.held_thp", &vehicle_probe, hold, held_thp, THP },
	{ "probe.held_hugetlb", &vehicle_probe, hold, held, HUGETLB },
	{ "probe_ro.held", &vehicle_probe_ro, hold, held, SMALL },
	{ "probe_ro.held_thp", &vehicle_probe_ro, hold, held_thp, THP },
	{ "probe_ro.held_hugetlb", &vehicle_probe_ro, hold, held, HUGETLB },
	{ "probe_ro.swapped", &vehicle_probe_ro, swapped, swapped_floors, SMALL },
	{ "probe_ro.moved", &vehicle_probe_ro, moved, moved_floors, SMALL },
	{ "probe.kept", &vehicle_probe, kept, kept_floors, SMALL },
	{ "probe.first", &vehicle_probe, first, spied, SMALL },
	{ "slow.first", &vehicle_slow, first, spied, SMALL },
	{ "probe_ro.split_thp", &vehicle_probe_ro, split_thp, spied_thp, THP },
	{ "vmsplice.child", &vehicle_vmsplice, spy, spied, SMALL },
	{ "vmsplice.child_thp", &vehicle_vmsplice, spy, spied_thp, THP },
	{ "probe.fork", &vehicle_probe, race_fork, raced, SMALL },
	{ "probe_back.fork", &vehicle_probe_back, race_slow_fork, raced, SMALL },
	{ "probe.slow_fork", &vehicle_probe, race_slow_fork, raced, SMALL },
	{ "probe_ro.cow", &vehicle_probe_ro, race_cow, raced, SMALL },
	{ "probe_ro.fork_thp", &vehicle_probe_ro, race_fork, raced_thp, THP },
	{ }
};

static const char * const vmstat[] = {
	"nr_foll_pin_acquired", "thp_fault_alloc", "thp_split_pmd", NULL
};

const struct scenario scenario = {
	.name = "pin_vs_fork",
	.summary = "pins of GUP-fast against fork and copy-on-write (PX)",
	.subtests = subtests,
	.vmstat = vmstat,
};
