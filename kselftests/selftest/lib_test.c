// SPDX-License-Identifier: GPL-2.0-only
/* Self-test of what lib/ computes: random numbers, stamps, KTAP text, trials. Runs anywhere, at once. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "ktap.h"
#include "rng.h"
#include "stamp.h"
#include "sync.h"

static bool rng_replays_its_seed(void)
{
	struct rng a = rng_seeded(0x2a, 0), b = rng_seeded(0x2a, 0);

	for (int i = 0; i < 1000; i++) {
		if (rng_next(&a) != rng_next(&b))
			return false;
	}
	return true;
}

/*
 * Known answers: a seed printed today must give the same race with tomorrow's build. The first is
 * the published one of splitmix64 for the seed 0.
 */
static bool rng_gives_the_numbers_it_always_gave(void)
{
	struct rng rng = rng_seeded(0x2a, 0);
	uint64_t first = rng_next(&rng), second = rng_next(&rng);

	return mix64(0) == 0xe220a8397b1dcdafull && first == 0x0f6a141bf53c240dull &&
	       second == 0xe6a63bdfb8c91606ull;
}

static bool rng_streams_differ(void)
{
	struct rng a = rng_seeded(0x2a, 0), b = rng_seeded(0x2a, 1), c = rng_seeded(0x2b, 0);
	uint64_t x = rng_next(&a), y = rng_next(&b), z = rng_next(&c);

	return x != y && x != z && y != z;
}

static bool rng_never_starts_at_its_fixed_point(void)
{
	for (uint64_t seed = 0; seed < 100000; seed++) {
		if (!rng_seeded(seed, 0).state)
			return false;
	}
	return true;
}

static bool rng_below_fills_its_range_and_no_more(void)
{
	struct rng rng = rng_seeded(7, 0);
	unsigned int seen[10] = { 0 };

	for (int i = 0; i < 10000; i++) {
		uint32_t x = rng_below(&rng, 10);

		if (x >= 10)
			return false;
		seen[x]++;
	}
	for (int i = 0; i < 10; i++) {
		if (seen[i] < 800 || seen[i] > 1200)
			return false;
	}
	return rng_below(&rng, 0) == 0 && rng_below(&rng, 1) == 0;
}

static bool stamp_is_read_back_from_its_page(void)
{
	static _Alignas(64) unsigned char page[4096];
	struct stamp s;

	stamp_page(page, stamp_of(1, 2, 3));
	memcpy(&s, page, sizeof(s));
	return stamp_valid(&s) && s.mapping == 1 && s.index == 2 && s.generation == 3;
}

static bool stamp_of_zeroes_or_poison_is_none(void)
{
	struct stamp s;

	memset(&s, 0, sizeof(s));
	if (stamp_valid(&s))
		return false;
	memset(&s, 0xaa, sizeof(s));
	return !stamp_valid(&s);
}

/* Half of one stamp and half of another, at every word, in both orders. */
static bool stamp_torn_between_two_is_none(void)
{
	struct stamp old = stamp_of(2, 77, 1000), new = stamp_of(1, 0, 1001);

	for (size_t words = 1; words < 4; words++) {
		struct stamp torn = old;

		memcpy(&torn, &new, words * sizeof(uint64_t));
		if (stamp_valid(&torn))
			return false;
		torn = new;
		memcpy(&torn, &old, words * sizeof(uint64_t));
		if (stamp_valid(&torn))
			return false;
	}
	return true;
}

static bool ktap_text_ends_no_line_early(void)
{
	char clean[64];

	ktap_clean(clean, sizeof(clean), "a\nok 1 b\x1b[31m\\\xff~");
	return !strcmp(clean, "a\\x0aok 1 b\\x1b[31m\\\\\\xff~");
}

static bool ktap_text_is_cut_at_a_whole_character(void)
{
	char clean[8];

	ktap_clean(clean, sizeof(clean), "abcd\n\n");
	return !strcmp(clean, "abcd");
}

/* Ticks: what the host does to this test between two of its lines is nothing to that. */
#define WINDOW	10000000u

/* Both actors of a trial in one: the windows are as long as is said, and meet `late` ticks too late. */
static void trial_in(struct sync *s, uint64_t a, uint64_t b, uint64_t late, bool empty)
{
	sync_b_begin(s);
	s->b.begin = now_ticks() - b;
	s->a.begin = s->b.begin - s->offset - late;
	s->a.end = s->a.begin + a;
	s->a_ended = s->go;
	if (empty)
		sync_a_empty(s);
	s->a_done = s->go;
	sync_b_end(s);
}

static void trial_of(struct sync *s, uint64_t a, uint64_t b, uint64_t late)
{
	trial_in(s, a, b, late, false);
}

static bool sync_tells_what_was_preempted(void)
{
	static struct sync s;
	const struct sync_result *r = &s.result;

	sync_init(&s, 1, UINT32_MAX);
	while (sync_sampling(&s))
		trial_of(&s, WINDOW, WINDOW, 0);
	trial_of(&s, WINDOW, WINDOW, 0);
	if (r->preempted || r->a_long || r->b_long || r->begin_late)
		return false;
	trial_of(&s, 2 * SYNC_PREEMPTED * WINDOW, WINDOW, 0);
	trial_of(&s, WINDOW, 2 * SYNC_PREEMPTED * WINDOW, 0);
	trial_of(&s, WINDOW, WINDOW, WINDOW);
	/* A window that waited for all of the other is as long as that one, and was not preempted. */
	trial_of(&s, 2 * SYNC_PREEMPTED * WINDOW, 2 * SYNC_PREEMPTED * WINDOW, 0);
	/* Nor what was made to take so long. */
	sync_b_stretched(&s, WINDOW);
	trial_of(&s, 2 * SYNC_PREEMPTED * WINDOW, WINDOW, 0);
	trial_of(&s, WINDOW, 2 * SYNC_PREEMPTED * WINDOW, 0);
	return r->preempted == 3 && r->a_long == 1 && r->b_long == 1 && r->begin_late == 1 && r->met >= 2;
}

static bool sync_neither_counts_nor_measures_what_was_empty(void)
{
	static struct sync s;
	const struct sync_result *r = &s.result;

	sync_init(&s, 1, UINT32_MAX);
	for (unsigned int i = 0; sync_sampling(&s); i++) {
		bool empty = i > SYNC_WARMUP && i % 2;

		trial_in(&s, WINDOW, empty ? 1 : WINDOW, 0, empty);
	}
	if (r->empty < SYNC_SAMPLE - 1 || r->b.median < WINDOW)
		return false;
	trial_of(&s, WINDOW, WINDOW, 0);
	return r->trials == 1;
}

static const struct {
	const char *name;
	bool (*fn)(void);
} tests[] = {
	{ "rng_replays_its_seed", rng_replays_its_seed },
	{ "rng_gives_the_numbers_it_always_gave", rng_gives_the_numbers_it_always_gave },
	{ "rng_streams_differ", rng_streams_differ },
	{ "rng_never_starts_at_its_fixed_point", rng_never_starts_at_its_fixed_point },
	{ "rng_below_fills_its_range_and_no_more", rng_below_fills_its_range_and_no_more },
	{ "stamp_is_read_back_from_its_page", stamp_is_read_back_from_its_page },
	{ "stamp_of_zeroes_or_poison_is_none", stamp_of_zeroes_or_poison_is_none },
	{ "stamp_torn_between_two_is_none", stamp_torn_between_two_is_none },
	{ "ktap_text_ends_no_line_early", ktap_text_ends_no_line_early },
	{ "ktap_text_is_cut_at_a_whole_character", ktap_text_is_cut_at_a_whole_character },
	{ "sync_tells_what_was_preempted", sync_tells_what_was_preempted },
	{ "sync_neither_counts_nor_measures_what_was_empty",
	  sync_neither_counts_nor_measures_what_was_empty },
};

int main(void)
{
	unsigned int count = sizeof(tests) / sizeof(tests[0]), failed = 0;

	ktap_header("lib_test");
	ktap_plan(count);
	for (unsigned int i = 0; i < count; i++) {
		bool ok = tests[i].fn();

		ktap_result(i + 1, tests[i].name, ok ? ENDING_PASS : ENDING_FAIL, "see lib_test.c");
		failed += !ok;
	}
	ktap_totals(count - failed, failed, 0);
	return failed ? 1 : 0;
}
