// SPDX-License-Identifier: GPL-2.0-only
/*
 * A slow kprobe at a random instruction of the walk. Which place matters depends on the race and on
 * what is broken: a page table may be freed between any two reads of it, and a folio split between
 * any two looks at it.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "kprobe.h"
#include "ktap.h"
#include "rng.h"
#include "stretch.h"

#if defined(__aarch64__)
#define STEP		4u	/* an instruction */
#else
#define STEP		1u	/* one may begin at any byte: the kernel knows, and refuses all others */
#endif
#define STEPS		16u	/* from a random place to where an instruction begins */
#define NEAR		128u	/* bytes around a place that was come by */
#define PAGES		8u	/* of the walk that tells whether a place is come by */
#define SEARCH_NS	(NSEC_PER_SEC / 2)	/* then a place known is good enough, */
#define SEARCH_MAX_NS	(5 * NSEC_PER_SEC)	/* or the walk stays as it is */

/* Where the loop over PTEs is: on its own, or part of a function further out. */
static const char * const walkers[] = {
	"gup_pte_range", "gup_fast_pte_range", "gup_pgd_range", "gup_fast_pgd_range",
	"lockless_pages_from_mm", "gup_fast", "internal_get_user_pages_fast", "gup_fast_fallback",
};

struct spot {
	struct function fn;
	unsigned int good;	/* offset that a walk came by; 0: none yet */
};

static struct {
	bool sought;
	struct spot spot[2];	/* the function that walks, and the one that grabs */
	unsigned int spots;
	int probe;		/* -1: not armed */
	struct rng rng;
} walk = { .probe = -1 };

static void find_spots(void)
{
	struct function fn;

	walk.sought = true;
	if (stretch_grabber(&fn) && fn.size)
		walk.spot[walk.spots++].fn = fn;
	for (size_t i = 0; i < sizeof(walkers) / sizeof(walkers[0]); i++) {
		if (kallsyms_functions(walkers[i], &fn, 1) && fn.size) {
			walk.spot[walk.spots++].fn = fn;
			return;
		}
	}
	ktap_diag("no function found that walks: only the grab is stretched");
}

/*
 * Most of a function is for cases that never come. A place that was come by has others around it:
 * three times out of four the next one is looked for there.
 */
static unsigned int random_place(const struct spot *spot)
{
	unsigned int from = spot->good > NEAR ? spot->good - NEAR : 0;
	unsigned int place;

	if (spot->good && rng_below(&walk.rng, 4))
		place = from + rng_below(&walk.rng, 2 * NEAR);
	else
		place = rng_below(&walk.rng, spot->fn.size);
	return place / STEP * STEP;
}

/* The offset at which there is a probe now, or 0: that is where the grab is stretched anyway. */
static unsigned int arm_near(const struct spot *spot, unsigned int offset, unsigned int reads)
{
	for (unsigned int i = 0; i < STEPS && offset < spot->fn.size; i++, offset += STEP) {
		if (!offset)
			continue;
		walk.probe = kprobe_add_slow(&spot->fn, offset, reads);
		if (walk.probe >= 0)
			return offset;
	}
	return 0;
}

/* Hits of one walk over `pages` pages, and the time that it took. */
static uint64_t hits_of_walk(struct vehicle *v, void *area, unsigned int pages, uint64_t *ticks)
{
	uint64_t hits = kprobe_hits(walk.probe, 1), begin = now_ticks();
	int got = v->ops->pin(v, area, pages, 1);

	*ticks = now_ticks() - begin;
	if (got != (int)pages)
		broken("%s took %d pins of %u on pages that nobody touches", v->name, got, pages);
	v->ops->unpin(v);
	return kprobe_hits(walk.probe, 1) - hits;
}

void stretch_walk_end(void)
{
	if (walk.probe >= 0)
		kprobe_remove(walk.probe);
	walk.probe = -1;
}

/* True when a walk came by; where none did, nothing is armed. */
static bool try_place(struct vehicle *v, void *area, struct spot *spot, unsigned int offset,
		      unsigned int reads)
{
	unsigned int pages = v->capacity < PAGES ? v->capacity : PAGES;
	uint64_t hits, ticks;

	offset = arm_near(spot, offset, reads);
	if (!offset)
		return false;
	hits = hits_of_walk(v, area, pages, &ticks);
	if (!hits) {
		stretch_walk_end();
		return false;
	}
	spot->good = offset;
	ktap_diag("walk stretched at %s+%#x, %" PRIu64 " times in a walk of %u pages: %" PRIu64 " ticks",
		  spot->fn.name, offset, hits, pages, ticks);
	return true;
}

static bool arm_somewhere(struct vehicle *v, void *area, unsigned int reads)
{
	uint64_t begin = now_ns();

	for (;;) {
		struct spot *spot = &walk.spot[rng_below(&walk.rng, walk.spots)];
		uint64_t spent = now_ns() - begin;

		if (try_place(v, area, spot, random_place(spot), reads))
			return true;
		if (spent > SEARCH_NS && spot->good && try_place(v, area, spot, spot->good, reads))
			return true;
		if (spent > SEARCH_MAX_NS)
			return false;
	}
}

void stretch_walk(struct race *race, unsigned int reads)
{
	struct function fn;
	uint8_t *area;

	if (!stretch_grabber(&fn))
		return;
	if (!walk.sought) {
		find_spots();
		walk.rng = rng_seeded(race->seed, 2);
	}
	stretch_walk_end();
	if (!walk.spots)
		return;
	area = check_mmap(NULL, PAGES * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "the calibration pages");
	if (!arm_somewhere(&race->vehicle, area, reads))
		ktap_diag("walk not stretched: no place found that is come by");
	check_munmap(area, PAGES * getpagesize(), "the calibration pages");
}
