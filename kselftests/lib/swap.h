/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Somewhere to swap to: swap that is on already, or a RAM disk (brd) that holds nothing yet. Some
 * paths of reclaim are there only with swap.
 */
#ifndef GUPRACE_SWAP_H
#define GUPRACE_SWAP_H

#include <stdbool.h>
#include <stddef.h>

/* False, with the reason, where there is none to be had. */
bool swap_begin(char *why, size_t size);

/* Whether it is the RAM disk, and was not on before. */
bool swap_is_ours(void);

/* Undo it: the disk holds nothing again. */
void swap_end(void);

#endif
