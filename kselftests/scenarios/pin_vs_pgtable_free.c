// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_pgtable_free - pins of GUP-fast against the free of the page tables it walks
 *
 * Property (P1): no page-table page is freed under a walker. GUP-fast walks with
 * interrupts off; a table that munmap took out of the tree is freed by RCU, or after a TLB flush
 * by IPI, and either waits for that. Where neither does:
 *
 *   A: pin the target: reads PGD to PTE, and is about to take the reference
 *   B: munmap of all that there is in the target's 512 GiB: clears the PTEs, takes PTE, PMD and PUD
 *      table out of the tree, and frees them at once
 *   B: touches another mapping alone in its 512 GiB: is given the three pages for its own tables,
 *      other data for a pipe: fills what is left of them
 *   A: takes the reference, reads the PMD again: in a freed page, or in one of somebody else's
 *
 * The pages of the target are a file's and stay when it is unmapped, so that A's grab succeeds and
 * its second read of the tables, the one out of bounds, takes place; in the subtests called anon
 * they go with the mapping, as do their PTEs: fewer of A's walks get that far, but more is
 * recycled.
 *
 * In the subtest probe.preempted, B calls up a thread of real-time priority on A's CPU, unmaps, and
 * has it stay there until grace periods of RCU are over (membarrier). With interrupts off A's walk
 * ends before; with interrupts on, A is still in it. Every second time what was freed stays free:
 * KASAN sees nothing wrong in a page that is somebody's again.
 *
 * A's window is stretched at the grab, and in the subtests called walk, and in probe.preempted, at a
 * random instruction of the whole walk, every 32 rounds at another and more or less: what may
 * be freed is read at many places, and some time after its PTEs have gone.
 *
 * Mode: steered; the time from the PTE's end to the table's is some tens of microseconds.
 *
 * Oracles: KASAN, or the kernel stumbles, on the console; and what a pin reads is what was stamped
 * at that address: foreign_stamp, wrong_generation, bad_stamp.
 *
 * Counters, beside those of race_trials(): pins, refusals (-EFAULT: unmapped), preempted_walks
 * (calls of A's begun before the real-time thread was called, and not over when a grace period was).
 *
 * No fix to name: the rule is that of the comment "Fast GUP" in mm/gup.c. Controls: M05, M06, M07,
 * G04, G05, G07, G58, G100. Kconfig: pin_vs_pgtable_free.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "huge.h"
#include "preempt.h"
#include "rng.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"

#define MAPPING_TARGET	1
#define MAPPING_OTHER	2

/* mmap goes top down: nothing else comes near these, and so nothing shares their tables. */
#define TARGET_ADDR	(1ul << 40)
#define OTHER_ADDR	(2ul << 40)
#define TABLE_SIZE	(2ul << 20)	/* what a table of PTEs maps */
#define PAGES		4u		/* pinned by one walk */
#define WALKS		4u		/* in one system call, if the vehicle holds so many pins */
#define PREEMPT_ONE_IN	4u		/* rounds */
#define NEXT_PLACE	32u		/* rounds at one place of the walk, then at another */
#define PROBE_TABLES	16u		/* tables looked at, to see whether an unmap frees them */

enum {
	OP_ANON		= 1u << 0,	/* or a file's pages */
	OP_DONTNEED	= 1u << 1,	/* or munmap */
	OP_PREEMPT	= 1u << 2,
	OP_WALK		= 1u << 3,	/* stretch the walk anywhere, not only at the grab */
};

struct world {
	unsigned int flags;
	size_t page;
	unsigned int walks;
	uint8_t *target;
	uint8_t *other;
	int fd;				/* of the file whose pages the target shows */
	int pipe[2];
	uint8_t *data;			/* a page of it, for the pipe */
	uint64_t generation;
	int got;			/* by A's pin call */

	struct rng rng;
	unsigned int rounds;
	bool preempt;			/* in this trial */
	uint64_t entered, returned;	/* A's pin call, ticks */
	uint64_t called, awaited;	/* by B: the preempter, a grace period */
	bool recycles;			/* in this trial: freed pages get a new life */
	struct preempter *preempter;

	uint64_t pins, refusals, preempted_walks;
};

static void stamp(const struct world *w, uint8_t *at, uint64_t mapping, uint64_t generation)
{
	for (unsigned int i = 0; i < PAGES; i++)
		stamp_page(at + i * w->page, stamp_of(mapping, i, generation));
}

static void *map(unsigned long addr, int flags, int fd, const char *what)
{
	void *map = mmap((void *)addr, TABLE_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (map != (void *)addr)
		broken("mmap(%#lx, %lu, flags %#x) for %s: %s", addr, TABLE_SIZE, flags, what,
		       strerror(errno));
	name_mapping(map, TABLE_SIZE, what);
	if (fd < 0)
		check_madvise(map, TABLE_SIZE, MADV_NOHUGEPAGE, what);
	return map;
}

/*
 * The PTEs of the file's pages come from reads: clean ones, whose unmap need not flush before the
 * tables are freed.
 */
static void fill_target(struct world *w)
{
	if (w->flags & OP_ANON) {
		w->generation++;
		stamp(w, w->target, MAPPING_TARGET, w->generation);
		return;
	}
	for (unsigned int i = 0; i < PAGES; i++)
		(void)*(volatile uint8_t *)(w->target + i * w->page);
}

static void map_target(struct world *w)
{
	w->target = map(TARGET_ADDR, w->flags & OP_ANON ?
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE :
			MAP_SHARED | MAP_FIXED_NOREPLACE, w->fd, "guprace target");
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	if (w->flags & OP_WALK && w->rounds++ % NEXT_PLACE == 0)
		stretch_walk(race, STRETCH_VARIED(w->rounds / NEXT_PLACE));
	if (!(w->flags & OP_DONTNEED))
		map_target(w);
	fill_target(w);
	w->other = map(OTHER_ADDR, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		       "guprace other");
	/* Not while windows are measured: grace periods are a hundred times as long. */
	w->preempt = w->flags & OP_PREEMPT && !race_sampling(race) &&
		     !rng_below(&w->rng, PREEMPT_ONE_IN);
	w->recycles = !w->preempt || rng_below(&w->rng, 2);
}

static void pin(struct race *race, void *arg)
{
	struct world *w = arg;

	w->entered = now_ticks();
	w->got = race->vehicle.ops->pin(&race->vehicle, w->target, PAGES, w->walks);
	w->returned = now_ticks();
}

/* The kernel's own pages next: a pipe's are of the kind that page tables are. */
static void recycle(struct world *w)
{
	stamp(w, w->other, MAPPING_OTHER, w->generation);
	if (write(w->pipe[1], w->data, w->page) != (ssize_t)w->page)
		broken("write of a page to a pipe: %s", strerror(errno));
}

static void unmap_and_recycle(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->called = now_ticks();
	if (w->preempt)
		preempter_call(w->preempter);
	if (w->flags & OP_DONTNEED)
		check_madvise(w->target, TABLE_SIZE, MADV_DONTNEED, "the target");
	else
		check_munmap(w->target, TABLE_SIZE, "the target");
	if (w->preempt)
		preempter_await_rcu();
	w->awaited = now_ticks();
	if (w->recycles)
		recycle(w);
	if (w->preempt)
		preempter_dismiss(w->preempter);
}

static void judge_pin(struct race *race, struct world *w, unsigned int pin, const struct stamp *s)
{
	unsigned int index = pin % PAGES;

	if (stamp_is(s, MAPPING_TARGET, index, w->generation))
		return;
	race_hit(race, stamp_oracle(s, MAPPING_TARGET, index),
		 "pin %u: expected mapping %d index %u generation %" PRIu64 ", observed words %" PRIu64 " %" PRIu64 " %" PRIu64 " %#" PRIx64, pin,
		 MAPPING_TARGET, index, w->generation, s->mapping, s->index, s->generation, s->check);
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];

	/* The preempter may come too late for a call, or before it. */
	w->preempted_walks += w->preempt && w->entered < w->called && w->returned > w->awaited;
	if (w->got < 0) {
		if (w->got != -EFAULT)
			broken("%s pin of the target: %s", v->name, strerror(-w->got));
		w->refusals++;
		return;
	}
	w->pins += w->got;
	v->ops->read(v, stamps);
	for (int i = 0; i < w->got; i++)
		judge_pin(race, w, i, &stamps[i]);
	v->ops->unpin(v);
}

static void settle(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	if (w->recycles && read(w->pipe[0], w->data, w->page) != (ssize_t)w->page)
		broken("read of a page from a pipe: %s", strerror(errno));
	check_munmap(w->other, TABLE_SIZE, "the other mapping");
}

/* How many page-table pages MADV_DONTNEED frees, of PROBE_TABLES that it empties. */
static unsigned int tables_freed(const struct world *w)
{
	size_t size = PROBE_TABLES * TABLE_SIZE;
	uint8_t *area = check_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   "the tables to look at");
	uint64_t before, after;

	check_madvise(area, size, MADV_NOHUGEPAGE, "the tables to look at");
	for (size_t at = 0; at < size; at += TABLE_SIZE)
		area[at] = 1;
	before = huge_tables();
	check_madvise(area, size, MADV_DONTNEED, "the tables to look at");
	after = huge_tables();
	check_munmap(area, size, "the tables to look at");
	return before > after ? (before - after) / w->page : 0;
}

/* Its pages live on; so does what is stamped on them. */
static void make_file(struct world *w)
{
	uint8_t *map;

	w->fd = memfd_create("guprace target", MFD_CLOEXEC);
	if (w->fd < 0 || ftruncate(w->fd, TABLE_SIZE))
		broken("memfd of %lu bytes: %s", TABLE_SIZE, strerror(errno));
	map = mmap(NULL, TABLE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	if (map == MAP_FAILED)
		broken("mmap of the memfd: %s", strerror(errno));
	stamp(w, map, MAPPING_TARGET, w->generation);
	check_munmap(map, TABLE_SIZE, "the memfd");
}

static void world_init(struct race *race, struct world *w)
{
	unsigned int walks = race->vehicle.capacity / PAGES;

	huge_need_address(race, TARGET_ADDR);
	huge_need_address(race, OTHER_ADDR);
	w->walks = walks < WALKS ? walks : WALKS;
	w->fd = -1;
	if (!w->walks)
		race_skip(race, "%s holds %u pins, not %u", race->vehicle.name,
			  race->vehicle.capacity, PAGES);
	if (w->flags & OP_DONTNEED && !tables_freed(w))
		race_skip(race, "MADV_DONTNEED keeps the emptied page tables here (VmPTE)");
	if (w->flags & OP_PREEMPT)
		w->preempter = preempter_start(race);
	if (!(w->flags & OP_ANON))
		make_file(w);
	if (pipe2(w->pipe, O_CLOEXEC))
		broken("pipe2: %s", strerror(errno));
	w->data = malloc(w->page);
	if (!w->data)
		broken("malloc of %zu bytes", w->page);
	memset(w->data, 0xff, w->page);
	if (w->flags & OP_DONTNEED)
		map_target(w);
}

static void world_exit(struct world *w)
{
	if (w->flags & OP_PREEMPT)
		preempter_stop(w->preempter);
	if (w->flags & OP_DONTNEED)
		check_munmap(w->target, TABLE_SIZE, "the target");
	if (w->fd >= 0)
		close(w->fd);
	close(w->pipe[0]);
	close(w->pipe[1]);
	free(w->data);
}

static void race_pgtable_free(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare,
		.a = pin,
		.b = unmap_and_recycle,
		.judge = judge,
		.settle = settle,
	};
	struct world w = {
		.flags = race->subtest->arg,
		.page = getpagesize(),
		.rng = rng_seeded(race->seed, 1),
	};

	world_init(race, &w);
	race_trials(race, &trial, &w);
	stretch_code_end();
	world_exit(&w);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "preempted_walks", w.preempted_walks);
}

static const struct floor floors[] = {
	{ "trials", 40 },
	{ "pins", 100 },
	{ }
};

/*
 * A stretched walk mostly finds the range unmapped: how often not depends on the places (6.12/arm64/kcsan: 8
 * pins in 309 trials, 142 in 512; 6.12/x86_64/kcsan: 1 in 230, and 241 back-offs). That A finds pages at all
 * is asked of the subtests before.
 */
static const struct floor floors_walk[] = {
	{ "trials", 40 },
	{ }
};

/*
 * Grace periods take their time. B unmaps while A's CPU is taken from it: that A finds pages at all
 * is all that its pins say (x86_64: 6 of 248 trials), the calls that were cut in two are the race
 * (6.12/x86_64/kcsan: 11 of 320 rounds in 5 s).
 */
static const struct floor floors_preempt[] = {
	{ "trials", 16 },
	{ "pins", 2 },
	{ "preempted_walks", 3 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.file", &vehicle_probe, race_pgtable_free, floors, 0 },
	{ "probe.anon", &vehicle_probe, race_pgtable_free, floors, OP_ANON },
	{ "probe.walk", &vehicle_probe, race_pgtable_free, floors_walk, OP_WALK },
	{ "vmsplice.walk", &vehicle_vmsplice, race_pgtable_free, floors_walk, OP_WALK },
	{ "probe.preempted", &vehicle_probe, race_pgtable_free, floors_preempt,
	  OP_PREEMPT | OP_WALK },
	{ "probe.dontneed", &vehicle_probe, race_pgtable_free, floors, OP_DONTNEED | OP_WALK },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_pgtable_free",
	.summary = "pins of GUP-fast against the free of the page tables it walks (P1)",
	.subtests = subtests,
};
