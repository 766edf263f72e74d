// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings that only a driver can make. A PFN map has no struct page as far as mm is concerned,
 * even where there is one: its PTE is special, and GUP must not take a reference (P2).
 */
#include <linux/gfp.h>
#include <linux/mm.h>

#include "probe.h"

/* Zeroed when it is made; user space may write it. */
static struct page *own_page(struct probe *probe, unsigned int which)
{
	if (!probe->own[which])
		probe->own[which] = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return probe->own[which];
}

/* The page behind a slot; kept until close, since the mapping holds no reference on it. */
static struct page *slot_page(struct probe *probe, unsigned long slot)
{
	struct page *page;

	if (slot >= probe->used || probe->mappeds == PROBE_MAPPED_MAX)
		return NULL;
	page = probe->page[slot];
	get_page(page);
	probe->mapped[probe->mappeds++] = page;
	return page;
}

static int map_pfn(struct vm_area_struct *vma, struct page *page)
{
	if (!page)
		return -ENXIO;
	return remap_pfn_range(vma, vma->vm_start, page_to_pfn(page), PAGE_SIZE,
			       vma->vm_page_prot);
}

int probe_map(struct probe *probe, struct vm_area_struct *vma)
{
	struct page *page;

	if (vma->vm_end - vma->vm_start != PAGE_SIZE || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	switch (vma->vm_pgoff) {
	case GUPRACE_MMAP_PFN:
		return map_pfn(vma, own_page(probe, 0));
	case GUPRACE_MMAP_INSERT:
		page = own_page(probe, 1);
		return page ? vm_insert_page(vma, vma->vm_start, page) : -ENOMEM;
	default:
		if (vma->vm_pgoff < GUPRACE_MMAP_SLOT)
			return -ENXIO;
		return map_pfn(vma, slot_page(probe, vma->vm_pgoff - GUPRACE_MMAP_SLOT));
	}
}

/* At the last close: each mapping holds the file. */
void probe_free_mapped(struct probe *probe)
{
	unsigned int i;

	while (probe->mappeds)
		put_page(probe->mapped[--probe->mappeds]);
	for (i = 0; i < PROBE_OWN_PAGES; i++) {
		if (probe->own[i])
			put_page(probe->own[i]);
	}
}
