/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stretch the window: make GUP-fast slower between its read of the PTE and its grab, without a
 * change of what it does, by kprobe events at the start of the function that grabs.
 */
#ifndef GUPRACE_STRETCH_H
#define GUPRACE_STRETCH_H

#include "vehicle.h"

/* Stretch the window of this vehicle's pins, and say so; or say why it stays as it is. */
void stretch_window(struct vehicle *v);

/* Not for the rest of this subtest: for races in which it is B's window that is short. */
void stretch_end(void);

#endif
