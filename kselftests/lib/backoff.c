// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every way out of the fast walk that gives a reference back goes through gup_put_folio(), so a
 * kprobe event on it counts back-offs. unpin_user_page() comes through it too. And since it is a
 * static function, a compiler may have inlined some of its calls. So nothing is assumed:
 *
 *  - the function, and clones the compiler made of it, are looked up by name;
 *  - what an unpin adds to the count is measured, on a page that nobody else touches: once for
 *    each page, or never; anything else means no counter. Nor has a vehicle one that reads by pins of
 *    its own: how many calls those make was not to be foretold;
 *  - that the fast walk's own call is seen is measured too, where the probe module is there: a R/O
 *    FOLL_PIN of an anonymous page that a child shares must be given back by gup_must_unshare()
 *    (commit a7f226604170, "mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared
 *    anonymous page", v5.19), once, and then be taken by the slow path.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backoff.h"
#include "check.h"
#include "kprobe.h"
#include "ktap.h"
#include "quiet.h"
#include "waiter.h"

#define FUNCTION	"gup_put_folio"
#define CLONES_MAX	4
#define CALIBRATION	8	/* pins */

static struct {
	unsigned int armed;		/* probes, the first ones of the program */
	unsigned int per_unpin;		/* hits that one unpin makes: 0 or 1 */
	uint64_t hits;			/* at the begin */
	uint64_t unpinned;		/* at the begin */
} backoff;

void backoff_arm(void)
{
	struct function clones[CLONES_MAX];
	unsigned int found = kallsyms_functions(FUNCTION, clones, CLONES_MAX);

	if (!found)
		ktap_diag("backoffs not counted: this kernel has no function " FUNCTION);
	for (unsigned int i = 0; i < found; i++) {
		int index = kprobe_add(&clones[i], 0);

		if (index != (int)i) {
			ktap_diag("backoffs not counted: kprobe event on %s: %s", clones[i].name,
				  strerror(-index));
			return;
		}
	}
	backoff.armed = found;
}

static uint64_t hits(void)
{
	return kprobe_hits(0, backoff.armed);
}

static void *own_page(void)
{
	void *page = check_mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, "the calibration page");

	stamp_page(page, stamp_of(0, 0, 0));
	return page;
}

static bool measure_unpin(struct vehicle *v)
{
	unsigned int want = v->capacity < CALIBRATION ? v->capacity : CALIBRATION, tries = 0;
	void *page = own_page();
	uint64_t count, unpinned;
	int got;

	do {
		count = hits();
		unpinned = v->unpinned;
		got = v->ops->pin(v, page, 1, want);
	} while (quiet_again(v, page, 1, got, want, &tries));
	v->ops->unpin(v);
	count = hits() - count;
	unpinned = v->unpinned - unpinned;
	check_munmap(page, getpagesize(), "the calibration page");
	if (count && count != unpinned) {
		ktap_diag("backoffs of %s not counted: %" PRIu64 " quiet pins and unpins called " FUNCTION
			  " %" PRIu64 " times", v->name, unpinned, count);
		return false;
	}
	backoff.per_unpin = !!count;
	return true;
}

/* Whether the fast walk's own call is seen: 1 yes, 0 no, -1 no way to tell. */
static int fast_walk_seen(void)
{
	struct vehicle probe;
	char why[128];
	uint64_t count;
	int release, got;
	pid_t child;
	void *page;

	if (vehicle_open(&probe, &vehicle_probe_ro, why, sizeof(why)))
		return -1;
	page = own_page();
	child = waiter_fork(&release);
	if (child < 0)
		broken("a child that shares the calibration page: %s", strerror(errno));
	count = hits();
	got = probe.ops->pin(&probe, page, 1, 1);
	count = hits() - count;
	close(release);
	waitpid(child, NULL, 0);
	probe.ops->close(&probe);
	check_munmap(page, getpagesize(), "the calibration page");
	return got == 1 && count == 1;
}

bool backoff_begin(struct vehicle *v)
{
	int seen;

	if (backoff.armed && v->ops->is & VEHICLE_READ_PINS) {
		ktap_diag("backoffs of %s not counted: what it reads it pins, too", v->name);
		return false;
	}
	if (!backoff.armed || !measure_unpin(v))
		return false;
	seen = fast_walk_seen();
	if (!seen) {
		ktap_diag("backoffs of %s not counted: the fast walk's call of " FUNCTION
			  " is not seen (inlined?)", v->name);
		return false;
	}
	if (seen < 0)
		ktap_diag("backoffs of %s: unverified, no probe module to provoke one", v->name);
	backoff.unpinned = v->unpinned;
	backoff.hits = hits();
	return true;
}

uint64_t backoff_so_far(const struct vehicle *v)
{
	uint64_t count = hits() - backoff.hits;
	uint64_t ours = (v->unpinned - backoff.unpinned) * backoff.per_unpin;

	/* A hit that the kprobe missed (kprobe_profile's third column) may not wrap the count. */
	return count > ours ? count - ours : 0;
}
