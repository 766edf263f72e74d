/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fork that comes upon pages on their way to another NUMA node: it finds migration entries, which
 * say who may write, and whose the page is, when it has arrived. The pins come after it.
 *
 * Counts moves, rounds; met: pages that were taken from one process and given to two; and trials,
 * the rounds in which there were any. Ends with FORKED_MET of these, at half time with
 * FORKED_LEAST.
 */
#ifndef GUPRACE_FORKED_MOVING_H
#define GUPRACE_FORKED_MOVING_H

#include "forked.h"

#define FORKED_MET	100u
#define FORKED_LEAST	20u

void forked_moving(struct forked *f);

#endif
