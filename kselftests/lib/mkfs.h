/* SPDX-License-Identifier: GPL-2.0-only */
/* File systems to race in, made by whatever makes them here: mke2fs, or busybox's. */
#ifndef GUPRACE_MKFS_H
#define GUPRACE_MKFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether nothing shows at the beginning of a disk: whatever is on one shows there. O_DIRECT or not. */
bool mkfs_blank(int fd);

/* Make it so: what was made here is gone. The first: 0 or -errno, for clean-ups. */
int mkfs_wipe(int fd);
void mkfs_blank_again(int fd, const char *device);

/*
 * An ext2 of blocks of a page on the first `bytes` of a device; false with the reason. Without
 * partial pages: truncation leaves none behind.
 */
bool mkfs_ext2(const char *device, uint64_t bytes, char *why, size_t size);

#endif
