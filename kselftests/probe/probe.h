/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the module know of each other; what user space sees is in guprace_probe.h. */
#ifndef PROBE_H
#define PROBE_H

#include <linux/mm_types.h>
#include <linux/mutex.h>

#include "guprace_probe.h"

#define PROBE_OWN_PAGES		2	/* to be mapped: by PFN, and by vm_insert_page() */
#define PROBE_MAPPED_MAX	64	/* pinned pages that were mapped once more */

struct probe_block {
	struct page *page;
	u32 order;
	u32 flags;		/* GUPRACE_BLOCK_* */
};

/**
 * struct probe - what one open file holds
 * @lock:    serialises the ioctls of the file, and mmap
 * @used:    pins held, from the first slot on
 * @bounce:  kernel memory between a pinned page and the caller's buffer
 * @page:    the pinned pages
 * @flags:   GUPRACE_PIN_* that each was pinned with
 * @written: whether a page was written through its pin, and must be dirtied when dropped
 * @refs:    speculative references held
 * @ref:     the pages that they are on; a folio's reference, but of this page of it
 * @blocks:  blocks allocated
 * @block:   these
 * @own:     the pages that GUPRACE_MMAP_PFN and GUPRACE_MMAP_INSERT map, made when first asked for
 * @mappeds: pinned pages that were mapped, kept until the file is closed
 * @mapped:  these
 * @pmem:    the persistent memory that was made, or NULL
 * @held:    the device whose pages stay, or NULL
 */
struct probe {
	struct mutex lock;

	u32 used;
	u8 bounce[GUPRACE_PROBE_IO_MAX];
	struct page *page[GUPRACE_PROBE_SLOTS];
	u8 flags[GUPRACE_PROBE_SLOTS];
	bool written[GUPRACE_PROBE_SLOTS];

	u32 refs;
	struct page *ref[GUPRACE_PROBE_REFS];
	u32 blocks;
	struct probe_block block[GUPRACE_PROBE_BLOCKS];

	struct page *own[PROBE_OWN_PAGES];
	u32 mappeds;
	struct page *mapped[PROBE_MAPPED_MAX];

	struct probe_pmem *pmem;
	struct dev_pagemap *held;
};

struct vm_area_struct;

/* pins.c: GUP's own references */
u32 probe_pin_flags(void);
long probe_pin(struct probe *probe, void __user *arg);
long probe_read(struct probe *probe, void __user *arg);
long probe_write(struct probe *probe, void __user *arg);
long probe_pfn(struct probe *probe, void __user *arg);
u32 probe_unpin_all(struct probe *probe);

/* refs.c: references on any page, as GUP-fast takes them, and blocks to take them on */
long probe_ref(struct probe *probe, void __user *arg);
long probe_touch(struct probe *probe, void __user *arg);
u32 probe_unref_all(struct probe *probe);
long probe_block(struct probe *probe, void __user *arg);
u32 probe_free_blocks(struct probe *probe);

/* map.c: mappings that only a driver can make */
int probe_map(struct probe *probe, struct vm_area_struct *vma);
void probe_free_mapped(struct probe *probe);

/* pmem.c: memory that is a device's */
long probe_pmem(struct probe *probe, void __user *arg);
void probe_remove_pmem(struct probe *probe);
long probe_hold(struct probe *probe, void __user *arg);
void probe_let_go(struct probe *probe);

#endif /* PROBE_H */
