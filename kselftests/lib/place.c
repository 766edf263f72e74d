// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "huge.h"
#include "mkfs.h"
#include "place.h"

#define ZONES_MAX	64
#define SECRET_PAGES	64	/* more than a CPU keeps from the LRU lists, whatever the version */
#define KERNEL_HALF	(0xfffful << 48)
#define DISK_PATH	"/dev/ram15"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

void place_stamp(struct place *p, uint64_t generation)
{
	stamp_page(p->addr, stamp_of(PLACE_MAPPING, 0, generation));
}

bool place_shows(const void *at, uint64_t generation)
{
	struct stamp s = stamp_load(at);

	return stamp_valid(&s) && s.mapping == PLACE_MAPPING && s.generation == generation;
}

bool place_writable(struct place *p)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	bool written;

	if (zero < 0)
		broken("open of /dev/zero: %s", strerror(errno));
	written = read(zero, p->addr, 1) == 1;
	if (!written && errno != EFAULT)
		broken("read of /dev/zero to the place: %s", strerror(errno));
	close(zero);
	return written;
}

void place_open(struct place *p)
{
	if (mprotect(p->base, p->size, PROT_READ))
		broken("mprotect(PROT_READ) of the place: %s", strerror(errno));
}

void place_protect(struct place *p, void *addr, size_t size, int prot)
{
	if (mprotect(addr, size, prot))
		broken("mprotect(%p, %zu, %d) of the place, page %p: %s", addr, size, prot, p->addr,
		       strerror(errno));
}

/* Three pages in one page table; or one in the last entry of a table, and two in the next. */
static uint8_t *reserve_three(size_t page, bool across)
{
	size_t align = across ? page * (page / sizeof(uint64_t)) : 4 * page;	/* what a table of PTEs maps */
	uint8_t *aligned = huge_reserve(across ? align + 2 * page : 3 * page, align, "the place");
	uint8_t *left = aligned + align - page;

	if (!across)
		return aligned;
	/* Of the first table all but the last two entries. */
	check_munmap(aligned - page, left - aligned, "what is before the place");
	return left;
}

/* Between two ordinary pages. */
void place_init(struct place *p, struct race *race)
{
	static unsigned int places;
	size_t page = getpagesize();
	uint8_t *left;

	*p = (struct place){ .race = race, .page = page, .size = page, .fd = -1, .probe = -1,
			     .key = -1 };
	left = reserve_three(page, places++ % 2);
	p->base = left + page;
	p->addr = p->base;
	huge_map(left, 3 * page, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, "the place");
	name_mapping(left, 3 * page, "guprace place");
	stamp_page(left, stamp_of(PLACE_MAPPING, PLACE_BEFORE, 0));
	stamp_page(left + 2 * page, stamp_of(PLACE_MAPPING, PLACE_BEHIND, 0));
}

static int disk = -1;		/* the place's, while there is one on it */

static void wipe_disk(void)
{
	if (disk >= 0)
		(void)mkfs_wipe(disk);
}

static void leave_disk(void)
{
	mkfs_blank_again(disk, DISK_PATH);
	disk = -1;
}

void place_release(struct place *p)
{
	place_child_kept(p);
	if (p->alone)
		huge_release(p->base, p->size, "the place");
	else
		huge_release(p->base - p->page, 3 * p->page, "the place");
	if (p->other)
		check_munmap(p->other, p->page, "the other view");
	/* Not before the munmap: the next who gets the key would have this memory under it. */
	if (p->key >= 0)
		pkey_free(p->key);
	if (p->fd >= 0 && p->fd == disk)
		leave_disk();
	if (p->fd >= 0)
		close(p->fd);
	if (p->probe >= 0)
		close(p->probe);
}

bool place_map(struct place *p, int prot, int flags, int fd, off_t offset)
{
	return mmap(p->base, p->size, prot, flags | MAP_FIXED, fd, offset) != MAP_FAILED;
}

bool place_anon(struct place *p)
{
	place_stamp(p, 1);
	return true;
}

bool place_anon_none(struct place *p)
{
	place_stamp(p, 1);
	place_protect(p, p->base, p->size, PROT_NONE);
	return true;
}

bool place_anon_read(struct place *p)
{
	place_stamp(p, 1);
	place_protect(p, p->base, p->size, PROT_READ);
	return true;
}

bool place_untouched(struct place *p)
{
	return place_map(p, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

bool place_zero(struct place *p)
{
	return place_untouched(p) && !*(volatile uint8_t *)p->addr;
}

/* Nobody maps anything meanwhile, so that nothing comes there. */
bool place_hole(struct place *p)
{
	check_munmap(p->base, p->size, "the place");
	return true;
}

/* A child that shares the page until we close the pipe; then it says what it sees. */
bool place_share(struct place *p)
{
	int fds[2];
	char byte;

	if (pipe2(fds, O_CLOEXEC))
		broken("pipe2: %s", strerror(errno));
	p->child = fork();
	if (p->child < 0)
		broken("fork: %s", strerror(errno));
	if (!p->child) {
		close(fds[1]);
		(void)!read(fds[0], &byte, 1);
		_exit(!place_shows(p->addr, 1));
	}
	close(fds[0]);
	p->release = fds[1];
	return true;
}

bool place_child_kept(struct place *p)
{
	int status;

	if (!p->child)
		return true;
	close(p->release);
	if (waitpid(p->child, &status, 0) != p->child)
		broken("waitpid for the child that shares the place: %s", strerror(errno));
	p->child = 0;
	/* A child of hugetlb loses its page when the pool has none for us, and dies when it looks. */
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGBUS)
		broken("the child that shares the place: signal %d", WTERMSIG(status));
	return WIFSIGNALED(status) || !WEXITSTATUS(status);
}

bool place_child(struct place *p)
{
	place_stamp(p, 1);
	return place_share(p);
}

bool place_child_read(struct place *p)
{
	place_child(p);
	place_protect(p, p->base, p->size, PROT_READ);
	return true;
}

bool place_child_gone(struct place *p)
{
	place_child(p);
	place_child_kept(p);
	return true;
}

/* A file of memory, stamped through the other view of it. */
static bool shm(struct place *p, int prot, int flags)
{
	p->fd = memfd_create("guprace place", MFD_CLOEXEC);
	if (p->fd < 0 || ftruncate(p->fd, p->page))
		broken("memfd of a page: %s", strerror(errno));
	p->other = mmap(NULL, p->page, PLACE_RW, MAP_SHARED, p->fd, 0);
	if (p->other == MAP_FAILED)
		broken("mmap of a memfd: %s", strerror(errno));
	stamp_page(p->other, stamp_of(PLACE_MAPPING, 0, 1));
	return place_map(p, prot, flags | MAP_POPULATE, p->fd, 0);
}

bool place_shm(struct place *p)
{
	return shm(p, PLACE_RW, MAP_SHARED);
}

bool place_shm_read(struct place *p)
{
	return shm(p, PROT_READ, MAP_SHARED);
}

/* Read, not populated: that would write, and make the copy that the test is to see made. */
static bool shm_private(struct place *p, int prot)
{
	return shm(p, PROT_READ, MAP_SHARED) && place_map(p, prot, MAP_PRIVATE, p->fd, 0) &&
	       place_shows(p->addr, 1);
}

bool place_shm_private(struct place *p)
{
	return shm_private(p, PLACE_RW);
}

bool place_shm_private_read(struct place *p)
{
	return shm_private(p, PROT_READ);
}

/* A RAM disk that nobody else has: file pages that must be written back, without a file system. */
bool place_disk(struct place *p)
{
	static bool registered;

	p->fd = open(DISK_PATH, O_RDWR | O_EXCL | O_CLOEXEC);
	if (p->fd < 0 || !mkfs_blank(p->fd) || !place_map(p, PLACE_RW, MAP_SHARED, p->fd, 0))
		return false;
	if (!registered)
		broken_cleanup(wipe_disk);
	registered = true;
	disk = p->fd;
	place_stamp(p, 1);
	return true;
}

/* The kernel's own clock data, mapped where all processes have it: not where the place was. */
bool place_vvar(struct place *p)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from = 0;
	char line[256];
	int sink[2];
	bool there;

	if (!maps)
		broken("fopen of /proc/self/maps: %s", strerror(errno));
	while (fgets(line, sizeof(line), maps)) {
		if (strstr(line, "[vvar]"))
			from = strtoul(line, NULL, 16);
	}
	fclose(maps);
	if (!from || pipe2(sink, O_CLOEXEC))
		return false;
	/* Touched by the kernel's copy: where nothing is, that is an error and no signal. */
	there = write(sink[1], (void *)from, 1) == 1;
	close(sink[0]);
	close(sink[1]);
	p->addr = (uint8_t *)from;
	return there;
}

/*
 * Page tables know an address by its lower bits. The upper ones are what tells that it is not the
 * process' own, whatever its tables have there.
 */
bool place_kernel(struct place *p)
{
	place_stamp(p, 1);
	p->nowhere = true;
	p->addr = (uint8_t *)((uintptr_t)p->addr | KERNEL_HALF);
	return true;
}

/* The last page touched waits to come to an LRU list, the first is on it. */
static bool secret(struct place *p, unsigned int which)
{
	size_t size = SECRET_PAGES * p->page;

	p->fd = syscall(SYS_memfd_secret, O_CLOEXEC);
	if (p->fd < 0 || ftruncate(p->fd, size))
		return false;
	huge_release(p->base - p->page, 3 * p->page, "the place");
	p->base = huge_reserve(size, p->page, "the secret");
	p->size = size;
	p->alone = true;
	p->addr = p->base + which * p->page;
	if (!place_map(p, PLACE_RW, MAP_SHARED, p->fd, 0))
		return false;
	for (unsigned int i = 0; i < SECRET_PAGES; i++)
		stamp_page(p->base + i * p->page, stamp_of(PLACE_MAPPING, i, 0));
	place_stamp(p, 1);
	return true;
}

bool place_secret(struct place *p)
{
	return secret(p, SECRET_PAGES - 1);
}

bool place_secret_settled(struct place *p)
{
	return secret(p, 0);
}

struct zone {
	uint64_t start, spanned;	/* page frames */
	bool movable;
};

static struct zone movable_zone[ZONES_MAX];

static int read_zones(struct zone *zone, int most)
{
	FILE *zoneinfo = fopen("/proc/zoneinfo", "re");
	struct zone next = { };
	char line[256], name[32];
	int zones = 0;

	while (zoneinfo && zones < most && fgets(line, sizeof(line), zoneinfo)) {
		if (sscanf(line, "Node %*d, zone %31s", name) == 1)
			next = (struct zone){ .movable = !strcmp(name, "Movable") };
		sscanf(line, " spanned %" SCNu64, &next.spanned);
		if (sscanf(line, " start_pfn: %" SCNu64, &next.start) == 1 && next.spanned)
			zone[zones++] = next;
	}
	if (zoneinfo)
		fclose(zoneinfo);
	return zones;
}

static bool overlap(const struct zone *a, const struct zone *b)
{
	return a->start < b->start + b->spanned && b->start < a->start + a->spanned;
}

/*
 * Returns how many there are. Zones do not move: read once. Where memory was plugged in, a movable zone
 * may span blocks of another one: such a zone does not tell whose a page is, and is left out.
 */
static int movable_zones(void)
{
	static int zones = -1;
	struct zone all[ZONES_MAX];
	int count;

	if (zones >= 0)
		return zones;
	zones = 0;
	count = read_zones(all, ZONES_MAX);
	for (int i = 0; i < count; i++) {
		bool alone = all[i].movable;

		for (int j = 0; j < count; j++)
			alone = alone && (i == j || !overlap(&all[i], &all[j]));
		if (alone)
			movable_zone[zones++] = all[i];
	}
	return zones;
}

bool place_movable_exists(void)
{
	return movable_zones() > 0;
}

bool place_movable(uint64_t pfn)
{
	for (int i = 0; i < movable_zones(); i++) {
		if (pfn >= movable_zone[i].start &&
		    pfn - movable_zone[i].start < movable_zone[i].spanned)
			return true;
	}
	return false;
}
