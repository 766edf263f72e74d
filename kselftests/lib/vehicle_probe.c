// SPDX-License-Identifier: GPL-2.0-only
/* The probe module: pin_user_pages_fast() with flags of our choice, see ../probe/. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check.h"
#include "guprace_probe.h"
#include "vehicle.h"

#define PROBE_PATH	"/dev/" GUPRACE_PROBE_DEVICE

static int probe_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times,
		     unsigned int flags)
{
	struct guprace_probe_pin pin = {
		.addr = (unsigned long)addr,
		.nr_pages = pages,
		.times = times,
		.flags = flags,
	};
	int got = ioctl(v->fd[0], GUPRACE_PROBE_PIN, &pin);

	if (got < 0)
		return -errno;
	v->held = got;
	return got;
}

static int probe_pin_rw(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	return probe_pin(v, addr, pages, times, GUPRACE_PIN_WRITE);
}

static int probe_pin_ro(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	return probe_pin(v, addr, pages, times, 0);
}

static int probe_pin_get(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	return probe_pin(v, addr, pages, times, GUPRACE_PIN_GET);
}

static int probe_pin_long(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	return probe_pin(v, addr, pages, times, GUPRACE_PIN_LONGTERM);
}

static void probe_read(struct vehicle *v, struct stamp *stamps)
{
	struct guprace_probe_io io = {
		.buf = (unsigned long)stamps,
		.count = v->held,
		.len = sizeof(*stamps),
	};

	if (ioctl(v->fd[0], GUPRACE_PROBE_READ, &io))
		broken("ioctl(GUPRACE_PROBE_READ, %u pins): %s", v->held, strerror(errno));
}

static void probe_write(struct vehicle *v, unsigned int pin, const struct stamp *stamp)
{
	struct guprace_probe_io io = {
		.buf = (unsigned long)stamp,
		.first = pin,
		.count = 1,
		.len = sizeof(*stamp),
	};

	if (ioctl(v->fd[0], GUPRACE_PROBE_WRITE, &io))
		broken("ioctl(GUPRACE_PROBE_WRITE, pin %u of %u): %s", pin, v->held, strerror(errno));
}

static uint64_t probe_pfn(struct vehicle *v, unsigned int pin)
{
	uint64_t pfn;
	struct guprace_probe_pfn req = { .buf = (unsigned long)&pfn, .first = pin, .count = 1 };

	if (ioctl(v->fd[0], GUPRACE_PROBE_PFN, &req))
		broken("ioctl(GUPRACE_PROBE_PFN, pin %u of %u): %s", pin, v->held, strerror(errno));
	return pfn;
}

static void probe_unpin(struct vehicle *v)
{
	int dropped = ioctl(v->fd[0], GUPRACE_PROBE_UNPIN);

	if (dropped != (int)v->held)
		broken("ioctl(GUPRACE_PROBE_UNPIN): %u pins held, %d dropped", v->held, dropped);
	v->unpinned += v->held;
	v->held = 0;
}

static void probe_close(struct vehicle *v)
{
	close(v->fd[0]);
}

static int probe_open(struct vehicle *v, char *why, size_t size)
{
	struct guprace_probe_info info;

	v->fd[0] = open(PROBE_PATH, O_RDWR | O_CLOEXEC);
	if (v->fd[0] < 0) {
		snprintf(why, size, "no %s (%s)%s", PROBE_PATH, strerror(errno),
			 errno == ENOENT ? ": load guprace_probe.ko" : "");
		return -1;
	}
	if (ioctl(v->fd[0], GUPRACE_PROBE_INFO, &info))
		broken("ioctl(GUPRACE_PROBE_INFO) of %s: %s", PROBE_PATH, strerror(errno));
	if (info.abi != GUPRACE_PROBE_ABI)
		broken("%s speaks ABI %u, not %u: build module and test together", PROBE_PATH,
		       info.abi, GUPRACE_PROBE_ABI);
	v->capacity = VEHICLE_PINS_MAX;
	return 0;
}

const struct vehicle_ops vehicle_probe = {
	.name = "probe",
	.description = "pin_user_pages_fast(FOLL_WRITE) by the probe module",
	.is = VEHICLE_WRITES | VEHICLE_FOLL_PIN | VEHICLE_HOLDS,
	.open = probe_open,
	.pin = probe_pin_rw,
	.read = probe_read,
	.write = probe_write,
	.pfn = probe_pfn,
	.unpin = probe_unpin,
	.close = probe_close,
};

const struct vehicle_ops vehicle_probe_ro = {
	.name = "probe_ro",
	.description = "pin_user_pages_fast(0) by the probe module",
	.is = VEHICLE_FOLL_PIN | VEHICLE_HOLDS,
	.open = probe_open,
	.pin = probe_pin_ro,
	.read = probe_read,
	.pfn = probe_pfn,
	.unpin = probe_unpin,
	.close = probe_close,
};

const struct vehicle_ops vehicle_probe_get = {
	.name = "probe_get",
	.description = "get_user_pages_fast(0) by the probe module",
	.is = VEHICLE_HOLDS,
	.open = probe_open,
	.pin = probe_pin_get,
	.read = probe_read,
	.pfn = probe_pfn,
	.unpin = probe_unpin,
	.close = probe_close,
};

const struct vehicle_ops vehicle_probe_long = {
	.name = "probe_long",
	.description = "pin_user_pages_fast(FOLL_LONGTERM) by the probe module",
	.is = VEHICLE_FOLL_PIN | VEHICLE_HOLDS | VEHICLE_LONGTERM,
	.open = probe_open,
	.pin = probe_pin_long,
	.read = probe_read,
	.pfn = probe_pfn,
	.unpin = probe_unpin,
	.close = probe_close,
};
