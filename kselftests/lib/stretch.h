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

/* The function that grabs; false where none was found, or the window is not to be stretched. */
bool stretch_grabber(struct function *fn);

#define STRETCH_SHORT	4u	/* reads of a text of the kernel's, a few microseconds each */
#define STRETCH_LONG	48u	/* as long as a split takes */

/*
 * Stretch the walk of this race's vehicle at one more place, anywhere in it or in the grab: the
 * race's seed says where, and the next call says another. For races whose window is not right
 * before the grab. Nothing happens where the window is not stretched either.
 */
void stretch_walk(struct race *race, unsigned int reads);
void stretch_walk_end(void);

#endif
