// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window of GUP-fast is some twenty instructions long, an unmap and the refill of the page are
 * thousands. When no host load holds the walker's vCPU up, it is through long before: measured under
 * TCG with mutant M01, no hit in 9000 unmaps that overlapped a pin. Each kprobe costs two exceptions,
 * with interrupts off, in just the right place: about one hit in 80 such unmaps.
 *
 * The grabbing function is a static one, under other names in other versions, and any of it may
 * have been inlined: the first counts whose probe is hit by each pin of a page that nobody touches.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "kprobe.h"
#include "ktap.h"
#include "rng.h"
#include "stretch.h"

#define PROBES		3	/* at as many places of the function */
#if defined(__aarch64__)
#define OFFSET_MAX	28u
#define OFFSET_STEP	4u	/* an instruction */
#else
#define OFFSET_MAX	0u	/* the next instruction's place is not ours to know */
#define OFFSET_STEP	1u
#endif
#define CALIBRATION	8	/* pins */

#if defined(__aarch64__)
#define WALK_STEP	4u	/* an instruction */
#else
#define WALK_STEP	1u
#endif
#define WALK_TRIES	16u	/* steps from a random place to where an instruction begins */
#define WALK_PLACES	24u	/* until one is come by */
#define WALK_NEAR	128u	/* bytes around a place that was */
#define WALK_READS	4u	/* of each hit */

/* The innermost first: where it is not inlined, it is where the walk grabs. */
static const char * const grabbers[] = {
	"try_get_folio",		/* reference only; often inlined */
	"try_grab_folio_fast",		/* v6.11 on: the fast walk's own */
	"try_grab_folio",		/* before: of the fast walk; later: of the slow one */
};

static struct {
	const char *grabber;		/* armed by an earlier subtest, or by this one */
	int first;			/* of its probes */
	unsigned int probes;
} stretch;

static unsigned int quiet_pins(struct vehicle *v, void *page)
{
	unsigned int want = v->capacity < CALIBRATION ? v->capacity : CALIBRATION;
	int got = v->ops->pin(v, page, 1, want);

	if (got != (int)want)
		broken("%s took %d pins of %u on a page that nobody touches", v->name, got, want);
	return want;
}

static uint64_t ticks_of_pin(struct vehicle *v, void *page)
{
	uint64_t begin = now_ticks();
	unsigned int pins = quiet_pins(v, page);
	uint64_t ticks = (now_ticks() - begin) / pins;

	v->ops->unpin(v);
	return ticks;
}

static bool each_pin_hits(struct vehicle *v, void *page)
{
	uint64_t hits = kprobe_hits(stretch.first, 1);
	unsigned int pins = quiet_pins(v, page);

	v->ops->unpin(v);
	return kprobe_hits(stretch.first, 1) - hits >= pins;
}

static bool arm(const struct function *fn)
{
	unsigned int offset;

	stretch.probes = 0;
	for (offset = 0; offset <= OFFSET_MAX && stretch.probes < PROBES; offset += OFFSET_STEP) {
		int index = kprobe_add(fn, offset);

		if (index < 0)
			continue;
		if (!stretch.probes++)
			stretch.first = index;
	}
	return stretch.probes;
}

static void disarm(void)
{
	for (unsigned int i = 0; i < stretch.probes; i++)
		kprobe_remove(stretch.first + i);
}

static void arm_grabber(struct vehicle *v, void *page)
{
	for (size_t i = 0; i < sizeof(grabbers) / sizeof(grabbers[0]); i++) {
		struct function fn;

		if (!kallsyms_functions(grabbers[i], &fn, 1) || !arm(&fn))
			continue;
		if (each_pin_hits(v, page)) {
			stretch.grabber = grabbers[i];
			return;
		}
		disarm();
	}
	ktap_diag("window not stretched: no function found where the fast walk grabs");
}

void stretch_window(struct vehicle *v)
{
	void *page = check_mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, "the calibration page");

	stamp_page(page, stamp_of(0, 0, 0));
	ticks_of_pin(v, page);			/* warms up */
	ktap_diag("%s: %" PRIu64 " ticks for a quiet pin", v->name, ticks_of_pin(v, page));
	if (!stretch.grabber)
		arm_grabber(v, page);
	if (stretch.grabber)
		ktap_diag("%s: %" PRIu64 " with the window stretched by %u kprobes in %s", v->name,
			  ticks_of_pin(v, page), stretch.probes, stretch.grabber);
	check_munmap(page, getpagesize(), "the calibration page");
}

void stretch_end(void)
{
	if (!stretch.grabber)
		return;
	disarm();
	ktap_diag("window no longer stretched in %s", stretch.grabber);
	stretch.grabber = NULL;
}

/* Where the loop over PTEs is: on its own, or part of a function further out. */
static const char * const walkers[] = {
	"gup_pte_range", "gup_fast_pte_range", "gup_pgd_range", "gup_fast_pgd_range",
	"lockless_pages_from_mm", "gup_fast", "internal_get_user_pages_fast", "gup_fast_fallback",
};

static struct {
	bool sought;
	struct function fn;		/* the walker; size 0: none found */
	unsigned int good;		/* offset that a walk came by; 0: none yet */
	int probe;			/* -1: not armed */
	struct rng rng;
} walk = { .probe = -1 };

static void find_walker(void)
{
	size_t count = sizeof(walkers) / sizeof(walkers[0]);

	walk.sought = true;
	for (size_t i = 0; i < count && !walk.fn.size; i++) {
		if (!kallsyms_functions(walkers[i], &walk.fn, 1))
			walk.fn.size = 0;
	}
	if (!walk.fn.size)
		ktap_diag("walk not stretched: no function found that walks");
}

/*
 * Most of the function is for cases that never come. A place that was come by has others around it:
 * three times out of four the next one is looked for there.
 */
static unsigned int random_place(void)
{
	unsigned int from = walk.good > WALK_NEAR ? walk.good - WALK_NEAR : 0;
	unsigned int place;

	if (walk.good && rng_below(&walk.rng, 4))
		place = from + rng_below(&walk.rng, 2 * WALK_NEAR);
	else
		place = rng_below(&walk.rng, walk.fn.size);
	return place / WALK_STEP * WALK_STEP;
}

/* On x86 an instruction may begin at any byte: the kernel knows, and refuses all others. */
static bool arm_walk(unsigned int *offset)
{
	*offset = random_place();
	for (unsigned int i = 0; i < WALK_TRIES && *offset < walk.fn.size; i++, *offset += WALK_STEP) {
		walk.probe = kprobe_add_slow(&walk.fn, *offset, WALK_READS);
		if (walk.probe >= 0)
			return true;
	}
	return false;
}

/* Hits of one walk over `pages` pages. */
static uint64_t hits_of_walk(struct vehicle *v, void *area, unsigned int pages)
{
	uint64_t hits = kprobe_hits(walk.probe, 1);
	int got = v->ops->pin(v, area, pages, 1);

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

static bool arm_somewhere(struct vehicle *v, void *area, unsigned int pages)
{
	unsigned int offset;
	uint64_t hits;

	for (unsigned int i = 0; i < WALK_PLACES; i++) {
		if (!arm_walk(&offset))
			continue;
		hits = hits_of_walk(v, area, pages);
		if (hits) {
			walk.good = offset;
			ktap_diag("walk stretched at %s+%#x, %" PRIu64 " times in a walk of %u pages",
				  walk.fn.name, offset, hits, pages);
			return true;
		}
		stretch_walk_end();
	}
	return false;
}

void stretch_walk(struct race *race)
{
	struct vehicle *v = &race->vehicle;
	unsigned int pages = v->capacity < CALIBRATION ? v->capacity : CALIBRATION;
	uint8_t *area;

	if (!stretch.grabber)
		return;
	if (!walk.sought) {
		find_walker();
		walk.rng = rng_seeded(race->seed, 2);
	}
	stretch_walk_end();
	if (!walk.fn.size)
		return;
	area = check_mmap(NULL, CALIBRATION * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "the calibration pages");
	if (!arm_somewhere(v, area, pages))
		ktap_diag("walk not stretched: no place of %s found that is come by", walk.fn.name);
	check_munmap(area, CALIBRATION * getpagesize(), "the calibration pages");
}
