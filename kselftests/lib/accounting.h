/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pin accounting: when nobody holds a pin, as many were released as acquired (nr_foll_pin_acquired
 * and nr_foll_pin_released of /proc/vmstat, commit 1970dc6f5226, "mm/gup: /proc/vmstat:
 * pin_user_pages (FOLL_PIN) reporting", v5.7). The rest of the system pins too, so it is the
 * difference of the two that may not change.
 */
#ifndef GUPRACE_ACCOUNTING_H
#define GUPRACE_ACCOUNTING_H

#include <stdbool.h>
#include <stdint.h>

/* Pins acquired and not released, all over the system; false where the kernel does not count. */
bool accounting_read(int64_t *held);

/*
 * Wait until no more pins are held than at the begin: some are dropped by deferred work (io_uring's
 * buffers). True when balanced, with how many are held now.
 */
bool accounting_settles(int64_t before, int64_t *now);

#endif
