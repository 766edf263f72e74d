// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_dax - pins of GUP-fast against the end of memory that a file system maps directly (DAX)
 *
 * Property (P2, P4): the pages of a file on persistent memory are a device's
 * (ZONE_DEVICE), and never free: with the page cache, a page that a file has lost stays with whoever
 * pinned it, here it is a block that the file system gives to the next file. So it has to wait for the
 * pin. What stands between is the count, which is 1 while nobody has the page, and the walk's second
 * read of the PTE:
 *
 *   A: pin: reads the PTE of page i of the file
 *   B: fallocate(FALLOC_FL_PUNCH_HOLE): clears the PTE, flushes, sees the count at 1: nobody has it
 *   A: takes the reference: the count of such a page is never zero, so that always succeeds
 *   B: gives the block away
 *   A: reads the PTE again: it is gone: gives the reference back
 *      ... else A holds, and may write, what is a block of another file
 *
 * The other way round B finds the reference and waits, until A gives it back: dax_layout_busy_page().
 * In 6.1 and 6.12 a walk knows such pages by a bit of the PTE (pte_devmap(); 7.2 has none) and asks the
 * device before it takes the reference (get_dev_pagemap()); long-term pins are left to the slow path, which
 * refuses them (2bb6d2837083, "mm: introduce get_user_pages_longterm", v4.15): a file could never shrink
 * again. Huge pages have a leaf of their own (gup_fast_devmap_leaf()), which takes a
 * reference on each page, and undoes all of them.
 *
 * Until v6.15 the file warns when it finds a reference on a page that nobody had a moment before
 * (dax_disassociate_entry()), and that may be a walk's, which gives it back (P5; docs/findings.md).
 *
 * Operations:
 *   held        no race: what is pinned is at the address, the file waits for it, long-term pins are
 *               refused
 *   punch       fallocate(FALLOC_FL_PUNCH_HOLE)
 *   truncate    ftruncate to nothing, and back
 *   unplugged   no race: the device goes, and the page table still has its pages, for reading: the walk asks
 *               for the device, and turns back. The pages themselves stay so long, by the probe module
 *   *_huge      of what one PMD maps, all of it; pages in its middle are pinned
 *
 * Mode: steered; by turns the walk, the grab, or B's look at the counts is stretched at a random instruction,
 * since B's unmap and look take longer than a walk that is not. B waits for a moment only
 * (lib/patience.h): A holds the pins until it has been judged whether that was right.
 *
 * Oracles:
 *   given_away        the file lost its page under a pin
 *   never_idle        the file waits for pins that have been given back
 *   device_stays      the device cannot be taken away: somebody has a reference on it
 *   foreign_stamp, wrong_generation, bad_stamp
 *                     a pin holds another page of the file, or what it was before
 *   address_differs   what the file lost does not read as zeros, or what it kept is lost
 *   pin_differs       a pin and the address are not one page
 *   refused           a pin failed of what is mapped, or would be by a fault, where the file never ended
 *   admitted          a long-term pin was not refused, or a pin of a device that is gone
 *
 * Counters, besides those of lib/trial.c: calls, pins, refusals (of the fast walk, or past the end); kept, calls that
 * a pin made wait; lost, calls that had their way; alone, calls that waited for somebody else; huge, trials
 * of what one PMD mapped.
 *
 * Needs the probe module, RAM behind what mem= leaves (pin_vs_dax.cmdline, pin_vs_dax.memory), the kernel's
 * pmem driver and ext4; else a skip.
 *
 * Fixed by: pte_devmap() came with 3565fce3a659 ("mm, x86: get_user_pages() for dax mappings", v4.5), the
 * wait with 5fac7408d828 ("mm, fs, dax: handle layout changes to pinned dax mappings", v4.18); no CVE.
 * Controls: G91, G92, G93, G94, G95, G96, G97, G98. Kconfig: pin_vs_dax.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"
#include "clock.h"
#include "huge.h"
#include "pagemap.h"
#include "patience.h"
#include "pmem.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"
#include "taint.h"

#define MAPPING_TARGET	1
#define MAPPING_ASIDE	2
#define PINNED		2u	/* pages of one walk */
#define WALKS		4u	/* in one pin call */
#define SMALL_PAGES	4u	/* of a file that is not huge; the first of those pinned: */
#define SMALL_FIRST	1u
#define HUGE_FIRST	37u
#define PATIENCE_TIMES	4u	/* what B's call takes with nobody else there, */
#define PATIENCE_LEAST	200000u	/* ns, */
#define PATIENCE_MOST	50000000u
#define HOLD_NS		5000000u
#define IDLE_NS		2000000000u
#define NEXT_PLACE	96u	/* rounds at one place that is stretched: a search for the next takes as long */
#define ROUNDS		8u	/* of what needs no race, */
#define UNPLUGS		3u	/* and takes the device away */

#define HUGE		(1u << 0)
#define TRUNCATE	(1u << 1)

struct world {
	struct race *race;
	size_t page, size;	/* bytes; of the file */
	unsigned int pages;
	unsigned int first;	/* of those that are pinned */
	bool huge, truncate;
	int fd, aside_fd;
	uint8_t *file;
	uint8_t *target;	/* what A pins of it */
	uint8_t *aside;		/* what A pins while B's window is measured */
	uint64_t generation;
	uint64_t patience_ns;	/* of B's, when its call has to wait */
	bool sampling;		/* in this trial */
	bool small;		/* in this trial a table maps what a PMD should */
	int got;		/* by A's pin call: pins, or -errno */
	int err;		/* of B's call */
	uint64_t rounds, calls, pins, refusals, kept, lost, alone, huges;
};

static int take_away(const struct world *w)
{
	if (w->truncate)
		return ftruncate(w->fd, 0) || ftruncate(w->fd, w->size) ? errno : 0;
	return fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, w->size) ? errno : 0;
}

static int take_away_within(const struct world *w, uint64_t ns)
{
	int err;

	patience_begin(ns);
	err = take_away(w);
	patience_end();
	return err;
}

/* Nobody has a pin: then nothing keeps the file from its end. */
static bool empty(struct world *w)
{
	int err = take_away_within(w, IDLE_NS);

	if (err == EINTR && !w->race->naive)
		race_hit(w->race, "never_idle", "expected the file to lose its pages, whose pins have been given "
			 "back, observed it waiting for %u s", IDLE_NS / 1000000000u);
	else if (err && err != EINTR)
		broken("taking %zu bytes from the file: %s", w->size, strerror(err));
	return !err;
}

static long faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		broken("getrusage: %s", strerror(errno));
	return usage.ru_minflt;
}

/* New pages, zeroed by the file system: one fault is enough for all of them, where a PMD maps them. */
static void fill(struct world *w)
{
	long before = faults();

	if (w->huge && fallocate(w->fd, 0, 0, w->size))
		broken("fallocate of %zu bytes: %s", w->size, strerror(errno));
	for (unsigned int i = 0; i < w->pages; i += w->huge ? w->pages / 4 : 1)
		stamp_page(w->file + i * w->page, stamp_of(MAPPING_TARGET, w->pages + i, w->generation));
	w->small = w->huge && faults() != before + 1;
	w->huges += w->huge && !w->small;
}

static void stamp_target(struct world *w, uint64_t generation)
{
	for (unsigned int i = 0; i < PINNED; i++)
		stamp_page(w->target + i * w->page, stamp_of(MAPPING_TARGET, i, generation));
}

static bool is_ours(const struct stamp *s, unsigned int index, uint64_t generation)
{
	return stamp_is(s, MAPPING_TARGET, index, generation);
}

static void lose(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	fill(w);
	empty(w);
}

/* From B's unmap to its look at the last page's count is longer than a walk; the look itself is not. */
static void stretch(struct race *race, struct world *w, unsigned int turn)
{
	static const char * const names[] = { "dax_layout_busy_page_range", NULL };
	static const struct stretch_code look = {
		.names = names, .least = 1, .pass = lose,
	};
	/* Of what one PMD maps, it looks at 512 counts. */
	unsigned int reads = w->huge ? STRETCH_VARIED(1) : STRETCH_SHORT;

	if (turn % 3 == 2)
		stretch_code(race, &look, w, STRETCH_SHORT);
	else if (turn % 3)
		stretch_grab(race, reads);
	else
		stretch_walk_and_grab(race, reads);
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	w->sampling = race_sampling(race);
	if (w->rounds++ % NEXT_PLACE == NEXT_PLACE - 1 && !w->sampling)
		stretch(race, w, w->rounds / NEXT_PLACE);
	w->generation += 2;
	if (empty(w))
		fill(w);
	stamp_target(w, w->generation);
}

static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->sampling ? w->aside : w->target, PINNED, WALKS);
}

/* By the shortest call: it is only what waits that is ended. */
static void learn_patience(struct world *w, uint64_t call_ns)
{
	uint64_t ns = call_ns * PATIENCE_TIMES;

	if (ns < PATIENCE_LEAST)
		ns = PATIENCE_LEAST;
	if (ns < w->patience_ns)
		w->patience_ns = ns;
}

static void change(struct race *race, void *arg)
{
	struct world *w = arg;
	uint64_t begin = now_ns();

	(void)race;
	w->err = take_away_within(w, w->patience_ns);
	if (w->sampling)
		learn_patience(w, now_ns() - begin);
}

static void report(struct world *w, const char *oracle, const char *what, unsigned int index,
		   const struct stamp *s)
{
	race_hit(w->race, oracle, "%s %u: expected mapping %d index %u generation %" PRIu64 ", " STAMP_SEEN,
		 what, index, MAPPING_TARGET, index, w->generation, STAMP_SEEN_ARGS(s));
}

/* The file has the pages still, or zeros. */
static void judge_address(struct world *w)
{
	for (unsigned int i = 0; i < PINNED; i++) {
		struct stamp s = stamp_load(w->target + i * w->page);

		if (w->err ? !is_ours(&s, i, w->generation) : !stamp_blank(&s))
			report(w, "address_differs", w->err ? "address, kept, of page" :
			       "address of page (or zeros, since the file lost it)", i, &s);
	}
}

/*
 * A's pins are held until here, and B's call is over. If it had its way, no pin is of what was there
 * before; a fault of A's own may have brought new pages since.
 */
static void judge_pins(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];
	bool blank = false;

	v->ops->read(v, stamps);
	for (int i = 0; i < w->got; i++) {
		const struct stamp *s = &stamps[i];
		unsigned int index = i % PINNED;
		bool old = is_ours(s, index, w->generation);

		blank |= stamp_blank(s);
		if (!w->err && old)
			report(w, "given_away", "the file lost, under pin", i, s);
		else if (!old && (w->err || !stamp_blank(s)))
			report(w, stamp_oracle(s, MAPPING_TARGET, index), "pin of page", index, s);
	}
	/* Of a hole, to read, it is a page of zeros that a write replaces. */
	if (v->ops->is & VEHICLE_READ_DROPS || (blank && !(v->ops->is & VEHICLE_WRITES)))
		return;
	w->generation++;
	stamp_target(w, w->generation);
	v->ops->read(v, stamps);
	for (int i = 0; i < w->got; i++) {
		if (!is_ours(&stamps[i], i % PINNED, w->generation))
			report(w, "pin_differs", "pin of page", i % PINNED, &stamps[i]);
	}
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	bool fast = v->ops->is & VEHICLE_FAST;

	if (w->err && w->err != EINTR)
		broken("%s of %zu bytes: %s", race->subtest->name, w->size, strerror(w->err));
	/* Short of memory, or told to die: nothing is refused by that. */
	if (w->got < 0 && w->got != -EFAULT && w->got != -EAGAIN)
		broken("%s pin of a file's pages: %s", v->name, strerror(-w->got));
	if (w->small)
		race_empty(race);
	w->calls++;
	w->pins += w->got > 0 ? w->got : 0;
	if (!w->sampling) {
		w->lost += !w->err;
		w->kept += w->err && w->got > 0;
		w->alone += w->err && w->got <= 0;
		judge_address(w);
		if (w->got > 0)
			judge_pins(w);
		w->refusals += w->got <= 0;
	}
	/* The file may have ended at that moment. */
	if (w->got <= 0 && !(fast && w->got == -EAGAIN) && !(w->truncate && w->got == -EFAULT))
		race_hit(race, "refused", "expected a pin of what is mapped, observed %s", strerror(-w->got));
	if (w->got > 0)
		v->ops->unpin(v);
}

static uint8_t *map_file(uint8_t *at, int fd, size_t size)
{
	uint8_t *map = huge_map(at, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, "a file on persistent memory");

	if (ftruncate(fd, size))
		broken("ftruncate to %zu: %s", size, strerror(errno));
	return map;
}

static int file_or_skip(struct race *race)
{
	char why[192];
	int fd = pmem_file(why, sizeof(why));

	if (fd >= 0)
		return fd;
	pmem_close();
	race_skip(race, "%s", why);
}

static void set_up(struct world *w, struct race *race)
{
	size_t huge = huge_size(race), page = getpagesize();
	char why[192];
	uint8_t *room;

	if (!pmem_open(why, sizeof(why)))
		race_skip(race, "%s", why);
	*w = (struct world){
		.race = race,
		.page = page,
		.huge = race->subtest->arg & HUGE,
		.truncate = race->subtest->arg & TRUNCATE,
		.patience_ns = PATIENCE_MOST,
	};
	w->pages = w->huge ? huge / page : SMALL_PAGES;
	w->first = w->huge ? HUGE_FIRST : SMALL_FIRST;
	w->size = w->pages * page;
	w->fd = file_or_skip(race);
	w->aside_fd = file_or_skip(race);
	room = huge_reserve(2 * huge, huge, "files on persistent memory");
	w->file = map_file(room, w->fd, w->size);
	w->target = w->file + w->first * page;
	w->aside = map_file(room + huge, w->aside_fd, PINNED * page);
	for (unsigned int i = 0; i < PINNED; i++)
		stamp_page(w->aside + i * page, stamp_of(MAPPING_ASIDE, i, 1));
}

static void tear_down(struct world *w)
{
	size_t huge = huge_size(w->race);

	huge_release(w->file, 2 * huge, "files on persistent memory");
	close(w->fd);
	close(w->aside_fd);
	if (!pmem_close())
		race_hit(w->race, "device_stays", "expected the device of %" PRIu64 " pins to go, which have been given "
			 "back, observed it waiting for ten seconds", w->pins);
}

static void run(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare, .a = take_pins, .b = change, .judge = judge,
	};
	struct world w;

	set_up(&w, race);
	race_begin(race);
	race_trials(race, &trial, &w);
	stretch_code_end();
	tear_down(&w);
	race_count(race, "calls", w.calls);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "kept", w.kept);
	race_count(race, "lost", w.lost);
	race_count(race, "alone", w.alone);
	if (w.huge)
		race_count(race, "huge", w.huges);
}

/* One pin after the other, with nobody else there: it is of what is at the address, and the file waits. */
static void hold(struct world *w, struct vehicle *v)
{
	struct agree agree = agree_about(w->race, PINNED, MAPPING_TARGET, "with nobody else there");
	int err;

	agree.addr = w->target;
	agree.generation = w->generation;
	agree_stamp(&agree);
	agree_admitted(&agree, v->ops->pin(v, w->target, PINNED, 1));
	w->pins += v->held;
	if (v->held) {
		agree_both_ways(&agree);
		err = take_away_within(w, HOLD_NS);
		if (!err)
			race_hit(w->race, "given_away", "expected the file to wait for the pins of %s, observed that it "
				 "did not", v->name);
		else if (err != EINTR)
			broken("taking %zu bytes from the file: %s", w->size, strerror(err));
		agree_both_ways(&agree);
	}
	w->generation = agree.generation;
	if (v->held)
		v->ops->unpin(v);
}

static void be_refused(struct world *w, struct vehicle *v)
{
	int got = v->ops->pin(v, w->target, PINNED, 1);

	if (got > 0)
		race_hit(w->race, "admitted", "expected %s of a file on persistent memory to be refused, observed %d "
			 "pins", v->name, got);
	else if (got != -EOPNOTSUPP)
		race_hit(w->race, "refused", "expected %s, %s, observed %s", v->name, strerror(EOPNOTSUPP),
			 strerror(-got));
	w->refusals += got <= 0;
	if (got > 0)
		v->ops->unpin(v);
}

static void held(struct race *race)
{
	static const struct vehicle_ops * const all[] = {
		&vehicle_probe, &vehicle_probe_ro, &vehicle_probe_get_rw, &vehicle_fast, &vehicle_fast_ro,
		&vehicle_slow, &vehicle_slow_ro, &vehicle_probe_longterm, &vehicle_probe_ro_longterm,
		&vehicle_slow_longterm, &vehicle_slow_ro_longterm, &vehicle_uring,
	};
	struct vehicle own = race->vehicle;
	struct world w;
	char why[192];

	set_up(&w, race);
	for (unsigned int i = 0; i < ROUNDS * sizeof(all) / sizeof(all[0]) && race_running(race); i++) {
		const struct vehicle_ops *ops = all[i % (sizeof(all) / sizeof(all[0]))];

		if (vehicle_open(&race->vehicle, ops, why, sizeof(why)))
			continue;
		w.generation++;
		if (empty(&w))
			fill(&w);
		if (ops->is & VEHICLE_LONGTERM)
			be_refused(&w, &race->vehicle);
		else
			hold(&w, &race->vehicle);
		w.calls++;
		ops->close(&race->vehicle);
	}
	race->vehicle = own;
	tear_down(&w);
	race_count(race, "checks", w.calls);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	if (w.huge)
		race_count(race, "huge", w.huges);
}

/* The page table still has the pages. */
static void be_turned_back(struct world *w)
{
	struct vehicle *v = &w->race->vehicle;
	int got = v->ops->pin(v, w->target, PINNED, 1);

	if (got > 0)
		race_hit(w->race, "admitted", "expected the walk to turn back from a device that is gone, observed %d "
			 "pins of it", got);
	else if (got != -EAGAIN)
		broken("%s pin of a device that is gone: %s", v->name, strerror(-got));
	w->refusals += got <= 0;
	w->calls++;
}

/*
 * A page that is counted as mapped is looked at by the walk as any other (7.2), and to take its device away
 * is somebody else's business. In 6.1 and 6.12 none is, where a PTE maps it.
 */
static bool counted(const struct world *w)
{
	uint64_t entry;

	pagemap_read(w->aside, &entry, 1);
	return entry & PAGEMAP_FILE;
}

static void unplugged(struct race *race)
{
	struct vehicle *v = &race->vehicle;
	uint64_t checks = 0, pins = 0, entry;
	bool went = true;
	struct world w;
	char why[192];

	for (unsigned int i = 0; i < UNPLUGS && race_running(race) && went; i++) {
		set_up(&w, race);
		if (counted(&w)) {
			tear_down(&w);
			race_skip(race, "the walk takes a device's pages for any others here");
		}
		fill(&w);
		stamp_target(&w, 1);
		if (v->ops->pin(v, w.target, PINNED, 1) == (int)PINNED) {
			pins += v->held;
			v->ops->unpin(v);
		}
		pagemap_read(w.target, &entry, 1);
		if (!pmem_hold(entry & PAGEMAP_PFN, why, sizeof(why))) {
			tear_down(&w);
			race_skip(race, "%s", why);
		}
		went = pmem_unplug();
		if (went)
			be_turned_back(&w);
		tear_down(&w);
		checks += w.calls;
	}
	/* One that does not go afterwards either is a hit, and no reason to skip. */
	if (!went && !race->hits)
		race_skip(race, "a device does not go while its pages are mapped");
	race_count(race, "checks", checks);
	race_count(race, "pins", pins);
}

static const struct floor checked[] = {
	{ "checks", 9 * ROUNDS },
	{ "pins", 5 * ROUNDS * PINNED },
	{ "refusals", 4 * ROUNDS },
	{ }
};

static const struct floor checked_huge[] = {
	{ "checks", 9 * ROUNDS },
	{ "pins", 5 * ROUNDS * PINNED },
	{ "refusals", 4 * ROUNDS },
	{ "huge", 5 * ROUNDS },
	{ }
};

static const struct floor turned_back[] = {
	{ "checks", UNPLUGS },
	{ "pins", UNPLUGS * PINNED },
	{ }
};

static const struct floor raced[] = {
	{ "trials", 20 },
	{ "kept", 10 },
	{ "lost", 10 },
	{ }
};

static const struct floor raced_huge[] = {
	{ "trials", 20 },
	{ "kept", 10 },
	{ "lost", 10 },
	{ "huge", 20 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.held", &vehicle_probe, held, checked, 0 },
	{ "probe.held_huge", &vehicle_probe, held, checked_huge, HUGE },
	{ "fast_ro.unplugged", &vehicle_fast_ro, unplugged, turned_back, 0 },
	{ "fast_ro.unplugged_huge", &vehicle_fast_ro, unplugged, turned_back, HUGE },
	{ "fast.punch", &vehicle_fast, run, raced, 0 },
	{ "fast.punch_huge", &vehicle_fast, run, raced_huge, HUGE },
	{ "probe.truncate", &vehicle_probe, run, raced, TRUNCATE },
	{ "probe_ro.truncate_huge", &vehicle_probe_ro, run, raced_huge, HUGE | TRUNCATE },
	{ "vmsplice.punch", &vehicle_vmsplice, run, raced, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_dax",
	.summary = "pins of GUP-fast against the end of memory that a file system maps directly (P2, P4)",
	.subtests = subtests,
	.taints = TAINT_WARN,	/* dax_disassociate_entry(), see P5 above */
};
