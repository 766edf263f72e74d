/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A RAM disk (brd) that holds nothing yet, for races with a file system's page cache. It holds
 * nothing again when it is closed. One at a time.
 */
#ifndef GUPRACE_RAMDISK_H
#define GUPRACE_RAMDISK_H

#include <stddef.h>

/* The disk itself, open for reading and writing; -1 with the reason where there is none. */
int ramdisk_open(char *why, size_t size);

/* An empty file without a name, of an ext2 file system on the disk. */
int ramdisk_open_ext2(char *why, size_t size);

/* When all files of it are closed. */
void ramdisk_close(void);

#endif
