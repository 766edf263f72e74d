// SPDX-License-Identifier: GPL-2.0-only
/* The probe module: GUP by each of its doors and with flags of our choice, see ../probe/. */
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

static int probe_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	struct guprace_probe_pin pin = {
		.addr = (unsigned long)addr,
		.nr_pages = pages,
		.times = times,
		.flags = v->ops->arg,
	};
	int got = ioctl(v->fd[0], GUPRACE_PROBE_PIN, &pin);

	if (got < 0)
		return -errno;
	v->held = got;
	return got;
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
		broken("ioctl(GUPRACE_PROBE_WRITE, pin %u of %u): %s", pin, v->held,
		       strerror(errno));
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
	if (v->ops->arg & ~info.pin_flags) {
		snprintf(why, size, "this kernel does not export what %s calls", v->name);
		close(v->fd[0]);
		return -1;
	}
	v->capacity = VEHICLE_PINS_MAX;
	return 0;
}

#define PROBE_VEHICLE(_name, _description, _flags, _is)				\
const struct vehicle_ops vehicle_ ## _name = {						\
	.name = #_name,									\
	.description = _description " by the probe module",				\
	.is = _is,									\
	.arg = _flags,									\
	.open = probe_open,								\
	.pin = probe_pin,								\
	.read = probe_read,								\
	.write = (_flags) & GUPRACE_PIN_WRITE ? probe_write : NULL,			\
	.pfn = probe_pfn,								\
	.unpin = probe_unpin,								\
	.close = probe_close,								\
}

#define PIN	(VEHICLE_FOLL_PIN | VEHICLE_HOLDS)
#define GET	VEHICLE_HOLDS

PROBE_VEHICLE(probe, "pin_user_pages_fast(FOLL_WRITE)", GUPRACE_PIN_WRITE, PIN | VEHICLE_WRITES);
PROBE_VEHICLE(probe_ro, "pin_user_pages_fast(0)", 0, PIN);
PROBE_VEHICLE(probe_longterm, "pin_user_pages_fast(FOLL_WRITE | FOLL_LONGTERM)",
	      GUPRACE_PIN_WRITE | GUPRACE_PIN_LONGTERM, PIN | VEHICLE_WRITES | VEHICLE_LONGTERM);
PROBE_VEHICLE(probe_ro_longterm, "pin_user_pages_fast(FOLL_LONGTERM)", GUPRACE_PIN_LONGTERM,
	      PIN | VEHICLE_LONGTERM);
PROBE_VEHICLE(probe_force, "pin_user_pages_fast(FOLL_WRITE | FOLL_FORCE)",
	      GUPRACE_PIN_WRITE | GUPRACE_PIN_FORCE, PIN | VEHICLE_WRITES | VEHICLE_FORCE);
PROBE_VEHICLE(probe_ro_force, "pin_user_pages_fast(FOLL_FORCE)", GUPRACE_PIN_FORCE,
	      PIN | VEHICLE_FORCE);
PROBE_VEHICLE(probe_get, "get_user_pages_fast(0)", GUPRACE_PIN_GET, GET);
PROBE_VEHICLE(probe_get_rw, "get_user_pages_fast(FOLL_WRITE)", GUPRACE_PIN_GET | GUPRACE_PIN_WRITE,
	      GET | VEHICLE_WRITES);
PROBE_VEHICLE(fast, "get_user_pages_fast_only(FOLL_WRITE)",
	      GUPRACE_PIN_GET | GUPRACE_PIN_FAST_ONLY | GUPRACE_PIN_WRITE,
	      GET | VEHICLE_WRITES | VEHICLE_FAST);
PROBE_VEHICLE(fast_ro, "get_user_pages_fast_only(0)", GUPRACE_PIN_GET | GUPRACE_PIN_FAST_ONLY,
	      GET | VEHICLE_FAST);
PROBE_VEHICLE(slow, "pin_user_pages(FOLL_WRITE)", GUPRACE_PIN_SLOW | GUPRACE_PIN_WRITE,
	      PIN | VEHICLE_WRITES | VEHICLE_SLOW);
PROBE_VEHICLE(slow_ro, "pin_user_pages(0)", GUPRACE_PIN_SLOW, PIN | VEHICLE_SLOW);
PROBE_VEHICLE(slow_longterm, "pin_user_pages(FOLL_WRITE | FOLL_LONGTERM)",
	      GUPRACE_PIN_SLOW | GUPRACE_PIN_WRITE | GUPRACE_PIN_LONGTERM,
	      PIN | VEHICLE_WRITES | VEHICLE_LONGTERM | VEHICLE_SLOW);
PROBE_VEHICLE(slow_ro_longterm, "pin_user_pages(FOLL_LONGTERM)",
	      GUPRACE_PIN_SLOW | GUPRACE_PIN_LONGTERM, PIN | VEHICLE_LONGTERM | VEHICLE_SLOW);
PROBE_VEHICLE(slow_force, "pin_user_pages(FOLL_WRITE | FOLL_FORCE)",
	      GUPRACE_PIN_SLOW | GUPRACE_PIN_WRITE | GUPRACE_PIN_FORCE,
	      PIN | VEHICLE_WRITES | VEHICLE_FORCE | VEHICLE_SLOW);
PROBE_VEHICLE(slow_ro_force, "pin_user_pages(FOLL_FORCE)", GUPRACE_PIN_SLOW | GUPRACE_PIN_FORCE,
	      PIN | VEHICLE_FORCE | VEHICLE_SLOW);

/*
 * Page by page, the last one first, a system call each. Who goes through the pages the other way,
 * as fork does, is met by one of these calls wherever it is; those before it found their page as it
 * was, and those after it wait until that is over.
 */
static int probe_pin_back(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	unsigned int total = pages * times;
	int got = 1;

	for (unsigned int i = 0; i < total && got == 1; i++) {
		uint8_t *page = (uint8_t *)addr + (total - 1 - i) % pages * getpagesize();
		struct guprace_probe_pin pin = {
			.addr = (unsigned long)page,
			.nr_pages = 1,
			.times = 1,
			.flags = v->ops->arg,
		};

		got = ioctl(v->fd[0], GUPRACE_PROBE_PIN, &pin);
		v->held += got == 1;
	}
	if (got == 1)
		return total;
	/* What is missing is at the begin: nothing is in front of the first that failed. */
	got = got < 0 ? -errno : -EAGAIN;
	probe_unpin(v);
	return got;
}

static void probe_read_back(struct vehicle *v, struct stamp *stamps)
{
	probe_read(v, stamps);
	for (unsigned int i = 0; i < v->held / 2; i++) {
		struct stamp s = stamps[i];

		stamps[i] = stamps[v->held - 1 - i];
		stamps[v->held - 1 - i] = s;
	}
}

static void probe_write_back(struct vehicle *v, unsigned int pin, const struct stamp *stamp)
{
	probe_write(v, v->held - 1 - pin, stamp);
}

static uint64_t probe_pfn_back(struct vehicle *v, unsigned int pin)
{
	return probe_pfn(v, v->held - 1 - pin);
}

const struct vehicle_ops vehicle_probe_back = {
	.name = "probe_back",
	.description = "pin_user_pages_fast(FOLL_WRITE) of one page after the other, from the last on, "
		       "by the probe module",
	.is = PIN | VEHICLE_WRITES,
	.arg = GUPRACE_PIN_WRITE,
	.open = probe_open,
	.pin = probe_pin_back,
	.read = probe_read_back,
	.write = probe_write_back,
	.pfn = probe_pfn_back,
	.unpin = probe_unpin,
	.close = probe_close,
};
