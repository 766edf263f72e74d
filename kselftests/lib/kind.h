/* SPDX-License-Identifier: GPL-2.0-only */
/* Kinds of memory, and what GUP owes to whoever asks for a page of them. */
#ifndef GUPRACE_KIND_H
#define GUPRACE_KIND_H

#include "place.h"

/* Ways to ask. */
#define READ		(1u << 0)
#define WRITE		(1u << 1)
#define FORCE_READ	(1u << 2)
#define FORCE_WRITE	(1u << 3)
#define ANY		(READ | WRITE | FORCE_READ | FORCE_WRITE)

/* What a kind is like beyond that. */
#define PLAIN		(1u << 0)	/* the walk alone has to take it, whenever it may */
#define CLOSED		(1u << 1)	/* nobody reads it by address */
#define OURS		(1u << 2)	/* we write it by address, to the page that R/O pins have */
#define SHARED		(1u << 3)	/* the other view shows what is written */
#define ZERO		(1u << 4)	/* no stamp before the first write */
#define FILE_BACKED	(1u << 5)	/* for long as the slow path says; io_uring as it likes */
#define NO_FORCE	(1u << 6)	/* not tried with FOLL_FORCE */
#define NO_MOVE		(1u << 7)	/* no long-term pins of what is in a movable zone */
#define COPIED		(1u << 8)	/* our first write is to a copy, and so are pins for writing or for long */

struct kind {
	const char *what;
	place_fn *make;
	unsigned int may;	/* ways that must succeed; all others must fail */
	unsigned int walk;	/* those of them that need no fault */
	unsigned int is;
};

/* Each ends with a kind without name. */
extern const struct kind kinds_small[], kinds_keys[], kinds_thp[], kinds_hugetlb[];

enum kind_due { PIN_DUE, REFUSAL_DUE, EITHER };
extern const char * const kind_due_text[];

/* What a vehicle is due; before a place of the kind is made: there is but one of some. */
enum kind_due kind_due(struct race *race, const struct kind *kind, const struct vehicle_ops *ops);

/* Whether the process may read it, and not write it: no pin changes that. */
bool kind_read_only(const struct kind *kind);

/* False for errors of a system that is short of something: no answer to what we ask. */
bool kind_answered(int got);

#endif
