/* SPDX-License-Identifier: GPL-2.0-only */
/* How long a pin call takes that nothing disturbs: the measure of delays and dwells. */
#ifndef GUPRACE_QUIET_H
#define GUPRACE_QUIET_H

#include <stdbool.h>
#include <stdint.h>

#include "vehicle.h"

/*
 * The median, in ticks, of calls that pin `pages` pages from addr on, `times` times over. All must be
 * `granted`, or any may be refused; pins are given back.
 */
uint64_t quiet_ticks(struct vehicle *v, void *addr, unsigned int pages, unsigned int times,
		     bool granted);

#endif
