// SPDX-License-Identifier: GPL-2.0-only
/*
 * guprace_probe - take, hold, use and drop pins of GUP-fast from user space
 *
 * pin_user_pages_fast() has no user-space door that lets the caller hold the pin, look through it
 * and choose the flags on every kernel (gup_test pins and unpins within one ioctl before v6.2).
 * This is that door; beside it one for the references that GUP-fast takes in passing on pages that
 * it was not to have, one for mappings that it must refuse, and one for memory that is a device's.
 * The races, the stamps and the judgement are user space's; here is only the mechanism. The device
 * is root's: it reports page frame numbers, holds pages, and takes references on any of them.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "probe.h"

static long probe_info(struct probe *probe, void __user *arg)
{
	struct guprace_probe_info info = {
		.abi = GUPRACE_PROBE_ABI,
		.slots = GUPRACE_PROBE_SLOTS,
		.used = probe->used,
		.pin_flags = probe_pin_flags(),
	};

	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
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
	case GUPRACE_PROBE_REF:
		return probe_ref(probe, arg);
	case GUPRACE_PROBE_TOUCH:
		return probe_touch(probe, arg);
	case GUPRACE_PROBE_UNREF:
		return probe_unref_all(probe);
	case GUPRACE_PROBE_BLOCK:
		return probe_block(probe, arg);
	case GUPRACE_PROBE_FREE_BLOCKS:
		return probe_free_blocks(probe);
	case GUPRACE_PROBE_PMEM:
		return probe_pmem(probe, arg);
	case GUPRACE_PROBE_HOLD:
		return probe_hold(probe, arg);
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

/*
 * mmap_lock is held for writing here, and an ioctl takes it inside of the lock of the file: only
 * trying can not deadlock. A file that is in an ioctl is busy.
 */
static int probe_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct probe *probe = file->private_data;
	int ret;

	if (!mutex_trylock(&probe->lock))
		return -EBUSY;
	ret = probe_map(probe, vma);
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
	probe_free_blocks(probe);
	probe_unref_all(probe);
	probe_free_mapped(probe);
	probe_let_go(probe);
	probe_remove_pmem(probe);
	mutex_destroy(&probe->lock);
	kvfree(probe);
	return 0;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.release = probe_release,
	.mmap = probe_mmap,
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
