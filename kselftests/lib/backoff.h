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

/* Arm the counter. False, with a diagnostic that says why, where it cannot be had. */
bool backoff_arm(void);
void backoff_disarm(void);

/* Start to count for a vehicle. False, with a diagnostic, when its unpins cannot be told apart. */
bool backoff_begin(struct vehicle *v);

/* The back-offs since backoff_begin(), after `unpins` pages were unpinned. */
uint64_t backoff_end(uint64_t unpins);

#endif
