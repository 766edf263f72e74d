// SPDX-License-Identifier: GPL-2.0-only
/* Places that only a driver can make: the probe module's. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "guprace_probe.h"
#include "place.h"

static bool probe_map(struct place *p, int prot, off_t what)
{
	if (p->probe < 0)
		p->probe = open("/dev/" GUPRACE_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	return p->probe >= 0 && place_map(p, prot, MAP_SHARED, p->probe, what * p->page);
}

bool place_pfn(struct place *p)
{
	if (!probe_map(p, PLACE_RW, GUPRACE_MMAP_PFN))
		return false;
	place_stamp(p, 1);
	return true;
}

bool place_inserted(struct place *p)
{
	if (!probe_map(p, PLACE_RW, GUPRACE_MMAP_INSERT))
		return false;
	place_stamp(p, 1);
	return true;
}

/* Map the page at @from once more, by its PFN. */
static bool pfn_of(struct place *p, const void *from, int prot)
{
	struct guprace_probe_pin pin = {
		.addr = (unsigned long)from,
		.nr_pages = 1,
		.times = 1,
	};

	p->probe = open("/dev/" GUPRACE_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	if (p->probe < 0)
		return false;
	if (ioctl(p->probe, GUPRACE_PROBE_PIN, &pin) != 1)
		broken("ioctl(GUPRACE_PROBE_PIN) of a page to map by PFN: %s", strerror(errno));
	return probe_map(p, prot, GUPRACE_MMAP_SLOT);
}

/*
 * An anonymous page, for reading by either mapping: mm's own page table check takes a writable one
 * beside another for what it mostly is, a bug; and NUMA balancing may put ours back at any time.
 */
bool place_pfn_anon(struct place *p)
{
	p->other = check_mmap(NULL, p->page, PLACE_RW, MAP_PRIVATE | MAP_ANONYMOUS,
			      "the other view");
	stamp_page(p->other, stamp_of(PLACE_MAPPING, 0, 1));
	place_protect(p, p->other, p->page, PROT_READ);
	return pfn_of(p, p->other, PROT_READ);
}

bool place_pfn_shm(struct place *p)
{
	return place_shm(p) && pfn_of(p, p->other, PLACE_RW);
}
