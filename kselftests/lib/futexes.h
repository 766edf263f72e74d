/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Futexes that processes share, users of GUP-fast that no program goes without: the kernel takes the
 * page that the word is in, and knows it again by its file and its place in there, the place of a
 * page within its folio. Whoever takes another page's place, or a page for another's, wakes who did
 * not wait for that, or lets somebody sleep.
 */
#ifndef GUPRACE_FUTEXES_H
#define GUPRACE_FUTEXES_H

#include "scenario.h"

#define FUTEXES_ROUNDS	4u

/*
 * A thread waits for a word of a file's page, which it sees through a read-only mapping or another.
 * The page stays, is unmapped, moved to another node, taken out of the file, its huge page split.
 * Then others are woken, by a second mapping, and it. No race.
 *
 * Hits: woke_other (a wake for another page, or for another word, found who waits), not_woken (one
 * for that very word did not), admitted (a wait where no futex can be: -EFAULT was due).
 * Count checks, wakes, refusals, moved, huge (waits in a huge page that one PMD maps), absent (what
 * cannot be had here).
 */
void futexes_small(struct race *race);		/* also where no futex can be, and beside a child */
void futexes_thp(struct race *race);
void futexes_hugetlb(struct race *race);

#endif
