/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file system whose files are mapped directly (DAX): the pages are a device's, not the page cache's.
 * The device is persistent memory that the probe module makes of RAM which the kernel was told to leave
 * alone (mem=), and is there from pmem_open() to pmem_close(). One at a time.
 */
#ifndef GUPRACE_PMEM_H
#define GUPRACE_PMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False with the reason where there can be none. */
bool pmem_open(char *why, size_t size);

/* An empty file without a name, or -1 with the reason. */
int pmem_file(char *why, size_t size);

/* Hold the pages of the device that has this frame, until pmem_close(). False with the reason. */
bool pmem_hold(uint64_t pfn, char *why, size_t size);

/*
 * Take the device away, whoever has files on it open and mapped. Its pages stay where they are held: to
 * unmap one that is gone is more than kernels can do (6.12 with PAGE_TABLE_CHECK). False: it waits.
 */
bool pmem_unplug(void);

/*
 * When all files are closed and unmapped. False: the device does not go away, for ten seconds, so
 * somebody still has a reference on it or on one of its pages.
 */
bool pmem_close(void);

#endif
