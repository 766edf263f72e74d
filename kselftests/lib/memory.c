// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "clock.h"
#include "memory.h"

#define PATIENCE_MS	2000
#define POLL_MS		50

int64_t memory_accounted(void)
{
	static const char * const accounts[] = {
		"MemFree:", "Buffers:", "Cached:", "SwapCached:", "AnonPages:", "Slab:",
		"KernelStack:", "PageTables:", "VmallocUsed:",
	};
	FILE *meminfo = fopen("/proc/meminfo", "re");
	int64_t sum = 0, kb;
	char line[128];

	if (!meminfo)
		broken("fopen of /proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), meminfo)) {
		for (size_t i = 0; i < sizeof(accounts) / sizeof(accounts[0]); i++) {
			size_t len = strlen(accounts[i]);

			if (!strncmp(line, accounts[i], len) &&
			    sscanf(line + len, "%" SCNd64, &kb) == 1)
				sum += kb;
		}
	}
	fclose(meminfo);
	return sum;
}

void memory_judge(struct race *race, int64_t before)
{
	const struct timespec poll = { .tv_nsec = POLL_MS * NSEC_PER_MSEC };
	uint64_t deadline = now_ns() + PATIENCE_MS * NSEC_PER_MSEC;
	int64_t lost;

	/* Counts that each CPU keeps to itself are folded by this, where we may. */
	do {
		(void)write_file("/proc/sys/vm/stat_refresh", "1\n");
		lost = before - memory_accounted();
	} while (lost > MEMORY_NOISE_KB / 4 && now_ns() < deadline && !nanosleep(&poll, NULL));
	race_count(race, "lost_kb", lost > 0 ? lost : 0);
	if (lost > MEMORY_NOISE_KB)
		race_hit(race, "lost_memory",
			 "expected at most %d kB less accounted for than before, observed %" PRId64,
			 MEMORY_NOISE_KB, lost);
}
