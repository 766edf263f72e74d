// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window of GUP-fast is some twenty instructions long, an unmap and the refill of the page are
 * thousands. When no host load holds the walker's vCPU up, it is through long before: measured under
 * TCG with mutant M01, no hit in 9000 unmaps that overlapped a pin. Each kprobe costs two exceptions,
 * with interrupts off, in just the right place: about one hit in 80 such unmaps.
 *
 * The grabbing function is a static one, under other names in other versions, and any of it may
 * have been inlined: the first counts whose probe is hit by each pin of a page that nobody touches.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "kprobe.h"
#include "ktap.h"
#include "quiet.h"
#include "stretch.h"

#define PROBES		3	/* at as many places of the function */
#if defined(__aarch64__)
#define OFFSET_MAX	28u
#define OFFSET_STEP	4u	/* an instruction */
#else
#define OFFSET_MAX	0u	/* the next instruction's place is not ours to know */
#define OFFSET_STEP	1u
#endif
#define CALIBRATION	8	/* pins */

/* The innermost first: where it is not inlined, it is where the walk grabs. */
static const char * const grabbers[] = {
	"try_get_folio",		/* reference only; often inlined */
	"try_grab_folio_fast",		/* v6.11 on: the fast walk's own */
	"try_grab_folio",		/* before: of the fast walk; later: of the slow one */
};

static struct {
	const char *grabber;		/* armed by an earlier subtest, or by this one */
	struct function fn;
	bool allowed;
	int first;			/* of its probes */
	unsigned int probes;
} stretch;

static unsigned int quiet_pins(struct vehicle *v, void *page)
{
	unsigned int want = v->capacity < CALIBRATION ? v->capacity : CALIBRATION, tries = 0;
	int got;

	do {
		got = v->ops->pin(v, page, 1, want);
	} while (quiet_again(v, page, 1, got, want, &tries));
	return want;
}

static uint64_t ticks_of_pin(struct vehicle *v, void *page)
{
	uint64_t begin = now_ticks();
	unsigned int pins = quiet_pins(v, page);
	uint64_t ticks = (now_ticks() - begin) / pins;

	v->ops->unpin(v);
	return ticks;
}

static bool each_pin_hits(struct vehicle *v, void *page)
{
	uint64_t hits = kprobe_hits(stretch.first, 1);
	unsigned int pins = quiet_pins(v, page);

	v->ops->unpin(v);
	return kprobe_hits(stretch.first, 1) - hits >= pins;
}

static bool arm(const struct function *fn)
{
	unsigned int offset;

	stretch.probes = 0;
	for (offset = 0; offset <= OFFSET_MAX && stretch.probes < PROBES; offset += OFFSET_STEP) {
		int index = kprobe_add(fn, offset);

		if (index < 0)
			continue;
		if (!stretch.probes++)
			stretch.first = index;
	}
	return stretch.probes;
}

static void disarm(void)
{
	for (unsigned int i = 0; i < stretch.probes; i++)
		kprobe_remove(stretch.first + i);
}

static void arm_grabber(struct vehicle *v, void *page)
{
	for (size_t i = 0; i < sizeof(grabbers) / sizeof(grabbers[0]); i++) {
		if (!kallsyms_functions(grabbers[i], &stretch.fn, 1) || !arm(&stretch.fn))
			continue;
		if (each_pin_hits(v, page)) {
			stretch.grabber = grabbers[i];
			return;
		}
		disarm();
	}
	ktap_diag("window not stretched: no function found where the fast walk grabs");
}

void stretch_window(struct vehicle *v)
{
	void *page = check_mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, "the calibration page");

	stretch.allowed = true;
	stamp_page(page, stamp_of(0, 0, 0));
	ticks_of_pin(v, page);			/* warms up */
	ktap_diag("%s: %" PRIu64 " ticks for a quiet pin", v->name, ticks_of_pin(v, page));
	if (!stretch.grabber)
		arm_grabber(v, page);
	if (stretch.grabber)
		ktap_diag("%s: %" PRIu64 " with the window stretched by %u kprobes in %s", v->name,
			  ticks_of_pin(v, page), stretch.probes, stretch.grabber);
	check_munmap(page, getpagesize(), "the calibration page");
}

void stretch_end(void)
{
	if (!stretch.grabber)
		return;
	disarm();
	ktap_diag("window no longer stretched in %s", stretch.grabber);
	stretch.grabber = NULL;
}

bool stretch_allowed(void)
{
	return stretch.allowed;
}

bool stretch_grabber(struct function *fn)
{
	if (stretch.grabber)
		*fn = stretch.fn;
	return stretch.grabber;
}
