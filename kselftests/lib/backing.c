// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "check.h"
#include "huge.h"

#define POOL_PAGES	8u	/* of hugetlb: parent's, child's, and copies underway */

/* MADV_NOHUGEPAGE fails where there are no huge pages: that is what it is for. */
uint8_t *backing_small(size_t size, const char *name)
{
	uint8_t *map = check_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  name);

	madvise(map, size, MADV_NOHUGEPAGE);
	name_mapping(map, size, name);
	return map;
}

/*
 * Mapped anew, and not just emptied: MADV_DONTNEED leaves the page table of a PMD that was split,
 * and where one is, a touch gives small pages.
 */
static bool make_thp(struct backing *b)
{
	huge_map(b->addr, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, b->name);
	name_mapping(b->addr, b->size, b->name);
	check_madvise(b->addr, b->size, MADV_HUGEPAGE, b->name);
	b->addr[0] = 1;
	return huge_present(b->addr + b->size - getpagesize());
}

/* Below /sys/kernel/mm/transparent_hugepage. */
static const char *mthp_file(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "hugepages-%ukB/%s", MTHP_PAGES * getpagesize() / 1024, name);
	return path;
}

bool backing_mthp_allow(const char *whom)
{
	return huge_setting(mthp_file("enabled"), whom);
}

void backing_mthp(struct race *race, const char *whom)
{
	if (!backing_mthp_allow(whom))
		race_skip(race, "no folios of %u pages: no transparent_hugepage/%s that this user "
			  "may write", MTHP_PAGES, mthp_file("enabled"));
}

bool backing_mthp_stat(const char *name, uint64_t *count)
{
	char file[32], line[32];

	snprintf(file, sizeof(file), "stats/%s", name);
	if (!huge_reading(mthp_file(file), line, sizeof(line)))
		return false;
	*count = strtoull(line, NULL, 10);
	return true;
}

static void map_mthp(struct backing *b, struct race *race)
{
	backing_mthp(race, "madvise");
	b->size = MTHP_PAGES * getpagesize();
	b->addr = huge_reserve(b->size, b->size, b->name);
	if (!make_thp(b))
		race_skip(race, "no folio of %u pages is to be had", MTHP_PAGES);
}

static void map_thp(struct backing *b, struct race *race)
{
	b->size = huge_size(race);
	b->addr = huge_reserve(b->size, b->size, b->name);
	if (!make_thp(b) || !huge_mapped(b->addr))
		race_skip(race, "no transparent huge page is to be had");
}

static void map_hugetlb(struct backing *b, struct race *race)
{
	void *map;

	huge_pool(race, POOL_PAGES);
	b->size = huge_size(race);
	map = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | huge_bits(b->size), -1, 0);
	if (map == MAP_FAILED)
		race_skip(race, "mmap(MAP_HUGETLB) of %zu bytes: %s", b->size, strerror(errno));
	b->addr = map;
}

/* The file is gone with its mapping. */
static void map_shmem(struct backing *b, unsigned int pages)
{
	int fd = memfd_create(b->name, MFD_CLOEXEC);
	void *map;

	b->size = (size_t)pages * getpagesize();
	if (fd < 0 || ftruncate(fd, b->size))
		broken("memfd of %zu bytes: %s", b->size, strerror(errno));
	map = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		broken("mmap of a memfd of %zu bytes: %s", b->size, strerror(errno));
	b->addr = map;
	close(fd);
}

void backing_map(struct backing *b, struct race *race, enum backing_kind kind, unsigned int small,
		 const char *name)
{
	*b = (struct backing){ .kind = kind, .name = name };
	switch (kind) {
	case SMALL:
		b->size = (size_t)small * getpagesize();
		b->addr = backing_small(b->size, name);
		break;
	case THP:
		map_thp(b, race);
		break;
	case HUGETLB:
		map_hugetlb(b, race);
		break;
	case SHMEM:
		map_shmem(b, small);
		break;
	case MTHP:
		map_mthp(b, race);
		break;
	}
	name_mapping(b->addr, b->size, name);
}

bool backing_renew(struct backing *b)
{
	return !backing_is_thp(b) || make_thp(b);
}

void backing_unmap(struct backing *b)
{
	if (backing_is_thp(b))
		huge_release(b->addr, b->size, "the backing");
	else
		check_munmap(b->addr, b->size, "the backing");
	if (b->kind == HUGETLB || b->kind == MTHP)
		huge_restore();
}
