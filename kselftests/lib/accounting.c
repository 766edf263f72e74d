// SPDX-License-Identifier: GPL-2.0-only
#include <time.h>

#include "accounting.h"
#include "clock.h"
#include "vmstat.h"

#define PATIENCE_MS	3000
#define POLL_MS		20

bool accounting_read(int64_t *held)
{
	struct vmstat vmstat;
	uint64_t acquired, released;

	vmstat_read(&vmstat);
	if (!vmstat_get(&vmstat, "nr_foll_pin_acquired", &acquired) ||
	    !vmstat_get(&vmstat, "nr_foll_pin_released", &released))
		return false;
	*held = (int64_t)(acquired - released);
	return true;
}

bool accounting_settles(int64_t before, int64_t *now)
{
	const struct timespec poll = { .tv_nsec = POLL_MS * NSEC_PER_MSEC };
	uint64_t deadline = now_ns() + PATIENCE_MS * NSEC_PER_MSEC;

	for (;;) {
		if (!accounting_read(now) || *now == before)
			return true;
		if (now_ns() > deadline)
			return false;
		nanosleep(&poll, NULL);
	}
}
