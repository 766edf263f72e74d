/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stretch the window: make GUP-fast slower between its read of the PTE and its grab, without a
 * change of what it does, by kprobe events at the start of the function that grabs.
 */
#ifndef GUPRACE_STRETCH_H
#define GUPRACE_STRETCH_H

#include <stdbool.h>

#include "kallsyms.h"
#include "scenario.h"
#include "vehicle.h"

/* Stretch the window of this vehicle's pins, and say so; or say why it stays as it is. */
void stretch_window(struct vehicle *v);

/* Not for the rest of this subtest: for races in which it is B's window that is short. */
void stretch_end(void);

/* The function that grabs, while its window is stretched; false where it is not. */
bool stretch_grabber(struct function *fn);

/* Whether anything may be stretched (not: --no-stretch, or no kprobes). */
bool stretch_allowed(void);

#define STRETCH_BRIEF	1u	/* shorter than the stretched grab of a page */
#define STRETCH_SHORT	4u	/* reads of a text of the kernel's, a few microseconds each */
#define STRETCH_LONG	48u	/* as long as a split takes */
#define STRETCH_VARIED(turn)	(STRETCH_SHORT << 2 * ((turn) % 3))	/* short, and up to 16 times that */

/*
 * Stretch the walk of this race's vehicle at one more place, anywhere in it: the race's seed says
 * where, and the next call says another. For races against what the walk reads, page tables.
 */
void stretch_walk(struct race *race, unsigned int reads);

/* The same, every second time inside the grab: for races against the page, between its looks at it. */
void stretch_walk_and_grab(struct race *race, unsigned int reads);

/* The same, inside the grab only, as far as that is a function of its own here. */
void stretch_grab(struct race *race, unsigned int reads);

/*
 * The same with somebody else's code: the first of these functions that is one here. `pass` goes
 * through it once, with nobody else there: a place that it does not come by is none to stretch.
 */
struct stretch_code {
	const char * const *names;	/* ends with NULL */
	unsigned int least;		/* hits by one pass: what is less often come by is not meant */
	void (*pass)(struct race *race, void *arg);
	/*
	 * Another way, where there is little to be gone through but in the way that costs most; or NULL.
	 * A place with more hits than this is in a loop within the loop, mostly, and would make one race of
	 * seconds.
	 */
	void (*worst)(struct race *race, void *arg);
	unsigned int most;
	bool whole;		/* the reads are for all of a pass: who is come by more often reads less each time */
};

void stretch_code(struct race *race, const struct stretch_code *code, void *arg,
		  unsigned int reads);

/*
 * B's code at a new place in every odd turn, and nothing but the grab in the others. For whoever in B
 * looks for references and clears the PTE: the wrong way round, there are a few instructions between.
 */
void stretch_by_turns(struct race *race, const struct stretch_code *code, void *arg,
		      unsigned int reads, unsigned int turn);

/* None of this is stretched any longer. Counter of all of them: stretched, the places found. */
void stretch_code_end(void);

/* By how much: what one pass through the code takes with the place that is stretched now; 0: none is. */
uint64_t stretch_code_ticks(void);

#endif
