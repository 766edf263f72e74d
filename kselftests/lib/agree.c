// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agree.h"
#include "check.h"

static bool is(const struct agree *a, const struct stamp *s, unsigned int index,
	       uint64_t generation)
{
	return stamp_is(s, a->mapping, index, generation);
}

/* What a stamp says, or the words of what is none. */
static void describe(const struct stamp *s, char *text, size_t size)
{
	if (stamp_valid(s))
		snprintf(text, size, "mapping %" PRIu64 " index %" PRIu64 " generation %" PRIu64,
			 s->mapping, s->index, s->generation);
	else
		snprintf(text, size, "words %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64,
			 s->mapping, s->index, s->generation, s->check);
}

static void report(struct agree *a, const char *oracle, const char *what, unsigned int which,
		   const struct stamp *s)
{
	unsigned int index = which % a->pages;
	char observed[128];

	describe(s, observed, sizeof(observed));
	if (!stamp_valid(s))
		oracle = "bad_stamp";
	else if (s->mapping != a->mapping || s->index != index)
		oracle = "foreign_stamp";
	race_hit(a->race, oracle, "%s %u, %s: expected mapping %" PRIu64 " index %u generation %"
		 PRIu64 ", observed %s", what, which, a->when, a->mapping, index, a->generation,
		 observed);
}

struct agree agree_about(struct race *race, unsigned int pages, uint64_t mapping, const char *when)
{
	unsigned int fit = race->vehicle.capacity;

	return (struct agree){
		.race = race,
		.page = getpagesize(),
		.pages = pages < fit ? pages : fit,
		.mapping = mapping,
		.when = when,
	};
}

void agree_stamp(struct agree *a)
{
	a->generation++;
	for (unsigned int i = 0; i < a->pages; i++)
		stamp_page(a->addr + i * a->page, stamp_of(a->mapping, i, a->generation));
}

void agree_content(struct agree *a, enum agree_rule rule)
{
	struct vehicle *v = &a->race->vehicle;
	struct stamp stamps[VEHICLE_PINS_MAX];
	unsigned int pins = v->held;

	if (!pins)
		return;
	v->ops->read(v, stamps);
	for (unsigned int i = 0; i < pins; i++) {
		unsigned int index = i % a->pages;

		if (is(a, &stamps[i], index, a->generation))
			continue;
		if (rule == AGREE_UNLESS_COPIED && is(a, &stamps[i], index, a->generation - 1))
			continue;
		report(a, "pin_differs", "pin", i, &stamps[i]);
	}
}

void agree_address_to_pins(struct agree *a, enum agree_rule rule)
{
	agree_stamp(a);
	agree_content(a, rule);
}

void agree_pin_to_address(struct agree *a)
{
	struct vehicle *v = &a->race->vehicle;
	unsigned int pin, index;
	struct stamp s;

	if (!v->ops->write || !(v->ops->is & VEHICLE_WRITES) || !v->held)
		return;
	pin = a->generation % v->held;
	index = pin % a->pages;
	s = stamp_of(a->mapping, index, ++a->generation);
	v->ops->write(v, pin, &s);
	s = stamp_load(a->addr + index * a->page);
	if (!is(a, &s, index, a->generation))
		report(a, "address_differs", "address", index, &s);
	agree_stamp(a);
}

void agree_address(struct agree *a)
{
	for (unsigned int i = 0; i < a->pages; i++) {
		struct stamp s = stamp_load(a->addr + i * a->page);

		if (!is(a, &s, i, a->generation))
			report(a, "address_differs", "address", i, &s);
	}
}

void agree_admitted(struct agree *a, int got)
{
	/* Short of memory, or told to die: nothing is refused by that. */
	if (got < 0 && got != -EFAULT && got != -EAGAIN)
		broken("%s pin of pages mapped throughout: %s", a->race->vehicle.name,
		       strerror(-got));
	if (got != (int)a->pages)
		race_hit(a->race, "refused", "expected %u pins of pages mapped throughout, observed %d (%s)",
			 a->pages, got, got < 0 ? strerror(-got) : "the rest missing");
}

void agree_both_ways(struct agree *a)
{
	/* A vehicle that loses its pins by reading them is read once, when all is written. */
	if (!(a->race->vehicle.ops->is & VEHICLE_READ_DROPS))
		agree_content(a, AGREE_ALWAYS);
	agree_pin_to_address(a);
	agree_address_to_pins(a, AGREE_ALWAYS);
}

/* What the pins will have to write is with the vehicle before they are taken. */
static void be_filled(struct agree *a)
{
	struct vehicle *v = &a->race->vehicle;

	a->generation++;
	for (unsigned int i = 0; i < a->pages; i++) {
		struct stamp s = stamp_of(a->mapping, i, a->generation);

		v->ops->write(v, i, &s);
	}
	agree_admitted(a, v->ops->pin(v, a->addr, a->pages, 1));
	agree_address(a);
}

unsigned int agree_alone(struct agree *a)
{
	struct vehicle *v = &a->race->vehicle;
	unsigned int pins;

	agree_stamp(a);
	if (v->ops->is & VEHICLE_FILLS)
		be_filled(a);
	else
		agree_admitted(a, v->ops->pin(v, a->addr, a->pages, 1));
	pins = v->held;
	if (v->ops->is & VEHICLE_HOLDS)
		agree_both_ways(a);
	else if (!(v->ops->is & VEHICLE_FILLS))
		agree_content(a, AGREE_ALWAYS);
	v->ops->unpin(v);
	return pins;
}
