/* SPDX-License-Identifier: GPL-2.0-only */
/* Speculative references and blocks of the page allocator, by the probe module: see ../probe/. */
#ifndef GUPRACE_REFS_H
#define GUPRACE_REFS_H

#include <stdint.h>

#include "guprace_probe.h"
#include "scenario.h"

/* A file of the probe, or a skip. What it holds goes when it is closed. */
int refs_open(struct race *race);

/* Take references on page frames and keep them; how many there are. Give all of them back. */
unsigned int refs_take(int fd, const uint64_t *pfn, unsigned int count);
void refs_drop(int fd);

/* Take and give back, @times over the list, each kept for some turns of a loop; how many. */
unsigned int refs_touch(int fd, const uint64_t *pfn, unsigned int count, unsigned int times,
			unsigned int spins);

/* Allocate 2^order pages, GUPRACE_BLOCK_*: the first page frame, or 0 when there are none. */
uint64_t refs_block(int fd, unsigned int order, unsigned int flags);

/* Free all blocks of the file; as many as we know of. */
void refs_free_blocks(int fd, unsigned int blocks);

#endif
