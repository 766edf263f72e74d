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
 * Actors run free: A takes a batch of pins in one system call whenever the target is mapped, B goes
 * round with a random delay between mapping and unmapping. The target is one page, since each page
 * of an unmap costs a TLBI, which stops all vCPUs under TCG.
 *
 * Oracle, linearizability. B publishes, in this order, round by round:
 *
 *   mapping = g, mmap, stamp the page, stamped = g, unmapping = g, munmap, unmapped = g
 *
 * A pin call that saw `unmapped` = u before and `mapping` = m after may give any generation of
 * (u, m] of the target; a page not stamped yet only if m > `stamped` before. Anything else is a hit:
 *   foreign_stamp     the page belongs to another mapping
 *   wrong_generation  the page left the address before the call, or came to it after
 *   bad_stamp         no stamp though every mapping of that window was stamped before the call
 *   refused           -EFAULT though the target was mapped throughout
 *
 * Counters:
 *   trials     valid trials: pin calls that an unmap of the target overlapped, that is, at whose end
 *              more unmaps had begun than had been completed at its start; less `preempted`
 *   preempted  such calls that took more than 20 times the median of the first 64 of them
 *   calls      pin system calls
 *   pins       pages pinned, each read and judged
 *   refusals   calls that found the target unmapped (-EFAULT)
 *   unmaps     munmap calls on the target
 *   backoffs   references that GUP-fast took and gave back (lib/backoff.c)
 *
 * Fixed by: the protocol is that of commit 2667f50e8b81 ("mm: introduce a general RCU
 * get_user_pages_fast()", v3.19); no CVE. Control: M01. Kconfig: pin_vs_munmap.config.
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
#define BATCH		8u		/* pins in one call */
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
	uint8_t *target;
	uint8_t *refill;

	_Alignas(64) struct progress progress;
	_Alignas(64) uint64_t median;	/* ticks of a pin call; 0 while unknown */

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

static void judge(struct world *w, const struct stamp *s, const struct progress *before,
		  const struct progress *after)
{
	if (!stamp_valid(s)) {
		if (after->mapping == before->stamped)
			race_hit(w->race, "bad_stamp",
				 "expected generation %" PRIu64 " stamped, observed words %#" PRIx64
				 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64, before->stamped, s->mapping,
				 s->index, s->generation, s->check);
	} else if (s->mapping != MAPPING_TARGET) {
		race_hit(w->race, "foreign_stamp",
			 "expected mapping %d generation in (%" PRIu64 ", %" PRIu64
			 "], observed mapping %" PRIu64 " index %" PRIu64 " generation %" PRIu64,
			 MAPPING_TARGET, before->unmapped, after->mapping, s->mapping, s->index,
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

/* Pins of an unmapped page would only take mmap_lock from B. */
static bool await_target(struct world *w, struct progress *before)
{
	do {
		if (!race_in_time(w->race))
			return false;
		*before = observe_progress(w);
	} while (before->stamped == before->unmapped);
	return true;
}

static void *pinner(void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &w->race->vehicle;
	unsigned int batch = v->capacity < BATCH ? v->capacity : BATCH;
	struct stamp stamps[VEHICLE_PINS_MAX];
	struct progress before, after;

	while (await_target(w, &before)) {
		uint64_t ticks = now_ticks();
		int got = v->ops->pin(v, w->target, batch);

		ticks = now_ticks() - ticks;
		after = observe_progress(w);

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
			judge(w, &stamps[i], &before, &after);
		v->ops->unpin(v);
	}
	return NULL;
}

static void map_target(struct world *w, uint64_t generation)
{
	publish(&w->progress.mapping, generation);
	check_mmap(w->target, w->page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, "the target");
	stamp_page(w->target, stamp_of(MAPPING_TARGET, 0, generation));
	publish(&w->progress.stamped, generation);
}

static void unmap_target(struct world *w, uint64_t generation)
{
	publish(&w->progress.unmapping, generation);
	check_munmap(w->target, w->page, "the target");
	publish(&w->progress.unmapped, generation);
	w->unmaps++;
}

static void refill(struct world *w, uint64_t generation)
{
	uint64_t index = generation % REFILL_PAGES;

	stamp_page(w->refill + index * w->page, stamp_of(MAPPING_REFILL, index, generation));
	if (index == REFILL_PAGES - 1)
		check_madvise(w->refill, REFILL_PAGES * w->page, MADV_DONTNEED, "the refill");
}

/* Somewhere within two pin calls, so that the unmap meets every phase of one. */
static void linger(struct world *w, struct rng *rng)
{
	uint64_t begin = now_ticks();
	uint64_t delay = rng_below(rng, 2 * observe(&w->median));

	while (now_ticks() - begin < delay && race_running(w->race))
		cpu_relax();
}

static void *unmapper(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 0);

	for (uint64_t generation = 1; race_running(w->race); generation++) {
		map_target(w, generation);
		linger(w, &rng);
		unmap_target(w, generation);
		refill(w, generation);
	}
	return NULL;
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
	struct world w = { .race = race, .page = getpagesize() };
	uint8_t *keeper = make_arena(&w);

	w.target = keeper + TABLE_SIZE / 2;
	w.refill = check_mmap(NULL, REFILL_PAGES * w.page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, "the refill");
	check_madvise(w.refill, REFILL_PAGES * w.page, MADV_NOHUGEPAGE, "the refill");
	name_mapping(w.refill, REFILL_PAGES * w.page, "guprace refill");

	race_actors(race, pinner, unmapper, &w);

	check_munmap(w.refill, REFILL_PAGES * w.page, "the refill");
	check_munmap(keeper, w.page, "the keeper");
	race_count(race, "trials", w.trials);
	race_count(race, "preempted", w.preempted);
	race_count(race, "calls", w.calls);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "unmaps", w.unmaps);
}

static const struct subtest subtests[] = {
	{ "probe.munmap", &vehicle_probe, race_munmap },
	{ "vmsplice.munmap", &vehicle_vmsplice, race_munmap },
	{ }
};

static const struct floor floors[] = {
	{ "unmaps", 100 },
	{ "pins", 100 },
	{ "trials", 20 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_munmap",
	.summary = "pins of GUP-fast against munmap, refill elsewhere and a new mapping (P3, P4)",
	.subtests = subtests,
	.floors = floors,
};
