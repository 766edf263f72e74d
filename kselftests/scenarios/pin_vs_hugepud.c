// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_hugepud - pins of GUP-fast against unmap and refill of a page that one PUD maps
 *
 * Property (P3, P4): a pin gives the page that was mapped at the address at some
 * instant of the call, on the highest level that has pages, too. The walk has a leaf of its own for
 * that (gup_huge_pud(), since v6.10 gup_fast_pud_leaf()), with the same steps: which of the pages it
 * is, the grab, the second read. Without the second read:
 *
 *   A: pin pages of the first mapping: reads the PUD, and is about to take the references
 *   B: unmaps it: clears the PUD, flushes, gives the huge page back to hugetlb's pool
 *   B: touches the second mapping: is given the page just freed
 *   A: takes the references: the count is no longer zero, so that succeeds
 *   A: returns, holding pages of the second mapping, and reads a foreign stamp through the pin
 *
 * Stamps are in several places of the page, none a multiple of what a PMD maps from another: who
 * takes a PUD for a PMD gets another page.
 *
 * Mode: A asks for a round and pins until B has unmapped; B begins after a random delay. B clears 1
 * GiB in each round, so there are few of them, and the synchroniser would use all of them up for its
 * measurements; but the call that B met is known, and the grab, by turns the walk, is stretched at a
 * random instruction for as long as an unmap and the begin of a refill take. By the walk alone: the
 * slow path would take pages from the pool. What is pinned with nobody else there (*.still), or while
 * a child shares it (probe_ro.shared), needs no race.
 *
 * Oracles:
 *   foreign_stamp     the page belongs to the other mapping, or elsewhere in this one
 *   wrong_generation  the page left the address in an earlier round
 *   bad_stamp         no stamp: another page of this one
 *   lost_memory       a page of the pool that nobody uses any more and that is not free
 *   admitted          a pin for writing of what may only be read
 *   refused, pin_differs, address_differs: lib/agree.h
 *
 * Counters: trials (rounds whose unmap met a pin's call), rounds, pins (pages taken all the same),
 * turned_down (calls that were met, and found nothing); where no race is needed: checks, pins, shared
 * (with a child) or lost_by_fork.
 *
 * Needs two pages of 1 GiB, and so a guest with memory for them (pin_vs_hugepud.memory) that is told
 * at boot (pin_vs_hugepud.cmdline); else a skip.
 *
 * Fixed by: the second read came with the generic GUP-fast, commit 2667f50e8b81 ("mm: introduce a
 * general RCU get_user_pages_fast()", v3.19); no CVE. Controls: G78, G79, G90. Kconfig:
 * pin_vs_hugepud.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"
#include "clock.h"
#include "huge.h"
#include "pagemap.h"
#include "scenario.h"
#include "setting.h"
#include "stamp.h"
#include "stretch.h"
#include "waiter.h"

#define HUGE_SHIFT	30
#define POOL		"/sys/kernel/mm/hugepages/hugepages-1048576kB/"
#define POOL_PAGES	2u	/* that A holds, that B has by then */
#define MAPPING(which)	((which) + 1u)
#define SLOTS		8u	/* of a huge page: what is stamped, */
#define PAGES		4u	/* each, and pinned by one walk */
#define NEXT_PLACE	4u	/* rounds at one place of the walk, then at another */
#define NO_MORE		UINT32_MAX

struct world {
	struct race *race;
	size_t page, huge;		/* bytes */
	uint8_t *at[2];
	unsigned int now;		/* which of them is mapped, between rounds */
	uint64_t generation;
	uint64_t pin_ticks;
	_Atomic uint32_t asked, done;	/* rounds */
	atomic_bool begun;		/* the unmap of this round */

	_Alignas(64) uint64_t trials, pins, turned_down;	/* A's */
};

static uint8_t *slot_at(const struct world *w, unsigned int which, unsigned int slot)
{
	return w->at[which] + slot * (w->huge / SLOTS + PAGES * w->page);
}

static void map(const struct world *w, unsigned int which)
{
	huge_map(w->at[which], w->huge, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_SHIFT << MAP_HUGE_SHIFT, -1,
		 "a page of 1 GiB");
	name_mapping(w->at[which], w->huge, which ? "guprace second" : "guprace first");
}

/* Where the first one faults in, and clears, the whole page. */
static void stamp(const struct world *w, unsigned int which)
{
	for (unsigned int i = 0; i < SLOTS * PAGES; i++)
		stamp_page(slot_at(w, which, i / PAGES) + i % PAGES * w->page,
			   stamp_of(MAPPING(which), i, w->generation));
}

static unsigned int pool(const char *what)
{
	char path[96] = POOL, line[32];

	strcat(path, what);
	return setting_read(path, line, sizeof(line)) ? strtoul(line, NULL, 10) : 0;
}

static void need_pool(struct race *race)
{
	char wanted[16];

	snprintf(wanted, sizeof(wanted), "%u", POOL_PAGES);
	if (pool("nr_hugepages") < POOL_PAGES)
		(void)setting_change(POOL "nr_hugepages", wanted);
	if (pool("free_hugepages") < POOL_PAGES)
		race_skip(race, "%u free pages of 1 GiB in hugetlb's pool, not %u (hugepagesz=1G "
			  "hugepages=%u on the kernel's command line?)", pool("free_hugepages"),
			  POOL_PAGES, POOL_PAGES);
}

static struct world begin(struct race *race)
{
	struct world w = { .race = race, .page = getpagesize(), .huge = 1ul << HUGE_SHIFT };

	need_pool(race);
	w.at[0] = huge_reserve(4 * w.huge, w.huge, "the arena");
	w.at[1] = w.at[0] + 2 * w.huge;
	map(&w, 0);
	stamp(&w, 0);
	return w;
}

static void end(struct world *w, unsigned int free)
{
	huge_unmap(w->at[w->now], w->huge, "a page of 1 GiB");
	huge_release(w->at[0], 4 * w->huge, "the arena");
	if (pool("free_hugepages") != free)
		race_hit(w->race, "lost_memory", "expected %u free pages of 1 GiB as before, observed "
			 "%u", free, pool("free_hugepages"));
	setting_restore();
}

static void judge(struct world *w, unsigned int which, unsigned int slot, uint64_t generation)
{
	struct vehicle *v = &w->race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];

	if (v->held)
		v->ops->read(v, stamps);
	for (unsigned int i = 0; i < v->held; i++) {
		unsigned int index = slot * PAGES + i;
		const struct stamp *s = &stamps[i];

		if (!stamp_is(s, MAPPING(which), index, generation))
			race_hit(w->race, stamp_oracle(s, MAPPING(which), index),
				 "pin %u of place %u: expected mapping %u index %u generation %" PRIu64
				 ", " STAMP_SEEN, i, slot, MAPPING(which), index, generation,
				 STAMP_SEEN_ARGS(s));
	}
}

/* With nobody else there. */
static void pin_alone(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	unsigned int slot = w->generation % SLOTS;
	uint64_t begin = now_ticks();

	if (v->ops->pin(v, slot_at(w, w->now, slot), PAGES, 1) > 0) {
		w->pin_ticks = now_ticks() - begin;
		judge(w, w->now, slot, w->generation);
	}
	v->ops->unpin(v);
}

static void next_place(struct world *w)
{
	static const char * const names[] = {
		"gup_huge_pud", "gup_fast_pud_leaf", "gup_pud_range", "gup_fast_pud_range",
		"gup_pgd_range", "gup_fast_pgd_range", "lockless_pages_from_mm", "gup_fast",
		"internal_get_user_pages_fast", "gup_fast_fallback", NULL
	};
	static const struct stretch_code leaf = { .names = names, .least = 1, .pass = pin_alone };

	if (w->done / NEXT_PLACE % 2)
		stretch_code(w->race, &leaf, w, STRETCH_LONG);
	else
		stretch_grab(w->race, STRETCH_LONG);
	pin_alone(w->race, w);
}

/*
 * The call that is met holds the page back, or finds it gone. What it got is read when B is done: a
 * page that went to the other mapping is stamped as that by then.
 */
static void one_round(struct world *w, struct rng *rng)
{
	struct vehicle *v = &w->race->vehicle;
	unsigned int which = w->now, slot = rng_below(rng, SLOTS);
	uint64_t generation = w->generation;
	uint32_t round = w->done + 1;
	bool met, begun;
	int got;

	atomic_store(&w->begun, false);
	atomic_store(&w->asked, round);
	do {
		met = !atomic_load(&w->begun);
		got = v->ops->pin(v, slot_at(w, which, slot), PAGES, 1);
		begun = atomic_load(&w->begun);
		if (!begun)
			v->ops->unpin(v);
	} while (!begun);
	while (atomic_load(&w->done) != round)
		cpu_relax();
	w->trials += met;
	w->turned_down += met && got < 1;
	w->pins += v->held;
	judge(w, which, slot, generation);
	v->ops->unpin(v);
}

static void *pinner(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 0);

	while (race_in_time(w->race)) {
		if (w->done % NEXT_PLACE == 0)
			next_place(w);
		one_round(w, &rng);
	}
	atomic_store(&w->asked, NO_MORE);
	return NULL;
}

static void unmap_and_refill(struct world *w, struct rng *rng)
{
	unsigned int from = w->now, to = !from;
	uint64_t until;

	map(w, to);
	for (until = now_ticks() + rng_below(rng, 2 * w->pin_ticks + 1); now_ticks() < until;)
		cpu_relax();
	atomic_store(&w->begun, true);
	huge_unmap(w->at[from], w->huge, "a page of 1 GiB");
	w->generation++;
	stamp(w, to);
	w->now = to;
}

static void *refiller(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 1);
	uint32_t asked;

	while ((asked = atomic_load(&w->asked)) != NO_MORE) {
		if (asked == w->done) {
			cpu_relax();
			continue;
		}
		unmap_and_refill(w, &rng);
		atomic_store(&w->done, asked);
	}
	return NULL;
}

static void race_hugepud(struct race *race)
{
	unsigned int free;
	struct world w;

	need_pool(race);
	free = pool("free_hugepages");
	w = begin(race);
	race_begin(race);
	race_actors(race, pinner, refiller, &w);
	stretch_code_end();
	end(&w, free);
	race_count(race, "rounds", w.done);
	race_count(race, "trials", w.trials);
	race_count(race, "pins", w.pins);
	race_count(race, "turned_down", w.turned_down);
}

/* Then once more when it may be read only: the walk has a look of its own at that, too. */
static void refuse_writers(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;

	if (!(v->ops->is & VEHICLE_WRITES))
		return;
	if (mprotect(w->at[0], w->huge, PROT_READ))
		broken("mprotect(PROT_READ) of a page of 1 GiB: %s", strerror(errno));
	if (v->ops->pin(v, slot_at(w, 0, 1), PAGES, 1) > 0)
		race_hit(w->race, "admitted", "%s of a page of 1 GiB, PROT_READ: expected -EFAULT, "
			 "observed a pin", v->name);
	v->ops->unpin(v);
	race_add(w->race, "checks", 1);
}

static void pin_still(struct race *race)
{
	struct agree agree = agree_about(race, PAGES, MAPPING(0), "pinned in a page of 1 GiB");
	unsigned int free;
	struct world w;

	need_pool(race);
	free = pool("free_hugepages");
	w = begin(race);
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		agree.addr = slot_at(&w, 0, slot);
		race_add(race, "pins", agree_alone(&agree));
		race_add(race, "checks", 1);
	}
	refuse_writers(&w);
	end(&w, free);
}

/*
 * Forked, then pinned for reading: the walk has to leave to the slow path what is not the parent's
 * alone, and that takes a copy for it.
 */
static void pin_shared(struct race *race)
{
	struct agree agree = agree_about(race, PAGES, MAPPING(0), "of a page of 1 GiB, forked before");
	struct vehicle *v = &race->vehicle;
	unsigned int free;
	struct world w;
	int release, got;
	pid_t child;

	need_pool(race);
	free = pool("free_hugepages");
	w = begin(race);
	agree.addr = slot_at(&w, 0, 1);
	agree_stamp(&agree);
	child = waiter_fork(&release);
	if (child < 0)
		broken("a child that shares a page of 1 GiB: %s", strerror(errno));
	/* Where fork forgets such pages (docs/findings.md) there is nothing that is shared. */
	race_add(race, pagemap_of(child, agree.addr) & PAGEMAP_PRESENT ? "shared" : "lost_by_fork", 1);
	got = v->ops->pin(v, agree.addr, agree.pages, 1);
	agree_admitted(&agree, got);
	race_add(race, "pins", v->held);
	race_add(race, "checks", 1);
	if (v->held)
		agree_both_ways(&agree);
	v->ops->unpin(v);
	close(release);
	if (waitpid(child, NULL, 0) != child)
		broken("waitpid for %d: %s", child, strerror(errno));
	end(&w, free);
}

static const struct floor shared[] = {
	{ "checks", 1 },
	{ "pins", 1 },
	{ }
};

static const struct floor still[] = {
	{ "checks", SLOTS },
	{ "pins", SLOTS },
	{ }
};

static const struct floor floors[] = {
	{ "rounds", 8 },
	{ "trials", 4 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.still", &vehicle_probe, pin_still, still, 0 },
	{ "probe_ro_longterm.still", &vehicle_probe_ro_longterm, pin_still, still, 0 },
	{ "slow.still", &vehicle_slow, pin_still, still, 0 },
	{ "vmsplice.still", &vehicle_vmsplice, pin_still, still, 0 },
	{ "direct_in.still", &vehicle_direct_in, pin_still, still, 0 },
	{ "uring.still", &vehicle_uring, pin_still, still, 0 },
	{ "probe_ro.shared", &vehicle_probe_ro, pin_shared, shared, 0 },
	{ "fast.unmap", &vehicle_fast, race_hugepud, floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_hugepud",
	.summary = "pins of GUP-fast against unmap and refill of pages of 1 GiB (P3, P4)",
	.subtests = subtests,
};
