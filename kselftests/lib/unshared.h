/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Read-only pins of what a fork has shared: they take a copy for the process first, so that it stays
 * its own (a7f226604170). What userfaultfd write-protects is so in the copy as well: a write there is
 * still somebody's to hear of.
 */
#ifndef GUPRACE_UNSHARED_H
#define GUPRACE_UNSHARED_H

#include "backing.h"
#include "scenario.h"

#define UNSHARED_ROUNDS	8u

/*
 * No race. Hits: unprotected, and those of agree.h. Counts checks, pins, and copied, pages that the pin
 * replaced. A skip where this memory cannot be write-protected.
 */
void unshared_protected(struct race *race, enum backing_kind kind);

#endif
