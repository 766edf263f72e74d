/* SPDX-License-Identifier: GPL-2.0-only */
/* How long a pin call takes that nothing disturbs: the measure of delays and dwells. */
#ifndef GUPRACE_QUIET_H
#define GUPRACE_QUIET_H

#include <stdbool.h>
#include <stdint.h>

#include "vehicle.h"

/*
 * Whether a pin call on pages that nobody touches took less than it should and is to be made again: the
 * fast walk may decline what the kernel does something to just then (NUMA hinting, khugepaged,
 * compaction). Drops the pins that it took, and touches the pages; after some of these in a row, as
 * counted by `tries`, the set-up is broken.
 */
bool quiet_again(struct vehicle *v, void *addr, unsigned int pages, int got, int want,
		 unsigned int *tries);

/*
 * The median, in ticks, of calls that pin `pages` pages from addr on, `times` times over. All must be
 * `granted`, or any may be refused; pins are given back.
 */
uint64_t quiet_ticks(struct vehicle *v, void *addr, unsigned int pages, unsigned int times,
		     bool granted);

#endif
