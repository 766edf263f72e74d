// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "huge.h"
#include "ktap.h"

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"
#define POOL		"/proc/sys/vm/nr_hugepages"
#define SETTINGS_MAX	8
#define PATH_LEN	96

/* What a file said before we changed it. */
static struct setting {
	char path[PATH_LEN];
	char value[64];
} settings[SETTINGS_MAX];
static unsigned int changed;

static bool read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, line, size - 1);
	close(fd);
	if (got <= 0)
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

void huge_restore(void)
{
	while (changed) {
		struct setting *s = &settings[--changed];
		int err = write_file(s->path, s->value);

		if (err)
			ktap_diag("%s is not %s again: %s", s->path, s->value, strerror(-err));
	}
}

/* "always [madvise] never" stands for madvise. */
static void keep_chosen(char *value)
{
	char *from = strchr(value, '['), *to = from ? strchr(from, ']') : NULL;

	if (!to)
		return;
	*to = '\0';
	memmove(value, from + 1, to - from);
}

static bool change(const char *path, const char *value)
{
	struct setting *s = &settings[changed];
	static bool registered;

	if (changed == SETTINGS_MAX)
		broken("more than %d settings changed at once", SETTINGS_MAX);
	if (!read_line(path, s->value, sizeof(s->value)))
		return false;
	keep_chosen(s->value);
	if (!strcmp(s->value, value))
		return true;
	snprintf(s->path, sizeof(s->path), "%s", path);
	if (write_file(path, value))
		return false;
	changed++;
	if (!registered)
		broken_cleanup(huge_restore);
	registered = true;
	return true;
}

bool huge_setting(const char *name, const char *value)
{
	char path[PATH_LEN];

	snprintf(path, sizeof(path), THP_DIR "%s", name);
	return change(path, value);
}

size_t huge_size(struct race *race)
{
	char line[32];

	if (!read_line(THP_DIR "hpage_pmd_size", line, sizeof(line)))
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

static uint64_t free_in_pool(void)
{
	FILE *meminfo = fopen("/proc/meminfo", "re");
	uint64_t pages = 0;
	char line[128];

	if (!meminfo)
		broken("fopen of /proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), meminfo)) {
		if (sscanf(line, "HugePages_Free: %" SCNu64, &pages) == 1)
			break;
	}
	fclose(meminfo);
	return pages;
}

void huge_pool(struct race *race, unsigned int pages)
{
	char line[32];

	if (free_in_pool() >= pages)
		return;
	if (!read_line(POOL, line, sizeof(line)))
		race_skip(race, "no hugetlb pages: no " POOL);
	snprintf(line, sizeof(line), "%lu", strtoul(line, NULL, 10) + pages);
	if (!change(POOL, line) || free_in_pool() < pages)
		race_skip(race, "hugetlb's pool has %" PRIu64 " free pages, not %u, and cannot grow",
			  free_in_pool(), pages);
}
