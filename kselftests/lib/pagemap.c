// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "pagemap.h"

static void read_entries(int fd, const void *addr, uint64_t *entries, unsigned int pages)
{
	size_t size = pages * sizeof(*entries);
	off_t at = (uintptr_t)addr / getpagesize() * sizeof(*entries);
	ssize_t got = pread(fd, entries, size, at);

	if (got != (ssize_t)size)
		broken("pread of %zu bytes of a pagemap: %s", size,
		       got < 0 ? strerror(errno) : "short");
}

static int open_pagemap(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		broken("open of %s: %s", path, strerror(errno));
	return fd;
}

void pagemap_read(const void *addr, uint64_t *entries, unsigned int pages)
{
	static int fd = -1;

	if (fd < 0)
		fd = open_pagemap("/proc/self/pagemap");
	read_entries(fd, addr, entries, pages);
}

uint64_t pagemap_of(pid_t process, const void *addr)
{
	uint64_t entry;
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", process);
	fd = open_pagemap(path);
	read_entries(fd, addr, &entry, 1);
	close(fd);
	return entry;
}

bool pagemap_tells(void)
{
	int on_the_stack = 0;
	uint64_t entry;

	pagemap_read(&on_the_stack, &entry, 1);
	return entry & PAGEMAP_PFN;
}
