// SPDX-License-Identifier: GPL-2.0-only
/*
 * admission - what GUP may take and what it must not, on the fast and the slow path alike
 *
 * Property (P2, PX): what a PTE holds converts to a page by the usual rules. No
 * race:
 *
 *   1. map a page of some kind (lib/place.h), and stamp it
 *   2. look up, in a table (lib/kind.c), whether a pin of this kind is due or -EFAULT
 *   3. pin it, by one door after the other: GUP-fast, its walk alone, under mmap_lock, and by what
 *      uses them: vmsplice, O_DIRECT, io_uring, gup_test
 *   4. compare; with a pin in hand, write through it and by address, and ask who else may see that
 *   5. the same in one walk over three pages, the middle one of this kind; of one page table or two
 *
 * Then futexes, which the kernel knows by the page that GUP-fast finds (lib/futexes.h); pages of one
 * huge page in another order, and ranges that begin within a page (lib/layout.h).
 *
 * And what a pin must keep others from: sealing a memfd against writes (lib/sealed.h). A read-only one
 * of what the process may only read may make it a copy of its own, but none that can be written.
 *
 * The slow path has the mapping to look at and the fast one only the PTE, so the two can differ,
 * and only one table says what both must do. The walk alone may always decline; what the process
 * itself may not do without a fault it must decline: it has no way to take that fault. Both look at
 * protection keys, of the thread that asks (33a709b25a76, "mm/gup, x86/mm/pkeys: Check VMAs and PTEs
 * for protection keys", v4.6); FOLL_FORCE is no way around them.
 *
 * Mode: deterministic, a few times over; the vehicles of a subtest take turns. All time that is left
 * is for a race of long-term pins, of pages that must leave a movable zone, with somebody else who is
 * about to move them (lib/longterm.h): steered.
 *
 * Oracles:
 *   admitted        a pin where -EFAULT was due, or by the walk alone where a fault was due
 *   refused         an error where a pin was due
 *   wrong_page      the pin gives something else than what is at the address
 *   pin_differs     a stamp written by address does not show through the FOLL_PIN: two pages
 *   address_differs a stamp written through the pin does not show at the address
 *   leaked          it shows to a child, or in a file that was mapped privately
 *   kept_back       it does not show in a file that was mapped shared
 *   changed         a refused pin has changed the page
 *   writable        what the process may only read takes a write by address after a pin
 *   wrong_count     a walk over three pages gave not just those that were due
 *   sealed          F_SEAL_WRITE of a memfd went well while a page of it was pinned
 *   movable         FOLL_LONGTERM gave a page of a movable zone
 *   woke_other, not_woken  of futexes: see lib/futexes.h
 *
 * No hits: a R/O FOLL_GET that keeps the page from before a copy-on-write; a R/O pin of the zero
 * page or of a page of a privately mapped file, for the same reason. A long-term one is a hit where
 * the kernel means to make the copy for it (commit 84209e87c696, "mm/gup: reliable R/O long-term
 * pinning in COW mappings", v6.2), which is asked of gup_test. Whether a file
 * that needs write-back may be pinned for writing for long changed with 8ac268436e6d ("mm/gup:
 * disallow FOLL_LONGTERM GUP-nonfast writing to file-backed mappings", v6.5): there the slow path
 * is asked, and the fast one must say the same.
 *
 * Counters: checks (pins tried and judged), pins, refusals, absent (kinds that this kernel or this
 * user does not have), seals (memfds that were, without pins), moved (long-term pins whose page had
 * to leave a movable zone; a floor where there is such a zone), met (of longterm.moving: rounds in which
 * the move and the pin were in each other's way), copied (R/O long-term pins that were
 * held against a write by address which copies).
 *
 * Fixed by: a7f226604170 (R/O pins of shared anonymous pages, v5.19), CVE-2024-35872 (memfd_secret
 * while on its way to the LRU). Controls: M10, M11, M16, M25, G08, G09, G10, G22, G24, G25, G34,
 * G39, G40, G41, G50, G57, G59, G62, G66, G72, G74, G81, G82, G87, G88, G102; M12 stays silent.
 * Kconfig: admission.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "futexes.h"
#include "huge.h"
#include "kind.h"
#include "ktap.h"
#include "layout.h"
#include "longterm.h"
#include "pagemap.h"
#include "sealed.h"

#define VEHICLES_MAX	11
#define TRIES		10	/* of the walk alone, where it has to succeed */
#define TABLES		4	/* passes: the answers do not change */
#define POOL		8	/* hugetlb pages: one place has two of them */

/* One pin of one kind by one vehicle. */
struct attempt {
	struct race *race;
	struct vehicle *v;
	const struct kind *kind;
	struct place place;
	enum kind_due due;
};

static void hit(struct attempt *a, const char *oracle, const char *observed)
{
	race_hit(a->race, oracle, "%s, %s: expected %s, observed %s", a->v->name, a->kind->what,
		 kind_due_text[a->due], observed);
}

static bool is(const struct attempt *a, unsigned int flag)
{
	return a->v->ops->is & flag;
}

/* What else looks at this memory: a child, the file behind a private or a shared mapping. */
static void judge_others(struct attempt *a, uint64_t generation)
{
	struct place *p = &a->place;
	bool shared = a->kind->is & SHARED;

	if (!place_child_kept(p))
		hit(a, "leaked", "the child sees what was written");
	if (p->other && !place_shows(p->other, shared ? generation : 1))
		hit(a, shared ? "kept_back" : "leaked", "another stamp in the other view");
}

static void judge_refusal(struct attempt *a)
{
	struct place *p = &a->place;

	race_add(a->race, "refusals", 1);
	if (!(a->kind->is & (CLOSED | ZERO)) && !place_shows(p->addr, 1))
		hit(a, "changed", "a refusal, and another stamp at the address");
	judge_others(a, 1);
}

static struct stamp read_first(struct vehicle *v)
{
	struct stamp stamps[VEHICLE_PINS_MAX];

	v->ops->read(v, stamps);
	return stamps[0];
}

/* As it was mapped: stamped by us, or all zeroes. */
static void judge_content(struct attempt *a)
{
	static const struct stamp zero;
	struct stamp s = read_first(a->v);

	if (a->kind->is & ZERO ? memcmp(&s, &zero, sizeof(s)) : !place_shows(&s, 1))
		hit(a, "wrong_page", "another content");
}

/* Whether the pin must be of the page that a write by address goes to. */
static bool writes_meet(const struct attempt *a)
{
	if (a->kind->is & OURS || (a->kind->is & COPIED && is(a, VEHICLE_WRITES)))
		return true;
	if (!(a->kind->is & COPIED) || !is(a, VEHICLE_LONGTERM) || !vehicle_longterm_copies())
		return false;
	race_add(a->race, "copied", 1);
	return true;
}

/* Generation 2 through the pin, or by the vehicle as it pinned; 3 by address. Returns the last. */
static uint64_t judge_agreement(struct attempt *a)
{
	struct place *p = &a->place;
	struct stamp second = stamp_of(PLACE_MAPPING, 0, 2), s;
	uint64_t generation = 1;

	if (is(a, VEHICLE_WRITES) && a->v->ops->write) {
		if (!is(a, VEHICLE_FILLS))
			a->v->ops->write(a->v, 0, &second);
		if (a->kind->is & CLOSED)
			place_open(p);
		generation = 2;
		if (!place_shows(p->addr, 2))
			hit(a, "address_differs", "a stamp written through the pin is not there");
	}
	if (!writes_meet(a))
		return generation;
	place_stamp(p, 3);
	if (is(a, VEHICLE_FOLL_PIN) && is(a, VEHICLE_HOLDS)) {
		s = read_first(a->v);
		if (!place_shows(&s, 3))
			hit(a, "pin_differs", "a stamp written by address is not in the pin");
	}
	return 3;
}

static bool tells_zone(const struct vehicle *v)
{
	return v->ops->pfn && v->ops->is & VEHICLE_LONGTERM;
}

/*
 * Where no page was in a movable zone, `movable` says nothing. Anonymous memory comes from there
 * first; of hugetlb such pages are left out.
 */
static void expect_moves(struct race *race, const struct kind *kinds, const struct vehicle *v,
			 unsigned int open)
{
	bool told = false;

	for (unsigned int i = 0; i < open; i++)
		told = told || tells_zone(&v[i]);
	if (!told || kinds == kinds_hugetlb)
		return;
	if (place_movable_exists())
		race_floor(race, "moved", 1);
	else
		ktap_diag("%s: no movable zone: whether long-term pins leave one is not asked",
			  race->subtest->name);
}

static void judge_zone(struct attempt *a, uint64_t before)
{
	if (!tells_zone(a->v))
		return;
	if (place_movable(a->v->ops->pfn(a->v, 0)))
		hit(a, "movable", "a long-term pin of a page of a movable zone");
	else if (before & PAGEMAP_PRESENT && place_movable(before & PAGEMAP_PFN))
		race_add(a->race, "moved", 1);
}

/*
 * The pages around are what they are, also where the walk pinned one and the slow path went on. Of
 * the place itself nothing is read: in between it may have become another page.
 */
static void judge_neighbours(struct attempt *a, int got)
{
	struct stamp before = stamp_of(PLACE_MAPPING, PLACE_BEFORE, 0);
	struct stamp behind = stamp_of(PLACE_MAPPING, PLACE_BEHIND, 0);
	struct stamp stamps[VEHICLE_PINS_MAX];

	a->v->ops->read(a->v, stamps);
	if (memcmp(&stamps[0], &before, sizeof(before)))
		hit(a, "wrong_page", "another content, first of three pages in one walk");
	if (got == 3 && memcmp(&stamps[2], &behind, sizeof(behind)))
		hit(a, "wrong_page", "another content, last of three pages in one walk");
}

/* Once more, between two pages that anybody may have. The walk alone may stop anywhere. */
static void judge_span(struct attempt *a)
{
	struct place *p = &a->place;
	char text[64];
	int got, least = a->due == REFUSAL_DUE ? 1 : 3, most = least;

	if (!a->v->ops->pfn || p->alone || p->addr != p->base)
		return;
	if (a->due == EITHER)
		most = 3;
	if (a->due == EITHER || is(a, VEHICLE_FAST))
		least = -EAGAIN;
	got = a->v->ops->pin(a->v, p->addr - p->page, 3, 1);
	if (kind_answered(got) && (got < least || got > most)) {
		snprintf(text, sizeof(text), "%d of three pages in one walk", got);
		hit(a, "wrong_count", text);
	} else if (got > 0) {
		judge_neighbours(a, got);
	}
	a->v->ops->unpin(a->v);
}

static void judge_pin(struct attempt *a, uint64_t before)
{
	race_add(a->race, "pins", 1);
	judge_zone(a, before);
	if (a->v->ops->read)
		judge_content(a);
	judge_others(a, judge_agreement(a));
	if (kind_read_only(a->kind) && place_writable(&a->place))
		race_hit(a->race, "writable", "%s, %s: expected -EFAULT of a write by address after "
			 "the pin, observed success", a->v->name, a->kind->what);
}

/*
 * NUMA balancing may take any PTE away for a while, and the walk alone rightly declines: touched by
 * us, it is back. Not so often that it were in the way of each try.
 */
static int pin_place(struct attempt *a)
{
	int got;

	for (unsigned int i = 0; i < TRIES; i++) {
		got = a->v->ops->pin(a->v, a->place.addr, 1, 1);
		if (got == 1 || !is(a, VEHICLE_FAST) || a->due != PIN_DUE)
			break;
		(void)*(volatile uint8_t *)a->place.addr;
	}
	return got;
}

static void attempt(struct attempt *a)
{
	struct vehicle *v = a->v;
	uint64_t before = 0;
	char text[64];
	int got;

	if (is(a, VEHICLE_FILLS)) {
		struct stamp second = stamp_of(PLACE_MAPPING, 0, 2);

		v->ops->write(v, 0, &second);
	}
	if (is(a, VEHICLE_LONGTERM) && !a->place.nowhere)
		pagemap_read(a->place.addr, &before, 1);
	if (a->kind->is & NO_MOVE && before & PAGEMAP_PRESENT && place_movable(before & PAGEMAP_PFN))
		return;
	got = pin_place(a);
	if (got < 1 && !kind_answered(got))
		return;
	race_add(a->race, "checks", 1);
	if (got < 1 && a->due == PIN_DUE) {
		snprintf(text, sizeof(text), "%d (%s)", got, strerror(-got));
		hit(a, "refused", text);
	} else if (got < 1) {
		judge_refusal(a);
	} else if (a->due == REFUSAL_DUE) {
		/* Not read: what is not the kernel's to read may be an oops. */
		hit(a, "admitted", "a pin");
	} else {
		judge_pin(a, before);
	}
	v->ops->unpin(v);
	judge_span(a);
}

static void try_kinds(struct race *race, struct vehicle *v, const struct kind *kind)
{
	for (; kind->what; kind++) {
		struct attempt a = { .race = race, .v = v, .kind = kind };

		if (kind->is & NO_FORCE && v->ops->is & VEHICLE_FORCE)
			continue;
		a.due = kind_due(race, kind, v->ops);
		place_init(&a.place, race);
		if (kind->make(&a.place))
			attempt(&a);
		else
			race_add(race, "absent", 1);
		place_release(&a.place);
	}
}

struct table {
	const struct kind *kinds;
	const struct vehicle_ops *by[VEHICLES_MAX + 1];
};

static void admit(struct race *race)
{
	const struct table *table = (const void *)race->subtest->arg;
	struct vehicle v[VEHICLES_MAX];
	unsigned int open = 0, tables = 0;
	char why[160] = "";

	if (table->kinds == kinds_thp && (!huge_size(race) || !huge_setting("enabled", "madvise")))
		race_skip(race, "transparent huge pages cannot be had");
	if (table->kinds == kinds_hugetlb)
		huge_pool(race, POOL);
	if (table->kinds == kinds_keys)
		place_keys(race);
	for (unsigned int i = 0; table->by[i]; i++)
		open += !vehicle_open(&v[open], table->by[i], why, sizeof(why));
	if (!open)
		race_skip(race, "%s", why);
	expect_moves(race, table->kinds, v, open);
	do {
		for (unsigned int i = 0; i < open; i++)
			try_kinds(race, &v[i], table->kinds);
		tables++;
	} while (tables < TABLES && race_in_time(race));
	for (unsigned int i = 0; i < open; i++)
		v[i].ops->close(&v[i]);
	race_count(race, "tables", tables);
	huge_restore();
}

static void seal(struct race *race)
{
	static const struct vehicle_ops * const by[] = {
		&vehicle_probe, &vehicle_probe_longterm, &vehicle_probe_get_rw, &vehicle_slow,
		&vehicle_vmsplice, &vehicle_uring, NULL
	};

	race_begin(race);
	sealed_race(race, by);
}

#define PROBES	&vehicle_probe, &vehicle_probe_ro, &vehicle_probe_longterm,		\
		&vehicle_probe_ro_longterm, &vehicle_probe_force, &vehicle_probe_ro_force, \
		&vehicle_probe_get, &vehicle_probe_get_rw
#define SLOWS	&vehicle_slow, &vehicle_slow_ro, &vehicle_slow_longterm,		\
		&vehicle_slow_ro_longterm, &vehicle_slow_force, &vehicle_slow_ro_force
#define WALKS	&vehicle_fast, &vehicle_fast_ro
#define USERS	&vehicle_vmsplice, &vehicle_direct, &vehicle_direct_in, &vehicle_uring,	\
		&vehicle_gup_test

static const struct table small_probe = { kinds_small, { PROBES } };
static const struct table small_walk = { kinds_small, { WALKS } };
static const struct table small_slow = { kinds_small, { SLOWS } };
static const struct table small_users = { kinds_small, { USERS } };
static const struct table keys_all = { kinds_keys, { PROBES, WALKS } };
static const struct table keys_others = { kinds_keys, { SLOWS, USERS } };
static const struct table thp_all = { kinds_thp, { PROBES, WALKS } };
static const struct table thp_others = {
	kinds_thp, { SLOWS, &vehicle_vmsplice, &vehicle_direct_in }
};
static const struct table hugetlb_all = { kinds_hugetlb, { PROBES, WALKS } };
static const struct table hugetlb_others = { kinds_hugetlb, { SLOWS, &vehicle_direct_in } };

static const struct floor floors[] = {
	{ "tables", 1 },
	{ "pins", 2 },
	{ "refusals", 2 },
	{ "checks", 4 },
	{ }
};

static const struct floor moving_floors[] = {
	{ "trials", 20 },
	{ "pins", 20 },
	{ "moved", 20 },
	{ }
};

static const struct floor layout_floors[] = {
	{ "checks", LAYOUT_ROUNDS },
	{ "pins", LAYOUT_ROUNDS },
	{ "huge", LAYOUT_ROUNDS / 2 },
	{ }
};

static const struct floor sealed_floors[] = {
	{ "refusals", 2 },
	{ "seals", 2 },
	{ }
};

static const struct floor futex_floors[] = {
	{ "checks", 5 },
	{ "wakes", 2 },
	{ }
};

static const struct floor futex_huge_floors[] = {
	{ "checks", 5 },
	{ "wakes", 2 },
	{ "huge", 2 },
	{ }
};

#define SUBTEST(name, table)	{ name, NULL, admit, floors, (unsigned long)&table }

static const struct subtest subtests[] = {
	SUBTEST("probe.small", small_probe),
	SUBTEST("walk.small", small_walk),
	SUBTEST("slow.small", small_slow),
	SUBTEST("users.small", small_users),
	{ "any.seal", NULL, seal, sealed_floors, 0 },
	{ "futex.small", NULL, futexes_small, futex_floors, 0 },
	{ "futex.thp", NULL, futexes_thp, futex_huge_floors, 0 },
	{ "futex.hugetlb", NULL, futexes_hugetlb, futex_floors, 0 },
	{ "probe.scattered", &vehicle_probe, layout_scattered, layout_floors, 0 },
	{ "slow.scattered", &vehicle_slow, layout_scattered, layout_floors, 0 },
	{ "vmsplice.scattered", &vehicle_vmsplice, layout_scattered, layout_floors, 0 },
	{ "direct.scattered", &vehicle_direct, layout_scattered, layout_floors, 0 },
	{ "direct_in.scattered", &vehicle_direct_in, layout_scattered, layout_floors, 0 },
	{ "uring.scattered", &vehicle_uring, layout_scattered, layout_floors, 0 },
	{ "direct.offset", &vehicle_direct, layout_offset, layout_floors, 0 },
	{ "direct_in.offset", &vehicle_direct_in, layout_offset, layout_floors, 0 },
	{ "uring.offset", &vehicle_uring, layout_offset, layout_floors, 0 },
	SUBTEST("probe.keys", keys_all),
	SUBTEST("users.keys", keys_others),
	SUBTEST("probe.thp", thp_all),
	SUBTEST("users.thp", thp_others),
	SUBTEST("probe.hugetlb", hugetlb_all),
	SUBTEST("users.hugetlb", hugetlb_others),
	/* Last: it takes what time the others leave, which need little. */
	{ "longterm.moving", &vehicle_probe_longterm, longterm_moving, moving_floors, 0 },
	{ }
};

const struct scenario scenario = {
	.name = "admission",
	.summary = "what GUP may take and must refuse, by the fast and the slow path (P2, PX)",
	.subtests = subtests,
};
