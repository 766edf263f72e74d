// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_hugetlb_unshare - pins of GUP-fast against the end of a PMD table that mappings share
 *
 * Property (P1): mappings of one hugetlb file that agree in a whole, aligned GiB
 * share the PMD table for it, within a process as between processes. To unmap one of them only its
 * PUD is cleared, and the table is then the other's alone, to do with it as it likes. So before
 * that the kernel waits until nobody walks the table by way of the first
 * (tlb_remove_table_sync_one(), now by huge_pmd_unshare_flush()). Without:
 *
 *   A: pin two pages of mapping 1, in two huge pages: reads PUD and the first PMD of the table,
 *      takes its reference
 *   B: munmap of mapping 1: clears its PUD, the table is mapping 2's now
 *   B: punches a hole into the file, and touches mapping 2 there: the second PMD is of a new page
 *   A: reads the second PMD of the table: the new page, and takes a reference of it
 *   A: returns; a foreign stamp is read through the pin
 *
 * Mode: steered. Subtest `process` has mapping 2 in a child, that B calls up by a pipe; in `thread`
 * it is in the same process: without a change of context B is through much sooner.
 *
 * Now and then B maps a page of another file over the second huge page instead. That splits mapping
 * 2, which unshares tables as well, by a way of its own; not each time, since where that way has a
 * fault (docs/findings.md) the kernel's word about it takes longer than many trials.
 *
 * Oracle: while mapping 1 is there, pages and stamps of the file do not change: a pin reads those
 * of its place, or it is a foreign_stamp or bad_stamp.
 *
 * Counters, beside those of race_trials(): pins; refusals (mapping 1 found unmapped); shared
 * (rounds that began with a shared table: mapping 1 shows a page that only mapping 2 has touched).
 *
 * Fixed by: "mm/hugetlb: fix huge_pmd_unshare() vs GUP-fast race", CVE-2025-38085. Control: M29.
 * Kconfig: pin_vs_hugetlb_unshare.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "huge.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"
#include "taint.h"

#define MAPPING_FILE	1
#define MAPPING_OTHER	2

#define TABLE_SIZE	(1ul << 30)	/* what a PMD table maps */
#define MAP1_ADDR	(1ul << 40)	/* far from where mmap puts things */
#define MAP2_ADDR	(2ul << 40)
#define PAGES		2u		/* pinned by one walk: of two huge pages each the next one */
#define WALKS		8u		/* in one system call */
#define POOL_PAGES	8u		/* two of the file, one of the other, and what pins still hold */
#define NEXT_SPLIT	64u		/* rounds from one split of mapping 2 to the next */
#define NEXT_PLACE	512u		/* rounds at one place of the walk, then at another */
#define SHARED		40u		/* least rounds, for a race to count */

enum {
	OP_PROCESS	= 1u << 0,	/* or thread */
};

enum order {
	ORDER_MAP,
	ORDER_REPLACE,
	ORDER_MAP_OVER,
	ORDER_UNMAP,
};

struct world {
	unsigned int flags;
	size_t page;
	size_t huge;
	int file;			/* mapped by mappings 1 and 2 */
	int other;
	uint8_t *map1;
	uint8_t *map2;
	pid_t child;			/* who has mapping 2, if it is not us */
	int orders[2];
	int done[2];
	unsigned int rounds;
	bool shared;			/* in this trial */
	int got;			/* by A's pin call */

	uint64_t pins, refusals, rounds_shared;
};

/* No reservation: hardly any of the GiB is ever touched. */
static uint8_t *map(unsigned long addr, size_t size, int fd, int flags)
{
	void *map = mmap((void *)addr, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | flags, fd, 0);

	if (map != (void *)addr)
		broken("mmap(%#lx, %zu, flags %#x) of a hugetlb file: %s", addr, size, flags,
		       strerror(errno));
	return map;
}

static void touch(const uint8_t *page)
{
	(void)*(const volatile uint8_t *)page;
}

/* What is done to mapping 2, by whoever has it. */
static void obey(struct world *w, enum order order)
{
	switch (order) {
	case ORDER_MAP:
		w->map2 = map(MAP2_ADDR, TABLE_SIZE, w->file, MAP_FIXED_NOREPLACE);
		touch(w->map2);
		stamp_page(w->map2 + w->huge, stamp_of(MAPPING_FILE, 1, 0));
		break;
	case ORDER_REPLACE:
		if (fallocate(w->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, w->huge, w->huge))
			broken("a hole in a hugetlb file: %s", strerror(errno));
		stamp_page(w->map2 + w->huge, stamp_of(MAPPING_OTHER, 0, 0));
		break;
	case ORDER_MAP_OVER:
		touch(map(MAP2_ADDR + w->huge, w->huge, w->other, MAP_FIXED));
		break;
	case ORDER_UNMAP:
		check_munmap((void *)MAP2_ADDR, TABLE_SIZE, "mapping 2");
		break;
	}
}

static void serve(struct world *w)
{
	char order;

	/* An end without words: whatever is wrong here, B sees the pipe close and says so. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(w->orders[1]);
	close(w->done[0]);
	while (read(w->orders[0], &order, 1) == 1) {
		obey(w, order);
		if (write(w->done[1], &order, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void give(struct world *w, enum order order)
{
	char byte = order;

	if (!(w->flags & OP_PROCESS)) {
		obey(w, order);
		return;
	}
	if (write(w->orders[1], &byte, 1) != 1 || read(w->done[0], &byte, 1) != 1)
		broken("order %d to the child that has mapping 2: %s", order, strerror(errno));
}

/* Of mapping 1, only the first huge page is touched: the second is there if the table is shared. */
static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	if (w->rounds++ % NEXT_PLACE == NEXT_PLACE - 1)
		stretch_walk(race, STRETCH_SHORT);
	give(w, ORDER_MAP);
	w->map1 = map(MAP1_ADDR, TABLE_SIZE, w->file, MAP_FIXED_NOREPLACE);
	touch(w->map1);
	w->shared = huge_present(w->map1 + w->huge);
	w->rounds_shared += w->shared;
}

static void pin(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->map1 + w->huge - w->page, PAGES, WALKS);
}

static void unmap_and_take_over(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	check_munmap(w->map1, TABLE_SIZE, "mapping 1");
	give(w, w->rounds % NEXT_SPLIT ? ORDER_REPLACE : ORDER_MAP_OVER);
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];

	if (!w->shared)
		race_empty(race);
	if (w->got < 0) {
		if (w->got != -EFAULT)
			broken("%s pin of mapping 1: %s", v->name, strerror(-w->got));
		w->refusals++;
		return;
	}
	w->pins += w->got;
	v->ops->read(v, stamps);
	for (int i = 0; i < w->got; i++) {
		struct stamp want = stamp_of(MAPPING_FILE, i % PAGES, 0), *s = &stamps[i];

		if (memcmp(s, &want, sizeof(want)))
			race_hit(race, stamp_valid(s) ? "foreign_stamp" : "bad_stamp",
				 "pin %d: expected mapping %d index %u, observed mapping %" PRIu64
				 " index %" PRIu64, i, MAPPING_FILE, i % PAGES, s->mapping, s->index);
	}
	v->ops->unpin(v);
}

static void settle(struct race *race, void *arg)
{
	(void)race;
	give(arg, ORDER_UNMAP);
}

static int make_file(struct race *race, const char *name, size_t huge, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_HUGETLB | huge_bits(huge));

	if (fd < 0 || ftruncate(fd, size))
		race_skip(race, "no hugetlb memfd of %zu bytes: %s", size, strerror(errno));
	return fd;
}

/* The stamps: on the pages that A pins, and on that which B puts in the place of one. */
static void stamp_files(struct world *w)
{
	uint8_t *file = map(MAP1_ADDR, TABLE_SIZE, w->file, MAP_FIXED_NOREPLACE);
	uint8_t *other = map(MAP2_ADDR, w->huge, w->other, MAP_FIXED_NOREPLACE);

	for (unsigned int i = 0; i < PAGES; i++)
		stamp_page(file + w->huge - w->page + i * w->page, stamp_of(MAPPING_FILE, i, 0));
	stamp_page(other, stamp_of(MAPPING_OTHER, 0, 0));
	check_munmap(file, TABLE_SIZE, "the file");
	check_munmap(other, w->huge, "the other file");
}

static void start_child(struct world *w)
{
	if (pipe(w->orders) || pipe(w->done))
		broken("pipe: %s", strerror(errno));
	w->child = fork();
	if (w->child < 0)
		broken("fork: %s", strerror(errno));
	if (!w->child)
		serve(w);
	close(w->orders[0]);
	close(w->done[1]);
}

static void stop_child(struct world *w)
{
	close(w->orders[1]);
	close(w->done[0]);
	waitpid(w->child, NULL, 0);
}

static void race_unshare(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare,
		.a = pin,
		.b = unmap_and_take_over,
		.judge = judge,
		.settle = settle,
	};
	struct world w = {
		.flags = race->subtest->arg,
		.page = getpagesize(),
		.huge = huge_size(race),
	};

	if (race->vehicle.capacity < PAGES * WALKS)
		race_skip(race, "%s holds %u pins, not %u", race->vehicle.name,
			  race->vehicle.capacity, PAGES * WALKS);
	huge_need_address(race, MAP1_ADDR);
	huge_need_address(race, MAP2_ADDR);
	huge_pool(race, POOL_PAGES);
	w.file = make_file(race, "guprace file", w.huge, TABLE_SIZE);
	w.other = make_file(race, "guprace other", w.huge, w.huge);
	stamp_files(&w);
	if (w.flags & OP_PROCESS)
		start_child(&w);
	prepare(race, &w);
	check_munmap(w.map1, TABLE_SIZE, "mapping 1");
	settle(race, &w);
	if (w.shared)
		race_trials(race, &trial, &w);
	stretch_code_end();

	if (w.flags & OP_PROCESS)
		stop_child(&w);
	close(w.other);
	close(w.file);
	huge_restore();
	if (!w.rounds_shared)
		race_skip(race, "mappings of one hugetlb file do not share their PMD table here");
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "shared", w.rounds_shared);
}

static const struct floor floors[] = {
	{ "trials", 40 },
	{ "pins", 100 },
	{ "shared", SHARED },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.thread", &vehicle_probe, race_unshare, floors, 0 },
	{ "probe.process", &vehicle_probe, race_unshare, floors, OP_PROCESS },
	{ "vmsplice.thread", &vehicle_vmsplice, race_unshare, floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_hugetlb_unshare",
	.summary = "pins of GUP-fast against the end of a shared hugetlb PMD table (P1)",
	.subtests = subtests,
	.taints = TAINT_WARN,	/* lockdep's word on 6.1's split of a shared mapping, known-issues.yaml */
};
