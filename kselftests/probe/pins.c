// SPDX-License-Identifier: GPL-2.0-only
/* Pins, by GUP-fast or, for comparison, under mmap_lock: take, look through, drop. */
#include <linux/compiler.h>
#include <linux/highmem.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "probe.h"

static_assert(GUPRACE_PROBE_IO_MAX <= PAGE_SIZE);
static_assert(GUPRACE_PIN_FLAGS <= U8_MAX);

/* Both lost an argument nobody used, `vmas`: see Kbuild. */
#ifdef PROBE_GUP_TAKES_VMAS
#define gup(call, ...)	call(__VA_ARGS__, NULL)
#else
#define gup(call, ...)	call(__VA_ARGS__)
#endif

u32 probe_pin_flags(void)
{
#ifdef PROBE_HAS_FAST_ONLY
	return GUPRACE_PIN_FLAGS;
#else
	return GUPRACE_PIN_FLAGS & ~GUPRACE_PIN_FAST_ONLY;
#endif
}

static unsigned int foll_flags(u32 flags)
{
	unsigned int foll = 0;

	if (flags & GUPRACE_PIN_WRITE)
		foll |= FOLL_WRITE;
	if (flags & GUPRACE_PIN_FORCE)
		foll |= FOLL_FORCE;
	if (flags & GUPRACE_PIN_LONGTERM)
		foll |= FOLL_LONGTERM;
	return foll;
}

static bool slots_in_use(const struct probe *probe, u32 first, u32 count)
{
	return count && first < probe->used && count <= probe->used - first;
}

static void drop(struct page *page, u32 flags, bool written)
{
	if (flags & GUPRACE_PIN_GET) {
		if (written)
			set_page_dirty_lock(page);
		put_page(page);
	} else if (written) {
		unpin_user_pages_dirty_lock(&page, 1, true);
	} else {
		unpin_user_page(page);
	}
}

/*
 * One unpin call, so one gup_put_folio(), for each page: whoever counts back-offs by a kprobe on
 * that function subtracts the unpins, and has to know how many there were.
 */
u32 probe_unpin_all(struct probe *probe)
{
	u32 i, used = probe->used;

	for (i = 0; i < used; i++) {
		drop(probe->page[i], probe->flags[i], probe->written[i]);
		probe->page[i] = NULL;
		probe->written[i] = false;
	}
	probe->used = 0;
	return used;
}

/* GUP would refuse these, too, but with a warning on the console. */
static long refuse(u32 flags)
{
	u32 path = flags & (GUPRACE_PIN_SLOW | GUPRACE_PIN_FAST_ONLY);

	if (flags & ~GUPRACE_PIN_FLAGS || path == (GUPRACE_PIN_SLOW | GUPRACE_PIN_FAST_ONLY))
		return -EINVAL;
	if (flags & GUPRACE_PIN_GET && flags & GUPRACE_PIN_LONGTERM)
		return -EINVAL;
	if (flags & GUPRACE_PIN_FAST_ONLY && !(flags & GUPRACE_PIN_GET))
		return -EINVAL;
	return flags & ~probe_pin_flags() ? -EOPNOTSUPP : 0;
}

static int pin_fast_only(unsigned long addr, u32 pages, unsigned int foll, struct page **to)
{
#ifdef PROBE_HAS_FAST_ONLY
	int got = get_user_pages_fast_only(addr, pages, foll, to);

	return got ?: -EAGAIN;
#else
	return -EOPNOTSUPP;
#endif
}

static int pin_slow(unsigned long addr, u32 pages, unsigned int foll, bool get, struct page **to)
{
	int got;

	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	if (get)
		got = gup(get_user_pages, addr, pages, foll | FOLL_GET, to);
	else
		got = gup(pin_user_pages, addr, pages, foll, to);
	mmap_read_unlock(current->mm);
	return got;
}

static int pin_once(unsigned long addr, u32 pages, u32 flags, struct page **to)
{
	unsigned int foll = foll_flags(flags);
	bool get = flags & GUPRACE_PIN_GET;

	if (flags & GUPRACE_PIN_FAST_ONLY)
		return pin_fast_only(addr, pages, foll, to);
	if (flags & GUPRACE_PIN_SLOW)
		return pin_slow(addr, pages, foll, get, to);
	if (get)
		return get_user_pages_fast(addr, pages, foll, to);
	return pin_user_pages_fast(addr, pages, foll, to);
}

long probe_pin(struct probe *probe, void __user *arg)
{
	struct guprace_probe_pin pin;
	u32 first = probe->used, room = GUPRACE_PROBE_SLOTS - first, i;
	int got = 0;
	long err;

	if (copy_from_user(&pin, arg, sizeof(pin)))
		return -EFAULT;
	err = refuse(pin.flags);
	if (err)
		return err;
	if (pin.reserved || !PAGE_ALIGNED(pin.addr))
		return -EINVAL;
	if (pin.addr != (unsigned long)pin.addr)
		return -EINVAL;
	if (!pin.nr_pages || !pin.times)
		return -EINVAL;
	if (pin.nr_pages > room || pin.times > room / pin.nr_pages)
		return -ENOSPC;

	for (i = 0; i < pin.times; i++) {
		got = pin_once(pin.addr, pin.nr_pages, pin.flags, &probe->page[probe->used]);
		if (got > 0)
			probe->used += got;
		if (got != (int)pin.nr_pages || fatal_signal_pending(current))
			break;
		cond_resched();
	}
	for (i = first; i < probe->used; i++)
		probe->flags[i] = pin.flags;
	return probe->used > first ? probe->used - first : got;
}

static bool io_valid(const struct probe *probe, const struct guprace_probe_io *io)
{
	return slots_in_use(probe, io->first, io->count) && io->len &&
	       io->len <= GUPRACE_PROBE_IO_MAX && io->offset <= GUPRACE_PROBE_IO_MAX - io->len;
}

/*
 * The owner of the page may write it meanwhile: that race is the caller's business and no finding,
 * so KCSAN must not look.
 */
static void page_peek(struct page *page, u32 offset, void *to, u32 len)
{
	u8 *from = kmap_local_page(page);

	/* Racing with the owner's writes is what we are for. */
	data_race(memcpy(to, from + offset, len));
	kunmap_local(from);
}

static void page_poke(struct page *page, u32 offset, const void *from, u32 len)
{
	u8 *to = kmap_local_page(page);

	/* The same, the other way round. */
	data_race(memcpy(to + offset, from, len));
	kunmap_local(to);
	flush_dcache_page(page);
}

long probe_read(struct probe *probe, void __user *arg)
{
	struct guprace_probe_io io;
	u8 __user *buf;
	u32 i;

	if (copy_from_user(&io, arg, sizeof(io)))
		return -EFAULT;
	if (!io_valid(probe, &io))
		return -EINVAL;

	buf = u64_to_user_ptr(io.buf);
	for (i = 0; i < io.count; i++, buf += io.len) {
		page_peek(probe->page[io.first + i], io.offset, probe->bounce, io.len);
		if (copy_to_user(buf, probe->bounce, io.len))
			return -EFAULT;
	}
	return 0;
}

long probe_write(struct probe *probe, void __user *arg)
{
	struct guprace_probe_io io;
	const u8 __user *buf;
	u32 i;

	if (copy_from_user(&io, arg, sizeof(io)))
		return -EFAULT;
	if (!io_valid(probe, &io))
		return -EINVAL;
	for (i = 0; i < io.count; i++) {
		if (!(probe->flags[io.first + i] & GUPRACE_PIN_WRITE))
			return -EPERM;
	}

	buf = u64_to_user_ptr(io.buf);
	for (i = 0; i < io.count; i++, buf += io.len) {
		if (copy_from_user(probe->bounce, buf, io.len))
			return -EFAULT;
		page_poke(probe->page[io.first + i], io.offset, probe->bounce, io.len);
		probe->written[io.first + i] = true;
	}
	return 0;
}

long probe_pfn(struct probe *probe, void __user *arg)
{
	struct guprace_probe_pfn req;
	u64 __user *buf;
	u32 i;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (!slots_in_use(probe, req.first, req.count))
		return -EINVAL;

	buf = u64_to_user_ptr(req.buf);
	for (i = 0; i < req.count; i++) {
		u64 pfn = page_to_pfn(probe->page[req.first + i]);

		if (copy_to_user(buf + i, &pfn, sizeof(pfn)))
			return -EFAULT;
	}
	return 0;
}
