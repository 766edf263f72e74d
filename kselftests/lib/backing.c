// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "check.h"
#include "huge.h"

#define POOL_PAGES	8u	/* of hugetlb: parent's, child's, and copies underway */

/* MADV_NOHUGEPAGE fails where there are no huge pages: that is what it is for. */
static void map_small(struct backing *b, unsigned int pages, const char *name)
{
	b->size = (size_t)pages * getpagesize();
	b->addr = check_mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     name);
	madvise(b->addr, b->size, MADV_NOHUGEPAGE);
}

static void map_thp(struct backing *b, struct race *race, const char *name)
{
	b->size = huge_size(race);
	b->addr = huge_reserve(b->size, b->size, name);
	huge_map(b->addr, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, name);
	if (madvise(b->addr, b->size, MADV_HUGEPAGE))
		race_skip(race, "no transparent huge pages: madvise(MADV_HUGEPAGE): %s",
			  strerror(errno));
	b->addr[0] = 1;
	if (!huge_mapped(b->addr))
		race_skip(race, "no transparent huge page is to be had");
}

static void map_hugetlb(struct backing *b, struct race *race)
{
	void *map;

	huge_pool(race, POOL_PAGES);
	b->size = huge_size(race);
	map = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (map == MAP_FAILED)
		race_skip(race, "mmap(MAP_HUGETLB) of %zu bytes: %s", b->size, strerror(errno));
	b->addr = map;
}

void backing_map(struct backing *b, struct race *race, enum backing_kind kind, unsigned int small,
		 const char *name)
{
	*b = (struct backing){ .kind = kind };
	switch (kind) {
	case SMALL:
		map_small(b, small, name);
		break;
	case THP:
		map_thp(b, race, name);
		break;
	case HUGETLB:
		map_hugetlb(b, race);
		break;
	}
	name_mapping(b->addr, b->size, name);
}

void backing_renew(struct backing *b)
{
	if (b->kind != THP)
		return;
	check_madvise(b->addr, b->size, MADV_DONTNEED, "a huge page");
	b->addr[0] = 1;
}

void backing_unmap(struct backing *b)
{
	if (b->kind == THP)
		huge_release(b->addr, b->size, "the backing");
	else
		check_munmap(b->addr, b->size, "the backing");
	if (b->kind == HUGETLB)
		huge_restore();
}
