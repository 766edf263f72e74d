/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/vmstat: what the kernel itself counted of a race. */
#ifndef GUPRACE_VMSTAT_H
#define GUPRACE_VMSTAT_H

#include <stdbool.h>
#include <stdint.h>

#define VMSTAT_MAX	(1 << 14)	/* bytes; 6.12 has some 5000 */

struct vmstat {
	char text[VMSTAT_MAX];
};

/* Read it; per-CPU counts are brought in first where this user may (/proc/sys/vm/stat_refresh). */
void vmstat_read(struct vmstat *vmstat);

/* A value by its name; false where this kernel does not count that. */
bool vmstat_get(const struct vmstat *vmstat, const char *name, uint64_t *value);

/* How much a value has grown; 0 where this kernel does not count it. */
uint64_t vmstat_growth(const struct vmstat *before, const struct vmstat *after, const char *name);

#endif
