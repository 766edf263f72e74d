// SPDX-License-Identifier: GPL-2.0-only
#include <sys/mman.h>

#include "check.h"
#include "forked.h"

#define MAPPING_TARGET	1

void forked_begin(struct forked *f, struct race *race, enum backing_kind kind, unsigned int pages,
		  const char *when)
{
	*f = (struct forked){
		.race = race, .agree = agree_about(race, pages, MAPPING_TARGET, when),
	};
	f->elsewhere = check_mmap(NULL, f->agree.pages * f->agree.page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, "elsewhere");
	backing_map(&f->target, race, kind, f->agree.pages, "guprace target");
	f->agree.addr = f->target.addr;
	family_init(&f->family, &f->agree, f->target.size);
}

void forked_end(struct forked *f)
{
	family_exit(&f->family);
	backing_unmap(&f->target);
	check_munmap(f->elsewhere, f->agree.pages * f->agree.page, "elsewhere");
	race_count(f->race, "judged", f->family.judged);
	race_count(f->race, "pins", f->pins);
	if (f->target.kind == THP)
		race_count(f->race, "huge", f->huge);
}

/* A fork that meets a pinned huge page copies it: that is not the window to sweep. */
void forked_pin(struct race *race, void *forked)
{
	struct forked *f = forked;

	f->decoyed = race_sampling(race);
	f->got = race->vehicle.ops->pin(&race->vehicle, f->decoyed ? f->elsewhere : f->agree.addr,
					f->agree.pages, 1);
}

void forked_need_pins(struct forked *f)
{
	if (f->got != (int)f->agree.pages)
		broken("%s took %d pins of %u mapped pages", f->race->vehicle.name, f->got,
		       f->agree.pages);
	f->pins += f->got;
}

/* Of the huge page's last page, which is none of those that are stamped, only the mapping goes. */
void forked_split_mapping(struct forked *f)
{
	check_madvise(f->target.addr + f->target.size - f->agree.page, f->agree.page, MADV_DONTNEED,
		      "the last page");
}

void forked_prepare(struct race *race, void *forked)
{
	struct forked *f = forked;

	(void)race;
	/* A huge page that was pinned at a fork is split, one that was shared copied in parts. */
	f->huge += backing_renew(&f->target);
	if (f->alternates && f->rounds++ % 2)
		forked_split_mapping(f);
	agree_stamp(&f->agree);
	family_prepare(&f->family);
}

void forked_fork(struct race *race, void *forked)
{
	struct forked *f = forked;

	(void)race;
	family_fork(&f->family);
}

void forked_settle(struct race *race, void *forked)
{
	struct forked *f = forked;

	family_meet(&f->family);
	if (!race->naive) {
		forked_need_pins(f);
		if (!f->decoyed)
			family_judge(&f->family);
		race->vehicle.ops->unpin(&race->vehicle);
	}
	family_dismiss(&f->family);
}
