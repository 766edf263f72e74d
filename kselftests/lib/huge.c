// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "huge.h"
#include "setting.h"

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"
#define PATH_LEN	96

bool huge_setting(const char *name, const char *value)
{
	char path[PATH_LEN];

	snprintf(path, sizeof(path), THP_DIR "%s", name);
	return setting_change(path, value);
}

bool huge_reading(const char *name, char *line, size_t size)
{
	char path[PATH_LEN];

	snprintf(path, sizeof(path), THP_DIR "%s", name);
	return setting_read(path, line, size);
}

size_t huge_size(struct race *race)
{
	char line[32];

	if (!setting_read(THP_DIR "hpage_pmd_size", line, sizeof(line)))
		race_skip(race, "no transparent huge pages: no " THP_DIR);
	return strtoul(line, NULL, 10);
}

void *huge_reserve(size_t size, size_t align, const char *what)
{
	size_t page = getpagesize(), whole = size + align + 2 * page;
	uint8_t *map = check_mmap(NULL, whole, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, what);
	uint8_t *addr = (uint8_t *)(((uintptr_t)map + page + align - 1) & -align);
	uint8_t *end = addr + size + page;

	if (addr - page > map)
		check_munmap(map, addr - page - map, what);
	if (end < map + whole)
		check_munmap(end, map + whole - end, what);
	return addr;
}

void huge_need_address(struct race *race, unsigned long addr)
{
	size_t page = getpagesize();
	void *map = mmap((void *)addr, page, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (map == MAP_FAILED && errno == ENOMEM)
		race_skip(race, "addresses end below %#lx here", addr);
	/* Whatever else is wrong with it, who maps there says so. */
	if (map != MAP_FAILED)
		check_munmap(map, page, "what is only tried");
}

void huge_release(void *addr, size_t size, const char *what)
{
	size_t page = getpagesize();

	check_munmap((uint8_t *)addr - page, size + 2 * page, what);
}

void *huge_map(void *addr, size_t size, int prot, int flags, int fd, const char *what)
{
	void *map = mmap(addr, size, prot, flags | MAP_FIXED, fd, 0);

	if (map == MAP_FAILED)
		broken("mmap(%p, %zu, flags %#x) for %s: %s", addr, size, flags, what,
		       strerror(errno));
	return map;
}

void huge_unmap(void *addr, size_t size, const char *what)
{
	huge_map(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, what);
}

void *huge_private(size_t size, size_t align, const char *what, const char *name)
{
	void *addr = huge_reserve(size, align, what);

	huge_map(addr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, what);
	name_mapping(addr, size, name);
	return addr;
}

bool huge_mapped(const void *addr)
{
	static const char * const fields[] = { "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:" };
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool here = false, huge = false;
	unsigned long from, to;
	char line[512];

	if (!smaps)
		broken("fopen of /proc/self/smaps: %s", strerror(errno));
	while (!huge && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (unsigned long)addr && (unsigned long)addr < to;
		for (size_t i = 0; here && i < sizeof(fields) / sizeof(fields[0]); i++) {
			size_t len = strlen(fields[i]);

			huge |= !strncmp(line, fields[i], len) && strtoul(line + len, NULL, 10);
		}
	}
	fclose(smaps);
	return huge;
}

bool huge_present(const void *page)
{
	unsigned char there;

	if (mincore((void *)page, getpagesize(), &there))
		broken("mincore(%p): %s", page, strerror(errno));
	return there & 1;
}

/* The number of a "name: number" line. */
static uint64_t number_of(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(name);
	uint64_t number = 0;
	char line[128];

	if (!file)
		broken("fopen of %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len))
			number = strtoull(line + len, NULL, 10);
	}
	fclose(file);
	return number;
}

size_t huge_tables(void)
{
	return number_of("/proc/self/status", "VmPTE:") << 10;
}

/* Of the pool that has pages of a PMD's size: which size is the default is said at boot. */
static void pool_file(char *path, size_t huge, const char *name)
{
	snprintf(path, PATH_LEN, "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", huge >> 10, name);
}

static unsigned long in_pool(size_t huge, const char *name)
{
	char path[PATH_LEN], line[32];

	pool_file(path, huge, name);
	return setting_read(path, line, sizeof(line)) ? strtoul(line, NULL, 10) : 0;
}

void huge_restore(void)
{
	setting_restore();
}

void huge_pool(struct race *race, unsigned int pages)
{
	size_t huge = huge_size(race);
	char path[PATH_LEN], line[32];

	if (in_pool(huge, "free_hugepages") >= pages)
		return;
	pool_file(path, huge, "nr_hugepages");
	if (!setting_read(path, line, sizeof(line)))
		race_skip(race, "no hugetlb pages of %zu bytes: no %s", huge, path);
	snprintf(line, sizeof(line), "%lu", strtoul(line, NULL, 10) + pages);
	if (!setting_change(path, line) || in_pool(huge, "free_hugepages") < pages)
		race_skip(race, "hugetlb's pool has %lu free pages, not %u, and cannot grow",
			  in_pool(huge, "free_hugepages"), pages);
}

void huge_swing_begin(struct huge_swing *s, struct race *race, unsigned int pages)
{
	unsigned long had = in_pool(huge_size(race), "nr_hugepages");

	pool_file(s->path, huge_size(race), "nr_hugepages");
	snprintf(s->ends[0], sizeof(s->ends[0]), "%lu", had);
	snprintf(s->ends[1], sizeof(s->ends[1]), "%lu", had + pages);
	/* By this it is put back, however the program ends. */
	if (!setting_change(s->path, s->ends[1]) || in_pool(huge_size(race), "nr_hugepages") <= had)
		race_skip(race, "hugetlb's pool has %lu pages, and cannot grow", had);
}

void huge_swing_to(const struct huge_swing *s, bool most)
{
	(void)write_file(s->path, s->ends[most]);
}
