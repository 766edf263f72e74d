// SPDX-License-Identifier: GPL-2.0-only
#include "check.h"
#include "clock.h"
#include "quiet.h"
#include "sync.h"

#define SAMPLE	64u

uint64_t quiet_ticks(struct vehicle *v, void *addr, unsigned int pages, unsigned int times,
		     bool granted)
{
	int want = pages * times;
	uint64_t ticks[SAMPLE];

	for (unsigned int i = 0; i < SAMPLE; i++) {
		uint64_t begin = now_ticks();
		int got = v->ops->pin(v, addr, pages, times);

		ticks[i] = now_ticks() - begin;
		if (granted && got != want)
			broken("%s took %d pins of %d on pages that nobody touches", v->name, got,
			       want);
		if (got > 0)
			v->ops->unpin(v);
	}
	return sync_median_of(ticks, SAMPLE).median;
}
