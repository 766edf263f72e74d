// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_ksm - pins of GUP-fast against merging and unmerging of same pages
 *
 * Property (PX): a page that is pinned is not merged away from its address, and a
 * pin never is of a page that others share. KSM takes the PTE away, and only then compares the
 * references with the mappings; GUP-fast takes its reference, and only then reads the PTE again:
 *
 *   A: pin: reads the PTE of page i, takes the pin
 *   B: ksmd, write_protect_page(): clears the PTE of page i, flushes the TLB
 *   B: finds more references than mappings: puts the PTE back
 *      ... had it looked before it cleared the PTE, or not at all, it would go on: map the merged
 *      page in place of page i (replace_page)
 *   A: reads the PTE again: it has changed: gives the pin back; the slow path unshares the page
 *      ... else A holds the old page, the process sees the merged one
 *   A: writes by address: copy-on-write: not seen through the pin
 *
 * Unmerging is copy-on-write for the whole range; a pin taken meanwhile is of the copy.
 *
 * Mode: steered; held pins need no race. B's window lets ksmd make one pass, with everything it can
 * want: two keepers for each page of the target, merged before. A pins all pages by one walk. When
 * the windows end ksmd stands still, so nothing merges between the looks of the oracle. By turns
 * ksmd is stretched where it write-protects a page, at a random instruction of that or of
 * ptep_clear_flush().
 *
 * Oracles (lib/agree.h), after both windows: pin_differs, address_differs, foreign_stamp,
 * bad_stamp; and leaked: what is written to the target shows in what was merged with it. A FOLL_GET
 * that was there before the merge stops it as well, so it is held to the same; raced, it may get the
 * old page between write-protection and replacement: legal, so only FOLL_PINs race.
 *
 * Counters:
 *   checks         of held pins, where no race is needed; the others count trials (lib/trial.c)
 *   pins           pages pinned
 *   merged, kept   pages of the target found merged, or not, after both windows
 *   swapped        in held_clean: pages that were, and were read in again
 *
 * Fixed by: 6c287605fd56 ("mm: remember exclusively mapped anonymous pages with PG_anon_exclusive",
 * v5.19) for pins; the reference count is as old as KSM. No CVE. Controls: M24, G14, G37, G77.
 * Kconfig: pin_vs_ksm.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "clock.h"
#include "pagemap.h"
#include "scenario.h"
#include "setting.h"
#include "stamp.h"
#include "stretch.h"
#include "swap.h"

#define KSM		"/sys/kernel/mm/ksm/"
#define MAPPING_TARGET	1
#define PAGES		8u		/* of the target, and of each keeper */
#define REPEATS		6u		/* of what needs no race */
#define NEXT_PLACE	16u		/* rounds at one place of ksmd, then at another, or none */
#define SETTLE_NS	(20 * NSEC_PER_SEC)	/* for the keepers to be merged */

struct world {
	struct race *race;
	struct agree agree;
	size_t size;
	uint8_t *keeper[2];
	int run;			/* file descriptors */
	int full_scans;
	unsigned int pinned;
	unsigned int rounds;
	int got;
	uint64_t checks, pins, merged, kept, swapped;
};

/* ksmd is to stand still until a scan is asked for, and then to make a whole pass at one go. */
static void configure(struct race *race)
{
	char line[32];

	if (!setting_read(KSM "run", line, sizeof(line)))
		race_skip(race, "no " KSM ": this kernel has no KSM");
	if (!setting_change(KSM "run", "0") || !setting_change(KSM "sleep_millisecs", "0") ||
	    !setting_change(KSM "pages_to_scan", "100000"))
		race_skip(race, "the settings of KSM are root's");
	setting_change(KSM "smart_scan", "0");	/* v6.7 on: none is left out */
}

static void write_run(struct world *w, const char *value)
{
	if (pwrite(w->run, value, 1, 0) != 1)
		broken("write of %s to " KSM "run: %s", value, strerror(errno));
}

static unsigned long passes(struct world *w)
{
	char text[32] = "";

	if (pread(w->full_scans, text, sizeof(text) - 1, 0) <= 0)
		broken("read of " KSM "full_scans: %s", strerror(errno));
	return strtoul(text, NULL, 10);
}

/* At least one whole pass of ksmd, which stands still before and after. */
static void scan(struct race *race, void *arg)
{
	struct world *w = arg;
	static const struct timespec look_again = { .tv_nsec = 50000 };
	unsigned long before = passes(w);

	(void)race;
	write_run(w, "1");
	while (passes(w) == before)
		nanosleep(&look_again, NULL);
	write_run(w, "0");
}

static void unmerge(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	check_madvise(w->agree.addr, w->size, MADV_UNMERGEABLE, "the target");
}

static unsigned int count_equal(const void *a, const void *b, unsigned int pages)
{
	uint64_t x[PAGES], y[PAGES];
	unsigned int equal = 0;

	pagemap_read(a, x, pages);
	pagemap_read(b, y, pages);
	for (unsigned int i = 0; i < pages; i++)
		equal += !((x[i] ^ y[i]) & PAGEMAP_PFN);
	return equal;
}

/* The target's pages are its own again, and each like those of the keepers. */
static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->agree.generation = 0;
	agree_stamp(&w->agree);
}

/* With nobody else there. */
static void merge_alone(struct race *race, void *arg)
{
	prepare(race, arg);
	scan(race, arg);
}

/* The last thing before the PTE is gone is a function of its own, the same on every kernel. */
static void stretch(struct race *race, struct world *w, unsigned int turn)
{
	static const char * const names[] = {
		"write_protect_page", "try_to_merge_one_page", "try_to_merge_with_ksm_page",
		"cmp_and_merge_page", NULL
	};
	static const struct stretch_code merge = {
		.names = names, .least = PAGES / 2, .pass = merge_alone,
	};
	static const char * const clear_names[] = { "ptep_clear_flush", NULL };
	static const struct stretch_code clear = {
		.names = clear_names, .least = PAGES / 2, .pass = merge_alone,
	};

	stretch_by_turns(race, turn % 4 == 1 ? &clear : &merge, w, STRETCH_VARIED(turn / 4), turn);
}

static void prepare_race(struct race *race, void *arg)
{
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch(race, w, w->rounds / NEXT_PLACE);
	prepare(race, arg);
}

static void prepare_merged(struct race *race, void *arg)
{
	struct world *w = arg;

	check_madvise(w->agree.addr, w->size, MADV_MERGEABLE, "the target");
	prepare(race, w);
	scan(race, w);
	w->merged += count_equal(w->agree.addr, w->keeper[0], w->agree.pages);
}

static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->agree.addr, w->pinned, 1);
}

/* What shares the merged page keeps its content, whatever was written to the target since. */
static void judge_keepers(struct world *w)
{
	for (unsigned int i = 0; i < 2 * w->agree.pages; i++) {
		unsigned int index = i / 2;
		struct stamp s = stamp_load(w->keeper[i % 2] + index * w->agree.page);

		if (!stamp_is(&s, MAPPING_TARGET, index, 1))
			race_hit(w->race, "leaked", "page %u of a keeper: expected generation 1, "
				 STAMP_SEEN, index, STAMP_SEEN_ARGS(&s));
	}
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	unsigned int merged = count_equal(w->agree.addr, w->keeper[0], w->agree.pages);

	if (w->got != (int)w->pinned)
		broken("%s took %d pins of %u mapped pages", v->name, w->got, w->pinned);
	w->pins += w->got;
	w->merged += merged;
	w->kept += w->agree.pages - merged;
	agree_address(&w->agree);
	agree_both_ways(&w->agree);
	judge_keepers(w);
	v->ops->unpin(v);
}

static uint8_t *map_mergeable(struct world *w, const char *name)
{
	uint8_t *map = backing_small(w->size, name);

	if (madvise(map, w->size, MADV_MERGEABLE))
		race_skip(w->race, "madvise(MADV_MERGEABLE): %s", strerror(errno));
	for (unsigned int i = 0; i < w->agree.pages; i++)
		stamp_page(map + i * w->agree.page, stamp_of(MAPPING_TARGET, i, 1));
	return map;
}

static void merge_keepers(struct world *w)
{
	uint64_t deadline = now_ns() + SETTLE_NS;

	while (count_equal(w->keeper[0], w->keeper[1], w->agree.pages) < w->agree.pages) {
		if (now_ns() > deadline)
			broken("KSM did not merge equal pages within 20 s");
		scan(w->race, w);
	}
}

static int open_ksm(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		broken("open of %s: %s", path, strerror(errno));
	return fd;
}

static void with_target(struct race *race, void (*fn)(struct world *w))
{
	struct world w = {
		.race = race,
		.agree = agree_about(race, PAGES, MAPPING_TARGET, "pinned while ksmd made a pass"),
	};

	if (!pagemap_tells())
		race_skip(race, "page frame numbers are root's to read");
	configure(race);
	w.run = open_ksm(KSM "run", O_WRONLY);
	w.full_scans = open_ksm(KSM "full_scans", O_RDONLY);
	w.pinned = w.agree.pages;
	w.size = w.agree.pages * w.agree.page;
	w.keeper[0] = map_mergeable(&w, "guprace keeper 0");
	w.keeper[1] = map_mergeable(&w, "guprace keeper 1");
	merge_keepers(&w);
	w.agree.addr = map_mergeable(&w, "guprace target");
	fn(&w);
	check_munmap(w.agree.addr, w.size, "the target");
	check_munmap(w.keeper[1], w.size, "a keeper");
	check_munmap(w.keeper[0], w.size, "a keeper");
	close(w.full_scans);
	close(w.run);
	setting_restore();
	race_count(race, "pins", w.pins);
	race_count(race, "merged", w.merged);
	race_count(race, "kept", w.kept);
}

static void race_merge_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_race, .a = take_pins, .b = scan, .judge = judge,
	};

	w->pinned /= 2;		/* a pin unmerges: the others tell that ksmd came by */
	race_trials(w->race, &trial, w);
	stretch_code_end();
}

static void race_merge(struct race *race)
{
	with_target(race, race_merge_world);
}

static void race_unmerge_world(struct world *w)
{
	static const struct trial trial = {
		.prepare = prepare_merged, .a = take_pins, .b = unmerge, .judge = judge, .gives_back = true,
	};

	w->agree.when = "pinned while its page was unmerged";
	race_trials(w->race, &trial, w);
}

static void race_unmerge(struct race *race)
{
	with_target(race, race_unmerge_world);
}

/* No race: the first half is pinned before ksmd comes, the other half must be merged. */
static void hold_world(struct world *w)
{
	w->pinned /= 2;
	w->agree.when = "pinned before ksmd made a pass";
	for (unsigned int i = 0; i < REPEATS && race_in_time(w->race); i++) {
		prepare(w->race, w);
		take_pins(w->race, w);
		scan(w->race, w);
		judge(w->race, w);
		w->checks++;
	}
	race_count(w->race, "checks", w->checks);
}

static void hold(struct race *race)
{
	with_target(race, hold_world);
}

static void protect(struct world *w, int prot)
{
	if (mprotect(w->agree.addr, w->size, prot))
		broken("mprotect(%#x) of the target: %s", prot, strerror(errno));
}

/* How many pages were swapped out, and have been read in again since. */
static unsigned int swap_there_and_back(struct world *w)
{
	uint64_t entry[PAGES];
	unsigned int swapped = 0;

	check_madvise(w->agree.addr, w->size, MADV_PAGEOUT, "the target");
	pagemap_read(w->agree.addr, entry, w->agree.pages);
	for (unsigned int i = 0; i < w->agree.pages; i++) {
		swapped += !!(entry[i] & PAGEMAP_SWAPPED);
		(void)stamp_load(w->agree.addr + i * w->agree.page);
	}
	return swapped;
}

/*
 * The same with pages whose PTE there is nothing to take from: read in from swap they are clean, and
 * read-only, as the mapping is. Yet they are exclusive, and may be pinned.
 */
static void hold_clean_world(struct world *w)
{
	w->pinned /= 2;
	w->agree.when = "clean and read-only, pinned before ksmd made a pass";
	for (unsigned int i = 0; i < REPEATS && race_in_time(w->race); i++) {
		prepare(w->race, w);
		protect(w, PROT_READ);
		w->swapped += swap_there_and_back(w);
		take_pins(w->race, w);
		scan(w->race, w);
		protect(w, PROT_READ | PROT_WRITE);
		judge(w->race, w);
		w->checks++;
	}
	race_count(w->race, "checks", w->checks);
	race_count(w->race, "swapped", w->swapped);
}

static void hold_clean(struct race *race)
{
	char why[192];

	if (!swap_begin(why, sizeof(why)))
		race_skip(race, "%s", why);
	with_target(race, hold_clean_world);
	swap_end();
}

static const struct floor held_clean[] = {
	{ "checks", REPEATS },
	{ "kept", REPEATS },
	{ "merged", REPEATS },
	{ "swapped", REPEATS },
	{ }
};

static const struct floor held[] = {
	{ "checks", REPEATS },
	{ "kept", REPEATS },
	{ "merged", REPEATS },
	{ }
};

static const struct floor raced[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "kept", 20 },
	{ "merged", 20 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.held", &vehicle_probe, hold, held, 0 },
	{ "probe_ro.held", &vehicle_probe_ro, hold, held, 0 },
	{ "probe_get.held", &vehicle_probe_get, hold, held, 0 },
	{ "probe_ro.held_clean", &vehicle_probe_ro, hold_clean, held_clean, 0 },
	{ "vmsplice.held", &vehicle_vmsplice, hold, held, 0 },
	{ "probe_ro.merge", &vehicle_probe_ro, race_merge, raced, 0 },
	{ "probe_ro.unmerge", &vehicle_probe_ro, race_unmerge, raced, 0 },
	{ }
};

static const char * const vmstat[] = { "cow_ksm", "ksm_swpin_copy", NULL };

const struct scenario scenario = {
	.name = "pin_vs_ksm",
	.summary = "pins of GUP-fast against KSM merging and unmerging (PX)",
	.subtests = subtests,
	.vmstat = vmstat,
};
