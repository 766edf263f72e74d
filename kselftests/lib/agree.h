/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Address against pin: a pin and the process' own view of the address must stay one page (PX). A
 * fresh stamp written by address tells: it shows through the pin if and only if both are one page.
 * For FOLL_PIN that holds for writing and for reading (commit a7f226604170, "mm/gup: trigger
 * FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared anonymous page", v5.19), as long as the
 * process leaves the mapping alone.
 */
#ifndef GUPRACE_AGREE_H
#define GUPRACE_AGREE_H

#include <stdint.h>

#include "scenario.h"

/* A range of stamped pages; pin i of the race's vehicle is of page i % pages. */
struct agree {
	struct race *race;
	uint8_t *addr;
	size_t page;			/* bytes */
	unsigned int pages;
	uint64_t mapping;
	uint64_t generation;		/* of the stamps at the address */
	const char *when;		/* the pins were taken, for the text of a hit */
};

enum agree_rule {
	AGREE_ALWAYS,
	/*
	 * A read-only FOLL_GET may still see the page as it was before the process' own
	 * copy-on-write: the stamp of the generation before is legal, too.
	 */
	AGREE_UNLESS_COPIED,
};

/* Of `pages` pages, or as many as the vehicle can pin; where they are is not known yet. */
struct agree agree_about(struct race *race, unsigned int pages, uint64_t mapping, const char *when);

/* Stamp the pages by address with the next generation. */
void agree_stamp(struct agree *a);

/* Each pin gives the generation that is at the address. A vehicle may drop its pins by it. */
void agree_content(struct agree *a, enum agree_rule rule);

/* Write by address, read through the pins. */
void agree_address_to_pins(struct agree *a, enum agree_rule rule);

/* Write through one of the pins, read by address; nothing where the pins are not for writing. */
void agree_pin_to_address(struct agree *a);

/* What is at the addresses is what was written there last. */
void agree_address(struct agree *a);

/* Pages that were mapped throughout the call are all pinned: a hit, `refused`, if `got` is less. */
void agree_admitted(struct agree *a, int got);

/* All that holds between pins and address: as they are found, then what either of them writes. */
void agree_both_ways(struct agree *a);

/*
 * Pins by one call and gives them back, with nobody else there, by whatever vehicle: all are taken, and
 * all holds that can be seen by it. Returns the pins.
 */
unsigned int agree_alone(struct agree *a);

#endif
