/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Huge pages that a fork has shared, which NUMA balancing makes inaccessible for a while. The fault that
 * follows gives back what was taken away, and no more: such a page still may not be written, not before
 * whoever writes has a copy of his own. GUP-fast has nothing but the PMD to go by.
 */
#ifndef GUPRACE_HINTED_H
#define GUPRACE_HINTED_H

#include "scenario.h"

/*
 * Reads the pages, so that faults give them back, and pins them for writing, which the race's vehicle,
 * the walk alone, must decline. Hits: admitted. Counts checks. NUMA balancing is the caller's to begin.
 */
void hinted_shared(struct race *race);

#endif
