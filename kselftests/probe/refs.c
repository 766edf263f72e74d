// SPDX-License-Identifier: GPL-2.0-only
/*
 * Speculative references. Between its look at the PTE and its second look GUP-fast takes a
 * reference on whatever page the PTE named, and that page may meanwhile have become anybody's. The
 * rest of mm must bear it (P5). Here such references are taken on pages of the caller's choice, by
 * the kernel's own helper, and kept for as long as the caller likes; and here are blocks of pages
 * to free under them, since user space cannot make the allocator free a block of order > 0 at will.
 */
#include <linux/gfp.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "probe.h"

#define SPINS_MAX	10000

#ifndef PROBE_TRY_ADD
#define PROBE_TRY_ADD	folio_ref_add_unless_zero
static inline bool folio_ref_add_unless_zero(struct folio *folio, int count)
{
	return folio_ref_add_unless(folio, count, 0);
}
#endif

/* The steps of try_get_folio() in mm/gup.c; NULL where the page is free, frozen or reserved. */
static struct page *try_get(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	while (!PageReserved(page)) {
		struct folio *folio = page_folio(page);

		if (!PROBE_TRY_ADD(folio, 1))
			return NULL;
		if (page_folio(page) == folio)
			return page;
		folio_put(folio);
	}
	return NULL;
}

/* The frame numbers, one after the other: copied before interrupts go off. */
static long get_request(struct guprace_probe_ref *req, void __user *arg, u64 **pfns)
{
	u32 i;

	if (copy_from_user(req, arg, sizeof(*req)))
		return -EFAULT;
	if (req->reserved || !req->count || req->count > GUPRACE_PROBE_REFS ||
	    req->spins > SPINS_MAX)
		return -EINVAL;
	*pfns = vmemdup_user(u64_to_user_ptr(req->buf), req->count * sizeof(u64));
	if (IS_ERR(*pfns))
		return PTR_ERR(*pfns);
	for (i = 0; i < req->count; i++) {
		u64 pfn = (*pfns)[i];

		if (pfn != (unsigned long)pfn || !pfn_valid(pfn)) {
			kvfree(*pfns);
			return -EINVAL;
		}
	}
	return 0;
}

long probe_ref(struct probe *probe, void __user *arg)
{
	struct guprace_probe_ref req;
	u32 i, first = probe->refs;
	u64 *pfns;
	long err = get_request(&req, arg, &pfns);

	if (err)
		return err;
	if (req.count > GUPRACE_PROBE_REFS - probe->refs) {
		kvfree(pfns);
		return -ENOSPC;
	}
	for (i = 0; i < req.count; i++) {
		struct page *page = try_get(pfns[i]);

		if (page)
			probe->ref[probe->refs++] = page;
	}
	kvfree(pfns);
	return probe->refs - first;
}

static bool touch(unsigned long pfn, u32 spins)
{
	unsigned long flags;
	struct page *page;

	local_irq_save(flags);
	page = try_get(pfn);
	if (page) {
		while (spins--)
			cpu_relax();
		put_page(page);
	}
	local_irq_restore(flags);
	return page;
}

long probe_touch(struct probe *probe, void __user *arg)
{
	struct guprace_probe_ref req;
	u32 i, round;
	long taken = 0;
	u64 *pfns;
	long err = get_request(&req, arg, &pfns);

	if (err)
		return err;
	for (round = 0; round < req.times && !fatal_signal_pending(current); round++) {
		for (i = 0; i < req.count; i++)
			taken += touch(pfns[i], req.spins);
		cond_resched();
	}
	kvfree(pfns);
	return min_t(long, taken, INT_MAX);
}

u32 probe_unref_all(struct probe *probe)
{
	u32 refs = probe->refs;

	while (probe->refs)
		put_page(probe->ref[--probe->refs]);
	return refs;
}

long probe_block(struct probe *probe, void __user *arg)
{
	struct guprace_probe_block req;
	struct page *page;
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.flags & ~GUPRACE_BLOCK_FLAGS || req.flags == GUPRACE_BLOCK_FLAGS ||
	    req.order > GUPRACE_PROBE_ORDER_MAX)
		return -EINVAL;
	if (probe->blocks == GUPRACE_PROBE_BLOCKS)
		return -ENOSPC;
	if (req.flags & GUPRACE_BLOCK_COMPOUND)
		gfp |= __GFP_COMP;

	page = alloc_pages(gfp, req.order);
	if (!page)
		return -ENOMEM;
	if (req.flags & GUPRACE_BLOCK_SPLIT)
		split_page(page, req.order);
	probe->block[probe->blocks++] = (struct probe_block){ page, req.order, req.flags };
	req.pfn = page_to_pfn(page);
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

static void free_block(const struct probe_block *block)
{
	u32 i;

	if (!(block->flags & GUPRACE_BLOCK_SPLIT)) {
		__free_pages(block->page, block->order);
		return;
	}
	for (i = 0; i < 1u << block->order; i++)
		__free_page(block->page + i);
}

u32 probe_free_blocks(struct probe *probe)
{
	u32 blocks = probe->blocks;

	while (probe->blocks)
		free_block(&probe->block[--probe->blocks]);
	return blocks;
}
