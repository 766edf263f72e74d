/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * guprace_probe: the ioctls of /dev/guprace_probe.
 *
 * An open file holds a table of GUPRACE_PROBE_SLOTS pins; PIN fills slots from the first free one
 * on, UNPIN and close empty the table. Reserved fields must be zero, unknown flags are refused.
 */
#ifndef GUPRACE_PROBE_H
#define GUPRACE_PROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GUPRACE_PROBE_DEVICE	"guprace_probe"
#define GUPRACE_PROBE_ABI	1
#define GUPRACE_PROBE_SLOTS	1024
#define GUPRACE_PROBE_IO_MAX	4096	/* bytes of each page that one READ or WRITE moves */

/* Portable flags: the raw FOLL_* values differ between kernels, the module translates. */
#define GUPRACE_PIN_WRITE	(1u << 0)	/* FOLL_WRITE */
#define GUPRACE_PIN_FORCE	(1u << 1)	/* FOLL_FORCE */
#define GUPRACE_PIN_LONGTERM	(1u << 2)	/* FOLL_LONGTERM */
#define GUPRACE_PIN_GET		(1u << 3)	/* FOLL_GET in place of FOLL_PIN; not with LONGTERM */
#define GUPRACE_PIN_FLAGS	(GUPRACE_PIN_WRITE | GUPRACE_PIN_FORCE | GUPRACE_PIN_LONGTERM | \
				 GUPRACE_PIN_GET)

struct guprace_probe_info {
	__u32 abi;		/* out: GUPRACE_PROBE_ABI */
	__u32 slots;		/* out: size of the table */
	__u32 used;		/* out: slots in use */
	__u32 reserved;
};

/*
 * Calls pin_user_pages_fast(addr, nr_pages), or get_user_pages_fast(), @times times, back to back.
 * Stops at the first call that pins less than asked for. Returns the number of slots filled, or,
 * when that is none, the error of the call.
 */
struct guprace_probe_pin {
	__u64 addr;		/* page aligned */
	__u32 nr_pages;
	__u32 times;
	__u32 flags;		/* GUPRACE_PIN_* */
	__u32 reserved;
};

/* Moves @len bytes at @offset of each of @count pinned pages, to or from @buf, side by side. */
struct guprace_probe_io {
	__u64 buf;		/* count * len bytes */
	__u32 first;		/* slot */
	__u32 count;
	__u32 offset;
	__u32 len;		/* offset + len <= 4096 */
};

/* Reports the page frame numbers behind @count slots. */
struct guprace_probe_pfn {
	__u64 buf;		/* count * __u64 */
	__u32 first;
	__u32 count;
};

#define GUPRACE_PROBE_MAGIC	'G'
#define GUPRACE_PROBE_INFO	_IOR(GUPRACE_PROBE_MAGIC, 0, struct guprace_probe_info)
#define GUPRACE_PROBE_PIN	_IOW(GUPRACE_PROBE_MAGIC, 1, struct guprace_probe_pin)
#define GUPRACE_PROBE_READ	_IOW(GUPRACE_PROBE_MAGIC, 2, struct guprace_probe_io)
/* Refused (EPERM) unless the slot was pinned with GUPRACE_PIN_WRITE. */
#define GUPRACE_PROBE_WRITE	_IOW(GUPRACE_PROBE_MAGIC, 3, struct guprace_probe_io)
#define GUPRACE_PROBE_PFN	_IOW(GUPRACE_PROBE_MAGIC, 4, struct guprace_probe_pfn)
/* Empties the table, page by page; returns how many pages were unpinned. */
#define GUPRACE_PROBE_UNPIN	_IO(GUPRACE_PROBE_MAGIC, 5)

#endif /* GUPRACE_PROBE_H */
