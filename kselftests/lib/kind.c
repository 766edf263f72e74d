// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>

#include "kind.h"

const struct kind kinds_small[] = {
	{ "anonymous", place_anon, ANY, ANY, PLAIN | OURS },
	{ "anonymous, PROT_NONE", place_anon_none, FORCE_READ | FORCE_WRITE, 0, CLOSED },
	{ "anonymous, PROT_READ", place_anon_read, ANY & ~WRITE, READ, PLAIN },
	{ "anonymous, untouched", place_untouched, ANY, 0, ZERO | COPIED },
	{ "zero page", place_zero, ANY, 0, ZERO | COPIED },
	{ "nothing", place_hole, 0, 0, CLOSED },
	{ "an address of the kernel's", place_kernel, 0, 0, CLOSED },
	{ "shared with a child", place_child, ANY, READ, OURS },
	{ "shared with a child, PROT_READ", place_child_read, ANY & ~WRITE, READ, 0 },
	{ "shared with a child until it exited", place_child_gone, ANY, READ, OURS },
	{ "memfd, shared", place_shm, ANY, ANY, OURS | SHARED },
	{ "memfd, shared, PROT_READ", place_shm_read, READ | FORCE_READ, READ, SHARED },
	{ "memfd, private", place_shm_private, ANY, READ, COPIED },
	{ "memfd, private, PROT_READ", place_shm_private_read, ANY & ~WRITE, READ, 0 },
	{ "RAM disk, shared", place_disk, ANY, ANY, FILE_BACKED | OURS },
	{ "vvar", place_vvar, 0, 0, CLOSED },
	{ "PFN map", place_pfn, 0, 0, 0 },
	{ "PFN map of an anonymous page", place_pfn_anon, 0, 0, 0 },
	{ "PFN map of a memfd's page", place_pfn_shm, 0, 0, 0 },
	{ "page of a driver", place_inserted, ANY, ANY, FILE_BACKED | OURS },
	{ "memfd_secret", place_secret_settled, 0, 0, 0 },
	{ "memfd_secret, just touched", place_secret, 0, 0, 0 },
	{ }
};

/* What the key takes away is no different for FOLL_FORCE; those of huge pages are with these. */
const struct kind kinds_keys[] = {
	{ "key that denies access", place_key_none, 0, 0, CLOSED },
	{ "key that denies writing", place_key_read, READ | FORCE_READ, READ, PLAIN },
	{ "key whose rights came back", place_key_open, ANY, ANY, PLAIN | OURS },
	{ }
};

const struct kind kinds_thp[] = {
	{ "huge page", place_thp, ANY, ANY, PLAIN | OURS },
	{ "huge page, PROT_NONE", place_thp_none, FORCE_READ | FORCE_WRITE, 0, CLOSED },
	{ "huge page, PROT_READ", place_thp_read, ANY & ~WRITE, READ, PLAIN },
	{ "page of a huge page, PROT_READ", place_thp_page_read, ANY & ~WRITE, READ, PLAIN },
	{ "huge page, shared with a child", place_thp_child, ANY, READ, OURS },
	{ "huge page, shared with a child, PROT_READ", place_thp_child_read, ANY & ~WRITE, READ, 0 },
	{ "huge page, shared with a child, split", place_thp_child_split, ANY, READ, OURS },
	{ "huge page of zeroes", place_thp_zero, ANY, READ, ZERO | COPIED },
	{ "folio of 64 KiB", place_mthp, ANY, ANY, PLAIN | OURS },
	{ "folio of 64 KiB, PROT_READ", place_mthp_read, ANY & ~WRITE, READ, PLAIN },
	{ "page of a folio of 64 KiB, PROT_NONE", place_mthp_page_none, FORCE_READ | FORCE_WRITE, 0,
	  CLOSED },
	{ "folio of 64 KiB, another page PROT_READ", place_mthp_others_read, ANY, ANY, PLAIN | OURS },
	{ "folio of 64 KiB, PROT_READ but for its last page", place_mthp_last_open, ANY & ~WRITE, READ,
	  PLAIN },
	{ "folio of 64 KiB, shared with a child", place_mthp_child, ANY, READ, OURS },
	{ "huge page, key that denies access", place_thp_key_none, 0, 0, CLOSED },
	{ "huge page, key that denies writing", place_thp_key_read, READ | FORCE_READ, READ, PLAIN },
	{ "huge page, key whose rights came back", place_thp_key_open, ANY, ANY, PLAIN | OURS },
	{ }
};

/*
 * Before f442fa614137 ("mm: gup: stop abusing try_grab_folio", v6.10) the slow path warns on the
 * console when it finds such a page in a movable zone: a known fault, and not ours to find.
 */
const struct kind kinds_hugetlb[] = {
	{ "hugetlb", place_hugetlb, ANY, ANY, PLAIN | OURS | NO_MOVE },
	{ "hugetlb, PROT_NONE", place_hugetlb_none, 0, 0, CLOSED | NO_FORCE | NO_MOVE },
	{ "hugetlb, PROT_READ", place_hugetlb_read, READ, READ, PLAIN | NO_FORCE | NO_MOVE },
	{ "hugetlb, shared with a child", place_hugetlb_child, ANY, READ, OURS | NO_FORCE | NO_MOVE },
	{ "hugetlb, shared with a child, PROT_READ", place_hugetlb_child_read, READ, READ,
	  NO_FORCE | NO_MOVE },
	{ "hugetlb of 64 KiB", place_hugetlb_cont, ANY, ANY, PLAIN | OURS | NO_MOVE },
	{ "hugetlb of 64 KiB, shared with a child", place_hugetlb_cont_child, ANY, READ,
	  OURS | NO_FORCE | NO_MOVE },
	{ "hugetlb, key that denies access", place_hugetlb_key_none, 0, 0, CLOSED | NO_MOVE },
	{ "hugetlb, key that denies writing", place_hugetlb_key_read, READ | FORCE_READ, READ,
	  PLAIN | NO_MOVE },
	{ "hugetlb, key whose rights came back", place_hugetlb_key_open, ANY, ANY,
	  PLAIN | OURS | NO_MOVE },
	{ }
};

const char * const kind_due_text[] = { "a pin", "-EFAULT", "either" };

static unsigned int way(const struct vehicle_ops *ops)
{
	if (ops->is & VEHICLE_WRITES)
		return ops->is & VEHICLE_FORCE ? FORCE_WRITE : WRITE;
	return ops->is & VEHICLE_FORCE ? FORCE_READ : READ;
}

bool kind_read_only(const struct kind *kind)
{
	return (kind->may & (READ | WRITE)) == READ;
}

bool kind_answered(int got)
{
	return got != -ENOMEM && got != -EINTR && got != -ENOSPC && got != -EBUSY;
}

/* Long-term pins, of a place of its own. */
static enum kind_due ask_slow_path(struct race *race, const struct kind *kind, bool writes)
{
	enum kind_due due = EITHER;
	struct place place;
	struct vehicle slow;
	char why[128];
	int got;

	if (vehicle_open(&slow, writes ? &vehicle_slow_longterm : &vehicle_slow_ro_longterm, why,
			 sizeof(why)))
		return EITHER;
	place_init(&place, race);
	if (kind->make(&place)) {
		got = slow.ops->pin(&slow, place.addr, 1, 1);
		if (kind_answered(got))
			due = got == 1 ? PIN_DUE : REFUSAL_DUE;
		slow.ops->unpin(&slow);
	}
	place_release(&place);
	slow.ops->close(&slow);
	return due;
}

enum kind_due kind_due(struct race *race, const struct kind *kind, const struct vehicle_ops *ops)
{
	unsigned int by = way(ops);

	if (!(kind->may & by))
		return REFUSAL_DUE;
	if (ops->is & VEHICLE_FAST) {
		if (!(kind->walk & by))
			return REFUSAL_DUE;
		return kind->is & PLAIN ? PIN_DUE : EITHER;
	}
	if (!(kind->is & FILE_BACKED) || !(ops->is & VEHICLE_LONGTERM))
		return PIN_DUE;
	if (ops == &vehicle_uring)
		return EITHER;
	return ask_slow_path(race, kind, ops->is & VEHICLE_WRITES);
}
