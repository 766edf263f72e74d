/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread of real-time priority on A's CPU, that B calls up while A pins. GUP-fast walks with
 * interrupts off, so on a kernel that keeps to the protocol A's walk ends first. Where interrupts
 * are on, A stays in the middle of it for as long as B likes.
 */
#ifndef GUPRACE_PREEMPT_H
#define GUPRACE_PREEMPT_H

#include "scenario.h"

struct preempter;

/* Leaves the subtest with a skip where this user has no real-time priority, or no membarrier. */
struct preempter *preempter_start(struct race *race);
void preempter_stop(struct preempter *p);

/* B: take A's CPU; give it back. */
void preempter_call(struct preempter *p);
void preempter_dismiss(struct preempter *p);

/* B: wait until what was to be freed by RCU has been. */
void preempter_await_rcu(void);

#endif
