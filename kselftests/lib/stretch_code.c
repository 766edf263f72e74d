// SPDX-License-Identifier: GPL-2.0-only
/*
 * A slow kprobe at a random instruction of the walk, or of other code. Which place matters depends
 * on the race and on what is broken: a page table may be freed between any two reads of it, and a
 * folio split between any two looks at it.
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
#include "quiet.h"
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
#define SEARCH_PART	16u	/* of the time to race: then a place known is good enough, */
#define SEARCH_MAX_PART	4u	/* or, after so much, it stays as it is for the whole subtest */
#define STAY		4u	/* times as long as the search for it took, at least */
#define AREAS_MAX	8u	/* of one program */

struct spot {
	struct function fn;
	unsigned int good;	/* offset that somebody came by; 0: none yet */
};

/* What is known of the code that some names stand for. */
struct area {
	const void *sought;	/* the names */
	struct spot spot[2];
	unsigned int spots;
	const struct subtest *given_up;
};

static struct {
	struct area area[AREAS_MAX];
	unsigned int areas;
	struct area *at;	/* the one that is stretched, or was last */
	int probe;		/* -1: not armed */
	uint64_t ticks;		/* of one pass with it */
	uint64_t found_ns;	/* when it was, */
	uint64_t search_ns;	/* and after how long */
	const struct subtest *seeded;
	struct rng rng;
} code = { .probe = -1 };

static void add_spot(const struct function *fn)
{
	if (fn->size)
		code.at->spot[code.at->spots++] = (struct spot){ .fn = *fn };
}

static void add_first(const char * const *names)
{
	struct function fn;

	for (; *names; names++) {
		if (kallsyms_functions(*names, &fn, 1) && fn.size) {
			add_spot(&fn);
			return;
		}
	}
	ktap_diag("not stretched: no such function here as %s", names[-1]);
}

/*
 * Most of a function is for cases that never come. A place that was come by has others around it:
 * three times out of four the next one is looked for there.
 */
static unsigned int random_place(const struct spot *spot)
{
	unsigned int from = spot->good > NEAR ? spot->good - NEAR : 0;
	unsigned int place;

	if (spot->good && rng_below(&code.rng, 4))
		place = from + rng_below(&code.rng, 2 * NEAR);
	else
		place = rng_below(&code.rng, spot->fn.size);
	return place / STEP * STEP;
}

/* The offset at which there is a probe now, or 0: that is where the grab is stretched anyway. */
static unsigned int arm_near(const struct spot *spot, unsigned int offset, unsigned int reads)
{
	for (unsigned int i = 0; i < STEPS && offset < spot->fn.size; i++, offset += STEP) {
		if (!offset)
			continue;
		code.probe = kprobe_add_slow(&spot->fn, offset, reads);
		if (code.probe >= 0)
			return offset;
	}
	return 0;
}

static void disarm(void)
{
	if (code.probe >= 0)
		kprobe_remove(code.probe);
	code.probe = -1;
	code.ticks = 0;
}

/* One way through the code that is to be stretched. */
struct pass {
	void (*fn)(struct race *race, void *arg);
	struct race *race;
	void *arg;
	unsigned int least;
	void (*worst)(struct race *race, void *arg);	/* may be NULL */
	unsigned int most;
	bool whole;		/* the reads are for all of it */
};

static uint64_t hits_of(void (*fn)(struct race *race, void *arg), const struct pass *pass)
{
	uint64_t before = kprobe_hits(code.probe, 1);

	fn(pass->race, pass->arg);
	return kprobe_hits(code.probe, 1) - before;
}

/* True when it was come by; where it was not, nothing is armed. */
static bool try_place(struct spot *spot, unsigned int offset, unsigned int reads,
		      const struct pass *pass)
{
	uint64_t hits, ticks;

	offset = arm_near(spot, offset, reads);
	if (!offset)
		return false;
	ticks = now_ticks();
	hits = hits_of(pass->fn, pass);
	ticks = now_ticks() - ticks;
	if (hits < pass->least || (pass->worst && hits_of(pass->worst, pass) > pass->most)) {
		disarm();
		return false;
	}
	if (pass->whole && hits > 1) {
		struct pass part = *pass;

		part.whole = false;
		disarm();
		return try_place(spot, offset, reads > hits ? reads / hits : 1, &part);
	}
	/* What is come by once only, at the begin of a walk, says nothing of where its loop is. */
	if (hits > 1 || !spot->good)
		spot->good = offset;
	code.ticks = ticks;
	race_add(pass->race, "stretched", 1);
	ktap_diag("stretched at %s+%#x, %" PRIu64 " times in one pass of %" PRIu64 " ticks",
		  spot->fn.name, offset, hits, ticks);
	return true;
}

static bool arm_somewhere(unsigned int reads, const struct pass *pass)
{
	uint64_t begin = now_ns(), budget = pass->race->deadline_ns - pass->race->start_ns;
	struct pass any = *pass;

	any.least = 1;		/* when the search has taken its time */

	for (;;) {
		struct spot *spot = &code.at->spot[rng_below(&code.rng, code.at->spots)];
		uint64_t spent = now_ns() - begin;

		if (try_place(spot, random_place(spot), reads, pass))
			return true;
		if (spent > budget / SEARCH_PART && spot->good && try_place(spot, spot->good, reads, &any))
			return true;
		if (spent > budget / SEARCH_MAX_PART)
			return false;
	}
}

/* True where these names were not asked for before: their spots are still to be added. */
static bool enter_area(const void *names)
{
	for (unsigned int i = 0; i < code.areas; i++) {
		code.at = &code.area[i];
		if (code.at->sought == names)
			return false;
	}
	if (code.areas == AREAS_MAX)
		broken("more than %u kinds of code to stretch", AREAS_MAX);
	code.at = &code.area[code.areas++];
	code.at->sought = names;
	return true;
}

/*
 * A search costs tens of milliseconds, more than the rounds at the place on a fast kernel. So whoever
 * asks for the same code again and again spends a part of the time on that and no more, whatever
 * number of rounds it thinks enough. The place stays as it is, with as many reads as it had.
 */
static bool stays(const struct race *race, const void *names)
{
	return code.probe >= 0 && code.at->sought == names && code.seeded == race->subtest &&
	       now_ns() - code.found_ns < STAY * code.search_ns;
}

/* False where nothing more is to be done; true with `fresh` where the spots are still to be added. */
static bool begin(struct race *race, const void *names, bool *fresh)
{
	if (stays(race, names))
		return false;
	disarm();
	if (!stretch_allowed())
		return false;
	/* Shown even where none is found: such a pass says less. */
	race_add(race, "stretched", 0);
	if (code.seeded != race->subtest)
		code.rng = rng_seeded(race->seed, 2);
	code.seeded = race->subtest;
	*fresh = enter_area(names);
	return code.at->given_up != race->subtest;
}

static void arm(unsigned int reads, const struct pass *pass)
{
	uint64_t begin = now_ns();

	if (!code.at->spots)
		return;
	if (arm_somewhere(reads, pass)) {
		code.found_ns = now_ns();
		code.search_ns = code.found_ns - begin;
		return;
	}
	code.at->given_up = pass->race->subtest;
	ktap_diag("not stretched: no place found in time that is come by");
}

/* Where the loop over PTEs is: on its own, or part of a function further out. */
static const char * const walkers[] = {
	"gup_pte_range", "gup_fast_pte_range", "gup_pgd_range", "gup_fast_pgd_range",
	"lockless_pages_from_mm", "gup_fast", "internal_get_user_pages_fast", "gup_fast_fallback",
	NULL
};

/* The names, as it were, of the walk, of the grab, of both. */
static const char walker_spots[4];

static void walk(struct race *race, void *area)
{
	struct vehicle *v = &race->vehicle;
	unsigned int pages = v->capacity < PAGES ? v->capacity : PAGES;
	unsigned int tries = 0;
	int got;

	do {
		got = v->ops->pin(v, area, pages, 1);
	} while (quiet_again(v, area, pages, got, pages, &tries));
	v->ops->unpin(v);
}

/* The loop over PTEs calls them, or what is inlined into it does. */
static const char * const grabs[] = {
	"try_grab_folio_fast", "try_grab_folio", "try_get_folio", NULL
};

/*
 * Where the walk comes back from the grab is a place in its loop. On x86 few bytes of a function of
 * some thousand are one, and each try costs tens of milliseconds where the kernel is slow: none was
 * found in time in two subtests of three on 6.1/x86_64/kasan.
 */
static void begin_at_grab(struct spot *spot, const struct pass *pass)
{
	struct function grab;
	uint64_t caller;
	int index;

	for (const char * const *name = grabs; *name && !spot->good; name++) {
		if (!kallsyms_functions(*name, &grab, 1))
			continue;
		index = kprobe_add_caller(&grab);
		if (index < 0)
			continue;
		pass->fn(pass->race, pass->arg);
		caller = kprobe_take_caller(index);
		if (caller > spot->fn.addr && caller - spot->fn.addr < spot->fn.size)
			spot->good = caller - spot->fn.addr;
	}
}

enum where {
	WALK		= 1u << 0,
	GRAB		= 1u << 1,
};

static void stretch_walker(struct race *race, unsigned int reads, unsigned int where)
{
	struct pass pass = { .fn = walk, .race = race };
	struct function grabber;
	bool fresh;

	if (!begin(race, &walker_spots[where], &fresh))
		return;
	pass.arg = check_mmap(NULL, PAGES * getpagesize(), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "the calibration pages");
	if (fresh) {
		if (where & GRAB && stretch_grabber(&grabber))
			add_spot(&grabber);
		if (where & WALK || !code.at->spots)
			add_first(walkers);
		if (code.at->spots)
			begin_at_grab(&code.at->spot[code.at->spots - 1], &pass);
	}
	/* Mostly in the loop over PTEs; a walker also begins, and goes from level to level. */
	pass.least = rng_below(&code.rng, 4) ? 2 : 1;
	arm(reads, &pass);
	check_munmap(pass.arg, PAGES * getpagesize(), "the calibration pages");
}

void stretch_walk(struct race *race, unsigned int reads)
{
	stretch_walker(race, reads, WALK);
}

void stretch_walk_and_grab(struct race *race, unsigned int reads)
{
	stretch_walker(race, reads, WALK | GRAB);
}

void stretch_grab(struct race *race, unsigned int reads)
{
	stretch_walker(race, reads, GRAB);
}

void stretch_code(struct race *race, const struct stretch_code *what, void *arg,
		  unsigned int reads)
{
	struct pass pass = {
		.fn = what->pass, .race = race, .arg = arg, .least = what->least,
		.worst = what->worst, .most = what->most, .whole = what->whole,
	};
	bool fresh;

	if (!begin(race, what->names, &fresh))
		return;
	if (fresh)
		add_first(what->names);
	arm(reads, &pass);
}

void stretch_by_turns(struct race *race, const struct stretch_code *what, void *arg,
		      unsigned int reads, unsigned int turn)
{
	if (turn % 2)
		stretch_code(race, what, arg, reads);
	else
		disarm();
}

void stretch_code_end(void)
{
	disarm();
}

uint64_t stretch_code_ticks(void)
{
	return code.ticks;
}
