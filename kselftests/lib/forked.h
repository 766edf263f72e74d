/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that are pinned, and shared by a fork, in whatever order: the steps of one such round, the
 * same for those that race and those that need no race. A round is
 *
 *   forked_prepare()  fresh pages (of a huge page that was split or shared), stamped
 *   forked_pin(), forked_fork()  in the order in question, or side by side
 *   forked_settle()   parent, pins and child compared (family.h); pins given back, the child gone
 *
 * They have the signatures of struct trial, with a struct forked for the world.
 */
#ifndef GUPRACE_FORKED_H
#define GUPRACE_FORKED_H

#include <stdbool.h>
#include <stdint.h>

#include "agree.h"
#include "backing.h"
#include "family.h"
#include "scenario.h"

struct forked {
	struct race *race;
	struct backing target;
	struct agree agree;		/* of the first pages of the target, or others of it */
	struct family family;
	uint8_t *elsewhere;		/* what A pins while the windows are measured */
	bool decoyed;			/* in this trial */
	bool alternates;		/* a PMD maps the huge page, or a table of PTEs */
	int got;			/* A's pins */
	unsigned int rounds;		/* counted by whoever does something every so many */
	bool whole;			/* this round's target is a folio, as it is to be */
	uint64_t pins, huge;		/* pages pinned; forks that began with a huge page */
};

/* A target of `pages` pages, or of one folio, of which as many are stamped and pinned. */
void forked_begin(struct forked *f, struct race *race, enum backing_kind kind, unsigned int pages,
		  const char *when);

/* Unmapped again. Counts judged, pins, and huge where the target is a folio of several pages. */
void forked_end(struct forked *f);

void forked_prepare(struct race *race, void *forked);

/* By one call; something else while the windows are measured: see race_sampling(). */
void forked_pin(struct race *race, void *forked);

/* The fork and nothing else. */
void forked_fork(struct race *race, void *forked);

/* By A: a round without the folio that is to be forked is none. */
void forked_need_folio(struct race *race, void *forked);

/* By B, which shares its CPU with the child and sleeps while that answers. */
void forked_settle(struct race *race, void *forked);

/* All pages were pinned; counts them. */
void forked_need_pins(struct forked *f);

/* A table of PTEs maps the huge page from here on. */
void forked_split_mapping(struct forked *f);

/* A fork of a child that ends at once: to see where it goes. */
void forked_once(struct race *race, void *arg);

/* The target is the first that a fork comes to, from here on; of small pages only. */
void forked_move_down(struct forked *f);

/* To another node, whoever shares the pages. */
bool forked_move_to(const struct forked *f, int node);

/* Or a skip. Stamps the pages. */
void forked_need_two_nodes(struct forked *f);

#endif
