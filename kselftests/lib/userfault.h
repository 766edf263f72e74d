/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * userfaultfd: opened with one feature, told which range it is for; and UFFDIO_MOVE, which headers
 * older than v6.8 do not have. What a window holds (UFFDIO_MOVE, UFFDIO_WRITEPROTECT, ...) is the
 * scenario's own ioctl().
 */
#ifndef GUPRACE_USERFAULT_H
#define GUPRACE_USERFAULT_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "scenario.h"

#define USERFAULT_FEATURE_MOVE		(1ull << 16)	/* UFFD_FEATURE_MOVE */
#define USERFAULT_ALLOW_SRC_HOLES	(1ull << 1)	/* UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES */

/* struct uffdio_move, of UFFDIO_MOVE. */
struct userfault_move {
	uint64_t dst;
	uint64_t src;
	uint64_t len;
	uint64_t mode;
	int64_t move;
};
#define USERFAULT_MOVE	_IOWR(UFFDIO, 0x05, struct userfault_move)

/* The descriptor, not blocking; a skip where there is none with `feature`, in words `what`. */
int userfault_open(struct race *race, uint64_t feature, const char *what);

/* From here on it is told of a range's faults of this mode, UFFDIO_REGISTER_MODE_...; 0 or errno. */
int userfault_register(int fd, void *addr, size_t size, uint64_t mode);

/* Protect a range against writes, or no longer (UFFDIO_WRITEPROTECT, which wakes who waits); 0 or errno. */
int userfault_protect(int fd, void *addr, size_t size, bool against);

/* The page of the next fault, for a responder: NULL where none comes for a while. */
void *userfault_next(int fd);

/* Whoever waits for this page tries again. */
void userfault_wake(int fd, void *page);

/*
 * A responder for write-protection (`fd`: where the descriptor is). A fault that came upon the
 * protection sleeps until it is woken. The removal wakes it, but one that goes to sleep just after
 * that stays asleep: the PTE is still not writable, which is all that userfaultfd_must_wait() looks
 * at. So whoever reported a fault is woken to try again. Ends with responder_stop().
 */
struct responder *userfault_waker(struct race *race, int *fd);

#endif
