// SPDX-License-Identifier: GPL-2.0-only
/*
 * Persistent memory: RAM that the kernel was told to leave alone (mem=) becomes a region of the
 * kernel's own pmem driver, so that a file system on it may map its pages directly (DAX). Those are
 * pages of ZONE_DEVICE, for which GUP-fast has steps of its own. Machines without NVDIMMs have none.
 */
#include <linux/ioport.h>
#include <linux/libnvdimm.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "probe.h"

/*
 * Of a module we would not know whether it is loaded, and could not be loaded without it. A range that is
 * not divided up is taken by the driver where it can be claimed for other uses, too (ND_CLAIM).
 */
#if IS_BUILTIN(CONFIG_LIBNVDIMM) && IS_BUILTIN(CONFIG_BLK_DEV_PMEM) && \
	IS_ENABLED(CONFIG_ND_CLAIM) && IS_ENABLED(CONFIG_ZONE_DEVICE)

struct probe_pmem {
	struct platform_device *parent;
	struct nvdimm_bus_descriptor about;
	struct nvdimm_bus *bus;
	struct resource range;
};

static unsigned long in_use;	/* bit 0: the parent has one name */

static long check_range(const struct guprace_probe_pmem *req)
{
	if (!req->len || !IS_ALIGNED(req->start | req->len, SZ_2M) ||
	    req->start + req->len < req->start)
		return -EINVAL;
	/* Whoever has it already, RAM or a device, would share it with us. */
	if (region_intersects(req->start, req->len, 0, IORES_DESC_NONE) != REGION_DISJOINT)
		return -EBUSY;
	return 0;
}

static bool add_region(struct probe_pmem *pmem)
{
	struct nd_region_desc region = {
		.res = &pmem->range,
		.numa_node = numa_mem_id(),
		.target_node = numa_mem_id(),
	};

	set_bit(ND_REGION_PAGEMAP, &region.flags);
	return nvdimm_pmem_region_create(pmem->bus, &region);
}

static void remove_pmem(struct probe_pmem *pmem)
{
	if (pmem->bus)
		nvdimm_bus_unregister(pmem->bus);
	if (!IS_ERR_OR_NULL(pmem->parent))
		platform_device_unregister(pmem->parent);
	kfree(pmem);
	clear_bit(0, &in_use);
}

long probe_pmem(struct probe *probe, void __user *arg)
{
	struct guprace_probe_pmem req;
	struct probe_pmem *pmem;
	long err;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (probe->pmem)
		return -EEXIST;
	err = check_range(&req);
	if (err)
		return err;
	if (test_and_set_bit(0, &in_use))
		return -EBUSY;
	pmem = kzalloc(sizeof(*pmem), GFP_KERNEL);
	if (!pmem) {
		clear_bit(0, &in_use);
		return -ENOMEM;
	}
	pmem->range = (struct resource)DEFINE_RES_MEM_NAMED(req.start, req.len, "guprace_pmem");
	pmem->about.provider_name = "guprace_probe";
	pmem->about.module = THIS_MODULE;
	pmem->parent = platform_device_register_simple(GUPRACE_PROBE_PMEM_PARENT,
						       PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pmem->parent)) {
		err = PTR_ERR(pmem->parent);
	} else {
		pmem->bus = nvdimm_bus_register(&pmem->parent->dev, &pmem->about);
		err = pmem->bus && add_region(pmem) ? 0 : -ENXIO;
	}
	if (err)
		remove_pmem(pmem);
	else
		probe->pmem = pmem;
	return err;
}

void probe_remove_pmem(struct probe *probe)
{
	if (probe->pmem)
		remove_pmem(probe->pmem);
}

#else

long probe_pmem(struct probe *probe, void __user *arg)
{
	return -EOPNOTSUPP;
}

void probe_remove_pmem(struct probe *probe)
{
}

#endif

/* Where PTEs tell a device's pages by a bit, which went with pfn_t in v6.17, the walk asks for the device. */
#if IS_ENABLED(CONFIG_ZONE_DEVICE) && __has_include(<linux/pfn_t.h>)

long probe_hold(struct probe *probe, void __user *arg)
{
	struct guprace_probe_hold req;
	struct dev_pagemap *pagemap;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	pagemap = get_dev_pagemap(req.pfn, NULL);
	if (!pagemap)
		return -ENXIO;
	if (probe->held)
		put_dev_pagemap(pagemap);
	else
		probe->held = pagemap;
	return 0;
}

void probe_let_go(struct probe *probe)
{
	put_dev_pagemap(probe->held);
}

#else

long probe_hold(struct probe *probe, void __user *arg)
{
	return -EOPNOTSUPP;
}

void probe_let_go(struct probe *probe)
{
}

#endif
