// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "agree.h"
#include "backing.h"
#include "carried.h"
#include "check.h"
#include "huge.h"
#include "nodes.h"
#include "swap.h"

#define MAPPING_TARGET	1
#define PAGES		8u

struct carried {
	struct race *race;
	struct agree agree;
	struct backing target;
	struct nodes nodes;
};

/* Twice: what has just been touched waits in a batch of its CPU, which either call empties. */
static void page_out(struct carried *c)
{
	for (unsigned int i = 0; i < 2; i++)
		check_madvise(c->target.addr, c->target.size, MADV_PAGEOUT, "the target");
}

static void one_round(struct carried *c)
{
	int from, to;

	race_add(c->race, "pins", agree_alone(&c->agree));
	from = nodes_of_first(&c->nodes);
	nodes_turn(&c->nodes, !from);
	if (nodes_move(&c->nodes, MPOL_MF_MOVE) < 0)
		broken("move_pages of a memfd's pages: %s", strerror(errno));
	to = nodes_of_first(&c->nodes);
	page_out(c);
	race_add(c->race, "moved", to != from);
	race_add(c->race, "swapped", to != from && !huge_present(c->target.addr));
	agree_address(&c->agree);
	race_add(c->race, "checks", 1);
}

/* The disk that is swapped to is the first one; the vehicle takes the next. */
static void begin(struct race *race)
{
	char why[192];

	if (!swap_begin(why, sizeof(why)))
		race_skip(race, "%s", why);
	if (vehicle_open(&race->vehicle, &vehicle_direct_in, why, sizeof(why))) {
		swap_end();
		race_skip(race, "%s", why);
	}
}

static void end(struct carried *c)
{
	backing_unmap(&c->target);
	c->race->vehicle.ops->close(&c->race->vehicle);
	swap_end();
}

void carried_by_moves(struct race *race)
{
	struct carried c = { .race = race };
	int node;

	begin(race);
	c.agree = agree_about(race, PAGES, MAPPING_TARGET, "filled by a pin, moved, paged out and back");
	backing_map(&c.target, race, SHMEM, PAGES, "guprace carried");
	c.agree.addr = c.target.addr;
	nodes_pages(&c.nodes, &c.agree);
	agree_stamp(&c.agree);
	node = nodes_ask_first(&c.nodes);
	if (node < 0) {
		end(&c);
		race_skip(race, "move_pages: %s", strerror(-node));
	}
	nodes_turn(&c.nodes, !node);
	if (nodes_move(&c.nodes, MPOL_MF_MOVE) < 0 && errno == ENODEV) {
		end(&c);
		race_skip(race, "no two NUMA nodes to move pages between");
	}
	for (unsigned int i = 0; i < CARRIED_ROUNDS && race_in_time(race); i++)
		one_round(&c);
	end(&c);
}
