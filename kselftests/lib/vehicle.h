/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Vehicles: what takes a pin through GUP-fast. A scenario pins, reads and drops through this
 * interface and does not know which it drives.
 */
#ifndef GUPRACE_VEHICLE_H
#define GUPRACE_VEHICLE_H

#include <stdbool.h>
#include <stddef.h>

#include "stamp.h"

#define VEHICLE_PINS_MAX	16	/* pins held at once; a pipe's default capacity */

struct vehicle {
	const char *name;
	const struct vehicle_ops *ops;
	unsigned int held;		/* pins */
	unsigned int capacity;		/* pins that fit, at most VEHICLE_PINS_MAX */
	int fd[2];
};

struct vehicle_ops {
	const char *name;
	/* 0, or -1 with the reason why this vehicle does not run here. */
	int (*open)(struct vehicle *v, char *why, size_t size);
	/*
	 * The window: pin the page at @addr @times times in one system call. Returns the pins
	 * taken; when none was, -errno.
	 */
	int (*pin)(struct vehicle *v, void *addr, unsigned int times);
	/* Read the stamps through the pins held; some vehicles drop them by it. */
	void (*read)(struct vehicle *v, struct stamp *stamps);
	void (*unpin)(struct vehicle *v);
	void (*close)(struct vehicle *v);
};

extern const struct vehicle_ops vehicle_vmsplice;	/* FOLL_GET */
extern const struct vehicle_ops vehicle_probe;		/* FOLL_PIN | FOLL_WRITE */
extern const struct vehicle_ops vehicle_probe_ro;	/* FOLL_PIN */

static inline int vehicle_open(struct vehicle *v, const struct vehicle_ops *ops, char *why,
			       size_t size)
{
	*v = (struct vehicle){ .name = ops->name, .ops = ops, .fd = { -1, -1 } };
	return ops->open(v, why, size);
}

#endif
