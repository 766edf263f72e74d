// SPDX-License-Identifier: GPL-2.0-only
/*
 * guprace_probe - take, hold, use and drop pins of GUP-fast from user space
 *
 * pin_user_pages_fast() has no user-space door that lets the caller hold the pin, look through it
 * and choose the flags on every kernel (gup_test pins and unpins within one ioctl before v6.2).
 * This is that door. The races, the stamps and the judgement are user space's; here is only the
 * mechanism. The device is root's: it reports page frame numbers and holds pages.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/compiler.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "guprace_probe.h"

/**
 * struct probe - the table behind one open file
 * @lock:    serialises the ioctls of the file
 * @used:    slots in use, from the first on
 * @bounce:  kernel memory between a pinned page and the caller's buffer
 * @page:    the pinned pages
 * @flags:   GUPRACE_PIN_* that each was pinned with
 * @written: whether a page was written through its pin, and must be dirtied when dropped
 */
struct probe {
	struct mutex lock;
	u32 used;
	u8 bounce[GUPRACE_PROBE_IO_MAX];
	struct page *page[GUPRACE_PROBE_SLOTS];
	u8 flags[GUPRACE_PROBE_SLOTS];
	bool written[GUPRACE_PROBE_SLOTS];
};

static_assert(GUPRACE_PROBE_IO_MAX <= PAGE_SIZE);
static_assert(GUPRACE_PIN_FLAGS <= U8_MAX);

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

static void probe_put(struct page *page, bool written)
{
	if (written)
		set_page_dirty_lock(page);
	put_page(page);
}

/*
 * One unpin call, so one gup_put_folio(), for each page: whoever counts back-offs by a kprobe on
 * that function subtracts the unpins, and has to know how many there were.
 */
static u32 probe_unpin_all(struct probe *probe)
{
	u32 i, used = probe->used;

	for (i = 0; i < used; i++) {
		if (probe->flags[i] & GUPRACE_PIN_GET)
			probe_put(probe->page[i], probe->written[i]);
		else if (probe->written[i])
			unpin_user_pages_dirty_lock(&probe->page[i], 1, true);
		else
			unpin_user_page(probe->page[i]);
		probe->page[i] = NULL;
		probe->written[i] = false;
	}
	probe->used = 0;
	return used;
}

static long probe_info(struct probe *probe, void __user *arg)
{
	struct guprace_probe_info info = {
		.abi = GUPRACE_PROBE_ABI,
		.slots = GUPRACE_PROBE_SLOTS,
		.used = probe->used,
	};

	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long probe_pin(struct probe *probe, void __user *arg)
{
	struct guprace_probe_pin pin;
	u32 first = probe->used, room = GUPRACE_PROBE_SLOTS - first, i;
	unsigned int foll;
	int got = 0;

	if (copy_from_user(&pin, arg, sizeof(pin)))
		return -EFAULT;
	if (pin.reserved || pin.flags & ~GUPRACE_PIN_FLAGS || !PAGE_ALIGNED(pin.addr))
		return -EINVAL;
	if (pin.addr != (unsigned long)pin.addr)
		return -EINVAL;
	if (!pin.nr_pages || !pin.times)
		return -EINVAL;
	if (pin.flags & GUPRACE_PIN_GET && pin.flags & GUPRACE_PIN_LONGTERM)
		return -EINVAL;
	if (pin.nr_pages > room || pin.times > room / pin.nr_pages)
		return -ENOSPC;

	foll = foll_flags(pin.flags);
	for (i = 0; i < pin.times; i++) {
		struct page **to = &probe->page[probe->used];

		if (pin.flags & GUPRACE_PIN_GET)
			got = get_user_pages_fast(pin.addr, pin.nr_pages, foll, to);
		else
			got = pin_user_pages_fast(pin.addr, pin.nr_pages, foll, to);
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

static long probe_read(struct probe *probe, void __user *arg)
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

static long probe_write(struct probe *probe, void __user *arg)
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

static long probe_pfn(struct probe *probe, void __user *arg)
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

static long probe_do_ioctl(struct probe *probe, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case GUPRACE_PROBE_INFO:
		return probe_info(probe, arg);
	case GUPRACE_PROBE_PIN:
		return probe_pin(probe, arg);
	case GUPRACE_PROBE_READ:
		return probe_read(probe, arg);
	case GUPRACE_PROBE_WRITE:
		return probe_write(probe, arg);
	case GUPRACE_PROBE_PFN:
		return probe_pfn(probe, arg);
	case GUPRACE_PROBE_UNPIN:
		return probe_unpin_all(probe);
	default:
		return -ENOTTY;
	}
}

static long probe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct probe *probe = file->private_data;
	long ret;

	if (mutex_lock_killable(&probe->lock))
		return -EINTR;
	ret = probe_do_ioctl(probe, cmd, (void __user *)arg);
	mutex_unlock(&probe->lock);
	return ret;
}

static int probe_open(struct inode *inode, struct file *file)
{
	struct probe *probe = kvzalloc(sizeof(*probe), GFP_KERNEL_ACCOUNT);

	if (!probe)
		return -ENOMEM;
	mutex_init(&probe->lock);
	file->private_data = probe;
	return 0;
}

static int probe_release(struct inode *inode, struct file *file)
{
	struct probe *probe = file->private_data;

	probe_unpin_all(probe);
	mutex_destroy(&probe->lock);
	kvfree(probe);
	return 0;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.release = probe_release,
	.unlocked_ioctl = probe_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice probe_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = GUPRACE_PROBE_DEVICE,
	.fops = &probe_fops,
	.mode = 0600,
};
module_misc_device(probe_device);

MODULE_DESCRIPTION("Take, hold, use and drop pins of GUP-fast from user space");
MODULE_LICENSE("GPL");
