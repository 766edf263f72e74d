// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "forked_held.h"
#include "huge.h"
#include "memcg.h"
#include "newborn.h"
#include "nodes.h"
#include "pagemap.h"
#include "swap.h"

#define RECLAIMS	8u	/* attempts */

/* What is done with the pages from when they are stamped to when they are judged. */
typedef void fate(struct forked *f, unsigned int round);

static void one_round(struct forked *f, const char *when, fate *fate, unsigned int round)
{
	f->agree.when = when;
	forked_prepare(f->race, f);
	fate(f, round);
	forked_settle(f->race, f);
}

static void rounds(struct forked *f, const char *when, fate *fate)
{
	for (unsigned int i = 0; i < FORKED_REPEATS; i++)
		one_round(f, when, fate, i);
	race_count(f->race, "checks", f->family.judged);
}

static void protect(struct forked *f, int prot)
{
	if (mprotect(f->target.addr, f->target.size, prot))
		broken("mprotect(%#x) of the target: %s", prot, strerror(errno));
}

/* By somebody else, who gives back as many as he took. */
static void pin_in_passing(struct forked *f)
{
	struct vehicle other;
	char why[128];
	int got;

	if (vehicle_open(&other, f->race->vehicle.ops, why, sizeof(why)))
		broken("%s a second time: %s", f->race->vehicle.name, why);
	got = other.ops->pin(&other, f->agree.addr, f->agree.pages, 1);
	if (got != (int)f->agree.pages)
		broken("%s took %d pins in passing of %u", other.name, got, f->agree.pages);
	other.ops->unpin(&other);
	f->race->vehicle.unpinned += other.unpinned;	/* or they counted as back-offs */
	other.ops->close(&other);
}

static void pin_then_fork(struct forked *f, unsigned int round)
{
	(void)round;
	forked_pin(f->race, f);
	pin_in_passing(f);
	forked_fork(f->race, f);
}

static void fork_then_pin(struct forked *f, unsigned int round)
{
	(void)round;
	forked_fork(f->race, f);
	forked_pin(f->race, f);
}

void forked_held(struct forked *f)
{
	for (unsigned int i = 0; i < FORKED_REPEATS; i++) {
		one_round(f, "pinned before the fork", pin_then_fork, i);
		one_round(f, "pinned after the fork", fork_then_pin, i);
	}
	race_count(f->race, "checks", f->family.judged);
}

static void fork_split_pin(struct forked *f, unsigned int round)
{
	(void)round;
	forked_fork(f->race, f);
	forked_split_mapping(f);
	forked_pin(f->race, f);
}

void forked_held_split(struct forked *f)
{
	rounds(f, "forked, its huge mapping split, then pinned", fork_split_pin);
}

static void fork_part_pin(struct forked *f, unsigned int round)
{
	(void)round;
	check_madvise(f->target.addr, f->agree.page, MADV_DONTFORK, "the first page");
	forked_fork(f->race, f);
	forked_pin(f->race, f);
}

void forked_held_parted(struct forked *f)
{
	f->agree.addr += f->agree.page;
	rounds(f, "forked without the first page of its folio, then pinned", fork_part_pin);
}

/*
 * By turns the mapping is split by the fork itself, before the pins, and after them, while nobody may
 * write: then no PTE tells by being writable that it is of a page of ours alone.
 */
static void split_pin_fork(struct forked *f, unsigned int round)
{
	if (round % 3 == 1)
		forked_split_mapping(f);
	forked_pin(f->race, f);
	if (round % 3 == 2) {
		protect(f, PROT_READ);
		forked_split_mapping(f);
		protect(f, PROT_READ | PROT_WRITE);
	}
	forked_fork(f->race, f);
}

void forked_held_exclusive(struct forked *f)
{
	f->agree.addr += f->agree.page;
	rounds(f, "a part of a huge page, pinned, then forked", split_pin_fork);
}

/* The first half is shared by one fork, so that the next may copy its PTEs in one go with the others. */
static void part_pin_fork(struct forked *f, unsigned int round)
{
	uint8_t *second = f->target.addr + f->target.size / 2;

	(void)round;
	check_madvise(second, f->target.size / 2, MADV_DONTFORK, "the second half");
	forked_once(f->race, NULL);
	check_madvise(second, f->target.size / 2, MADV_DOFORK, "the second half");
	forked_pin(f->race, f);
	forked_fork(f->race, f);
}

void forked_held_halved(struct forked *f)
{
	f->agree.addr += f->target.size / 2;
	rounds(f, "forked without the second half of its folio, pinned, then forked", part_pin_fork);
}

/* One page further down than in its folio. */
static void shift_fork_pin(struct forked *f)
{
	size_t run = MTHP_PAGES * f->agree.page;
	uint8_t *place = huge_reserve(run, run, "a run of pages"), *from = f->agree.addr;

	if (mremap(from, run, run, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED)
		broken("mremap of %u pages of a huge one: %s", MTHP_PAGES, strerror(errno));
	f->agree.addr = place;
	forked_fork(f->race, f);
	forked_pin(f->race, f);
	forked_settle(f->race, f);
	huge_release(place, run, "a run of pages");
	f->agree.addr = from;
}

void forked_held_shifted(struct forked *f)
{
	f->agree.when = "moved by a page, forked, then pinned";
	f->agree.addr += f->agree.page;
	for (unsigned int i = 0; i < FORKED_REPEATS; i++) {
		forked_prepare(f->race, f);
		shift_fork_pin(f);
	}
	race_count(f->race, "checks", f->family.judged);
}

static uint64_t first_entry(const struct forked *f)
{
	uint64_t entry;

	pagemap_read(f->agree.addr, &entry, 1);
	return entry;
}

static void need_swap(struct forked *f)
{
	char why[192];

	if (!swap_begin(why, sizeof(why)))
		race_skip(f->race, "%s", why);
}

/* Forked with swap entries in the place of pages; whether that was so. */
static bool page_out_and_fork(struct forked *f)
{
	bool swapped;

	check_madvise(f->target.addr, f->target.size, MADV_PAGEOUT, "the target");
	swapped = first_entry(f) & PAGEMAP_SWAPPED;
	race_add(f->race, "swapped", swapped);
	forked_fork(f->race, f);
	return swapped;
}

/* The pin faults in what the child shares. */
static void page_out_fork_pin(struct forked *f, unsigned int round)
{
	(void)round;
	page_out_and_fork(f);
	forked_pin(f->race, f);
}

void forked_held_swapped(struct forked *f)
{
	need_swap(f);
	rounds(f, "swapped out, forked, then pinned", page_out_fork_pin);
	swap_end();
}

/* swapoff does for every process that has an entry what a fault does for one. */
static void page_out_fork_bring_back_pin(struct forked *f, unsigned int round)
{
	char why[192];
	bool swapped;

	(void)round;
	if (!swap_begin(why, sizeof(why)))
		broken("swap, once more: %s", why);
	swapped = page_out_and_fork(f);
	swap_end();
	race_add(f->race, "brought_back", swapped && first_entry(f) & PAGEMAP_PRESENT);
	forked_pin(f->race, f);
}

void forked_held_brought_back(struct forked *f)
{
	need_swap(f);
	if (!swap_is_ours())
		race_skip(f->race, "swap is on that is not ours to take off");
	rounds(f, "swapped out, forked, brought back, then pinned", page_out_fork_bring_back_pin);
}

static bool any_present(const struct forked *f)
{
	uint64_t entry[VEHICLE_PINS_MAX];
	bool any = false;

	pagemap_read(f->agree.addr, entry, f->agree.pages);
	for (unsigned int i = 0; i < f->agree.pages; i++)
		any = any || entry[i] & PAGEMAP_PRESENT;
	return any;
}

/*
 * Pages that have just been touched wait in a batch of their CPU for their place on reclaim's lists;
 * so do those that are to be taken soon. Either call puts the batches' pages where they belong.
 */
static void make_old(const struct forked *f)
{
	check_madvise(f->target.addr, f->target.size, MADV_COLD, "the target");
	check_madvise(f->target.addr, f->target.size, MADV_COLD, "the target");
}

static void fork_reclaim_pin(struct forked *f, unsigned int round)
{
	uint64_t of_child;

	(void)round;
	make_old(f);	/* while nobody shares them: others' pages are left alone */
	forked_fork(f->race, f);
	for (unsigned int i = 0; i < RECLAIMS && any_present(f); i++)
		memcg_reclaim(f->target.size);
	of_child = pagemap_of(f->family.child, f->agree.addr);
	race_add(f->race, "swapped", first_entry(f) & of_child & PAGEMAP_SWAPPED ? 1 : 0);
	forked_pin(f->race, f);
}

/* A page is charged to the group that its process is in when it is touched first. */
void forked_held_reclaimed(struct forked *f)
{
	char why[192];

	need_swap(f);
	if (!memcg_begin(why, sizeof(why))) {
		swap_end();
		race_skip(f->race, "%s", why);
	}
	check_madvise(f->target.addr, f->target.size, MADV_DONTNEED, "the target");
	rounds(f, "forked, swapped out by reclaim, then pinned", fork_reclaim_pin);
	swap_end();
	memcg_end();
}

static bool same_frame(uint64_t before, uint64_t after)
{
	return !((before ^ after) & PAGEMAP_PFN);
}

static int node_of(const struct forked *f)
{
	struct nodes nodes;

	nodes_pages(&nodes, &f->agree);
	return nodes_of_first(&nodes);
}

/* The new page is shared as the old one was. */
static void fork_move_pin(struct forked *f, unsigned int round)
{
	uint64_t before;

	(void)round;
	forked_fork(f->race, f);
	before = first_entry(f);
	forked_move_to(f, !node_of(f));
	race_add(f->race, "moved", !same_frame(before, first_entry(f)));
	forked_pin(f->race, f);
}

void forked_held_moved(struct forked *f)
{
	forked_need_two_nodes(f);
	rounds(f, "forked, moved to another node, then pinned", fork_move_pin);
}

/* And exclusive, as the old one was. */
static void move_pin_fork(struct forked *f, unsigned int round)
{
	uint64_t before = first_entry(f);

	(void)round;
	forked_move_to(f, !node_of(f));
	race_add(f->race, "moved", !same_frame(before, first_entry(f)));
	forked_pin(f->race, f);
	forked_fork(f->race, f);
}

void forked_held_arrived(struct forked *f)
{
	forked_need_two_nodes(f);
	rounds(f, "moved to another node, pinned, then forked", move_pin_fork);
}

/*
 * Who gives back what was taken away may make writable what is exclusive, and nothing else. That is
 * decided for the PMD of a huge page, and for PTEs, which map it every second time.
 */
static void fork_protect_pin(struct forked *f, unsigned int round)
{
	forked_fork(f->race, f);
	if (backing_is_thp(&f->target) && round % 2)
		forked_split_mapping(f);
	protect(f, round / 2 % 2 ? PROT_NONE : PROT_READ);
	protect(f, PROT_READ | PROT_WRITE);
	forked_pin(f->race, f);
}

void forked_held_protected(struct forked *f)
{
	rounds(f, "forked, protected and no longer, then pinned", fork_protect_pin);
}

/*
 * Not moved, though that was tried, to the one node and to the other. Who gives up tries again: had
 * he forgotten, at the first attempt, that the page is exclusive, the second would get as far as the
 * migration entry, and leave a page that was writable an exclusive one again. So every second
 * time it is not writable meanwhile: such an entry knows nothing but what was not forgotten.
 */
static void pin_stay_fork(struct forked *f, unsigned int round)
{
	uint64_t before;
	bool tried;

	forked_pin(f->race, f);
	protect(f, round % 2 ? PROT_READ | PROT_WRITE : PROT_READ);
	before = first_entry(f);
	tried = forked_move_to(f, 0) && forked_move_to(f, 1);
	race_add(f->race, "kept", tried && same_frame(before, first_entry(f)));
	protect(f, PROT_READ | PROT_WRITE);
	forked_fork(f->race, f);
}

void forked_held_kept(struct forked *f)
{
	forked_need_two_nodes(f);
	rounds(f, "pinned, not moved for that, then forked", pin_stay_fork);
}

void forked_held_first(struct forked *f)
{
	for (unsigned int i = 0; i < FORKED_REPEATS; i++) {
		f->pins += newborn_pins_and_forks(&f->agree);
		f->family.judged++;
	}
	race_count(f->race, "checks", f->family.judged);
}

void forked_held_by_child(struct forked *f)
{
	f->agree.when = "written since";
	for (unsigned int i = 0; i < FORKED_REPEATS; i++) {
		forked_prepare(f->race, f);
		forked_fork(f->race, f);
		family_meet(&f->family);
		family_pin_and_unmap(&f->family);
		if (i % 2) {
			protect(f, PROT_READ);
			protect(f, PROT_READ | PROT_WRITE);
		}
		agree_stamp(&f->agree);
		family_judge_childs_pins(&f->family);
		family_dismiss(&f->family);
	}
	race_count(f->race, "checks", f->family.judged);
}
