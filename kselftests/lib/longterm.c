// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "kind.h"
#include "longterm.h"
#include "nodes.h"
#include "pagemap.h"

#define MAPPING_TARGET	1
#define PAGES		32u	/* B has the last one off its list while it moves all the others */

struct moving {
	struct race *race;
	struct agree all, last;
	struct nodes nodes;
	int node;			/* where B takes all to */
	bool movable;			/* the last page, before */
	int got;
	long left;			/* of B's call: how many stayed, or below 0 */
	int err;
	uint64_t pins, moved, met;
};

static bool is_movable(const struct moving *m)
{
	uint64_t entry;

	pagemap_read(m->last.addr, &entry, 1);
	return entry & PAGEMAP_PRESENT && place_movable(entry & PAGEMAP_PFN);
}

/* The page that was pinned has left the movable zone: a new one for it. */
static void prepare(struct race *race, void *arg)
{
	struct moving *m = arg;

	(void)race;
	check_madvise(m->last.addr, m->last.page, MADV_DONTNEED, "the last page");
	agree_stamp(&m->all);
	m->last.generation = 0;
	agree_stamp(&m->last);
	m->node = nodes_turn_away(&m->nodes);
	m->movable = is_movable(m);
}

static void take_pin(struct race *race, void *arg)
{
	struct moving *m = arg;

	m->got = race->vehicle.ops->pin(&race->vehicle, m->last.addr, 1, 1);
}

static void move(struct race *race, void *arg)
{
	struct moving *m = arg;

	(void)race;
	m->left = nodes_move(&m->nodes, MPOL_MF_MOVE);
	m->err = errno;
}

/* Whether B and A have had their hands on a page both, the last one: one of them had to leave it. */
static bool got_in_the_way(const struct moving *m)
{
	return m->left > 0 || m->got == -EAGAIN;
}

static void judge(struct race *race, void *arg)
{
	struct moving *m = arg;
	struct vehicle *v = &race->vehicle;

	if (m->left < 0)
		broken("moving %lu pages to node %d: %s", m->nodes.pages, m->node, strerror(m->err));
	if (m->left == (long)m->nodes.pages)
		race_empty(race);
	m->met += got_in_the_way(m);
	if (m->got < 1 && kind_answered(m->got) && m->got != -EAGAIN)
		broken("%s pin of a mapped page: %s", v->name, strerror(-m->got));
	if (m->got == 1) {
		m->pins++;
		if (place_movable(v->ops->pfn(v, 0)))
			race_hit(race, "movable", "%s, while its page was moved: expected one of "
				 "another zone, observed one of a movable zone", v->name);
		else
			m->moved += m->movable;
		agree_both_ways(&m->last);
	}
	v->ops->unpin(v);
}

/* There and back; nothing is left of the target where it ends in a skip. */
static void need_nodes(struct moving *m, size_t size)
{
	bool movable = is_movable(m);

	for (int node = 1; node >= 0; node--) {
		nodes_turn(&m->nodes, node);
		if (nodes_move(&m->nodes, MPOL_MF_MOVE) >= 0 && m->nodes.status[0] == node)
			continue;
		check_munmap(m->all.addr, size, "the target");
		race_skip(m->race, "needs two NUMA nodes: move_pages to node %d: status %d", node,
			  m->nodes.status[0]);
	}
	if (!movable) {
		check_munmap(m->all.addr, size, "the target");
		race_skip(m->race, "new pages are of no movable zone here");
	}
}

void longterm_moving(struct race *race)
{
	static const struct trial trial = {
		.prepare = prepare, .a = take_pin, .b = move, .judge = judge,
	};
	struct moving m = {
		.race = race,
		.all = agree_about(race, PAGES - 1, MAPPING_TARGET, ""),
		.last = agree_about(race, 1, MAPPING_TARGET, "pinned for long while it was moved"),
	};
	size_t size = (m.all.pages + 1) * m.all.page;

	if (!place_movable_exists())
		race_skip(race, "no movable zone (movablecore=)");
	if (!pagemap_tells())
		race_skip(race, "page frame numbers are root's to read");
	m.all.addr = backing_small(size, "guprace target");
	m.last.addr = m.all.addr + m.all.pages * m.all.page;
	agree_stamp(&m.all);
	agree_stamp(&m.last);
	nodes_pages(&m.nodes, &m.all);
	m.nodes.page[m.nodes.pages++] = m.last.addr;
	need_nodes(&m, size);
	race_trials(race, &trial, &m);
	check_munmap(m.all.addr, size, "the target");
	race_count(race, "pins", m.pins);
	race_count(race, "moved", m.moved);
	race_count(race, "met", m.met);
}
