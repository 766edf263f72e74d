// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"
#include "huge.h"
#include "punched.h"
#include "stamp.h"

#define MAPPING_HUGE	1
#define MAPPING_PINNED	2
#define PINS		4u
#define FIRST_PIN	3u

struct punched {
	struct race *race;
	struct agree agree;		/* of what is pinned */
	size_t huge;			/* bytes */
	unsigned int pages;
	uint8_t *map;
	int fd;
	unsigned int from, to;		/* pages that are cut off */
};

static void map_huge(struct punched *p)
{
	p->fd = memfd_create("guprace huge", MFD_CLOEXEC);
	if (p->fd < 0 || ftruncate(p->fd, p->huge))
		broken("a memfd of %zu bytes: %s", p->huge, strerror(errno));
	huge_map(p->map, p->huge, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, "a huge memfd");
	check_madvise(p->map, p->huge, MADV_HUGEPAGE, "a huge memfd");
	for (unsigned int i = 0; i < p->pages; i++)
		stamp_page(p->map + i * p->agree.page, stamp_of(MAPPING_HUGE, i, 1));
	agree_stamp(&p->agree);
	race_add(p->race, "huge", huge_mapped(p->map));
}

static void cut(struct punched *p, bool hole)
{
	size_t from = p->from * p->agree.page, to = p->to * p->agree.page;

	if (hole ? fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from) :
		   ftruncate(p->fd, from) || ftruncate(p->fd, to))
		broken("cutting off %zu bytes of a huge memfd: %s", to - from, strerror(errno));
}

static bool is_pinned(unsigned int index)
{
	return index >= FIRST_PIN && index < FIRST_PIN + PINS;
}

static void judge(struct punched *p)
{
	for (unsigned int i = 0; i < p->pages; i++) {
		struct stamp s = stamp_load(p->map + i * p->agree.page);
		bool off = i >= p->from && i < p->to;

		if (!is_pinned(i) && !(off ? stamp_blank(&s) : stamp_is(&s, MAPPING_HUGE, i, 1)))
			race_hit(p->race, "address_differs", "page %u of a huge page, pinned while "
				 "pages %u to %u were cut off: expected %s, " STAMP_SEEN, i, p->from,
				 p->to - 1, off ? "zeroes" : "its stamp", STAMP_SEEN_ARGS(&s));
	}
	agree_address(&p->agree);
	agree_both_ways(&p->agree);
	race_add(p->race, "checks", 1);
}

static void one_round(struct punched *p, bool hole)
{
	struct vehicle *v = &p->race->vehicle;
	int got;

	map_huge(p);
	got = v->ops->pin(v, p->agree.addr, PINS, 1);
	if (got != (int)PINS)
		broken("%s took %d pins of %u of a memfd", v->name, got, PINS);
	race_add(p->race, "pins", got);
	p->from = hole ? FIRST_PIN + PINS + 1 : p->pages / 2;
	p->to = hole ? p->from + 1 : p->pages;
	cut(p, hole);
	judge(p);
	v->ops->unpin(v);
	huge_unmap(p->map, p->huge, "a huge memfd");
	close(p->fd);
}

void punched_held(struct race *race)
{
	struct punched p = {
		.race = race,
		.agree = agree_about(race, PINS, MAPPING_PINNED, "pinned before a part was cut off"),
		.huge = huge_size(race),
	};

	if (!huge_setting("shmem_enabled", "advise"))
		race_skip(race, "huge pages of a memfd cannot be had");
	p.pages = p.huge / p.agree.page;
	p.map = huge_reserve(p.huge, p.huge, "a huge memfd");
	p.agree.addr = p.map + FIRST_PIN * p.agree.page;
	one_round(&p, false);
	if (!race_counted(race, "huge")) {
		huge_release(p.map, p.huge, "a huge memfd");
		race_skip(race, "a memfd has no huge page here");
	}
	for (unsigned int i = 1; i < PUNCHED_REPEATS; i++)
		one_round(&p, i % 2);
	huge_release(p.map, p.huge, "a huge memfd");
	huge_restore();
}
