// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "pagemap.h"

void pagemap_read(const void *addr, uint64_t *entries, unsigned int pages)
{
	static int fd = -1;
	size_t size = pages * sizeof(*entries);
	off_t at = (uintptr_t)addr / getpagesize() * sizeof(*entries);
	ssize_t got;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		broken("open of /proc/self/pagemap: %s", strerror(errno));
	got = pread(fd, entries, size, at);
	if (got != (ssize_t)size)
		broken("pread of %zu bytes of /proc/self/pagemap: %s", size,
		       got < 0 ? strerror(errno) : "short");
}

bool pagemap_tells(void)
{
	int on_the_stack = 0;
	uint64_t entry;

	pagemap_read(&on_the_stack, &entry, 1);
	return entry & PAGEMAP_PFN;
}
