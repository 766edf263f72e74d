/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pins of memory that lies oddly. What is next to each other in a folio need not be so in memory, nor
 * the other way round, and a buffer may begin anywhere in a page: whoever counts in bytes where pages
 * are meant, or takes neighbours of one kind for those of the other, pins, releases or fills what is
 * not his.
 */
#ifndef GUPRACE_LAYOUT_H
#define GUPRACE_LAYOUT_H

#include "scenario.h"

#define LAYOUT_ROUNDS	8u

/*
 * No races. Hits: those of agree.h; and pins that are not given back in full show when the subtest is
 * over (pin_accounting). Count checks, pins, and huge, the rounds that began with a huge page.
 */

/* Pages of one huge page, moved to be neighbours in another order. */
void layout_scattered(struct race *race);

/* A range of a huge page that begins within a page, for vehicles that take bytes. */
void layout_offset(struct race *race);

#endif
