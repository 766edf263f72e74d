// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_truncate - pins of GUP-fast against hole punch and truncation of what is mapped
 *
 * Property (P3, P4): a pin of a shared file mapping gives the page that the file had
 * there at some instant of the call. Truncation unmaps the page, takes it out of the page cache and
 * drops the cache's reference. GUP-fast asks neither the file's size nor its locks: what keeps it
 * from a page that has left is the second read of the PTE, and the count of zero:
 *
 *   A: pin: reads the PTE of page i of the file
 *   B: fallocate(FALLOC_FL_PUNCH_HOLE): clears the PTE, takes page i out of the cache, frees it
 *   B: touches a page of the refill mapping: is given the page just freed, stamps it
 *   A: takes the reference: it is no longer zero
 *   A: reads the PTE again: it is gone: gives the page back, faults a new one in, all zero
 *      ... else A holds a page of the refill mapping
 *
 * On x86 the flush of the TLB between the first two of B's steps is an IPI that A's walk, with
 * interrupts off, holds back, so M01 is silent there.
 *
 * FOLL_LONGTERM pins of file systems' pages for writing are refused by newer kernels
 * (gup_fast_folio_allowed()); the pins here are short-term, which GUP-fast takes on all of them.
 *
 * Backings and operations:
 *   shmem.punch      fallocate(FALLOC_FL_PUNCH_HOLE) of a memfd
 *   shmem.truncate   ftruncate of a memfd to nothing, and back to its size
 *   ext2.truncate    ftruncate in an ext2 file system on a RAM disk; needs mke2fs, or busybox's
 *   bdev.zero        fallocate(FALLOC_FL_ZERO_RANGE) of that RAM disk, through its own page cache:
 *                    the pages have buffers, and are under writeback now and then
 *   ext2.reclaim     madvise(MADV_PAGEOUT) of clean pages: they are unmapped without a flush, the
 *                    count is frozen from the cache's references to 0, and after a flush they are
 *                    freed. The next touch reads them in again: nothing is lost, and a page that
 *                    somebody holds stays
 *   shmem.part       a hole in a huge page of a memfd, or an end, beside a page that is pinned
 *                    (lib/punched.h): needs no race
 *
 * Mode: steered: B needs the file to itself to make it ready, empty and then, for reclaim, clean.
 *
 * Oracles, after both windows:
 *   foreign_stamp     a pin holds a page of another mapping, or of elsewhere in the file
 *   wrong_generation  a pin holds a page that had left before this trial
 *   bad_stamp         neither this trial's stamp nor, where something was lost, zeros
 *   address_differs   what was cut off does not read as zeros, or what was not is lost
 *   pin_differs       a pin of what is in the file now does not show what is written there; without
 *                     copy-on-write, that is to hold for every pin
 *   refused           a pin failed, though the fault fills holes, where the file never ended
 *
 * Counters, besides those of lib/trial.c: calls, pins, refusals; old_pages and new_pages, pinned
 * before and after the file lost them; vm.workingset_refault_file, pages that came back after
 * reclaim had taken them.
 *
 * Fixed by: as pin_vs_munmap; no CVE. Controls: M01, M08, G48, G75. Kconfig:
 * pin_vs_truncate.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "punched.h"
#include "ramdisk.h"
#include "scenario.h"
#include "stamp.h"

#define MAPPING_TARGET	1
#define MAPPING_REFILL	2

#ifndef TARGET_PAGES
#define TARGET_PAGES	1u
#endif
#define WALKS		(16u / TARGET_PAGES)	/* in one pin call */
#define REFILL_PAGES	1024u			/* then given back */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

struct world;

struct operation {
	int (*open)(struct race *race);		/* a file of our own, or a skip */
	int (*empty)(struct world *w);		/* the file, outside of the windows */
	int (*change)(struct world *w);		/* in the window; 0 or -1, as errno says */
	bool keeps;				/* the content: nothing is lost */
	bool ends;				/* the file ends before the target for a while */
};

struct world {
	struct race *race;
	const struct operation *operation;
	size_t page;
	size_t size;				/* of the target and of the file, bytes */
	uint8_t *target;
	uint8_t *refill;
	unsigned int refilled;			/* pages since it was given back */
	int fd;
	uint64_t generation;			/* at the target when the trial begins */
	int got;				/* by A's pin call: pins, or -errno */
	int err;				/* of B's operation */
	uint64_t calls, pins, refusals, old_pages, new_pages;
};

static bool is_ours(const struct stamp *s, unsigned int index, uint64_t generation)
{
	return stamp_is(s, MAPPING_TARGET, index, generation);
}

static void stamp_target(struct world *w, uint64_t generation)
{
	for (unsigned int i = 0; i < TARGET_PAGES; i++)
		stamp_page(w->target + i * w->page, stamp_of(MAPPING_TARGET, i, generation));
}

static int punch(struct world *w)
{
	return fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, w->size);
}

static int zero_range(struct world *w)
{
	return fallocate(w->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, w->size);
}

static int truncate_and_extend(struct world *w)
{
	return ftruncate(w->fd, 0) || ftruncate(w->fd, w->size) ? -1 : 0;
}

static int reclaim(struct world *w)
{
	return madvise(w->target, w->size, MADV_PAGEOUT);
}

static int open_shmem(struct race *race)
{
	int fd = memfd_create("guprace target", MFD_CLOEXEC);

	if (fd < 0)
		race_skip(race, "memfd_create: %s", strerror(errno));
	return fd;
}

static int open_ext2(struct race *race)
{
	char why[192];
	int fd = ramdisk_open_ext2(why, sizeof(why));

	if (fd < 0)
		race_skip(race, "%s", why);
	return fd;
}

static int open_bdev(struct race *race)
{
	char why[192];
	int fd = ramdisk_open(why, sizeof(why));

	if (fd < 0)
		race_skip(race, "%s", why);
	return fd;
}

/*
 * Fresh pages, brought by B: one that A brought is in a list of A's CPU (folio_add_lru()), which
 * holds a reference, and would not be freed. Reclaim takes clean pages only.
 */
static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	if (w->operation->empty(w))
		broken("emptying the file before a trial: %s", strerror(errno));
	w->generation += 2;
	stamp_target(w, w->generation);
	if (w->operation->keeps && fdatasync(w->fd))
		broken("fdatasync of the target: %s", strerror(errno));
	if (w->refilled + TARGET_PAGES > REFILL_PAGES) {
		check_madvise(w->refill, REFILL_PAGES * w->page, MADV_DONTNEED, "the refill");
		w->refilled = 0;
	}
}

static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->target, TARGET_PAGES, WALKS);
}

static void change(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->err = w->operation->change(w) ? errno : 0;
	for (unsigned int i = w->refilled; i < w->refilled + TARGET_PAGES; i++)
		stamp_page(w->refill + i * w->page, stamp_of(MAPPING_REFILL, i, w->generation));
	w->refilled += TARGET_PAGES;
}

static void report(const struct world *w, const char *oracle, const char *what,
		   unsigned int index, uint64_t generation, const struct stamp *s)
{
	race_hit(w->race, oracle, "%s %u: expected mapping %d index %u generation %" PRIu64
		 "%s, observed words %" PRIu64 " %" PRIu64 " %" PRIu64 " %#" PRIx64, what, index,
		 MAPPING_TARGET, index, generation, w->operation->keeps ? "" : " or zeros",
		 s->mapping, s->index, s->generation, s->check);
}

static void judge_address(struct world *w)
{
	for (unsigned int i = 0; i < TARGET_PAGES; i++) {
		struct stamp s = stamp_load(w->target + i * w->page);

		if (w->operation->keeps ? !is_ours(&s, i, w->generation) : !stamp_blank(&s))
			report(w, "address_differs", "address of page", i, w->generation, &s);
	}
}

/* Of each pin: whether its page must be the one that is in the file now. */
static void judge_content(struct world *w, bool *current)
{
	struct stamp stamps[VEHICLE_PINS_MAX];

	w->race->vehicle.ops->read(&w->race->vehicle, stamps);
	for (int i = 0; i < w->got; i++) {
		const struct stamp *s = &stamps[i];
		unsigned int index = i % TARGET_PAGES;
		bool old = is_ours(s, index, w->generation);
		bool new = stamp_blank(s) && !w->operation->keeps;

		if (!old && !new)
			report(w, stamp_oracle(s, MAPPING_TARGET, index), "pin of page", index, w->generation, s);
		current[i] = new || (old && w->operation->keeps);
		w->old_pages += old;
		w->new_pages += new;
	}
}

static void judge_agreement(struct world *w, const bool *current)
{
	struct stamp stamps[VEHICLE_PINS_MAX];

	stamp_target(w, w->generation + 1);
	w->race->vehicle.ops->read(&w->race->vehicle, stamps);
	for (int i = 0; i < w->got; i++) {
		const struct stamp *s = &stamps[i];
		unsigned int index = i % TARGET_PAGES;

		if (current[i] && !is_ours(s, index, w->generation + 1))
			report(w, "pin_differs", "pin of page", index, w->generation + 1, s);
	}
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	bool current[VEHICLE_PINS_MAX];

	if (w->err)
		broken("%s of %zu bytes: %s", race->subtest->name, w->size, strerror(w->err));
	w->calls++;
	judge_address(w);
	if (w->got <= 0) {
		w->refusals++;
		if (w->got != -EFAULT)
			broken("%s pin of the target: %s", v->name, strerror(-w->got));
		if (!w->operation->ends)
			race_hit(race, "refused", "expected a pin of what is mapped, observed %s",
				 strerror(-w->got));
		return;
	}
	w->pins += w->got;
	judge_content(w, current);
	if (!(v->ops->is & VEHICLE_READ_DROPS))
		judge_agreement(w, current);
	v->ops->unpin(v);
}

static const struct operation operations[] = {
	{ open_shmem, punch, punch, false, false },
	{ open_shmem, punch, truncate_and_extend, false, true },
	{ open_ext2, truncate_and_extend, truncate_and_extend, false, true },
	{ open_bdev, zero_range, zero_range, false, false },
	{ open_ext2, truncate_and_extend, reclaim, true, false },
};

static void run(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare, .a = take_pins, .b = change, .judge = judge,
	};
	struct world w = {
		.race = race,
		.operation = &operations[race->subtest->arg],
		.page = getpagesize(),
	};

	w.fd = w.operation->open(race);
	w.size = TARGET_PAGES * w.page;
	if (ftruncate(w.fd, w.size) && errno != EINVAL)
		broken("ftruncate to %zu: %s", w.size, strerror(errno));
	w.target = mmap(NULL, w.size, PROT_READ | PROT_WRITE, MAP_SHARED, w.fd, 0);
	if (w.target == MAP_FAILED)
		broken("mmap of %zu bytes for the target: %s", w.size, strerror(errno));
	w.refill = check_mmap(NULL, REFILL_PAGES * w.page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, "the refill");
	check_madvise(w.refill, REFILL_PAGES * w.page, MADV_NOHUGEPAGE, "the refill");
	name_mapping(w.refill, REFILL_PAGES * w.page, "guprace refill");

	race_trials(race, &trial, &w);

	check_munmap(w.refill, REFILL_PAGES * w.page, "the refill");
	check_munmap(w.target, w.size, "the target");
	close(w.fd);
	ramdisk_close();
	race_count(race, "calls", w.calls);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "old_pages", w.old_pages);
	race_count(race, "new_pages", w.new_pages);
}

static const struct floor lost[] = {
	{ "trials", 20 },
	{ "old_pages", 20 },
	{ "new_pages", 20 },
	{ }
};

static const struct floor reclaimed[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "vm.workingset_refault_file", 20 },
	{ }
};

static const struct floor held[] = {
	{ "checks", PUNCHED_REPEATS },
	{ "huge", PUNCHED_REPEATS / 2 },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.shmem.punch", &vehicle_probe, run, lost, 0 },
	{ "probe.shmem.part", &vehicle_probe, punched_held, held, 0 },
	{ "vmsplice.shmem.truncate", &vehicle_vmsplice, run, lost, 1 },
	{ "probe_ro.ext2.truncate", &vehicle_probe_ro, run, lost, 2 },
	{ "probe.bdev.zero", &vehicle_probe, run, lost, 3 },
	{ "probe_ro.ext2.reclaim", &vehicle_probe_ro, run, reclaimed, 4 },
	{ }
};

static const char * const vmstat[] = { "workingset_refault_file", NULL };

const struct scenario scenario = {
	.name = "pin_vs_truncate",
	.summary = "pins of GUP-fast against hole punch and truncation of what is mapped (P3, P4)",
	.subtests = subtests,
	.vmstat = vmstat,
};
