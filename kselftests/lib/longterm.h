/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Long-term pins of a page of a movable zone, while somebody else is about to move it: FOLL_LONGTERM
 * has to move the page itself, and cannot while the other has it off the LRU lists. It must wait for
 * its turn then:
 *
 *   B: move_pages: takes all pages off their lists, then moves one after the other
 *   A: pins the last one, finds that it may not stay, cannot take it off its list: gives the pin back,
 *      tries again
 *      ... else A has a long-term pin of a page that B does not move any more, for it is pinned
 */
#ifndef GUPRACE_LONGTERM_H
#define GUPRACE_LONGTERM_H

#include "scenario.h"

/*
 * Steered. Hits: movable, and those of agree.h. Counts pins, and moved, those whose page was in a
 * movable zone before. A skip where there is no such zone, or only one node.
 */
void longterm_moving(struct race *race);

#endif
