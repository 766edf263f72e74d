/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * guprace_probe: the ioctls of /dev/guprace_probe.
 *
 * An open file holds a table of GUPRACE_PROBE_SLOTS pins; PIN fills slots from the first free one
 * on, UNPIN and close empty the table. The same goes for a table of speculative references and one
 * of blocks of pages. Reserved fields must be zero, unknown flags are refused.
 */
#ifndef GUPRACE_PROBE_H
#define GUPRACE_PROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GUPRACE_PROBE_DEVICE	"guprace_probe"
#define GUPRACE_PROBE_ABI	4
#define GUPRACE_PROBE_SLOTS	1024
#define GUPRACE_PROBE_REFS	4096
#define GUPRACE_PROBE_BLOCKS	256
#define GUPRACE_PROBE_ORDER_MAX	9
#define GUPRACE_PROBE_IO_MAX	4096	/* bytes of each page that one READ or WRITE moves */

/*
 * Portable flags: the raw FOLL_* values differ between kernels, the module translates. INFO tells
 * which of them this kernel can do; the others are refused (EOPNOTSUPP).
 */
#define GUPRACE_PIN_WRITE	(1u << 0)	/* FOLL_WRITE */
#define GUPRACE_PIN_FORCE	(1u << 1)	/* FOLL_FORCE */
#define GUPRACE_PIN_LONGTERM	(1u << 2)	/* FOLL_LONGTERM; not with GET */
#define GUPRACE_PIN_GET		(1u << 3)	/* FOLL_GET, not FOLL_PIN */
#define GUPRACE_PIN_SLOW	(1u << 4)	/* under mmap_lock, never by GUP-fast */
#define GUPRACE_PIN_FAST_ONLY	(1u << 5)	/* with GET: never by the slow path */
#define GUPRACE_PIN_FLAGS	((1u << 6) - 1)

struct guprace_probe_info {
	__u32 abi;		/* out: GUPRACE_PROBE_ABI */
	__u32 slots;		/* out: size of the table */
	__u32 used;		/* out: slots in use */
	__u32 pin_flags;	/* out: GUPRACE_PIN_* of this kernel */
};

/*
 * Calls pin_user_pages_fast(addr, nr_pages), or what @flags say, @times times, back to back. Stops
 * at the first call that pins less than asked for. Returns the number of slots filled, or, when
 * that is none, the error of the call; EAGAIN where FAST_ONLY found nothing that it may take.
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

/*
 * Speculative references: on the folio of each page frame in @buf, as GUP-fast takes them, whoever
 * may own it. Returns how many were taken: none on a page that is free or frozen.
 *
 * REF keeps them, until UNREF or close. TOUCH goes over the list @times times and gives each back
 * at once, after @spins turns of a loop, with interrupts off as in the walk.
 */
struct guprace_probe_ref {
	__u64 buf;		/* count * __u64: frame numbers of ordinary memory */
	__u32 count;		/* at most GUPRACE_PROBE_REFS */
	__u32 times;		/* TOUCH only */
	__u32 spins;		/* TOUCH only; at most 10000 */
	__u32 reserved;
};

#define GUPRACE_BLOCK_COMPOUND	(1u << 0)	/* __GFP_COMP */
#define GUPRACE_BLOCK_SPLIT	(1u << 1)	/* split_page(), freed page by page */
#define GUPRACE_BLOCK_FLAGS	(GUPRACE_BLOCK_COMPOUND | GUPRACE_BLOCK_SPLIT)

/* Allocates 2^order pages. Freed by FREE_BLOCKS with __free_pages(), whoever has references. */
struct guprace_probe_block {
	__u64 pfn;		/* out: of the first page */
	__u32 order;
	__u32 flags;		/* GUPRACE_BLOCK_*; at most one */
};

/*
 * Makes persistent memory of a range that nobody has: RAM behind what mem= lets the kernel use. A block
 * device comes up for it, below /sys/devices/platform/GUPRACE_PROBE_PMEM_PARENT, shortly after, and goes
 * with the file, whose close waits for the last reference on any of its pages. One range at a time.
 */
struct guprace_probe_pmem {
	__u64 start;		/* physical; a multiple of 2 MiB */
	__u64 len;		/* bytes; the same */
};

#define GUPRACE_PROBE_PMEM_PARENT	"guprace_pmem"

/*
 * Of a device's memory: whoever takes it away waits, until this file is closed, at a point where nobody
 * gets a reference on the device any more, and its pages are not gone yet.
 */
struct guprace_probe_hold {
	__u64 pfn;		/* any of its page frames */
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
#define GUPRACE_PROBE_REF	_IOW(GUPRACE_PROBE_MAGIC, 6, struct guprace_probe_ref)
#define GUPRACE_PROBE_TOUCH	_IOW(GUPRACE_PROBE_MAGIC, 7, struct guprace_probe_ref)
/* Returns how many references were given back. */
#define GUPRACE_PROBE_UNREF	_IO(GUPRACE_PROBE_MAGIC, 8)
#define GUPRACE_PROBE_BLOCK	_IOWR(GUPRACE_PROBE_MAGIC, 9, struct guprace_probe_block)
/* Returns how many blocks were freed. */
#define GUPRACE_PROBE_FREE_BLOCKS _IO(GUPRACE_PROBE_MAGIC, 10)
/* EOPNOTSUPP where the kernel has no pmem driver; EBUSY where somebody has the range. */
#define GUPRACE_PROBE_PMEM	_IOW(GUPRACE_PROBE_MAGIC, 11, struct guprace_probe_pmem)
/* ENXIO where there is no such device, or it goes. A second time: only whether it goes. */
#define GUPRACE_PROBE_HOLD	_IOW(GUPRACE_PROBE_MAGIC, 12, struct guprace_probe_hold)

/*
 * mmap, shared, of one page; the offset in pages says what of. The page lives as long as the file.
 * PFN maps are made by remap_pfn_range(): VM_PFNMAP, and a special PTE that GUP must refuse.
 */
#define GUPRACE_MMAP_PFN	0	/* PFN map of a page of the module's own */
#define GUPRACE_MMAP_INSERT	1	/* vm_insert_page() of one: an ordinary, counted page */
#define GUPRACE_MMAP_SLOT	16	/* plus a slot: PFN map of the page pinned there */

#endif /* GUPRACE_PROBE_H */
