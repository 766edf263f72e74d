// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "vmstat.h"

void vmstat_read(struct vmstat *vmstat)
{
	size_t used = 0;
	ssize_t got;
	int fd;

	/* Only root may; without, some counts come late by what each CPU keeps to itself. */
	(void)write_file("/proc/sys/vm/stat_refresh", "1\n");
	fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		broken("open of /proc/vmstat: %s", strerror(errno));
	while ((got = read(fd, vmstat->text + used, sizeof(vmstat->text) - 1 - used)) > 0)
		used += got;
	if (got < 0)
		broken("read of /proc/vmstat: %s", strerror(errno));
	close(fd);
	vmstat->text[used] = '\0';
}

bool vmstat_get(const struct vmstat *vmstat, const char *name, uint64_t *value)
{
	size_t len = strlen(name);

	for (const char *line = vmstat->text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && line[len] == ' ') {
			*value = strtoull(line + len, NULL, 10);
			return true;
		}
	}
	return false;
}

uint64_t vmstat_growth(const struct vmstat *before, const struct vmstat *after, const char *name)
{
	uint64_t from, to;

	if (!vmstat_get(before, name, &from) || !vmstat_get(after, name, &to) || to < from)
		return 0;
	return to - from;
}
