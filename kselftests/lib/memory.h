/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is lost, in bulk and by the page.
 *
 * In bulk: neither free nor in anybody's account. MemFree alone moves with every file that is read
 * and every object that slab keeps; the sum over /proc/meminfo's accounts, together with the free
 * pages that each CPU keeps to itself, does not.
 *
 * By the page: an orphan is an anonymous page on an LRU list that nobody maps and the swap cache
 * does not have. Somebody holds a reference. When all is quiet nobody should.
 */
#ifndef GUPRACE_MEMORY_H
#define GUPRACE_MEMORY_H

#include <stdint.h>
#include <unistd.h>

#include "scenario.h"

/*
 * What pages on the way between lists, drivers' own pages and two looks that are not of one instant may come
 * to: 25 on stock kernels, 200 where somebody tried (docs/performance.md). One huge page that is lost is more.
 */
#define MEMORY_NOISE_PAGES	448

static inline int64_t memory_noise_kb(void)
{
	return (int64_t)MEMORY_NOISE_PAGES * getpagesize() / 1024;
}

#define MEMORY_ACCOUNTS	12

struct memory {
	int64_t kb[MEMORY_ACCOUNTS];
	int64_t accounted_kb;	/* all of them together */
	int64_t orphans;	/* -1: not looked for, or this user or kernel does not tell */
};

/* Kilobytes that are accounted for: two files, quick. */
int64_t memory_accounted(void);

/* Whether this machine is small enough to go through all of its memory. */
bool memory_is_small(void);

/*
 * Whether what is missing on this machine can be laid at our door: a guest of guprace's does nothing
 * else, nor does a small machine, we hope. Others do, and it would take seconds to look at each page
 * of theirs; says that `what` is not judged.
 */
bool memory_is_ours(const struct race *race, const char *what);

/* In bulk alone, or by the page as well. That is slow: it looks at each page of the machine. */
enum memory_detail { MEMORY_BULK, MEMORY_PAGES };
void memory_read(struct memory *memory, enum memory_detail detail);

/*
 * By the page where that takes less than half a second, else in bulk alone from then on: for races that
 * have better things to do. A kernel with debugging on takes seconds.
 */
void memory_read_quickly(struct memory *memory);

/*
 * When all is quiet again: hit `lost_memory` if what is accounted for stays more than the noise
 * below what it was, and `orphans` if there are more of them. Counts lost_kb, and orphans if they
 * can be.
 */
void memory_judge(struct race *race, const struct memory *before);

#endif
