/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A child that shares the pages of a range with its parent, and tells and does with its own view of
 * them what the parent asks for. Either writes: the other may never see that, nor may a pin of the
 * other's. Before the fork the parent stamps; the child expects that stamp until it writes itself.
 */
#ifndef GUPRACE_FAMILY_H
#define GUPRACE_FAMILY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agree.h"

struct family_report;

struct family {
	struct agree *pages;		/* of both; the generation is the parent's */
	size_t size;			/* of the mapping they are in, from their address on */
	struct family_report *report;	/* shared with the child */
	int channel[2];			/* the parent's end, the child's end */
	pid_t child;
	uint64_t at_fork;		/* generation */
	uint64_t judged;		/* families */
};

void family_init(struct family *f, struct agree *pages, size_t size);
void family_exit(struct family *f);

/* Before a fork, the fork itself and nothing else, and after it. */
void family_prepare(struct family *f);
void family_fork(struct family *f);
void family_meet(struct family *f);

/*
 * With the parent's pins held: the parent writes and reads through its pins, the child looks, the
 * child writes, and the parent and its pins look. Oracles: those of agree.h, and child_differs.
 */
void family_judge(struct family *f);

/* Have the child pin its pages and unmap them; and read, later, what it pinned: as at the fork. */
void family_pin_and_unmap(struct family *f);
void family_judge_childs_pins(struct family *f);

/* End the child. */
void family_dismiss(struct family *f);

#endif
