/* SPDX-License-Identifier: GPL-2.0-only */
/* What the pages of a test are: small ones, a file's, a transparent huge page, one of hugetlb. */
#ifndef GUPRACE_BACKING_H
#define GUPRACE_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

enum backing_kind {
	SMALL,
	THP,
	HUGETLB,
	SHMEM,		/* small ones too, of a memfd, shared */
	MTHP,		/* one folio of MTHP_PAGES that PTEs map; on arm64 one contiguous block */
};

/* The 64 KiB that arm64 maps contiguously, where pages have 4 KiB. */
#define MTHP_PAGES	16u

struct backing {
	enum backing_kind kind;
	const char *name;		/* of the mapping */
	uint8_t *addr;
	size_t size;			/* bytes; of a folio of several pages all of it */
};

/* Map private memory (SHMEM: shared), `small` pages or one folio; skips where there is none. */
void backing_map(struct backing *b, struct race *race, enum backing_kind kind, unsigned int small,
		 const char *name);

/* Private anonymous memory that is never huge, to be unmapped by whoever asked for it. */
uint8_t *backing_small(size_t size, const char *name);

/* A folio that is small pages one day: split, or copied in part. */
static inline bool backing_is_thp(const struct backing *b)
{
	return b->kind == THP || b->kind == MTHP;
}

/*
 * Such a folio is made anew, without its content; no other kind needs that. False where
 * that gave a small page only, and whatever is raced now is not what was meant.
 */
bool backing_renew(struct backing *b);

/* Have the kernel give folios of MTHP_PAGES to MADV_HUGEPAGE, or ("always") to anybody; or false. */
bool backing_mthp_allow(const char *whom);

/* The same; or a skip. */
void backing_mthp(struct race *race, const char *whom);

/* What the kernel has counted of such folios (anon_fault_alloc, split ...); false where it has not. */
bool backing_mthp_stat(const char *name, uint64_t *count);

void backing_unmap(struct backing *b);

#endif
