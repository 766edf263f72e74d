// SPDX-License-Identifier: GPL-2.0-only
/*
 * speculative_refs - references that GUP-fast takes in passing, on pages that became somebody
 * else's
 *
 * Property (P5, P3): between the look at the PTE and the second look GUP-fast holds
 * a reference on whatever page that was. It may be free by then, and in use again, for anything.
 * All of mm must bear a count that is one higher than it should be, for as long as a preempted
 * vCPU takes:
 *
 *   A: reads the PTE; the page leaves it, is freed, and becomes the first of a block of 2^n pages
 *   A: takes the reference
 *   B: frees the block: __free_pages() drops its own reference, and that was not the last
 *   A: sees that the PTE has changed, gives the reference back: the last one, one page is freed
 *   B: the other 2^n - 1 pages must be freed by somebody all the same, and none of them twice
 *
 * The probe module takes such references with the kernel's own helper, on page frames that we
 * choose, and frees blocks of the allocator.
 *
 *   held     deterministic: B's and A's steps one after the other, for blocks of all sorts, with a
 *            look at whom the allocator gives pages while A holds them
 *   blocks   A touches (takes and gives back) pages of blocks while B allocates and frees them
 *   unmap    ... of small and huge pages of a mapping that B makes, stamps and unmaps
 *   split    ... of huge pages that B splits: the count is frozen at 0 meanwhile (P3)
 *   compact  ... of pages that compaction migrates: frozen, too
 *   hugetlb  ... of pages of a pool that B makes larger and smaller, and in between maps
 *
 * Mode: free-running. There is no window to steer to: any instant at which A holds a reference is
 * as good, and A holds one half of the time, each for a random while with interrupts off, as in
 * the walk.
 *
 * Oracles:
 *   given_away   the allocator gave a page to somebody while a reference was held
 *   not_taken    no reference could be taken on a page that is in use
 *   address_differs, foreign_stamp, bad_stamp  B's page holds something else than B wrote
 *   lost_memory  memory that is neither free nor in any account (lib/memory.h); held: 2^n - 1 of
 *                each 2^n pages, tens of megabytes within a second
 *   and the console: bad page state, a count below 0, DEBUG_VM
 *
 * Counters: trials (rounds of B's, each some changes, in which A took a reference; held: blocks freed under
 * one), touches that got a reference, tries, rounds of B, pages of B's, lost_kb.
 *
 * Fixed by: e320d3012d25 ("mm/page_alloc.c: fix freeing non-compound pages", v5.9). Controls: M21,
 * G16, G18. Kconfig: speculative_refs.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "blocks.h"
#include "check.h"
#include "clock.h"
#include "huge.h"
#include "memory.h"
#include "pagemap.h"
#include "refs.h"
#include "scenario.h"

#define RW		(PROT_READ | PROT_WRITE)
#define SHARED_PFNS	64u	/* that B tells A of */
#define BLOCKS		64u	/* of B's at once */
#define ORDER_MAX	4u
#define TOUCHES		2u	/* of each in one system call */
#define SPINS_MAX	200u
#define SMALL_PAGES	64u
#define POOL_PAGES	4u
#define SCATTERED	1024u	/* pages that compaction is to move */

struct world {
	struct race *race;
	size_t page;
	size_t huge;			/* bytes of a huge page */
	int fd[2];			/* of the probe: A's, B's */
	uint64_t pfn[SHARED_PFNS];	/* B writes, A reads: any mixture will do */
	uint8_t *scattered;
	struct huge_swing pool;

	_Alignas(64) uint64_t tries, taken;	/* A's */
	_Alignas(64) uint64_t rounds, trials, pages;	/* B's */
};

static void open_world(struct world *w, struct race *race)
{
	*w = (struct world){ .race = race, .page = getpagesize() };
	w->fd[0] = refs_open(race);
	w->fd[1] = refs_open(race);
}

static void close_world(struct world *w)
{
	close(w->fd[0]);
	close(w->fd[1]);
	race_count(w->race, "trials", w->trials);
	race_count(w->race, "touches", w->taken);
	race_count(w->race, "tries", w->tries);
	race_count(w->race, "rounds", w->rounds);
	race_count(w->race, "pages", w->pages);
}

/* Ends at the first loss: a kernel without memory tells nobody anything. */
static void race_held(struct race *race)
{
	struct rng rng = rng_seeded(race->seed, 0);
	bool ours = memory_is_ours(race, "lost memory");
	struct world w;
	struct memory before;

	open_world(&w, race);
	memory_read(&before, MEMORY_BULK);
	race_begin(race);
	while (race_in_time(race) &&
	       (!ours || before.accounted_kb - memory_accounted() < 2 * memory_noise_kb())) {
		w.trials += blocks_freed_under_references(race, w.fd[0], w.fd[1], &rng);
		w.rounds++;
	}
	if (ours)
		memory_judge(race, &before);
	close_world(&w);
}

static void *toucher(void *arg)
{
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 0);
	uint64_t pfn[SHARED_PFNS];

	while (race_running(w->race)) {
		uint64_t begin = now_ticks(), busy;
		unsigned int count = 0;

		for (unsigned int i = 0; i < SHARED_PFNS; i++) {
			pfn[count] = __atomic_load_n(&w->pfn[i], __ATOMIC_RELAXED);
			count += pfn[count] != 0;
		}
		if (!count)
			continue;
		w->tries += count * TOUCHES;
		__atomic_fetch_add(&w->taken, refs_touch(w->fd[0], pfn, count, TOUCHES, rng_below(&rng, SPINS_MAX)),
				   __ATOMIC_RELAXED);
		/* As long again without: who splits or migrates must get its turn. */
		for (busy = now_ticks() - begin; now_ticks() - begin < 2 * busy;)
			cpu_relax();
	}
	return NULL;
}

static void tell(struct world *w, unsigned int slot, uint64_t pfn)
{
	__atomic_store_n(&w->pfn[slot % SHARED_PFNS], pfn, __ATOMIC_RELAXED);
}

/* Every so many pages of a range, as many as A listens to. */
static void tell_range(struct world *w, const uint8_t *from, unsigned int pages)
{
	uint64_t entry;

	for (unsigned int i = 0; i < SHARED_PFNS; i++) {
		pagemap_read(from + i * pages / SHARED_PFNS * w->page, &entry, 1);
		if (entry & PAGEMAP_PRESENT)
			tell(w, i, entry & PAGEMAP_PFN);
	}
}

static void step_blocks(struct world *w, struct rng *rng)
{
	unsigned int blocks = 0;

	for (; blocks < BLOCKS; blocks++) {
		unsigned int order = rng_below(rng, ORDER_MAX + 1);
		unsigned int flags = order && rng_below(rng, 2) ? GUPRACE_BLOCK_COMPOUND : 0;
		uint64_t pfn = refs_block(w->fd[1], order, flags);

		if (!pfn)
			break;
		tell(w, blocks, pfn + (flags ? rng_below(rng, 1u << order) : 0));
		w->pages += 1u << order;
	}
	refs_free_blocks(w->fd[1], blocks);
}

static uint8_t *map_huge(struct world *w)
{
	uint8_t *map = huge_reserve(w->huge, w->huge, "a huge page");

	huge_map(map, w->huge, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, "a huge page");
	check_madvise(map, w->huge, MADV_HUGEPAGE, "a huge page");
	return map;
}

/* Stamp, have A touch while the change is made, and look. */
static void changed_under_references(struct world *w, uint8_t *map, unsigned int pages,
				     void (*change)(struct agree *a, struct rng *rng),
				     struct rng *rng)
{
	struct agree a = {
		.race = w->race,
		.addr = map,
		.page = w->page,
		.pages = pages,
		.mapping = (uintptr_t)map,
		.generation = w->rounds,
	};

	agree_stamp(&a);
	tell_range(w, map, pages);
	if (change)
		change(&a, rng);
	agree_address(&a);
	w->pages += pages;
}

static void step_unmap(struct world *w, struct rng *rng)
{
	bool huge = !rng_below(rng, 4);
	unsigned int pages = huge ? w->huge / w->page : SMALL_PAGES;
	uint8_t *map = huge ? map_huge(w) : check_mmap(NULL, pages * w->page, RW,
						       MAP_PRIVATE | MAP_ANONYMOUS, "the pages");

	changed_under_references(w, map, pages, NULL, rng);
	if (huge)
		huge_release(map, w->huge, "a huge page");
	else
		check_munmap(map, pages * w->page, "the pages");
}

/* MADV_COLD of a part splits a huge page and changes nothing that can be read. */
static void split(struct agree *a, struct rng *rng)
{
	for (unsigned int i = 0; i < 8; i++)
		check_madvise(a->addr + rng_below(rng, a->pages) * a->page, a->page, MADV_COLD,
			      "a part");
}

static void step_split(struct world *w, struct rng *rng)
{
	uint8_t *map = map_huge(w);

	changed_under_references(w, map, w->huge / w->page, split, rng);
	huge_release(map, w->huge, "a huge page");
}

static void compact(struct agree *a, struct rng *rng)
{
	int err = write_file("/proc/sys/vm/compact_memory", "1\n");

	(void)a;
	(void)rng;
	if (err)
		broken("write to /proc/sys/vm/compact_memory: %s", strerror(-err));
}

/* Every second page is given away, so that there is something to move, and somewhere to move to. */
static void step_compact(struct world *w, struct rng *rng)
{
	for (unsigned int i = rng_below(rng, 2); i < SCATTERED; i += 2)
		check_madvise(w->scattered + i * w->page, w->page, MADV_DONTNEED, "every other");
	changed_under_references(w, w->scattered, SCATTERED, compact, rng);
}

/* The pool grows out of the allocator and goes back to it; free in it, a page's count is 0. */
static void step_hugetlb(struct world *w, struct rng *rng)
{
	uint8_t *map;

	huge_swing_to(&w->pool, true);
	map = mmap(NULL, w->huge, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | huge_bits(w->huge),
		   -1, 0);
	if (map != MAP_FAILED) {
		changed_under_references(w, map, w->huge / w->page, NULL, rng);
		check_munmap(map, w->huge, "a page of hugetlb");
	}
	huge_swing_to(&w->pool, false);
}

enum step { BLOCKS_STEP, UNMAP_STEP, SPLIT_STEP, COMPACT_STEP, HUGETLB_STEP };

static void *owner(void *arg)
{
	static void (* const steps[])(struct world *w, struct rng *rng) = {
		[BLOCKS_STEP] = step_blocks,
		[UNMAP_STEP] = step_unmap,
		[SPLIT_STEP] = step_split,
		[COMPACT_STEP] = step_compact,
		[HUGETLB_STEP] = step_hugetlb,
	};
	struct world *w = arg;
	struct rng rng = rng_seeded(w->race->seed, 1);

	while (race_in_time(w->race)) {
		uint64_t taken = __atomic_load_n(&w->taken, __ATOMIC_RELAXED);

		w->rounds++;
		steps[w->race->subtest->arg](w, &rng);
		w->trials += __atomic_load_n(&w->taken, __ATOMIC_RELAXED) != taken;
	}
	return NULL;
}

static void race_touched(struct race *race)
{
	enum step step = race->subtest->arg;
	size_t scattered = SCATTERED * getpagesize();
	bool ours = memory_is_ours(race, "lost memory");
	struct world w;
	struct memory before;

	if (step != BLOCKS_STEP && !pagemap_tells())
		race_skip(race, "page frame numbers are not for this user");
	if (step == COMPACT_STEP && access("/proc/sys/vm/compact_memory", W_OK))
		race_skip(race, "compact_memory: %s", strerror(errno));
	open_world(&w, race);
	memory_read(&before, MEMORY_BULK);
	if (step != BLOCKS_STEP) {
		w.huge = huge_size(race);
		huge_setting("enabled", "madvise");
	}
	if (step == HUGETLB_STEP)
		huge_swing_begin(&w.pool, race, POOL_PAGES);
	w.scattered = check_mmap(NULL, scattered, RW, MAP_PRIVATE | MAP_ANONYMOUS,
				 "scattered pages");
	check_madvise(w.scattered, scattered, MADV_NOHUGEPAGE, "scattered pages");
	race_begin(race);
	race_actors(race, toucher, owner, &w);
	check_munmap(w.scattered, scattered, "scattered pages");
	huge_restore();
	if (ours)
		memory_judge(race, &before);
	close_world(&w);
}

static const struct floor held_floors[] = {
	{ "trials", 1000 },
	{ }
};

static const struct floor touched_floors[] = {
	{ "trials", 20 },
	{ "touches", 1000 },
	{ }
};

static const struct floor split_floors[] = {
	{ "trials", 2 },
	{ "touches", 1000 },
	{ "vm.thp_split_page", 5 },
	{ }
};

static const struct floor compact_floors[] = {
	{ "trials", 2 },
	{ "touches", 1000 },
	{ "vm.pgmigrate_success", 10 },
	{ }
};

static const struct floor hugetlb_floors[] = {
	{ "trials", 2 },
	{ "touches", 1000 },
	{ "vm.htlb_buddy_alloc_success", 4 },
	{ }
};

static const char * const vmstat[] = {
	"thp_split_page", "thp_split_page_failed", "pgmigrate_success", "pgmigrate_fail",
	"htlb_buddy_alloc_success", NULL
};

static const struct subtest subtests[] = {
	{ "probe.held", NULL, race_held, held_floors, 0 },
	{ "probe.blocks", NULL, race_touched, touched_floors, BLOCKS_STEP },
	{ "probe.unmap", NULL, race_touched, touched_floors, UNMAP_STEP },
	{ "probe.split", NULL, race_touched, split_floors, SPLIT_STEP },
	{ "probe.compact", NULL, race_touched, compact_floors, COMPACT_STEP },
	{ "probe.hugetlb", NULL, race_touched, hugetlb_floors, HUGETLB_STEP },
	{ }
};

const struct scenario scenario = {
	.name = "speculative_refs",
	.summary = "references taken in passing on pages that became somebody else's (P5, P3)",
	.subtests = subtests,
	.vmstat = vmstat,
};
