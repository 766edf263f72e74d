// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "forked.h"
#include "ktap.h"
#include "nodes.h"
#include "pagemap.h"

#define MAPPING_TARGET	1
#define LOW_ADDR	(1ul << 21)	/* below all that a program has */

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
	if (backing_is_thp(&f->target))
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
	f->whole = backing_renew(&f->target);
	f->huge += f->whole;
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

void forked_need_folio(struct race *race, void *forked)
{
	const struct forked *f = forked;

	if (backing_is_thp(&f->target) && !f->whole)
		race_empty(race);
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

void forked_once(struct race *race, void *arg)
{
	pid_t child = fork();

	(void)race;
	(void)arg;
	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		broken("fork, to see where it goes: %s", strerror(errno));
}

/* fork copies from the lowest address on: the target comes first, before all that is stretched. */
void forked_move_down(struct forked *f)
{
	void *low = mmap((void *)LOW_ADDR, f->target.size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (low != (void *)LOW_ADDR) {
		ktap_diag("the target stays where it is: mmap(%#lx): %s", LOW_ADDR,
			  strerror(errno));
		return;
	}
	check_munmap(f->target.addr, f->target.size, "the target");
	f->target.addr = low;
	f->agree.addr = low;
	madvise(low, f->target.size, MADV_NOHUGEPAGE);	/* fails where there are no huge pages */
	name_mapping(low, f->target.size, f->target.name);
}

bool forked_move_to(const struct forked *f, int node)
{
	struct nodes nodes;

	nodes_pages(&nodes, &f->agree);
	nodes_turn(&nodes, node);
	return nodes_move(&nodes, MPOL_MF_MOVE_ALL) >= 0;
}

void forked_need_two_nodes(struct forked *f)
{
	agree_stamp(&f->agree);
	if (!pagemap_tells() || !forked_move_to(f, 0) || !forked_move_to(f, 1))
		race_skip(f->race, "needs two NUMA nodes, and root: move_pages: %s",
			  strerror(errno));
}
