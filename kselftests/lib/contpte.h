/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Contiguous blocks of PTEs, by which arm64 maps folios of 64 KiB (CONFIG_ARM64_CONTPTE, since v6.9):
 * whether any is taken apart while a subtest races. Page frames that follow each other do not tell: a
 * block is put together again only when its last PTE is written (contpte_try_fold()).
 */
#ifndef GUPRACE_CONTPTE_H
#define GUPRACE_CONTPTE_H

#include "scenario.h"

/* Count from here on, with a floor; where the kernel or the architecture has none of it, neither. */
void contpte_begin(struct race *race, unsigned int least);

/* Counter: unfolded, the blocks that were taken apart since, of the whole system. */
void contpte_end(struct race *race);

#endif
