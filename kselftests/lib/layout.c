// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "huge.h"
#include "layout.h"

#define MAPPING_TARGET	1
#define PAGES		8u
#define STRIDE		3u	/* no divisor of PAGES: up and down, and no two next to each other */
#define FIRST		16u	/* page of the huge page */
#define OFFSET		512u	/* bytes: all that a disk asks for */

struct layout {
	struct race *race;
	struct agree agree;
	struct backing source;
};

static struct layout begin(struct race *race, const char *when)
{
	struct layout l = {
		.race = race, .agree = agree_about(race, PAGES, MAPPING_TARGET, when),
	};

	if (!huge_setting("enabled", "madvise"))
		race_skip(race, "transparent huge pages cannot be had");
	backing_map(&l.source, race, THP, 0, "guprace huge");
	return l;
}

static void end(struct layout *l)
{
	backing_unmap(&l->source);
	huge_restore();
}

static void pin_and_judge(struct layout *l)
{
	race_add(l->race, "pins", agree_alone(&l->agree));
	race_add(l->race, "checks", 1);
}

static void scatter(struct layout *l)
{
	size_t page = l->agree.page;

	for (unsigned int i = 0; i < PAGES; i++) {
		uint8_t *from = l->source.addr + (FIRST + i * STRIDE % PAGES) * page;
		uint8_t *to = l->agree.addr + i * page;

		if (mremap(from, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
			broken("mremap of a page of a huge page: %s", strerror(errno));
	}
}

void layout_scattered(struct race *race)
{
	struct layout l = begin(race, "pinned in another order than it has in its huge page");
	size_t size = PAGES * l.agree.page;

	l.agree.addr = huge_reserve(size, size, "the scattered pages");
	for (unsigned int i = 0; i < LAYOUT_ROUNDS && race_in_time(race); i++) {
		race_add(race, "huge", backing_renew(&l.source));
		scatter(&l);
		pin_and_judge(&l);
	}
	huge_release(l.agree.addr, size, "the scattered pages");
	end(&l);
}

void layout_offset(struct race *race)
{
	struct layout l = begin(race, "pinned from within a page on");

	l.agree.addr = l.source.addr + FIRST * l.agree.page + OFFSET;
	for (unsigned int i = 0; i < LAYOUT_ROUNDS && race_in_time(race); i++) {
		race_add(race, "huge", backing_renew(&l.source));
		pin_and_judge(&l);
	}
	end(&l);
}
