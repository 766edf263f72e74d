/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A memory cgroup of our own, for reclaim that takes pages of several processes: MADV_PAGEOUT
 * passes those over. What this process and its children touch from memcg_begin() on is charged to
 * it. By cgroup v2 and its memory.reclaim, mounted for this alone, wherever else it is mounted;
 * where v1 has the memory controller, or the kernel has none, there is no such thing.
 */
#ifndef GUPRACE_MEMCG_H
#define GUPRACE_MEMCG_H

#include <stdbool.h>
#include <stddef.h>

/* False, with the reason, where there is none to be had. */
bool memcg_begin(char *why, size_t size);

/* Reclaim so much of it, as far as that can be done. */
void memcg_reclaim(size_t bytes);

/* Undo it; when all children have ended. Ours at the end of the program, too. */
void memcg_end(void);

#endif
