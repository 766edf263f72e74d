/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Vehicles: what takes a pin through GUP-fast. A scenario pins, reads and drops through this
 * interface and does not know which it drives.
 */
#ifndef GUPRACE_VEHICLE_H
#define GUPRACE_VEHICLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "stamp.h"

#define VEHICLE_PINS_MAX	512	/* pins held at once: a page table of them */

struct vehicle {
	const char *name;
	const struct vehicle_ops *ops;
	unsigned int held;		/* pins */
	uint64_t unpinned;		/* pins dropped so far */
	unsigned int capacity;		/* pins that fit, at most VEHICLE_PINS_MAX */
	int fd[2];
	size_t page;			/* bytes */
	unsigned int segment_pages;	/* of one walk of the last call */
	ssize_t bytes;			/* in the pipe */
	void *state;			/* the vehicle's own, freed by its close */
};

/* What a vehicle's pins are; a scenario asks for what its oracle needs. */
#define VEHICLE_WRITES		(1u << 0)	/* taken for writing (FOLL_WRITE) */
#define VEHICLE_FOLL_PIN	(1u << 1)	/* FOLL_PIN on every kernel, not FOLL_GET */
#define VEHICLE_HOLDS		(1u << 2)	/* until unpin, however long that is */
#define VEHICLE_LONGTERM	(1u << 3)	/* FOLL_LONGTERM */
#define VEHICLE_SLOW		(1u << 4)	/* never by GUP-fast: a negative control */
#define VEHICLE_READ_DROPS	(1u << 5)	/* read() gives the pins back */
#define VEHICLE_FAST		(1u << 6)	/* by GUP-fast alone: -EAGAIN where it must not */
/* pin() itself writes through the pins what write() has set down before for pin 0, 1, ... */
#define VEHICLE_FILLS		(1u << 7)
/* Stands for whoever pins and tells nothing: no read(), no write(), gone when pin() returns. */
#define VEHICLE_BLIND		(1u << 8)
#define VEHICLE_FORCE		(1u << 9)	/* FOLL_FORCE */
#define VEHICLE_READ_PINS	(1u << 10)	/* read() pins memory of its own, and gives it back */

struct vehicle_ops {
	const char *name;
	const char *description;	/* one line: entry point and flags */
	unsigned int is;		/* VEHICLE_* */
	unsigned long arg;		/* the vehicle's own business */
	/* 0, or -1 with the reason why this vehicle does not run here. */
	int (*open)(struct vehicle *v, char *why, size_t size);
	/*
	 * The window: pin @pages pages from @addr on by one walk, @times times over in one system
	 * call; pages * times is at most the capacity. Returns the pins taken, in order, with
	 * nothing behind the first that failed; when none was, -errno.
	 */
	int (*pin)(struct vehicle *v, void *addr, unsigned int pages, unsigned int times);
	/* Read a stamp through each pin held; some vehicles drop them by it. NULL: cannot. */
	void (*read)(struct vehicle *v, struct stamp *stamps);
	/* Write a stamp through one pin held. NULL: cannot. */
	void (*write)(struct vehicle *v, unsigned int pin, const struct stamp *stamp);
	/* The page frame behind one pin held. NULL: cannot tell. */
	uint64_t (*pfn)(struct vehicle *v, unsigned int pin);
	void (*unpin)(struct vehicle *v);
	void (*close)(struct vehicle *v);
};

extern const struct vehicle_ops vehicle_vmsplice;	/* FOLL_GET */

/* The probe module's. FOLL_PIN by pin_user_pages_fast(), for writing unless `ro`; */
extern const struct vehicle_ops vehicle_probe;
extern const struct vehicle_ops vehicle_probe_ro;
extern const struct vehicle_ops vehicle_probe_back;	/* page by page, the last one first */
extern const struct vehicle_ops vehicle_probe_longterm;
extern const struct vehicle_ops vehicle_probe_ro_longterm;
extern const struct vehicle_ops vehicle_probe_force;
extern const struct vehicle_ops vehicle_probe_ro_force;
/* FOLL_GET by get_user_pages_fast(), for reading unless `rw`; */
extern const struct vehicle_ops vehicle_probe_get;
extern const struct vehicle_ops vehicle_probe_get_rw;
/* by the fast walk alone; */
extern const struct vehicle_ops vehicle_fast;
extern const struct vehicle_ops vehicle_fast_ro;
/* and under mmap_lock. */
extern const struct vehicle_ops vehicle_slow;
extern const struct vehicle_ops vehicle_slow_ro;
extern const struct vehicle_ops vehicle_slow_longterm;
extern const struct vehicle_ops vehicle_slow_ro_longterm;
extern const struct vehicle_ops vehicle_slow_force;
extern const struct vehicle_ops vehicle_slow_ro_force;

extern const struct vehicle_ops vehicle_direct;		/* O_DIRECT write from the target */
extern const struct vehicle_ops vehicle_direct_in;	/* O_DIRECT read into it: FILLS */
extern const struct vehicle_ops vehicle_uring;		/* fixed buffers: FOLL_PIN, long term */
extern const struct vehicle_ops vehicle_gup_test;	/* FOLL_PIN, given back at once: BLIND */

/*
 * Whether a R/O FOLL_LONGTERM of what a write would copy is of that copy already (84209e87c696,
 * "mm/gup: reliable R/O long-term pinning in COW mappings", v6.2). A pin cannot be asked, that is what
 * may be broken: gup_test can read long-term pins back since the same version. False where it is not
 * there to be asked.
 */
bool vehicle_longterm_copies(void);

static inline int vehicle_open(struct vehicle *v, const struct vehicle_ops *ops, char *why,
			       size_t size)
{
	*v = (struct vehicle){ .name = ops->name, .ops = ops, .fd = { -1, -1 } };
	return ops->open(v, why, size);
}

#endif
