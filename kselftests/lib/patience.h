/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System calls that wait for something that may not come: from patience_begin() to patience_end() one
 * that waits where a signal wakes it ends with EINTR when its time is over, and so does the next one.
 * What does not wait is not touched. For one thread of the process.
 */
#ifndef GUPRACE_PATIENCE_H
#define GUPRACE_PATIENCE_H

#include <stdint.h>

void patience_begin(uint64_t ns);
void patience_end(void);

#endif
