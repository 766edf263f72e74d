// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "taint.h"

/* A host that takes a CPU away for long enough makes the watchdog say so: no word on the race. */
#define SOFTLOCKUP	(1ull << 14)

bool taint_read(uint64_t *bits)
{
	char text[32];
	int fd = open("/proc/sys/kernel/tainted", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return false;
	text[got] = '\0';
	*bits = strtoull(text, NULL, 10) & ~SOFTLOCKUP;
	return true;
}
