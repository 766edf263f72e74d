/* SPDX-License-Identifier: GPL-2.0-only */
/* A child that does nothing: for as long as it lives, it shares what neither has written since. */
#ifndef GUPRACE_WAITER_H
#define GUPRACE_WAITER_H

#include <sys/types.h>

/* It is gone when `release` has been closed, to be waited for; -1, as errno says, where it is none. */
pid_t waiter_fork(int *release);

#endif
