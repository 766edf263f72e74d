// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"
#include "pagemap.h"
#include "unshared.h"
#include "userfault.h"
#include "waiter.h"

#define MAPPING_TARGET	1
#define PAGES		8u

struct unshared {
	struct race *race;
	struct agree agree;
	struct backing target;
	int fd;
};

static void protect(struct unshared *u, bool against)
{
	int err = userfault_protect(u->fd, u->target.addr, u->target.size, against);

	if (err)
		broken("ioctl(UFFDIO_WRITEPROTECT) of %zu bytes: %s", u->target.size, strerror(err));
}

static void enroll(struct unshared *u)
{
	int err = userfault_register(u->fd, u->target.addr, u->target.size, UFFDIO_REGISTER_MODE_WP);

	if (err)
		race_skip(u->race, "ioctl(UFFDIO_REGISTER) for write-protection: %s", strerror(err));
}

static void judge_protection(struct unshared *u, const uint64_t *before)
{
	uint64_t now[PAGES], copied = 0;

	pagemap_read(u->agree.addr, now, u->agree.pages);
	for (unsigned int i = 0; i < u->agree.pages; i++) {
		copied += (now[i] ^ before[i]) & PAGEMAP_PFN ? 1 : 0;
		if (!(now[i] & PAGEMAP_UFFD_WP))
			race_hit(u->race, "unprotected", "page %u, write-protected before it was "
				 "pinned: expected bit 57 of its pagemap entry, observed %#" PRIx64,
				 i, now[i]);
	}
	race_add(u->race, "copied", copied);
}

static void pin_and_judge(struct unshared *u)
{
	struct vehicle *v = &u->race->vehicle;
	uint64_t before[PAGES];
	int got;

	pagemap_read(u->agree.addr, before, u->agree.pages);
	got = v->ops->pin(v, u->agree.addr, u->agree.pages, 1);
	if (got != (int)u->agree.pages)
		broken("%s took %d pins of %u pages", v->name, got, u->agree.pages);
	judge_protection(u, before);
	protect(u, false);
	agree_both_ways(&u->agree);
	v->ops->unpin(v);
	race_add(u->race, "pins", got);
	race_add(u->race, "checks", 1);
}

static void one_round(struct unshared *u)
{
	int release;
	pid_t child;

	agree_stamp(&u->agree);
	protect(u, true);
	child = waiter_fork(&release);
	if (child < 0)
		broken("fork: %s", strerror(errno));
	pin_and_judge(u);
	close(release);
	if (waitpid(child, NULL, 0) != child)
		broken("waitpid: %s", strerror(errno));
}

void unshared_protected(struct race *race, enum backing_kind kind)
{
	struct unshared u = {
		.race = race,
		.agree = agree_about(race, PAGES, MAPPING_TARGET, "pinned when it was shared and protected"),
		.fd = userfault_open(race, UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write-protection"),
	};

	backing_map(&u.target, race, kind, PAGES, "guprace shared");
	u.agree.addr = u.target.addr;
	enroll(&u);
	/* A table of its own each time: what is protected cannot be moved out of the way. */
	for (unsigned int i = 0; i < UNSHARED_ROUNDS && race_in_time(race); i++) {
		if (i && backing_renew(&u.target) && kind == THP)
			enroll(&u);
		one_round(&u);
	}
	close(u.fd);
	backing_unmap(&u.target);
}
