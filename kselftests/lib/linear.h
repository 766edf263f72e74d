/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Linearizability, for free-running actors: what a pin shows must have been at the address at some
 * instant of the call. B replaces the pages of the target again and again, and publishes, round by
 * round, what it is about to do and what is done:
 *
 *   mapping = g, map the pages, stamp them, stamped = g,
 *   unmapping = g, take them away, unmapped = g
 *
 * Where others come in their place at once, by the operation itself or on the next touch, those are
 * of the next generation: mapping = g + 1 is published before the operation.
 *
 * A pin call that saw `unmapped` = u before and `mapping` = m after may give any generation of
 * (u, m]; a page not stamped yet only if m > `stamped` before. All else is a hit:
 *   foreign_stamp     the page belongs to another mapping, or elsewhere in this one
 *   wrong_generation  the page left the address before the call, or came to it after
 *   bad_stamp         no stamp though every page of that window was stamped before the call
 *   refused           -EFAULT though something was mapped throughout
 * A page without a stamp may also be the zero page of a read-only pin from before B's first write:
 * legal, and within the rule, since the stamp is that first write.
 */
#ifndef GUPRACE_LINEAR_H
#define GUPRACE_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

#define LINEAR_TARGET	1	/* mapping of the target's stamps */

struct linear {
	uint64_t mapping;
	uint64_t stamped;
	uint64_t unmapping;
	uint64_t unmapped;
};

static inline void linear_publish(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static inline uint64_t linear_observe(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

struct linear linear_now(const struct linear *published);

/* What page `index` of the target shows through a pin. */
void linear_judge(struct race *race, unsigned int index, const struct stamp *s,
		  const struct linear *before, const struct linear *after);

/* A call that took no pin. `holes`: between generations there is nothing to pin. */
void linear_judge_refusal(struct race *race, int err, bool holes, const struct linear *before,
			  const struct linear *after);

#endif
