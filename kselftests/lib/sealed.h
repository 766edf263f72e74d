/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memfd and F_SEAL_WRITE (PX): nobody can write the file from then on. So whoever
 * seals counts the references of each page when no mapping can write it any more, waits for pins,
 * and in the end refuses: a pin taken before could write it still.
 */
#ifndef GUPRACE_SEALED_H
#define GUPRACE_SEALED_H

#include "scenario.h"

/*
 * Has pages of a memfd pinned by each of the vehicles (NULL behind the last) in turn, unmapped, and
 * sealed, twice. Hit `sealed`: that went well. Counts pins, checks, refusals, and
 * seals: it must go well when the pins are given back. Skips where no vehicle can be had, or no such
 * memfd.
 */
void sealed_race(struct race *race, const struct vehicle_ops * const *by);

#endif
