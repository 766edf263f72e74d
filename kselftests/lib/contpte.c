// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <unistd.h>

#include "backing.h"
#include "contpte.h"
#include "kprobe.h"
#include "ktap.h"

#define FUNCTION	"__contpte_try_unfold"	/* called of a PTE that is one of a block, and of no other */
#define BLOCK_SIZE	(64ul << 10)

static int probe = -1;

void contpte_begin(struct race *race, unsigned int least)
{
	struct function fn;

	/* Blocks of larger pages are larger. */
	if (MTHP_PAGES * getpagesize() != BLOCK_SIZE || !kallsyms_functions(FUNCTION, &fn, 1))
		return;
	probe = kprobe_add(&fn, 0);
	if (probe < 0)
		ktap_diag("contiguous blocks not counted: kprobe event on " FUNCTION ": %s", strerror(-probe));
	else
		race_floor(race, "unfolded", least);
}

void contpte_end(struct race *race)
{
	if (probe < 0)
		return;
	race_count(race, "unfolded", kprobe_hits(probe, 1));
	kprobe_remove(probe);
	probe = -1;
}
