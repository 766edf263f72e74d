/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/sys/kernel/tainted: the kernel's own word that something went wrong. */
#ifndef GUPRACE_TAINT_H
#define GUPRACE_TAINT_H

#include <stdbool.h>
#include <stdint.h>

#define TAINT_WARN	(1ull << 9)	/* the kernel warned */

/* Read the bits, but for that of a soft lockup; false where they cannot be read. */
bool taint_read(uint64_t *bits);

#endif
