/* SPDX-License-Identifier: GPL-2.0-only */
/* RAM that the firmware tells of and nobody uses: behind what mem= lets the kernel have. */
#ifndef GUPRACE_SPARE_H
#define GUPRACE_SPARE_H

#include <stdbool.h>
#include <stdint.h>

struct spare {
	uint64_t start;		/* physical */
	uint64_t end;		/* the byte after it */
};

/* The last such range, or false. Of root: others are not told addresses. */
bool spare_ram(struct spare *spare);

#endif
