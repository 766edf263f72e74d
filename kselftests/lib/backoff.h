/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Back-offs: how often GUP-fast took a reference, found the page table changed and gave it back.
 * Evidence that an unmodified kernel's defence fired, so that the race was really there.
 */
#ifndef GUPRACE_BACKOFF_H
#define GUPRACE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "vehicle.h"

/* Arm the counter; says in a diagnostic why where it cannot be had. Needs kprobe_init(). */
void backoff_arm(void);

/* Start to count for a vehicle. False, with a diagnostic, where that would not be exact. */
bool backoff_begin(struct vehicle *v);

/* The back-offs since backoff_begin(). One read of tracefs: outside of windows. */
uint64_t backoff_so_far(const struct vehicle *v);

#endif
