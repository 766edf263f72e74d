// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_munmap - pins of GUP-fast against unmapping, refill elsewhere and a new mapping
 *
 * Property (P3, P4): a pin gives the page that was mapped at the address at some
 * instant of the call. munmap clears the PTE before it drops the page; GUP-fast reads the PTE,
 * takes the reference unless that is zero, and reads PMD and PTE again. Without the second read:
 *
 *   A: pin the target: reads the PTE of generation g, and is about to take the reference
 *   B: munmap of the target: the PTE is cleared, the TLB flushed, the page freed
 *   B: touches a page of the refill mapping: is given the page just freed, stamps it
 *   A: takes the reference: it is no longer zero, so that succeeds
 *   A: returns, holding a page of the refill mapping
 *   B: maps the target again, with another page and the stamp of generation g + 1
 *   A: reads a foreign stamp through the pin
 *
 * The page can leave the address in other ways, and another can be there before A looks again:
 *   munmap       nothing is there until the next generation is mapped
 *   dontneed     madvise(MADV_DONTNEED): the next touch brings another page
 *   mmap_over    mmap(MAP_FIXED) over the target: the same, with locks held for writing
 *   mremap_in    mremap(MREMAP_FIXED) of a mapping that is stamped already
 *   mremap_away  mremap elsewhere: the page keeps its references; only then munmap there
 * And the target can be one folio of 64 KiB, which PTEs map, on arm64 as one contiguous block, and
 * the refill is of such folios (munmap_mthp, dontneed_mthp): the page that is pinned is one of many
 * that a reference is taken of together.
 *
 * On arm64 (broadcast TLBI) nothing in munmap waits for A. On x86 without paravirtual flush or
 * INVLPGB the flush is an IPI, held back until A's walk with interrupts off is over: silent there.
 *
 * Mode: free-running, B follows A. A pins as fast as it can, several walks over the target in one
 * system call, whenever the target is mapped. B waits until A has begun the pin of this generation,
 * then for a random part of the time that a quiet pin call takes, and changes the mapping. Neither
 * waits for the other's end. A's window is stretched by kprobes (lib/stretch.c). On M01, munmap
 * gave 7 to 35 hits a second this way, 3 to 17 by race_trials() (6.1 arm64/plain, loaded host).
 * Where the next touch brings another page, A pins by the fast walk alone. A page that A brought
 * would stay in a list of A's CPU (folio_add_lru()) with a reference, and not be freed in time.
 *
 * Oracles: linearizability (lib/linear.h): foreign_stamp, wrong_generation, bad_stamp, refused.
 * FOLL_PINs have an account, from which one that a back-off forgets is missed (lib/main.c). FOLL_GETs
 * have none: there, orphans (lib/memory.h), anonymous pages that nobody maps when all is over.
 *
 * Counters:
 *   trials       valid trials: pin calls that an unmap of the target overlapped, that is, at whose
 *                end more unmaps had begun than had been completed at its start; less `preempted`
 *   preempted    such calls that took more than 20 times the median of the first 64 of them
 *   calls        pin system calls
 *   pins         pages pinned, each read and judged
 *   refusals     calls that took no pin
 *   unmaps       operations on the target
 *   quiet_ticks  median of a pin call that nothing disturbs
 *   folios       of 64 KiB, of the target and the refill, as the kernel counts (v6.10)
 *   backoffs     references that GUP-fast took and gave back (lib/backoff.c)
 *
 * Fixed by: the second read came with the generic GUP-fast, commit 2667f50e8b81 ("mm: introduce a
 * general RCU get_user_pages_fast()", v3.19); no CVE. Controls: M01, G13, G15, G32. Kconfig:
 * pin_vs_munmap.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "check.h"
#include "clock.h"
#include "huge.h"
#include "linear.h"
#include "memory.h"
#include "quiet.h"
#include "scenario.h"
#include "stamp.h"
#include "sync.h"

#define MAPPING_REFILL	2
#define MAPPING_KEEPER	3

#define TABLE_SIZE	(2ul << 20)
#define REFILL_PAGES	4096ul		/* then given back, by one call with one TLB flush */
/* Measured (docs/performance.md): more pages make an unmap longer, fewer the walk mostly entry. */
#define TARGET_PAGES	4u		/* pinned by one walk; divides REFILL_PAGES */
#define WALKS		4u		/* in one system call, if the vehicle holds so many pins */
#define SAMPLE		64u		/* calls that the median is taken of */
#define PREEMPTED	20u		/* times the median */
#define LEAST_FOLIOS	100u		/* that were faulted in, where the subtest is about them */

struct world;

struct operation {
	void (*prepare)(struct world *w);	/* of what comes to the target; may be NULL */
	int (*change)(struct world *w);		/* takes the target's pages away; 0 or -1 */
	bool hole;				/* and nothing is mapped then */
	bool stamped;				/* what came is stamped already */
	bool mthp;				/* target and refill are folios of MTHP_PAGES */
};

struct world {
	struct race *race;
	const struct operation *operation;
	size_t page;
	unsigned int pages;		/* of the target, pinned by one walk */
	size_t size;			/* the same in bytes */
	uint8_t *target;
	uint8_t *aside;			/* where mremap takes from or moves to, in the same table */
	uint8_t *refill;
	unsigned int walks;		/* in one pin call */
	uint64_t quiet;			/* ticks of a pin call that nothing disturbs */

	_Alignas(64) struct linear progress;
	_Alignas(64) uint64_t entered;	/* generation whose pin A has begun */

	/* A's counters, and the durations of its first trials. */
	_Alignas(64) uint64_t calls, pins, trials, preempted, refusals;
	uint64_t sample[SAMPLE];
	uint64_t median;		/* of these; 0 while unknown */

	/* B's. */
	_Alignas(64) uint64_t generation, unmaps;
};

static void count_trial(struct world *w, uint64_t ticks)
{
	if (w->median && ticks > PREEMPTED * w->median) {
		w->preempted++;
		return;
	}
	if (w->trials < SAMPLE)
		w->sample[w->trials] = ticks;
	w->trials++;
	if (w->trials == SAMPLE)
		w->median = sync_median_of(w->sample, SAMPLE).median;
}

/*
 * Pins of an unmapped page would only take mmap_lock from B. The clock is read rarely: under QEMU a
 * read of arm64's counter takes a lock that B's vCPU needs.
 */
static bool await_target(struct world *w, struct linear *before)
{
	for (unsigned int spins = 0; ; spins++) {
		if (spins % 1024 == 0 && !race_in_time(w->race))
			return false;
		*before = linear_now(&w->progress);
		if (before->stamped > before->unmapping)
			return true;
		cpu_relax();
	}
}

static void *pinner(void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &w->race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];
	struct linear before, after;

	while (await_target(w, &before)) {
		uint64_t ticks = now_ticks();
		int got;

		linear_publish(&w->entered, before.stamped);
		got = v->ops->pin(v, w->target, w->pages, w->walks);
		after = linear_now(&w->progress);
		ticks = now_ticks() - ticks;

		w->calls++;
		if (after.unmapping > before.unmapped)
			count_trial(w, ticks);
		if (got <= 0) {
			w->refusals++;
			linear_judge_refusal(w->race, got, w->operation->hole, &before, &after);
			continue;
		}
		w->pins += got;
		v->ops->read(v, stamps);
		for (int i = 0; i < got; i++)
			linear_judge(w->race, i % w->pages, &stamps[i], &before, &after);
		v->ops->unpin(v);
	}
	return NULL;
}

static void map_at(struct world *w, uint8_t *addr, const char *what)
{
	check_mmap(addr, w->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, what);
}

static void stamp_at(struct world *w, uint8_t *addr, uint64_t generation)
{
	for (unsigned int i = 0; i < w->pages; i++)
		stamp_page(addr + i * w->page, stamp_of(LINEAR_TARGET, i, generation));
}

static void map_source(struct world *w)
{
	map_at(w, w->aside, "the source of mremap");
	stamp_at(w, w->aside, w->generation + 1);
}

static int do_munmap(struct world *w)
{
	return munmap(w->target, w->size);
}

static int do_dontneed(struct world *w)
{
	return madvise(w->target, w->size, MADV_DONTNEED);
}

static int do_mmap_over(struct world *w)
{
	return mmap(w->target, w->size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int move(struct world *w, uint8_t *from, uint8_t *to)
{
	return mremap(from, w->size, w->size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ?
	       -1 : 0;
}

static int do_mremap_in(struct world *w)
{
	return move(w, w->aside, w->target);
}

static int do_mremap_away(struct world *w)
{
	return move(w, w->target, w->aside) || munmap(w->aside, w->size) ? -1 : 0;
}

static const struct operation operations[] = {
	{ NULL, do_munmap, true, false, false },
	{ NULL, do_dontneed, false, false, false },
	{ NULL, do_mmap_over, false, false, false },
	{ map_source, do_mremap_in, false, true, false },
	{ NULL, do_mremap_away, true, false, false },
	{ NULL, do_munmap, true, false, true },
	{ NULL, do_dontneed, false, false, true },
};

/* The first generation, and each that comes after a hole, has to be mapped. */
static void bring_target(struct world *w)
{
	const struct operation *op = w->operation;

	if (op->hole || w->generation == 1) {
		linear_publish(&w->progress.mapping, w->generation);
		map_at(w, w->target, "the target");
	}
	if (!op->stamped || w->generation == 1)
		stamp_at(w, w->target, w->generation);
	linear_publish(&w->progress.stamped, w->generation);
	if (op->prepare)
		op->prepare(w);
}

/* Wait for A to be in its call, and then for some part of the time that a call takes. */
static void await_pin(struct world *w, struct rng *rng)
{
	uint64_t delay = rng_below(rng, w->quiet), begin;

	while (linear_observe(&w->entered) < w->generation && race_running(w->race))
		cpu_relax();
	begin = now_ticks();
	while (now_ticks() - begin < delay)
		cpu_relax();
}

static void take_target(struct world *w)
{
	if (!w->operation->hole)
		linear_publish(&w->progress.mapping, w->generation + 1);
	linear_publish(&w->progress.unmapping, w->generation);
	if (w->operation->change(w))
		broken("%s of %zu bytes: %s", w->race->subtest->name, w->size, strerror(errno));
	linear_publish(&w->progress.unmapped, w->generation);
	w->unmaps++;
}

static void refill(struct world *w)
{
	uint64_t first = w->generation * w->pages % REFILL_PAGES;

	for (uint64_t i = first; i < first + w->pages; i++)
		stamp_page(w->refill + i * w->page, stamp_of(MAPPING_REFILL, i, w->generation));
	if (first + w->pages == REFILL_PAGES)
		check_madvise(w->refill, REFILL_PAGES * w->page, MADV_DONTNEED, "the refill");
}

static void *unmapper(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 0);

	for (w->generation = 1; race_running(w->race); w->generation++) {
		bring_target(w);
		await_pin(w, &rng);
		take_target(w);
		refill(w);
	}
	if (!w->operation->hole)
		check_munmap(w->target, w->size, "the target");
	return NULL;
}

/* A page more on either side: what is mapped here has no neighbour. */
static void make_hole(const struct world *w, uint8_t *addr)
{
	check_munmap(addr - w->page, w->size + 2 * w->page, "room in the arena");
}

/*
 * The target stands alone, so that no mapping is split or merged around it; the keeper in the same
 * 2 MiB keeps munmap from freeing the page table with it. The rest of them is reserved: the holes are
 * too small for what anybody else maps meanwhile.
 */
static uint8_t *make_arena(struct world *w)
{
	uint8_t *table = huge_reserve(TABLE_SIZE, TABLE_SIZE, "the arena");

	huge_map(table, w->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 "the keeper");
	name_mapping(table, w->page, "guprace keeper");
	stamp_page(table, stamp_of(MAPPING_KEEPER, 0, 0));
	w->target = table + TABLE_SIZE / 2;
	w->aside = table + TABLE_SIZE / 4;
	make_hole(w, w->target);
	make_hole(w, w->aside);
	return table;
}

/* Folios only where the refill begins and ends with one. */
static void make_refill(struct world *w)
{
	size_t size = REFILL_PAGES * w->page;

	w->refill = huge_private(size, MTHP_PAGES * w->page, "the refill", "guprace refill");
	if (!w->operation->mthp)
		check_madvise(w->refill, size, MADV_NOHUGEPAGE, "the refill");
	for (unsigned int i = 0; i < w->pages; i++)
		stamp_page(w->refill + i * w->page, stamp_of(MAPPING_REFILL, i, 0));
}

static void run(struct race *race)
{
	struct world w = {
		.race = race,
		.operation = &operations[race->subtest->arg],
		.page = getpagesize(),
		.pages = race->vehicle.capacity < TARGET_PAGES ? 1 : TARGET_PAGES,
	};
	uint64_t folios = 0, folios_before = 0;
	bool counted = race->vehicle.ops->is & VEHICLE_FOLL_PIN || !memory_is_ours(race, "lost memory");
	struct memory before = { };
	uint8_t *keeper;

	if (!counted)
		memory_read_quickly(&before);
	race_begin(race);
	if (w.operation->mthp) {
		backing_mthp(race, "always");
		w.pages = MTHP_PAGES;
	}
	w.size = w.pages * w.page;
	keeper = make_arena(&w);
	w.walks = race->vehicle.capacity / w.pages;
	if (w.walks > WALKS)
		w.walks = WALKS;
	make_refill(&w);
	w.quiet = quiet_ticks(&race->vehicle, w.refill, w.pages, w.walks, true);
	if (w.operation->mthp && backing_mthp_stat("anon_fault_alloc", &folios_before))
		race_floor(race, "folios", LEAST_FOLIOS);

	race_actors(race, pinner, unmapper, &w);

	huge_release(w.refill, REFILL_PAGES * w.page, "the refill");
	huge_release(keeper, TABLE_SIZE, "the arena");
	if (w.operation->mthp) {
		if (backing_mthp_stat("anon_fault_alloc", &folios))
			race_count(race, "folios", folios - folios_before);
		huge_restore();
	}
	if (!counted)
		memory_judge(race, &before);
	race_count(race, "trials", w.trials);
	race_count(race, "preempted", w.preempted);
	race_count(race, "calls", w.calls);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "unmaps", w.unmaps);
	race_count(race, "quiet_ticks", w.quiet);
}

static const struct floor floors[] = {
	{ "unmaps", 50 },
	{ "pins", 100 },
	{ "trials", 20 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.munmap", &vehicle_probe, run, floors, 0 },
	{ "vmsplice.munmap", &vehicle_vmsplice, run, floors, 0 },
	{ "direct.munmap", &vehicle_direct, run, floors, 0 },
	{ "fast.dontneed", &vehicle_fast, run, floors, 1 },
	{ "fast_ro.mmap_over", &vehicle_fast_ro, run, floors, 2 },
	{ "vmsplice.mremap_in", &vehicle_vmsplice, run, floors, 3 },
	{ "probe.mremap_away", &vehicle_probe, run, floors, 4 },
	{ "probe.munmap_mthp", &vehicle_probe, run, floors, 5 },
	{ "fast.dontneed_mthp", &vehicle_fast, run, floors, 6 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_munmap",
	.summary = "pins of GUP-fast against unmapping, refill elsewhere, a new mapping (P3, P4)",
	.subtests = subtests,
};
