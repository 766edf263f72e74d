// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agree.h"
#include "backing.h"
#include "check.h"
#include "filled.h"
#include "userfault.h"

#define MAPPING_TARGET	1
#define PAGES		(2 * FILLED_PAGES)

struct filled {
	struct race *race;
	struct agree agree;
	size_t size;
	uint8_t *content;		/* of all pages, to fill from */
	int fd;
	uint64_t pages;			/* brought, by the responder */
};

static void bring_page(void *arg)
{
	struct filled *f = arg;
	uint8_t *page = userfault_next(f->fd);
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .len = f->agree.page };

	if (!page)
		return;
	copy.src = (uintptr_t)(f->content + (page - f->agree.addr));
	if (!ioctl(f->fd, UFFDIO_COPY, &copy))
		f->pages++;
	else if (errno == EEXIST)
		userfault_wake(f->fd, page);
	else
		broken("ioctl(UFFDIO_COPY): %s", strerror(errno));
}

/* Every second page is missing, in turns the first one: then nothing is left to the walk. */
static void take_away(struct filled *f, unsigned int from)
{
	agree_stamp(&f->agree);
	memcpy(f->content, f->agree.addr, f->size);
	for (unsigned int i = from; i < PAGES; i += 2)
		check_madvise(f->agree.addr + i * f->agree.page, f->agree.page, MADV_DONTNEED,
			      "a page to be filled");
}

static void one_round(struct filled *f, unsigned int round)
{
	struct vehicle *v = &f->race->vehicle;
	int got;

	take_away(f, round % 2);
	got = v->ops->pin(v, f->agree.addr, PAGES, 1);
	agree_admitted(&f->agree, got);
	agree_address(&f->agree);
	agree_both_ways(&f->agree);
	v->ops->unpin(v);
	race_add(f->race, "pins", got > 0 ? got : 0);
	race_add(f->race, "checks", 1);
}

void filled_pins(struct race *race)
{
	struct filled f = {
		.race = race,
		.agree = agree_about(race, PAGES, MAPPING_TARGET, "pinned while pages were filled"),
	};
	struct responder *filler;
	int err;

	f.size = PAGES * f.agree.page;
	f.fd = userfault_open(race, 0, "faults");
	f.agree.addr = backing_small(f.size, "guprace filled");
	f.content = backing_small(f.size, "guprace content");
	err = userfault_register(f.fd, f.agree.addr, f.size, UFFDIO_REGISTER_MODE_MISSING);
	if (err)
		broken("ioctl(UFFDIO_REGISTER) for missing pages: %s", strerror(err));
	filler = responder_start(race, bring_page, &f);
	for (unsigned int i = 0; i < FILLED_ROUNDS && race_in_time(race); i++)
		one_round(&f, i);
	responder_stop(filler);
	race_count(race, "filled", f.pages);
	close(f.fd);
	check_munmap(f.agree.addr, f.size, "what was filled");
	check_munmap(f.content, f.size, "what it was filled from");
}
