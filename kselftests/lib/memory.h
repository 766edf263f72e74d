/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is lost: neither free nor in anybody's account. MemFree alone moves with every file
 * that is read and every object that slab keeps; the sum over /proc/meminfo's accounts does not.
 */
#ifndef GUPRACE_MEMORY_H
#define GUPRACE_MEMORY_H

#include <stdint.h>

#include "scenario.h"

/*
 * What pages on the way between lists, and drivers' own pages, may come to: measured on stock kernels,
 * see docs/performance.md. Whoever wants to see a leak makes it larger than this.
 */
#define MEMORY_NOISE_KB	(12 << 10)

/* Kilobytes that /proc/meminfo accounts for. */
int64_t memory_accounted(void);

/*
 * Hit `lost_memory` if what is accounted for stays more than the noise below what it was. Counts
 * lost_kb, how much that is after it has settled.
 */
void memory_judge(struct race *race, int64_t before);

#endif
