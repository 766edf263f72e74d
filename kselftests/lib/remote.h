/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pins in the memory of somebody else: process_vm_writev(2) takes FOLL_PINs there, copies, and gives
 * them back. It is held in between by a source of which userfaultfd keeps the page back, while the
 * other process forks and writes to the page: what is copied into it afterwards must be there.
 *
 * fork looks for pins only in a process that is marked as one with pins (MMF_HAS_PINNED): the one
 * that is pinned, not the one that pins. So each round has a new process for that, which has never
 * pinned anything itself.
 */
#ifndef GUPRACE_REMOTE_H
#define GUPRACE_REMOTE_H

#include "scenario.h"

/* Hit `address_differs` where it is not. Counts checks; leaves the subtest with a skip where it cannot be. */
void remote_pins_and_forks(struct race *race, unsigned int rounds);

#endif
