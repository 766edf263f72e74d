// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_accounting - everything at once, then quiet: all counts back to where they were
 *
 * Property: whoever takes a reference gives it back, on every way out. The walk has many of them: a
 * PTE or PMD that changed meanwhile, a page that must be unshared first, memory that it must not
 * have, a fork that write-protects, a partial success that the slow path goes on with. So has each
 * user of GUP. One reference too few is a page that is freed under its owner; one too many a page
 * that never is.
 *
 *   A: pins a random range by a random vehicle; holds it, or gives back what another one holds
 *   B: changes a random range of the same memory: unmaps and maps anew, discards, pages out, makes
 *      it read-only or inaccessible and back, moves it, forks, makes and splits huge pages, takes it
 *      to another node, has memory compacted
 *   ...
 *   all pins are dropped, all vehicles closed, the memory is unmapped: quiet
 *
 * Mode: free-running: it is the mixture that counts. GUP-fast's window is stretched
 * (lib/stretch.h).
 *
 * Oracles, when quiet:
 *   pin_accounting  nr_foll_pin_acquired and _released differ by what they did before (lib/main.c)
 *   lost_memory     memory that is neither free nor in any account (lib/memory.h)
 *   orphans         anonymous pages on an LRU list that nobody maps: a reference kept them, one is
 *                   enough
 *   taint           the kernel says of itself that something went wrong
 *   and the console: bad page state, a count below 0, DEBUG_VM
 *
 * Counters: trials (pins asked for), pins (pages), refusals, changes (by B), vehicles (that work
 * here), lost_kb, orphans.
 *
 * Fixed by: no one commit; every way out has its own. Controls: G15, G32, G49, G76.
 * Kconfig: pin_accounting.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "huge.h"
#include "ktap.h"
#include "memory.h"
#include "nodes.h"
#include "scenario.h"
#include "stretch.h"
#include "taint.h"

#define ARENA_HUGE	2u	/* huge pages of anonymous memory, then as many of a file */
#define PAGES_MAX	16u	/* pinned by one walk, or changed at once */
#define WALKS_MAX	4u
#define VEHICLES_MAX	16u

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

static const struct vehicle_ops * const every[] = {
	&vehicle_probe, &vehicle_probe_ro, &vehicle_probe_longterm, &vehicle_probe_ro_longterm,
	&vehicle_probe_get, &vehicle_probe_force, &vehicle_fast, &vehicle_slow, &vehicle_vmsplice,
	&vehicle_direct, &vehicle_direct_in, &vehicle_uring, &vehicle_gup_test,
};

struct world {
	struct race *race;
	size_t page;
	size_t huge;
	uint8_t *arena;
	uint8_t *file;			/* its second half: of a memfd */
	size_t size;			/* of each half */
	int fd;
	bool compacts;
	struct vehicle vehicle[VEHICLES_MAX];
	unsigned int vehicles;

	_Alignas(64) uint64_t trials, pins, refusals;	/* A's */
	_Alignas(64) uint64_t changes;			/* B's */
};

/* Some pages of the arena, all of one half. */
struct range {
	uint8_t *addr;
	size_t size;
};

static struct range any_range(const struct world *w, struct rng *rng)
{
	unsigned int pages = 1 + rng_below(rng, PAGES_MAX);
	uint64_t first = rng_below(rng, w->size / w->page - pages + 1);
	uint8_t *half = rng_below(rng, 4) ? w->arena : w->file;

	return (struct range){ half + first * w->page, pages * w->page };
}

static void pin_or_drop(struct world *w, struct rng *rng)
{
	struct vehicle *v = &w->vehicle[rng_below(rng, w->vehicles)];
	struct range r = any_range(w, rng);
	unsigned int pages = r.size / w->page, walks = 1 + rng_below(rng, WALKS_MAX);
	int got;

	if (v->held) {
		v->ops->unpin(v);
		return;
	}
	if (pages * walks > v->capacity)
		return;
	w->trials++;
	got = v->ops->pin(v, r.addr, pages, walks);
	if (got > 0)
		w->pins += got;
	else
		w->refusals++;
}

static void *pinner(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 0);

	while (race_running(w->race))
		pin_or_drop(w, &rng);
	for (unsigned int i = 0; i < w->vehicles; i++) {
		if (w->vehicle[i].held)
			w->vehicle[i].ops->unpin(&w->vehicle[i]);
	}
	return NULL;
}

/* The advice is tried: what this kernel or this memory does not know is no change. */
static void advise(struct range r, int advice)
{
	(void)madvise(r.addr, r.size, advice);
}

static void map_anew(struct world *w, struct range r)
{
	const int prot = PROT_READ | PROT_WRITE;

	if (r.addr < w->file)
		huge_map(r.addr, r.size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, "a part");
	else if (mmap(r.addr, r.size, prot, MAP_SHARED | MAP_FIXED, w->fd, r.addr - w->file) ==
		 MAP_FAILED)
		broken("mmap of %zu bytes of the file: %s", r.size, strerror(errno));
}

static void protect(struct range r, int prot)
{
	if (mprotect(r.addr, r.size, prot))
		broken("mprotect(%p, %zu, %d): %s", (void *)r.addr, r.size, prot, strerror(errno));
}

/* A child writes a part of what it shares with us, and is gone again. */
static void fork_and_write(struct range r, size_t page)
{
	pid_t child = fork();

	if (child < 0)
		broken("fork: %s", strerror(errno));
	if (!child) {
		for (size_t at = 0; at < r.size; at += 2 * page)
			r.addr[at] = 1;
		_exit(0);
	}
	if (waitpid(child, NULL, 0) != child)
		broken("waitpid: %s", strerror(errno));
}

/* Two ranges change places, by way of a third one; what was there is lost. */
static void move(struct world *w, struct range r)
{
	uint8_t *aside = check_mmap(NULL, r.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, "aside");

	if (mremap(r.addr, r.size, r.size, MREMAP_MAYMOVE | MREMAP_FIXED, aside) == MAP_FAILED)
		check_munmap(aside, r.size, "aside");
	else
		check_munmap(aside, r.size, "what was moved");
	map_anew(w, r);
}

static void huge_pages(struct world *w, struct rng *rng)
{
	struct range r = { w->arena + rng_below(rng, ARENA_HUGE) * w->huge, w->huge };

	map_anew(w, r);
	advise(r, MADV_HUGEPAGE);
	advise(r, MADV_POPULATE_WRITE);
	advise(any_range(w, rng), MADV_COLD);
}

/* Where there is another. */
static void migrate(struct world *w, struct range r, int node)
{
	struct nodes nodes = { .pages = r.size / w->page };

	for (unsigned int i = 0; i < nodes.pages; i++)
		nodes.page[i] = r.addr + i * w->page;
	nodes_turn(&nodes, node);
	(void)nodes_move(&nodes, MPOL_MF_MOVE);
}

static void punch(struct world *w, struct range r)
{
	if (r.addr < w->file)
		advise(r, MADV_FREE);
	else
		(void)fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				r.addr - w->file, r.size);
}

static void change(struct world *w, struct rng *rng)
{
	struct range r = any_range(w, rng);

	switch (rng_below(rng, 16)) {
	case 0:
		map_anew(w, r);
		break;
	case 1:
		advise(r, MADV_DONTNEED);
		break;
	case 2:
		advise(r, MADV_PAGEOUT);
		break;
	case 3:
		protect(r, PROT_NONE);
		protect(r, PROT_READ | PROT_WRITE);
		break;
	case 4:
		protect(r, PROT_READ);
		protect(r, PROT_READ | PROT_WRITE);
		break;
	case 5:
		move(w, r);
		break;
	case 6:
		punch(w, r);
		break;
	case 7:
		if (!rng_below(rng, 4))
			fork_and_write(r, w->page);
		break;
	case 8:
		if (!rng_below(rng, 16))
			huge_pages(w, rng);
		break;
	case 9:
		if (!rng_below(rng, 16))
			advise((struct range){ w->arena, w->huge }, MADV_COLLAPSE);
		break;
	case 10:
		migrate(w, r, rng_below(rng, 2));
		break;
	case 11:
		if (w->compacts && !rng_below(rng, 64))
			(void)write_file("/proc/sys/vm/compact_memory", "1\n");
		break;
	default:
		/* Somebody has to put pages there. */
		advise(r, MADV_POPULATE_WRITE);
	}
	w->changes++;
}

static void *changer(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 1);

	while (race_in_time(w->race))
		change(w, &rng);
	return NULL;
}

static uint64_t tainted(void)
{
	uint64_t bits;

	if (!taint_read(&bits))
		broken("read of /proc/sys/kernel/tainted: %s", strerror(errno));
	return bits;
}

static void open_vehicles(struct world *w, bool tell)
{
	char why[160];

	w->vehicles = 0;
	for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++) {
		if (!vehicle_open(&w->vehicle[w->vehicles], every[i], why, sizeof(why)))
			w->vehicles++;
		else if (tell)
			ktap_diag("%s: without %s: %s", w->race->subtest->name, every[i]->name,
				  why);
	}
}

static void close_vehicles(struct world *w)
{
	for (unsigned int i = 0; i < w->vehicles; i++)
		w->vehicle[i].ops->close(&w->vehicle[i]);
}

/* What is in no account and stays for good: the memory of RAM disks, the huge page of zeroes. */
static void take_what_stays(struct world *w)
{
	uint8_t *zeroes = huge_private(w->huge, w->huge, "zeroes", "guprace zeroes");

	check_madvise(zeroes, w->huge, MADV_HUGEPAGE, "zeroes");
	(void)*(volatile uint8_t *)zeroes;
	huge_release(zeroes, w->huge, "zeroes");
	open_vehicles(w, false);
	close_vehicles(w);
}

static void race_everything(struct race *race)
{
	struct world w = {
		.race = race, .page = getpagesize(), .fd = -1, .compacts = memory_is_small(),
	};
	bool ours = memory_is_ours(race, "lost memory, orphans and taint");
	uint64_t taint = tainted();
	struct memory before = { };

	w.huge = huge_size(race);
	huge_setting("enabled", "madvise");
	w.size = ARENA_HUGE * w.huge;
	take_what_stays(&w);
	if (ours)
		memory_read(&before, MEMORY_PAGES);
	w.fd = memfd_create("guprace arena", MFD_CLOEXEC);
	if (w.fd < 0 || ftruncate(w.fd, w.size))
		broken("memfd of %zu bytes: %s", w.size, strerror(errno));
	w.arena = huge_reserve(2 * w.size, w.huge, "the arena");
	w.file = w.arena + w.size;
	map_anew(&w, (struct range){ w.arena, w.size });
	map_anew(&w, (struct range){ w.file, w.size });
	open_vehicles(&w, true);
	if (race->stretch)
		stretch_window(&w.vehicle[0]);

	race_begin(race);
	race_actors(race, pinner, changer, &w);

	close_vehicles(&w);
	huge_release(w.arena, 2 * w.size, "the arena");
	close(w.fd);
	if (ours)
		memory_judge(race, &before);
	if (ours && tainted() != taint)
		race_hit(race, "taint", "expected %#" PRIx64 " as before, observed %#" PRIx64,
			 taint, tainted());
	huge_restore();
	race_count(race, "trials", w.trials);
	race_count(race, "pins", w.pins);
	race_count(race, "refusals", w.refusals);
	race_count(race, "changes", w.changes);
	race_count(race, "vehicles", w.vehicles);
}

static const struct floor floors[] = {
	{ "trials", 200 },
	{ "pins", 200 },
	{ "changes", 200 },
	{ "vehicles", 3 },
	{ }
};

static const char * const vmstat[] = {
	"nr_foll_pin_acquired", "nr_foll_pin_released", "pgmigrate_success", "thp_split_page",
	"thp_fault_alloc", "thp_collapse_alloc", NULL
};

static const struct subtest subtests[] = {
	{ "all.together", NULL, race_everything, floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "pin_accounting",
	.summary = "all vehicles and all changes at once, then quiet: all counts as before",
	.subtests = subtests,
	.vmstat = vmstat,
};
