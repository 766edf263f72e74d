// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "sealed.h"

#define PAGES	4u
#define ROUNDS	2u
#define PINNED	1u	/* of them is pinned, the last: each page must be asked */

static int sealable(struct race *race, size_t size)
{
	int fd = memfd_create("guprace sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		race_skip(race, "memfd_create(MFD_ALLOW_SEALING): %s", strerror(errno));
	if (ftruncate(fd, size))
		broken("ftruncate of a memfd to %zu bytes: %s", size, strerror(errno));
	return fd;
}

static bool seal(int fd)
{
	if (!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
		return true;
	if (errno != EBUSY)
		broken("fcntl(F_ADD_SEALS, F_SEAL_WRITE): %s", strerror(errno));
	return false;
}

static void seal_beside(struct race *race, struct vehicle *v)
{
	size_t page = getpagesize(), size = PAGES * page;
	int fd = sealable(race, size), got;
	uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		broken("mmap of a memfd of %zu bytes: %s", size, strerror(errno));
	memset(map, 1, size);
	got = v->ops->pin(v, map + (PAGES - PINNED) * page, PINNED, 1);
	check_munmap(map, size, "the memfd");
	if (got == PINNED) {
		race_add(race, "pins", got);
		race_add(race, "checks", 1);
		if (seal(fd))
			race_hit(race, "sealed", "%s: expected EBUSY of F_SEAL_WRITE for a page that "
				 "is pinned, observed success", v->name);
		else
			race_add(race, "refusals", 1);
	}
	v->ops->unpin(v);
	race_add(race, "seals", seal(fd));
	close(fd);
}

void sealed_race(struct race *race, const struct vehicle_ops * const *by)
{
	struct vehicle v;
	char why[160] = "";
	unsigned int rounds = 0;
	bool any;

	do {
		any = false;
		for (unsigned int i = 0; by[i]; i++) {
			if (vehicle_open(&v, by[i], why, sizeof(why)))
				continue;
			any = true;
			seal_beside(race, &v);
			v.ops->close(&v);
		}
		if (!any)
			race_skip(race, "%s", why);
	} while (++rounds < ROUNDS && race_in_time(race));
}
