/* SPDX-License-Identifier: GPL-2.0-only */
/* What the pages of a test are: small ones, a file's, a transparent huge page, one of hugetlb. */
#ifndef GUPRACE_BACKING_H
#define GUPRACE_BACKING_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

enum backing_kind {
	SMALL,
	THP,
	HUGETLB,
	SHMEM,		/* small ones too, of a memfd, shared */
};

struct backing {
	enum backing_kind kind;
	const char *name;		/* of the mapping */
	uint8_t *addr;
	size_t size;			/* bytes; of a huge page all of it */
};

/* Map private memory (SHMEM: shared), `small` pages or one huge page; skips where there is none. */
void backing_map(struct backing *b, struct race *race, enum backing_kind kind, unsigned int small,
		 const char *name);

/* Private anonymous memory that is never huge, to be unmapped by whoever asked for it. */
uint8_t *backing_small(size_t size, const char *name);

/*
 * A transparent huge page is made anew, without its content; no other kind needs that. False where
 * that gave a small page only, and whatever is raced now is not what was meant.
 */
bool backing_renew(struct backing *b);

void backing_unmap(struct backing *b);

#endif
