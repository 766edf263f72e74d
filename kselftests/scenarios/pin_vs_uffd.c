// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin_vs_uffd - pins of GUP-fast against userfaultfd's moves and its write-protection
 *
 * Property (PX): UFFDIO_MOVE takes a page away from one address and maps it at
 * another, without a copy. A page that is FOLL_PINned must stay. The move looks for pins, clears
 * the PTE, and looks again:
 *
 *   A: pin: reads the PTE of page i of the source, takes the pin
 *   B: UFFDIO_MOVE of page i: not pinned; clears the PTE, flushes the TLB
 *   B: finds the page pinned now: puts the PTE back, -EBUSY
 *      ... had B not looked again, or not at all, the page would be at the destination now
 *   A: reads the PTE again: empty: gives the pin back, and pins what a fault puts there
 *      ... else A holds a page that is not the source's any more
 *   A: writes by address of the source: a new page: not seen through the pin
 *
 * UFFDIO_WRITEPROTECT and its removal change the PTE and never the page: whatever A's pin meets in
 * between, it stays the page of the address. A pin for writing that meets the protection waits
 * until B removes it. Nor does a pin end it: a read-only one of what a fork shared takes a copy, which
 * is protected as the page was (lib/unshared.h). And pins of pages that userfaultfd brings only then
 * are of those (lib/filled.h).
 *
 * Mode: steered; held pins need no race. A pins many pages by one walk, B moves the same pages one
 * by one (a move ends at the first page that it must leave), or protects them all, waits for as long
 * as four quiet pin calls, and unprotects them. By
 * turns the move of a page is stretched at a random instruction: between look and clearing, too.
 *
 * Oracles, after both windows: pin_differs, address_differs, foreign_stamp, bad_stamp
 * (lib/agree.h); granted, a pin for writing that began and ended under protection; refused, where
 * pages come late, and unprotected, of the copies. After a move, page
 * by page: a pin that reads the source's stamp was taken before the move, which then must have
 * failed. A pin that reads zeroes was taken after it, of what a fault put there: to be seen through
 * a pin for writing; a read-only one may hold the zero page for ever: legal.
 *
 * Counters:
 *   checks          of held pins, where no race is needed; the others count trials (lib/trial.c)
 *   pins            pages pinned
 *   moved, refused  pages moved, huge ones in held_move_thp; left because of a pin (or of a lock)
 *   met             pin calls that began under protection
 *   unfolded        contiguous blocks of PTEs that were taken apart (lib/contpte.h)
 *   filled, copied  pages brought to a pin that waited for them; pages that a pin replaced
 *
 * Fixed by: adef440691ba ("userfaultfd: UFFDIO_MOVE uABI", v6.8) has the two looks; no CVE.
 * Controls: G20, G26, G31, G64, G80, G83, G99. Kconfig: pin_vs_uffd.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "clock.h"
#include "contpte.h"
#include "filled.h"
#include "huge.h"
#include "quiet.h"
#include "scenario.h"
#include "stamp.h"
#include "stretch.h"
#include "unshared.h"
#include "userfault.h"

#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM	(1 << 12)	/* v5.19 */
#endif

#define MAPPING_TARGET	1
#define PAGES		8u
#define REPEATS		8u		/* of what needs no race */
#define NEXT_PLACE	64u		/* rounds at one place of the move, then at another, or none */
#define DWELL		4u		/* quiet pin calls, that some of A's fall into it whole */

struct world {
	struct race *race;
	struct agree agree;		/* of the source */
	size_t size;
	size_t step;			/* bytes, by one call of UFFDIO_MOVE */
	uint8_t *dst;
	int fd;
	unsigned int pinned;
	unsigned int rounds;
	uint64_t quiet;			/* ticks of a pin call that nothing disturbs */
	int got;
	int err;			/* of B, unexpected */
	uint64_t checks, pins, moved, refused;
	uint32_t protected;		/* B's word: all pages are, from here until it is 0 again */
	bool before, after;		/* as A saw it */
	uint64_t met;
};

static void take_pins(struct race *race, void *arg)
{
	struct world *w = arg;

	w->got = race->vehicle.ops->pin(&race->vehicle, w->agree.addr, w->pinned, 1);
}

static void need_pins(struct world *w)
{
	if (w->got != (int)w->pinned)
		broken("%s took %d pins of %u pages", w->race->vehicle.name, w->got, w->pinned);
	w->pins += w->got;
}

static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	if (w->dst)
		check_madvise(w->dst, w->size, MADV_DONTNEED, "the destination");
	agree_stamp(&w->agree);
}

static void move_all(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	for (size_t at = 0; at < w->size; at += w->step) {
		struct userfault_move move = {
			.dst = (uintptr_t)w->dst + at,
			.src = (uintptr_t)w->agree.addr + at,
			.len = w->step,
			.mode = USERFAULT_ALLOW_SRC_HOLES,
		};

		if (!ioctl(w->fd, USERFAULT_MOVE, &move))
			w->moved++;
		else if (errno == EBUSY || errno == EAGAIN)
			w->refused++;
		else
			w->err = errno;
	}
}

/* With nobody else there, and no evidence of a race. */
static void move_alone(struct race *race, void *arg)
{
	struct world *w = arg;
	uint64_t moved = w->moved, refused = w->refused;

	prepare(race, w);
	move_all(race, w);
	w->moved = moved;
	w->refused = refused;
}

static void prepare_race(struct race *race, void *arg)
{
	static const char * const names[] = {
		"move_present_pte", "move_present_ptes", "move_pages_pte", "move_pages_ptes",
		"move_pages", NULL
	};
	static const struct stretch_code move = {
		.names = names, .least = PAGES / 2, .pass = move_alone,
	};
	struct world *w = arg;

	if (!race_sampling(race) && w->rounds++ % NEXT_PLACE == 0)
		stretch_by_turns(race, &move, w, STRETCH_SHORT, w->rounds / NEXT_PLACE);
	prepare(race, arg);
}

/* Zeroes, or half a stamp: what was there when the pin was taken was not what the source had. */
static bool was_the_sources(const struct world *w, const struct stamp *s)
{
	return s->mapping || s->index || s->generation || s->check || w->race->vehicle.ops->write;
}

static void judge_moved_pin(struct world *w, unsigned int i, const struct stamp *first,
			    const struct stamp *now)
{
	struct agree *a = &w->agree;
	struct stamp want = stamp_of(a->mapping, i, a->generation);

	if (!was_the_sources(w, first) || !memcmp(now, &want, sizeof(want)))
		return;
	race_hit(w->race, "pin_differs",
		 "pin %u, %s, of generation %" PRIu64 ": expected generation %" PRIu64
		 ", written to the source since, " STAMP_SEEN, i, a->when, first->generation,
		 a->generation, STAMP_SEEN_ARGS(now));
}

static void judge_moved(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;
	struct stamp first[VEHICLE_PINS_MAX], now[VEHICLE_PINS_MAX];

	if (w->err)
		broken("ioctl(UFFDIO_MOVE) of a page: %s", strerror(w->err));
	need_pins(w);
	v->ops->read(v, first);
	agree_stamp(&w->agree);
	v->ops->read(v, now);
	for (unsigned int i = 0; i < w->pinned; i++)
		judge_moved_pin(w, i, &first[i], &now[i]);
	agree_pin_to_address(&w->agree);
	v->ops->unpin(v);
}

static void protect(struct world *w, size_t from, size_t to, bool against)
{
	int err = userfault_protect(w->fd, w->agree.addr + from, to - from, against);

	if (err)
		w->err = err;
}

/* The last PTE by itself: 7.2 changes PTEs together, and makes no block of those and the ones around. */
static void unprotect(struct world *w)
{
	size_t last = w->race->subtest->arg == MTHP ? w->size - w->agree.page : w->size;

	protect(w, 0, last, false);
	if (last < w->size)
		protect(w, last, w->size, false);
}

static void say_protected(struct world *w, bool is)
{
	__atomic_store_n(&w->protected, is, __ATOMIC_SEQ_CST);
}

static bool is_protected(const struct world *w)
{
	return __atomic_load_n(&w->protected, __ATOMIC_SEQ_CST);
}

/* So long that some of A's calls begin and would end in it. */
static void protect_all(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	protect(w, 0, w->size, true);
	say_protected(w, true);
	for (uint64_t begin = now_ticks(); now_ticks() - begin < DWELL * w->quiet; )
		cpu_relax();
	say_protected(w, false);
	unprotect(w);
}

static void pin_protected(struct race *race, void *arg)
{
	struct world *w = arg;

	w->before = is_protected(w);
	take_pins(race, w);
	w->after = is_protected(w);
}

static void judge_protected(struct race *race, void *arg)
{
	struct world *w = arg;
	struct vehicle *v = &race->vehicle;

	if (w->err)
		broken("ioctl(UFFDIO_WRITEPROTECT) of %zu bytes: %s", w->size, strerror(w->err));
	w->met += w->before;
	if (w->before && w->after && w->got > 0 && v->ops->is & VEHICLE_WRITES)
		race_hit(race, "granted", "expected a pin for writing to wait until the protection is gone, "
			 "observed %d pins while it was there", w->got);
	need_pins(w);
	agree_address(&w->agree);
	agree_both_ways(&w->agree);
	v->ops->unpin(v);
}

static void enroll(struct world *w, void *addr, size_t size, uint64_t mode)
{
	int err = userfault_register(w->fd, addr, size, mode);

	if (err)
		broken("ioctl(UFFDIO_REGISTER, mode %#" PRIx64 "): %s", mode, strerror(err));
}

static struct world make_world(struct race *race, const char *when)
{
	struct world w = {
		.race = race,
		.agree = agree_about(race, PAGES, MAPPING_TARGET, when),
	};

	w.pinned = w.agree.pages;
	w.size = w.agree.pages * w.agree.page;
	w.step = w.agree.page;
	return w;
}

static void end_world(struct world *w)
{
	close(w->fd);
	check_munmap(w->agree.addr, w->size, "the source");
	if (w->dst)
		check_munmap(w->dst, w->size, "the destination");
	race_count(w->race, "pins", w->pins);
}

static struct world make_mover(struct race *race, const char *when)
{
	struct world w = make_world(race, when);

	w.fd = userfault_open(race, USERFAULT_FEATURE_MOVE, "UFFDIO_MOVE");
	w.agree.addr = backing_small(w.size, "guprace source");
	w.dst = backing_small(w.size, "guprace destination");
	enroll(&w, w.dst, w.size, UFFDIO_REGISTER_MODE_MISSING);
	return w;
}

static void count_moves(struct world *w)
{
	race_count(w->race, "pins", w->pins);
	race_count(w->race, "moved", w->moved);
	race_count(w->race, "refused", w->refused);
}

static void end_mover(struct world *w)
{
	end_world(w);
	count_moves(w);
}

static void race_move(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare_race, .a = take_pins, .b = move_all, .judge = judge_moved,
	};
	struct world w = make_mover(race, "pinned while its page was moved");

	race_trials(race, &trial, &w);
	stretch_code_end();
	end_mover(&w);
}

/* No race: the first half of the pages is pinned before, the other half must move. */
static void hold_move(struct race *race)
{
	struct world w = make_mover(race, "pinned before UFFDIO_MOVE");

	w.pinned /= 2;
	for (unsigned int i = 0; i < REPEATS && race_in_time(race); i++) {
		prepare(race, &w);
		take_pins(race, &w);
		move_all(race, &w);
		judge_moved(race, &w);
		w.checks++;
	}
	end_mover(&w);
	race_count(race, "checks", w.checks);
}

/*
 * A huge page moves as a whole, by its PMD, with two looks for pins of its own. Every second time it
 * is pinned before, the others must move.
 */
static void hold_move_thp(struct race *race)
{
	struct world w = make_world(race, "pinned before UFFDIO_MOVE of its huge page");
	struct backing src;
	uint64_t huge = 0;

	w.fd = userfault_open(race, USERFAULT_FEATURE_MOVE, "UFFDIO_MOVE");
	backing_map(&src, race, THP, 0, "guprace source");
	w.agree.addr = src.addr;
	w.size = w.step = src.size;
	w.dst = huge_private(w.size, w.size, "the destination", "guprace destination");
	enroll(&w, w.dst, w.size, UFFDIO_REGISTER_MODE_MISSING);
	for (unsigned int i = 0; i < 2 * REPEATS && race_in_time(race); i++) {
		huge += backing_renew(&src);
		prepare(race, &w);
		if (i % 2)
			take_pins(race, &w);
		move_all(race, &w);
		if (w.err)
			broken("ioctl(UFFDIO_MOVE) of a huge page: %s", strerror(w.err));
		if (i % 2)
			judge_moved(race, &w);
		w.checks++;
	}
	close(w.fd);
	backing_unmap(&src);
	huge_release(w.dst, w.size, "the destination");
	count_moves(&w);
	race_count(race, "checks", w.checks);
	race_count(race, "huge", huge);
}

static void race_protect(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare, .a = pin_protected, .b = protect_all, .judge = judge_protected,
	};
	struct world w = make_world(race, "pinned while its page was write-protected");
	bool shared = race->subtest->arg == SHMEM;
	struct responder *waker;
	struct backing source;

	w.fd = userfault_open(race, shared ? UFFD_FEATURE_WP_HUGETLBFS_SHMEM :
			      UFFD_FEATURE_PAGEFAULT_FLAG_WP, shared ?
			      "write-protection of shared memory" : "write-protection");
	/* Of a folio of 64 KiB the second half alone is protected, with the PTE that makes it one again. */
	backing_map(&source, race, race->subtest->arg, w.agree.pages, "guprace source");
	w.agree.addr = source.addr + source.size - w.size;
	agree_stamp(&w.agree);
	w.quiet = quiet_ticks(&race->vehicle, w.agree.addr, w.agree.pages, 1, true);
	enroll(&w, source.addr, source.size, UFFDIO_REGISTER_MODE_WP);
	waker = userfault_waker(race, &w.fd);
	if (source.kind == MTHP)
		contpte_begin(race, 20);
	race_trials(race, &trial, &w);
	if (source.kind == MTHP)
		contpte_end(race);
	responder_stop(waker);
	close(w.fd);
	backing_unmap(&source);
	race_count(race, "pins", w.pins);
	race_count(race, "met", w.met);
}

static void pin_unshared(struct race *race)
{
	unshared_protected(race, race->subtest->arg);
}

static const struct floor held[] = {
	{ "checks", REPEATS },
	{ "moved", REPEATS },
	{ "refused", REPEATS },
	{ }
};

static const struct floor held_huge[] = {
	{ "checks", 2 * REPEATS },
	{ "huge", 2 * REPEATS },
	{ "moved", REPEATS },
	{ "refused", REPEATS },
	{ }
};

static const struct floor moved[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "moved", 20 },
	{ "refused", 20 },
	{ }
};

static const struct floor protected[] = {
	{ "trials", 20 },
	{ "pins", 100 },
	{ "met", 10 },
	{ }
};

static const struct floor filled[] = {
	{ "checks", FILLED_ROUNDS },
	{ "filled", FILLED_ROUNDS * FILLED_PAGES },
	{ }
};

static const struct floor unshared[] = {
	{ "checks", UNSHARED_ROUNDS },
	{ "pins", UNSHARED_ROUNDS },
	{ }
};

static const struct subtest subtests[] = {
	{ "probe.filled", &vehicle_probe, filled_pins, filled, 0 },
	{ "probe_ro.filled", &vehicle_probe_ro, filled_pins, filled, 0 },
	{ "vmsplice.filled", &vehicle_vmsplice, filled_pins, filled, 0 },
	{ "probe_ro.unshared", &vehicle_probe_ro, pin_unshared, unshared, SMALL },
	{ "probe_ro.unshared_thp", &vehicle_probe_ro, pin_unshared, unshared, THP },
	{ "probe.held_move", &vehicle_probe, hold_move, held, 0 },
	{ "probe_ro.held_move", &vehicle_probe_ro, hold_move, held, 0 },
	{ "probe.held_move_thp", &vehicle_probe, hold_move_thp, held_huge, 0 },
	{ "probe.move", &vehicle_probe, race_move, moved, 0 },
	{ "probe_ro.move", &vehicle_probe_ro, race_move, moved, 0 },
	{ "probe.protect", &vehicle_probe, race_protect, protected, SMALL },
	{ "probe_ro.protect", &vehicle_probe_ro, race_protect, protected, SMALL },
	{ "vmsplice.protect", &vehicle_vmsplice, race_protect, protected, SMALL },
	{ "probe.protect_mthp", &vehicle_probe, race_protect, protected, MTHP },
	{ "probe.protect_shmem", &vehicle_probe, race_protect, protected, SHMEM },
	{ }
};

const struct scenario scenario = {
	.name = "pin_vs_uffd",
	.summary = "pins of GUP-fast against UFFDIO_MOVE and UFFDIO_WRITEPROTECT (PX)",
	.subtests = subtests,
};
