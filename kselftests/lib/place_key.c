// SPDX-License-Identifier: GPL-2.0-only
/*
 * Places under a protection key. The page table lets this process read and write all of them; what
 * the key takes away of that is in a register of the thread (PKRU on x86), and whoever pins for the
 * thread must look there, FOLL_FORCE or not. Once the rights are given back it is memory like any
 * other: the control, without which a kernel that refuses all that has a key would pass.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "place.h"

void place_keys(struct race *race)
{
	int key = pkey_alloc(0, 0);

	/* ENOSYS of a kernel that was built without, ENOSPC or EINVAL of one whose CPU has none. */
	if (key < 0)
		race_skip(race, "no protection keys: pkey_alloc: %s", strerror(errno));
	/* ENOSYS of a glibc that does not know this architecture's register. */
	if (pkey_set(key, 0))
		race_skip(race, "no protection keys: pkey_set: %s", strerror(errno));
	pkey_free(key);
}

/* Of the thread that allocates the key: PKEY_DISABLE_*, from now on. */
static bool under_key(struct place *p, unsigned int rights)
{
	p->key = pkey_alloc(0, rights);
	if (p->key < 0)
		return false;
	if (pkey_mprotect(p->base, p->size, PLACE_RW, p->key))
		broken("pkey_mprotect(%p, %zu, key %d) of the place: %s", p->base, p->size, p->key,
		       strerror(errno));
	return true;
}

/*
 * Written to once more: pkey_mprotect() leaves a huge page read-only until somebody does (on 6.1; since
 * then it looks whether it may be written), and the walk alone takes no fault.
 */
static bool under_open_key(struct place *p)
{
	volatile uint8_t *at = p->addr;

	if (!under_key(p, PKEY_DISABLE_ACCESS) || pkey_set(p->key, 0))
		return false;
	*at = *at;
	return true;
}

bool place_key_none(struct place *p)
{
	return place_anon(p) && under_key(p, PKEY_DISABLE_ACCESS);
}

bool place_key_read(struct place *p)
{
	return place_anon(p) && under_key(p, PKEY_DISABLE_WRITE);
}

bool place_key_open(struct place *p)
{
	return place_anon(p) && under_open_key(p);
}

bool place_thp_key_none(struct place *p)
{
	return place_thp(p) && under_key(p, PKEY_DISABLE_ACCESS);
}

bool place_thp_key_read(struct place *p)
{
	return place_thp(p) && under_key(p, PKEY_DISABLE_WRITE);
}

bool place_thp_key_open(struct place *p)
{
	return place_thp(p) && under_open_key(p);
}

bool place_hugetlb_key_none(struct place *p)
{
	return place_hugetlb(p) && under_key(p, PKEY_DISABLE_ACCESS);
}

bool place_hugetlb_key_read(struct place *p)
{
	return place_hugetlb(p) && under_key(p, PKEY_DISABLE_WRITE);
}

bool place_hugetlb_key_open(struct place *p)
{
	return place_hugetlb(p) && under_open_key(p);
}
