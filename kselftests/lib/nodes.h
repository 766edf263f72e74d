/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that are to go to another NUMA node, by move_pages(2): what the call is given is made ready
 * beforehand, so that a window holds the call and nothing else.
 */
#ifndef GUPRACE_NODES_H
#define GUPRACE_NODES_H

#include <linux/mempolicy.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agree.h"

struct nodes {
	unsigned long pages;
	void *page[VEHICLE_PINS_MAX];
	int node[VEHICLE_PINS_MAX];	/* where each is to go */
	int status[VEHICLE_PINS_MAX];	/* of the last move: the node it is on, or -errno */
};

/* Which pages: all of a range that is mapped. */
void nodes_pages(struct nodes *n, const struct agree *a);

/* Where to: all to the same node. */
void nodes_turn(struct nodes *n, int node);

/*
 * All to the other one of the nodes 0 and 1 than they are on: what the last move has left behind, because of a
 * pin, would else be "moved" to where it is. Those that are apart are brought together before, by moves with
 * nobody in their way: one call ends at the first target of which a page stays. Returns the target.
 */
int nodes_turn_away(struct nodes *n);

/* Move them, with these MPOL_MF_ flags. Below 0: errno says why; else how many pages stayed. */
static inline long nodes_move(struct nodes *n, int flags)
{
	return syscall(SYS_move_pages, 0, n->pages, n->page, n->node, n->status, flags);
}

/* The node that the first page is on; where move_pages(2) itself fails, -errno: ENOSYS, EPERM ... */
int nodes_ask_first(struct nodes *n);

/* The same, where it has worked before. */
int nodes_of_first(struct nodes *n);

#endif
