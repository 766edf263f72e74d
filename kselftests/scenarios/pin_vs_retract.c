// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_retract - pins of GUP-fast against the page table that collapse of a file's pages retracts
 *
 * Property (P1, P4): when the pages of a file have become one huge page, the table
 * of PTEs that maps them is taken out and freed at once, without a delay by RCU. So before that the
 * kernel waits until no walker is in it (tlb_remove_table_sync_one()). Without:
 *
 *   A: pin the target: reads the PMD, goes to the table behind it
 *   B: MADV_COLLAPSE: clears the PMD, flushes the TLB, frees the table
 *   B: every second time the page is given to the next who wants one, a pipe's data: KASAN sees
 *      nothing wrong in a page that is somebody's again, content oracles nothing in a free one
 *   A: reads a PTE in a freed page, or in one of somebody else's
 *
 * And as with anonymous memory (pin_vs_collapse): small pages that are held are not replaced.
 *
 * A's walk is stretched at a random instruction, every hundred rounds at another and more or less:
 * the way from one PTE to the next, and from the PMD to the first, is what matters here, and the
 * time from the end of the PTEs to that of their table.
 *
 * Mode: steered. Subtests: `remap` collapses a table over a page that is huge already, the shortest
 * way to the retraction; `copy` has the huge page made of small ones by each collapse; `file` is
 * `remap` with a program's text in the place of shared memory: pages of an ext2 file that nobody
 * may write to (READ_ONLY_THP_FOR_FS), so that their content is all there is to judge.
 *
 * Oracles: KASAN on the console; and, by lib/agree.h, bad_stamp, foreign_stamp, pin_differs,
 * address_differs; refused: no pin of memory that was mapped throughout.
 *
 * Counters, beside those of race_trials(): pins; retracts (collapses that worked); pinned (collapse
 * gave up, EAGAIN: a page was held).
 *
 * Fixed by: commit 2ba99c5e0881 ("mm/khugepaged: fix GUP-fast interaction by sending IPI", v6.1).
 * Controls: M04, G46. Kconfig: pin_vs_retract.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"
#include "huge.h"
#include "ramdisk.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"

#define MAPPING_TARGET	1
#define PAGES		16u	/* pinned by one walk: a table is left between pages only */
#define NEXT_PLACE	128u	/* rounds at one place of the walk, then at another */
#define RETRACTS	10u	/* least, for a race to count */

enum {
	OP_COPY	= 1u << 0,	/* or remap */
	OP_FILE	= 1u << 1,	/* of a file system, or memfd */
};

struct world {
	unsigned int flags;
	size_t page;
	size_t huge;
	int fd;				/* of the file that is mapped */
	int prot;			/* of its mapping */
	uint8_t *target;
	uint8_t *elsewhere;		/* pinned while windows are measured: see race_sampling() */
	struct agree agree;
	int pipe[2];
	uint8_t data[4096];
	unsigned int rounds;
	bool recycles;			/* in this trial: the freed page gets a new life */
	int got;			/* by A's pin call */
	int err;			/* of B's collapse */

	uint64_t pins, retracts, pinned;
};

/* What can be written is stamped anew, what can not is mapped by a look at it. */
static void touch(struct world *w)
{
	if (!(w->flags & OP_FILE)) {
		agree_stamp(&w->agree);
		return;
	}
	for (unsigned int i = 0; i < w->agree.pages; i++)
		(void)*(volatile uint8_t *)(w->agree.addr + i * w->page);
}

/* Punch all out of the file; what is touched then comes as small pages. */
static void make_small(struct world *w)
{
	if (fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, w->huge))
		broken("fallocate(PUNCH_HOLE, 0, %zu) of the memfd: %s", w->huge, strerror(errno));
	agree_stamp(&w->agree);
}

/*
 * A table of PTEs over a huge page: while the mapping is in two parts, faults can only give small
 * ones. Then the parts are one again.
 */
static void make_table(struct world *w)
{
	check_madvise(w->target, w->huge, MADV_DONTNEED, "the target");
	if (mprotect(w->target, w->page, PROT_READ))
		broken("mprotect(PROT_READ) of the target's first page: %s", strerror(errno));
	touch(w);
	if (mprotect(w->target, w->page, w->prot))
		broken("mprotect(%#x) of the target's first page: %s", w->prot, strerror(errno));
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	if (w->rounds++ % NEXT_PLACE == 0)
		stretch_walk(race, STRETCH_VARIED(w->rounds / NEXT_PLACE));
	w->recycles = w->rounds % 2;
	if (w->flags & OP_COPY)
		make_small(w);
	else
		make_table(w);
}

static void pin(struct race *race, void *arg)
{
	struct world *w = arg;
	uint8_t *addr = race_sampling(race) ? w->elsewhere : w->agree.addr;

	w->got = race->vehicle.ops->pin(&race->vehicle, addr, w->agree.pages, 1);
}

static void collapse(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->err = madvise(w->target, w->huge, MADV_COLLAPSE) ? errno : 0;
	/* A pipe's page is of the kind that a page table is. */
	if (w->recycles && write(w->pipe[1], w->data, sizeof(w->data)) != (ssize_t)sizeof(w->data))
		broken("write of a page to a pipe: %s", strerror(errno));
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;

	/* No huge page was to be had, say: no table was taken away from anybody. */
	if (w->err && w->err != EAGAIN)
		race_empty(race);
	if (race_sampling(race)) {
		v->ops->unpin(v);
		return;
	}
	w->retracts += !w->err;
	w->pinned += w->err == EAGAIN;
	agree_admitted(&w->agree, w->got);
	if (w->got <= 0)
		return;
	w->pins += w->got;
	if (w->flags & OP_FILE) {
		agree_content(&w->agree, AGREE_ALWAYS);
		agree_address(&w->agree);
	} else {
		agree_both_ways(&w->agree);
	}
	v->ops->unpin(v);
}

static void settle(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	if (w->recycles && read(w->pipe[0], w->data, sizeof(w->data)) != (ssize_t)sizeof(w->data))
		broken("read of a page from a pipe: %s", strerror(errno));
}

static void open_memfd(struct world *w)
{
	w->prot = PROT_READ | PROT_WRITE;
	w->fd = memfd_create("guprace target", MFD_CLOEXEC);
	if (w->fd < 0 || ftruncate(w->fd, w->huge))
		broken("memfd of %zu bytes: %s", w->huge, strerror(errno));
}

/* As a program's text: on disk, nobody has it open for writing, and it may be executed. */
static void open_text(struct race *race, struct world *w)
{
	uint8_t page[4096] = { };
	char path[192];
	int fd = ramdisk_open_ext2(path, sizeof(path));

	if (fd < 0)
		race_skip(race, "%s", path);
	if (w->page != sizeof(page))
		race_skip(race, "needs pages of %zu bytes", sizeof(page));
	w->prot = PROT_READ | PROT_EXEC;
	w->agree.generation = 1;
	for (unsigned int i = 0; i < w->huge / w->page; i++) {
		unsigned int index = i - PAGES;	/* of those before the first, a large number */

		stamp_page(page, stamp_of(MAPPING_TARGET, index, w->agree.generation));
		if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
			broken("write of page %u to a file on the RAM disk: %s", i, strerror(errno));
	}
	if (fsync(fd))
		broken("fsync of a file on the RAM disk: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	w->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (w->fd < 0)
		broken("open(%s) for reading: %s", path, strerror(errno));
	close(fd);
}

static void world_init(struct race *race, struct world *w)
{
	w->page = getpagesize();
	w->huge = huge_size(race);
	w->agree = agree_about(race, PAGES, MAPPING_TARGET, "beside a retraction");
	if (race->vehicle.capacity < PAGES)
		race_skip(race, "%s holds %u pins, not %u", race->vehicle.name,
			  race->vehicle.capacity, PAGES);
	if (pipe2(w->pipe, O_CLOEXEC))
		broken("pipe2: %s", strerror(errno));
	memset(w->data, 0xff, sizeof(w->data));
	if (w->flags & OP_FILE)
		open_text(race, w);
	else
		open_memfd(w);
	w->target = huge_reserve(w->huge, w->huge, "the target");
	w->agree.addr = w->target + PAGES * w->page;
	w->elsewhere = check_mmap(NULL, PAGES * w->page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "elsewhere");
	huge_map(w->target, w->huge, w->prot, MAP_SHARED, w->fd, "the target");
}

/* Collapse once, with nobody else there, and see that the deed is done; false with the reason. */
static bool try_collapse(struct world *w, char *why, size_t size)
{
	if (w->flags & OP_FILE)
		touch(w);
	else
		make_small(w);
	if (madvise(w->target, w->huge, MADV_COLLAPSE)) {
		snprintf(why, size, "MADV_COLLAPSE does not collapse this kind of file: %s "
			 "(BASE_FULL? READ_ONLY_THP_FOR_FS?)", strerror(errno));
		return false;
	}
	snprintf(why, size, "MADV_COLLAPSE of this kind of file maps no huge page (smaps)");
	if (!huge_mapped(w->target))
		return false;
	if (w->flags & OP_COPY)
		return true;
	make_table(w);
	snprintf(why, size, "a fault in half of the range maps the whole huge page");
	if (huge_mapped(w->target))
		return false;
	snprintf(why, size, "MADV_COLLAPSE does not retract a table");
	return !madvise(w->target, w->huge, MADV_COLLAPSE) && huge_mapped(w->target);
}

static void world_exit(struct world *w)
{
	huge_release(w->target, w->huge, "the target");
	check_munmap(w->elsewhere, PAGES * w->page, "elsewhere");
	close(w->fd);
	if (w->flags & OP_FILE)
		ramdisk_close();
	close(w->pipe[0]);
	close(w->pipe[1]);
}

static void race_retract(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare,
		.a = pin,
		.b = collapse,
		.judge = judge,
		.settle = settle,
	};
	struct world w = { .flags = race->subtest->arg };
	char why[160];
	bool works;

	world_init(race, &w);
	works = try_collapse(&w, why, sizeof(why));
	if (works)
		race_trials(race, &trial, &w);
	stretch_code_end();
	world_exit(&w);
	if (!works)
		race_skip(race, "%s", why);
	race_count(race, "pins", w.pins);
	race_count(race, "retracts", w.retracts);
	race_count(race, "pinned", w.pinned);
}

static const struct floor floors[] = {
	{ "trials", 40 },
	{ "pins", 100 },
	{ "retracts", RETRACTS },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.remap", &vehicle_probe, race_retract, floors, 0 },
	{ "vmsplice.remap", &vehicle_vmsplice, race_retract, floors, 0 },
	{ "probe.copy", &vehicle_probe, race_retract, floors, OP_COPY },
	{ "probe_ro.file", &vehicle_probe_ro, race_retract, floors, OP_FILE },
	{ }
};

static const char * const vmstat[] = { "thp_collapse_alloc", "thp_file_mapped", NULL };

const struct scenario scenario = {
	.name = "pin_vs_retract",
	.summary = "pins of GUP-fast against page tables that a collapse of files retracts (P1, P4)",
	.subtests = subtests,
	.vmstat = vmstat,
};
