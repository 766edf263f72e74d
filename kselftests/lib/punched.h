/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A huge page of a memfd, of which a part is cut off (by a hole, by a file that ends before it) while
 * another part is pinned. It cannot be split then, and must stay whole: what was cut off reads as
 * zeroes, and nothing else is lost.
 */
#ifndef GUPRACE_PUNCHED_H
#define GUPRACE_PUNCHED_H

#include "scenario.h"

#define PUNCHED_REPEATS	8u	/* in turns: a hole, an end */

/*
 * No race. Hits: address_differs, and those of agree.h. Counts checks, pins, and huge, the rounds that
 * began with a huge page.
 */
void punched_held(struct race *race);

#endif
