/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that has never pinned anything: it pins, forks, and looks whether its pins are still of
 * the pages at their addresses. fork looks for pins only in a process that is marked as one that has
 * some (MMF_HAS_PINNED). GUP-fast and the slow path both set that mark, it is never cleared, and no
 * child has it: only in a new process whose first pin is one of GUP-fast does it tell who has set it.
 */
#ifndef GUPRACE_NEWBORN_H
#define GUPRACE_NEWBORN_H

#include "agree.h"

/* Hit `pin_differs` where they are not. Returns the pins, which are given back. */
unsigned int newborn_pins_and_forks(struct agree *a);

#endif
