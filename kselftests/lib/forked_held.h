/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What needs no race: a page is pinned, and forked, split, swapped out or moved, in one order or the
 * other; what was exclusive must be known to be shared whatever has become of the page since, and
 * what was pinned to be exclusive.
 *
 * Each counts its rounds as `checks`; its hits are those of agree.h and family.h. A missing
 * requirement (swap, a second NUMA node) is a skip.
 */
#ifndef GUPRACE_FORKED_HELD_H
#define GUPRACE_FORKED_HELD_H

#include "forked.h"

#define FORKED_REPEATS	6u	/* of each order */

/* Pinned before the fork, with others' pins of the same pages come and gone, and after it. */
void forked_held(struct forked *f);

/* Forked as one huge page, which a table of PTEs maps when it is pinned. */
void forked_held_split(struct forked *f);

/*
 * Of one huge page all but the first page are forked: that stays exclusive, the others do not. Who
 * pins must ask for the page that it pins, not for the first of its folio.
 */
void forked_held_parted(struct forked *f);

/*
 * Not the first page of a huge one: exclusive while a PMD maps it, and when a table of PTEs does, also
 * where that was made while the page could not be written.
 */
void forked_held_exclusive(struct forked *f);

/*
 * Of one huge page the first half was shared by a fork; what is pinned is of the other. The next fork
 * must ask for each page of those that it copies in one go.
 */
void forked_held_halved(struct forked *f);

/*
 * A run of pages of a huge one has been moved by one page, forked, pinned: as long and as aligned as
 * what arm64 maps as one block, but not its page frames. Each page that is copied then leaves the others
 * as they were.
 */
void forked_held_shifted(struct forked *f);

/* Swapped out and then forked; the pin faults. Counts swapped: rounds in which it was. */
void forked_held_swapped(struct forked *f);

/*
 * Forked, swapped out by reclaim of a memory cgroup, while both share them; the pin faults. Counts
 * swapped: rounds in which the first page was, of both.
 */
void forked_held_reclaimed(struct forked *f);

/*
 * Swapped out, forked, and brought back by the end of the swap; pinned then. Counts swapped, and
 * brought_back: rounds in which that was so.
 */
void forked_held_brought_back(struct forked *f);

/* Forked, moved to another node, pinned. Counts moved: rounds in which it did. */
void forked_held_moved(struct forked *f);

/* Moved to another node, pinned, forked: as exclusive there as before. Counts moved. */
void forked_held_arrived(struct forked *f);

/* Forked, write-protected (or all access taken away) by mprotect, and no longer, pinned. */
void forked_held_protected(struct forked *f);

/*
 * Pinned, not moved for that (every second time while it cannot be written), forked. Counts kept:
 * rounds in which the first page stayed.
 */
void forked_held_kept(struct forked *f);

/* By a process that is new: newborn.h. */
void forked_held_first(struct forked *f);

/*
 * By a child, which unmaps the pages: what its parent writes then is not its to see. Mapped by nobody
 * else, they are not the parent's alone either, which mprotect is asked for every second time.
 */
void forked_held_by_child(struct forked *f);

#endif
