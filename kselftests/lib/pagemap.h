/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/self/pagemap: which page frames are behind our addresses. */
#ifndef GUPRACE_PAGEMAP_H
#define GUPRACE_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGEMAP_PRESENT		(1ull << 63)
#define PAGEMAP_SWAPPED		(1ull << 62)
#define PAGEMAP_FILE		(1ull << 61)	/* or shared: a page that is counted as mapped, and not anonymous */
#define PAGEMAP_UFFD_WP		(1ull << 57)
#define PAGEMAP_PFN		((1ull << 55) - 1)

/* The entries of `pages` pages from addr on. */
void pagemap_read(const void *addr, uint64_t *entries, unsigned int pages);

/* The entry of the page at addr in another process, such as our child. */
uint64_t pagemap_of(pid_t process, const void *addr);

/* Whether this user is told page frame numbers: without CAP_SYS_ADMIN they read as zero. */
bool pagemap_tells(void);

#endif
