/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Data that came by a pin, into pages of a memfd, and are nowhere else yet: they go along when the page
 * moves to another node, and from there to swap.
 */
#ifndef GUPRACE_CARRIED_H
#define GUPRACE_CARRIED_H

#include "scenario.h"

#define CARRIED_ROUNDS	6u

/*
 * No race, with a vehicle of its own, O_DIRECT. Hits: those of agree.h. Counts checks, pins, moved (rounds in which the first page was on
 * another node afterwards), swapped (rounds in which it was paged out then). A skip without swap or a
 * second node.
 */
void carried_by_moves(struct race *race);

#endif
