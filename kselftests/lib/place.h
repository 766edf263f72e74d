/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places: a page of each kind of memory that GUP is asked for, stamped where we may write it, and
 * whoever else looks at the same memory. Between two pages of ordinary memory, where it is small:
 * in one page table with both, or, every other time, with the one behind it only.
 */
#ifndef GUPRACE_PLACE_H
#define GUPRACE_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "scenario.h"

struct place {
	struct race *race;
	uint8_t *addr;		/* of the page to be pinned */
	size_t page;		/* bytes */
	uint8_t *base;		/* of the mapping */
	size_t size;
	bool alone;		/* without neighbours of ours */
	bool nowhere;		/* the address is none that a process can have */
	int fd;			/* behind it, or -1 */
	int probe;		/* a file of the probe module, or -1 */
	int key;		/* protection key of the mapping, or -1 */
	uint8_t *other;		/* another view of the memory, or NULL */
	pid_t child;		/* that shares the page, or 0 */
	int release;		/* our end of the child's pipe */
};

#define PLACE_MAPPING	1	/* of the stamps */

/* False: there is nothing of the kind here. Undone by place_release(). */
typedef bool place_fn(struct place *p);

place_fn place_anon, place_anon_none, place_anon_read, place_untouched, place_zero, place_hole;
place_fn place_child, place_child_read, place_child_gone;
place_fn place_shm, place_shm_read, place_shm_private, place_shm_private_read, place_disk;
place_fn place_vvar, place_pfn, place_pfn_anon, place_pfn_shm, place_inserted;
place_fn place_secret, place_secret_settled, place_kernel;
place_fn place_thp, place_thp_none, place_thp_read, place_thp_child, place_thp_page_read;
place_fn place_thp_child_read, place_thp_child_split, place_thp_zero;
place_fn place_mthp, place_mthp_read, place_mthp_page_none, place_mthp_others_read;
place_fn place_mthp_last_open, place_mthp_child;
place_fn place_hugetlb, place_hugetlb_none, place_hugetlb_read, place_hugetlb_child;
place_fn place_hugetlb_child_read;
place_fn place_hugetlb_cont, place_hugetlb_cont_child;
place_fn place_key_none, place_key_read, place_key_open;
place_fn place_thp_key_none, place_thp_key_read, place_thp_key_open;
place_fn place_hugetlb_key_none, place_hugetlb_key_read, place_hugetlb_key_open;

void place_init(struct place *p, struct race *race);
void place_release(struct place *p);

/* Stamps of the pages before and behind a small place, by index; of generation 0. */
#define PLACE_BEFORE	1
#define PLACE_BEHIND	2

/* Write the stamp of a generation by address; what is there, or elsewhere. */
void place_stamp(struct place *p, uint64_t generation);
bool place_shows(const void *at, uint64_t generation);

/* Whether a write by address goes well; made by the kernel, so that it is an error where it does not. */
bool place_writable(struct place *p);

/* Ends the child; whether it saw the stamp of generation 1 to the end. True without a child. */
bool place_child_kept(struct place *p);

/* For the makers of places: map over the place, change its rights, have a child share it. */
#define PLACE_RW	(PROT_READ | PROT_WRITE)
bool place_map(struct place *p, int prot, int flags, int fd, off_t offset);
void place_protect(struct place *p, void *addr, size_t size, int prot);
bool place_share(struct place *p);

/* Let us read what PROT_NONE forbids. */
void place_open(struct place *p);

/* Whether there are protection keys here; leaves the subtest with a skip where there are none. */
void place_keys(struct race *race);

/* Whether there is a movable zone here, and whether a page frame is in one. */
bool place_movable_exists(void);
bool place_movable(uint64_t pfn);

#endif
