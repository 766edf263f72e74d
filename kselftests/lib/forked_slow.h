/* SPDX-License-Identifier: GPL-2.0-only */
/* Pins against a fork that is made slow, at one instruction of its copy of a PTE or another. */
#ifndef GUPRACE_FORKED_SLOW_H
#define GUPRACE_FORKED_SLOW_H

#include "forked.h"

void forked_slow(struct forked *f);

#endif
