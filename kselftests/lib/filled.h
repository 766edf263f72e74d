/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pins of pages that are not there yet: userfaultfd brings them, one after the other, while the call
 * waits. For each it lets mmap_lock go, and takes up again where it was, with all that it had pinned
 * before (__get_user_pages_locked(), mm/gup.c): no page twice, none left out.
 */
#ifndef GUPRACE_FILLED_H
#define GUPRACE_FILLED_H

#include "scenario.h"

#define FILLED_ROUNDS	8u
#define FILLED_PAGES	4u	/* that are missing, in each round: every second one */

/* No race. Hits: refused, and those of agree.h. Counts checks, pins, and filled, pages brought. */
void filled_pins(struct race *race);

#endif
