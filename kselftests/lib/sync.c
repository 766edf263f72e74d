// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "sync.h"

#define STOPPED		UINT64_MAX

static void publish(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void await(const uint64_t *word, uint64_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value)
		cpu_relax();
}

static void await_ticks(uint64_t when)
{
	while ((int64_t)(now_ticks() - when) < 0)
		cpu_relax();
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

struct sync_median sync_median_of(uint64_t *values, unsigned int count)
{
	struct sync_median m;

	qsort(values, count, sizeof(*values), compare);
	m.median = values[count / 2];
	for (unsigned int i = 0; i < count; i++)
		values[i] = distance(values[i], m.median);
	qsort(values, count, sizeof(*values), compare);
	m.mad = values[count / 2];
	return m;
}

void sync_init(struct sync *s, uint64_t seed, uint64_t sample_ns)
{
	memset(s, 0, sizeof(*s));
	s->rng = rng_seeded(seed, 0);
	s->patience_ns = now_ns() + sample_ns;
}

unsigned int sync_coverage(const struct sync_result *r)
{
	unsigned int filled = 0;

	for (unsigned int i = 0; i < SYNC_BINS; i++)
		filled += r->visited[i] > 0;
	return 100 * filled / SYNC_BINS;
}

bool sync_a_begin(struct sync *s)
{
	await(&s->go, s->a_done + 1);
	if (s->go == STOPPED)
		return false;
	await_ticks(s->offset < 0 ? s->start - s->offset : s->start);
	s->a.begin = now_ticks();
	return true;
}

void sync_a_end(struct sync *s)
{
	s->a.end = now_ticks();
	publish(&s->a_ended, s->go);
	await(&s->b_done, s->go);
}

void sync_a_near_miss(struct sync *s)
{
	s->near_miss = true;
}

void sync_a_empty(struct sync *s)
{
	s->empty = true;
}

void sync_a_release(struct sync *s)
{
	publish(&s->a_done, s->go);
}

bool sync_sampling(const struct sync *s)
{
	return !s->sample_over;
}

/* The range of offsets at which the windows overlap begins at -range_below(). */
static uint64_t range_below(const struct sync *s)
{
	return s->result.b.median;
}

static uint64_t range_length(const struct sync *s)
{
	uint64_t length = s->result.a.median + s->result.b.median;

	return length ? length : 1;
}

static void shuffle(struct sync *s, uint8_t *order, unsigned int count)
{
	for (unsigned int i = count - 1; i > 0; i--) {
		unsigned int j = rng_below(&s->rng, i + 1);
		uint8_t other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
}

/*
 * One stratum of each bin before the second of any: a race that has time for few trials has been
 * everywhere all the same.
 */
static void order_strata(struct sync *s)
{
	uint8_t *first = s->order, *second = s->order + SYNC_BINS;

	_Static_assert(SYNC_STRATA == 2 * SYNC_BINS, "a bin has two strata");
	for (unsigned int bin = 0; bin < SYNC_BINS; bin++) {
		unsigned int half = rng_below(&s->rng, 2);

		first[bin] = 2 * bin + half;
		second[bin] = 2 * bin + !half;
	}
	shuffle(s, first, SYNC_BINS);
	shuffle(s, second, SYNC_BINS);
}

/* A random number below `bound`, which may be beyond 32 bits. */
static uint64_t random_ticks(struct sync *s, uint64_t bound)
{
	return bound ? rng_next(&s->rng) % bound : 0;
}

static int64_t next_of_sweep(struct sync *s)
{
	unsigned int place = s->swept % SYNC_STRATA;
	uint64_t length = range_length(s), from, to;

	if (!place)
		order_strata(s);
	s->swept++;
	from = s->order[place] * length / SYNC_STRATA;
	to = (s->order[place] + 1) * length / SYNC_STRATA;
	return (int64_t)(from + random_ticks(s, to - from)) - (int64_t)range_below(s);
}

static int64_t near_a_miss(struct sync *s)
{
	uint64_t misses = s->result.near_misses, width = range_length(s) / SYNC_BINS;
	int64_t offset = s->near[rng_below(&s->rng, misses < SYNC_NEAR ? misses : SYNC_NEAR)];

	s->result.focused++;
	return offset + (int64_t)random_ticks(s, width + 1) - (int64_t)(width / 2);
}

static bool has_swept(const struct sync *s)
{
	return s->swept >= 3 * SYNC_STRATA ||
	       (s->swept >= SYNC_STRATA && sync_coverage(&s->result) >= SYNC_COVERED);
}

static int64_t choose_offset(struct sync *s)
{
	if (sync_sampling(s))
		return 0;
	if (has_swept(s) && s->result.near_misses && s->result.rounds % 2)
		return near_a_miss(s);
	return next_of_sweep(s);
}

void sync_b_stretched(struct sync *s, uint64_t ticks)
{
	s->stretched = ticks;
}

void sync_b_begin(struct sync *s)
{
	uint64_t now;

	s->offset = choose_offset(s);
	s->near_miss = false;
	s->empty = false;
	now = now_ticks();
	s->start = now + s->lead;
	publish(&s->go, s->a_done + 1);
	await_ticks(s->offset > 0 ? s->start + s->offset : s->start);
	s->b.begin = now_ticks();
}

static void end_sample(struct sync *s)
{
	s->result.a = sync_median_of(s->sample.a, s->sampled);
	s->result.b = sync_median_of(s->sample.b, s->sampled);
	s->result.gap = sync_median_of(s->sample.gap, s->sampled);
	s->sample_over = true;
}

static void add_to_sample(struct sync *s, uint64_t gap)
{
	s->sample.a[s->sampled] = s->a.end - s->a.begin;
	s->sample.b[s->sampled] = s->b.end - s->b.begin;
	s->sample.gap[s->sampled] = gap;
	s->sampled++;
	if (s->sampled == SYNC_SAMPLE ||
	    (s->sampled >= SYNC_SAMPLE_MIN && now_ns() > s->patience_ns))
		end_sample(s);
}

/*
 * WARMUP: how late A begins when it is given no time. The first SYNC_WARMUP of sample.gap serve, and
 * the quick ones count: where the host let one vCPU wait for the other's time slice, a lead as long
 * as that would have both spin until their own are used up, in every trial.
 */
static void end_warmup(struct sync *s)
{
	qsort(s->sample.gap, SYNC_WARMUP, sizeof(s->sample.gap[0]), compare);
	s->lead = 2 * s->sample.gap[SYNC_WARMUP / 4];
}

/*
 * A window may wait for all of the other, as a pin in the slow path does for mmap_lock: that is the
 * two meeting, and no preemption.
 */
static bool took_too_long(const struct sync *s, uint64_t window, struct sync_median usual, uint64_t other)
{
	return window > SYNC_PREEMPTED * (usual.median + s->stretched + 1) + other;
}

/* A gap of a tick or two is the rule: what disturbs is one that leaves the bin. */
static bool began_too_late(const struct sync *s, uint64_t gap)
{
	uint64_t usual = range_length(s) / SYNC_BINS / SYNC_PREEMPTED;

	if (s->result.gap.median > usual)
		usual = s->result.gap.median;
	return gap > SYNC_PREEMPTED * (usual + 1);
}

/* Counts each of the causes: which one it mostly is tells what to do about it. */
static bool was_preempted(struct sync *s, uint64_t gap)
{
	struct sync_result *r = &s->result;
	uint64_t a = s->a.end - s->a.begin, b = s->b.end - s->b.begin;
	bool a_long = took_too_long(s, a, r->a, b);
	bool b_long = took_too_long(s, b, r->b, a);
	bool late = began_too_late(s, gap);

	r->a_long += a_long;
	r->b_long += b_long;
	r->begin_late += late;
	return a_long || b_long || late;
}

/* A window that took longer than its median meets the other beyond the range: no bin is for that. */
static void count_bin(const struct sync *s, uint64_t *bins, int64_t achieved)
{
	int64_t from_low = achieved + (int64_t)range_below(s);
	uint64_t length = range_length(s);

	if (from_low >= 0 && (uint64_t)from_low < length)
		bins[(uint64_t)from_low * SYNC_BINS / length]++;
}

static void count_valid(struct sync *s, int64_t achieved, uint64_t gap)
{
	s->result.trials++;
	s->result.on_time += gap <= range_length(s) / SYNC_BINS;
	count_bin(s, s->result.bins, achieved);
	if (s->near_miss)
		s->near[s->result.near_misses++ % SYNC_NEAR] = achieved;
}

static void count_trial(struct sync *s, int64_t achieved, uint64_t gap)
{
	bool met = s->a.begin < s->b.end && s->b.begin < s->a.end;

	if (was_preempted(s, gap)) {
		s->result.preempted++;
		s->result.met += met;
		return;
	}
	count_bin(s, s->result.visited, achieved);
	if (met)
		count_valid(s, achieved, gap);
	else
		s->result.apart++;
}

static void account(struct sync *s)
{
	int64_t achieved = (int64_t)(s->b.begin - s->a.begin);
	int64_t late = achieved - s->offset;
	uint64_t gap = late < 0 ? -late : late;
	uint64_t round = s->result.rounds++;

	if (round < SYNC_WARMUP) {
		s->sample.gap[round] = gap;
		if (round == SYNC_WARMUP - 1)
			end_warmup(s);
		return;
	}
	if (s->empty)
		s->result.empty++;
	else if (sync_sampling(s))
		add_to_sample(s, gap);
	else
		count_trial(s, achieved, gap);
}

void sync_b_end(struct sync *s)
{
	s->b.end = now_ticks();
	await(&s->a_ended, s->go);
	publish(&s->b_done, s->go);
	await(&s->a_done, s->go);
	account(s);
}

void sync_b_stop(struct sync *s)
{
	publish(&s->go, STOPPED);
}
