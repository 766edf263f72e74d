// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "ktap.h"
#include "memory.h"

#define PATIENCE_MS	2000
#define POLL_MS		50
#define QUICK_MS	500
#define ORPHANS_QUIET	16	/* more of them before the race: others are at work here */
#define SMALL_BYTES	(4ull << 30)
#define GUEST_DIR	"/guprace"	/* guprace's guests have it, of any size: images/guest.yaml */
#define MOVING_KB	1024	/* between CPUs and zones, during a look: many batches of the kernel's */
#define LOOKS_MAX	20
#define CHUNK		4096	/* pages looked at by one read */

#ifndef MPOL_MF_MOVE
#define MPOL_MF_MOVE	(1 << 1)
#endif

/* Of /proc/kpageflags, Documentation/admin-guide/mm/pagemap.rst. */
#define KPF_LRU			(1ull << 5)
#define KPF_ANON		(1ull << 12)
#define KPF_SWAPCACHE		(1ull << 13)
#define KPF_COMPOUND_HEAD	(1ull << 15)
#define KPF_COMPOUND_TAIL	(1ull << 16)
#define KPF_LOOKED_AT		(KPF_LRU | KPF_ANON | KPF_SWAPCACHE | KPF_COMPOUND_HEAD |	\
				 KPF_COMPOUND_TAIL)

/* The accounts of /proc/meminfo, and last what is free, but kept by a CPU for itself. */
static const char * const accounts[MEMORY_ACCOUNTS] = {
	"MemFree:", "Buffers:", "Cached:", "SwapCached:", "AnonPages:", "Slab:", "KernelStack:",
	"PageTables:", "VmallocUsed:", "Percpu:", "Hugetlb:", "kept by CPUs:",
};

#define KEPT_BY_CPUS	(MEMORY_ACCOUNTS - 1)

/* Free pages that each CPU keeps to itself, huge ones too: tens of megabytes. */
static int64_t kept_by_cpus(void)
{
	FILE *zoneinfo = fopen("/proc/zoneinfo", "re");
	int64_t pages = 0, count;
	char line[128];

	if (!zoneinfo)
		broken("fopen of /proc/zoneinfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), zoneinfo)) {
		if (sscanf(line, " count: %" SCNd64, &count) == 1)
			pages += count;
	}
	fclose(zoneinfo);
	return pages * (getpagesize() / 1024);
}

static void read_meminfo(int64_t kb[MEMORY_ACCOUNTS])
{
	FILE *meminfo = fopen("/proc/meminfo", "re");
	char line[128];

	memset(kb, 0, MEMORY_ACCOUNTS * sizeof(*kb));
	if (!meminfo)
		broken("fopen of /proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), meminfo)) {
		for (size_t i = 0; i < KEPT_BY_CPUS; i++) {
			size_t len = strlen(accounts[i]);

			if (!strncmp(line, accounts[i], len))
				(void)sscanf(line + len, "%" SCNd64, &kb[i]);
		}
	}
	fclose(meminfo);
}

/*
 * kcompactd and reclaim empty a zone's lists of all CPUs at once, and do so after the race that woke
 * them: 27 MB have been seen to go between our looks at the two files, and were counted twice. So
 * both ends of a look must agree, and where they never do the lesser counts: no loss is made up.
 */
static void read_accounts(int64_t kb[MEMORY_ACCOUNTS])
{
	int64_t first, last;
	int looks = 0;

	do {
		first = kept_by_cpus();
		read_meminfo(kb);
		last = kept_by_cpus();
	} while (llabs(first - last) > MOVING_KB && ++looks < LOOKS_MAX);
	kb[KEPT_BY_CPUS] = first < last ? first : last;
}

static int64_t sum(const int64_t kb[MEMORY_ACCOUNTS])
{
	int64_t all = 0;

	for (size_t i = 0; i < MEMORY_ACCOUNTS; i++)
		all += kb[i];
	return all;
}

int64_t memory_accounted(void)
{
	int64_t kb[MEMORY_ACCOUNTS];

	read_accounts(kb);
	return sum(kb);
}

/* Where it is gone from: who looks into a loss asks that first. */
static void tell_accounts(const struct race *race, const struct memory *before,
			  const struct memory *after)
{
	for (size_t i = 0; i < MEMORY_ACCOUNTS; i++) {
		if (before->kb[i] != after->kb[i])
			ktap_diag("%s: %s %" PRId64 " kB before, %" PRId64 " kB after",
				  race->subtest->name, accounts[i], before->kb[i], after->kb[i]);
	}
}

/* Parts of a huge page may be unmapped one by one, and are no orphans: small pages only. */
static bool is_candidate(uint64_t flags)
{
	return (flags & KPF_LOOKED_AT) == (KPF_LRU | KPF_ANON);
}

static int64_t orphans_among(const uint64_t *flags, size_t pages, int count_fd, off_t at)
{
	static uint64_t mapped[CHUNK];
	ssize_t size = pages * sizeof(*mapped);
	int64_t orphans = 0;
	size_t i = 0;

	while (i < pages && !is_candidate(flags[i]))
		i++;
	/* Most of a guest's memory is free: who maps what is asked where there is something to ask. */
	if (i == pages)
		return 0;
	if (pread(count_fd, mapped, size, at) != size)
		return -1;
	for (; i < pages; i++)
		orphans += !mapped[i] && is_candidate(flags[i]);
	return orphans;
}

/* -1 if it is not told, or not over by then. */
static int64_t count_orphans(int flags_fd, int count_fd, uint64_t deadline_ns)
{
	static uint64_t flags[CHUNK];
	int64_t orphans = 0, some;
	off_t at = 0;
	ssize_t got;

	while ((got = read(flags_fd, flags, sizeof(flags))) > 0) {
		some = orphans_among(flags, got / sizeof(flags[0]), count_fd, at);
		if (some < 0 || now_ns() > deadline_ns)
			return -1;
		orphans += some;
		at += got;
	}
	return orphans;
}

static int64_t orphans(uint64_t deadline_ns)
{
	int flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	int count_fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	int64_t count = -1;

	if (flags_fd >= 0 && count_fd >= 0)
		count = count_orphans(flags_fd, count_fd, deadline_ns);
	if (flags_fd >= 0)
		close(flags_fd);
	if (count_fd >= 0)
		close(count_fd);
	return count;
}

/*
 * Pages on their way to an LRU list have a reference for it; move_pages() first sends them there. False
 * where it does not (no CONFIG_NUMA, a seccomp filter): what is unmapped by then looks like an orphan.
 */
static bool drain_lru(void)
{
	static _Alignas(4096) char page[4096];
	void *addr = page;
	int node = 0, status;

	page[0] = 1;
	return syscall(SYS_move_pages, 0, 1ul, &addr, &node, &status, MPOL_MF_MOVE) >= 0;
}

bool memory_is_small(void)
{
	uint64_t pages = sysconf(_SC_PHYS_PAGES);

	return pages <= SMALL_BYTES / getpagesize();
}

bool memory_is_ours(const struct race *race, const char *what)
{
	if (memory_is_small() || !access(GUEST_DIR, F_OK))
		return true;
	ktap_diag("%s: %s not judged: this machine has more than %llu MiB, and others at work",
		  race->subtest->name, what, SMALL_BYTES >> 20);
	return false;
}

void memory_read(struct memory *memory, enum memory_detail detail)
{
	/* Where we may: what each CPU counts by itself is folded. */
	(void)write_file("/proc/sys/vm/stat_refresh", "1\n");
	read_accounts(memory->kb);
	memory->accounted_kb = sum(memory->kb);
	memory->orphans = -1;
	if (detail == MEMORY_PAGES && drain_lru())
		memory->orphans = orphans(UINT64_MAX);
}

void memory_read_quickly(struct memory *memory)
{
	static bool slow;

	memory_read(memory, MEMORY_BULK);
	if (slow)
		return;
	if (drain_lru())
		memory->orphans = orphans(now_ns() + QUICK_MS * NSEC_PER_MSEC);
	slow = memory->orphans < 0;
	if (slow)
		ktap_diag("orphans not looked for: no look, or none within %d ms, is to be had here",
			  QUICK_MS);
}

void memory_judge(struct race *race, const struct memory *before)
{
	const struct timespec poll = { .tv_nsec = POLL_MS * NSEC_PER_MSEC };
	uint64_t deadline = now_ns() + PATIENCE_MS * NSEC_PER_MSEC;
	struct memory after;
	int64_t lost;

	do {
		memory_read(&after, before->orphans < 0 ? MEMORY_BULK : MEMORY_PAGES);
		lost = before->accounted_kb - after.accounted_kb;
	} while ((lost > memory_noise_kb() || after.orphans > before->orphans) &&
		 now_ns() < deadline && !nanosleep(&poll, NULL));

	race_count(race, "lost_kb", lost > 0 ? lost : 0);
	if (lost > memory_noise_kb()) {
		race_hit(race, "lost_memory",
			 "expected at most %" PRId64 " kB less accounted for than before, observed %" PRId64,
			 memory_noise_kb(), lost);
		tell_accounts(race, before, &after);
	}
	if (before->orphans < 0 || after.orphans < 0)
		return;
	race_count(race, "orphans", after.orphans);
	if (before->orphans > ORPHANS_QUIET)
		ktap_diag("%s: orphans not judged: %" PRId64 " of them before, this machine is busy",
			  race->subtest->name, before->orphans);
	else if (after.orphans > before->orphans)
		race_hit(race, "orphans",
			 "expected %" PRId64 " anonymous pages on the LRU that nobody maps, as "
			 "before, observed %" PRId64, before->orphans, after.orphans);
}
