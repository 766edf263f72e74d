// SPDX-License-Identifier: GPL-2.0-only
/*
 * A round: B has A move the pages, there and back, and forks meanwhile; A rests, B judges. The
 * child is linked to its parent's pages before their PTEs are copied (dup_mmap), and to put a PTE
 * in the place of a migration entry the kernel goes to all who are linked. So more calls that put
 * one back than calls that took one away tell that a fork was in between.
 */
#include <stdatomic.h>

#include "clock.h"
#include "forked_moving.h"
#include "kprobe.h"
#include "ktap.h"
#include "nodes.h"
#include "rng.h"
#include "stretch.h"

#define TAKES_AWAY	"try_to_migrate_one"
#define PUTS_BACK	"remove_migration_pte"

struct moving {
	struct race *race;
	struct forked *forked;
	struct nodes nodes;
	struct rng rng;
	atomic_uint asked;		/* by B: odd, move; even, rest */
	atomic_uint seen;		/* by A, of that */
	atomic_bool over;		/* said by B, which waits for A until then, and no longer */
	_Atomic uint64_t ticks;		/* that the last move took */
	uint64_t moves;
	int away, back;			/* kprobes; below 0: none */
	uint64_t more;			/* put back than taken away, so far */
	uint64_t rounds, met, trials;
};

static void move_on(struct moving *m)
{
	uint64_t begin = now_ticks();

	nodes_turn(&m->nodes, m->moves++ % 2);
	nodes_move(&m->nodes, MPOL_MF_MOVE);
	atomic_store(&m->ticks, now_ticks() - begin);
}

static void *mover(void *arg)
{
	struct moving *m = arg;

	while (!atomic_load(&m->over)) {
		unsigned int asked = atomic_load(&m->asked);

		atomic_store(&m->seen, asked);
		if (asked % 2)
			move_on(m);
		else
			cpu_relax();
	}
	return NULL;
}

/* To move, or to rest; A is at it when this returns. */
static void ask_next(struct moving *m)
{
	unsigned int asked = atomic_fetch_add(&m->asked, 1) + 1;

	while (atomic_load(&m->seen) != asked)
		cpu_relax();
}

/* Where the two meet is left to chance: a move is long, and there are many pages on their way. */
static void wait_a_while(struct moving *m)
{
	uint64_t begin = now_ticks(), wait = rng_below(&m->rng, atomic_load(&m->ticks));

	while (now_ticks() - begin < wait)
		cpu_relax();
}

static int count_calls(const char *name)
{
	struct function fn;
	int index = kallsyms_functions(name, &fn, 1) ? kprobe_add(&fn, 0) : -1;

	if (index < 0)
		ktap_diag("not told what was met: no kprobe event on %s", name);
	return index;
}

/* While A rests. */
static void count_met(struct moving *m)
{
	uint64_t more, met;

	m->rounds++;
	if (m->away < 0 || m->back < 0)
		return;
	more = kprobe_hits(m->back, 1) - kprobe_hits(m->away, 1);
	/* Fewer, once in a while: somebody else has moved pages of a child that was ending. */
	met = (int64_t)(more - m->more) > 0 ? more - m->more : 0;
	m->more = more;
	m->met += met;
	m->trials += met > 0;
}

/* Where all is slow, the other subtests have more use for the second half of the time. */
static bool is_enough(const struct moving *m)
{
	const struct race *race = m->race;
	uint64_t half = (race->deadline_ns - race->start_ns) / 2;

	return m->trials >= FORKED_MET ||
	       (m->trials >= FORKED_LEAST && now_ns() - race->start_ns > half);
}

static void *forker(void *arg)
{
	struct moving *m = arg;
	struct race *race = m->race;

	while (race_in_time(race) && !is_enough(m)) {
		forked_prepare(race, m->forked);
		ask_next(m);
		wait_a_while(m);
		forked_fork(race, m->forked);
		ask_next(m);
		count_met(m);
		if (!race->naive)
			forked_pin(race, m->forked);
		forked_settle(race, m->forked);
	}
	atomic_store(&m->over, true);
	return NULL;
}

static void there_and_back(struct race *race, void *arg)
{
	(void)race;
	move_on(arg);
	move_on(arg);
}

/* A small page has arrived in no time, unless it is kept on its way. It is locked then, no more. */
static void stretch_way(struct moving *m)
{
	static const char * const names[] = {
		"folio_migrate_flags", "folio_migrate_mapping", NULL
	};
	const struct stretch_code way = {
		.names = names, .least = m->nodes.pages / 2, .pass = there_and_back,
	};

	stretch_code(m->race, &way, m, 2 * STRETCH_SHORT);
}

void forked_moving(struct forked *f)
{
	struct moving m = {
		.race = f->race, .forked = f, .rng = rng_seeded(f->race->seed, 3),
	};

	f->agree.when = "forked while they were moved, then pinned";
	stretch_end();
	if (f->target.kind == SMALL)
		forked_move_down(f);
	forked_need_two_nodes(f);
	nodes_pages(&m.nodes, &f->agree);
	if (f->target.kind == SMALL)
		stretch_way(&m);
	else
		m.nodes.pages = 1;	/* all of a huge page go with one of them */
	m.away = count_calls(TAKES_AWAY);
	m.back = count_calls(PUTS_BACK);
	race_actors(f->race, mover, forker, &m);
	if (m.away >= 0)
		kprobe_remove(m.away);
	if (m.back >= 0)
		kprobe_remove(m.back);
	stretch_code_end();
	race_count(f->race, "moves", m.moves);
	race_count(f->race, "rounds", m.rounds);
	race_count(f->race, "met", m.met);
	race_count(f->race, "trials", m.trials);
}
