/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page stamps: every page of a test says at its start which mapping it is of, which page of it and
 * which generation of that page. The check word tells a stamp from a page that was never stamped,
 * is half stamped, or holds something else.
 */
#ifndef GUPRACE_STAMP_H
#define GUPRACE_STAMP_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "rng.h"

struct stamp {
	uint64_t mapping;
	uint64_t index;
	uint64_t generation;
	uint64_t check;
};

static inline uint64_t stamp_check(const struct stamp *s)
{
	return mix64(s->mapping ^ mix64(s->index ^ mix64(s->generation)));
}

static inline struct stamp stamp_of(uint64_t mapping, uint64_t index, uint64_t generation)
{
	struct stamp s = { .mapping = mapping, .index = index, .generation = generation };

	s.check = stamp_check(&s);
	return s;
}

static inline bool stamp_valid(const struct stamp *s)
{
	return s->check == stamp_check(s);
}

static inline bool stamp_is(const struct stamp *s, uint64_t mapping, uint64_t index,
			    uint64_t generation)
{
	return stamp_valid(s) && s->mapping == mapping && s->index == index &&
	       s->generation == generation;
}

/* What a page of zeroes has in the place of a stamp. */
static inline bool stamp_blank(const struct stamp *s)
{
	return !(s->mapping | s->index | s->generation | s->check);
}

/* What a hit says of a stamp that is not the one expected. */
#define STAMP_SEEN	"observed %s mapping %" PRIu64 " index %" PRIu64 " generation %" PRIu64
#define STAMP_SEEN_ARGS(s)	stamp_valid(s) ? "stamp" : "no stamp", (s)->mapping, (s)->index, \
				(s)->generation

/* The oracle that a stamp breaks which should be another: by what is wrong with it. */
static inline const char *stamp_oracle(const struct stamp *s, uint64_t mapping, uint64_t index)
{
	if (!stamp_valid(s))
		return "bad_stamp";
	if (s->mapping != mapping || s->index != index)
		return "foreign_stamp";
	return "wrong_generation";
}

/* As it is just now, whoever may be writing. */
static inline struct stamp stamp_load(const void *at)
{
	const volatile struct stamp *from = at;

	return (struct stamp){ from->mapping, from->index, from->generation, from->check };
}

/* The check word comes last: until then the page reads as not stamped. */
static inline void stamp_page(void *page, struct stamp s)
{
	struct stamp *to = page;

	__atomic_store_n(&to->mapping, s.mapping, __ATOMIC_RELAXED);
	__atomic_store_n(&to->index, s.index, __ATOMIC_RELAXED);
	__atomic_store_n(&to->generation, s.generation, __ATOMIC_RELAXED);
	__atomic_store_n(&to->check, s.check, __ATOMIC_RELEASE);
}

#endif
