// SPDX-License-Identifier: GPL-2.0-only
/* Places that are a part of a huge page: transparent, or of hugetlb. */
#include <sys/mman.h>

#include "backing.h"
#include "check.h"
#include "huge.h"
#include "pagemap.h"
#include "place.h"
#include "setting.h"

#define CONT_SIZE	(64ul << 10)
#define CONT_POOL	"/sys/kernel/mm/hugepages/hugepages-64kB/nr_hugepages"
#define CONT_PAGES	"8"	/* the place's, the child's, and those on their way back */

/* An area for a huge page, in place of the small one; the page to pin is somewhere in it. */
static void make_room(struct place *p, size_t size)
{
	huge_release(p->base - p->page, 3 * p->page, "the place");
	p->base = huge_reserve(size, size, "the huge place");
	p->size = size;
	p->addr = p->base + 5 * p->page;
	p->alone = true;
}

static bool huge(struct place *p, int flags)
{
	size_t size = huge_size(p->race);

	make_room(p, size);
	if (flags)
		flags |= huge_bits(size);
	if (!place_map(p, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0))
		return false;
	if (!flags)
		check_madvise(p->base, size, MADV_HUGEPAGE, "the huge place");
	place_stamp(p, 1);
	return flags || huge_mapped(p->base);
}

static bool huge_protected(struct place *p, int flags, int prot)
{
	if (!huge(p, flags))
		return false;
	place_protect(p, p->base, p->size, prot);
	return true;
}

bool place_thp(struct place *p)
{
	return huge(p, 0);
}

bool place_thp_none(struct place *p)
{
	return huge_protected(p, 0, PROT_NONE);
}

bool place_thp_read(struct place *p)
{
	return huge_protected(p, 0, PROT_READ);
}

bool place_thp_child(struct place *p)
{
	return huge(p, 0) && place_share(p);
}

/* The PMD becomes a page table; the page stays a part of the huge one. */
bool place_thp_page_read(struct place *p)
{
	if (!huge(p, 0))
		return false;
	place_protect(p, p->addr, p->page, PROT_READ);
	return true;
}

bool place_thp_child_read(struct place *p)
{
	if (!place_thp_child(p))
		return false;
	place_protect(p, p->base, p->size, PROT_READ);
	return true;
}

/* What both share is split here: neither's pages are its own after that. */
bool place_thp_child_split(struct place *p)
{
	if (!place_thp_child(p))
		return false;
	place_protect(p, p->base, p->page, PROT_READ);
	place_protect(p, p->base, p->page, PLACE_RW);
	return true;
}

/* Whether it is one huge page of zeroes or many small ones is the kernel's choice. */
bool place_thp_zero(struct place *p)
{
	size_t size = huge_size(p->race);

	make_room(p, size);
	if (!place_map(p, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
		return false;
	check_madvise(p->base, size, MADV_HUGEPAGE, "the huge place");
	return !*(volatile uint8_t *)p->addr;
}

/* One of the pages of a folio that PTEs map, on arm64 as one contiguous block. */
bool place_mthp(struct place *p)
{
	if (!backing_mthp_allow("madvise"))
		return false;
	make_room(p, MTHP_PAGES * p->page);
	if (!place_map(p, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
		return false;
	check_madvise(p->base, p->size, MADV_HUGEPAGE, "the folio's place");
	place_stamp(p, 1);
	return huge_present(p->base + p->size - p->page);
}

bool place_mthp_read(struct place *p)
{
	if (!place_mthp(p))
		return false;
	place_protect(p, p->base, p->size, PROT_READ);
	return true;
}

/* Then it is no contiguous block any more, nor where another page of it is read-only. */
bool place_mthp_page_none(struct place *p)
{
	if (!place_mthp(p))
		return false;
	place_protect(p, p->addr, p->page, PROT_NONE);
	return true;
}

bool place_mthp_others_read(struct place *p)
{
	if (!place_mthp(p))
		return false;
	place_protect(p, p->base, p->page, PROT_READ);
	return true;
}

/* Whoever makes one block of all looks, when its last page changes, whether they are alike. */
bool place_mthp_last_open(struct place *p)
{
	uint8_t *last;

	if (!place_mthp_read(p))
		return false;
	last = p->base + p->size - p->page;
	place_protect(p, last, p->page, PLACE_RW);
	*(volatile uint8_t *)last = 1;
	return true;
}

bool place_mthp_child(struct place *p)
{
	return place_mthp(p) && place_share(p);
}

bool place_hugetlb(struct place *p)
{
	return huge(p, MAP_HUGETLB);
}

bool place_hugetlb_none(struct place *p)
{
	return huge_protected(p, MAP_HUGETLB, PROT_NONE);
}

bool place_hugetlb_read(struct place *p)
{
	return huge_protected(p, MAP_HUGETLB, PROT_READ);
}

bool place_hugetlb_child(struct place *p)
{
	return huge(p, MAP_HUGETLB) && place_share(p);
}

bool place_hugetlb_child_read(struct place *p)
{
	if (!place_hugetlb_child(p))
		return false;
	place_protect(p, p->base, p->size, PROT_READ);
	return true;
}

/* Once in a subtest, whose end gives them back. */
static void fill_cont_pool(const struct race *race)
{
	static const struct subtest *filled;

	if (filled != race->subtest)
		(void)setting_change(CONT_POOL, CONT_PAGES);
	filled = race->subtest;
}

/* As many entries of one table as arm64 can mark as one run (cont-PTE); x86 has no such size. */
bool place_hugetlb_cont(struct place *p)
{
	/* Larger pages, longer runs: there is no such size, and no such place in it. */
	if (CONT_SIZE < MTHP_PAGES * p->page)
		return false;
	fill_cont_pool(p->race);
	make_room(p, CONT_SIZE);
	if (!place_map(p, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		       huge_bits(CONT_SIZE), -1, 0))
		return false;
	place_stamp(p, 1);
	return true;
}

/*
 * A stock kernel (6.12.117, with lines that 7.2.13 has too) loses such a page now and then when it
 * forks: for every size of hugetlb copy_hugetlb_page_range() asks the child's table whether processes
 * share it (pt_share_count), which is set to 0 in new tables of PMDs alone; in one of PTEs it is what
 * the page was used for before.  Not 0, and nothing is copied: the child finds zeroes, and the page
 * stays ours alone.  No fault of GUP's (docs/findings.md): such a place is not the one that was asked
 * for, and is counted.  pagemap's bit for what is mapped once asks the same count, of our table: look
 * for the page in the child.
 */
static bool shared_by_fork(struct place *p)
{
	if (pagemap_of(p->child, p->addr) & PAGEMAP_PRESENT)
		return true;
	race_add(p->race, "lost_by_fork", 1);
	return false;
}

bool place_hugetlb_cont_child(struct place *p)
{
	return place_hugetlb_cont(p) && place_share(p) && shared_by_fork(p);
}
