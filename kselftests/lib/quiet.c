// SPDX-License-Identifier: GPL-2.0-only
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "quiet.h"
#include "sync.h"

#define SAMPLE	64u
#define TRIES	16u

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

bool quiet_again(struct vehicle *v, void *addr, unsigned int pages, int got, int want,
		 unsigned int *tries)
{
	size_t page = getpagesize();

	if (got == want)
		return false;
	if (++*tries == TRIES)
		broken("%s took %d pins of %d on pages that nobody touches, and no more in %u tries",
		       v->name, got, want, TRIES);
	if (got > 0)
		v->ops->unpin(v);
	for (unsigned int i = 0; i < pages; i++)
		(void)*(volatile uint8_t *)((uint8_t *)addr + i * page);
	/* Where they may be written, and the kernel knows how (v5.14). */
	(void)madvise(addr, pages * page, MADV_POPULATE_WRITE);
	return true;
}

uint64_t quiet_ticks(struct vehicle *v, void *addr, unsigned int pages, unsigned int times,
		     bool granted)
{
	unsigned int taken = 0, tries = 0;
	int want = pages * times;
	uint64_t ticks[SAMPLE];

	while (taken < SAMPLE) {
		uint64_t begin = now_ticks();
		int got = v->ops->pin(v, addr, pages, times);

		ticks[taken] = now_ticks() - begin;
		if (granted && quiet_again(v, addr, pages, got, want, &tries))
			continue;
		if (got > 0)
			v->ops->unpin(v);
		tries = 0;
		taken++;
	}
	return sync_median_of(ticks, SAMPLE).median;
}
