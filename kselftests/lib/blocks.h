/* SPDX-License-Identifier: GPL-2.0-only */
/* Blocks of the page allocator that are freed under a reference on one of their pages. */
#ifndef GUPRACE_BLOCKS_H
#define GUPRACE_BLOCKS_H

#include "rng.h"
#include "scenario.h"

/*
 * One round, with two files of the probe: blocks of all sorts are allocated, references taken, the
 * blocks freed, others allocated, and the references given back. Hits: not_taken, where a page in
 * use gave no reference; given_away, where a page under a reference was allocated. Returns how many
 * blocks were freed.
 */
unsigned int blocks_freed_under_references(struct race *race, int holder, int owner,
					   struct rng *rng);

#endif
