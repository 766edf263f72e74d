// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdbool.h>

#include "blocks.h"
#include "refs.h"

#define HELD_BLOCKS	128u
#define GIVEN_BLOCKS	64u
#define ORDER_MAX	4u

struct block {
	uint64_t pfn;		/* of its first page */
	uint64_t held;		/* of the page with the reference */
	unsigned int order;
	unsigned int flags;
};

/* Of a block that is neither compound nor split only the first page has a count. */
static uint64_t page_to_hold(const struct block *b, struct rng *rng)
{
	return b->flags ? b->pfn + rng_below(rng, 1u << b->order) : b->pfn;
}

/* While the reference is held: a compound block stays whole, of others the page itself. */
static bool still_held(const struct block *b, uint64_t first, unsigned int order)
{
	uint64_t from = b->flags & GUPRACE_BLOCK_COMPOUND ? b->pfn : b->held;
	uint64_t to = b->flags & GUPRACE_BLOCK_COMPOUND ? b->pfn + (1u << b->order) : from + 1;

	return first < to && from < first + (1u << order);
}

static void look_who_is_given_pages(struct race *race, int owner, const struct block *b,
				    unsigned int blocks, struct rng *rng)
{
	unsigned int given = 0;

	for (; given < GIVEN_BLOCKS; given++) {
		unsigned int order = rng_below(rng, ORDER_MAX + 1);
		uint64_t pfn = refs_block(owner, order, 0);

		if (!pfn)
			break;
		for (unsigned int i = 0; i < blocks; i++) {
			if (still_held(&b[i], pfn, order))
				race_hit(race, "given_away",
					 "expected page frame %" PRIu64 " kept, order %u flags "
					 "%#x, observed it in a new block of order %u at %" PRIu64,
					 b[i].held, b[i].order, b[i].flags, order, pfn);
		}
	}
	refs_free_blocks(owner, given);
}

unsigned int blocks_freed_under_references(struct race *race, int holder, int owner,
					   struct rng *rng)
{
	struct block b[HELD_BLOCKS];
	unsigned int blocks = 0;

	for (; blocks < HELD_BLOCKS; blocks++) {
		static const unsigned int sorts[] = { 0, 0, GUPRACE_BLOCK_COMPOUND,
						      GUPRACE_BLOCK_SPLIT };

		b[blocks].order = 1 + rng_below(rng, ORDER_MAX);
		b[blocks].flags = sorts[blocks % 4];
		b[blocks].pfn = refs_block(owner, b[blocks].order, b[blocks].flags);
		if (!b[blocks].pfn)
			break;
		b[blocks].held = page_to_hold(&b[blocks], rng);
		if (refs_take(holder, &b[blocks].held, 1) != 1)
			race_hit(race, "not_taken",
				 "expected a reference on page frame %" PRIu64 " of a block of "
				 "order %u flags %#x, observed none", b[blocks].held,
				 b[blocks].order, b[blocks].flags);
	}
	refs_free_blocks(owner, blocks);
	look_who_is_given_pages(race, owner, b, blocks, rng);
	refs_drop(holder);
	return blocks;
}
