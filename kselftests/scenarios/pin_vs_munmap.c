// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_munmap - pins of GUP-fast against munmap, refill elsewhere and a new mapping
 *
 * Property (P3, P4 of PROTOCOL.md): a pin gives the page that was mapped at the address at some
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
 * On arm64 (broadcast TLBI) nothing in munmap waits for A. On x86 without paravirtual flush or
 * INVLPGB the flush is an IPI, held back until A's walk with interrupts off is over: silent there.
 *
 * Mode: B follows A. A pins as fast as it can, several walks over the target in one system call,
 * whenever the target is mapped. B waits until A has begun the pin of this generation, then for a
 * random part of the time that a quiet pin call takes, and unmaps. Neither waits for the other's
 * end. The window between A's two steps is stretched where kprobes allow (lib/stretch.c).
 *
 * Oracle, linearizability. B publishes, in this order, round by round:
 *
 *   mapping = g, mmap, stamp the pages, stamped = g, unmapping = g, munmap, unmapped = g
 *
 * A pin call that saw `unmapped` = u before and `mapping` = m after may give any generation of
 * (u, m] of the target; a page not stamped yet only if m > `stamped` before. All else is a hit:
 *   foreign_stamp     the page belongs to another mapping, or elsewhere in this one
 *   wrong_generation  the page left the address before the call, or came to it after
 *   bad_stamp         no stamp though every mapping of that window was stamped before the call
 *   refused           -EFAULT though the target was mapped throughout
 * A page without a stamp may also be the zero page of a read-only FOLL_GET from before B's first
 * write: legal, and within the rule, since the stamp is that first write.
 *
 * Counters:
 *   trials       valid trials: pin calls that an unmap of the target overlapped, that is, at whose
 *                end more unmaps had begun than had been completed at its start; less `preempted`
 *   preempted    such calls that took more than 20 times the median of the first 64 of them
 *   calls        pin system calls
 *   pins         pages pinned, each read and judged
 *   refusals     calls that found the target unmapped (-EFAULT)
 *   unmaps       munmap calls on the target
 *   quiet_ticks  median of a pin call that nothing disturbs
 *   race_ms      time raced
 *   backoffs     references that GUP-fast took and gave back (lib/backoff.c)
 *   first_hit_ms from the start of the subtest's race
 *
 * Fixed by: the second read came with the generic GUP-fast, commit 2667f50e8b81 ("mm: introduce a
 * general RCU get_user_pages_fast()", v3.19); no CVE. Control: M01. Kconfig: pin_vs_munmap.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "scenario.h"
#include "stamp.h"

#define MAPPING_TARGET	1
#define MAPPING_REFILL	2
#define MAPPING_KEEPER	3

#define ARENA_SIZE	(4ul << 20)	/* holds an aligned 2 MiB: one page table */
#define TABLE_SIZE	(2ul << 20)
#define REFILL_PAGES	4096ul		/* then given back, by one call with one TLB flush */
#ifndef TARGET_PAGES
/* Measured (docs/performance.md): more pages make an unmap longer, fewer the walk mostly entry. */
#define TARGET_PAGES	4u		/* pinned by one walk; divides REFILL_PAGES */
#endif
#define WALKS		4u		/* in one system call, if the vehicle holds so many pins */
#define SAMPLE		64u		/* calls that the median is taken of */
#define PREEMPTED	20u		/* times the median */

/* What B has done; see the oracle above. */
struct progress {
	uint64_t mapping;
	uint64_t stamped;
	uint64_t unmapping;
	uint64_t unmapped;
};

struct world {
	struct race *race;
	size_t page;
	unsigned int pages;		/* of the target, pinned by one walk */
	size_t size;			/* the same in bytes */
	uint8_t *target;
	uint8_t *refill;
	unsigned int walks;		/* in one pin call */
	uint64_t quiet;			/* ticks of a pin call that nothing disturbs */

	_Alignas(64) struct progress progress;
	_Alignas(64) uint64_t entered;	/* generation whose pin A has begun */
	uint64_t median;		/* ticks of a trial; 0 while unknown */

	/* A's counters, and the durations of its first trials. */
	_Alignas(64) uint64_t calls, pins, trials, preempted, refusals;
	uint64_t sample[SAMPLE];

	_Alignas(64) uint64_t unmaps;	/* B's counter */
};

static void publish(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static uint64_t observe(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static struct progress observe_progress(const struct world *w)
{
	return (struct progress){
		.mapping = observe(&w->progress.mapping),
		.stamped = observe(&w->progress.stamped),
		.unmapping = observe(&w->progress.unmapping),
		.unmapped = observe(&w->progress.unmapped),
	};
}

static int compare_ticks(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void count_trial(struct world *w, uint64_t ticks)
{
	if (w->median && ticks > PREEMPTED * w->median) {
		w->preempted++;
		return;
	}
	if (w->trials < SAMPLE)
		w->sample[w->trials] = ticks;
	w->trials++;
	if (w->trials == SAMPLE) {
		qsort(w->sample, SAMPLE, sizeof(w->sample[0]), compare_ticks);
		publish(&w->median, w->sample[SAMPLE / 2]);
	}
}

static void judge(struct world *w, unsigned int index, const struct stamp *s,
		  const struct progress *before, const struct progress *after)
{
	if (!stamp_valid(s)) {
		if (after->mapping == before->stamped)
			race_hit(w->race, "bad_stamp",
				 "expected generation %" PRIu64 " stamped, observed words %#" PRIx64
				 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64, before->stamped, s->mapping,
				 s->index, s->generation, s->check);
	} else if (s->mapping != MAPPING_TARGET || s->index != index) {
		race_hit(w->race, "foreign_stamp",
			 "expected mapping %d index %u generation in (%" PRIu64 ", %" PRIu64
			 "], observed mapping %" PRIu64 " index %" PRIu64 " generation %" PRIu64,
			 MAPPING_TARGET, index, before->unmapped, after->mapping, s->mapping, s->index,
			 s->generation);
	} else if (s->generation <= before->unmapped || s->generation > after->mapping) {
		race_hit(w->race, "wrong_generation",
			 "expected mapping %d generation in (%" PRIu64 ", %" PRIu64
			 "], observed generation %" PRIu64, MAPPING_TARGET, before->unmapped,
			 after->mapping, s->generation);
	}
}

static void judge_refusal(struct world *w, int err, const struct progress *before,
			  const struct progress *after)
{
	if (err != -EFAULT)
		broken("%s pin of the target: %s", w->race->vehicle.name, strerror(-err));
	w->refusals++;
	if (before->stamped > before->unmapped && after->unmapping < before->stamped)
		race_hit(w->race, "refused",
			 "expected a pin of generation %" PRIu64 ", mapped throughout, observed %s",
			 before->stamped, strerror(-err));
}

/*
 * Pins of an unmapped page would only take mmap_lock from B. The clock is read rarely: under QEMU a
 * read of arm64's counter takes a lock that B's vCPU needs.
 */
static bool await_target(struct world *w, struct progress *before)
{
	for (unsigned int spins = 0; ; spins++) {
		if (spins % 1024 == 0 && !race_in_time(w->race))
			return false;
		*before = observe_progress(w);
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
	struct progress before, after;

	while (await_target(w, &before)) {
		uint64_t ticks = now_ticks();
		int got;

		publish(&w->entered, before.stamped);
		got = v->ops->pin(v, w->target, w->pages, w->walks);
		after = observe_progress(w);
		ticks = now_ticks() - ticks;

		w->calls++;
		if (after.unmapping > before.unmapped)
			count_trial(w, ticks);
		if (got <= 0) {
			judge_refusal(w, got, &before, &after);
			continue;
		}
		w->pins += got;
		v->ops->read(v, stamps);
		for (int i = 0; i < got; i++)
			judge(w, i % w->pages, &stamps[i], &before, &after);
		v->ops->unpin(v);
	}
	return NULL;
}

static void map_target(struct world *w, uint64_t generation)
{
	publish(&w->progress.mapping, generation);
	check_mmap(w->target, w->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, "the target");
	for (unsigned int i = 0; i < w->pages; i++)
		stamp_page(w->target + i * w->page, stamp_of(MAPPING_TARGET, i, generation));
	publish(&w->progress.stamped, generation);
}

/* Wait for A to be in its call, and then for some part of the time that a call takes. */
static void await_pin(struct world *w, uint64_t generation, struct rng *rng)
{
	uint64_t delay = rng_below(rng, w->quiet), begin;

	while (observe(&w->entered) < generation && race_running(w->race))
		cpu_relax();
	begin = now_ticks();
	while (now_ticks() - begin < delay)
		cpu_relax();
}

static void unmap_target(struct world *w, uint64_t generation)
{
	publish(&w->progress.unmapping, generation);
	check_munmap(w->target, w->size, "the target");
	publish(&w->progress.unmapped, generation);
	w->unmaps++;
}

static void refill(struct world *w, uint64_t generation)
{
	uint64_t first = generation * w->pages % REFILL_PAGES;

	for (uint64_t i = first; i < first + w->pages; i++)
		stamp_page(w->refill + i * w->page, stamp_of(MAPPING_REFILL, i, generation));
	if (first + w->pages == REFILL_PAGES)
		check_madvise(w->refill, REFILL_PAGES * w->page, MADV_DONTNEED, "the refill");
}

static void *unmapper(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 0);

	for (uint64_t generation = 1; race_running(w->race); generation++) {
		map_target(w, generation);
		await_pin(w, generation, &rng);
		unmap_target(w, generation);
		refill(w, generation);
	}
	return NULL;
}

/* The median over calls that nothing disturbs, on pages like the target's. */
static uint64_t measure_quiet(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;
	uint64_t ticks[SAMPLE];

	for (unsigned int i = 0; i < SAMPLE; i++) {
		uint64_t begin = now_ticks();
		int got = v->ops->pin(v, w->refill, w->pages, w->walks);

		ticks[i] = now_ticks() - begin;
		if (got != (int)(w->pages * w->walks))
			broken("%s took %d pins of %u on pages that nobody touches", v->name, got,
			       w->pages * w->walks);
		v->ops->unpin(v);
	}
	qsort(ticks, SAMPLE, sizeof(ticks[0]), compare_ticks);
	return ticks[SAMPLE / 2];
}

/*
 * The target stands alone, so that no mapping is split or merged around it; the keeper in the same
 * 2 MiB keeps munmap from freeing the page table with it.
 */
static uint8_t *make_arena(const struct world *w)
{
	uint8_t *map = check_mmap(NULL, ARENA_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
				  "the arena");
	uint8_t *table = (uint8_t *)(((uintptr_t)map + TABLE_SIZE - 1) & -TABLE_SIZE);

	check_munmap(map, ARENA_SIZE, "the arena");
	check_mmap(table, w->page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, "the keeper");
	name_mapping(table, w->page, "guprace keeper");
	stamp_page(table, stamp_of(MAPPING_KEEPER, 0, 0));
	return table;
}

static void race_munmap(struct race *race)
{
	struct world w = {
		.race = race,
		.page = getpagesize(),
		.pages = race->vehicle.capacity < TARGET_PAGES ? 1 : TARGET_PAGES,
	};
	uint8_t *keeper = make_arena(&w);

	w.size = w.pages * w.page;
	w.walks = race->vehicle.capacity / w.pages;
	if (w.walks > WALKS)
		w.walks = WALKS;
	w.target = keeper + TABLE_SIZE / 2;
	w.refill = check_mmap(NULL, REFILL_PAGES * w.page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, "the refill");
	check_madvise(w.refill, REFILL_PAGES * w.page, MADV_NOHUGEPAGE, "the refill");
	name_mapping(w.refill, REFILL_PAGES * w.page, "guprace refill");
	for (unsigned int i = 0; i < w.pages; i++)
		stamp_page(w.refill + i * w.page, stamp_of(MAPPING_REFILL, i, 0));
	w.quiet = measure_quiet(&w);

	race_actors(race, pinner, unmapper, &w);

	check_munmap(w.refill, REFILL_PAGES * w.page, "the refill");
	check_munmap(keeper, w.page, "the keeper");
	race_count(race, "trials", w.trials);
	race_count(race, "preempted", w.preempted);
	race_count(race, "calls", w.calls);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "unmaps", w.unmaps);
	race_count(race, "quiet_ticks", w.quiet);
}

static const struct floor floors[] = {
	{ "unmaps", 100 },
	{ "pins", 100 },
	{ "trials", 20 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.munmap", &vehicle_probe, race_munmap, floors, 0 },
	{ "vmsplice.munmap", &vehicle_vmsplice, race_munmap, floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_munmap",
	.summary = "pins of GUP-fast against munmap, refill elsewhere and a new mapping (P3, P4)",
	.subtests = subtests,
};
