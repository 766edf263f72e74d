// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "check.h"
#include "refs.h"

int refs_open(struct race *race)
{
	int fd = open("/dev/" GUPRACE_PROBE_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		race_skip(race, "no /dev/%s (%s): load guprace_probe.ko", GUPRACE_PROBE_DEVICE,
			  strerror(errno));
	return fd;
}

unsigned int refs_take(int fd, const uint64_t *pfn, unsigned int count)
{
	struct guprace_probe_ref ref = { .buf = (uintptr_t)pfn, .count = count };
	int taken = ioctl(fd, GUPRACE_PROBE_REF, &ref);

	if (taken < 0)
		broken("ioctl(GUPRACE_PROBE_REF, %u pages): %s", count, strerror(errno));
	return taken;
}

void refs_drop(int fd)
{
	if (ioctl(fd, GUPRACE_PROBE_UNREF) < 0)
		broken("ioctl(GUPRACE_PROBE_UNREF): %s", strerror(errno));
}

unsigned int refs_touch(int fd, const uint64_t *pfn, unsigned int count, unsigned int times,
			unsigned int spins)
{
	struct guprace_probe_ref ref = {
		.buf = (uintptr_t)pfn,
		.count = count,
		.times = times,
		.spins = spins,
	};
	int taken = ioctl(fd, GUPRACE_PROBE_TOUCH, &ref);

	if (taken < 0)
		broken("ioctl(GUPRACE_PROBE_TOUCH, %u pages): %s", count, strerror(errno));
	return taken;
}

uint64_t refs_block(int fd, unsigned int order, unsigned int flags)
{
	struct guprace_probe_block block = { .order = order, .flags = flags };

	if (!ioctl(fd, GUPRACE_PROBE_BLOCK, &block))
		return block.pfn;
	if (errno != ENOMEM)
		broken("ioctl(GUPRACE_PROBE_BLOCK, order %u): %s", order, strerror(errno));
	return 0;
}

void refs_free_blocks(int fd, unsigned int blocks)
{
	int freed = ioctl(fd, GUPRACE_PROBE_FREE_BLOCKS);

	if (freed != (int)blocks)
		broken("ioctl(GUPRACE_PROBE_FREE_BLOCKS): %u allocated, %d freed", blocks, freed);
}
