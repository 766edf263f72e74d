/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Huge pages at the PMD level: is there such a thing here, is this address mapped by one, and the
 * settings of the kernel that decide. Found by trying and by looking; what was changed is put back
 * when the program ends.
 */
#ifndef GUPRACE_HUGE_H
#define GUPRACE_HUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "scenario.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT	26	/* and MFD_HUGE_SHIFT */
#endif

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	4u
#endif

/* Bytes that one PMD maps; leaves the subtest with a skip where the kernel has no huge pages. */
size_t huge_size(struct race *race);

/*
 * Address space of our own, `size` bytes from a multiple of `align` on: PROT_NONE, and a page of it
 * on either side, so that what is mapped in it meets no neighbour. Given back by huge_release().
 */
void *huge_reserve(size_t size, size_t align, const char *what);
void huge_release(void *addr, size_t size, const char *what);

/* A skip where a process cannot have this address (arm64 with 39 bits of them ends at 512 GiB). */
void huge_need_address(struct race *race, unsigned long addr);

/* Map over a part of a reservation; back to a reservation. */
void *huge_map(void *addr, size_t size, int prot, int flags, int fd, const char *what);
void huge_unmap(void *addr, size_t size, const char *what);

/* A reservation mapped as private anonymous memory throughout, and named. */
void *huge_private(size_t size, size_t align, const char *what, const char *name);

/* Whether one PMD maps what is at the address, by smaps. Slow. */
bool huge_mapped(const void *addr);

/* Whether a page is there, by mincore: one call. For anonymous memory, "in the page table". */
bool huge_present(const void *page);

/* Bytes of this process' page tables (VmPTE). */
size_t huge_tables(void);

/* A setting under /sys/kernel/mm/transparent_hugepage; false where it cannot be made. */
bool huge_setting(const char *name, const char *value);

/* What a file there says; false where it cannot be read. */
bool huge_reading(const char *name, char *line, size_t size);

/*
 * For MAP_HUGETLB and MFD_HUGETLB: pages of this size, a power of two. Without it they are of the
 * default size, and that is whatever default_hugepagesz= says.
 */
static inline int huge_bits(size_t size)
{
	return __builtin_ctzl(size) << MAP_HUGE_SHIFT;
}

/* At least so many free huge pages, of huge_size(), in hugetlb's pool, or a skip. */
void huge_pool(struct race *race, unsigned int pages);

/*
 * A pool that grows by some pages and shrinks again, over and over; never below what it had, which may
 * be somebody's. A skip where it cannot grow.
 */
struct huge_swing {
	char path[96];
	char ends[2][24];		/* what it had, and the most */
};

void huge_swing_begin(struct huge_swing *s, struct race *race, unsigned int pages);

/* As far as it goes: memory may be short, a page of the pool in use. */
void huge_swing_to(const struct huge_swing *s, bool most);

/* Put the settings and the pool back. Ours at the end of the program, too. */
void huge_restore(void);

#endif
