// SPDX-License-Identifier: GPL-2.0-only
/* Parent and child talk by single bytes over a socket, which a dead child closes. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "family.h"

#define MAPPING_CHILD	99	/* of the child's own stamps */

enum question {
	VERIFY = 'v',		/* compare all pages with the expected stamp */
	WRITE = 'w',		/* the same page by page, each then given a stamp of the child's own */
	PIN = 'p',		/* pin, then unmap */
	READ = 'r',		/* the same comparison, through the child's pins */
};

struct family_report {
	uint64_t mapping, generation;	/* expected */
	unsigned int wrong, index;	/* pages; the first of them */
	struct stamp seen;
	int pins;
};

static void compare(struct family *f, unsigned int index, const struct stamp *seen)
{
	struct family_report *r = f->report;
	struct stamp want = stamp_of(r->mapping, index, r->generation);

	if (!memcmp(seen, &want, sizeof(want)) || r->wrong++)
		return;
	r->index = index;
	r->seen = *seen;
}

static void answer(struct family *f, enum question question)
{
	struct vehicle *v = &f->pages->race->vehicle;
	const struct agree *a = f->pages;
	struct stamp stamps[VEHICLE_PINS_MAX];

	f->report->wrong = 0;
	switch (question) {
	case VERIFY:
		for (unsigned int i = 0; i < a->pages; i++)
			compare(f, i, (const struct stamp *)(a->addr + i * a->page));
		break;
	case WRITE:
		for (unsigned int i = 0; i < a->pages; i++) {
			compare(f, i, (const struct stamp *)(a->addr + i * a->page));
			stamp_page(a->addr + i * a->page, stamp_of(MAPPING_CHILD, i, f->at_fork));
		}
		break;
	case PIN:
		f->report->pins = v->ops->pin(v, a->addr, a->pages, 1);
		munmap(a->addr, f->size);
		break;
	case READ:
		v->ops->read(v, stamps);
		for (int i = 0; i < f->report->pins; i++)
			compare(f, i, &stamps[i]);
		break;
	}
}

/* The child of one thread of several: nothing but system calls and memory of its own. */
static void __attribute__((noreturn)) be_child(struct family *f)
{
	char question;

	close(f->channel[0]);
	while (read(f->channel[1], &question, 1) == 1) {
		answer(f, question);
		if (write(f->channel[1], &question, 1) != 1)
			break;
	}
	_exit(0);
}

static void ask(struct family *f, enum question question)
{
	char byte = question;

	if (write(f->channel[0], &byte, 1) != 1 || read(f->channel[0], &byte, 1) != 1)
		broken("the child is gone at question '%c': %s", question, strerror(errno));
}

/* What the child sees, by its address or through its pins. */
static void verify(struct family *f, enum question how, uint64_t mapping)
{
	struct family_report *r = f->report;

	r->mapping = mapping;
	r->generation = f->at_fork;
	ask(f, how);
	if (!r->wrong)
		return;
	race_hit(f->pages->race, "child_differs",
		 "child %s page %u (first of %u wrong), parent's pages %s: expected mapping %"
		 PRIu64 " generation %" PRIu64 ", " STAMP_SEEN,
		 how == READ ? "reads by its pin" : how == WRITE ? "sees while it writes to others" :
		 "sees at its address", r->index, r->wrong,
		 f->pages->when, mapping, f->at_fork, STAMP_SEEN_ARGS(&r->seen));
}

void family_init(struct family *f, struct agree *pages, size_t size)
{
	*f = (struct family){ .pages = pages, .size = size };
	f->report = check_mmap(NULL, sizeof(*f->report), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, "the child's report");
}

void family_exit(struct family *f)
{
	check_munmap(f->report, sizeof(*f->report), "the child's report");
}

void family_prepare(struct family *f)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->channel))
		broken("socketpair: %s", strerror(errno));
	f->at_fork = f->pages->generation;
}

void family_fork(struct family *f)
{
	f->child = fork();
	if (!f->child)
		be_child(f);
}

void family_meet(struct family *f)
{
	if (f->child < 0)
		broken("fork: %s", strerror(errno));
	close(f->channel[1]);
}

void family_judge(struct family *f)
{
	struct agree *a = f->pages;

	agree_address_to_pins(a, AGREE_ALWAYS);
	verify(f, VERIFY, a->mapping);
	verify(f, WRITE, a->mapping);
	agree_content(a, AGREE_ALWAYS);
	agree_address(a);
	agree_pin_to_address(a);
	verify(f, VERIFY, MAPPING_CHILD);
	f->judged++;
}

void family_pin_and_unmap(struct family *f)
{
	ask(f, PIN);
	if (f->report->pins != (int)f->pages->pages)
		broken("the child took %d pins of %u", f->report->pins, f->pages->pages);
}

void family_judge_childs_pins(struct family *f)
{
	verify(f, READ, f->pages->mapping);
	f->judged++;
}

void family_dismiss(struct family *f)
{
	int status;

	close(f->channel[0]);
	if (waitpid(f->child, &status, 0) != f->child)
		broken("waitpid for %d: %s", f->child, strerror(errno));
	if (status)
		broken("the child ended with status %#x", status);
}
