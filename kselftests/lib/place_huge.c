// SPDX-License-Identifier: GPL-2.0-only
/* Places that are a part of a huge page: transparent, or of hugetlb. */
#include <sys/mman.h>

#include "check.h"
#include "huge.h"
#include "place.h"

/* A huge page in place of the small one; the page to pin is somewhere in it. */
static bool huge(struct place *p, int flags)
{
	size_t size = huge_size(p->race);

	huge_release(p->base - p->page, 3 * p->page, "the place");
	p->base = huge_reserve(size, size, "the huge place");
	p->size = size;
	p->addr = p->base + 5 * p->page;
	p->alone = true;
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
