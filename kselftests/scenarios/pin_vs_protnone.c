// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_protnone - pins of GUP-fast against PROT_NONE, NUMA hinting and moves between nodes
 *
 * Property (NF, P2): a PTE made PROT_NONE is present to the kernel and to nobody
 * else. GUP-fast leaves it to the slow path, which asks the VMA: a range that is PROT_NONE is
 * refused, and granted to FOLL_FORCE; a hinting PTE in an accessible range is granted, after the
 * fault that may move the page to another node. A kernel that takes what such a PTE points to:
 *
 *   B: mprotect(PROT_NONE) of the target returns
 *   A: pin the target: reads a PTE that is there, for nobody; takes the reference; reads it again
 *   A: the PTE has not changed, the pin is granted
 *   B: mprotect(PROT_READ | PROT_WRITE) of the target
 *
 * and a kernel whose fault moves a page that somebody has a reference on:
 *
 *   B: the scan makes the PTE of the target a hinting one
 *   B: touches the target from the other node: the fault starts to move the page
 *   A: pin the target: takes a reference on the page being moved
 *   B: the move goes on: address and pin are two pages
 *
 * Mode: steered. mprotect: B's window is PROT_NONE, a dwell of four quiet pin calls so that some of
 * A's fall into it whole, and back. numa_hint: the task scan, made as fast as the kernel lets it,
 * runs when it will; the trials go round a region whose pages it has made hinting ones since their
 * last turn, and B's window writes to them. One in which nobody took a fault is none, and how long
 * the windows are is measured in the others. mbind: B's window moves the pages to the other node. What a
 * fork has shared, and hinting gives back, needs no race (numa_hint_shared, lib/hinted.h).
 *
 * Oracles:
 *   granted   a pin though the range was PROT_NONE throughout the call
 *   admitted  a pin for writing, by the walk alone, of what a child shares
 *   refused   no pin though the range was accessible throughout, or FOLL_FORCE was said
 *   address against pin, both ways, after both windows (lib/agree.h); also for FOLL_GET, since all
 *   pages were written by this process, which shares them with nobody: nothing is ever copied
 *
 * Counters: those of race_trials(), and
 *   pins         pages pinned, each read and judged
 *   none         calls for which the range was PROT_NONE throughout
 *   access       calls for which it was accessible throughout
 *   huge         calls that pinned a part of a huge page, or of a folio of 64 KiB, as far as its page
 *                frames tell
 *   unfolded     contiguous blocks of PTEs that were taken apart (lib/contpte.h)
 *   quiet_ticks  median of a pin call that nothing disturbs, in an open or a closed range
 *   vm.*         PTEs made hinting ones, hinting faults, pages moved by them; all pages moved
 *
 * Controls: M23, G24, G25, G85; M12 and M13 stay silent. Hinting entries in GUP-fast: commit
 * 2b4847e73004 ("mm: numa: serialise parallel get_user_page against THP migration", v3.13).
 * Kconfig: pin_vs_protnone.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "clock.h"
#include "contpte.h"
#include "hinted.h"
#include "huge.h"
#include "pagemap.h"
#include "quiet.h"
#include "scenario.h"
#include "setting.h"

#ifndef MPOL_F_NUMA_BALANCING
#define MPOL_F_NUMA_BALANCING	(1 << 13)	/* since v5.12 */
#endif

#define PINNED		4u		/* pages, by one walk */
#define BOTH_NODES	3ul
#define SLOTS		256u		/* of so many pages each, in the region that is hinted */
#define TABLE_SIZE	(2ul << 20)
#define HUGE_SLOTS	32u
#define DWELL		4u		/* quiet pin calls, that some of A's fall into it whole */
#define ARG_HUGE	1ul		/* the target is a huge page */
#define ARG_MTHP	2ul		/* the second half of a folio of 64 KiB */

/* What B's window has done to the protection; A looks before and after its pin. */
enum phase { PHASE_BEFORE, PHASE_CLOSING, PHASE_NONE, PHASE_OPENING, PHASE_AFTER };

struct world {
	struct race *race;
	uint8_t *map;
	size_t size;
	size_t stride;			/* from one slot to the next */
	size_t closed;			/* of a slot, its end, what mprotect is about */
	unsigned int slots, slot;
	unsigned int passes;		/* over all slots */
	unsigned int node;
	uint64_t quiet;			/* ticks of a pin call that nothing disturbs */
	bool hinted;
	uint64_t faults;		/* of all threads, before this trial; none but those of the region */
	struct agree agree;		/* over the pages pinned, of this trial's slot */

	_Alignas(64) uint32_t phase;	/* enum phase */
	_Alignas(64) uint32_t before, after;	/* phases that A saw */
	int got;
	uint64_t pins, none, access, huge;
};

static uint8_t *slot(const struct world *w)
{
	return w->map + w->slot * w->stride;
}

/* The end of the slot: a block of PTEs is made one again by its last one, and else stays apart. */
static uint8_t *target(const struct world *w)
{
	return slot(w) + w->stride - w->closed;
}

static void protect(struct world *w, size_t from, size_t to, int prot)
{
	if (mprotect(target(w) + from, to - from, prot))
		broken("mprotect(%zu bytes, %#x) of the target: %s", to - from, prot, strerror(errno));
}

static void close_target(struct world *w)
{
	protect(w, 0, w->closed, PROT_NONE);
}

/* The last PTE by itself: 7.2 changes PTEs together, and makes no block of those and the ones around. */
static void open_target(struct world *w)
{
	size_t last = w->race->subtest->arg == ARG_MTHP ? w->closed - w->agree.page : w->closed;

	protect(w, 0, last, PROT_READ | PROT_WRITE);
	if (last < w->closed)
		protect(w, last, w->closed, PROT_READ | PROT_WRITE);
}

static void judge_admission(struct world *w)
{
	struct race *race = w->race;
	bool force = race->vehicle.ops->is & VEHICLE_FORCE;
	bool none = w->before == PHASE_NONE && w->after == PHASE_NONE;
	bool access = w->after == PHASE_BEFORE || w->before == PHASE_AFTER;

	w->none += none;
	w->access += access;
	if (w->got < 0 && w->got != -EFAULT)
		broken("%s pin of the target: %s", race->vehicle.name, strerror(-w->got));
	if (none && !force && w->got > 0)
		race_hit(race, "granted",
			 "expected none, the range was PROT_NONE throughout the call, observed %d pins",
			 w->got);
	if ((access || force) && w->got != (int)w->agree.pages)
		race_hit(race, "refused", "expected %u pins, %s, observed %d", w->agree.pages,
			 access ? "the range was accessible throughout the call" : "by FOLL_FORCE",
			 w->got);
}

/* By the page frames of the first pins: smaps, which knows, would take longer than the trial. */
static bool looks_huge(struct world *w)
{
	uint64_t entries[PINNED], first;

	pagemap_read(w->agree.addr, entries, w->agree.pages);
	first = entries[0] & PAGEMAP_PFN;
	for (unsigned int i = 0; i < w->agree.pages; i++) {
		if ((entries[i] & PAGEMAP_PFN) != first + i)
			return false;
	}
	return first % (w->stride / w->agree.page) == (w->stride - w->closed) / w->agree.page;
}

static uint64_t faults_so_far(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		broken("getrusage: %s", strerror(errno));
	return usage.ru_minflt + usage.ru_majflt;
}

static void judge_pins(struct race *race, struct world *w)
{
	w->pins += w->got;
	if (race->subtest->arg)
		w->huge += looks_huge(w);
	agree_both_ways(&w->agree);
	race->vehicle.ops->unpin(&race->vehicle);
}

/* Where nobody took a fault all must be right as well. */
static void judge(struct race *race, void *world)
{
	struct world *w = world;

	if (w->hinted && faults_so_far() == w->faults)
		race_empty(race);
	judge_admission(w);
	if (w->got > 0)
		judge_pins(race, w);
	if (w->hinted)
		w->faults = faults_so_far();
}

static void pin(struct race *race, void *world)
{
	struct world *w = world;
	struct vehicle *v = &race->vehicle;

	w->before = __atomic_load_n(&w->phase, __ATOMIC_SEQ_CST);
	w->got = v->ops->pin(v, w->agree.addr, w->agree.pages, 1);
	w->after = __atomic_load_n(&w->phase, __ATOMIC_SEQ_CST);
}

static void enter(struct world *w, enum phase phase)
{
	__atomic_store_n(&w->phase, phase, __ATOMIC_SEQ_CST);
}

static void close_and_open(struct race *race, void *world)
{
	struct world *w = world;
	uint64_t begin;

	(void)race;
	enter(w, PHASE_CLOSING);
	close_target(w);
	enter(w, PHASE_NONE);
	for (begin = now_ticks(); now_ticks() - begin < DWELL * w->quiet; )
		cpu_relax();
	enter(w, PHASE_OPENING);
	open_target(w);
	enter(w, PHASE_AFTER);
}

/* From the last page to the first, so that B meets A, and each of them takes some of the faults. */
static void touch(struct race *race, void *world)
{
	struct world *w = world;

	(void)race;
	for (unsigned int i = w->agree.pages; i--; )
		*(volatile uint8_t *)(w->agree.addr + (i + 1) * w->agree.page - 1) = i;
	agree_stamp(&w->agree);
}

static bool let_balance(const struct world *w, unsigned long nodes, unsigned int flags)
{
	return !syscall(SYS_mbind, w->map, w->size, MPOL_BIND | MPOL_F_NUMA_BALANCING, &nodes,
			8 * sizeof(nodes), flags);
}

/*
 * The scan passes over what is bound without leave to balance it: of this process, all but the region.
 * Or many of the faults would be of stacks.
 */
static void hint_only_the_region(struct world *w)
{
	if (!let_balance(w, 1, 0) || !let_balance(w, 2, 0) || !let_balance(w, BOTH_NODES, 0) ||
	    syscall(SYS_set_mempolicy, MPOL_BIND, (unsigned long[]){ BOTH_NODES },
		    8 * sizeof(unsigned long)))
		race_skip(w->race, "no two NUMA nodes to balance memory between: %s", strerror(errno));
}

static void hint_as_ever(void)
{
	if (syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0))
		broken("set_mempolicy(MPOL_DEFAULT): %s", strerror(errno));
}

/*
 * By B: its faults bring the pages to its own node, where they would stay: those of A's pins are fewer, and
 * FOLL_GET has none since v6.6, but takes what is hinted as it is.
 */
static void take_away(struct world *w)
{
	unsigned int node;

	if (syscall(SYS_getcpu, NULL, &node, NULL))
		broken("getcpu: %s", strerror(errno));
	if (!let_balance(w, BOTH_NODES & ~(1ul << node), MPOL_MF_MOVE) || !let_balance(w, BOTH_NODES, 0))
		broken("mbind of the region to the node that is not %u: %s", node, strerror(errno));
}

/* What takes long to move is moved less often. */
static unsigned int away_each(const struct race *race)
{
	switch (race->subtest->arg) {
	case ARG_HUGE:
		return 64;
	case ARG_MTHP:
		return 8;
	default:
		return 1;
	}
}

/* The pages of a slot that the scan is to find are not touched between the trials. */
static void next_target(struct race *race, void *world)
{
	struct world *w = world;

	w->slot = (w->slot + 1) % w->slots;
	if (w->hinted && !w->slot && w->passes++ % away_each(race) == 0)
		take_away(w);
	w->agree.addr = target(w);
	w->agree.mapping = w->slot;
	w->phase = PHASE_BEFORE;
	if (w->slots == 1)
		agree_stamp(&w->agree);
}

static int bind_to(const struct world *w, unsigned int node)
{
	unsigned long nodes = 1ul << node;

	return syscall(SYS_mbind, slot(w), w->stride, MPOL_BIND, &nodes, 8 * sizeof(nodes),
		       MPOL_MF_MOVE);
}

static void move_to_other_node(struct race *race, void *world)
{
	struct world *w = world;

	(void)race;
	w->node = !w->node;
	if (bind_to(w, w->node))
		broken("mbind of the target to node %u: %s", w->node, strerror(errno));
}

/* A call that finds the range closed takes the slow path as well: the longer one counts. */
static void measure_quiet(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;
	uint64_t closed;

	w->quiet = quiet_ticks(v, target(w), w->agree.pages, 1, true);
	close_target(w);
	closed = quiet_ticks(v, target(w), w->agree.pages, 1, false);
	open_target(w);
	if (closed > w->quiet)
		w->quiet = closed;
}

static void make_region(struct world *w)
{
	unsigned long arg = w->race->subtest->arg;
	bool huge = arg != 0;

	w->stride = arg == ARG_HUGE ? huge_size(w->race) :
		    (arg == ARG_MTHP ? MTHP_PAGES : PINNED + 1) * w->agree.page;
	w->closed = arg == ARG_MTHP ? w->stride / 2 : w->stride;
	w->size = w->slots * w->stride;
	w->map = huge_private(w->size, TABLE_SIZE, "the region", "guprace protnone");
	check_madvise(w->map, w->size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE, "the region");
	memset(w->map, 0, w->size);
}

/*
 * A move that meets a reference tries again, several times, one that meets none is over soon. The
 * page behind the target is referred to all the time: windows must be alike to be swept.
 */
static void move_steadily(struct world *w, struct vehicle *sitter)
{
	char why[128];

	if (bind_to(w, 1) || bind_to(w, 0))
		race_skip(w->race, "no two NUMA nodes to move pages between: %s", strerror(errno));
	if (vehicle_open(sitter, &vehicle_vmsplice, why, sizeof(why)))
		race_skip(w->race, "%s", why);
	if (sitter->ops->pin(sitter, w->map + PINNED * w->agree.page, 1, 1) != 1)
		broken("vmsplice of the page behind the target");
}

static void race_target(struct race *race, struct trial trial, unsigned int slots)
{
	struct world w = {
		.race = race,
		.slots = slots,
		.agree = agree_about(race, PINNED, 0,
				     "pinned while its range was closed, hinted or moved"),
	};

	struct vehicle sitter = { };

	if (race->subtest->arg == ARG_MTHP)
		backing_mthp(race, "madvise");
	make_region(&w);
	measure_quiet(&w);
	if (trial.b == move_to_other_node)
		move_steadily(&w, &sitter);
	w.hinted = trial.b == touch;
	if (w.hinted)
		hint_only_the_region(&w);
	trial.prepare = next_target;
	trial.a = pin;
	trial.judge = judge;
	if (race->subtest->arg == ARG_MTHP)
		contpte_begin(race, w.hinted ? 5 : 20);	/* the scan comes when it likes */
	race_trials(race, &trial, &w);
	if (race->subtest->arg == ARG_MTHP)
		contpte_end(race);
	if (w.hinted)
		hint_as_ever();
	if (sitter.ops)
		sitter.ops->close(&sitter);
	huge_release(w.map, w.size, "the region");
	if (race->subtest->arg == ARG_MTHP)
		huge_restore();
	race_count(race, "pins", w.pins);
	race_count(race, "none", w.none);
	race_count(race, "access", w.access);
	race_count(race, "huge", w.huge);
	race_count(race, "quiet_ticks", w.quiet);
}

static void race_mprotect(struct race *race)
{
	race_target(race, (struct trial){ .b = close_and_open }, 1);
}

static void race_mbind(struct race *race)
{
	race_target(race, (struct trial){ .b = move_to_other_node }, 1);
}

/* Task scanning, under this directory since v5.13. */
#define NUMA	"/sys/kernel/debug/sched/numa_balancing/"

static void scan_fast(struct race *race)
{
	static const struct {
		const char *path, *value;
	} fast[] = {
		{ NUMA "scan_delay_ms", "1" },
		{ NUMA "scan_period_min_ms", "1" },
		{ NUMA "scan_period_max_ms", "1" },
		{ NUMA "scan_size_mb", "128" },
		{ "/proc/sys/kernel/numa_balancing", "1" },
	};

	for (unsigned int i = 0; i < sizeof(fast) / sizeof(fast[0]); i++) {
		if (!setting_change(fast[i].path, fast[i].value))
			race_skip(race, "%s cannot be set", fast[i].path);
	}
}

static void race_hint(struct race *race)
{
	scan_fast(race);
	race_target(race, (struct trial){ .b = touch },
		    race->subtest->arg == ARG_HUGE ? HUGE_SLOTS : SLOTS);
	setting_restore();
}

static void look_at_shared(struct race *race)
{
	scan_fast(race);
	hinted_shared(race);
	setting_restore();
}

static const char * const vmstat[] = {
	"numa_pte_updates", "numa_hint_faults", "numa_pages_migrated", "pgmigrate_success", NULL
};

static const struct floor mprotect_floors[] = {
	{ "none", 10 }, { "access", 10 }, { }
};

static const struct floor huge_floors[] = {
	{ "none", 10 }, { "access", 10 }, { "huge", 50 }, { }
};

static const struct floor hint_floors[] = {
	{ "trials", 40 }, { "pins", 100 }, { "vm.numa_pte_updates", 100 },
	{ "vm.numa_hint_faults", 100 }, { "vm.numa_pages_migrated", 20 }, { }
};

static const struct floor hint_huge_floors[] = {
	{ "trials", 20 }, { "huge", 50 }, { "vm.numa_pte_updates", 100 },
	{ "vm.numa_hint_faults", 50 }, { "vm.numa_pages_migrated", 10 * 512 }, { }
};

static const struct floor hint_mthp_floors[] = {
	{ "trials", 20 }, { "huge", 50 }, { "vm.numa_pte_updates", 100 },
	{ "vm.numa_hint_faults", 50 }, { "vm.numa_pages_migrated", 20 * MTHP_PAGES }, { }
};

static const struct floor shared_floors[] = {
	{ "checks", 100 }, { "vm.numa_pte_updates", 100 }, { "vm.numa_hint_faults", 20 }, { }
};

static const struct floor mbind_floors[] = {
	{ "pins", 100 }, { "vm.pgmigrate_success", 50 }, { }
};

static const struct subtest subtests[] = {
	{ "probe.mprotect", &vehicle_probe, race_mprotect, mprotect_floors, 0 },
	{ "probe_force.mprotect", &vehicle_probe_force, race_mprotect, mprotect_floors, 0 },
	{ "probe_ro.mprotect", &vehicle_probe_ro, race_mprotect, mprotect_floors, 0 },
	{ "probe_ro.mprotect_huge", &vehicle_probe_ro, race_mprotect, huge_floors, ARG_HUGE },
	{ "probe.mprotect_mthp", &vehicle_probe, race_mprotect, huge_floors, ARG_MTHP },
	{ "probe.numa_hint", &vehicle_probe, race_hint, hint_floors, 0 },
	{ "probe_get.numa_hint", &vehicle_probe_get, race_hint, hint_floors, 0 },
	{ "probe.numa_hint_huge", &vehicle_probe, race_hint, hint_huge_floors, ARG_HUGE },
	{ "probe.numa_hint_mthp", &vehicle_probe, race_hint, hint_mthp_floors, ARG_MTHP },
	{ "fast.numa_hint_shared", &vehicle_fast, look_at_shared, shared_floors, 0 },
	{ "probe_get.mbind", &vehicle_probe_get, race_mbind, mbind_floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_protnone",
	.summary = "pins of GUP-fast against PROT_NONE, NUMA hinting and moves between nodes (NF, P2)",
	.subtests = subtests,
	.vmstat = vmstat,
};
